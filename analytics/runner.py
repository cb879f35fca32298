"""Runs the engine over the log of the shards that this worker owns, and commits what it finds: T2.

One decision: there is one way back to a good state, whatever went wrong (engine raised, unknown COMMIT, lost connection,
missed batches): forget, load the checkpoint, replay in silence up to the position of the last T2, go on from there. Episodes
have fixed keys, so applying a finding twice changes nothing.

    offer(batch) → bounded queue → engine.apply (thread) → T2: position, alerts, outbox, status, checkpoint
                     └ full, or prev does not match: read the gap from the store
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec
import psycopg
from prometheus_client import Counter, Gauge, Histogram

from analytics import visits
from analytics.alerts import QUERIES, Connection, apply_findings, colour
from analytics.detectors import LAYOUT
from analytics.engine import Engine
from analytics.findings import Finding
from analytics.state import LayoutError
from analytics.status import SiteStatus
from gateway.clock import SECOND_US, now_us
from gateway.crashpoint import crashpoint
from ingest.columns import Batch
from ingest.store.log import read_batches

LOG = logging.getLogger(__name__)

QUEUE = 512
"""Batches waiting in memory; the oldest are dropped when it is full and read from the store later."""
BACKOFF_US = tuple(s * SECOND_US for s in (1, 2, 5, 10))
CHECKPOINT_US = 30 * SECOND_US
CHECKPOINT_ROWS = 500_000
"""A checkpoint is taken after so much time or so many events: what is replayed after a crash takes a second or two."""
STATUS_US = SECOND_US
SHOWING = 5
"""What changed at sites is shown again after `STATUS_US`, or so many times as long as showing took the last time."""
SHOWN_AT_ONCE = 100
"""Sites; then events that have come meanwhile go first."""
POLL_S = 1.0

T2_SECONDS = Histogram("smartcare_t2_seconds", "From the begin of T2 to its COMMIT")
ANALYSED_POS = Gauge("smartcare_worker_analysed_position_us", "Last T2 of a shard", ["shard"])
FINDINGS = Counter("smartcare_findings", "Findings of the detectors: begins, changes and ends")


class Detects(Protocol):
    """What the runner needs of an engine."""

    def apply(self, batch: Batch) -> list[Finding]:
        """Take one batch."""

    def dump(self, shard: int) -> bytes:
        """Write a checkpoint."""

    def load(self, shard: int, state: bytes) -> None:
        """Read one. Raises LayoutError."""

    def take_changed(self, shard: int, sites: Container[int] | None = None, most: int | None = None) -> list[SiteStatus]:
        """Return what the page shows of changed sites, or of those among `sites`; of so many at most."""


class Overtaken(Exception):
    """The position or the epoch in the database is not ours: someone else has the shard, or our last T2 is unknown."""


@dataclass(slots=True, kw_only=True)
class Lane:
    """One owned shard. `at`: the engine's memory; `analysed`: the last T2; None: nothing is known, restore first."""

    shard: int
    epoch: int
    engine: Detects | None = None
    at: int = 0
    analysed: int = 0
    unsaved_rows: int = 0
    saved_us: int = 0
    show_us: int = 0
    """When what changed may be shown again."""
    looked_us: int = 0
    """When it last had its turn without a batch at hand."""
    failures: int = 0
    due_us: int = 0
    inbox: list[Batch] = field(default_factory=list)


