"""Unusually many people whom the terminals do not know."""

from copy import deepcopy

import pytest

from analytics.findings import Phase, Rule
from analytics.reasons import render
from gateway.clock import SECOND_US
from ingest.inputs import Inputs
from tests.scenarios.day import DOOR, PATIENT, SHARD, TERMINAL, Day, inputs

SPIKE = Rule.STRANGER_SPIKE
RULES = {
    "no_activity": {"limit_min": 2000, "days": 1000},
    "opened_after_hours": {"after_min": 600, "before_min": 600},
    "not_opened": {"grace_min": 600},
}


def centre(version: int = 1, modes: list[tuple[int, int, str]] | None = None) -> Inputs:
    """A centre with a terminal."""
    return inputs({DOOR: 1, TERMINAL: 1}, version=version, alive_us=PATIENT, rules=RULES, modes=modes or [])


def come(day: Day, text: str, people: int) -> Day:
    """Strangers, just after a time."""
    day.at(text)
    day.now += SECOND_US
    return day.strangers(people)


@pytest.fixture(scope="module")
def known() -> Day:
    """Five days with three strangers in each hour of the morning."""
    day = Day(centre(), since="08:50", beat_s=900).alive(DOOR, TERMINAL)
    for n in range(7):
        for hour in ("09", "10", "11"):
            come(day, f"+{n} {hour}:20", 3)
        day.at(f"+{n} 13:00")
    found, day.found = day.found, []
    assert SPIKE not in [f.rule for f in found]
    return day


def test_three_times_the_usual_within_an_hour_is_told_and_ends_when_it_is_half_as_much(known: Day) -> None:
    day = deepcopy(known)
    come(day, "+7 09:20", 5)
    come(day, "+7 10:05", 5).at("+7 10:16")
    found = day.expect(SPIKE, at="+7 10:15")
    assert render(found.rule, found.reason, "zh", day.zone) == "09:15–10:15：10 名陌生人；此时段平常每小时约 3.1 名"
    assert (
        render(found.rule, found.reason, "en", day.zone) == "09:15–10:15: 10 strangers; about 3.1 an hour are usual at this time"
    )
    come(day, "+7 10:20", 10).at("+7 10:31")
    assert day.expect(SPIKE, Phase.CONTINUE, at="+7 10:30").reason["people"] == 15
    day.at("+7 12:00")
    day.expect(SPIKE, Phase.END, at="+7 11:15")
    day.expect_nothing()


def test_what_was_told_does_not_become_the_usual(known: Day) -> None:
    day = deepcopy(known)
    come(day, "+7 09:20", 200).at("+7 10:01")
    table = day.engine._shard(SHARD).memory.tables["strangers"]
    assert table["usual"][0, 0, 3] == pytest.approx(3 + (9 - 3) / 16)  # as much as the limit, not 200


def test_fewer_than_a_handful_are_never_a_spike(known: Day) -> None:
    day = deepcopy(known)
    come(day, "+7 19:20", 7).at("+7 20:00").expect_nothing()


def test_a_new_site_is_judged_by_what_is_usual_elsewhere_and_says_so() -> None:
    day = Day(centre(), since="08:50", beat_s=900).alive(DOOR, TERMINAL)
    come(day, "09:20", 11).at("09:31").expect_nothing()
    come(day, "09:35", 1).at("09:46")
    assert day.expect(SPIKE, at="09:45").reason["code"] == "stranger_spike_new"


def test_a_visit_explains_strangers_and_a_drill_is_said_to_be_one(known: Day) -> None:
    for mode in ("visit", "drill"):
        day = deepcopy(known)
        day.registers(centre(2, [(day.time("+7 09:00"), day.time("+7 12:00"), mode)]))
        before = day.engine._shard(SHARD).memory.tables["strangers"]["usual"].tolist()
        come(day, "+7 09:20", 20).at("+7 09:40")
        if mode == "drill":
            assert day.expect(SPIKE, at="+7 09:30").reason["mode"] == "drill"
        day.expect_nothing().at("+7 10:01")
        assert day.engine._shard(SHARD).memory.tables["strangers"]["usual"].tolist() == before
