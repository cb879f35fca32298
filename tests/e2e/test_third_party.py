"""Equipment and clients that are not ours, unchanged: through a real Mosquitto and a real gateway process into its spool.

ThingsBoard's own Python client (tb-mqtt-client) as device and as gateway, `mosquitto_pub`, and `curl` with what the gallery of
docs/devices.md says that vendors send. The client brings its own fork of paho and a module called `utils`, so it is installed
into build/thirdparty and runs as a program of its own.
"""

import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from gateway.addresses import Addresses, beside
from gateway.codecs.telling import told
from gateway.events import Event, Flag, Kind
from gateway.wire import Header, decode_body, encode_frame
from smartcare.broker import DEVICE_BUS, State
from smartcare.broker import Kind as Broker
from smartcare.embedded import process
from tests import gallery
from tests.e2e.brokers import Mosquitto
from tests.programs import need

pytestmark = pytest.mark.e2e
CLIENT = Path(__file__).parents[2] / "build" / "thirdparty"
TOKEN, SITE_TOKEN = "A1b2C3d4E5f6G7h8I9j0", "Z9y8X7w6V5u4T3s2R1q0"
PATIENCE_S = 20
MEANT = ("device", "kind", "is", "fault", "line", "in", "out", "region", "people", "percent", "by", "result", "list")
"""What an example means at any time of day; its time is in the past by now."""

DEVICE = """
import sys
from tb_device_mqtt import TBDeviceMqttClient
port, token, ms = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
client = TBDeviceMqttClient("127.0.0.1", port, token)
client.connect()
while not client.is_connected():
    pass
results = [
    client.send_telemetry({"contact": True, "batteryLevel": 87}),
    client.send_telemetry([{"ts": ms, "values": {"contact": False}}, {"ts": ms + 1000, "values": {"contact": True}}]),
    client.send_attributes({"batteryLevel": 86}),
]
print([result.get() for result in results])
client.disconnect()
"""
GATEWAY = """
import sys
from tb_gateway_mqtt import TBGatewayMqttClient
port, token, ms = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
client = TBGatewayMqttClient("127.0.0.1", port, token)
client.connect()
while not client.is_connected():
    pass
results = [
    client.gw_connect_device("door 1", "door sensor"),
    client.gw_send_telemetry("door 1", {"ts": ms, "values": {"contact": True}}),
    client.gw_send_telemetry("door 1", [{"ts": ms + 1000, "values": {"contact": False}}]),
    client.gw_send_telemetry("hall", {"enter": 5, "leave": 4}),
    client.gw_send_attributes("door 1", {"batteryLevel": 55}),
    client.gw_disconnect_device("door 1"),
]
print([result.get() for result in results])
client.disconnect()
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A broker and a gateway of one site. ports: of the ThingsBoard clients, by name."""

    broker: Mosquitto
    spool: Path
    http: int
    ports: dict[str, int]
    log: Path

    def stored(self) -> list[Event]:
        """Return what the spool has, in order. The gateway keeps the file locked, so a copy is read."""
        copy = self.spool.with_name("copy.db")
        for end in ("", "-wal"):
            shutil.copyfile(f"{self.spool}{end}", f"{copy}{end}")
        with contextlib.closing(sqlite3.connect(copy)) as db:
            bodies = [row[0] for row in db.execute("SELECT body FROM frame ORDER BY stream, seq")]
        header = Header(stream=1, seq=1, oldest=1, since_us=0, through_us=1)
        return [e for body in bodies for e in _events(decode_body(encode_frame(header, body)))]

    def until(self, done: Callable[[list[Event]], bool]) -> list[Event]:
        """Wait until the spool has what is wanted; fail with what it has."""
        deadline = time.monotonic() + PATIENCE_S
        events: list[Event] = []
        while True:
            with contextlib.suppress(sqlite3.DatabaseError):  # copied in the middle of a write
                if done(events := self.stored()):
                    break
            assert time.monotonic() < deadline, f"{[told(e) for e in events]}\n{self.log.read_text()}"
            time.sleep(0.05)
        return events

    def of(self, prefix: str, count: int) -> list[Event]:
        """Return the events of a device or a gateway's devices, once there are as many."""

        def ours(events: list[Event]) -> list[Event]:
            return [e for e in events if e.device == prefix or e.device.startswith(f"{prefix}/")]

        return ours(self.until(lambda events: len(ours(events)) >= count))


