"""A door is open though the site is closed."""

import pytest

from analytics.findings import Phase, Rule
from analytics.reasons import render
from gateway.clock import HOUR_US
from gateway.events import Flag
from tests.scenarios.day import DOOR, Day, inputs

LEFT_OPEN = Rule.LEFT_OPEN
REPEAT = Flag.REPEAT


def evening(**register: object) -> Day:
    """A working day until 16:52, quiet enough that no other rule speaks: the door was opened and closed."""
    day = Day(inputs(**({"rules": {"no_activity": {"limit_min": 900}}} | register)), since="07:30")  # type: ignore[arg-type]
    day.at("07:55").opens().at("07:56").closes().alive_until("16:52", DOOR)
    return day.expect_nothing()


def test_a_door_left_open_is_found_half_an_hour_after_closing() -> None:
    day = evening().opens().at("17:20").alive_until("17:29", DOOR)
    day.expect_nothing().at("17:31")
    found = day.expect(LEFT_OPEN, at="17:30")
    assert render(found.rule, found.reason, "zh", day.zone) == "17:00 关门后 30 分钟，大门仍开着（16:52 打开）"
    assert render(found.rule, found.reason, "en", day.zone) == "大门 still open 30 min after closing at 17:00 (open since 16:52)"
    day.at("18:10").closes()
    day.expect(LEFT_OPEN, Phase.END, at="18:10")
    day.expect_nothing()


def test_a_door_closed_in_time_is_no_finding() -> None:
    evening().opens().at("17:25").closes().at("18:30").expect_nothing()


def test_a_repeated_open_state_after_the_deadline_proves_it() -> None:
    day = evening(alive_us={DOOR: 20 * 60_000_000}).opens()
    day.at("17:30").expect_nothing()  # 38 minutes silent: nobody knows
    day.at("17:31").expect_nothing().opens(flags=REPEAT)
    day.expect(LEFT_OPEN, at="17:30")


def test_a_silent_sensor_proves_nothing_though_its_gateway_is_there() -> None:
    day = evening(alive_us={DOOR: 20 * 60_000_000}).opens().at("17:40")
    day.expect(Rule.DEVICE_OFFLINE, at="17:32")
    day.expect_nothing()
    day.closes(flags=REPEAT).at("18:00")
    day.expect(Rule.DEVICE_OFFLINE, Phase.END, at="17:40")
    day.expect_nothing()


@pytest.mark.parametrize(("said", "told"), [("17:21", True), ("17:19", False)])
def test_what_a_door_said_shortly_before_the_deadline_counts_though_it_could_not_be_heard_then(said: str, told: bool) -> None:
    day = evening(rules={"left_open": {"fresh_min": 10}, "no_activity": {"limit_min": 900}}).opens()
    day.at(said).opens(flags=REPEAT).at("17:22").blind("z2m/", "17:22").at("17:31")
    day.expect(Rule.MONITORING_GAP, at="17:22")
    if told:
        day.expect(LEFT_OPEN, at="17:30")
    day.expect_nothing()


def test_closing_and_deadline_in_one_batch_begin_and_end_in_their_own_time() -> None:
    day = evening(alive_us={DOOR: 2 * HOUR_US}).opens()
    day.now = day.time("18:10")
    day.closes()
    day.expect(LEFT_OPEN, at="17:30")
    day.expect(LEFT_OPEN, Phase.END, at="18:10")


def test_late_evidence_that_the_door_was_closed_takes_it_back() -> None:
    day = evening().opens().at("17:40")
    day.expect(LEFT_OPEN, at="17:30")
    day.closes(t="17:05")
    day.expect(LEFT_OPEN, Phase.RETRACT, at="17:05")


def test_it_ends_with_the_next_opening_time() -> None:
    day = evening().opens().at("17:31")
    day.expect(LEFT_OPEN, at="17:30")
    day.alive_until("+1 08:01", DOOR)
    found = day.expect(LEFT_OPEN, Phase.END, at="+1 08:00")
    assert found.reason["ended"] == "opening"


def test_a_later_deadline_of_the_site_holds() -> None:
    day = Day(inputs(rules={"left_open": {"after_min": 60}, "no_activity": {"limit_min": 900}}), since="07:00")
    day.at("07:55").opens().alive_until("17:59", DOOR).expect_nothing().at("18:00")
    day.expect(LEFT_OPEN, at="18:00")


def test_a_door_that_nobody_watched_at_the_deadline_is_found_when_it_says_that_it_is_still_open() -> None:
    day = Day(inputs(), since="18:15").opens(t="16:52").at("18:16").expect_nothing()
    day.opens(flags=REPEAT)
    found = day.expect(LEFT_OPEN, at="17:30")
    assert found.reason["open_since_us"] == day.time("16:52")
    day.opens(flags=REPEAT).expect_nothing()
    day.at("18:20").closes()
    day.expect(LEFT_OPEN, Phase.END, at="18:20")
    day.expect_nothing()


def test_a_replayed_message_does_not_raise_what_nobody_watched() -> None:
    day = Day(inputs(), since="18:15").opens(t="16:52", flags=Flag.LATE).at("18:16")
    day.opens(flags=REPEAT | Flag.LATE).expect_nothing()


def test_a_door_opened_after_the_deadline_was_not_left_open() -> None:
    day = Day(inputs(), since="18:15").at("18:20").opens()
    day.expect(Rule.OPENED_AFTER_HOURS, at="18:20")
    day.opens(flags=REPEAT).expect_nothing()
