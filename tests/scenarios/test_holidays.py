"""Public holidays, worked weekend days and clock changes, as the rules see them."""

from typing import Any

import pytest

from analytics.findings import Phase, Rule
from gateway.events import Flag
from ingest.daybook import public
from ingest.inputs import Inputs
from tests.scenarios.day import DOOR, PATIENT, SHARD, WEEK, Day, inputs

NOT_OPENED, AFTER_HOURS = Rule.NOT_OPENED, Rule.OPENED_AFTER_HOURS
CHINA = {day: kind for day, (kind, _) in public("CN").items()}


def centre(**more: Any) -> Inputs:
    """A centre in China, open from Monday to Friday."""
    settings: dict[str, Any] = {"alive_us": PATIENT, "days": CHINA}
    return inputs(**(settings | more))


def begun(day: Day) -> list[Rule]:
    """The rules that began."""
    return [f.rule for f in day.found if f.phase is Phase.BEGIN]


def nobody_until_noon(date: str, **more: Any) -> list[Rule]:
    """What is found at a site where nobody came on a morning."""
    return begun(Day(centre(**more), date=date, since="05:00").alive(DOOR).at("12:00"))


@pytest.mark.parametrize(
    ("date", "opens"),
    [
        ("2026-09-30", True),  # Wednesday before National Day
        ("2026-10-01", False),  # Thursday, National Day
        ("2026-10-07", False),  # Wednesday, a day off that a Saturday is worked for
        ("2026-10-08", True),  # Thursday after it
        ("2026-10-10", True),  # Saturday, worked in its place
        ("2026-10-11", False),  # Sunday
    ],
)
def test_a_holiday_expects_nobody_and_a_worked_saturday_does(date: str, opens: bool) -> None:
    assert nobody_until_noon(date) == ([NOT_OPENED] if opens else [])


def test_hours_of_holidays_and_worked_days_may_be_given() -> None:
    hours = WEEK | {"holiday": [("09:00", "12:00")], "workday": []}
    assert nobody_until_noon("2026-10-01", hours=hours) == [NOT_OPENED]
    assert nobody_until_noon("2026-10-10", hours=hours) == []


def test_an_override_goes_before_the_public_calendar() -> None:
    days = {k: v for k, v in CHINA.items() if k != "2026-10-07"} | {"2026-10-08": "holiday"}
    assert nobody_until_noon("2026-10-07", days=days) == [NOT_OPENED]
    assert nobody_until_noon("2026-10-08", days=days) == []


def test_a_holiday_entered_afterwards_takes_it_back() -> None:
    day = Day(centre(days={}), date="2026-10-01", since="05:00").alive(DOOR).at("09:00")
    day.expect(NOT_OPENED, at="08:30")
    day.registers(centre(version=2))
    assert day.expect(NOT_OPENED, Phase.RETRACT, at="09:00").reason["ended"] == "closure"


def test_someone_in_on_a_holiday_is_after_hours_and_on_a_worked_saturday_is_not() -> None:
    assert begun(Day(centre(), date="2026-10-01", since="05:00").alive(DOOR).at("10:00").opens().at("10:01").closes()) == [
        AFTER_HOURS
    ]
    assert begun(Day(centre(), date="2026-10-10", since="05:00").alive(DOOR).at("08:00").opens().at("08:01").closes()) == []


NIGHTS = {d: [("21:00", "06:00")] for d in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")}


@pytest.mark.parametrize(("date", "hours"), [("2026-03-07", 8), ("2026-10-31", 10), ("2026-05-09", 9)])
def test_a_night_with_a_clock_change_opens_and_closes_by_the_clock_on_the_wall(date: str, hours: int) -> None:
    register = centre(zone="America/New_York", hours=NIGHTS, days={}, rules={"no_activity": {"limit_min": 2000, "days": 1000}})
    day = Day(register, date=date, since="20:00").alive(DOOR).at("20:50").opens()
    morning = day.time("21:00") + hours * 3_600_000_000 + 30 * 60_000_000
    while day.now < morning - 60_000_000:
        day.now = min(day.now + 1_800_000_000, morning - 60_000_000)
        day.beat()
    assert begun(day) == []
    assert day.engine.take_changed(SHARD)[0].next_deadline_us == morning
    day.now = morning + 60_000_000
    day.opens(flags=Flag.REPEAT).beat()  # the door says that it is still open
    assert [(f.rule, f.at_us) for f in day.found] == [(Rule.LEFT_OPEN, morning)]


def test_the_hour_that_a_night_repeats_is_two_hours_of_quarters() -> None:
    register = centre(zone="America/New_York", hours=NIGHTS, days={})
    day = Day(register, date="2026-10-31", since="23:00")
    calendar = day.engine._shard(SHARD).town.by_row[0].calendar
    midnight = day.time("+1 00:00")
    slots = [calendar.quarter(t, t + 900_000_000)[1] for t in range(midnight, midnight + 4 * 3_600_000_000, 900_000_000)]
    assert slots == [*range(8), *range(4, 12)]
