"""Public holidays, closures, visits and drills on their way to the analyzer."""

from datetime import date
from typing import Any

import psycopg
import pytest

from ingest import daybook, snapshot
from ingest.daybook import DaybookError, Entry
from tests.ingest.frames import NOW_US

Conn = psycopg.Connection[Any]


def test_the_countrys_holidays_and_worked_weekends_are_told(conn: Conn, town: dict[str, int]) -> None:
    days = snapshot.compile_inputs(conn, [3], 1)[3].days
    assert (days["2026-10-01"], days["2026-10-07"], days["2026-10-10"]) == ("holiday", "holiday", "workday")
    assert "2026-10-09" not in days
    assert "2026-07-04" in snapshot.compile_inputs(conn, [3], 1, "US")[3].days
    with pytest.raises(DaybookError, match="ISO 3166"):
        snapshot.compile_inputs(conn, [3], 1, "XX")


def test_an_entry_goes_before_the_library_and_the_newest_holds(conn: Conn, town: dict[str, int]) -> None:
    before = snapshot.version(conn)
    daybook.set_day(conn, date(2026, 10, 7), "normal", "li", NOW_US)
    daybook.set_day(conn, date(2026, 10, 11), "workday", "li", NOW_US, name="调休")
    daybook.set_day(conn, date(2027, 10, 6), "normal", "li", NOW_US)
    daybook.set_day(conn, date(2027, 10, 6), "holiday", "wu", NOW_US, name="国庆节")
    days = snapshot.compile_inputs(conn, [3], 1)[3].days
    assert "2026-10-07" not in days
    assert (days["2026-10-11"], days["2027-10-06"]) == ("workday", "holiday")
    assert snapshot.version(conn) == before + 4
    shown = {d.date: d for d in daybook.listed(conn, year=2026)}
    assert (shown["2026-10-07"].kind, shown["2026-10-07"].source, shown["2026-10-01"].source) == ("normal", "li", "library")
    assert all(d.startswith("2026") for d in shown)
    with pytest.raises(DaybookError, match="Wednesday"):
        daybook.set_day(conn, date(2026, 10, 14), "workday", "li", NOW_US)


def test_closures_visits_and_drills_reach_the_site_until_they_are_cancelled(conn: Conn, town: dict[str, int]) -> None:
    def entry(mode: str, **more: Any) -> Entry:
        values: dict[str, Any] = {"site": "HC01", "from_us": 10, "to_us": 20, "mode": mode, "reason": "检修", "author": "li"}
        return Entry(**(values | more))

    for mode in ("closed", "visit", "drill"):
        daybook.enter(conn, entry(mode), NOW_US)
    daybook.enter(conn, entry("visit", cancelled=True), NOW_US)
    (site,) = snapshot.compile_inputs(conn, [3], 1)[3].sites
    assert (site.closed, site.modes) == ([(10, 20)], [(10, 20, "drill")])
    version = snapshot.version(conn)
    for wrong in (entry("closed", site="nowhere"), entry("drill", to_us=10), entry("visit", reason=" ")):
        with pytest.raises(DaybookError):
            daybook.enter(conn, wrong, NOW_US)
    assert snapshot.version(conn) == version


def test_times_are_the_sites_and_a_date_counts_to_its_end(conn: Conn, town: dict[str, int]) -> None:
    from_us, to_us = daybook.span(conn, "HC01", "2026-05-01", "2026-05-03")
    assert (to_us - from_us) == 3 * 24 * 3600 * 1_000_000
    assert from_us == 1_777_564_800_000_000  # 2026-04-30 16:00 UTC
    assert (
        daybook.span(conn, "HC01", "2026-05-01T08:00", "2026-05-01T12:30")[1]
        == from_us + 12 * 3600 * 1_000_000 + 1800 * 1_000_000
    )
    for site, begin in (("nowhere", "2026-05-01"), ("HC01", "1 May")):
        with pytest.raises(DaybookError):
            daybook.span(conn, site, begin, "2026-05-03")
