"""Someone on the block list was recognised."""

from analytics.findings import Phase, Rule, Severity
from analytics.reasons import render
from gateway.events import Flag, Kind, ListRole, Result
from tests.scenarios.day import DOOR, PATIENT, TERMINAL, Day, inputs

REFUSED = Rule.REFUSED_PERSON


def open_day() -> Day:
    """Open since 08:00; at 09:00 all is well."""
    day = Day(inputs({DOOR: 1, TERMINAL: 1}, alive_us=PATIENT), since="07:50").at("08:00").opens().at("08:01").closes()
    return day.at("09:00").expect_nothing()


def test_it_is_told_at_once_and_over_when_nobody_saw_them_for_a_while() -> None:
    day = open_day().refuses()
    found = day.expect(REFUSED, at="09:00")
    assert (found.severity, found.evidence) == (Severity.URGENT, ((day.pos, 0),))
    assert render(found.rule, found.reason, "zh", day.zone) == "09:00，食堂识别到禁入人员"
    day.at("09:10").refuses()
    again = day.expect(REFUSED, Phase.CONTINUE, at="09:10")
    assert render(again.rule, again.reason, "zh", day.zone) == "09:10，食堂识别到禁入人员（2 次）"
    assert (
        render(again.rule, again.reason, "en", day.zone) == "Someone on the block list was recognised at 食堂 at 09:10 (2 times)"
    )
    day.at("09:39").expect_nothing().at("09:41")
    assert day.expect(REFUSED, Phase.END, at="09:40").reason["count"] == 2
    day.at("10:20").refuses()
    day.expect(REFUSED, at="10:20")  # a new episode


def test_replayed_sightings_and_other_refusals_wake_nobody() -> None:
    day = open_day().refuses(flags=Flag.LATE)
    for result, role in (
        (Result.REFUSED, ListRole.ALLOW_LIST),
        (Result.STRANGER, ListRole.BLOCK_LIST),
        (Result.REFUSED, ListRole.UNKNOWN),
    ):
        day.happens(day.row(TERMINAL, Kind.PASSAGE, a=result, b=role))
    day.expect_nothing()


def test_a_sighting_that_comes_late_is_found_in_its_own_time_and_already_over() -> None:
    day = open_day().refuses(t="08:10")
    day.expect(REFUSED, at="08:10")
    day.expect(REFUSED, Phase.END, at="08:40")
    day.expect_nothing()


def test_a_visit_excuses_no_one_and_a_drill_is_said_to_be_one() -> None:
    for mode, word in (("visit", "09:00"), ("drill", "【演练】09:00")):
        day = open_day()
        modes = [(day.time("08:30"), day.time("12:00"), mode)]
        day.registers(inputs({DOOR: 1, TERMINAL: 1}, version=2, alive_us=PATIENT, modes=modes)).refuses()
        found = day.expect(REFUSED, at="09:00")
        assert render(found.rule, found.reason, "zh", day.zone).startswith(word)
