"""People on the way to the analyzer and to reports: who may be judged, announced absences, the days each came."""

from datetime import UTC, date, datetime
from typing import Any

import psycopg
import pytest

from gateway.clock import DAY_US, HOUR_US, SECOND_US
from gateway.events import Flag
from ingest import absences, register, snapshot
from ingest.inputs import PersonInput
from tests.ingest.conftest import town_rows
from tests.ingest.frames import NOW_US, TOKEN, Sender, passage, store

Conn = psycopg.Connection[Any]
MIDNIGHT_US = (NOW_US + 8 * HOUR_US) // DAY_US * DAY_US - 8 * HOUR_US
"""Of the local day of NOW_US."""


def persons(conn: Conn, shard: int = 3) -> list[PersonInput]:
    """Return what the analyzer would be told."""
    return snapshot.compile_inputs(conn, [shard], 1)[shard].persons


def the_person(conn: Conn) -> int:
    """Return the id of the only person."""
    row = conn.execute("SELECT id FROM person").fetchone()
    assert row is not None
    return int(row[0])


def test_the_analyzer_is_told_of_people_with_consent_at_their_own_shard_only(conn: Conn, town: dict[str, int]) -> None:
    (told,) = persons(conn)
    assert told == PersonInput(
        id=the_person(conn),
        site=town["site:HC01"],
        role="resident",
        consent_from_us=told.consent_from_us,
        devices=[town["dev:gw-hc01 face/5500001"]],
        absences=[],
    )
    assert persons(conn, 4) == []
    conn.execute("UPDATE person SET consent_to_us = %s", [NOW_US])
    assert persons(conn) == []


def test_an_absence_is_planned_and_taken_back_by_new_rows(conn: Conn, town: dict[str, int]) -> None:
    del town
    person, version = the_person(conn), snapshot.version(conn)
    by: dict[str, Any] = {"reason": "探亲", "author": "值班员", "now_us": NOW_US}
    absences.plan(conn, person, 5, 9, **by)
    absences.plan(conn, person, 1, 4, **by)
    assert persons(conn)[0].absences == [(1, 4), (5, 9)]
    absences.cancel(conn, person, 5, 9, **by)
    assert persons(conn)[0].absences == [(1, 4)]
    absences.plan(conn, person, 5, 9, **by)
    assert persons(conn)[0].absences == [(1, 4), (5, 9)]
    assert snapshot.version(conn) == version + 4
    assert conn.execute("SELECT count(*) FROM planned_absence").fetchone() == (4,)


def test_an_absence_without_length_or_consent_is_refused(conn: Conn, town: dict[str, int]) -> None:
    del town
    person, version = the_person(conn), snapshot.version(conn)
    by: dict[str, Any] = {"reason": "探亲", "author": "值班员", "now_us": NOW_US}
    with pytest.raises(absences.AbsenceError, match="no length"):
        absences.plan(conn, person, 9, 9, **by)
    with pytest.raises(absences.AbsenceError, match="no person"):
        absences.plan(conn, person + 1, 5, 9, **by)
    conn.execute("UPDATE person SET consent_to_us = %s", [NOW_US])
    with pytest.raises(absences.AbsenceError, match="consent"):
        absences.plan(conn, person, 5, 9, **by)
    assert snapshot.version(conn) == version


def days(conn: Conn) -> list[Any]:
    """Return the roll-up, times relative to the local midnight."""
    rows = conn.execute("SELECT day, site, visits, first_us, last_us FROM person_day ORDER BY day, site").fetchall()
    return [(day, site, visits, first - MIDNIGHT_US, last - MIDNIGHT_US) for day, site, visits, first, last in rows]


def test_days_of_a_person_are_exact_with_late_data_and_repeats(conn: Conn, dsn: str, town: dict[str, int]) -> None:
    sender, site = Sender(since_us=MIDNIGHT_US - DAY_US), town["site:HC01"]
    nine, ten = MIDNIGHT_US + 9 * HOUR_US, MIDNIGHT_US + 10 * HOUR_US
    today = datetime.fromtimestamp((MIDNIGHT_US + 12 * HOUR_US) // SECOND_US, UTC).date()
    with store(dsn) as s:
        s.take(sender.frame(passage(ten, 2, TOKEN), passage(ten, 2, TOKEN), passage(ten + 1, 3), passage(ten + 2, 4, b"x" * 16)))
        assert days(conn) == [(today, site, 1, 10 * HOUR_US, 10 * HOUR_US)]
        late = passage(MIDNIGHT_US - SECOND_US, 1, TOKEN, received_us=ten, flags=Flag.HAS_KEY | Flag.LATE)
        s.take(sender.frame(passage(ten + SECOND_US, 5, TOKEN), passage(nine, 6, TOKEN), late))
    assert days(conn) == [
        (date.fromordinal(today.toordinal() - 1), site, 1, -SECOND_US, -SECOND_US),
        (today, site, 3, 9 * HOUR_US, 10 * HOUR_US + SECOND_US),
    ]


def test_a_day_belongs_to_the_site_where_the_person_was(conn: Conn, dsn: str, town: dict[str, int]) -> None:
    rows = town_rows()
    rows["devices"] = [d | {"place": "HC01/door"} for d in rows["devices"] if d["identity"].startswith("face/")]
    conn.execute("UPDATE person SET site = %s", [town["site:HC02"]])
    register.load(conn, {"devices": rows["devices"]}, NOW_US - HOUR_US)
    with store(dsn) as s:
        s.take(Sender().frame(passage(NOW_US, 1, TOKEN)))
    assert conn.execute("SELECT site, visits FROM person_day").fetchall() == [(town["site:HC01"], 1)]
