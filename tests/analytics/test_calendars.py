"""Opening hours as absolute time: nights, clock changes, closures."""

from datetime import datetime
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.calendars import WEEKDAYS, Calendar
from gateway.clock import HOUR_US, MINUTE_US, SECOND_US
from gateway.events import MAX_TIME_US, MIN_TIME_US

SHANGHAI, NEW_YORK, LORD_HOWE = "Asia/Shanghai", "America/New_York", "Australia/Lord_Howe"


def us(text: str, zone: str = SHANGHAI, fold: int = 0) -> int:
    """Local time → microseconds."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()) * SECOND_US


def every(*windows: tuple[str, str]) -> dict[str, list[tuple[str, str]]]:
    """The same hours every day."""
    return {d: list(windows) for d in WEEKDAYS}


@pytest.mark.parametrize(
    ("zone", "hours", "t", "opens", "closes"),
    [
        (SHANGHAI, every(("08:00", "17:00")), "2026-03-03T08:00", "2026-03-03T08:00", "2026-03-03T17:00"),
        (SHANGHAI, every(("22:00", "06:00")), "2026-03-04T05:59", "2026-03-03T22:00", "2026-03-04T06:00"),
        (SHANGHAI, every(("20:00", "24:00")), "2026-03-03T23:59", "2026-03-03T20:00", "2026-03-04T00:00"),
        (SHANGHAI, every(("08:00", "17:00")), "2028-02-29T12:00", "2028-02-29T08:00", "2028-02-29T17:00"),
        (SHANGHAI, {"sun": [("22:00", "04:00")]}, "2026-03-09T01:00", "2026-03-08T22:00", "2026-03-09T04:00"),
        (
            SHANGHAI,
            {"mon": [("08:00", "24:00")], "tue": [("00:00", "09:00")]},
            "2026-03-10T03:00",
            "2026-03-09T08:00",
            "2026-03-10T09:00",
        ),
        (SHANGHAI, every(("08:00", "11:30"), ("13:30", "17:00")), "2026-03-03T14:00", "2026-03-03T13:30", "2026-03-03T17:00"),
        (NEW_YORK, every(("02:10", "03:05"), ("04:00", "05:00")), "2026-03-08T04:00", "2026-03-08T04:00", "2026-03-08T05:00"),
        # spring forward 2026-03-08 02:00 → 03:00: the night has one hour less
        (NEW_YORK, every(("22:00", "06:00")), "2026-03-08T01:00", "2026-03-07T22:00", "2026-03-08T06:00"),
        (NEW_YORK, every(("02:30", "05:00")), "2026-03-08T04:00", "2026-03-08T03:30", "2026-03-08T05:00"),
    ],
)
def test_a_time_lies_in_its_window(zone: str, hours: dict[str, list[tuple[str, str]]], t: str, opens: str, closes: str) -> None:
    window = Calendar(zone, hours).at(us(t, zone))
    assert window is not None
    assert (window.opens_us, window.closes_us) == (us(opens, zone), us(closes, zone))


@pytest.mark.parametrize("t", ["2026-03-03T07:59:59", "2026-03-03T17:00:00", "2026-03-07T12:00:00"])
def test_outside_is_outside(t: str) -> None:
    hours = {d: [("08:00", "17:00")] for d in ("mon", "tue", "wed", "thu", "fri")}
    assert Calendar(SHANGHAI, hours).at(us(t)) is None


def test_the_night_of_a_clock_change_is_longer_or_shorter() -> None:
    def night(zone: str, date: str) -> int:
        window = Calendar(zone, every(("22:00", "06:00"))).at(us(f"{date}T00:30", zone))
        assert window is not None
        return window.closes_us - window.opens_us

    assert night(NEW_YORK, "2026-03-08") == 7 * HOUR_US
    assert night(NEW_YORK, "2026-11-01") == 9 * HOUR_US
    assert night(LORD_HOWE, "2026-10-04") == 7 * HOUR_US + 30 * MINUTE_US
    assert night(LORD_HOWE, "2026-04-05") == 8 * HOUR_US + 30 * MINUTE_US


def test_of_a_repeated_hour_the_first_opens_and_the_last_closes() -> None:
    window = Calendar(NEW_YORK, every(("01:15", "01:45"))).at(us("2026-11-01T01:30", NEW_YORK))
    assert window is not None
    assert window.closes_us - window.opens_us == 90 * MINUTE_US
    window = Calendar(LORD_HOWE, every(("01:40", "01:50"))).at(us("2026-04-05T01:45", LORD_HOWE))
    assert window is not None
    assert window.closes_us - window.opens_us == 40 * MINUTE_US


def test_a_day_has_23_or_25_hours_at_a_clock_change() -> None:
    calendar = Calendar(NEW_YORK, {})
    for date, hours in (("2026-03-08", 23), ("2026-11-01", 25), ("2026-05-05", 24)):
        begin, end = calendar.day_of(us(f"{date}T12:00", NEW_YORK))
        assert (begin, end - begin) == (us(f"{date}T00:00", NEW_YORK), hours * HOUR_US)


def test_a_site_that_never_closes_has_one_endless_window() -> None:
    for hours in (every(("00:00", "24:00")), every(("00:00", "00:00")), every(("08:00", "08:00"))):
        calendar = Calendar(SHANGHAI, hours)
        for t in ("2026-03-03T08:00", "2026-03-08T23:59"):
            window = calendar.at(us(t))
            assert window is not None
            assert (window.opens_us, window.closes_us) == (MIN_TIME_US, MAX_TIME_US)
            assert calendar.next_opening(us(t)) is None


def test_the_next_opening_passes_over_closed_days() -> None:
    hours = {"fri": [("08:00", "17:00")], "mon": [("09:00", "12:00")]}
    calendar = Calendar(SHANGHAI, hours)
    assert calendar.next_opening(us("2026-03-06T17:00")) == us("2026-03-09T09:00")
    assert not Calendar(SHANGHAI, {"mon": []}).has_hours


def test_a_closure_cuts_windows_and_only_the_first_of_a_day_is_first() -> None:
    closed = [(us("2026-03-03T10:00"), us("2026-03-03T12:00")), (us("2026-03-04T00:00"), us("2026-03-05T00:00"))]
    calendar = Calendar(SHANGHAI, every(("08:00", "17:00")), closed)
    mine = [w for w in calendar.around(us("2026-03-03T09:00")) if us("2026-03-03T00:00") <= w.opens_us < us("2026-03-06T00:00")]
    assert [(w.opens_us, w.closes_us, w.first) for w in mine] == [
        (us("2026-03-03T08:00"), us("2026-03-03T10:00"), True),
        (us("2026-03-03T12:00"), us("2026-03-03T17:00"), False),
        (us("2026-03-05T08:00"), us("2026-03-05T17:00"), True),
    ]
    always = Calendar(SHANGHAI, every(("00:00", "24:00")), closed[1:])
    before = always.at(us("2026-03-03T12:00"))
    assert before is not None
    assert before.closes_us == us("2026-03-04T00:00")
    assert always.next_opening(us("2026-03-04T12:00")) == us("2026-03-05T00:00")


CLOCK = st.integers(0, 24 * 60 - 1).map(lambda m: f"{m // 60:02d}:{m % 60:02d}")


@given(
    zone=st.sampled_from([SHANGHAI, NEW_YORK, LORD_HOWE]),
    hours=st.fixed_dictionaries({d: st.lists(st.tuples(CLOCK, CLOCK), max_size=3) for d in WEEKDAYS}),
    t=st.integers(us("2026-01-01T00:00"), us("2027-01-01T00:00")),
)
def test_windows_are_in_order_apart_and_agree_wherever_one_looks_from(
    zone: str, hours: dict[str, list[tuple[str, str]]], t: int
) -> None:
    calendar = Calendar(zone, hours)
    windows = calendar.around(t)
    assert all(a.opens_us < a.closes_us < b.opens_us for a, b in pairwise(windows))
    here, later = calendar.at(t), Calendar(zone, hours).at(t)
    assert here == later
    opening = calendar.next_opening(t)
    if opening is not None:
        found = Calendar(zone, hours).at(opening)
        assert found is not None
        assert found.opens_us == opening
