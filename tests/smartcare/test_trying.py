"""`smartcare gateway try` and what belongs to it: an installer sees what a message becomes, or what is wrong and where."""

import argparse
import json
from pathlib import Path

import pytest

from gateway.addresses import beside
from smartcare import cli, gateway_run
from smartcare.broker import BrokerError, Folder, Kind, State
from tests import gallery


def run(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[object, list[str]]:
    """Run a command; return its status and all lines that it said."""
    with pytest.raises(SystemExit) as end:
        cli.main(["gateway", *map(str, arguments)])
    said = capsys.readouterr()
    return end.value.code, (said.out + said.err).splitlines()


@pytest.fixture
def mapping(tmp_path: Path) -> Path:
    file = tmp_path / "mapping.yaml"
    file.write_text(gallery.mapping_text(), encoding="utf-8")
    return file


def test_messages_in_order_show_their_events_and_the_edge_between_them(
    mapping: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, said in (("shut", '{"open":false}'), ("open", '{"open":1,"batt":0.5}')):
        (tmp_path / name).write_text(said)
    status, lines = run(capsys, "try", mapping, tmp_path / "shut", tmp_path / "open")
    events = [json.loads(line) for line in lines]
    assert status == 0
    assert [(e["device"], e["kind"], e.get("is", e.get("percent"))) for e in events] == [
        ("door4g/device", "CONTACT", "closed"),
        ("door4g/device", "CONTACT", "open"),
        ("door4g/device", "BATTERY", 50),
    ]
    assert ["REPEAT" in e["flags"] for e in events[:2]] == [True, False]


@pytest.mark.parametrize(
    ("topic", "payload", "said"),
    [
        (
            "door/front/state",
            '{"open":"ajar"}',
            "(bad_field) on door/front/state: 15 bytes: `open` is one of (True,) or (False,)",
        ),
        ("door/front/state", "open", "(bad_json) on door/front/state"),
        ("doors/front", "{}", "no codec speaks on this topic; it is one of zigbee2mqtt/#, application/+"),
        ("tb/hall/v1/devices/me/rpc/request/1", "{}", "no event"),
    ],
)
def test_what_is_not_understood_is_said(
    topic: str, payload: str, said: str, mapping: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "message").write_text(payload)
    status, lines = run(capsys, "try", mapping, tmp_path / "message", "--topic", topic)
    assert status == (0 if said == "no event" else 1)
    assert said in lines[-1]


def test_a_mistake_in_the_file_is_one_line_with_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text(gallery.mapping_text().replace("unit: fraction", "unit: volt"))
    attempts: list[list[str | Path]] = [
        ["try", bad, bad],
        ["device", "desk", "front", "--spool", tmp_path / "gw.db", "--mapping", bad],
    ]
    for arguments in attempts:
        status, lines = run(capsys, *arguments)
        assert (status, len(lines)) == (1, 1)
        assert "bad.yaml, line 9, families[1].events[3].unit: Invalid enum value 'volt', it is percent or fraction" in lines[0]
    status, lines = run(capsys, "try", tmp_path / "none.yaml", bad)
    assert status == 1
    assert "cannot be read" in lines[0]


def test_a_family_of_a_mapping_gets_addresses_and_a_thingsboard_device_keeps_its_token(
    mapping: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spool = tmp_path / "gw.db"
    assert run(capsys, "device", "desk", "front", "--spool", spool, "--mapping", mapping)[0] == 0
    _, lines = run(capsys, "device", "tb", "door7", "--token", "A1_TEST_TOKEN", "--spool", spool)
    assert lines[-1].endswith("/api/v1/A1_TEST_TOKEN")
    assert [a["family"] for a in json.loads(beside(spool).read_text())] == ["desk", "tb"]
    for arguments, said in (
        (["desk", "front"], "need --mapping FILE"),
        (["tb", "door8", "--token", "A1_TEST_TOKEN"], "another device has that token"),
        (["tb", "door8", "--token", "short"], "12 to 64 letters"),
        (["zk", "CK1", "--token", "A1_TEST_TOKEN"], "family tb only"),
    ):
        with pytest.raises(SystemExit) as end:
            cli.main(["gateway", "device", *arguments, "--spool", str(spool)])
        assert said in str(end.value.code)


def test_a_gateway_whose_bus_is_on_the_internet_hears_no_face_terminal_there_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def heard(bus: str) -> bool:
        file = tmp_path / "gateway.toml"
        file.write_text(
            f'code = "gw-1"\nshard = 3\nspool = "{tmp_path}/gw.db"\nuplink_url = "mqtt://127.0.0.1"\nbus_url = "{bus}"\n'
        )
        setup = gateway_run.read(argparse.Namespace(config=file))
        return any("mqtt/face/#" in codec.topics for codec in setup.codecs)

    assert heard("mqtt://192.168.1.9")
    assert caplog.text == ""
    assert not heard("mqtts://mqtt.example.cn:8883")
    assert "face terminals on it are not heard" in caplog.text


def test_a_thingsboard_client_is_let_in_and_ended_in_the_broker_s_own_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Folder(tmp_path / "bus")
    folder.create(State(kind=Kind.MOSQUITTO, port=1883, users={}))
    _, lines = run(capsys, "mount", "site7", "--port", "1884", "--token", "A1_TEST_TOKEN", "--broker", folder.path)
    assert "A1_TEST_TOKEN" in lines[0]
    written = (folder.path / "mosquitto.conf").read_text().splitlines()
    assert written[written.index("listener 1884 127.0.0.1") + 1] == "mount_point tb/site7/"
    assert (folder.path / "acl-site7").read_text() == "user A1_TEST_TOKEN\ntopic readwrite tb/site7/v1/#\n"
    assert run(capsys, "mount", "site7", "--end", "--broker", folder.path)[0] == 0
    assert "mount_point" not in (folder.path / "mosquitto.conf").read_text()
    status, lines = run(capsys, "mount", "site7", "--end", "--broker", folder.path)
    assert (status, "there is no client site7" in lines[0]) == (1, True)


def test_a_thingsboard_client_needs_mosquitto_as_the_bus_and_a_port_of_its_own(tmp_path: Path) -> None:
    nats, mosquitto = Folder(tmp_path / "nats"), Folder(tmp_path / "mosquitto")
    nats.create(State(port=1883, users={}))
    mosquitto.create(State(kind=Kind.MOSQUITTO, port=1883, users={}))
    with pytest.raises(BrokerError, match="needs Mosquitto"):
        nats.mount("site7", "", 1884)
    assert len(mosquitto.mount("site7", "", 1884).token) == 20
    assert mosquitto.mount("site7", "A1_TEST_TOKEN", 1884).token == "A1_TEST_TOKEN"  # again: another token, the same port
    for name, token, port in (("site8", "", 1884), ("site8", "", 1883), ("site8", "", 0), ("a/b", "", 1885), ("s", "a b", 1885)):
        with pytest.raises(BrokerError):
            mosquitto.mount(name, token, port)
