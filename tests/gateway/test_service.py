"""The gateway process against a real broker: devices on one side, a small scripted backend on the other."""

import asyncio
import logging
import sqlite3
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway import service
from gateway.clock import HOUR_US, MINUTE_US, now_us
from gateway.service import GatewayConfig
from gateway.wire import Config, PersonLink, Refusal
from smartcare.embedded import nats
from tests.gateway.bell import CODE, SHARD, Backend, Bell, backend_of, config, device_of, running

__all__ = ["config"]


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
