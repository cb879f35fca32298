"""Roll-ups are exact in whatever order and batches the log brings its rows: signs of life of hours, and 服务人次."""

import random
from collections import defaultdict
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest

from gateway.clock import HOUR_US, MINUTE_US, SECOND_US
from gateway.events import Event, Flag, Kind, Result
from ingest import register
from tests.ingest.conftest import town_rows
from tests.ingest.frames import NOW_US, TOKEN, Sender, contact, passage, store

Conn = psycopg.Connection[Any]
SHANGHAI = ZoneInfo("Asia/Shanghai")
STAFF, OTHER = bytes([0x11]) * 16, bytes([0x22]) * 16
DAY_US = NOW_US - NOW_US % HOUR_US - 30 * HOUR_US


@pytest.fixture
def people(conn: Conn, town: dict[str, int]) -> dict[str, int]:
    """The town with a member of staff and a second resident."""
    rows = town_rows()
    known = rows["persons"][0]
    for token, role, number in ((STAFF, "staff", "18"), (OTHER, "resident", "19")):
        links = [{"gateway": "gw-hc01", "device": "face/5500001", "local_id": number}]
        rows["persons"].append(known | {"token": token.hex(), "role": role, "links": links})
    register.load(conn, rows, NOW_US)
    return town


def slot(t_us: int) -> int:
    """The rule as it is written: three slots a day, from midnight, 10:00 and 15:00."""
    local = datetime.fromtimestamp(t_us // SECOND_US, SHANGHAI)
    begin = local.replace(hour=0 if local.hour < 10 else 10 if local.hour < 15 else 15, minute=0, second=0)
    return int(begin.timestamp()) * SECOND_US


def expected(events: list[Event]) -> dict[int, tuple[int, int, int]]:
    """served, anonymous, staff by slot, one passage after the other."""
    found: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
    seen = set()
    for e in (e for e in events if e.kind is Kind.PASSAGE and e.a == Result.ALLOWED):
        at = slot(e.t_us)
        if e.person is None:
            found[at][0] += 1
            found[at][1] += 1
        elif (at, e.person) not in seen:
            seen.add((at, e.person))
            found[at][2 if e.person == STAFF else 0] += 1
    return {at: (a, b, c) for at, (a, b, c) in found.items()}


@pytest.mark.parametrize("seed", range(4))
def test_service_is_counted_once_per_person_and_slot_whatever_the_order(
    conn: Conn, dsn: str, people: dict[str, int], seed: int
) -> None:
    chance = random.Random(seed)
    events = [
        passage(
            DAY_US + chance.randrange(26 * HOUR_US),
            key,
            chance.choice([TOKEN, STAFF, OTHER, None]),
            a=chance.choice([1, 1, 1, 2]),
        )
        for key in range(60)
    ]
    sender = Sender(since_us=DAY_US)
    with store(dsn) as s:
        for start in range(0, 60, 7):
            s.take(sender.frame(*events[start : start + 7]))
    place = people["place:HC01/canteen"]
    rows = conn.execute("SELECT slot_us, served, anonymous, staff FROM rollup_service WHERE place = %s", [place]).fetchall()
    assert {row[0]: row[1:] for row in rows} == expected(events)


@pytest.mark.parametrize("seed", range(3))
def test_who_passes_two_terminals_of_a_site_is_counted_once_there_and_at_each_of_them(
    conn: Conn, dsn: str, people: dict[str, int], seed: int
) -> None:
    rows = town_rows()
    other = rows["devices"][2] | {"identity": "face/5500002", "place": "HC01/hall", "assessment": "PIA-2026-08"}
    hall = {"site": "HC01", "code": "hall", "name": "大厅", "room": "hall"}
    register.load(conn, rows | {"places": [*rows["places"], hall], "devices": [*rows["devices"], other]}, NOW_US)
    chance = random.Random(seed)
    events = [
        replace(
            passage(DAY_US + chance.randrange(26 * HOUR_US), key, chance.choice([TOKEN, STAFF, OTHER, None])),
            device=chance.choice(["face/5500001", "face/5500002"]),
        )
        for key in range(60)
    ]
    chance.shuffle(events)
    sender = Sender(since_us=DAY_US)
    with store(dsn) as s:
        for start in range(0, 60, 7):
            s.take(sender.frame(*events[start : start + 7]))
    query = "SELECT slot_us, served, anonymous, staff, meals FROM rollup_site_service WHERE site = %s"
    found = {row[0]: row[1:] for row in conn.execute(query, [people["site:HC01"]]).fetchall()}
    assert {at: figures[:3] for at, figures in found.items()} == expected(events)
    canteen = expected([e for e in events if e.device == "face/5500001"])
    assert {at: figures[3] for at, figures in found.items()} == {at: canteen.get(at, (0,))[0] for at in found}


def test_erasing_a_person_leaves_the_counts(conn: Conn, dsn: str, people: dict[str, int]) -> None:
    del people
    with store(dsn) as s:
        s.take(Sender(since_us=DAY_US).frame(passage(DAY_US, 1, OTHER), passage(DAY_US + MINUTE_US, 2, OTHER)))
    for table in ("person_link", "served_person"):
        conn.execute(f"DELETE FROM {table} WHERE person = (SELECT id FROM person WHERE token = %s)", [OTHER])
    conn.execute("DELETE FROM person WHERE token = %s", [OTHER])
    assert conn.execute("SELECT served, anonymous FROM rollup_service").fetchall() == [(1, 0)]


def test_an_hour_keeps_its_first_and_last_sign_of_life_and_who_changed_it(conn: Conn, dsn: str, town: dict[str, int]) -> None:
    hour = DAY_US
    sender = Sender(since_us=DAY_US)
    query = "SELECT first_us, last_us, changed::text::bigint FROM rollup_hour WHERE place = %s"
    with store(dsn) as s:
        s.take(sender.frame(contact(hour + 50 * MINUTE_US, 0)))
        (row,) = conn.execute(query, [town["place:HC01/door"]]).fetchall()
        assert row[:2] == (None, hour + 50 * MINUTE_US)  # a door that closes is no beginning
        s.take(sender.frame(contact(hour + 20 * MINUTE_US, 1), contact(hour + 59 * MINUTE_US, 1, flags=Flag.REPEAT)))
        (later,) = conn.execute(query, [town["place:HC01/door"]]).fetchall()
        assert later[:2] == (hour + 20 * MINUTE_US, hour + 50 * MINUTE_US)
        s.take(sender.frame(contact(hour + 30 * MINUTE_US, 1), contact(hour + 10 * MINUTE_US, 1)))
        (last,) = conn.execute(query, [town["place:HC01/door"]]).fetchall()
    assert last[:2] == (hour + 10 * MINUTE_US, hour + 50 * MINUTE_US)
    assert row[2] < later[2] < last[2]
