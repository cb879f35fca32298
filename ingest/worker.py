"""The ingest worker: carries messages from the broker through T1, and answers back.

    broker → listen → queue → read (in a thread) → store loop ⇄ PostgreSQL (in a thread) → answers → broker
                                                       └→ sink: committed batches, for the analyzer

One decision: there is one store loop and one transaction at a time; the next batch is read meanwhile. When anything that
must not break breaks, the session ends and a new one begins from what the store says, with new epochs; gateways send again
whatever was not answered.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import psycopg

from gateway.clock import HOUR_US, SECOND_US, now_us
from gateway.crashpoint import crashpoint
from ingest import metrics
from ingest import snapshot as register
from ingest.broker import BrokerAway, Link, connected
from ingest.caution import Caution
from ingest.columns import Batch, BlindSpan
from ingest.daybook import COUNTRY
from ingest.desk import Desk
from ingest.errors import IngestError
from ingest.inputs import Inputs, decode
from ingest.intake import Intake, Plan, Reply
from ingest.memory import Memory
from ingest.reading import SHARDS, Arrival, Message, address
from ingest.shards import ALL, Owned, Shards
from ingest.store.queries import Queries
from ingest.store.schema import ensure_partitions
from ingest.t1 import T1

QUERIES = Queries("ingest")
UP = "care/v1/+/+/up"
QUEUE_MESSAGES = 20_000
BATCH_MESSAGES = 2000
GATHER_S = 0.02
IDLE_S = 1.0
DESK_S = 1.0
"""How often the desk is looked at."""
REGISTER_S = 0.5
"""How often the register is looked at."""
SHARDS_EVERY_US = 2 * SECOND_US
PARTITIONS_EVERY_US = HOUR_US
TELL_EVERY_US = 3 * SECOND_US
BLIND_KEPT_US = 24 * HOUR_US
PATIENCE_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)

NO_INPUTS = Inputs(version=0, sites=[], places=[], devices=[], gateways=[])

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """lost_after_s: silence after which a gateway is lost. shards: those to take as far as they are free.

    owner: a name that no other process has or will have. country: whose public holidays hold. ca_file: PEM of the
    authority that signed an mqtts:// broker's certificate, None for the system's.
    """

    database_url: str
    mqtt_url: str
    ca_file: Path | None = None
    lost_after_s: float = 60.0
    shards: Sequence[int] = field(default=ALL)
    owner: str = ""
    country: str = COUNTRY


Sink = Callable[[Batch], None]
"""Takes a committed batch at once; what it does not keep, the analyzer reads from the store (`Batch.prev` tells it)."""
Ready = Callable[[Mapping[int, Owned]], None]
"""Told in the event loop what the worker owns, each time that changes: nothing once a session has ended."""


async def run(config: WorkerConfig, sink: Sink, ready: Ready) -> None:
    """Store events until cancelled. Sessions that end are begun anew, more slowly each time they end early."""
    failures = 0
    while True:
        began_us = now_us()
        try:
            await _Session(config, sink, ready).run()
        except* (IngestError, psycopg.Error, OSError) as group:
            log.warning("ingest starts again: %s", "; ".join(str(e) for e in group.exceptions))
        except* Exception:
            log.exception("ingest failed and starts again")
        failures = 0 if now_us() - began_us > 60 * SECOND_US else failures + 1
        await asyncio.sleep(PATIENCE_S[min(failures, len(PATIENCE_S) - 1)])


class _Session:
    """From taking the shards to losing them."""

    def __init__(self, config: WorkerConfig, sink: Sink, ready: Ready) -> None:
        self.config, self.sink, self.ready = config, sink, ready
        # Full: the newest message is dropped; nobody answers it, so its gateway sends it again.
        self.queue: asyncio.Queue[Message] = asyncio.Queue(QUEUE_MESSAGES)
        # Full: reading waits, and the queue before it fills.
        self.arrivals: asyncio.Queue[list[Arrival]] = asyncio.Queue(1)
        self.link: Link | None = None
        self.interrupted = False
        self.owning = asyncio.Event()

    async def run(self) -> None:
        """Run until something breaks; raises an exception group."""
        store = await asyncio.to_thread(_Store, self.config)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._listen(), name="ingest.listen")
                tasks.create_task(self._desk(store), name="ingest.desk")
                tasks.create_task(self._register(store), name="ingest.register")
                tasks.create_task(self._read(store), name="ingest.read")
                tasks.create_task(self._write(store), name="ingest.store")
        finally:
            self.ready({})
            await asyncio.to_thread(store.close)

    async def _listen(self) -> None:
        failures = 0
        while True:
            try:
                async with connected(self.config.mqtt_url, UP, self._enqueue, self.config.ca_file) as link:
                    self.link, failures = link, 0
                    metrics.BROKER_CONNECTED.set(1)
                    await link.lost()
                    log.warning("the broker is away: the connection was lost")
            except BrokerAway as e:
                log.warning("the broker is away: %s", e)
            finally:
                self.link = None
                metrics.BROKER_CONNECTED.set(0)
            await asyncio.sleep(PATIENCE_S[min(failures, len(PATIENCE_S) - 1)])
            failures += 1

    async def _desk(self, store: "_Store") -> None:
        await self.owning.wait()
        desk = await asyncio.to_thread(Desk, self.config.database_url)
        try:
            while True:
                for message in await asyncio.to_thread(desk.messages, list(store.shards.owned), now_us()):
                    self._enqueue(message.topic, message.payload)
                await asyncio.sleep(DESK_S)
        finally:
            desk.close()

    async def _register(self, store: "_Store") -> None:
        """Read the register whenever it has changed, beside T1, which goes on with what it knows."""
        await self.owning.wait()
        url = self.config.database_url
        conn = await asyncio.to_thread(lambda: psycopg.connect(url, autocommit=True, connect_timeout=5))
        try:
            while True:
                await asyncio.to_thread(store.look_at_register, conn)
                await asyncio.sleep(REGISTER_S)
        finally:
            conn.close()

    def _enqueue(self, topic: str, payload: bytes) -> None:
        try:
            self.queue.put_nowait(Message(topic=topic, payload=payload, arrived_us=now_us()))
        except asyncio.QueueFull:
            self.interrupted = True  # who is not heard because of us is not lost

    async def _gather(self) -> list[Message]:
        """Wait for a message, a little longer for more, and take what is there."""
        messages = [await self.queue.get()]
        if self.queue.qsize() < BATCH_MESSAGES:
            await asyncio.sleep(GATHER_S)
        while len(messages) < BATCH_MESSAGES and not self.queue.empty():
            messages.append(self.queue.get_nowait())
        return messages

    async def _read(self, store: "_Store") -> None:
        await self.owning.wait()  # what is for nobody's shards is not read
        while True:
            messages = await self._gather()
            if store.caution.careful:  # notes are only about what is ours
                messages = [m for m in messages if (at := address(m.topic)) and at[0] % SHARDS in store.shards.owned]
            for portion in store.caution.portions(messages, now_us()):
                await self.arrivals.put(await asyncio.to_thread(store.caution.read, portion, store.shards.owned))
                if store.caution.careful:
                    await self.arrivals.join()
                    await asyncio.to_thread(store.caution.stored, portion)

    async def _next(self, idle_s: float) -> list[Arrival] | None:
        """Return what was read next, None when nothing came for a while."""
        try:
            async with asyncio.timeout(idle_s):
                return await self.arrivals.get()
        except TimeoutError:
            return None

    async def _write(self, store: "_Store") -> None:
        idle_s = min(IDLE_S, self.config.lost_after_s / 10)
        owned: dict[int, Owned] | None = None
        arrivals: list[Arrival] | None = None
        while True:
            interrupted, self.interrupted = self.interrupted or self.link is None, False
            store.linked = self.link is not None
            metrics.QUEUED.set(self.queue.qsize())
            batches, replies = await asyncio.to_thread(store.cycle, arrivals or [], now_us(), interrupted)
            if owned != store.shards.owned:
                owned = dict(store.shards.owned)
                self.ready(owned)
                self.owning.set()
            for batch in batches:
                self.sink(batch)
            crashpoint("ingest.answer")
            self._publish(replies)
            crashpoint("ingest.answered")
            if arrivals is not None:
                self.arrivals.task_done()
            arrivals = await self._next(idle_s)

    def _publish(self, replies: list[Reply]) -> None:
        if self.link:  # else gateways ask again
            for reply in replies:
                self.link.publish(reply.topic, reply.payload)


class _Store:
    """The session's side of the database: shards, register, T1. Runs in one thread at a time, never in the event loop's."""

    def __init__(self, config: WorkerConfig) -> None:
        now = now_us()
        self.shards = Shards(config.database_url, config.owner)
        self.wanted = config.shards
        try:
            self.t1 = T1(config.database_url, self.shards.owned)
        except psycopg.Error:
            self.shards.close()
            raise
        self.caution = Caution(config.database_url)
        self.intake = Intake(self.shards.owned, round(config.lost_after_s * SECOND_US), now)
        self.country = config.country
        self._told: dict[int, Inputs] = {}
        self._due: dict[int, tuple[int, bytes]] = {}
        self.linked = self._told_linked = False
        self._fresh: tuple[set[int], register.Reading] | None = None
        self._shards_due_us = self._partitions_due_us = self._tell_due_us = 0

    def close(self) -> None:
        """Give the shards back."""
        self.caution.close()
        self.t1.close()
        self.shards.close()

    def cycle(self, arrivals: list[Arrival], now: int, interrupted: bool) -> tuple[list[Batch], list[Reply]]:
        """Do what is due, then store and judge `arrivals`. Returns committed batches and what to publish.

        Raises Fenced, ShardsLost, psycopg.Error: the session is over.
        """
        if interrupted:
            self.intake.listener.interrupted(now)
        self._maintain(now)
        return self._store(arrivals, now)

    def _store(self, arrivals: list[Arrival], now: int, poison: str = "") -> tuple[list[Batch], list[Reply]]:
        plan = self.intake.plan(arrivals, now, poison)
        for shard, inputs in self._due.items():
            plan.work[shard].inputs = inputs
        try:
            batches = self._commit(plan, now)
        except (psycopg.OperationalError, IngestError):
            raise
        except Exception as e:
            # Supervises the batch: whichever message T1 cannot live with is found and quarantined, alone.
            self.intake.failed()
            if poison or not arrivals:
                raise
            log.exception("a batch of %d messages failed; they are stored one by one", len(arrivals))
            return self._one_by_one(arrivals, now, f"{type(e).__name__}: {e}")
        for shard, (_, body) in self._due.items():
            self._told[shard] = _unversioned(decode(body))
        self._due.clear()
        return batches, self.intake.committed(plan, now)

    def _one_by_one(self, arrivals: list[Arrival], now: int, error: str) -> tuple[list[Batch], list[Reply]]:
        if len(arrivals) == 1:
            return self._store(arrivals, now, poison=error)
        batches, replies = [], []
        for arrival in arrivals:
            more_batches, more_replies = self._store([arrival], now)
            batches += more_batches
            replies += more_replies
        return batches, replies

    def _commit(self, plan: Plan, now: int) -> list[Batch]:
        """Write the plan exactly once, also when the connection breaks on the way, while the shards are still ours."""
        if not (plan.quarantined or any(plan.work.values())):
            return []
        began = time.perf_counter()
        try:
            batches = self._written(plan, now)
        except psycopg.OperationalError as e:
            log.warning("T1 was cut off: %s", e)
            self.shards.check()
            settled = self.t1.settle()
            batches = self._written(plan, now) if settled is None else settled
        metrics.stored(plan.work, plan.quarantined, batches, time.perf_counter() - began)
        return batches

    def _written(self, plan: Plan, now: int) -> list[Batch]:
        try:
            return self.t1.write(plan.work, plan.quarantined, self.intake.snapshot, now)
        except psycopg.errors.ProgramLimitExceeded as e:
            raise ValueError(str(e)) from e  # psycopg counts it as operational, but it is the data

    def _maintain(self, now: int) -> None:
        if now >= self._partitions_due_us:
            ensure_partitions(self.t1.conn, now)
            self._partitions_due_us = now + PARTITIONS_EVERY_US
        taken: list[Owned] = []
        if now >= self._shards_due_us:
            self._give()
            taken = self.shards.take(self.wanted)
            self.caution.taken(taken, now)
            crashpoint("ingest.taken")
            self._shards_due_us = now + SHARDS_EVERY_US
        if now >= self._tell_due_us or self.linked != self._told_linked:
            self.t1.conn.execute(QUERIES["put_worker"], {"owner": self.shards.owner, "linked": self.linked})
            metrics.spooled(self.intake.queued_bytes())
            self._tell_due_us, self._told_linked = now + TELL_EVERY_US, self.linked
        fresh, self._fresh = self._fresh, None
        if taken:
            self._learn(register.read(self.t1.conn, self.shards.owned, self.country), now)
        elif fresh and fresh[0] == set(self.shards.owned) and fresh[1].snapshot.version > self.intake.snapshot.version:
            self._learn(fresh[1], now)

    def look_at_register(self, conn: psycopg.Connection[Any]) -> None:
        """Read the register where it has changed; runs in a thread of its own, and the next cycle learns it."""
        if self._fresh is None and register.version(conn) != self.intake.snapshot.version:
            shards = set(self.shards.owned)
            self._fresh = shards, register.read(conn, shards, self.country)

    def _give(self) -> None:
        """Let new workers have their share, and forget all that belongs to it: it will have changed when it comes back."""
        given = self.shards.give(self.wanted)
        if not given:
            return
        log.info("%d shards are given to other workers, %d stay", len(given), len(self.shards.owned))
        self.caution.given(given)
        self.intake.forget(g.id for g in self.intake.snapshot.gateways.values() if g.shard in given)
        self.t1.memory = Memory()
        for shard in given:
            self._told.pop(shard, None)
            self._due.pop(shard, None)

    def _learn(self, reading: register.Reading, now: int) -> None:
        """Judge by this register from now on; where it says something new of a shard, the next T1 writes it into the log."""
        self.intake.snapshot = reading.snapshot
        values = {"shards": list(self.shards.owned), "since_us": now - BLIND_KEPT_US}
        blind = self.t1.conn.execute(QUERIES["blind_now"], values).fetchall()
        self.intake.load(
            [g for g in self.intake.snapshot.gateways.values() if g.shard in self.shards.owned],
            self.t1.conn.execute(QUERIES["cursors"], values).fetchall(),
            [BlindSpan(gateway=g, source=s, from_us=f, to_us=t, reason=r) for g, s, f, t, r in blind],
            self.t1.conn.execute(QUERIES["liveness_now"], values).fetchall(),
        )
        for shard, (now_told, body) in reading.inputs.items():
            if shard not in self._told:
                last = self.t1.conn.execute(QUERIES["last_inputs"], {"shard": shard}).fetchone()
                self._told[shard] = _unversioned(decode(bytes(last[0]))) if last else NO_INPUTS
            if _unversioned(now_told) == self._told[shard]:
                self._due.pop(shard, None)
            else:
                self._due[shard] = reading.snapshot.version, body


def _unversioned(inputs: Inputs) -> Inputs:
    return msgspec.structs.replace(inputs, version=0)
