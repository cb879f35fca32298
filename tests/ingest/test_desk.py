"""Check-in without a face: what staff enter is stored once and counts like a passage."""

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from gateway.clock import DAY_US, SECOND_US, now_us
from gateway.events import Method
from ingest import register
from ingest.desk import BEAT_US, Desk
from tests.ingest.conftest import town_rows
from tests.ingest.frames import store

Conn = psycopg.Connection[Any]


@pytest.fixture
def desk(dsn: str, conn: Conn) -> Iterator[Desk]:
    """The desks of a small town."""
    register.load(conn, town_rows(), now_us())
    found = Desk(dsn)
    yield found
    found.close()


@pytest.fixture
def enter(conn: Conn) -> Callable[..., None]:
    """Check someone in as the page does."""

    def enter(person: int | None, at_us: int, method: Method = Method.MANUAL) -> None:
        conn.execute(
            "SELECT enter_check_in((SELECT id FROM site WHERE code = 'HC01'), %s, %s::smallint, %s, %s, 'staff')",
            [person, int(method), at_us, at_us],
        )

    return enter


def test_a_check_in_is_stored_once_as_a_passage_of_the_person(
    dsn: str, conn: Conn, desk: Desk, enter: Callable[..., None]
) -> None:
    now = now_us()
    conn.execute("UPDATE person SET consent_from_us = %s", [now - DAY_US])
    [(person, shard)] = conn.execute("SELECT p.id, s.shard FROM person p JOIN site s ON s.id = p.site").fetchall()
    enter(person, now - 2 * SECOND_US, Method.CARD)
    enter(None, now - SECOND_US)
    messages = desk.messages([shard], now)
    assert desk.messages([(shard + 1) % 64], now) == []
    with store(dsn) as worker:
        worker.take(*messages, now_us=now)
        worker.take(*messages, now_us=now)  # sent again before the cursor was seen
        [beat] = desk.messages([shard], now)
        assert b"heartbeat" in beat.payload
        worker.take(beat, now_us=now)
    rows = conn.execute("SELECT t_us, person, method, result FROM passage ORDER BY t_us").fetchall()
    assert rows == [(now - 2 * SECOND_US, person, Method.CARD, 1), (now - SECOND_US, 0, Method.MANUAL, 1)]
    assert conn.execute("SELECT sum(passages) FROM rollup_hour").fetchone() == (2,)
    assert conn.execute("SELECT visits FROM person_day WHERE person = %s", [person]).fetchone() == (1,)
    assert conn.execute("SELECT count(*) FROM coverage").fetchone() == (1,)
    assert desk.messages([shard], now + SECOND_US) == []
    assert len(desk.messages([shard], now + BEAT_US)) == 1


def test_what_was_not_stored_is_sent_again_in_order(desk: Desk, enter: Callable[..., None]) -> None:
    now = now_us()
    for n in range(3):
        enter(None, now - n)
    shards = range(64)
    assert [m.payload for m in desk.messages(shards, now)] == [m.payload for m in desk.messages(shards, now)]
    assert len(desk.messages(shards, now)) == 3


def test_a_site_without_a_place_has_no_desk(conn: Conn, desk: Desk, enter: Callable[..., None]) -> None:
    conn.execute("DELETE FROM mounting")
    conn.execute("DELETE FROM place")
    with pytest.raises(psycopg.errors.NoDataFound):
        enter(None, now_us())
    assert conn.execute("SELECT count(*) FROM desk").fetchone() == (0,)
