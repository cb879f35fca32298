"""More people came in than went out, and a sign of life says that one of them is still there."""

from typing import Any

from analytics.findings import Phase, Rule
from analytics.reasons import render
from gateway.clock import HOUR_US, MINUTE_US
from gateway.events import Flag
from ingest.inputs import Inputs
from tests.scenarios.day import COUNTER, DOOR, PATIENT, SHARD, TERMINAL, Day, inputs

AFTER = Rule.PEOPLE_AFTER_CLOSING
ALL = {DOOR: 1, COUNTER: 1, TERMINAL: 1}
QUIET = {"no_activity": {"limit_min": 2000}, "opened_after_hours": {"after_min": 400}}


def centre(behind: dict[int, int] = ALL, **more: Any) -> Inputs:
    """A centre where only the rule that is tested speaks; its terminal hangs inside."""
    settings: dict[str, Any] = {"alive_us": PATIENT, "rooms": {TERMINAL: "hall"}, "rules": QUIET}
    return inputs(behind, **(settings | more))


def evening(behind: dict[int, int] = ALL, came: int = 3, went: int = 2, **more: Any) -> Day:
    """Until 17:05: so many came, and so many left; the door is shut."""
    day = Day(centre(behind, **more), since="05:00").alive(*behind).alive_until("07:55", *behind, every_min=25)
    day.at("08:00").opens().counts(came).at("08:02").closes().alive_until("16:55", *behind, every_min=25)
    return day.at("17:00").opens().leaves(went).at("17:01").closes().at("17:05").expect_nothing()


def test_someone_who_passes_a_terminal_after_the_last_exit_is_still_there_when_the_time_has_come() -> None:
    day = evening().at("17:20").passes().at("17:44").expect_nothing()
    assert day.engine.take_changed(SHARD)[0].next_rule == AFTER
    day.at("17:46")
    found = day.expect(AFTER, at="17:45")
    assert render(found.rule, found.reason, "zh", day.zone) == (
        "17:00 关门后 45 分钟，估计仍有 1 人在内（今天计进 3 人、出 2 人；17:20 仍有活动，之后无人出门）"
    )
    assert render(found.rule, found.reason, "en", day.zone).startswith(
        "About 1 still inside 45 min after closing at 17:00 (3 counted"
    )
    day.at("18:00").opens().expect_nothing().leaves(1)
    day.expect(AFTER, Phase.END, at="18:00")
    day.at("23:00").expect_nothing()


def test_counts_alone_prove_nothing_and_neither_does_a_sign_alone() -> None:
    evening().at("20:00").expect_nothing()
    evening(went=3).at("17:20").passes().at("20:00").expect_nothing()


def test_who_showed_up_and_then_went_through_the_door_is_gone_though_nobody_counted_them() -> None:
    evening().at("17:20").passes().at("17:25").opens().at("17:26").closes().at("20:00").expect_nothing()


def test_a_sign_of_life_later_in_the_evening_is_told_at_once() -> None:
    day = evening().at("19:00").expect_nothing()
    day.at("19:10").sees(1)
    assert day.expect(AFTER, at="19:10").reason["after_min"] == 130
    day.at("19:20").sees(2).passes().expect_nothing()  # the same episode


def test_who_comes_in_during_the_night_has_not_stayed_and_does_not_hide_who_has() -> None:
    evening(went=3).at("18:30").counts(2).at("18:35").passes().at("23:00").expect_nothing()
    day = evening().at("18:30").counts(1).at("18:35").leaves(1).at("18:40").passes()
    day.expect(AFTER, at="18:40")


def test_replayed_signs_and_a_visit_wake_nobody() -> None:
    evening().at("17:20").passes(flags=Flag.LATE).at("20:00").expect_nothing()
    day = evening()
    modes = [(day.time("16:00"), day.time("19:00"), "visit")]
    day.registers(centre(version=2, modes=modes)).at("17:20").passes().at("18:50").expect_nothing()


def test_silence_is_no_proof_that_they_have_left_and_it_ends_with_the_next_opening() -> None:
    day = evening().at("17:20").passes().alive_until("+1 07:59", *ALL, every_min=50)
    day.expect(AFTER, at="17:45")
    day.expect_nothing().at("+1 08:00")
    assert day.expect(AFTER, Phase.END, at="+1 08:00").reason["ended"] == "opening"


def test_a_counter_that_is_not_there_holds_it_back_until_it_proves_that_nobody_left() -> None:
    alive = PATIENT | {COUNTER: 30 * MINUTE_US}
    rules = QUIET | {"device_offline": {"silences": 50}}
    day = evening(alive_us=alive, rules=rules).alive(COUNTER).at("17:20").passes().at("18:30").expect_nothing()
    day.alive(COUNTER)
    day.expect(AFTER, at="17:45")
    day.expect_nothing()


def test_a_lost_gateways_backlog_decides() -> None:
    behind = {DOOR: 2, COUNTER: 2, TERMINAL: 1}
    for left in (True, False):
        day = evening(behind).at("17:20").passes().at("17:21").lost(2)
        day.expect(Rule.MONITORING_GAP, at="17:21")
        day.at("18:30").expect_nothing().back(2)
        day.expect(Rule.MONITORING_GAP, Phase.END, at="18:30")
        if left:
            day.opens(t="17:30").at("18:40").expect_nothing()
        else:
            day.alive(DOOR, COUNTER)
            day.expect(AFTER, at="17:45")


def test_late_evidence_that_someone_left_takes_it_back() -> None:
    day = evening().at("17:20").passes().at("18:00")
    day.expect(AFTER, at="17:45")
    day.leaves(1, t="17:30")
    day.expect(AFTER, Phase.RETRACT, at="17:30")
    day.expect_nothing()


def test_a_day_on_which_a_counter_was_not_seen_accuses_nobody() -> None:
    alive = PATIENT | {COUNTER: HOUR_US}
    day = Day(centre(alive_us=alive, rules=QUIET | {"device_offline": {"silences": 50}}), since="05:00").alive(*ALL)
    day.alive_until("07:55", *ALL, every_min=25).at("08:00").opens().counts(2).closes().at("11:00").counts(1)
    day.alive_until("17:00", *ALL, every_min=25).leaves(1).at("17:20").passes().at("17:50").expect_nothing()
