"""A backup of a TimescaleDB, with compressed days in it, restored into an empty one."""

from pathlib import Path
from typing import Any

import psycopg
import pytest

from gateway.clock import now_us
from ingest import maintenance, register
from smartcare import backup
from tests.ingest.conftest import ids, town_rows
from tests.ingest.frames import NOW_US, Sender, contact, counts, store
from tests.timescale import server
from tests.timescale.conftest import empty
from tests.timescale.test_years import checkpoints_are_up_to_date, history, maintain, take, whole

pytestmark = pytest.mark.timescale


def hypertables(conn: psycopg.Connection[Any]) -> list[Any]:
    """Return each hypertable, its chunks, and how many of them are compressed."""
    query = "SELECT hypertable_name::text, count(*), count(*) FILTER (WHERE is_compressed) FROM timescaledb_information.chunks"
    return sorted(conn.execute(f"{query} WHERE hypertable_schema = 'public' GROUP BY 1").fetchall())


def test_all_comes_back_compressed_days_too_and_goes_on(timescale_server: str, tmp_path: Path) -> None:
    file, steps = tmp_path / "night.dump", list[str]()
    empty(timescale_server)
    with psycopg.connect(timescale_server, autocommit=True) as conn:
        register.load(conn, town_rows(), now_us())
        history(timescale_server)
        checkpoints_are_up_to_date(conn)
        maintain(conn)
        before, parts, place = whole(conn), hypertables(conn), ids(conn)["place:HC01/door"]
        counted = counts(conn, place)
        epochs: dict[int, int] = dict(conn.execute("SELECT id, epoch FROM shard").fetchall())
    assert any(packed for _, _, packed in parts)
    backup.backup(timescale_server, file, steps.append)
    with server.serve(tmp_path / "other.log") as dsn:
        backup.restore(dsn, file, steps.append)
        with psycopg.connect(dsn, autocommit=True) as conn:
            assert (whole(conn), hypertables(conn), counts(conn, place)) == (before, parts, counted)
            assert all(epoch > epochs[shard] for shard, epoch in conn.execute("SELECT id, epoch FROM shard").fetchall())
            with store(dsn) as s:
                take(s, Sender(stream=0xB0, since_us=NOW_US), NOW_US, contact(NOW_US + 7, 1))
            assert len(whole(conn)[0]) == len(before[0]) + 1
            maintenance.maintain(conn, NOW_US, {"event": 200}, steps.append)
            assert {name for name, _, _ in hypertables(conn)} == {"event", "frame", "passage"}
    empty(timescale_server)
