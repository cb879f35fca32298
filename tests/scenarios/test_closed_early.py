"""Everybody left well before closing, though at this site that is not the habit."""

from copy import deepcopy
from typing import Any

import pytest

from analytics.findings import Phase, Rule
from analytics.reasons import render
from gateway.clock import HOUR_US
from ingest.inputs import Inputs
from tests.scenarios.day import COUNTER, DOOR, LONG_US, SHARD, Day, inputs

EARLY = Rule.CLOSED_EARLY
BOTH = {DOOR: 1, COUNTER: 1}
RULES = {
    "closed_early": {"days": 3, "per_month": 2},
    "no_activity": {"limit_min": 2000, "days": 1000},
    "opened_after_hours": {"after_min": 600, "before_min": 600},
    "device_offline": {"silences": 1000},
}
ALIVE = {DOOR: 3 * HOUR_US, COUNTER: LONG_US}


def centre(**more: Any) -> Inputs:
    """A centre that knows after three days what is usual; its door speaks every three hours at least."""
    settings: dict[str, Any] = {"alive_us": ALIVE, "rules": RULES}
    return inputs(BOTH, **(settings | more))


def opening_day(day: Day, n: int, last: str = "16:50") -> Day:
    """The `n`-th day: people from opening until `last`."""
    day.at(f"+{n} 07:30").alive(*BOTH).at(f"+{n} 08:00").opens().counts(2).closes()
    for text in ("11:00", "14:00", "15:40", "16:10", "16:30", "16:50"):
        if text <= last:
            day.at(f"+{n} {text}").counts(1)
    return day


@pytest.fixture(scope="module")
def learned() -> Day:
    """Three days on which people stayed until shortly before closing."""
    day = Day(centre(), since="05:00", beat_s=600)
    for n in range(3):
        opening_day(day, n).alive(DOOR).at(f"+{n} 17:01").alive(DOOR)
    day.expect_nothing()
    return day


@pytest.fixture
def day(learned: Day) -> Day:
    """The fourth day, until people were last seen at 14:00."""
    return opening_day(deepcopy(learned), 3, "14:00").at("+3 15:30").alive(DOOR).expect_nothing()


def test_it_is_told_when_silence_has_reached_the_last_hour_and_is_over_at_closing(day: Day) -> None:
    shown = day.engine.take_changed(SHARD)[0]
    assert (shown.next_rule, shown.next_deadline_us) == (EARLY, day.time("+3 16:00"))
    day.at("+3 15:59").expect_nothing().at("+3 16:01")
    found = day.expect(EARLY, at="+3 16:00")
    assert found.episode == day.time("+3 14:00")
    assert render(found.rule, found.reason, "zh", day.zone) == (
        "自 14:00 起 120 分钟无人，而 17:00 才关门（已知 3 个开放日中 3 天此时仍有人；2 个传感器均正常）"
    )
    assert render(found.rule, found.reason, "en", day.zone).startswith(
        "Nobody for 120 min since 14:00, though it closes at 17:00 only"
    )
    day.at("+3 17:00")
    assert day.expect(EARLY, Phase.END, at="+3 17:00").reason["ended"] == "closing"
    day.expect_nothing()


def test_people_who_come_back_end_it(day: Day) -> None:
    day.at("+3 16:10").counts(1)
    day.expect(EARLY, at="+3 16:00")
    day.expect(EARLY, Phase.END, at="+3 16:10")


def test_people_until_an_hour_before_closing_are_as_usual(day: Day) -> None:
    day.at("+3 15:50").counts(1).at("+3 16:40").counts(1).at("+3 17:30").expect_nothing()


def test_a_new_site_is_not_judged_and_says_how_much_it_knows() -> None:
    day = opening_day(Day(centre(), since="05:00", beat_s=600), 0, "11:00")
    day.at("15:30").alive(DOOR).at("18:00").expect_nothing()
    assert day.engine.take_changed(SHARD)[0].detail["learning"] == {EARLY: [1, 3]}


def test_a_site_that_often_closes_early_is_never_told() -> None:
    day = Day(centre(), since="05:00", beat_s=600)
    for n in range(3):
        opening_day(day, n, "16:30" if n else "11:00").alive(DOOR).at(f"+{n} 17:01").alive(DOOR)
    opening_day(day, 3, "11:00").at("+3 17:01").expect_nothing()


def test_a_sensor_that_is_not_there_holds_it_back_until_it_proves_that_it_was_quiet(learned: Day) -> None:
    day = opening_day(deepcopy(learned), 3, "11:00").at("+3 16:50").expect_nothing()  # its gateway is there, the door is not
    day.alive(DOOR)
    day.expect(EARLY, at="+3 16:00")
    day.expect_nothing()


def test_a_lost_gateways_backlog_decides(learned: Day) -> None:
    for seen in (True, False):
        day = deepcopy(learned)
        day.registers(inputs({DOOR: 1, COUNTER: 2}, version=2, alive_us=ALIVE, rules=RULES))
        day.streams[2], day.begun[2] = 200, day.now
        day.beat()
        opening_day(day, 3, "14:00").at("+3 15:30").alive(DOOR).lost(2)
        day.expect(Rule.MONITORING_GAP, at="+3 15:30")
        day.at("+3 16:20").expect_nothing().back(2)
        day.expect(Rule.MONITORING_GAP, Phase.END, at="+3 16:20")
        if seen:
            day.counts(1, t="+3 15:40").at("+3 16:39").expect_nothing()
        else:
            day.beat().alive(COUNTER)
            day.expect(EARLY, at="+3 16:00")


def test_late_evidence_takes_it_back(day: Day) -> None:
    day.at("+3 16:10")
    day.expect(EARLY, at="+3 16:00")
    day.counts(1, t="+3 15:20")
    day.expect(EARLY, Phase.RETRACT, at="+3 15:20")


def test_a_closure_ends_the_day_and_explains_it(day: Day) -> None:
    closed = [(day.time("+3 15:45"), day.time("+3 17:00"))]
    day.registers(centre(version=2, closed=closed)).at("+3 17:30").expect_nothing()
    assert day.engine.take_changed(SHARD)[0].detail["learning"] == {}


def test_a_day_that_was_told_hardly_changes_what_is_usual(day: Day) -> None:
    day.at("+3 17:01").alive(DOOR)
    day.expect(EARLY, at="+3 16:00")
    day.expect(EARLY, Phase.END, at="+3 17:00")
    table = day.engine._shard(SHARD).memory.tables["evening"]
    assert (table["days"][0].tolist(), table["busy"][0].tolist()) == ([3.25, 0.0, 0.0], [3.0, 0.0, 0.0])
