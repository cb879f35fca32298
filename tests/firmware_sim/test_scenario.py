"""Scenarios in virtual time: the same bytes each time, and the truth about everything that goes wrong."""

import json
from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path
from random import Random
from typing import Any

import pytest

from firmware_sim.incidents import INCIDENTS, add
from firmware_sim.play import Said
from firmware_sim.plot import Line, Switch
from firmware_sim.scenario import BadScenario, Scenario, build, load, names
from firmware_sim.scene import Scene, Unsuitable
from firmware_sim.truth import write
from firmware_sim.virtual import Delivery, play
from firmware_sim.zigbee import BRIDGE_OFFLINE, Bridge
from gateway.clock import DAY_US, HOUR_US, MINUTE_US

MONDAY = date(2026, 9, 7)


def story(*incidents: dict[str, Any], days: int = 1, sites: int = 3, **more: Any) -> Scenario:
    fleet = {"name": "centre", "sites": sites, "seed": 3}
    return build("t", {"zh": "", "en": "", "fleet": fleet, "begins": MONDAY, "days": days, "incidents": incidents} | more)


def delivered(scenario: Scenario, site: int = 1) -> list[Delivery]:
    gateway = scenario.town.sites()[site].gateway
    return [d for d in play(scenario) if isinstance(d, Delivery) and d.gateway == gateway]


def doors(deliveries: list[Delivery]) -> list[dict[str, Any]]:
    found = [(d, json.loads(d.payload)) for d in deliveries if d.topic.startswith("zigbee2mqtt/") and "bridge" not in d.topic]
    return [state | {"at_us": d.at_us} for d, state in found]


@pytest.mark.parametrize("name", names())
def test_every_scenario_can_be_read_and_says_what_it_shows(name: str) -> None:
    scenario = load(name)
    assert scenario.zh
    assert scenario.en
    incidents = [t.incident for t in scenario.plot.truths]
    assert bool(incidents) == (name != "a-quiet-morning")
    assert all(t.begin_us < t.end_us and t.begin_us >= scenario.from_us for t in scenario.plot.truths)


def test_the_same_seed_gives_the_same_bytes() -> None:
    assert list(play(load("noisy-lines"))) == list(play(load("noisy-lines")))
    assert delivered(load("power-cut")) != delivered(load("power-cut", seed=4))


def test_what_arrives_is_in_order_of_time_and_from_a_gateway_of_the_town() -> None:
    scenario = load("power-cut")
    items = list(play(scenario))
    assert [i.at_us for i in items] == sorted(i.at_us for i in items)
    assert {i.gateway for i in items} == {g["code"] for g in scenario.town.document["gateways"]}
    assert [s.power for s in items if isinstance(s, Switch)] == ["off", "on"]


@pytest.mark.parametrize("kind", list(INCIDENTS))
def test_each_incident_leaves_its_truth_about_a_subject_of_the_register(kind: str) -> None:
    scenario = story({"kind": kind, "site": 1, "day": 2}, days=2)
    incident = INCIDENTS[kind]
    truths = scenario.plot.truths
    assert {(t.incident, t.rule) for t in truths} == {(kind, incident.rule)}
    document = scenario.town.document
    known = {s["code"] for s in document["sites"]} | {g["code"] for g in document["gateways"]}
    known |= {d[k] for d in document["devices"] for k in ("identity", "place")} | {p["token"] for p in document["persons"]}
    assert all(set(t.subjects) <= known and set(t.sites) <= known for t in truths)


@pytest.fixture(scope="module")
def usual() -> list[Delivery]:
    """What arrives on an ordinary day."""
    return delivered(story(sites=2))


@pytest.mark.parametrize("kind", [k for k in INCIDENTS if k not in ("gateway_offline", "door_left_open")])
def test_each_incident_changes_what_arrives(kind: str, usual: list[Delivery]) -> None:
    told = {"kind": kind, "site": 1, "day": 1}
    assert delivered(story(told, sites=2)) != usual


def test_the_ledger_has_one_line_per_incident_by_begin(tmp_path: Path) -> None:
    scenario = load("ailing-sensors")
    write(tmp_path / "truth", scenario.plot.truths)
    lines = [json.loads(line) for line in (tmp_path / "truth").read_text().splitlines()]
    assert len(lines) == len(scenario.plot.truths) == 7
    assert [x["begin_us"] for x in lines] == sorted(x["begin_us"] for x in lines)


