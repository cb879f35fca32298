"""What the store promises, on plain PostgreSQL and on TimescaleDB alike."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import psycopg
import pytest

from gateway.clock import now_us
from gateway.wire import Answer, Blind, Heartbeat, decode_down, encode_message, stream_text
from ingest import register
from ingest.store.log import read_batches
from ingest.store.schema import ensure_partitions, migrate
from tests.ingest.conftest import ids, town_rows
from tests.ingest.frames import MINUTE_US, NOW_US, TOKEN, Sender, contact, counts, passage, store, stored, total

Conn = psycopg.Connection[Any]


@pytest.fixture
def conn(contract_dsn: str) -> Iterator[Conn]:
    with psycopg.connect(contract_dsn, autocommit=True) as c:
        yield c


@pytest.fixture
def town(conn: Conn) -> dict[str, int]:
    register.load(conn, town_rows(), now_us())
    return ids(conn)


def test_migrations_are_applied_once_and_partition_the_log(conn: Conn, flavour: str) -> None:
    assert migrate(conn, now_us()) == []
    ensure_partitions(conn, now_us())
    if flavour == "timescaledb":
        parts = conn.execute("SELECT hypertable_name::text FROM timescaledb_information.hypertables").fetchall()
        assert conn.execute("SELECT count(*) FROM native_partition").fetchone() == (0,)
    else:
        parts = conn.execute(
            "SELECT DISTINCT inhparent::regclass::text FROM pg_inherits i JOIN native_partition ON"
            " name = inhparent::regclass::text"
        ).fetchall()
    assert {name for (name,) in parts} == {"event", "passage", "frame"}


def test_frames_become_rows_roll_ups_and_answers(conn: Conn, contract_dsn: str, town: dict[str, int]) -> None:
    sender, later = Sender(), NOW_US + 70 * MINUTE_US
    frames = [
        sender.frame(contact(NOW_US, 1), total(NOW_US, 10), passage(NOW_US, 1, TOKEN)),
        sender.frame(contact(later, 0), total(later, 14, 3), contact(later, 1, "z2m/?")),
    ]
    with store(contract_dsn) as s:
        said = [decode_down(r.payload) for r in s.take(frames[0])] + [decode_down(r.payload) for r in s.take(*frames)]
    assert [a.seq for a in said if isinstance(a, Answer)] == [1, 2]
    assert stored(conn, "t_us, d_in, d_out") == [(NOW_US, 0, 0), (NOW_US, 0, 0), (later, 0, 0), (later, 4, 3)]
    assert stored(conn, "method, result, person > 0", "passage") == [(1, 1, True)]
    assert conn.execute("SELECT seq, events FROM frame ORDER BY seq").fetchall() == [(1, 3), (2, 3)]
    assert conn.execute("SELECT identity, events FROM unclaimed").fetchall() == [("z2m/?", 1)]
    door = {"people_in": 4, "people_out": 3, "passages": 0, "openings": 1, "events": 4}
    assert counts(conn, town["place:HC01/door"]) == door
    hours = conn.execute("SELECT hour_us FROM rollup_hour WHERE place = %s ORDER BY 1", [town["place:HC01/door"]]).fetchall()
    assert hours == [(at - at % (60 * MINUTE_US),) for at in (NOW_US, later)]


def test_a_batch_read_back_equals_the_one_handed_over(conn: Conn, contract_dsn: str, town: dict[str, int]) -> None:
    del town
    sender = Sender()
    blind = [Blind(source="z2m/", from_us=NOW_US - 5, reason="bridge")]
    beat = Heartbeat(
        stream=stream_text(sender.stream), seq=1, since_us=NOW_US - 9, through_us=NOW_US, sent_us=NOW_US, blind=blind
    )
    first = sender.frame(contact(NOW_US, 1), passage(NOW_US, 1, TOKEN), total(NOW_US, 10))
    with store(contract_dsn) as s:
        for messages in (
            [first, sender.message(encode_message(beat))],
            [sender.frame(passage(NOW_US, 1), total(NOW_US + 1, 11))],
        ):
            before = len(s.batches)
            s.take(*messages)
            for batch in s.batches[before:]:
                (again,) = read_batches(conn, batch.shard, batch.prev, batch.pos)
                assert np.array_equal(again.rows, batch.rows)
                assert replace(again, rows=batch.rows) == batch
    whole = list(read_batches(conn, 3, 0, s.batches[-1].pos))
    at = [pos for b in whole if b.positions is not None for pos in b.positions.tolist()]
    assert at == [s.batches[0].pos] * 3 + [s.batches[-1].pos]


def test_a_new_worker_knows_totals_and_records_from_the_log(conn: Conn, contract_dsn: str, town: dict[str, int]) -> None:
    del town
    sender = Sender()
    with store(contract_dsn) as s:
        s.take(sender.frame(total(NOW_US, 65_530), passage(NOW_US, 1), passage(NOW_US + 1, 2)))
    with store(contract_dsn) as s:
        s.take(sender.frame(total(NOW_US + MINUTE_US, 4), passage(NOW_US, 1), passage(NOW_US + 2, 3)))
    assert stored(conn, "d_in") == [0, 10]
    assert stored(conn, "key", "passage") == [1, 2, 3]


def test_a_devices_newest_events_are_found_by_index(conn: Conn, contract_dsn: str, town: dict[str, int]) -> None:
    sender = Sender()
    with store(contract_dsn) as s:
        for day in range(3):
            at = NOW_US + day * 24 * 60 * MINUTE_US
            frame = sender.frame(*(contact(at + i, i % 2) for i in range(50)), through_us=at)
            s.take(replace(frame, arrived_us=at), now_us=at)
    page = f"SELECT t_us, a FROM event WHERE device = {town['dev:gw-hc01 z2m/前门']} ORDER BY t_us DESC LIMIT 3"
    last = NOW_US + 2 * 24 * 60 * MINUTE_US
    assert conn.execute(page).fetchall() == [(last + 49, 1), (last + 48, 0), (last + 47, 1)]
    with conn.transaction():
        conn.execute("SET LOCAL enable_seqscan = off")
        plan = "\n".join(line for (line,) in conn.execute(f"EXPLAIN {page}"))
    assert "Index" in plan
    assert "Seq Scan" not in plan
