"""A codec, a device and a backend small enough to see through, around a real gateway and a real broker."""

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import aiomqtt
import numpy as np
import pytest

from gateway import service
from gateway.codecs.contract import BlindChange, Decoded, Message, Reject, Reply
from gateway.codecs.families import codecs
from gateway.events import Event, Flag, Kind
from gateway.service import GatewayConfig
from gateway.wire import (
    Answer,
    Down,
    Heartbeat,
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

__all__ = ["codecs"]
SHARD, CODE = 3, "gw-1"
PATIENCE_S = 60


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


class Stored(NamedTuple):
    """An event as it came, with its device."""

    device: str
    row: np.void

    @property
    def flags(self) -> Flag:
        """The qualities that say what was seen of it, without those about its time."""
        return Flag(int(self.row["flags"])) & (Flag.REPEAT | Flag.INFERRED | Flag.LATE)


@dataclass
class Backend:
    """Stores what is offered, in memory, and answers as a worker does."""

    client: aiomqtt.Client
    epoch: int = 1
    answering: bool = True
    receiver: Receiver = field(default_factory=Receiver)
    events: list[tuple[int, int]] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)
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
                self.stored += [Stored(body.devices[row["device"]], row) for row in body.rows]
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


CHILD = """
import asyncio, importlib.util, pathlib, resource
spec = importlib.util.spec_from_file_location("bell", {test!r})
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
if {limit}:
    resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
config = module.GatewayConfig(code={code!r}, shard={shard}, uplink_url={up!r}, bus_url={bus!r}, spool=pathlib.Path({spool!r}),
    heartbeat_s=0.1, reconnect_jitter_s=0.1)
asyncio.run(module.service.run(config, {codecs}))
"""


def spawn(config: GatewayConfig, limit: int = 0, *, families: bool = False) -> subprocess.Popen[str]:
    """Start a gateway process for bells, or for the families of devices. limit: bytes that its files may grow to (0: any)."""
    script = CHILD.format(
        test=__file__,
        limit=limit,
        codecs="module.codecs()" if families else "[module.Bell()]",
        code=CODE,
        shard=SHARD,
        up=config.uplink_url,
        bus=config.bus_url,
        spool=str(config.spool),
    )
    return subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.PIPE, text=True)


def stop(child: subprocess.Popen[str]) -> None:
    child.kill()
    child.wait()
    if child.stderr:
        child.stderr.close()
