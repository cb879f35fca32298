"""The gateway process against a real broker: devices on one side, a small scripted backend on the other."""

import asyncio
import contextlib
import json
import logging
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import aiomqtt
import pytest

from gateway import service
from gateway.clock import HOUR_US, MINUTE_US, now_us
from gateway.codecs.contract import BlindChange, Decoded, Message, Reject, Reply
from gateway.events import Event, Kind
from gateway.service import GatewayConfig
from gateway.wire import (
    Answer,
    Config,
    Down,
    Heartbeat,
    PersonLink,
    Refusal,
    decode_body,
    decode_header,
    decode_heartbeat,
    encode_message,
    is_frame,
    parse_stream,
    stream_text,
)
from ingest.uplink import Receiver, Verdict
from smartcare.embedded import nats

SHARD, CODE = 3, "gw-1"
PATIENCE_S = 40


class Bell:
    """A codec of one family: `bell/<name>` with {"n": …} is an event; the device hears `bell/<name>/ok`."""

    family = "bell"
    topics: tuple[str, ...] = ("bell/+",)

    def matches(self, topic: str) -> bool:
        return topic.startswith("bell/")

    def decode(self, message: Message, memory: Mapping[str, int], persons: Mapping[tuple[str, str], bytes]) -> Decoded:
        device = message.topic
        if message.payload in (b"deaf", b"hearing"):
            return Decoded(blind=(BlindChange(source="bell/", blind=message.payload == b"deaf", reason="bell hub offline"),))
        said = json.loads(message.payload)  # what is no JSON breaks this codec: the service must live with it
        if "n" not in said:
            return Decoded(reject=Reject(reason="no_number", detail="a ring has a number", picture=True))
        t = message.received_us
        event = Event(
            device=device,
            kind=Kind.COUNT_TOTAL,
            t_us=t,
            received_us=t,
            a=said["n"],
            b=memory.get(device, 0),
            person=persons.get((device, said.get("who", ""))),
        )
        reply = Reply(topic=f"{device}/ok", payload=str(said["n"]).encode())
        return Decoded(events=(event,), memory={device: said["n"]}, replies=(reply,))


@dataclass
class Backend:
    """Stores what is offered, in memory, and answers as a worker does."""

    client: aiomqtt.Client
    epoch: int = 1
    answering: bool = True
    receiver: Receiver = field(default_factory=Receiver)
    events: list[tuple[int, int]] = field(default_factory=list)
    persons: list[bytes] = field(default_factory=list)
    heartbeats: list[Heartbeat] = field(default_factory=list)
    covered: list[Heartbeat] = field(default_factory=list)
    lost: list[tuple[int, int]] = field(default_factory=list)
    news: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def run(self) -> None:
        self.receiver.load(1, {})
        async for message in self.client.messages:
            assert isinstance(message.payload, bytes)
            await self.hear(message.payload)
            if (task := asyncio.current_task()) and task.cancelling():
                return  # the client's waiting may swallow the cancellation
            async with self.news:
                self.news.notify_all()

    async def hear(self, data: bytes) -> None:
        if not is_frame(data):
            self.heartbeats.append(decode_heartbeat(data))
        if not self.answering:
            return
        if is_frame(data):
            header = decode_header(data)
            stream = header.stream
            offered = self.receiver.offer(1, header)
            if offered.lost:
                self.lost.append(offered.lost)
            if offered.verdict is Verdict.STORE:
                body = decode_body(data)
                self.events += [(int(a), int(b)) for a, b in zip(body.rows["a"], body.rows["b"], strict=True)]
                self.persons += body.persons
                assert all(header.since_us <= t <= header.through_us for t in body.rows["received_us"])
            self.receiver.commit()
        else:
            heartbeat = decode_heartbeat(data)
            stream = parse_stream(heartbeat.stream)
            if self.receiver.covers(1, stream, heartbeat.seq):
                self.covered.append(heartbeat)
        seq = self.receiver.cursor(1, stream)
        await self.say(Answer(epoch=self.epoch, stream=stream_text(stream), seq=seq, window=100_000))

    async def say(self, message: Down) -> None:
        await self.client.publish(f"care/v1/{SHARD}/{CODE}/down", encode_message(message))

    async def ready(self) -> None:
        """Wait until a gateway that was just started says that it hears its devices."""
        seen = {h.stream for h in self.heartbeats}
        await self.until(lambda: self.heartbeats[-1:] and self.heartbeats[-1].stream not in seen and self.hearing())

    def hearing(self) -> bool:
        return all(b.to_us for b in self.heartbeats[-1].blind)

    async def until(self, done: Callable[[], object]) -> None:
        async with asyncio.timeout(PATIENCE_S), self.news:
            await self.news.wait_for(lambda: bool(done()))