def _events(body: Any) -> list[Event]:
    return [
        Event(
            device=body.devices[int(r["device"])],
            kind=Kind(int(r["kind"])),
            flags=Flag(int(r["flags"])),
            t_us=int(r["t_us"]),
            received_us=int(r["received_us"]),
            aux=int(r["aux"]),
            a=int(r["a"]),
            b=int(r["b"]),
        )
        for r in body.rows
    ]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """One site for the module; each test has devices of its own."""
    need(Mosquitto.program(), "mosquitto")
    folder = tmp_path_factory.mktemp("site")
    broker = Mosquitto(folder / "broker", declared=State(kind=Broker.MOSQUITTO, port=process.free_port(), users={}))
    ports = {}
    for name, token in (("door7", TOKEN), ("site7", SITE_TOKEN)):
        ports[name] = broker.credentials.mount(name, token, process.free_port()).port
    broker.start()
    (folder / "mapping.yaml").write_text(gallery.mapping_text(), encoding="utf-8")
    spool, http = folder / "spool.db", process.free_port()
    arguments = ["--code", "gw-1", "--shard", "3", "--spool", str(spool), "--http", str(http)]
    command = [sys.executable, "-m", "smartcare", "gateway", "run", *arguments, "--mapping", str(folder / "mapping.yaml")]
    env = os.environ | {"SMARTCARE_UPLINK_URL": "mqtt://127.0.0.1:1", "SMARTCARE_BUS_URL": broker.url(DEVICE_BUS)}
    running = process.spawn(command, log=folder / "gateway.log", env=env)
    found = Site(broker=broker, spool=spool, http=http, ports=ports, log=folder / "gateway.log")
    try:
        process.wait_ready(running, lambda: "connected to the devices' broker" in found.log.read_text(), what="gw", log=found.log)
        yield found
    finally:
        process.stop(running, signal.SIGTERM, 5)
        broker.stop()


@pytest.fixture(scope="module")
def thirdparty() -> Path:
    """ThingsBoard's client, installed once."""
    if not (CLIENT / "tb_device_mqtt.py").exists():
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target", str(CLIENT)]
        done = subprocess.run([*pip, "tb-mqtt-client>=1.13.14", "mmh3"], capture_output=True, text=True, check=False)
        if done.returncode:
            need(None, f"tb-mqtt-client (pip: {done.stderr.strip().splitlines()[-1]})")
    return CLIENT


def run_client(script: str, thirdparty: Path, port: int, token: str, ms: int) -> str:
    env = os.environ | {"PYTHONPATH": str(thirdparty)}
    command = [sys.executable, "-c", script, str(port), token, str(ms)]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=PATIENCE_S).stdout


def meant(event: Event) -> tuple[Any, ...]:
    said = told(event)
    values = [said[name] for name in MEANT[2:] if name in said]
    return (event.device, event.kind.name, *values)


def now_ms() -> int:
    return time.time_ns() // 1_000_000 - 5000  # noqa: TID251 - what the client's own clock would say


def test_thingsboard_s_own_client_speaks_to_us_as_a_device(site: Site, thirdparty: Path) -> None:
    ms = now_ms()
    assert run_client(DEVICE, thirdparty, site.ports["door7"], TOKEN, ms) == "[0, 0, 0]\n"
    events = site.of("tb/door7", 5)
    assert [meant(e) for e in events] == [
        ("tb/door7", "CONTACT", "closed"),
        ("tb/door7", "BATTERY", 87),
        ("tb/door7", "CONTACT", "open"),
        ("tb/door7", "CONTACT", "closed"),
        ("tb/door7", "BATTERY", 86),
    ]
    assert [e.t_us for e in events[2:4]] == [ms * 1000, (ms + 1000) * 1000]
    assert [e.flags for e in events[2:4]] == [Flag.HAS_KEY, Flag.HAS_KEY]  # two edges


