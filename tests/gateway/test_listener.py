"""The HTTP side of the gateway: real requests to a real gateway process's listener, over loopback."""

import asyncio
import gzip
import json
import socket
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from gateway import listener, service
from gateway.addresses import AddressError, Addresses, beside
from gateway.clock import now_us
from gateway.codecs.families import codecs
from gateway.events import Kind
from gateway.listener import Listener, Posted, is_local, is_on_site
from gateway.service import GatewayConfig
from gateway.wire import Body, Header, decode_body, encode_frame
from tests.gateway.codecs.test_face_http import HEARTBEAT
from tests.gateway.codecs.test_hikaccess import EVENT, MULTIPART

NOBODY = "mqtt://127.0.0.1:1"
JPEG = "multipart/form-data; boundary=MIME_boundary"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as s:
        port: int = s.getsockname()[1]
        return port


def bodies(spool: Path) -> list[Body]:
    """Return what the spool of a gateway that has ended holds."""
    with sqlite3.connect(spool) as db:
        rows = db.execute("SELECT body FROM frame ORDER BY stream, seq").fetchall()
    db.close()
    header = Header(stream=1, seq=1, oldest=1, since_us=0, through_us=1)
    return [decode_body(encode_frame(header, row[0])) for row in rows]


def kinds(spool: Path) -> list[tuple[str, int]]:
    return [(body.devices[int(row["device"])], int(row["kind"])) for body in bodies(spool) for row in body.rows]


@dataclass
class Running:
    spool: Path
    addresses: Addresses
    client: httpx.AsyncClient

    async def post(self, path: str, content: bytes, kind: str = "application/json") -> httpx.Response:
        return await self.client.post(path, content=content, headers={"content-type": kind})


@asynccontextmanager
async def gateway(tmp_path: Path) -> AsyncIterator[Running]:
    """Run a whole gateway whose brokers cannot be reached: HTTP needs neither."""
    spool, port = tmp_path / "spool.db", free_port()
    config = GatewayConfig(
        code="gw-1", shard=1, uplink_url=NOBODY, bus_url=NOBODY, spool=spool, heartbeat_s=1, http=f"127.0.0.1:{port}"
    )
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client, asyncio.TaskGroup() as tasks:
        task = tasks.create_task(service.run(config, codecs()))
        async with asyncio.timeout(60):
            while True:
                try:
                    await client.get("/")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.02)
        yield Running(spool, Addresses(beside(spool)), client)
        task.cancel()


async def test_each_vendor_hears_its_own_answer_and_the_spool_has_the_events(tmp_path: Path) -> None:
    async with gateway(tmp_path) as g:
        face = g.addresses.add("face", "2046381").path
        hik = g.addresses.add("hikaccess", "front").path
        g.addresses.add("zk", "CKJB201360017")
        answers = [
            await g.post(f"{face}/Subscribe/heartbeat", HEARTBEAT),
            await g.post(hik, MULTIPART, JPEG),
            await g.post(
                "/iclock/cdata?SN=CKJB201360017&table=ATTLOG&Stamp=9999", b"17\t2026-09-21 22:13:15\t0\t15\n", "text/plain"
            ),
            await g.client.get("/iclock/iclock/getrequest?SN=CKJB201360017"),
            await g.post("/iclock/cdata?SN=CKJB201360017&table=tabledata&tablename=user&count=2", b"user pin=1\nuser pin=2\n"),
        ]
    assert [(a.status_code, a.content) for a in answers] == [
        (200, b'{"code":200,"desc":"OK"}'),
        (200, b"OK"),
        (200, b"OK"),
        (200, b"OK"),
        (200, b"user=2"),
    ]
    assert answers[0].headers["content-type"] == "application/json"
    assert kinds(g.spool)[:3] == [
        ("face/2046381", Kind.ALIVE),
        ("hikaccess/front", Kind.PASSAGE),
        ("zk/CKJB201360017", Kind.PASSAGE),
    ]


async def test_of_many_at_once_each_hears_its_own_answer(tmp_path: Path) -> None:
    async with gateway(tmp_path) as g:
        face = f"{g.addresses.add('face', '2046381').path}/Subscribe/heartbeat"
        hik = g.addresses.add("hikaccess", "front").path
        asked = [(face, HEARTBEAT, b'{"code":200,"desc":"OK"}'), (hik, EVENT, b"OK"), (hik, b"{", b"")] * 15
        async with asyncio.TaskGroup() as tasks:
            answers = [tasks.create_task(g.post(path, body)) for path, body, _ in asked]
    assert [a.result().content for a in answers] == [expected for *_, expected in asked]