def mqtt(url: str, identifier: str | None = None) -> aiomqtt.Client:
    at = urlsplit(url)
    assert at.hostname
    return aiomqtt.Client(at.hostname, at.port or 0, username=at.username, password=at.password, identifier=identifier)


@pytest.fixture
def config(broker: nats.Broker, tmp_path: Path) -> GatewayConfig:
    broker.add_gateway(CODE, SHARD)
    broker.stop()
    broker.start()
    return GatewayConfig(
        code=CODE,
        shard=SHARD,
        uplink_url=broker.url(CODE),
        bus_url=broker.url(nats.DEVICE_BUS),
        spool=tmp_path / "spool.db",
        heartbeat_s=0.1,
        reconnect_jitter_s=0.1,
    )


@asynccontextmanager
async def running(config: GatewayConfig) -> AsyncIterator[asyncio.Task[None]]:
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(service.run(config, [Bell()]))
        yield task
        task.cancel()


@asynccontextmanager
async def backend_of(broker: nats.Broker) -> AsyncIterator[Backend]:
    async with mqtt(broker.url(nats.WORKER)) as client, asyncio.TaskGroup() as tasks:
        await client.subscribe("care/v1/+/+/up")
        backend = Backend(client)
        task = tasks.create_task(backend.run())
        yield backend
        task.cancel()


@dataclass
class Device:
    """A device that waits for its answer."""

    client: aiomqtt.Client

    async def ring(self, *numbers: int, who: str = "") -> None:
        for n in numbers:
            await self.client.publish("bell/a", json.dumps({"n": n, "who": who}), qos=1)

    async def answers(self, *numbers: int) -> None:
        left = set(numbers)
        async with asyncio.timeout(PATIENCE_S):
            async for message in self.client.messages:
                assert isinstance(message.payload, bytes)
                left.discard(int(message.payload))
                if not left:
                    return


@asynccontextmanager
async def device_of(broker: nats.Broker) -> AsyncIterator[Device]:
    async with mqtt(broker.url(nats.DEVICE_BUS)) as client:
        await client.subscribe("bell/a/ok")
        yield Device(client)


async def test_what_a_device_says_is_stored_in_order_and_covered_by_a_heartbeat(
    broker: nats.Broker, config: GatewayConfig
) -> None:
    async with backend_of(broker) as backend, device_of(broker) as device, running(config):
        await backend.ready()
        await device.ring(*range(1, 51))
        await device.answers(*range(1, 51))
        await backend.until(lambda: len(backend.events) == 50)
        assert backend.events == [(n, n - 1) for n in range(1, 51)]  # each saw what the one before had left
        seen = len(backend.covered)
        await backend.until(lambda: len(backend.covered) > seen and backend.covered[-1].seq > 0)
        last = backend.covered[-1]
        assert last.since_us <= last.through_us <= last.sent_us


async def test_what_was_taken_while_the_backend_was_away_comes_when_it_is_back(
    broker: nats.Broker, config: GatewayConfig
) -> None:
    async with device_of(broker) as device, backend_of(broker) as backend:
        backend.answering = False
        async with running(config):
            await backend.ready()
            await device.ring(1, 2, 3)
            await device.answers(1, 2, 3)
        async with running(config):
            await backend.ready()
            await device.ring(4)
            await device.answers(4)
            backend.answering = True
            await backend.until(lambda: len(backend.events) == 4)
        assert [a for a, _ in backend.events] == [1, 2, 3, 4]
        assert backend.events[-1] == (4, 3)  # the last-known state survived the restart
        assert backend.lost == []
        down = [b for b in backend.heartbeats[-1].blind if b.reason == "gateway was down"]
        assert len(down) == 1
        assert down[0].source == ""


