"""What is usual at a site, and which hours are marked."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from analytics.calendars import Calendar
from api.reading import HourRow
from api.usual import NOTHING, band, mark

ZONE = ZoneInfo("Asia/Shanghai")
MONDAY = datetime(2026, 3, 30, tzinfo=ZONE)


def at(days: int, hour: int) -> int:
    """A local hour, days before the Monday."""
    return int((MONDAY - timedelta(days=days) + timedelta(hours=hour)).timestamp()) * 1_000_000


def calendar(**changes: object) -> Calendar:
    """Open every day."""
    hours = {d: [("08:00", "17:00")] for d in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")}
    return Calendar("Asia/Shanghai", hours, **changes)  # type: ignore[arg-type]


def counted(days: range, people: int = 10) -> list[HourRow]:
    """So many people at nine on each day."""
    return [HourRow(hour_us=at(n, 9), people_in=people, passages=0) for n in days]


def test_the_band_holds_the_middle_of_days_of_the_same_kind_only() -> None:
    rows = counted(range(1, 57))
    rows[2] = HourRow(hour_us=at(3, 9), people_in=99, passages=0)  # a Friday
    weekend = [HourRow(hour_us=at(n, 14), people_in=50, passages=0) for n in (1, 2, 8, 9)]
    found = band([*rows, *weekend], calendar(), at(0, 0))
    assert found.days == 20
    assert found.hours[9] == (10, 10)
    assert found.hours[14] == (0, 0)


def test_few_days_give_no_band() -> None:
    assert band(counted(range(3, 6)), calendar(), at(0, 0)) == NOTHING
    assert band(counted(range(3, 8)), calendar(), at(0, 0)).days == 5


def test_closures_drills_and_days_without_anyone_say_nothing() -> None:
    closed = calendar(closed=[(at(4, 0), at(3, 0))], modes=[(at(5, 8), at(5, 9), "drill")])
    found = band([*counted(range(3, 12)), HourRow(hour_us=at(12, 9), people_in=0, passages=0)], closed, at(0, 0))
    assert found.days == len([n for n in range(3, 12) if n not in (4, 5, 8, 9)])


def test_a_holiday_is_compared_with_sundays() -> None:
    sundays = [HourRow(hour_us=at(n, 9), people_in=3, passages=0) for n in (1, 8, 15, 22)]
    holiday = calendar(days={"2026-03-30": "holiday"})
    assert band([*counted(range(2, 8)), *sundays], holiday, at(0, 0)).hours[9] == (3, 3)


@pytest.mark.parametrize(
    ("people", "over", "expected"),
    [(13, False, "high"), (12, True, ""), (5, True, "low"), (5, False, ""), (6, True, ""), (9, True, "")],
)
def test_an_hour_is_marked_when_it_is_clearly_outside_and_low_only_when_it_is_over(
    people: int, over: bool, expected: str
) -> None:
    assert mark(people, 8, 10, over=over) == expected
