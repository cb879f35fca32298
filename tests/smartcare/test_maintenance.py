"""`smartcare maintain` and the worker's nightly run, on a real database."""

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from gateway.clock import DAY_US, now_us
from ingest.maintenance import LOCK
from smartcare import maintenance

Conn = psycopg.Connection[Any]


@pytest.fixture
def conn(dsn: str) -> Iterator[Conn]:
    with psycopg.connect(dsn, autocommit=True) as c:
        c.execute(
            "INSERT INTO quarantine (at_us, topic, reason, detail, bytes) VALUES (%s, '', '', '', '')", [now_us() - 200 * DAY_US]
        )
        yield c


def left(conn: Conn) -> int:
    return int(conn.execute("SELECT count(*) FROM quarantine").fetchall()[0][0])


def test_a_dry_run_says_what_would_go_and_a_real_one_what_went(conn: Conn) -> None:
    steps: list[str] = []
    said = maintenance.run(conn, {}, steps.append, dry_run=True)
    assert left(conn) == 1
    assert "nothing was" in said
    assert "quarantine" in said
    said = maintenance.run(conn, {}, steps.append, dry_run=False)
    assert left(conn) == 0
    assert "MB" in said
    assert any("quarantine" in step for step in steps)


async def test_the_worker_maintains_once_a_night_and_waits_for_nobody(conn: Conn, dsn: str) -> None:
    conn.execute("SELECT pg_advisory_lock(%s)", [LOCK])  # another worker is at it
    await maintenance._once(dsn, {})
    assert left(conn) == 1
    conn.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
    await maintenance._once(dsn, {})
    assert left(conn) == 0
    conn.execute("INSERT INTO quarantine (at_us, topic, reason, detail, bytes) VALUES (0, '', '', '', '')")
    await maintenance._once(dsn, {})
    assert left(conn) == 1


async def test_a_worker_that_ends_cuts_its_maintenance_off(conn: Conn, dsn: str) -> None:
    waiting = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'smartcare maintenance' AND wait_event_type = 'Lock'"

    def wait_until_it_waits() -> None:
        while not conn.execute(waiting).fetchone():
            conn.execute("SELECT pg_stat_clear_snapshot(), pg_sleep(0.01)")

    with conn.transaction():
        conn.execute("LOCK TABLE quarantine")
        async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
            run = tasks.create_task(maintenance.nightly(dsn, {}))
            await asyncio.to_thread(wait_until_it_waits)
            run.cancel()
    assert left(conn) == 1