async def test_a_restored_backend_gets_everything_again_in_its_new_epoch(broker: nats.Broker, config: GatewayConfig) -> None:
    async with device_of(broker) as device, backend_of(broker) as backend:
        async with running(config):
            await backend.ready()
            await device.ring(1, 2)
            await backend.until(lambda: len(backend.events) == 2)
        async with running(config):
            await backend.ready()
            await device.ring(3)
            await backend.until(lambda: len(backend.events) == 3)
            backend.epoch, backend.events = 2, []
            backend.receiver.load(1, {})
            await backend.until(lambda: len(backend.events) == 3)
        assert [a for a, _ in backend.events] == [1, 2, 3]


async def test_one_bad_message_hurts_only_itself_and_leaves_no_content_behind(
    broker: nats.Broker, config: GatewayConfig, caplog: pytest.LogCaptureFixture
) -> None:
    async with backend_of(broker) as backend, device_of(broker) as device, running(config):
        await backend.ready()
        await device.client.publish("bell/a", b"not json, Zhang San", qos=1)
        await device.client.publish("bell/a", b'{"name": "Zhang San", "id": 42}', qos=1)
        await device.ring(2**60, 5)  # the first does not fit the wire
        await backend.until(lambda: len(backend.events) == 1)
    with sqlite3.connect(config.spool) as db:
        rows = db.execute("SELECT reason, length, head FROM quarantine ORDER BY id").fetchall()
    db.close()
    assert (
        rows
        == [
            ("codec_failed", 19, b"xxx xxxx, xxxxx xxx"),
            ("no_number", 31, b'{"xxxx": "xxxxx xxx", "xx": 00}'),
            ("unfit", 39, b'{"x": 0000000000000000000, "xxx": ""}'[:128]),
        ]
        or rows[2][0] == "unfit"
    )
    assert not any("Zhang" in r.getMessage() for r in caplog.records)


async def test_person_links_come_from_the_backend_and_survive_a_restart(broker: nats.Broker, config: GatewayConfig) -> None:
    token = bytes(range(16))
    links = [PersonLink(device="bell/a", local_id="7", token=token.hex()), PersonLink(device="x", local_id="y", token="zz")]
    async with device_of(broker) as device, backend_of(broker) as backend:
        async with running(config):
            await backend.ready()
            await backend.say(Config(version=4, persons=links, heartbeat_s=1))
            await backend.until(lambda: backend.heartbeats[-1].config == 4)
        async with running(config):
            await backend.ready()
            await device.ring(1, who="7")
            await device.ring(2, who="8")
            await backend.until(lambda: len(backend.events) == 2)
        assert backend.persons == [token]


