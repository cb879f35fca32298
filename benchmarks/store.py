"""How many bytes an event takes, as it came and compressed, and how fast a device's day and a site's month are read.

One decision: bytes are measured on TimescaleDB (npm's build for WebAssembly, whose files have the same pages and whose speed says
nothing), day after day as maintenance compresses them; times on PostgreSQL with native partitions, where nothing is compressed.
"""

import asyncio
import tempfile
import time
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import psycopg

from api import reports
from api.report_period import ReportPeriod
from benchmarks.ingest_path import Say
from benchmarks.store_rows import SITE_DEVICES, Town
from gateway.clock import DAY_US, SECOND_US, now_us
from ingest.store import partitions
from ingest.store.copying import EVENT
from ingest.store.schema import ensure_partitions, migrate
from smartcare.embedded import postgres
from tests.timescale import server as timescale

FIRST_US = 1_772_294_400 * SECOND_US
"""2026-03-01 00:00 in Shanghai."""
MONTH = ReportPeriod(text="2026-03", first=date(2026, 3, 1), last=date(2026, 3, 31))
ROLLUPS = """
INSERT INTO rollup_hour (place, hour_us, people_in, people_out, openings, events, first_us, last_us)
SELECT place, t_us / 3600000000 * 3600000000 AS hour_us, sum(d_in), sum(d_out),
       count(*) FILTER (WHERE kind = 1 AND a = 1), count(*),
       min(t_us) FILTER (WHERE kind = 1 OR d_in > 0), max(t_us) FILTER (WHERE kind = 1 OR d_in > 0)
FROM event GROUP BY 1, 2
"""
DEVICE_DAY = """
SELECT t_us, kind, aux, a, b, d_in, d_out, flags FROM event
WHERE device = %(device)s AND t_us >= %(from_us)s AND t_us < %(to_us)s AND pos >= %(from_us)s ORDER BY t_us
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Devices that make 100 events a day; days on TimescaleDB, days on PostgreSQL; readings of each page."""

    devices: int
    packed_days: int
    read_days: int
    readings: int


FULL = Size(devices=5_000, packed_days=20, read_days=20, readings=200)
LONG = Size(devices=5_000, packed_days=20, read_days=200, readings=500)
"""A hundred million events to read."""
SMOKE = Size(devices=640, packed_days=2, read_days=2, readings=10)


def measure(size: Size, say: Say) -> dict[str, float]:
    """Return bytes an event, and the medians and 99th percentiles of reading (ms)."""
    town = Town(devices=size.devices, per_day=100, from_us=FIRST_US)
    return _packed(town, size, say) | _read(town, size, say)


def _packed(town: Town, size: Size, say: Say) -> dict[str, float]:
    """Load day after day, and compress each chunk that has closed."""
    timescale.install()
    with tempfile.TemporaryDirectory(prefix="smartcare-bench-") as folder, timescale.serve(Path(folder) / "log") as dsn:
        with psycopg.connect(dsn, autocommit=True) as conn:
            migrate(conn, now_us())
            chunks: list[tuple[int, int, int]] = []
            for n, rows in enumerate(town.days(size.packed_days), 1):
                EVENT.write(conn, rows, len(rows["pos"]))
                chunks += _compress(conn, FIRST_US + n * DAY_US)
                plain, packed = _per_event(chunks, 1), _per_event(chunks, 2)
                say(f"store: day {n} of {size.packed_days}, {plain:.1f} bytes an event, {packed:.2f} compressed")
        return {
            "store.packed_events": sum(events for events, _, _ in chunks),
            "store.bytes_per_event_plain": _per_event(chunks, 1),
            "store.bytes_per_event_compressed": _per_event(chunks, 2),
        }


def _compress(conn: psycopg.Connection[Any], until_us: int) -> list[tuple[int, int, int]]:
    """Compress what closed before; returns events, bytes before and bytes after of each, with indexes and TOAST."""
    found = []
    for part in partitions.parts(conn):
        if part.table == "event" and not part.compressed and part.to_us <= until_us:
            (events,) = conn.execute(f"SELECT count(*) FROM {part.name}").fetchall()[0]
            before = partitions.sizes(conn)["event"]
            own = _bytes(conn, part.name)
            partitions.compress(conn, part)
            found.append((int(events), own, partitions.sizes(conn)["event"] - before + own))
    return found


def _bytes(conn: psycopg.Connection[Any], name: str) -> int:
    return int(conn.execute("SELECT pg_total_relation_size(%s::regclass)", [name]).fetchall()[0][0])


def _per_event(chunks: list[tuple[int, int, int]], which: int) -> float:
    """Of the whole days: the first and the last chunk hold a part of one."""
    whole = [c for c in chunks if 2 * c[0] > max(chunk[0] for chunk in chunks)]
    return sum(c[which] for c in whole) / max(1, sum(c[0] for c in whole))


def _read(town: Town, size: Size, say: Say) -> dict[str, float]:
    """Load everything with COPY, make roll-ups of it, read at random."""
    with tempfile.TemporaryDirectory(prefix="smartcare-bench-") as folder:
        Path(folder).chmod(0o755)
        server = postgres.Server(Path(folder) / "postgres")
        try:
            with server, psycopg.connect(server.dsn(), autocommit=True) as conn:
                migrate(conn, now_us())
                town.register(conn)
                began, loaded = time.perf_counter(), 0
                for n, rows in enumerate(town.days(size.read_days), 1):
                    ensure_partitions(conn, FIRST_US + n * DAY_US)
                    EVENT.write(conn, rows, len(rows["pos"]))
                    loaded += len(rows["pos"])
                    if n % 10 == 0:
                        say(f"store: {loaded:,} events loaded after {time.perf_counter() - began:.0f} s")
                conn.execute(ROLLUPS)
                conn.execute("VACUUM ANALYZE")
                say(f"store: roll-ups made after {time.perf_counter() - began:.0f} s")
                days = _days(conn, size)
                months = asyncio.run(_months(server.dsn(), size))
                return {
                    "store.read_events": loaded,
                    "store.device_page_ms": float(np.median(days)),
                    "store.device_page_p99_ms": float(np.percentile(days, 99)),
                    "store.site_report_ms": float(np.median(months)),
                    "store.site_report_p99_ms": float(np.percentile(months, 99)),
                }
        finally:
            server.remove()


def _days(conn: psycopg.Connection[Any], size: Size) -> list[float]:
    """Read a day of a device, each time another; a hundred events or so, wherever late ones lie. Returns milliseconds."""
    rng, took = np.random.default_rng(3), []
    for _ in range(size.readings):
        from_us = FIRST_US + int(rng.integers(size.read_days)) * DAY_US
        values = {"device": int(rng.integers(size.devices)) + 1, "from_us": from_us, "to_us": from_us + DAY_US}
        began = time.perf_counter()
        rows = conn.execute(DEVICE_DAY, values).fetchall()
        took.append((time.perf_counter() - began) * 1000)
        assert rows, f"no events of {values}"
    return took


async def _months(dsn: str, size: Size) -> list[float]:
    """Read the report of March of a site, each time another. Returns milliseconds."""
    rng, took = np.random.default_rng(4), []
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        for _ in range(max(1, size.readings // 5)):
            site = f"s{int(rng.integers(size.devices // SITE_DEVICES))}"
            began = time.perf_counter()
            report = await reports.read(conn, reports.Scope(site=site), MONTH, FIRST_US + 400 * DAY_US)
            took.append((time.perf_counter() - began) * 1000)
            assert report.sites, f"no report of {site}"
    return took
