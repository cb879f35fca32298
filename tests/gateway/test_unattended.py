"""A gateway that nobody looks after: weeks offline, a clock that was never set, full disks, a new setup, new credentials."""

import asyncio
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import numpy as np
import pytest

from gateway import service
from gateway.clock import HOUR_US, MINUTE_US, SECOND_US, now_us
from gateway.codecs.moment import place
from gateway.credentials import Credentials
from gateway.events import Event, Flag, Kind
from gateway.service import GatewayConfig
from gateway.setup import Reloads, Setup, SetupError
from gateway.spool import Spool
from gateway.status import StatusPage
from gateway.uplink import Key, Sender
from gateway.wire import Answer, Renewal, decode_body, decode_header, stream_text
from ingest.uplink import Receiver, Verdict
from smartcare.embedded import nats, process
from tests.gateway.bell import CODE, Bell, backend_of, config, device_of

__all__ = ["config"]
START_US = 1_790_000_000_000_000
BUDGET = 1 << 26


def edge(t_us: int, n: int) -> Event:
    return Event(device="z2m/door", kind=Kind.CONTACT, t_us=t_us, received_us=t_us, a=n % 2, b=n)


@dataclass
class Box:
    """Spool and sender of one gateway in virtual time, and a backend that can be away; `off` is a power cut."""

    path: Path
    now_us: int
    streams: int = 0

    def on(self) -> None:
        self.spool = Spool(self.path)
        self.sender = Sender(budget_bytes=BUDGET, epoch=self.spool.epoch())
        for held in self.spool.held():
            self.sender.restore(held.stream, held.first, held.sizes, held.marks)
        self.streams += 1
        self.spool.begin_stream(self.streams, self.now_us)
        self.sender.open(self.streams)

    def off(self) -> None:
        self.spool.close()

    def take(self, *events: Event) -> None:
        for size in self.spool.append(events, through_us=self.now_us):
            self.sender.sealed(size)

    def keep(self) -> None:
        delete, progress = self.sender.trim(self.now_us), self.sender.progress()
        self.spool.note(alive_us=self.now_us, progress=progress, delete=delete, blind=None)

    def deliver(self, receiver: Receiver) -> list[int]:
        """Connect and talk until nothing waits. Returns `b` of the events in the order stored; no frame may be lost."""
        stored: list[int] = []
        self.sender.connected()
        while self.sender.queued_frames:
            keys = self.sender.tick(self.now_us)
            assert keys, "it waits for something that never comes"
            for key in keys:
                data = self.spool.frame(key, self.sender.oldest(key.stream))
                assert data is not None
                offered = receiver.offer(1, decode_header(data))
                assert not offered.lost
                if offered.verdict is Verdict.STORE:
                    stored += decode_body(data).rows["b"].tolist()
                receiver.commit()
                answer = Answer(epoch=1, stream=stream_text(key.stream), seq=receiver.cursor(1, key.stream), window=200_000)
                self.sender.answer(answer, self.now_us)
            self.now_us += 200_000
        self.sender.disconnected(0)
        return stored


def test_what_was_taken_in_fourteen_days_offline_comes_whole_and_in_order_when_the_line_is_back(tmp_path: Path) -> None:
    box, receiver, n = Box(tmp_path / "spool.db", START_US), Receiver(), 0
    receiver.load(1, {})
    box.on()
    box.take(edge(box.now_us, n))
    assert box.deliver(receiver) == [0]
    for _ in range(14):
        for _ in range(24):
            n += 2
            box.take(edge(box.now_us, n - 1), edge(box.now_us + SECOND_US, n))
            box.now_us += HOUR_US
            box.keep()  # acknowledged frames grow old meanwhile, what waits never does
        box.off()  # the power fails every night
        box.on()
    assert box.sender.queued_frames == 14 * 24
    began_us = box.now_us
    assert box.deliver(receiver) == list(range(1, n + 1))
    assert box.now_us - began_us < 5 * MINUTE_US
    assert box.sender.queued_bytes == 0
    box.keep()
    box.off()


def test_a_disk_with_less_room_costs_what_is_stored_elsewhere_first_and_names_the_rest(tmp_path: Path) -> None:
    spool, sender, receiver = Spool(tmp_path / "spool.db"), Sender(budget_bytes=BUDGET), Receiver()
    receiver.load(1, {})
    spool.begin_stream(7, START_US)
    sender.open(7)
    for n in range(40):
        for size in spool.append([edge(START_US + n, n)] * 100, through_us=START_US + n):
            sender.sealed(size)
    sender.answer(Answer(epoch=1, stream=stream_text(7), seq=20, window=1), START_US)
    receiver.load(1, {7: 20})
    frame = sender.held_bytes // 40
    sender.limit(25 * frame)
    assert sender.trim(START_US) == [Key(7, 15)]  # those that are stored make room
    sender.limit(10 * frame)
    (cut,) = sender.trim(START_US)
    spool.note(alive_us=START_US, progress=None, delete=[cut], blind=None)
    assert cut == Key(7, 30)
    data = spool.frame(Key(7, 31), sender.oldest(7))
    assert data is not None
    assert receiver.offer(1, decode_header(data)).lost == (21, 30)
    assert 0 < spool.room() < 1 << 62
    spool.close()