async def test_an_address_that_nobody_gave_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    async with gateway(tmp_path) as g:
        old = g.addresses.add("hikaccess", "front").path
        new = g.addresses.add("hikaccess", "front").path
        for path in ("/", "/d/", "/d/" + "x" * 24, old, f"{new}x", "/iclock/cdata?SN=ANYONE&table=ATTLOG"):
            assert (await g.post(path, EVENT)).status_code == 404, path
        assert (await g.post(f"{new}/any/where", EVENT)).status_code == 200
    assert kinds(g.spool) == [("hikaccess/front", Kind.PASSAGE)]
    with sqlite3.connect(g.spool) as db:
        assert db.execute("SELECT count(*) FROM quarantine").fetchone() == (0,)
    db.close()


async def test_what_cannot_be_read_is_not_answered_as_done_and_is_quarantined_masked(tmp_path: Path) -> None:
    async with gateway(tmp_path) as g:
        path = g.addresses.add("hikaccess", "front").path
        assert (await g.post(path, b'{"name":"Wang Xiuying"')).status_code == 400
    with sqlite3.connect(g.spool) as db:
        assert db.execute("SELECT family, reason, head FROM quarantine").fetchall() == [
            ("hikaccess", "bad_json", b'{"xxxx":"xxxx xxxxxxx"')
        ]
    db.close()


async def test_a_deflated_body_is_read_and_one_that_inflates_for_ever_is_refused(tmp_path: Path) -> None:
    async with gateway(tmp_path) as g:
        path = g.addresses.add("dahua", "side").path
        headers = {"content-encoding": "gzip"}
        assert (await g.client.post(path, content=gzip.compress(b"Heartbeat"), headers=headers)).status_code == 200
        bomb = gzip.compress(b"\n\x00" * 20_000_000)
        assert (await g.client.post(path, content=bomb, headers=headers)).status_code == 413
        assert (await g.client.post(path, content=b"no gzip", headers=headers)).status_code == 413
        assert (await g.post(path, b"x y" * 100_000)).status_code == 413


async def test_a_terminal_that_breaks_off_in_the_picture_is_heard(tmp_path: Path) -> None:
    async with gateway(tmp_path) as g:
        path = g.addresses.add("hikaccess", "front").path
        url = g.client.base_url
        _, writer = await asyncio.open_connection(url.host, url.port)
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {JPEG}\r\nContent-Length: {len(MULTIPART)}\r\n\r\n"
        writer.write(head.encode() + MULTIPART[:-40])
        await writer.drain()
        writer.close()
        await writer.wait_closed()
        other = g.addresses.add("hikaccess", "back").path
        assert (await g.post(other, EVENT)).status_code == 200
        assert (await g.post(other, EVENT)).status_code == 200
    assert ("hikaccess/front", Kind.PASSAGE) in kinds(g.spool)


CHILD = """
import asyncio, pathlib, resource
from gateway import service
from gateway.codecs.families import codecs
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
config = service.GatewayConfig(code="gw-1", shard=1, uplink_url={nobody!r}, bus_url={nobody!r}, spool=pathlib.Path({spool!r}),
    http={http!r})
asyncio.run(service.run(config, codecs()))
"""


def test_a_device_is_answered_only_for_what_a_filling_disk_still_took(tmp_path: Path) -> None:
    spool, port = tmp_path / "spool.db", free_port()
    path = Addresses(beside(spool)).add("hikaccess", "front").path
    script = CHILD.format(limit=300_000, nobody=NOBODY, spool=str(spool), http=str(port))
    child = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)
    answered = 0
    try:
        transport = httpx.HTTPTransport(retries=8)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", transport=transport, trust_env=False, timeout=10) as client:
            for n in range(2000):
                try:
                    said = client.post(path, content=EVENT.replace(b"5120", str(10_000 + n).encode()))
                except httpx.TransportError:
                    break
                if said.status_code != 200:
                    break
                answered += 1
        assert child.wait(20) != 0
        assert child.stderr
        assert "free the disk" in child.stderr.read()
    finally:
        child.kill()
        child.wait()
        if child.stderr:
            child.stderr.close()
    assert 5 < answered < 1990
    keys = {int(row["key"]) for body in bodies(spool) for row in body.rows}
    assert keys >= set(range(10_000, 10_000 + answered))


