"""A scenario: a town, its people, some days, and what goes wrong; from a short YAML file with a name.

    zh, en       what it shows
    fleet        {name: centre | town | city | province, sites: 3, seed: 1}; door, counter, terminal: a model (`models.py`)
    begins       first day; days: how many
    holidays     dates on which fewer come; workdays: weekend days that are worked (调休)
    incidents    [{kind, site: 0, day: 2, at: "16:50", hours: 3, person: "5"}]  only kind and day are needed
    random       {per_kind: 3, from_day: 15}  so many of every kind, placed by the seed, none near another at the same site

One decision: days count from 1 and times are local, as a person would tell the story; a time left out is when such a thing
is likely.
"""

from dataclasses import dataclass, replace
from datetime import date, timedelta
from importlib.resources import files
from random import Random
from typing import Any

import yaml

from firmware_sim.fleet import build_fleet
from firmware_sim.incidents import INCIDENTS, add
from firmware_sim.models import MODELS
from firmware_sim.people import People, local_us
from firmware_sim.plot import Plot
from firmware_sim.scene import Scene, Unsuitable
from firmware_sim.town import ZONE, Site, Town
from gateway.clock import DAY_US, HOUR_US

TRIES = 200


class BadScenario(Exception):
    """The file says what cannot be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A town with a plot, from `from_us` to `to_us`."""

    name: str
    zh: str
    en: str
    town: Town
    plot: Plot
    from_us: int
    to_us: int


def names() -> list[str]:
    """Return the names of the scenarios that come with the simulator."""
    return sorted(f.name.removesuffix(".yaml") for f in files("firmware_sim.scenarios").iterdir() if f.name.endswith(".yaml"))


def load(name: str, seed: int | None = None, begins: date | None = None) -> Scenario:
    """Load a scenario by name; another seed or first day, if given. Raises BadScenario."""
    if name not in names():
        raise BadScenario(f"there is no scenario {name}; there are {', '.join(names())}")
    story = yaml.safe_load((files("firmware_sim.scenarios") / f"{name}.yaml").read_text(encoding="utf-8"))
    if begins:
        story["begins"] = begins
    if seed is not None:
        story["fleet"]["seed"] = seed
    return build(name, story)


def build(name: str, story: dict[str, Any]) -> Scenario:
    """Build a scenario from what its file says. Raises BadScenario."""
    fleet = story["fleet"]
    holidays, workdays = story.get("holidays", ()), story.get("workdays", ())
    days = {str(d): "holiday" for d in holidays} | {str(d): "workday" for d in workdays}
    models = {kind: fleet[kind] for kind in ("door", "counter", "terminal") if kind in fleet}
    for kind, model in models.items():
        if model not in MODELS or MODELS[model].kind != kind:
            raise BadScenario(f"there is no {kind} {model}; there are {', '.join(m for m in MODELS if MODELS[m].kind == kind)}")
    town = replace(build_fleet(fleet["name"], fleet.get("seed", 1), fleet.get("sites"), models), days=days)
    plot = Plot(seed=town.seed, people=People(town.seed, holidays))
    begins: date = story["begins"]
    scenario = Scenario(
        name=name,
        zh=story["zh"],
        en=story["en"],
        town=town,
        plot=plot,
        from_us=local_us(begins, 0, ZONE),
        to_us=local_us(begins + timedelta(days=story["days"]), 0, ZONE),
    )
    sites = town.sites()
    for n, told in enumerate(story.get("incidents", ())):
        _tell(plot, sites, begins, n, told)
    if story.get("random"):
        _scatter(scenario, sites, begins, story["days"], story["random"])
    return scenario


def _tell(plot: Plot, sites: tuple[Site, ...], begins: date, n: int, told: dict[str, Any]) -> None:
    if told["kind"] not in INCIDENTS:
        raise BadScenario(f"there is no incident {told['kind']}; there are {', '.join(INCIDENTS)}")
    day = begins + timedelta(days=told["day"] - 1)
    incident = INCIDENTS[told["kind"]]
    for site in sites if incident.everywhere else [sites[told.get("site", 0)]]:
        rng = Random(f"{plot.seed}/incident/{n}/{site.code}")  # noqa: S311 - repeatable by intention
        try:
            begin, end = incident.span(site, day, rng)
            if "at" in told:
                hours, minutes = told["at"].split(":")
                begin, end = (at := local_us(day, int(hours) * 60 + int(minutes), site.zone)), at + end - begin
            if "hours" in told:
                end = begin + round(told["hours"] * HOUR_US)
            add(told["kind"], Scene(plot=plot, site=site, span=(begin, end), rng=rng, person=str(told.get("person", ""))))
        except Unsuitable as e:
            if not incident.everywhere:
                raise BadScenario(f"incident {told}: {e}") from None


def _scatter(scenario: Scenario, sites: tuple[Site, ...], begins: date, days: int, told: dict[str, Any]) -> None:
    """Place incidents at random; those of long duration first, while there is room."""
    plot = scenario.plot
    rng = Random(f"{plot.seed}/scatter")  # noqa: S311
    busy = [(site, t.begin_us, t.end_us) for t in plot.truths for site in t.sites]
    kinds = [k for k, i in INCIDENTS.items() if not i.everywhere]

    def length(kind: str) -> int:
        begin, end = INCIDENTS[kind].span(sites[-1], begins, Random(0))  # noqa: S311
        return begin - end

    for kind in sorted(kinds, key=length):
        for _ in range(told["per_kind"]):
            for _ in range(TRIES):
                site, day = rng.choice(sites), begins + timedelta(days=rng.randrange(told.get("from_day", 1) - 1, days))
                if _try(plot, kind, site, day, rng, busy, scenario.to_us):
                    break


def _try(plot: Plot, kind: str, site: Site, day: date, rng: Random, busy: list[tuple[str, int, int]], to_us: int) -> bool:
    try:
        begin, end = INCIDENTS[kind].span(site, day, rng)
        around = site.code, begin - DAY_US, end + DAY_US
        person = kind == "resident_stops"  # the others do not notice
        if end > to_us or (not person and any(s == site.code and a < around[2] and around[1] < b for s, a, b in busy)):
            return False
        add(kind, Scene(plot=plot, site=site, span=(begin, end), rng=rng))
    except Unsuitable:
        return False
    if not person:
        busy.append((site.code, begin, end))
    return True
