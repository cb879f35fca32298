"""Named scenarios, from the vendors' bytes through real codecs, ingest and engine, in virtual time: what is said about each.

Between them they have every model of door, counter and terminal that the simulator knows. Stories of many days are told with
`HYPOTHESIS_PROFILE=long` only.
"""

import os
from dataclasses import asdict

import msgspec
import pytest

from analytics.engine import Engine
from analytics.scoring import Alert, Truth, alerts_of, score
from benchmarks.quality.joined import Joined
from firmware_sim.models import MODELS
from firmware_sim.scenario import load, names
from gateway.clock import HOUR_US


def told(name: str, slice_us: int = HOUR_US) -> tuple[list[Truth], list[Alert]]:
    """Play a scenario; returns what happened and what was said about it."""
    scenario = load(name)
    joined, engine = Joined(scenario, slice_us), Engine()
    found = [finding for batch in joined.batches() for finding in engine.apply(batch)]
    truths = [msgspec.convert(asdict(t), Truth, strict=False) for t in scenario.plot.truths]
    return truths, alerts_of(found, joined.register.codes)


WHAT = {
    "door-left-open": ("left_open", 30),
    "power-cut": ("monitoring_gap", 1),
    "gateway-offline": ("monitoring_gap", 1),
    "bridge-offline": ("monitoring_gap", 1),
    "nobody-opened": ("not_opened", 30),
    "nobody-came": ("no_activity", 180),
    "intruder": ("opened_after_hours", 1),
    "crowd": ("crowding", 20),
}
NOTHING = ("a-quiet-morning", "noisy-lines")
MANY_DAYS = ("refused-and-strangers", "blind-counter", "ailing-sensors", "closed-early", "counter-drifts", "city-empty",
             "resident-stops-coming")  # fmt: skip
PATIENT = os.environ.get("HYPOTHESIS_PROFILE") == "long"


@pytest.mark.parametrize(("name", "rule", "delay_min"), [(name, *said) for name, said in WHAT.items()])
def test_what_happens_is_said_in_time_and_nothing_else_is(name: str, rule: str, delay_min: float) -> None:
    scores, _ = score(*told(name))
    assert {s.rule: s.false for s in scores if s.false} == {}
    (mine,) = [s for s in scores if s.incidents]
    assert (mine.rule, mine.recall) == (rule, 1)
    assert mine.delay_s is not None
    assert mine.delay_s <= delay_min * 60


def test_the_stories_have_every_model_between_them() -> None:
    told_here = [*WHAT, *NOTHING]
    town = [scenario.town for scenario in map(load, told_here)]
    usual = {"z2m", "vs133", "mqttface"}
    assert {model for one in town for model in one.models.values()} | usual == set(MODELS)


@pytest.mark.parametrize("name", NOTHING)
def test_where_nothing_is_wrong_nothing_is_said(name: str) -> None:
    assert told(name)[1] == []


@pytest.mark.parametrize("name", ["people-after-closing", *(MANY_DAYS if PATIENT else ())])
def test_every_incident_of_a_longer_story_is_said(name: str) -> None:
    scores, _ = score(*told(name))
    assert [s.rule for s in scores if s.incidents and s.recall != 1] == []
    if name != "ailing-sensors":  # a sensor that was dead and comes back as it was is taken to have seen nothing
        assert {s.rule: s.false for s in scores if s.false} == {}


def test_no_story_is_left_untold() -> None:
    assert {*WHAT, *NOTHING, *MANY_DAYS, "people-after-closing", "a-month-in-town"} == set(names())


def test_how_often_batches_are_made_changes_nothing() -> None:
    assert told("power-cut", HOUR_US // 12) == told("power-cut", 3 * HOUR_US)
