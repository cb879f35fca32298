"""Frames of fifty events for five minutes with all rules on, until T2 has seen them, against a bare COPY of the same rows.

One decision: rounds of our way and of COPY follow each other until the time is over, and what counts is the sum of all of them,
so that checkpoints, autovacuum and growing tables are in it.
"""

import time
from dataclasses import dataclass

import psycopg

from benchmarks import growth, town
from benchmarks.ingest_path import Say, stored_rows, twin
from ingest.store.copying import EVENT


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Seconds of our own rounds, and frames of each gateway in one."""

    seconds: float
    frames: int


FULL = Size(seconds=300, frames=60)
SMOKE = Size(seconds=2, frames=4)


def measure(size: Size, say: Say) -> dict[str, float]:
    """Return our rate, and the ratio to that of COPY. Raises load.LoadError."""
    ours = copied = events = 0.0
    with growth.rig(town.gateways(), town.GATEWAYS * town.DEVICES) as (conn, connections, _):
        twin(conn)
        growth.carry(conn, town.gateways(), connections, size.frames, town.DEVICES)  # warms up
        said = 0.0
        while ours < size.seconds:
            after, began = _last(conn), time.perf_counter()
            events += growth.carry(conn, town.gateways(), connections, size.frames, town.DEVICES)
            ours += time.perf_counter() - began
            rows, began = stored_rows(conn, after), time.perf_counter()
            with conn.transaction(), conn.cursor().copy(EVENT.sql.replace("COPY event", "COPY bare")) as copying:
                copying.write(rows)
            copied += time.perf_counter() - began
            if ours - said > size.seconds / 10:
                said = ours
                say(
                    f"sustained: {ours:.0f} s, {events / ours:,.0f} events/s with all rules, {events / copied:,.0f} by COPY alone"
                )
    return {"ingest.sustained_events_per_s": events / ours, "ingest.sustained_vs_copy": copied / ours}


def _last(conn: psycopg.Connection[tuple[int, ...]]) -> int:
    return int(conn.execute("SELECT max(pos) FROM shard").fetchall()[0][0])