def test_incidents_at_random_leave_a_day_between_two_at_one_site() -> None:
    scenario = story(days=40, sites=6, random={"per_kind": 1, "from_day": 8})
    placed = [t for t in scenario.plot.truths if t.incident != "resident_stops"]
    assert len({t.incident for t in placed}) > 15
    assert all(t.begin_us >= scenario.from_us + 7 * DAY_US - 3 * HOUR_US and t.end_us <= scenario.to_us for t in placed)
    for t in placed:
        assert not [u for u in placed if u is not t and u.sites == t.sites and t.begin_us <= u.begin_us < t.end_us + HOUR_US]


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(BadScenario, match="no incident earthquake"):
        story({"kind": "earthquake", "day": 1})
    with pytest.raises(BadScenario, match="no scenario x"):
        load("x")
    with pytest.raises(BadScenario, match="closed"):
        story({"kind": "not_opened", "site": 1, "day": 7}, days=7)  # a Sunday


def test_an_unsuitable_incident_leaves_the_plot_unchanged() -> None:
    scenario = story()
    site = replace(scenario.town.sites()[1], devices=("z2m/x",), classes=("zigbee_contact",), places=("s/front",))
    scene = Scene(plot=scenario.plot, site=site, span=(0, HOUR_US), rng=Random(1))
    for kind in ("crowd", "people_remain", "terminal_deaf", "blind_counter", "clock_wrong", "stuck", "footfall_high"):
        with pytest.raises(Unsuitable):
            add(kind, scene)
    plot = scenario.plot
    assert not any((plot.truths, plot.changes, plot.happenings, plot.lines))


def test_nobody_moves_at_a_site_that_does_not_open() -> None:
    scenario = story({"kind": "not_opened", "site": 1, "day": 1})
    states = doors(delivered(scenario))
    assert states
    assert all(s["contact"] for s in states)


def test_a_door_left_open_is_shut_next_morning() -> None:
    scenario = load("door-left-open")
    (truth,) = scenario.plot.truths
    night = [s for s in doors(delivered(scenario)) if truth.begin_us <= s["at_us"] < truth.end_us]
    assert len(night) > 10
    assert not any(s["contact"] for s in night)
    after = [s for s in doors(delivered(scenario)) if s["at_us"] >= truth.end_us]
    assert after[0]["contact"]


def test_a_dead_site_says_nothing_and_its_counter_starts_again_from_nothing() -> None:
    scenario = load("power-cut")
    (truth,) = scenario.plot.truths
    mine = delivered(scenario)
    assert not [d for d in mine if truth.begin_us < d.at_us < truth.end_us]
    counter = [json.loads(d.payload) for d in mine if d.topic.startswith("application/")]
    assert len({c["devAddr"] for c in counter}) == 2


def test_messages_are_doubled_delayed_and_lost_as_the_line_says() -> None:
    plot = story().plot
    door = Bridge("g")
    said = Said(at_us=10, device=door, output=BRIDGE_OFFLINE)
    for shares, least, most in (({"lost": 1.0}, 0, 0), ({"doubled": 1.0}, 2, 2), ({"delayed": 1.0, "delay_s": 90.0}, 1, 1)):
        plot.lines[:] = [Line(identities=frozenset({door.identity}), from_us=0, to_us=20, **shares)]
        arrivals = plot.arrivals(said)
        assert least <= len(arrivals) <= most
        assert all(t >= 10 for t in arrivals)
        assert plot.arrivals(replace(said, at_us=20)) == [20], "afterwards all is well"
    assert arrivals[0] > 10


def test_a_crowd_is_more_than_the_site_may_hold() -> None:
    scenario = load("crowd")
    (truth,), site = scenario.plot.truths, scenario.town.sites()[1]
    inside = Counter[int]()
    for hour in range(scenario.from_us, scenario.to_us, HOUR_US):
        for v in scenario.plot.visits(site, hour):
            for t in range(truth.begin_us, truth.end_us, 5 * MINUTE_US):
                inside[t] += v.arrive_us <= t < v.leave_us
    assert max(inside.values()) > site.capacity


def test_staff_open_every_site_though_the_city_is_empty_and_no_other_incident_falls_on_that_day() -> None:
    empty = {"kind": "empty_city", "day": 9}
    scenario = story(empty, days=20, sites=6, random={"per_kind": 1})
    plot = scenario.plot
    emptied = [t for t in plot.truths if t.incident == "empty_city"]
    assert len(emptied) == 6
    for site, truth in zip(scenario.town.sites(), emptied, strict=True):
        noon = (truth.begin_us + truth.end_us) // 2
        hours = range(noon // HOUR_US * HOUR_US - 8 * HOUR_US, noon, HOUR_US)
        assert any(v.staff for hour in hours for v in plot.visits(site, hour))
        others = [t for t in plot.truths if t.sites == truth.sites and t.rule not in (None, "resident_absent")]
        assert not [t for t in others if t.begin_us < truth.end_us and truth.begin_us < t.end_us]
