"""A simulated town of 30 days with the truth about every incident: precision, recall and delay per rule.

One decision: the town is played once, through the real codecs and ingest; the engine then goes over the same batches once
for each length of history, so that the learning curve compares like with like.
"""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec

from analytics.engine import Engine
from analytics.findings import Finding
from analytics.scoring import Alert, Score, Truth, alerts_of, score
from benchmarks.quality.joined import Joined
from benchmarks.quality.report import Say, plot, table
from firmware_sim.scenario import Scenario, build
from gateway.clock import DAY_US, HOUR_US
from ingest.columns import Batch

PREFIX = "sim."
SEED, LEARNING_DAYS, DAYS, PER_KIND = 7, 28, 30, 6
HISTORIES = (0, 3, 7, 14, 28)
CURVE_DAYS = 7
"""Of the evaluated days, those that the learning curve looks at: later the town has taught what the history did not."""
PROCESSES = 4
LEARNED = ("no_activity", "closed_early", "unusual_footfall", "resident_absent", "stranger_spike")
"""Rules that rest on what is usual."""
STORY: dict[str, Any] = {
    "zh": "三十天的镇子",
    "en": "A town of thirty days",
    "fleet": {"name": "town", "seed": SEED},
    "begins": date(2026, 3, 30),
    "days": LEARNING_DAYS + DAYS,
    "holidays": [*(date(2026, 4, d) for d in (4, 5, 6)), *(date(2026, 5, d) for d in (1, 2, 3, 4, 5))],
    "workdays": [date(2026, 5, 9)],
    "incidents": [{"kind": "empty_city", "day": 40}, {"kind": "citywide_closure", "day": 47}],
    "random": {"per_kind": PER_KIND, "from_day": LEARNING_DAYS + 1},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Played:
    """A scenario with what the analyzer gets of it."""

    scenario: Scenario
    codes: Mapping[str, Mapping[int, str]]
    batches: Sequence[Batch]
    ends_us: Sequence[int]
    """Of each batch, through when it covers."""


def play(scenario: Scenario) -> Played:
    """Play a scenario through codecs and ingest."""
    joined = Joined(scenario, HOUR_US)
    batches = list(joined.batches())
    ends, at_us = [], scenario.from_us
    for batch in batches:
        at_us = max([at_us, *(c.through_us for c in batch.coverage)])
        ends.append(at_us)
    return Played(scenario=scenario, codes=joined.register.codes, batches=batches, ends_us=ends)


def analyse(played: Played, from_us: int, to_us: int) -> list[Alert]:
    """Let a new engine see everything from `from_us` through `to_us`; returns its alerts."""
    engine, found = Engine(), list[Finding]()
    register, *later = zip(played.batches, played.ends_us, strict=True)
    found += engine.apply(register[0])
    for batch, end_us in later:
        if from_us < end_us <= to_us:
            coverage = [replace(c, from_us=max(c.from_us, from_us)) for c in batch.coverage]
            found += engine.apply(replace(batch, coverage=coverage))
    return alerts_of(found, played.codes)


def truths_of(scenario: Scenario) -> list[Truth]:
    """Return the scenario's truth as scoring reads it."""
    return [msgspec.convert(asdict(t), Truth, strict=False) for t in scenario.plot.truths]


def measure(data: Path, say: Say) -> dict[str, float]:
    """Play the town and judge what is said about it. `data` is not read."""
    began = time.perf_counter()
    scenario = build("town", STORY)
    played = play(scenario)
    events = sum(len(b.rows) for b in played.batches)
    say(f"town: {len(scenario.town.document['sites'])} sites, {events} events played in {time.perf_counter() - began:.0f} s")
    return judge(played, say)


def judge(played: Played, say: Say) -> dict[str, float]:
    """Score every rule, and draw how false alarms and recall change with history."""
    scenario, sites = played.scenario, len(played.scenario.town.document["sites"])
    truths, judged_us = truths_of(scenario), scenario.from_us + LEARNING_DAYS * DAY_US
    until_us = judged_us + CURVE_DAYS * DAY_US
    figures: dict[str, float] = {}
    spans = [
        (played, judged_us - history * DAY_US, scenario.to_us if history == LEARNING_DAYS else until_us)
        for history in reversed(HISTORIES)
    ]
    with get_context("fork").Pool(min(PROCESSES, os.cpu_count() or 1), _inherit, (spans,)) as pool:
        for n, alerts in pool.imap_unordered(_analyse, range(len(spans))):
            history = (judged_us - spans[n][1]) // DAY_US
            scores, _ = score(truths, alerts, during=(judged_us, until_us))
            figures |= _curve(history, [s for s in scores if s.rule in LEARNED], sites)
            say(f"town: analysed with {history} days of history")
            if history == LEARNING_DAYS:
                whole = alerts
    scores, quiet = score(truths, whole, during=(judged_us, scenario.to_us))
    for s in scores:
        if s.incidents or s.alerts:
            figures |= _figures(s)
    for q in quiet:
        figures[f"sim.quiet.{q.incident}.incidents"], figures[f"sim.quiet.{q.incident}.disturbed"] = q.incidents, q.disturbed
    figures["sim.false_per_site_day"] = sum(s.false for s in scores) / sites / DAYS
    _draw(figures)
    return figures


_SPANS: list[tuple[Played, int, int]] = []


def _inherit(spans: list[tuple[Played, int, int]]) -> None:
    """Take over what the parent has in memory; a forked child copies nothing."""
    _SPANS[:] = spans


def _analyse(n: int) -> tuple[int, list[Alert]]:
    return n, analyse(*_SPANS[n])


def _figures(s: Score) -> dict[str, float]:
    """Return a rule's figures; one that said nothing has precision 0 where there was something to say."""
    name = f"sim.{s.rule}"
    figures = {f"{name}.incidents": s.incidents, f"{name}.false": s.false, f"{name}.precision": s.precision or 0.0}
    figures[f"{name}.recall"] = s.recall or 0.0
    return figures | ({f"{name}.delay_s": s.delay_s} if s.delay_s is not None else {})


def _curve(history: int, scores: Sequence[Score], sites: int) -> dict[str, float]:
    incidents, right = sum(s.incidents for s in scores), sum(s.right for s in scores)
    false = sum(s.false for s in scores)
    return {
        f"sim.curve.{history}.recall": sum(s.found for s in scores) / incidents,
        f"sim.curve.{history}.precision": right / (right + false) if right + false else 0.0,
        f"sim.curve.{history}.false_per_site_month": false / sites / CURVE_DAYS * 30,
    }


def _draw(figures: Mapping[str, float]) -> None:
    def values(name: str) -> list[float]:
        return [figures[f"sim.curve.{h}.{name}"] for h in HISTORIES]

    with plot("town") as axes:
        axes.plot(HISTORIES, values("recall"), "o-", label="recall")
        axes.plot(HISTORIES, values("precision"), "s-", label="precision")
        axes.set(xlabel="days of history", ylim=(0, 1.05))
        right = axes.twinx()
        right.plot(HISTORIES, values("false_per_site_month"), "^--", color="tab:red", label="false alarms")
        right.set(ylabel="false alarms per site and month", ylim=(0, None))
        axes.legend(loc="center right")


def section(figures: Mapping[str, float]) -> str:
    """Return the part's Markdown."""
    rules = [k.split(".")[1] for k in figures if k.endswith(".incidents") and not k.startswith("sim.quiet.")]
    columns = ("incidents", "false", "precision", "recall", "delay_s")
    rows: list[tuple[str | float, ...]] = [
        (f"`{rule}`", *(figures.get(f"sim.{rule}.{c}", float("nan")) for c in columns)) for rule in rules
    ]
    names = [k.split(".")[2] for k in figures if k.startswith("sim.quiet.") and k.endswith(".incidents")]
    quiet: list[tuple[str | float, ...]] = [
        (f"`{n}`", figures[f"sim.quiet.{n}.incidents"], figures[f"sim.quiet.{n}.disturbed"]) for n in names
    ]
    head = (
        f"## A simulated town\n\n{DAYS} evaluated days after {LEARNING_DAYS} days of history, 24 sites, {PER_KIND} incidents of"
        " every kind where there is room, people with habits, rain, two public holidays; played through the real codecs and the"
        f" real ingest. {figures.get('sim.false_per_site_day', 0):.2f} false alarms per site and day in all. Precision counts"
        " alerts that no incident explains as false; delay is the median from the incident's begin, in seconds.\n\n"
    )
    return (
        head
        + table(("rule", "incidents", "false alarms", "precision", "recall", "delay, s"), rows)
        + "\nIncidents that should raise nothing (*disturbed*: something false was raised there at the time):\n\n"
        + table(("incident", "number", "disturbed"), quiet)
        + f"\nRules that learn ({', '.join(LEARNED)}), in the first {CURVE_DAYS} evaluated days, by days of history:\n\n"
        + "![learning curve](images/quality-town.png)\n"
    )
