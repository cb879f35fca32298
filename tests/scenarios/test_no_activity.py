"""Silence while open."""

from analytics.findings import Phase, Rule
from analytics.reasons import render
from tests.scenarios.day import COUNTER, DOOR, Day, inputs

NO_ACTIVITY = Rule.NO_ACTIVITY


def opened() -> Day:
    """Opened at 08:00; the last activity was at 09:10."""
    day = Day(inputs({DOOR: 1, COUNTER: 1}), since="07:50").at("08:00").opens().at("08:01").closes()
    return day.alive_until("09:10", DOOR, COUNTER).counts(1).expect_nothing()


def test_two_hours_of_proven_silence_are_found_at_their_end() -> None:
    day = opened().alive_until("11:10", DOOR, COUNTER).expect_nothing() if False else opened().alive_until("11:05", DOOR, COUNTER)
    day.expect_nothing().at("11:11")
    found = day.expect(NO_ACTIVITY, at="11:10")
    assert found.episode == day.time("09:10")
    assert render(found.rule, found.reason, "zh", day.zone) == "自 09:10 起 120 分钟无人活动（开放时间，2 个传感器均正常）"
    day.alive_until("11:40", DOOR, COUNTER).counts(1)
    day.expect(NO_ACTIVITY, Phase.END, at="11:40")
    day.expect_nothing()


def test_activity_begins_the_wait_anew() -> None:
    day = opened().alive_until("11:00", DOOR, COUNTER).opens().closes().alive_until("12:50", DOOR, COUNTER).expect_nothing()
    day.alive_until("13:00", DOOR, COUNTER)
    day.expect(NO_ACTIVITY, at="13:00")


def test_it_ends_at_closing_and_is_not_raised_across_it() -> None:
    day = opened().alive_until("14:00", DOOR, COUNTER).counts(1).alive_until("15:30", DOOR, COUNTER)
    day.expect(NO_ACTIVITY, at="11:10")
    day.expect(NO_ACTIVITY, Phase.END, at="14:00")
    day.counts(1).alive_until("20:00", DOOR, COUNTER).expect_nothing()
    day = opened().alive_until("17:10", DOOR, COUNTER)
    day.expect(NO_ACTIVITY, at="11:10")
    day.expect(NO_ACTIVITY, Phase.END, at="17:00")


def test_a_sensor_that_is_not_there_holds_it_back() -> None:
    day = opened().alive_until("13:30", DOOR)
    assert [f.rule for f in day.found] == [Rule.DEVICE_OFFLINE]  # the counter, and no word about silence


def test_late_evidence_takes_it_back_and_the_wait_begins_there() -> None:
    day = opened().alive_until("11:20", DOOR, COUNTER)
    day.expect(NO_ACTIVITY, at="11:10")
    day.counts(1, t="09:30")
    day.expect(NO_ACTIVITY, Phase.RETRACT, at="09:30")
    day.expect_nothing().alive_until("11:40", DOOR, COUNTER)
    day.expect(NO_ACTIVITY, at="11:30")


def test_a_site_that_nobody_opened_is_not_also_called_silent() -> None:
    day = Day(inputs()).alive_until("12:00", DOOR)
    assert [f.rule for f in day.found] == [Rule.NOT_OPENED]


def test_a_site_that_never_closes_is_called_silent_once_per_silence() -> None:
    hours = {d: [("00:00", "24:00")] for d in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")}
    day = Day(inputs(hours=hours), since="05:00").alive_until("06:00", DOOR).opens().alive_until("+4 06:00", DOOR, every_min=50)
    day.expect(NO_ACTIVITY, at="08:00")
    day.expect_nothing()
