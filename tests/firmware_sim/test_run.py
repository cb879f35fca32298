"""The simulator on a real broker: what is in the ledger arrives, also when the broker is killed."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from firmware_sim.run import run
from firmware_sim.town import build_town
from gateway.clock import HOUR_US, now_us
from gateway.codecs.contract import Message, Reject
from gateway.codecs.families import codecs
from gateway.events import Kind
from smartcare.embedded import nats


class Ear:
    """A gateway's near side in miniature: hears everything in one persistent session, and answers terminals.

    paho acknowledges a message when `_hear` has returned, so what a dying broker takes back comes again.
    """

    def __init__(self, broker: nats.Broker) -> None:
        self.events: set[tuple[Any, ...]] = set()
        self.blind: list[bool] = []
        self.rejects: list[Reject] = []
        self.heard = threading.Condition()
        self.subscribed = threading.Event()
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="ear", clean_session=False)
        self.client.username_pw_set(nats.DEVICE_BUS, broker.password(nats.DEVICE_BUS))
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = self._subscribe
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        self.client.on_message = self._hear
        self.client.connect("127.0.0.1", broker.port)
        self.client.loop_start()
        self.subscribed.wait(10)

    def wait_for(self, condition: Callable[[], bool]) -> bool:
        """Wait until the condition holds, at most half a minute."""
        with self.heard:
            return self.heard.wait_for(condition, 30)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()

    def _subscribe(self, client: mqtt.Client, *_: Any) -> None:
        client.subscribe([(topic, 1) for codec in codecs() for topic in codec.topics])

    def _hear(self, client: mqtt.Client, _: Any, message: mqtt.MQTTMessage) -> None:
        (codec,) = [c for c in codecs() if c.matches(message.topic)]
        heard = Message(topic=message.topic, payload=bytes(message.payload), received_us=now_us(), retained=message.retain)
        decoded = codec.decode(heard, {}, {})
        for reply in decoded.replies:
            client.publish(reply.topic, reply.payload, qos=1)
        with self.heard:
            self.rejects += [decoded.reject] if decoded.reject else []
            self.blind += [change.blind for change in decoded.blind]
            self.events |= {(e.device, e.kind, e.t_us, e.a, e.b, e.key) for e in decoded.events}
            self.heard.notify_all()


@pytest.fixture
def ear(broker: nats.Broker) -> Iterator[Ear]:
    """An ear that listens already."""
    it = Ear(broker)
    yield it
    it.close()


def expected(ledger: Path) -> set[tuple[Any, ...]]:
    """The events that must follow from a ledger (of totals only, not of periods)."""
    found: set[tuple[Any, ...]] = set()
    for line in ledger.read_text().splitlines():
        o = json.loads(line)
        if o["kind"] == "contact":
            found.add((o["identity"], Kind.CONTACT, o["t_us"], int(o["open"]), 0, 2 * o["t_us"] + o["open"]))
        elif o["kind"] == "count":
            found.add((o["identity"], Kind.COUNT_TOTAL, o["t_us"], o["in"], o["out"], o["key"]))
        else:
            result, role = (3, 0) if o["snap"] else (1, 1)
            found.add((o["identity"], Kind.PASSAGE, o["t_us"], result, role, o["key"]))
    return found


async def test_everything_in_the_ledger_arrives_also_when_the_broker_is_killed(
    broker: nats.Broker, ear: Ear, tmp_path: Path
) -> None:
    ledger = tmp_path / "ledger.jsonl"

    def kill() -> None:
        assert ear.wait_for(lambda: len(ear.events) > 100)
        assert broker.process is not None
        broker.process.kill()
        broker.process.wait()
        broker.start()

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(asyncio.to_thread(kill))
        summary = await run(build_town(1, 4, now_us()), broker.url(nats.DEVICE_BUS), ledger=ledger, rate=100, count=300)
    truth = expected(ledger)
    assert len(truth) == summary.observations == 300 + 4  # and the state of each door at first
    await asyncio.to_thread(ear.wait_for, lambda: truth <= ear.events)
    seen = {event for event in ear.events if event[1] in (Kind.CONTACT, Kind.COUNT_TOTAL, Kind.PASSAGE)}
    assert seen == truth
    assert ear.rejects == []


async def test_the_past_arrives_with_its_own_time_then_the_present_goes_on(broker: nats.Broker, ear: Ear) -> None:
    started = now_us()
    async with asyncio.timeout(60):
        await run(build_town(1, 8, started), broker.url(nats.DEVICE_BUS), backlog_us=2 * HOUR_US, stop_after_s=3)
    times = sorted(event[2] for event in ear.events)
    assert times[0] < started - 119 * HOUR_US // 60
    assert sum(t >= started for t in times) >= 3
    assert {event[1] for event in ear.events} >= {Kind.CONTACT, Kind.COUNT_TOTAL, Kind.COUNT_PERIOD, Kind.LINK}
    assert ear.rejects == []
    assert ear.blind == [False, True]  # the bridge's birth, and its farewell
