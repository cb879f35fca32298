"""Years of storage, on PostgreSQL and on TimescaleDB: old rows go, closed chunks shrink, late events and erasures reach all."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from api.scope import SCOPE
from gateway.clock import DAY_US, now_us
from ingest import maintenance, register
from ingest.erasure import UnknownPerson, erase_person, forget_erased
from ingest.maintenance import Report, RetentionError
from ingest.store.log import read_history
from ingest.store.schema import ensure_partitions
from tests.ingest.conftest import ids, town_rows
from tests.ingest.frames import MINUTE_US, NOW_US, TOKEN, Sender, Store, contact, counts, passage, store, stored, total
from tests.timescale.conftest import empty

Conn = psycopg.Connection[Any]
OLD_US = NOW_US - 400 * DAY_US
THEN_US = NOW_US - 60 * DAY_US


@pytest.fixture
def conn(contract_dsn: str, flavour: str) -> Iterator[Conn]:
    with psycopg.connect(contract_dsn, autocommit=True) as c:
        register.load(c, town_rows(), now_us())
        for at in (OLD_US, THEN_US, NOW_US):
            ensure_partitions(c, at)
        yield c
        if flavour == "timescaledb":
            empty(contract_dsn)


def take(s: Store, sender: Sender, at: int, *events: Any) -> None:
    """Let the worker store a frame at a time."""
    s.take(replace(sender.frame(*events, through_us=at), arrived_us=at), now_us=at)


def history(dsn: str) -> None:
    """Store a day of 400 days ago, one of 60 days ago, and today."""
    sender = Sender(since_us=OLD_US - MINUTE_US)
    with store(dsn) as s:
        for at in (OLD_US, THEN_US, NOW_US):
            events = [contact(at + i * MINUTE_US, i % 2) for i in range(60)]
            keys = range(at // DAY_US * 100, at // DAY_US * 100 + 20)
            events += [passage(at + n * MINUTE_US, key, TOKEN) for n, key in enumerate(keys)]
            take(s, sender, at, *events, total(at, at // DAY_US % 60_000))


def checkpoints_are_up_to_date(conn: Conn) -> None:
    """Let the analyzer have read everything."""
    conn.execute("INSERT INTO checkpoint SELECT id, pos, 1, '' FROM shard ON CONFLICT (shard) DO UPDATE SET pos = EXCLUDED.pos")


def maintain(conn: Conn, *, dry_run: bool = False, now: int = NOW_US, **days: int) -> Report:
    return maintenance.maintain(conn, now, days, lambda step: None, dry_run=dry_run)


def whole(conn: Conn) -> list[list[Any]]:
    """Return everything of the log."""
    return [sorted(conn.execute(f"SELECT * FROM {table}").fetchall()) for table in ("event", "frame", "passage")]


def spans(parts: list[Any]) -> set[tuple[str, bool]]:
    """Return which tables' parts, and whether they are of the old day."""
    return {(p.table, p.to_us < THEN_US - 30 * DAY_US) for p in parts}


def test_what_is_over_goes_part_by_part_and_closed_chunks_shrink(conn: Conn, contract_dsn: str, flavour: str) -> None:
    history(contract_dsn)
    checkpoints_are_up_to_date(conn)
    before, said = whole(conn), maintain(conn, dry_run=True)
    assert whole(conn) == before
    report = maintain(conn)
    assert spans(report.dropped) == spans(said.dropped) == {("passage", True)}
    assert stored(conn, "count(*)", "passage GROUP BY pos / 86400000000, pos, shard, ordinal") == [1] * 40
    assert len(stored(conn)) == 3 * 61
    if flavour == "timescaledb":
        assert spans(report.compressed) == {
            ("event", True),
            ("event", False),
            ("frame", True),
            ("frame", False),
            ("passage", False),
        }
        assert [p.name for p in maintain(conn).compressed] == []
    else:
        assert report.compressed == []
    assert whole(conn)[:2] == before[:2]
    report = maintain(conn, event=200)
    assert {p.table for p in report.dropped} == {"event", "frame"}
    assert len(stored(conn)) == 2 * 61
    assert 0 < maintenance.log_from_us(conn) <= NOW_US - 200 * DAY_US


def test_what_the_analyzer_has_yet_to_read_is_kept_however_old(conn: Conn, contract_dsn: str) -> None:
    history(contract_dsn)
    checkpoints_are_up_to_date(conn)
    conn.execute("UPDATE checkpoint SET pos = %s WHERE shard = 3", [OLD_US - 30 * DAY_US])
    report = maintain(conn)
    assert report.dropped == []
    assert report.held_back_us == OLD_US - 30 * DAY_US