def test_what_was_taken_before_the_clock_was_set_goes_out_with_the_right_times(tmp_path: Path) -> None:
    spool, boot = Spool(tmp_path / "spool.db"), 40 * SECOND_US  # 1970, as a box without a battery believes
    step = START_US - boot
    spool.begin_stream(7, boot)
    own = place(START_US + SECOND_US, boot + 2 * SECOND_US).event("face/1", Kind.PASSAGE, a=1, key=5)
    assert own.flags & Flag.TIME_IMPLAUSIBLE
    spool.append([edge(boot, 1)], through_us=boot)  # this one was on the way already
    spool.append([edge(boot + SECOND_US, 2), own], through_us=boot + 2 * SECOND_US)
    before = spool.frame(Key(7, 1), 1), spool.frame(Key(7, 2), 1)
    spool.shift(1, step)
    spool.close()
    spool = Spool(tmp_path / "spool.db")
    first, second = spool.frame(Key(7, 1), 1), spool.frame(Key(7, 2), 1)
    assert first == before[0]  # a frame that may have been seen never changes
    assert second is not None
    assert second != before[1]
    header, rows = decode_header(second), decode_body(second).rows
    assert header.through_us == START_US + 2 * SECOND_US
    assert rows["received_us"].tolist() == [START_US + SECOND_US, START_US + 2 * SECOND_US]
    assert rows["t_us"].tolist() == [START_US + SECOND_US, START_US + SECOND_US]  # the terminal knew the time
    assert np.all(rows["flags"] & int(Flag.TIME_IMPLAUSIBLE) == 0)
    spool.close()


async def test_a_box_that_boots_in_1970_says_so_and_sends_right_times_once_it_has_them(
    broker: nats.Broker, config: GatewayConfig
) -> None:
    wrong = [30 * SECOND_US - now_us()]
    port = process.free_port()
    alone = replace(config, uplink_url="mqtt://gw:x@127.0.0.1:1", status=f"127.0.0.1:{port}")
    async with device_of(broker) as device, asyncio.TaskGroup() as tasks, httpx.AsyncClient(trust_env=False) as client:
        task = tasks.create_task(service.run(alone, [Bell()], lambda: now_us() + wrong[0]))
        await until_status(client, port, lambda s: s["bus"])
        await device.ring(1)
        await device.answers(1)
        status = await until_status(client, port, lambda s: s["devices"])
        assert not status["clock_set"]
        assert "时钟未校准" in (await client.get(f"http://127.0.0.1:{port}/")).text
        wrong[0] = 0
        await until_status(client, port, lambda s: s["clock_set"])
        task.cancel()
    spool = Spool(config.spool)
    (held,) = spool.held()
    data = spool.frame(Key(held.stream, 1), 1)
    assert data is not None
    assert abs(int(decode_body(data).rows["t_us"][0]) - now_us()) < MINUTE_US
    spool.close()