# ---------------------------------------------------------------------- the listener alone


@asynccontextmanager
async def alone(tmp_path: Path, *, local: bool = True) -> AsyncIterator[tuple[Listener, httpx.AsyncClient, str, asyncio.Event]]:
    news = asyncio.Event()
    addresses = Addresses(tmp_path / "devices.json")
    path = addresses.add("hikaccess", "front").path
    subject = Listener("127.0.0.1:0", addresses, now_us, news.set)
    subject.local = local
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{subject.port}", trust_env=False) as client,
        asyncio.TaskGroup() as tasks,
    ):
        task = tasks.create_task(subject.run())
        yield subject, client, path, news
        task.cancel()


async def test_nothing_is_answered_before_the_spool_has_it(tmp_path: Path) -> None:
    async with alone(tmp_path) as (subject, client, path, news), asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(client.post(path, content=EVENT))
        await news.wait()
        assert subject.take(0) == []  # not yet covered by what the gateway says it has taken
        (posted,) = subject.take(now_us())
        await client.get("/")  # another request comes and goes
        assert not waiting.done()
        posted.answered.set_result(b"OK")
        assert (await waiting).content == b"OK"


async def test_a_slow_spool_sends_devices_away_and_forgets_what_they_will_say_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "SLOTS", 2)
    monkeypatch.setattr(listener, "SLOT_S", 0.05)
    monkeypatch.setattr(listener, "ANSWER_S", 0.5)
    async with alone(tmp_path) as (subject, client, path, _), asyncio.TaskGroup() as tasks:
        sent = [tasks.create_task(client.post(path, content=EVENT)) for _ in range(5)]
        answers = [await s for s in sent]
        assert [a.status_code for a in answers] == [503] * 5
        assert subject.take(now_us()) == []
        again = tasks.create_task(client.post(path, content=EVENT))
        posts: list[Posted] = []
        while not posts:
            await asyncio.sleep(0)
            posts = subject.take(now_us())
        posts[0].answered.set_result(b"OK")
        assert (await again).status_code == 200