class Runner:
    """The analyzer of one worker. `owned` says which shards are ours, and their epochs, each time it is asked."""

    def __init__(
        self,
        database_url: str,
        owned: Callable[[], Mapping[int, int]],
        *,
        engine_factory: Callable[[], Detects] = Engine,
        now: Callable[[], int] = now_us,
    ) -> None:
        self._url, self._owned, self._factory, self._now = database_url, owned, engine_factory, now
        self._queue: deque[Batch] = deque(maxlen=QUEUE)
        self._lanes: dict[int, Lane] = {}
        self._conn: Connection | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()

    def offer(self, batch: Batch) -> None:
        """Hand over a committed batch, from any thread; never waits."""
        self._queue.append(batch)
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._wake.set)

    async def run(self) -> None:
        """Analyse until cancelled."""
        self._loop = asyncio.get_running_loop()
        try:
            while True:
                await self.cycle()
                try:
                    async with asyncio.timeout(POLL_S):
                        await self._wake.wait()
                except TimeoutError:
                    pass
        finally:
            self._loop = None
            await self.close()

    async def cycle(self) -> None:
        """Analyse everything that is committed now; a shard that fails is set aside until its backoff is over."""
        self._wake.clear()
        try:
            positions = await self._look_at_shards()
        except psycopg.OperationalError as e:
            LOG.warning("the analyzer waits for the database: %s", e)
            await self.close()
            return
        while self._queue:
            batch = self._queue.popleft()
            if batch.shard in self._lanes:
                self._lanes[batch.shard].inbox.append(batch)
        for lane in [lane for lane in self._lanes.values() if lane.inbox]:
            await self._supervise(lane, positions.get(lane.shard, 0))
        for lane in sorted(self._lanes.values(), key=lambda lane: lane.looked_us):
            pos = positions.get(lane.shard, 0)
            worked = await self._supervise(lane, pos) if lane.at < pos else False
            worked |= await self._supervise(lane, None) if lane.engine and lane.show_us <= self._now() else False
            lane.looked_us = self._now()
            if worked and self._wake.is_set():
                break  # new events go first, wherever they are; the others have their turn after them

    async def close(self) -> None:
        """Close the connection; the next cycle opens another."""
        if self._conn is not None:
            await self._conn.close()
        self._conn = None

    # ---------------------------------------------------------------- shards

    async def _look_at_shards(self) -> dict[int, int]:
        """Match the lanes to what is owned now. Returns the last T1 of each shard."""
        owned = self._owned()
        for shard in [s for s, lane in self._lanes.items() if owned.get(s) != lane.epoch]:
            del self._lanes[shard]
        for shard, epoch in owned.items():
            self._lanes.setdefault(shard, Lane(shard=shard, epoch=epoch))
        conn = await self._connection()
        rows = await (await conn.execute(QUERIES["positions"], {"shards": list(self._lanes)})).fetchall()
        return dict(rows)

    async def _supervise(self, lane: Lane, pos: int | None) -> bool:
        """Catch up with the last T1, None: show what changed. Returns whether it was its turn."""
        if lane.due_us > self._now():
            return False
        try:
            await (self._show(lane) if pos is None else self._catch_up(lane, pos))
            lane.failures = 0
        except Overtaken as e:
            LOG.warning("shard %s: %s", lane.shard, e)
            self._set_aside(lane)
        except psycopg.OperationalError as e:
            LOG.warning("shard %s: the analyzer lost the database: %s", lane.shard, e)
            self._set_aside(lane)
            await self.close()
        except Exception as e:
            LOG.exception("shard %s: the analyzer failed; it starts again from its checkpoint", lane.shard)
            self._set_aside(lane)
            await self._record_failure(lane, e)
        return True

    def _set_aside(self, lane: Lane) -> None:
        lane.engine, lane.at = None, 0
        lane.inbox.clear()
        lane.due_us = self._now() + BACKOFF_US[min(lane.failures, len(BACKOFF_US) - 1)]
        lane.failures += 1

    async def _record_failure(self, lane: Lane, error: Exception) -> None:
        try:
            conn = await self._connection()
            values = {
                "shard": lane.shard,
                "epoch": lane.epoch,
                "now_us": self._now(),
                "failure": f"{type(error).__name__}: {error}",
            }
            async with conn.transaction():
                await conn.execute(QUERIES["fail"], values)
                await conn.execute(QUERIES["notify"])
        except psycopg.Error as e:
            LOG.warning("shard %s: the failure could not be recorded: %s", lane.shard, e)
            await self.close()

    # ---------------------------------------------------------------- one shard

    async def _catch_up(self, lane: Lane, pos: int) -> None:
        conn = await self._connection()
        if lane.engine is None:
            await self._restore(conn, lane)
        batches, lane.inbox = [b for b in lane.inbox if b.pos > lane.at], []
        for batch in batches:
            if batch.prev == lane.at:
                await self._step(conn, lane, await asyncio.to_thread(self._apply, lane, batch))
            elif batch.pos > lane.at:
                await self._step(conn, lane, await asyncio.to_thread(self._read, lane, lane.at, batch.pos))
        if pos > lane.at:
            await self._step(conn, lane, await asyncio.to_thread(self._read, lane, lane.at, pos))

    async def _restore(self, conn: Connection, lane: Lane) -> None:
        lane.engine, lane.at, lane.saved_us, lane.unsaved_rows = self._factory(), 0, self._now(), 0
        found = await _one(conn, "read_checkpoint", {"shard": lane.shard})
        if found is not None and found[1] == LAYOUT:
            try:
                lane.engine.load(lane.shard, bytes(found[2]))
                lane.at = found[0]
            except LayoutError as e:
                LOG.warning("shard %s: %s", lane.shard, e)
        row = await _one(conn, "position", {"shard": lane.shard})
        lane.analysed = row[1]
        if lane.at > lane.analysed:
            raise Overtaken(f"the checkpoint is at {lane.at}, beyond the last T2 at {lane.analysed}: the database was restored")
        await asyncio.to_thread(self._read, lane, lane.at, lane.analysed)

    def _apply(self, lane: Lane, batch: Batch) -> list[Finding]:
        assert lane.engine is not None
        found = lane.engine.apply(batch)
        lane.at = batch.pos
        lane.unsaved_rows += len(batch.rows)
        return found

    def _read(self, lane: Lane, after: int, through: int) -> list[Finding]:
        """Apply what the store has in (after, through]; runs in a thread."""
        found: list[Finding] = []
        with psycopg.connect(self._url, connect_timeout=5, application_name="smartcare analyzer reading") as conn:
            for batch in read_batches(conn, lane.shard, after, through):
                found += self._apply(lane, batch)
        return found

    async def _step(self, conn: Connection, lane: Lane, findings: list[Finding]) -> None:
        """T2: the position moves by compare-and-set, together with all that follows from it, or not at all."""
        now, began = self._now(), time.perf_counter()
        async with conn.transaction():
            values = {"shard": lane.shard, "new": lane.at, "old": lane.analysed, "epoch": lane.epoch}
            if (await conn.execute(QUERIES["advance"], values)).rowcount != 1:
                raise Overtaken(f"T2 from {lane.analysed} to {lane.at} of epoch {lane.epoch} met another state")
            if findings:  # alerts before sites, as everyone locks them
                await apply_findings(conn, findings, now)
                await visits.follow(conn, findings, now)
                assert lane.engine is not None
                found = {f.site for f in findings}
                await put_status(conn, await asyncio.to_thread(lane.engine.take_changed, lane.shard, found))
            if now - lane.saved_us >= CHECKPOINT_US or lane.unsaved_rows >= CHECKPOINT_ROWS:
                await self._save(conn, lane, now)
            crashpoint("t2.commit")
        crashpoint("t2.committed")
        lane.analysed = lane.at
        T2_SECONDS.observe(time.perf_counter() - began)
        ANALYSED_POS.labels(lane.shard).set(lane.at)
        FINDINGS.inc(len(findings))

    async def _save(self, conn: Connection, lane: Lane, now: int) -> None:
        assert lane.engine is not None
        state = await asyncio.to_thread(lane.engine.dump, lane.shard)
        await conn.execute(QUERIES["write_checkpoint"], {"shard": lane.shard, "pos": lane.at, "layout": LAYOUT, "state": state})
        crashpoint("t2.checkpoint")
        lane.saved_us, lane.unsaved_rows = now, 0

    async def _show(self, lane: Lane) -> None:
        """Write what T2s left unsaid: sites where nothing was found. It never delays an alert by much."""
        assert lane.engine is not None
        began = time.perf_counter()
        changed = await asyncio.to_thread(lane.engine.take_changed, lane.shard, None, SHOWN_AT_ONCE)
        if changed:
            conn = await self._connection()
            async with conn.transaction():
                await put_status(conn, changed)
        took_us = int((time.perf_counter() - began) * SECOND_US)
        wait_us = SHOWING * len(self._lanes) * took_us
        lane.show_us = self._now() + (wait_us if len(changed) == SHOWN_AT_ONCE else max(STATUS_US, wait_us))

    async def _connection(self) -> Connection:
        if self._conn is None or self._conn.closed:
            self._conn = await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, connect_timeout=5, application_name="smartcare analyzer"
            )
        return self._conn


async def put_status(conn: Connection, changed: Sequence[SiteStatus]) -> None:
    """Store what the page shows of these sites, coloured by their alerts."""
    if changed:
        await conn.execute(QUERIES["put_status"], {"rows": msgspec.json.encode(changed).decode()})
        await colour(conn, [s.site for s in changed])


async def _one(conn: Connection, query: str, values: dict[str, Any]) -> Any:
    return await (await conn.execute(QUERIES[query], values)).fetchone()