async def test_the_status_page_is_for_this_machine_and_the_gateway_works_without_it(
    broker: nats.Broker, config: GatewayConfig, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(SetupError, match=r"127\.0\.0\.1"):
        StatusPage("0.0.0.0:0", lambda: None)  # type: ignore[arg-type, return-value]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        at = replace(config, status=f"127.0.0.1:{taken.getsockname()[1]}")
        async with backend_of(broker) as backend, asyncio.TaskGroup() as tasks:
            task = tasks.create_task(service.run(at, [Bell()]))
            await backend.ready()
            task.cancel()
    assert "no status page" in caplog.text


async def test_a_page_elsewhere_cannot_read_the_status_by_a_name_of_its_own(broker: nats.Broker, config: GatewayConfig) -> None:
    port = process.free_port()
    async with backend_of(broker) as backend, asyncio.TaskGroup() as tasks, httpx.AsyncClient(trust_env=False) as client:
        task = tasks.create_task(service.run(replace(config, status=f"127.0.0.1:{port}"), [Bell()]))
        await backend.ready()
        url = f"http://127.0.0.1:{port}"
        assert (await client.get(f"{url}/status.json", headers={"host": "evil.example:80"})).status_code == 404
        assert (await client.post(f"{url}/")).status_code == 404
        for lang, word in (("zh", "一切正常"), ("en", "All is well")):
            page = await client.get(f"{url}/?lang={lang}")
            assert word in page.text
            assert page.headers["content-security-policy"].startswith("default-src 'none'")
        task.cancel()


async def until_status(client: httpx.AsyncClient, port: int, true: object) -> dict[str, object]:
    assert callable(true)
    async with asyncio.timeout(20):
        while True:
            try:
                found: dict[str, object] = (await client.get(f"http://127.0.0.1:{port}/status.json")).json()
                if true(found):
                    return found
            except httpx.HTTPError:
                pass
            await asyncio.sleep(0.05)


@dataclass
class Chime(Bell):
    """Another family, as a mapping file adds one."""

    family: str = "chime"
    topics: tuple[str, ...] = ("bell/+", "chime/+")

    def matches(self, topic: str) -> bool:
        return topic.startswith(("bell/", "chime/"))


def put(file: Path, said: str) -> None:
    file.write_text(said)


@asynccontextmanager
async def reloading(config: GatewayConfig, file: Path) -> AsyncIterator[None]:
    """A gateway whose setup is in a file: how it differs from `config`, and whether it knows chimes."""

    def load() -> Setup:
        try:
            said = json.loads(file.read_text())
        except ValueError as e:
            raise SetupError(f"{file} cannot be read: {e}") from e
        return Setup(config=replace(config, **said["config"]), codecs=[Chime() if said["chimes"] else Bell()])

    put(file, json.dumps({"config": {}, "chimes": False}))
    setup, reloads = load(), Reloads([file], load)
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reloads.ask)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(service.run(setup.config, setup.codecs, reloads=reloads))
        yield
        task.cancel()
    asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)


async def test_a_new_setup_holds_without_a_message_being_lost(
    broker: nats.Broker, config: GatewayConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "setup.json"
    async with device_of(broker) as device, backend_of(broker) as backend, reloading(config, file):
        await backend.ready()
        for n, said in enumerate(("{", '{"config": {}, "chimes": true}', '{"config": {"zone": "UTC"}, "chimes": true}')):
            await device.ring(3 * n, 3 * n + 1)
            put(file, said)
            os.kill(os.getpid(), signal.SIGHUP)
            await device.ring(3 * n + 2)
        await backend.until(lambda: "restart: zone" in caplog.text)  # looked at with every heartbeat
        assert "stays as it was" in caplog.text
        async with asyncio.timeout(20):
            while not any(a == 100 for a, _ in backend.events):  # until the broker has taken the new subscription
                await device.client.publish("chime/a", b'{"n": 100}', qos=1)
                await asyncio.sleep(0.1)
        assert [a for a, _ in backend.events if a != 100] == list(range(9))


async def test_a_gateway_goes_over_to_the_credentials_that_the_backend_sends(broker: nats.Broker, config: GatewayConfig) -> None:
    given = broker.credentials.rotate(CODE)
    broker.stop()
    broker.start()  # it knows both by now
    async with device_of(broker) as device, backend_of(broker) as backend, asyncio.TaskGroup() as tasks:
        task = tasks.create_task(service.run(config, [Bell()]))
        await backend.ready()
        assert backend.heartbeats[-1].user == CODE
        await device.ring(1)
        await backend.say(Renewal(user="nobody", secret="wrong"))  # which the broker does not let in: back to the first
        async with asyncio.timeout(20):
            while backend.heartbeats[-1].user != given.user:  # said again, as to one that may be away
                await backend.say(Renewal(user=given.user, secret=given.secret))
                await asyncio.sleep(0.3)
        await device.ring(2)
        await backend.until(lambda: [a for a, _ in backend.events] == [1, 2])
        task.cancel()
    kept = Credentials(config.uplink_url, config.spool.with_suffix(".uplink.json"))
    assert kept.present() == (given.user, given.secret)
    assert config.spool.with_suffix(".uplink.json").stat().st_mode & 0o777 == 0o600


def test_credentials_that_do_not_work_lock_nobody_out(tmp_path: Path) -> None:
    file = tmp_path / "uplink.json"
    ours = Credentials("mqtt://gw:old%21@host", file)
    assert ours.present() == ("gw", "old!")
    assert ours.renew(Renewal(user="gw.2", secret="new"))
    assert not ours.renew(Renewal(user="gw.2", secret="new"))
    shown = []
    for _ in range(3):
        shown.append(ours.present()[0])
        ours.refused()
    assert shown == ["gw.2", "gw", "gw.2"]
    assert ours.renew(Renewal(user="gw.2", secret="new"))  # it was refused just now, and is tried once more
    assert Credentials("mqtt://gw:old%21@host", file).present() == ("gw.2", "new")
    ours.reconfigure("mqtt://gw:typed@host")  # somebody went there and set it up by hand
    assert ours.present() == ("gw", "typed")
    assert not file.exists()
    file.write_bytes(b"{")
    assert Credentials("mqtt://gw:typed@host", file).present() == ("gw", "typed")