async def test_who_waits_when_the_gateway_leaves_is_told_to_say_it_again(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as tasks:
        async with alone(tmp_path) as (_, client, path, news):
            waiting = tasks.create_task(client.post(path, content=EVENT))
            await news.wait()
        assert (await waiting).status_code == 503


async def test_on_the_internet_the_first_picture_blocks_the_device_and_says_how_to_turn_it_off(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    body = MULTIPART.replace(b"JFIF", b"JFIF" * 3000)
    async with alone(tmp_path, local=False) as (subject, client, path, _):
        refused = await client.post(path, content=body, headers={"content-type": JPEG})
        assert refused.status_code == 403
        assert "Upload Captured Picture" in refused.text
        assert subject.take(now_us()) == []
        assert (await client.post(path, content=EVENT)).status_code == 403  # until it is added again
        fresh = Addresses(tmp_path / "devices.json").add("hikaccess", "front").path
        assert (await client.post(path, content=EVENT)).status_code == 404
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(client.post(fresh, content=EVENT))
            posts: list[Posted] = []
            while not posts:
                await asyncio.sleep(0)
                posts = subject.take(now_us())
            posts[0].answered.set_result(b"OK")
            assert (await waiting).status_code == 200
    assert "blocked" in caplog.text
    assert path not in caplog.text


DATA_URL = b'{"pic":"data:image/jpeg;base64,' + b"QUJD" * 200 + b'"}'


@pytest.mark.parametrize(
    ("family", "content", "words"),
    [
        ("face", DATA_URL, "VerifyNoPic"),
        ("hikaccess", DATA_URL, "Upload Captured Picture"),
        ("hikcount", MULTIPART, "turn off the picture"),
        ("zk", b"biophoto pin=17\tcontent=" + b"QUJD" * 200, "turn off capture mode"),
        ("dahua", MULTIPART, "turn off picture upload"),
        ("tb", DATA_URL, "turn off the upload of pictures"),
    ],
)
async def test_whoever_sends_a_picture_over_the_internet_is_told_how_to_turn_it_off_in_the_vendor_s_words(
    family: str, content: bytes, words: str, tmp_path: Path
) -> None:
    async with alone(tmp_path, local=False) as (subject, client, _, _):
        path = Addresses(tmp_path / "devices.json").add(family, "x1").path
        content_type = JPEG if content is MULTIPART else "text/plain"
        refused = await client.post(path, content=content, headers={"content-type": content_type})
        assert (refused.status_code, words in refused.text) == (403, True)
        assert (await client.post(path, content=b"{}")).status_code == 403
        assert subject.take(now_us()) == []


async def test_on_the_internet_a_serial_number_is_no_credential(tmp_path: Path) -> None:
    async with alone(tmp_path, local=False) as (_, client, _, _):
        Addresses(tmp_path / "devices.json").add("zk", "CKJB201360017")
        assert (await client.get("/iclock/getrequest?SN=CKJB201360017")).status_code == 404


@pytest.mark.parametrize(
    ("url", "on_site"),
    [
        ("mqtt://bus:secret@127.0.0.1:1883", True),
        ("mqtts://192.168.1.9", True),
        ("mqtt://[::1]:1883", True),
        ("mqtt://mosquitto:1883", True),
        ("mqtt://bus.local", True),
        ("mqtts://bus:secret@mqtt.example.cn:8883", False),
        ("mqtt://203.0.114.5", False),
    ],
)
def test_face_terminals_are_not_heard_over_a_bus_on_the_internet(url: str, on_site: bool) -> None:
    assert is_on_site(url) == on_site
    heard = {topic for codec in codecs(on_site=is_on_site(url)) for topic in codec.topics}
    assert ("mqtt/face/#" in heard) == on_site
    assert any(codec.matches("http/face/2046381/Verify") for codec in codecs(on_site=on_site))


@pytest.mark.parametrize(
    ("host", "local"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("localhost", True),
        ("192.168.1.9", True),
        ("10.0.0.4", True),
        ("0.0.0.0", False),
        ("::", False),
        ("203.0.114.5", False),
        ("care.example", False),
    ],
)
def test_a_listener_for_everyone_is_not_local(host: str, local: bool) -> None:
    assert is_local(host) == local


async def test_a_thingsboard_device_keeps_its_token_and_thingsboard_s_path_and_no_other_path_has_it(tmp_path: Path) -> None:
    async with gateway(tmp_path) as g:
        g.addresses.add("tb", "door7", "A1_TEST_TOKEN_0000000")
        hik = g.addresses.add("hikaccess", "front").path.removeprefix("/d/")
        said = await g.post("/api/v1/A1_TEST_TOKEN_0000000/telemetry", b'{"contact":true}')
        asked = await g.client.get("/api/v1/A1_TEST_TOKEN_0000000/attributes?sharedKeys=x")
        for path in ("/d/A1_TEST_TOKEN_0000000", f"/api/v1/{hik}/telemetry", "/api/v1/A1_TEST_TOKEN_0000001/telemetry"):
            assert (await g.post(path, b"{}")).status_code == 404, path
    assert [(a.status_code, a.content) for a in (said, asked)] == [(200, b""), (200, b"{}")]
    assert set(kinds(g.spool)) == {("tb/door7", Kind.ALIVE)}  # nobody has said what its keys mean


@pytest.mark.parametrize("name", ["", "a/b", "门", "..", "x" * 65, "a b"])
def test_a_name_that_would_not_fit_a_topic_gets_no_address(tmp_path: Path, name: str) -> None:
    with pytest.raises(AddressError):
        Addresses(tmp_path / "devices.json").add("zk", name)


def test_the_file_of_addresses_is_for_its_owner_only_and_a_damaged_one_is_said(tmp_path: Path) -> None:
    file = tmp_path / "devices.json"
    Addresses(file).add("zk", "CK1")
    assert file.stat().st_mode & 0o777 == 0o600
    assert [a["name"] for a in json.loads(file.read_text())] == ["CK1"]
    file.write_text("[")
    with pytest.raises(AddressError):
        Addresses(file)


def test_the_command_gives_an_address(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "smartcare", "gateway", "device", "zk", "CK1", "--spool", str(tmp_path / "spool.db")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    (address,) = json.loads(beside(tmp_path / "spool.db").read_text())
    assert f"/d/{address['token']}" in said
