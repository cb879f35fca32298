"""A gateway process that dies and comes back over its spool: nothing that was said is lost or counted twice, and what
happened meanwhile is marked as not seen.
"""

import asyncio
import contextlib
import signal
from pathlib import Path

import numpy as np

from gateway.events import Flag, Kind
from gateway.service import GatewayConfig
from ingest.counters import deltas
from smartcare.embedded import nats
from tests.gateway.bell import PATIENCE_S, Backend, Device, Stored, backend_of, config, device_of, running, spawn, stop
from tests.gateway.codecs.test_chirpstack import envelope
from tests.gateway.codecs.test_ha03 import FORM
from tests.gateway.test_listener import bodies, gateway

__all__ = ["config"]
DOOR, UP = "zigbee2mqtt/前门", "application/a/device/24e124a1b2c3d4e5/event/up"
SEEN, FOUND = Flag(0), Flag.INFERRED


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
                await device.ring(*range(kill * 50, kill * 50 + 30))
                child.send_signal(signal.SIGKILL)
                await device.ring(*range(kill * 50 + 30, kill * 50 + 50))
            finally:
                stop(child)
        async with running(config):
            await backend.until(lambda: {a for a, _ in backend.events} >= set(range(150)))
        assert backend.lost == []


class Site:
    """A door without a time of its own and a counter, said with one quality of service; what the backend has of them."""

    def __init__(self, device: Device, backend: Backend, qos: int) -> None:
        self.device, self.backend, self.qos = device, backend, qos
        self.frame = 40

    async def door(self, is_open: bool) -> None:
        payload = b'{"contact":%s}' % (b"false" if is_open else b"true")
        await self.device.client.publish(DOOR, payload, qos=self.qos)

    async def count(self, total: int) -> None:
        """Report a total of people in; nobody leaves."""
        self.frame += 1
        data = f"03d2{total.to_bytes(4, 'little').hex()}04d200000000"
        await self.device.client.publish(UP, envelope(data, fCnt=self.frame, time=None), qos=self.qos)

    async def edges(self, *expected: tuple[int, Flag]) -> None:
        """Wait until the door's edges are stored, and are as expected: (1 open, what was seen of it)."""
        await self.backend.until(lambda: len(self._edges()) >= len(expected))
        assert self._edges() == list(expected)

    async def people(self, total: int) -> int:
        """Wait until this total and a state of the door are stored; return how many people came in, as ingest counts them."""
        await self.backend.until(lambda: any(s.row["a"] == total for s in self._of(Kind.COUNT_TOTAL)))
        await self.backend.until(lambda: self._of(Kind.CONTACT))
        rows = np.array([s.row for s in self._of(Kind.COUNT_TOTAL)])
        columns = {name: rows[name].astype(np.int64) for name in ("t_us", "a", "b", "flags")}
        device, line = np.ones(len(rows), np.int64), rows["aux"].astype(np.int64)
        return int(deltas(device=device, line=line, last={}, **columns)[0].sum())

    def _edges(self) -> list[tuple[int, Flag]]:
        return [(int(s.row["a"]), s.flags) for s in self._of(Kind.CONTACT) if not s.flags & Flag.REPEAT]

    def _of(self, kind: Kind) -> list[Stored]:
        return [s for s in self.backend.stored if s.row["kind"] == kind]


async def lived_and_killed(config: GatewayConfig, backend: Backend, site: Site) -> None:
    """Run a gateway until it has heard of a closed door and a total of 100, and kill it."""
    child = spawn(config, families=True)
    try:
        await backend.ready()
        await site.door(False)
        await site.count(100)
        assert await site.people(100) == 0
    finally:
        stop(child)  # with SIGKILL


async def test_a_door_found_in_another_state_after_a_kill_has_an_edge_that_nobody_saw(
    broker: nats.Broker, config: GatewayConfig
) -> None:
    async with backend_of(broker) as backend, device_of(broker) as device:
        site = Site(device, backend, qos=0)  # the broker keeps nothing for a gateway that is away
        await lived_and_killed(config, backend, site)
        await site.door(True)
        await site.count(103)
        child = spawn(config, families=True)
        try:
            await backend.ready()
            await site.door(True)  # as it says every hour
            await site.door(False)
            await site.count(108)
            await site.edges((1, FOUND), (0, SEEN))
            assert await site.people(108) == 8, "those who came meanwhile, too"
        finally:
            stop(child)


async def test_what_the_broker_kept_for_a_killed_gateway_is_seen_and_counted_once(
    broker: nats.Broker, config: GatewayConfig
) -> None:
    async with backend_of(broker) as backend, device_of(broker) as device:
        site = Site(device, backend, qos=1)
        await lived_and_killed(config, backend, site)
        await site.door(True)
        await site.count(103)
        await site.door(False)
        child = spawn(config, families=True)
        try:
            await backend.ready()
            await site.door(True)
            await site.count(108)
            await site.edges((1, SEEN), (0, SEEN), (1, SEEN))
            assert await site.people(108) == 8
        finally:
            stop(child)


async def test_a_posting_door_found_in_another_state_after_a_restart_has_an_edge_that_nobody_saw(tmp_path: Path) -> None:
    for states in ((b"statu=1",), (b"statu=0", b"statu=1")):
        async with gateway(tmp_path) as g:
            address = g.addresses.add("ha03", "861234050000017").path
            for state in states:
                answer = await g.post(address, FORM.replace(b"statu=1", state), "application/x-www-form-urlencoded")
                assert answer.status_code == 200
    rows = [row for body in bodies(g.spool) for row in body.rows if row["kind"] == Kind.CONTACT]
    assert [(int(r["a"]), Stored("", r).flags) for r in rows] == [(1, Flag.REPEAT), (0, FOUND), (1, SEEN)]
