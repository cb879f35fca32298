"""T1: everything that came in goes into the store in one transaction, or not at all.

    lock shards, compare epochs → ask the log about devices → prepare → COPY and upserts → advance pos → COMMIT → memory

One decision: when the connection breaks at COMMIT, the shard's position tells what became of it. The row lock makes the
question wait for a server process that is still committing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psycopg
from numpy.typing import ArrayLike

from gateway.crashpoint import crashpoint
from ingest.batch import Accepted, Key, Prepared, Rows, complete, gather, needed, ordinals, rollups, service, suspects
from ingest.columns import Batch, BlindSpan, Coverage, Liveness
from ingest.errors import Fenced
from ingest.memory import HORIZON_US, Memory
from ingest.shards import Owned
from ingest.snapshot import Snapshot
from ingest.store.copying import EVENT, FRAME, PASSAGE
from ingest.store.queries import Queries

QUERIES = Queries("ingest")
PASSAGE_KIND = 4
QUARANTINE_BYTES = 4096
UNCLAIMED = 1000
MAX_LAG_MS = 2**31 - 1
CLOCK_WRONG, FRAMES_LOST = "clock wrong", "frames lost"

Conn = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """Frames from_seq through to_seq of a stream will never come; `since_us` and `to_us` bound when they were made."""

    gateway: int
    stream: int
    from_seq: int
    to_seq: int
    since_us: int
    to_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """Bytes that could not be stored as events, with the reason."""

    topic: str
    reason: str
    detail: str
    data: bytes
    gateway: int | None = None
    stream: int | None = None
    seq: int | None = None


@dataclass(slots=True, kw_only=True)
class Work:
    """What one T1 writes for one shard. cursors: (gateway, stream) → seq."""

    frames: list[Accepted] = field(default_factory=list)
    cursors: dict[tuple[int, int], int] = field(default_factory=dict)
    losses: list[Loss] = field(default_factory=list)
    coverage: dict[tuple[int, int], Coverage] = field(default_factory=dict)
    blind: dict[tuple[int, str, int], BlindSpan] = field(default_factory=dict)
    liveness: list[Liveness] = field(default_factory=list)
    inputs: tuple[int, bytes] | None = None
    """New inputs: (version, body)."""

    def __bool__(self) -> bool:
        return bool(self.cursors or self.coverage or self.blind or self.liveness or self.inputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Intended:
    """A transaction about to commit, or whose COMMIT was not answered."""

    positions: dict[int, int]
    batches: list[Batch]
    prepared: Prepared


class T1:
    """The transactions of one worker, one after another. `owned` is the live mapping of its shards."""

    def __init__(self, database_url: str, owned: Mapping[int, Owned]) -> None:
        self.owned, self.database_url = owned, database_url
        self.memory = Memory()
        self.conn = self._connect()
        self._positions: dict[int, int] = {}
        self._unanswered: Intended | None = None

    def write(self, work: Mapping[int, Work], quarantined: Sequence[Quarantined], snapshot: Snapshot, now_us: int) -> list[Batch]:
        """Write the work of each shard. Returns the committed batches, by shard.

        Raises psycopg.OperationalError when the store is away; call `settle` until it answers, then, if that returns
        None, `write` again. Raises Fenced when a shard was taken over. Whatever is raised, memory is unchanged.
        """
        work = {shard: w for shard, w in sorted(work.items()) if w}
        with self.conn.transaction():
            before = self._lock(work)
            positions = {shard: max(pos + 1, now_us) for shard, pos in before.items()}
            prepared = self._prepare(work, snapshot, now_us)
            self._copy(positions, work, prepared.rows)
            self._put_states(positions, work, prepared)
            batches = self._put_batches(before, positions, work, prepared)
            for q in quarantined:
                self._put_quarantined(q, now_us)
            if positions:
                self._advance(positions)
            self._unanswered = Intended(positions=positions, batches=batches, prepared=prepared)
            crashpoint("t1.commit")
        crashpoint("t1.committed")
        return self._done()

    def settle(self) -> list[Batch] | None:
        """After the connection broke: connect again and find out whether the last transaction was committed.

        Returns its batches, or None if it was not. Raises psycopg.OperationalError while the store is away, Fenced.
        """
        self.conn.close()
        self.conn = self._connect()
        if self._unanswered is None:
            return None
        with self.conn.transaction():
            positions = self._lock(self._unanswered.positions)
        if self._unanswered.positions and positions == self._unanswered.positions:
            return self._done()
        self._unanswered = None
        return None

    def close(self) -> None:
        """Close the connection."""
        self.conn.close()

    def _connect(self) -> Conn:
        return psycopg.connect(self.database_url, autocommit=True, connect_timeout=5, application_name="smartcare T1")

    def _done(self) -> list[Batch]:
        done, self._unanswered = self._unanswered, None
        assert done is not None
        self.memory.apply(done.prepared.moved)
        return done.batches

    def _lock(self, shards: Iterable[int]) -> dict[int, int]:
        """Lock the shards' rows and compare epochs. Returns their positions. Raises Fenced."""
        wanted = sorted(shards)
        positions = {}
        for shard, epoch, pos in self.conn.execute(QUERIES["lock_shards"], {"shards": wanted}).fetchall():
            if epoch != self.owned[shard].epoch:
                raise Fenced(shard, self.owned[shard].epoch, epoch)
            positions[shard] = pos
        return positions

    def _prepare(self, work: Mapping[int, Work], snapshot: Snapshot, now_us: int) -> Prepared:
        prepared = gather({shard: w.frames for shard, w in work.items()}, snapshot, now_us)
        since_us = now_us - HORIZON_US
        if unknown := needed(prepared, self.memory):
            rows = self.conn.execute(QUERIES["recent_rows"], {"devices": unknown, "since_us": since_us}).fetchall()
            self.memory.learn(unknown, rows)
        stored: set[Key] = set()
        if look := suspects(prepared, self.memory):
            values = {"devices": list(look), "from_us": list(look.values()), "since_us": since_us}
            stored = {(d, k, x, key, own) for d, k, x, key, own in self.conn.execute(QUERIES["keyed_rows"], values).fetchall()}
        return complete(prepared, self.memory, stored, snapshot)

    def _put_states(self, positions: Mapping[int, int], work: Mapping[int, Work], prepared: Prepared) -> None:
        """Write what has one row for each gateway, device or place, in the order of keys."""
        for u in prepared.unclaimed:
            values = {"gateway": u.gateway, "identity": u.identity, "first_us": u.first_us, "last_us": u.last_us}
            self.conn.execute(QUERIES["put_unclaimed"], values | {"events": u.events, "kinds": u.kinds, "most": UNCLAIMED})
        cursors = sorted((gateway, stream, seq) for w in work.values() for (gateway, stream), seq in w.cursors.items())
        self._put_many("put_cursors", ("gateway", "stream", "seq"), cursors)
        added = rollups(prepared.rows)
        if len(added["place"]):
            self.conn.execute(QUERIES["add_rollups"], {name: values.tolist() for name, values in added.items()})
        came = service(prepared.rows)
        if len(came["place"]):
            self.conn.execute(QUERIES["add_service"], {name: values.tolist() for name, values in came.items()})
        known = prepared.rows[(prepared.rows["person"] > 0) & (prepared.rows["place"] > 0)]
        if len(known):
            visits = {name: known[name].tolist() for name in ("person", "place", "t_us")}
            self.conn.execute(QUERIES["add_person_days"], visits)

    def _put_batches(
        self, before: Mapping[int, int], positions: Mapping[int, int], work: Mapping[int, Work], prepared: Prepared
    ) -> list[Batch]:
        """Write the rest of each shard's work. Returns what the analyzer gets."""
        # Losses begin where coverage ended, so they come before it is extended.
        blind = {shard: self._put_changes(shard, positions[shard], w) for shard, w in work.items()}
        coverage = self._put_coverage(positions, work)
        rows, columns = prepared.rows, prepared.columns()
        starts = np.searchsorted(rows["shard"], list(work)).tolist()
        ends = np.searchsorted(rows["shard"], list(work), side="right").tolist()
        return [
            Batch(
                shard=shard,
                prev=before[shard],
                pos=positions[shard],
                rows=columns[start:end],
                coverage=coverage[shard],
                blind=blind[shard],
                liveness=sorted(w.liveness, key=lambda v: v.gateway),
                inputs=w.inputs[1] if w.inputs else None,
            )
            for (shard, w), start, end in zip(work.items(), starts, ends, strict=True)
        ]

    def _put_changes(self, shard: int, pos: int, work: Work) -> list[BlindSpan]:
        """Write what seldom changes. Returns the blind spans, those of losses among them."""
        blind = dict(work.blind) | {(b.gateway, b.source, b.from_us): b for b in self._put_losses(pos, work.losses)}
        blind = dict(sorted(blind.items()))
        for b in blind.values():
            values = {"gateway": b.gateway, "source": b.source, "from_us": b.from_us, "to_us": b.to_us}
            self.conn.execute(QUERIES["put_blind"], values | {"reason": b.reason, "pos": pos, "shard": shard})
        for v in work.liveness:
            values = {"shard": shard, "pos": pos, "gateway": v.gateway, "alive": v.alive, "at_us": v.at_us}
            self.conn.execute(QUERIES["put_liveness"], values)
        if work.inputs:
            version, body = work.inputs
            self.conn.execute(QUERIES["put_inputs"], {"shard": shard, "pos": pos, "version": version, "body": body})
        return list(blind.values())

    def _put_many(self, query: str, names: Sequence[str], rows: Sequence[Sequence[int]]) -> psycopg.Cursor[Any] | None:
        """Run a query that takes one array for each name; nothing where there are no rows."""
        if not rows:
            return None
        columns = zip(*rows, strict=True)
        return self.conn.execute(QUERIES[query], {name: list(c) for name, c in zip(names, columns, strict=True)})

    def _advance(self, positions: Mapping[int, int]) -> None:
        rows = [(shard, pos, self.owned[shard].epoch) for shard, pos in positions.items()]
        done = self._put_many("advance_shards", ("shard", "pos", "epoch"), rows)
        assert done is not None
        assert done.rowcount == len(positions), "a locked shard has changed"

    def _put_losses(self, pos: int, losses: list[Loss]) -> Iterable[BlindSpan]:
        """A lost range is a named loss, and a time in which the gateway may have heard what nobody will ever know."""
        for loss in losses:
            values = {"gateway": loss.gateway, "pos": pos, "stream": loss.stream, "from_seq": loss.from_seq}
            values |= {"to_seq": loss.to_seq, "since_us": loss.since_us, "to_us": loss.to_us}
            row = self.conn.execute(QUERIES["put_loss"], values).fetchone()
            assert row is not None
            yield BlindSpan(gateway=loss.gateway, source="", from_us=row[0], to_us=max(loss.to_us, row[0]), reason=FRAMES_LOST)

    def _put_coverage(self, positions: Mapping[int, int], work: Mapping[int, Work]) -> dict[int, list[Coverage]]:
        """Extend coverage. Returns it as it is now, by shard, sorted by gateway and stream."""
        stored: dict[int, list[Coverage]] = {shard: [] for shard in work}
        names = ("gateway", "stream", "from_us", "through_us", "pos", "shard")
        rows = [
            (gateway, stream, c.from_us, c.through_us, positions[shard], shard)
            for shard, w in work.items()
            for (gateway, stream), c in w.coverage.items()
        ]
        shard_of = {(gateway, stream): shard for shard, w in work.items() for gateway, stream in w.coverage}
        if found := self._put_many("put_coverage", names, sorted(rows)):
            for gateway, stream, from_us, through_us in sorted(found.fetchall()):
                extended = Coverage(gateway=gateway, stream=stream, from_us=from_us, through_us=through_us)
                stored[shard_of[gateway, stream]].append(extended)
        return stored

    def _put_quarantined(self, q: Quarantined, now_us: int) -> None:
        values = {"at_us": now_us, "topic": q.topic[:200], "gateway": q.gateway, "stream": q.stream, "seq": q.seq}
        values |= {"reason": q.reason, "detail": q.detail.replace("\0", "")[:1000], "data": q.data[:QUARANTINE_BYTES]}
        self.conn.execute(QUERIES["put_quarantine"], values)

    def _copy(self, positions: Mapping[int, int], work: Mapping[int, Work], rows: Rows) -> None:
        frames = [
            (positions[shard], shard, 0 if f.body is None else len(f.body.rows), f.gateway, f.header)
            for shard, w in work.items()
            for f in w.frames
        ]
        if frames:
            pos, shard, events, gateway, headers = zip(*frames, strict=True)
            values: dict[str, ArrayLike] = {"pos": pos, "shard": shard, "events": events, "gateway": gateway}
            values["first"] = ordinals(np.array(shard), np.array(events))
            values |= {name: [getattr(h, name) for h in headers] for name in ("stream", "seq", "through_us")}
            FRAME.write(self.conn, values, len(frames))
        which = np.searchsorted(list(positions), rows["shard"])
        columns = {name: rows[name] for name in rows.dtype.names or ()}
        columns["pos"] = np.array(list(positions.values()) or [0], np.int64)[which]
        columns["lag_ms"] = np.clip((rows["received_us"] - rows["t_us"]) // 1000, -MAX_LAG_MS, MAX_LAG_MS)
        columns |= {"method": rows["aux"], "result": rows["a"], "list_role": rows["b"]}
        is_passage = rows["kind"] == PASSAGE_KIND
        for table, mine in ((EVENT, ~is_passage), (PASSAGE, is_passage)):
            if mine.all():
                table.write(self.conn, columns, len(rows))
            elif mine.any():
                table.write(self.conn, {name: columns[name][mine] for name in table.columns}, int(mine.sum()))