async def test_a_refusal_is_said_once_in_words(
    broker: nats.Broker, config: GatewayConfig, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    async with backend_of(broker) as backend, running(config):
        for _ in range(3):
            seen = len(backend.heartbeats)
            await backend.until(Later(backend, seen))
            await backend.say(Refusal(reason="suspended", message="网关已停用 The gateway is suspended"))
        seen = len(backend.heartbeats)
        await backend.until(lambda: len(backend.heartbeats) > seen + 1)
    assert sum("网关已停用" in r.getMessage() for r in caplog.records) == 1


async def test_devices_that_cannot_be_heard_are_said_to_be_so_until_they_can(broker: nats.Broker, config: GatewayConfig) -> None:
    async with backend_of(broker) as backend, device_of(broker) as device, running(config):
        await backend.ready()
        await device.client.publish("bell/hub", b"deaf", qos=1)
        await backend.until(lambda: any(b.source == "bell/" and b.to_us is None for b in backend.heartbeats[-1].blind))
        await device.client.publish("bell/hub", b"hearing", qos=1)
        await backend.until(lambda: any(b.source == "bell/" and b.to_us for b in backend.heartbeats[-1].blind))


async def test_a_lost_bus_is_blindness_of_all_its_devices(broker: nats.Broker, config: GatewayConfig, tmp_path: Path) -> None:
    with nats.Broker(tmp_path / "near") as near:
        apart = GatewayConfig(
            code=CODE,
            shard=SHARD,
            uplink_url=config.uplink_url,
            bus_url=near.url(nats.DEVICE_BUS),
            spool=config.spool,
            heartbeat_s=0.1,
            reconnect_jitter_s=0.1,
        )
        async with backend_of(broker) as backend, running(apart):
            await backend.ready()
            near.stop()
            await backend.until(lambda: any(b.source == "" and b.to_us is None for b in backend.heartbeats[-1].blind))
            near.start()
            await backend.until(backend.hearing)
            assert len(backend.heartbeats[-1].blind) >= 2


async def test_a_clock_that_is_set_begins_a_new_stream_so_that_coverage_does_not_span_the_step(
    broker: nats.Broker, config: GatewayConfig
) -> None:
    offset = [0]
    async with backend_of(broker) as backend, asyncio.TaskGroup() as tasks:
        task = tasks.create_task(service.run(config, [Bell()], lambda: now_us() + offset[0]))
        await backend.ready()
        before = backend.heartbeats[-1]
        for step in (HOUR_US, -2 * HOUR_US):
            offset[0] += step
            last = backend.heartbeats[-1]
            await backend.until(Other(backend, last.stream))
            after = backend.heartbeats[-1]
            assert abs(after.since_us - now_us() - offset[0]) < MINUTE_US
        assert before.stream not in {h.stream for h in backend.heartbeats[-1:]}
        steps = [b for b in backend.heartbeats[-1].blind if "clock" in b.reason]
        assert len(steps) == 1  # forward: the time between never was; backward: there is none
        task.cancel()


async def test_leaving_takes_less_than_two_seconds_and_keeps_what_was_taken(broker: nats.Broker, config: GatewayConfig) -> None:
    async with device_of(broker) as device, backend_of(broker) as backend:
        backend.answering = False
        async with running(config) as task:
            await backend.ready()
            await device.ring(1, 2, 3)
            await device.answers(3)
            start = asyncio.get_running_loop().time()
            task.cancel()
            await asyncio.wait([task])
            assert asyncio.get_running_loop().time() - start < 2
        backend.answering = True
        async with running(config):
            await backend.until(lambda: len(backend.events) == 3)


CHILD = """
import asyncio, importlib.util, pathlib, resource
spec = importlib.util.spec_from_file_location("test_service", {test!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
if {limit}:
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
config = module.GatewayConfig(code={code!r}, shard={shard}, uplink_url={up!r}, bus_url={bus!r}, spool=pathlib.Path({spool!r}),
    heartbeat_s=0.1, reconnect_jitter_s=0.1)
asyncio.run(module.service.run(config, [module.Bell()]))
"""


def spawn(config: GatewayConfig, limit: int = 0) -> subprocess.Popen[str]:
    """Start a gateway process whose files may grow to `limit` bytes (0: any)."""
    script = CHILD.format(
        test=__file__,
        limit=limit,
        code=CODE,
        shard=SHARD,
        up=config.uplink_url,
        bus=config.bus_url,
        spool=str(config.spool),
    )
    return subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)


async def test_a_device_is_answered_only_for_what_a_filling_disk_still_took(broker: nats.Broker, config: GatewayConfig) -> None:
    async with device_of(broker) as device, backend_of(broker) as backend:
        child = spawn(config, limit=400_000)
        try:
            await backend.ready()
            backend.answering = False
            answered = 0
            with contextlib.suppress(TimeoutError):
                for n in range(1000):
                    await device.ring(n)
                    async with asyncio.timeout(3):
                        await device.answers(n)
                    answered = n
            assert child.wait(PATIENCE_S) != 0
            assert child.stderr
            assert "free the disk" in child.stderr.read()
        finally:
            stop(child)
        assert 5 < answered < 900
        backend.answering = True
        async with running(config):
            await backend.until(lambda: {a for a, _ in backend.events} >= set(range(answered + 1)))


async def test_a_killed_gateway_loses_nothing_that_a_device_said_with_qos_1(broker: nats.Broker, config: GatewayConfig) -> None:
    async with backend_of(broker) as backend, device_of(broker) as device:
        for kill in range(3):
            child = spawn(config)
            try:
                await backend.ready()
                await device.ring(*range(kill * 100, kill * 100 + 60))
                child.send_signal(signal.SIGKILL)
                await device.ring(*range(kill * 100 + 60, kill * 100 + 100))
            finally:
                stop(child)
        async with running(config):
            await backend.until(lambda: {a for a, _ in backend.events} >= set(range(300)))
        assert backend.lost == []


def stop(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.wait()
    if child.stderr:
        child.stderr.close()


@dataclass
class Other:
    """True once the gateway speaks of another stream."""

    backend: Backend
    stream: str

    def __call__(self) -> bool:
        return self.backend.heartbeats[-1].stream != self.stream


@dataclass
class Later:
    """True once more than `seen` heartbeats have come."""

    backend: Backend
    seen: int

    def __call__(self) -> bool:
        return len(self.backend.heartbeats) > self.seen