def test_thingsboard_s_own_client_speaks_to_us_as_a_gateway(site: Site, thirdparty: Path) -> None:
    assert run_client(GATEWAY, thirdparty, site.ports["site7"], SITE_TOKEN, now_ms()) == "[0, 0, 0, 0, 0, 0]\n"
    assert [meant(e) for e in site.of("tb/site7", 6)] == [
        ("tb/site7/door 1", "LINK", "online"),
        ("tb/site7/door 1", "CONTACT", "closed"),
        ("tb/site7/door 1", "CONTACT", "open"),
        ("tb/site7/hall", "COUNT_TOTAL", 1, 5, 4),
        ("tb/site7/door 1", "BATTERY", 55),
        ("tb/site7/door 1", "LINK", "offline"),
    ]


def publish(site: Site, topic: str, payload: bytes, *user: str, port: int = 0) -> None:
    program = need(shutil.which("mosquitto_pub"), "mosquitto-clients")
    command = [program, "-h", "127.0.0.1", "-p", str(port or site.broker.port), "-q", "1", "-t", topic, "-s", *user]
    subprocess.run(command, input=payload, check=True, timeout=PATIENCE_S)


def test_mosquitto_pub_with_a_token_is_the_device_and_with_another_one_nobody(site: Site) -> None:
    port = site.ports["site7"]
    publish(site, "v1/gateway/telemetry", b'{"door 3":[{"batteryLevel":1}]}', "-u", "not-the-token", port=port)
    publish(site, "v1/gateway/telemetry", b'{"door 4":[{"batteryLevel":2}]}', "-u", TOKEN, port=port)  # of another client
    publish(site, "v1/gateway/telemetry", b'{"door 2":[{"batteryLevel":44}]}', "-u", SITE_TOKEN, port=port)
    site.of("tb/site7/door 2", 1)
    assert not [e for e in site.stored() if e.device in ("tb/site7/door 3", "tb/site7/door 4")]


MQTT = [e for e in gallery.examples() if e.posted is None]
HTTP = [e for e in gallery.examples() if e.posted]


def wanted(examples: list[gallery.Example]) -> list[tuple[Any, ...]]:
    lines = (line for example in examples for line in example.stored)
    return [(line["device"], line["kind"], *(line[n] for n in MEANT[2:] if n in line)) for line in lines]


def test_mosquitto_pub_sends_what_the_gallery_says_and_its_events_are_in_the_spool(site: Site) -> None:
    user = urlsplit(site.broker.url(DEVICE_BUS))
    for example in MQTT:
        mounted = example.topic.removeprefix("tb/site7/")
        if mounted == example.topic:
            publish(site, example.topic, example.payload, "-u", user.username or "", "-P", user.password or "")
        else:
            publish(site, mounted, example.payload, "-u", SITE_TOKEN, port=site.ports["site7"])
    missing = set(wanted(MQTT))
    site.until(lambda events: missing <= {meant(e) for e in events})


def test_curl_posts_what_the_gallery_says_and_its_events_are_in_the_spool(site: Site) -> None:
    curl = need(shutil.which("curl"), "curl")
    addresses = Addresses(beside(site.spool))
    paths: dict[tuple[str, str], str] = {}
    for example in HTTP:
        assert example.posted
        family, name, more = example.posted
        if (family, name) not in paths:
            token = TOKEN if family == "tb" else ""
            paths[family, name] = addresses.add(family, name, token).path
        url = f"http://127.0.0.1:{site.http}{paths[family, name]}{more}"
        command = [curl, "-sS", "--fail", "--noproxy", "*", "--data-binary", "@-", "-H", "Content-Type: text/plain", url]
        subprocess.run(command, input=example.payload, check=True, capture_output=True, timeout=PATIENCE_S)
    missing = set(wanted(HTTP))
    site.until(lambda events: missing <= {meant(e) for e in events})