def test_the_kept_log_begins_with_the_register_that_was_valid_then(conn: Conn, contract_dsn: str) -> None:
    history(contract_dsn)
    checkpoints_are_up_to_date(conn)
    maintain(conn, event=60)
    batches = [b for b in read_history(conn, 3, NOW_US) if b.inputs or len(b.rows)]
    assert batches[0].inputs is not None
    assert sum(len(b.rows) for b in batches) == 61 + 61 + 40


def test_events_that_come_late_for_a_compressed_day_are_stored_and_counted_once(
    conn: Conn, contract_dsn: str, flavour: str
) -> None:
    history(contract_dsn)
    checkpoints_are_up_to_date(conn)
    assert bool(maintain(conn).compressed) == (flavour == "timescaledb")
    place = ids(conn)["place:HC01/canteen"]
    served = conn.execute("SELECT served FROM rollup_service WHERE place = %s ORDER BY slot_us", [place]).fetchall()
    late = Sender(stream=0xA2, since_us=THEN_US)
    again = [passage(THEN_US + n * MINUTE_US, THEN_US // DAY_US * 100 + n, TOKEN) for n in range(3)]
    with store(contract_dsn) as s:
        take(s, late, NOW_US, contact(THEN_US + 5, 1), *again)
    assert THEN_US + 5 in stored(conn, "t_us")
    assert conn.execute("SELECT served FROM rollup_service WHERE place = %s ORDER BY slot_us", [place]).fetchall() == served


def test_a_person_is_erased_from_compressed_days_too_and_the_counts_stay(conn: Conn, contract_dsn: str, flavour: str) -> None:
    history(contract_dsn)
    checkpoints_are_up_to_date(conn)
    report = maintain(conn, passage=1000)
    assert ("passage" in {p.table for p in report.compressed}) == (flavour == "timescaledb")
    place = ids(conn)["place:HC01/canteen"]
    before = counts(conn, place), stored(conn, "t_us", "passage"), rollups(conn)
    person = conn.execute("SELECT id FROM person").fetchall()[0][0]
    assert erase_person(conn, TOKEN, NOW_US) == 40  # the oldest were before their consent
    assert (counts(conn, place), stored(conn, "t_us", "passage"), rollups(conn)) == before
    assert set(stored(conn, "person", "passage")) == {0}
    for table in ("person", "person_link", "person_day", "served_person"):
        assert conn.execute(f"SELECT count(*) FROM {table}").fetchall() == [(0,)]
    assert maintain(conn, passage=1000).compressed == []  # what was unpacked is packed again
    with pytest.raises(UnknownPerson, match="nobody has the token"):
        erase_person(conn, TOKEN, NOW_US)
    conn.execute("UPDATE passage SET person = %s WHERE t_us = %s", [person, NOW_US])  # by a T1 that had them in hand
    assert forget_erased(conn) == 1


def rollups(conn: Conn) -> list[Any]:
    """Return 服务人次 as they are."""
    return conn.execute("SELECT place, slot_us, served, anonymous, staff FROM rollup_service ORDER BY 1, 2").fetchall()


def put(conn: Conn, statement: str, *values: Any) -> Callable[[], int]:
    """Run it, and return what counts the rows of its table."""
    conn.execute(statement.encode(), values)
    table = statement.split()[2]
    return lambda: int(conn.execute(f"SELECT count(*) FROM {table}").fetchall()[0][0])


def test_rows_go_when_their_time_is_over_and_not_before(conn: Conn) -> None:
    gw = ids(conn)["gw:gw-hc01"]
    quarantine = "INSERT INTO quarantine (at_us, topic, reason, detail, bytes) VALUES (%s, '', '', '', ''), (%s, '', '', '', '')"
    left = put(conn, quarantine, NOW_US - 184 * DAY_US, NOW_US - 182 * DAY_US)
    alert = (
        "INSERT INTO alert (shard, rule, subject_kind, subject, episode, state, severity, begin_us, detected_us, reason)"
        " VALUES (3, 'tamper', 'device', 1, %s, %s, 'minor', 0, %s, '{}')"
    )
    for episode, state in ((1, "cleared"), (2, "open")):
        alerts = put(conn, alert, episode, state, NOW_US - 1100 * DAY_US)
    changes = put(
        conn, "INSERT INTO alert_change (alert, version, at_us, who, what) SELECT id, 1, 0, 'analyzer', 'opened' FROM alert"
    )
    unclaimed = put(conn, "INSERT INTO unclaimed VALUES (%s, 'z2m/?', 0, %s, 1, 1)", gw, NOW_US - 91 * DAY_US)
    assert maintain(conn, dry_run=True).rows == {"quarantine": 1, "alert": 1, "unclaimed": 1}
    assert (left(), alerts(), changes(), unclaimed()) == (2, 2, 2, 1)
    assert maintain(conn).rows == {"quarantine": 1, "alert": 1, "unclaimed": 1}
    assert (left(), alerts(), changes(), unclaimed()) == (1, 1, 1, 0)
    assert maintain(conn).rows == {}


def test_a_cursor_goes_only_long_after_its_gateway_went_on_to_another_stream(conn: Conn, contract_dsn: str) -> None:
    at = NOW_US - 200 * DAY_US
    ensure_partitions(conn, at)
    with store(contract_dsn) as s:
        take(s, Sender(stream=1, since_us=at), at, contact(at, 1))
        take(s, Sender("gw-hc02", 4, stream=2, since_us=at), at, contact(at, 1))  # never came back
        take(s, Sender(stream=3, since_us=NOW_US - 60 * DAY_US), NOW_US - 60 * DAY_US, contact(NOW_US - 60 * DAY_US, 1))
        take(s, Sender(stream=4, since_us=NOW_US), NOW_US, contact(NOW_US, 1))
    assert maintain(conn).rows == {"cursor": 1}
    assert stored_streams(conn) == [2, 3, 4]


def stored_streams(conn: Conn) -> list[int]:
    return [s for (s,) in conn.execute("SELECT stream FROM cursor ORDER BY stream").fetchall()]


def test_a_gateway_that_invents_devices_fills_no_table(conn: Conn, contract_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.t1.UNCLAIMED", 3)
    sender = Sender()
    with store(contract_dsn) as s:
        for n in range(6):
            take(s, sender, NOW_US, contact(NOW_US, 1, f"z2m/{n}"), contact(NOW_US, 1, "z2m/0"))
    found = conn.execute("SELECT identity, events FROM unclaimed ORDER BY identity").fetchall()
    assert sorted(found) == [("z2m/0", 7), ("z2m/1", 1), ("z2m/2", 1), ("…", 3)]


def test_a_retention_that_nothing_has_or_that_is_too_short_is_refused(conn: Conn) -> None:
    with pytest.raises(RetentionError, match="no retention 'events'"):
        maintain(conn, events=5)
    with pytest.raises(RetentionError, match="at least 60"):
        maintain(conn, event=5)


def test_the_run_of_a_night_is_due_once(conn: Conn) -> None:
    night_us = NOW_US - NOW_US % DAY_US + maintenance.NIGHT_US
    assert maintenance.due(conn, night_us)
    maintain(conn, now=night_us)
    assert not maintenance.due(conn, night_us + DAY_US - 1)
    assert maintenance.due(conn, night_us + DAY_US)


def test_two_maintenances_do_not_meet(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn, psycopg.connect(dsn, autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [maintenance.LOCK])
        with pytest.raises(maintenance.Busy):
            maintain(conn)


def test_a_reader_sees_the_log_of_their_own_part_only_and_compressed_days_of_it_too(
    conn: Conn, contract_dsn: str, flavour: str
) -> None:
    history(contract_dsn)
    checkpoints_are_up_to_date(conn)
    assert bool(maintain(conn).compressed) == (flavour == "timescaledb")
    site, logs = ids(conn)["site:HC01"], ("event", "passage", "frame")
    everything = [conn.execute(f"SELECT count(*) FROM {log}").fetchone() for log in logs]
    assert (0,) not in everything
    nothing = [(0,)] * len(logs)
    for sites, whole, expected in ((f"{{{site}}}", "off", everything), ("{0}", "off", nothing), ("{}", "on", everything)):
        with conn.transaction(force_rollback=True):
            conn.execute(SCOPE, {"whole": whole, "area": "", "sites": sites, "persons": "on"})
            assert [conn.execute(f"SELECT count(*) FROM seen_{log}").fetchone() for log in logs] == expected
    for log in logs:
        with conn.transaction(force_rollback=True):
            conn.execute(SCOPE, {"whole": "on", "area": "", "sites": "{}", "persons": "on"})
            with pytest.raises(psycopg.errors.InsufficientPrivilege), conn.transaction():
                conn.execute(f"SELECT count(*) FROM {log}")
