"""Someone is in while the site is closed."""

from analytics.findings import Phase, Rule
from analytics.reasons import render
from gateway.clock import MINUTE_US
from gateway.events import Flag, Kind
from tests.scenarios.day import COUNTER, DOOR, TERMINAL, Day, inputs

AFTER_HOURS = Rule.OPENED_AFTER_HOURS
ALL = {DOOR: 1, COUNTER: 1, TERMINAL: 1}
DAYS_US = 100 * 24 * 3_600_000_000
PATIENT = {DOOR: DAYS_US, COUNTER: DAYS_US, TERMINAL: DAYS_US}


def night(**site: object) -> Day:
    """From 02:00 on; the sensors may be silent for as long as they like."""
    return Day(inputs(ALL, alive_us=PATIENT, **site), since="02:00")  # type: ignore[arg-type]


def test_a_door_opened_at_night_is_found_at_once_and_over_after_a_quiet_quarter() -> None:
    day = night().at("02:40").opens()
    found = day.expect(AFTER_HOURS, at="02:40")
    assert found.evidence == ((day.pos, 0),)
    assert render(found.rule, found.reason, "zh", day.zone) == "非开放时间 02:40，大门被打开（08:00 开门）"
    day.at("02:41").closes().at("02:54").expect_nothing().at("02:56")
    day.expect(AFTER_HOURS, Phase.END, at="02:55")
    day.expect_nothing()


def test_more_activity_belongs_to_the_same_finding() -> None:
    day = night().at("02:40").opens().at("02:50").counts(2).at("03:00").passes().at("03:20")
    day.expect(AFTER_HOURS, at="02:40")
    assert day.expect(AFTER_HOURS, Phase.END, at="03:15").reason["count"] == 3
    day.expect_nothing()


def test_arriving_early_and_leaving_late_is_normal() -> None:
    day = night().at("07:30").opens().at("17:30").opens().at("17:31").closes().at("20:00")
    assert not [f for f in day.found if f.rule is AFTER_HOURS]


def test_people_counted_and_passages_count_as_presence_and_a_closing_door_does_not() -> None:
    day = night().at("03:00").closes().expect_nothing()
    day.at("03:10").counts(2)
    assert day.expect(AFTER_HOURS, at="03:10").reason["code"] == "counted"
    day.at("04:00").passes()
    day.expect(AFTER_HOURS, Phase.END, at="03:25")
    assert day.expect(AFTER_HOURS, at="04:00").reason["code"] == "passage"


def test_replayed_inferred_and_repeated_events_wake_nobody() -> None:
    day = night().at("03:00").passes(flags=Flag.LATE).opens(flags=Flag.INFERRED).opens(flags=Flag.REPEAT)
    day.at("03:30").expect_nothing()


def test_a_backlog_is_found_in_its_own_time() -> None:
    day = night()
    day.now = day.time("06:00")
    day.happens(day.row(DOOR, Kind.CONTACT, t="02:40", a=1), day.row(DOOR, Kind.CONTACT, t="02:41", a=0))
    day.expect(AFTER_HOURS, at="02:40")
    day.expect(AFTER_HOURS, Phase.END, at="02:55")


def test_an_event_that_comes_after_its_watermark_is_found_all_the_same() -> None:
    day = night().at("04:00").opens(t="02:40")
    day.expect(AFTER_HOURS, at="02:40")
    day.expect(AFTER_HOURS, Phase.END, at="02:55")


def test_an_event_of_the_night_that_comes_in_the_day_is_found_all_the_same() -> None:
    day = night().at("07:40").opens().at("07:41").closes().at("09:00").expect_nothing().opens(t="02:40")
    day.expect(AFTER_HOURS, at="02:40")
    day.expect(AFTER_HOURS, Phase.END, at="02:55")


def test_an_event_from_a_clock_that_runs_ahead_waits_for_its_time() -> None:
    day = night().at("02:40").opens(t="02:41").expect_nothing().at("02:42")
    day.expect(AFTER_HOURS, at="02:41")


def test_a_weekend_and_a_closed_day_are_after_hours_all_day() -> None:
    day = Day(inputs(ALL, alive_us=PATIENT), date="2026-03-07", since="02:00").at("10:00").opens()  # a Saturday
    day.expect(AFTER_HOURS, at="10:00")
    day = night()
    closed = [(day.time("00:00"), day.time("+1 00:00"))]
    day.registers(inputs(ALL, alive_us=PATIENT, closed=closed)).at("10:00").opens()
    day.expect(AFTER_HOURS, at="10:00")


def test_a_site_that_never_closes_knows_no_after_hours() -> None:
    hours = {d: [("00:00", "24:00")] for d in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")}
    night(hours=hours).at("03:00").opens().at("03:30").expect_nothing()


def test_who_comes_just_after_the_time_for_leaving_is_found_at_a_calm_site_too() -> None:
    day = Day(inputs(alive_us=PATIENT), since="16:00").at("16:10").opens().closes().at("17:33")
    day.now += MINUTE_US
    day.opens().at("17:38").expect(AFTER_HOURS, at="17:34")
