"""Reads the log back, as the batches that were handed over in memory or several of them as one.

Two decisions: what is kept in place (coverage) comes with the last batch, so that a reader that catches up knows all the
evidence before its clock moves; and T1s that brought only rows join the batch before, because a minute of log is hundreds of
small ones, and a batch costs its reader as much as a thousand rows do.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import psycopg

from ingest.columns import COLUMNS, Batch, BlindSpan, Coverage, Liveness
from ingest.store.queries import Queries

QUERIES = Queries("ingest")
POSITIONS_AT_ONCE = 500


def read_batches(conn: psycopg.Connection[Any], shard: int, after: int, through: int) -> Iterator[Batch]:
    """Yield what the T1s of one shard with positions in (after, through] brought, in order, the last batch at `through`.

    A T1 that only extended coverage leaves no batch of its own; all coverage extended in the range is in the last one.
    `prev` is the position of the batch yielded before. Nothing is yielded where through <= after.
    """
    if through <= after:
        return
    at, last = after, None
    while True:
        batches = _read(conn, shard, at, through)
        for batch in batches:
            if last:
                yield last
            last = batch
        if not batches:
            break
        at = batches[-1].pos
    if last is None or last.pos < through:
        if last:
            yield last
        last = Batch(shard=shard, prev=last.pos if last else after, pos=through)
    yield replace(last, coverage=_coverage(conn, shard, after, through))


def read_history(conn: psycopg.Connection[Any], shard: int, through: int) -> Iterator[Batch]:
    """Yield the whole log of one shard up to a position (microseconds), in order, block by block.

    Between blocks, coverage is as far as the frames read so far have said; so a reader's clock moves with what it has read,
    whenever a backlog came in.
    """
    found = conn.execute(QUERIES["log_spans"], {"shard": shard}).fetchall()
    spans = {(gateway, stream): (from_us, through_us) for gateway, stream, from_us, through_us in found}
    at = 0
    while batches := _read(conn, shard, at, through):
        values = {"shard": shard, "after": at, "through": batches[-1].pos}
        told = {(g, s): t for g, s, t in conn.execute(QUERIES["log_watermarks"], values).fetchall() if (g, s) in spans}
        at = batches[-1].pos
        yield from batches[:-1]
        yield replace(batches[-1], coverage=_spans({key: (spans[key][0], min(t, spans[key][1])) for key, t in told.items()}))
    yield Batch(shard=shard, prev=at, pos=max(through, at), coverage=_spans(spans))


def _spans(spans: dict[tuple[int, int], tuple[int, int]]) -> list[Coverage]:
    known = sorted(spans.items())
    return [Coverage(gateway=g, stream=s, from_us=f, through_us=t) for (g, s), (f, t) in known if f <= t]


def _read(conn: psycopg.Connection[Any], shard: int, after: int, through: int) -> list[Batch]:
    values = {"shard": shard, "after": after, "through": through}
    found = conn.execute(QUERIES["log_positions"], values | {"limit": POSITIONS_AT_ONCE}).fetchall()
    positions = [pos for (pos,) in found]
    if not positions:
        return []
    values["through"] = positions[-1]
    rows = _rows(conn, values)
    blind, liveness = defaultdict(list), defaultdict(list)
    for pos, gateway, source, from_us, to_us, reason in conn.execute(QUERIES["log_blind"], values).fetchall():
        blind[pos].append(BlindSpan(gateway=gateway, source=source, from_us=from_us, to_us=to_us, reason=reason))
    for pos, gateway, alive, at_us in conn.execute(QUERIES["log_liveness"], values).fetchall():
        liveness[pos].append(Liveness(gateway=gateway, alive=alive, at_us=at_us))
    inputs = {pos: bytes(body) for pos, body in conn.execute(QUERIES["log_inputs"], values).fetchall()}
    said = blind.keys() | liveness.keys() | inputs.keys()
    first = [n for n, pos in enumerate(positions) if n == 0 or pos in said]
    last = [n - 1 for n in first[1:]] + [len(positions) - 1]
    starts = np.searchsorted(rows["pos"], [positions[n] for n in first])
    ends = np.searchsorted(rows["pos"], [positions[n] for n in last], side="right")
    return [
        Batch(
            shard=shard,
            prev=positions[f - 1] if f else after,
            pos=positions[n],
            rows=rows["columns"][start:end].copy(),
            positions=rows["pos"][start:end].copy() if n > f else None,
            blind=blind[positions[f]],
            liveness=liveness[positions[f]],
            inputs=inputs.get(positions[f]),
        )
        for f, n, start, end in zip(first, last, starts.tolist(), ends.tolist(), strict=True)
    ]


def _rows(conn: psycopg.Connection[Any], values: dict[str, int]) -> np.ndarray[Any, np.dtype[np.void]]:
    found = conn.execute(QUERIES["log_rows"], values, binary=True).fetchall()
    return np.array([(row[0], row[1:]) for row in found], np.dtype([("pos", "i8"), ("columns", COLUMNS)]))


def _coverage(conn: psycopg.Connection[Any], shard: int, after: int, through: int) -> list[Coverage]:
    rows = conn.execute(QUERIES["log_coverage"], {"shard": shard, "after": after, "through": through}).fetchall()
    return [Coverage(gateway=g, stream=s, from_us=f, through_us=t) for g, s, f, t in rows]
