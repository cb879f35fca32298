"""A city's counters: some die, and then the city empties for a lockdown.

One decision: a dead counter counts as found only by a finding about the device; called "unusually empty" it counts as missed.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

import numpy as np

from analytics.findings import Rule
from benchmarks.quality.counts import Span, auckland, dead_runs, instants
from benchmarks.quality.drive import Replay, replay
from benchmarks.quality.report import Say, plot, table
from gateway.clock import HOUR_US

LOCKDOWN = datetime(2020, 3, 26)  # noqa: DTZ001 - local time of the data
WEEKS_US = 5 * 7 * 24 * HOUR_US
FAULTS = (Rule.COUNTER_BLIND, Rule.DEVICE_OFFLINE, Rule.DEVICE_SILENT, Rule.STUCK, Rule.MONITORING_GAP)


def measure(data: Path, say: Say) -> dict[str, float]:
    """Return quality.auckland.*"""
    counts, dead = auckland(data), dead_runs(data)
    say(f"auckland: {len(counts.end_us)} hours, {len(counts.counters)} counters, {len(dead)} dead runs")
    seen = replay(counts)
    lock = int(instants([LOCKDOWN], counts.zone)[0])
    figures = _dead(seen, dead) | _lockdown(seen, dead, lock)
    _draw(seen, lock)
    return {f"quality.auckland.{name}": value for name, value in figures.items()}


def section(figures: Mapping[str, float]) -> str:
    """Return the Markdown."""
    f = {k.removeprefix("quality.auckland."): v for k, v in figures.items()}
    rows: list[tuple[str | float, ...]] = [
        ("Dead runs found within 24 h of their begin", f"{f['dead_found']:.0%} of {f['dead_runs']:.0f}"),
        ("Hours to find one: median, longest", f"{f['dead_hours_median']:.1f}, {f['dead_hours_max']:.1f}"),
        ("Dead counters called “unusually empty”", f["dead_called_empty"]),
        ("Device findings of living counters in the five weeks after the lockdown", f["lockdown_false_faults"]),
        ("Counters with “unusually empty” within 2 days of the lockdown", f"{f['lockdown_reported']:.0%}"),
        ("Hours until the first of them", f["lockdown_hours_first"]),
        ("Device findings of living counters, per counter and month, both years", f["false_faults_per_month"]),
        ("Unusually busy or empty, per counter and month, both years", f["alarms_per_month"]),
    ]
    return f"""## Dead counters and a lockdown (auckland)

Hourly counts of {f["counters"]:.0f} counters in a city centre over two years.

{table(("", ""), rows)}
![All counters around the lockdown](images/quality-auckland.png)
"""


def _dead(seen: Replay, dead: list[tuple[str, Span]]) -> dict[str, float]:
    hours, empty = [], 0
    for name, span in dead:
        counter = seen.counts.counters.index(name)
        hits = [e.at_us for e in seen.of(Rule.COUNTER_BLIND, counter=counter) if e.overlaps((span[0], span[1]))]
        hours.append((min(hits) - span[0]) / HOUR_US if hits else np.inf)
        low = [e for e in seen.of(Rule.UNUSUAL_FOOTFALL, counter=counter) if e.code == "footfall_low"]
        empty += any(span[0] + HOUR_US < e.at_us < span[1] for e in low)
    found = [h for h in hours if h <= 24]
    return {
        "counters": len(seen.counts.counters),
        "dead_runs": len(dead),
        "dead_found": len(found) / len(dead),
        "dead_hours_median": float(np.median(hours)),
        "dead_hours_max": float(np.max(hours)),
        "dead_called_empty": empty,
    }


def _lockdown(seen: Replay, dead: list[tuple[str, Span]], lock: int) -> dict[str, float]:
    counts = seen.counts
    sick = {counts.counters.index(name) for name, _ in dead}
    silent = set(np.flatnonzero(np.isnan(counts.counts).all(axis=0)).tolist())
    zero_now = {name for name, (a, b) in dead if a < lock + WEEKS_US and b > lock}
    living = [k for k, name in enumerate(counts.counters) if name not in zero_now and k not in silent]
    faults = [e for e in seen.of(*FAULTS) if e.counter in living and lock <= e.at_us < lock + WEEKS_US]
    first: dict[int, int] = {}
    for e in seen.of(Rule.UNUSUAL_FOOTFALL):
        until = e.end_us or int(counts.end_us[-1])
        if e.code == "footfall_low" and e.counter in living and e.at_us < lock + 48 * HOUR_US and until > lock:
            first.setdefault(e.counter, max(e.at_us, lock))
    well = [k for k in living if k not in sick]
    months = len(well) * (counts.end_us[-1] - counts.end_us[0]) / (30 * 24 * HOUR_US)
    return {
        "lockdown_false_faults": len(faults),
        "lockdown_reported": len(first) / len(living),
        "lockdown_hours_first": (min(first.values()) - lock) / HOUR_US if first else np.inf,
        "false_faults_per_month": sum(e.counter in well for e in seen.of(*FAULTS)) / months,
        "alarms_per_month": sum(e.counter in well for e in seen.of(Rule.UNUSUAL_FOOTFALL)) / months,
    }


def _draw(seen: Replay, lock: int) -> None:
    counts = seen.counts
    a, b = np.searchsorted(counts.end_us, [lock - 14 * 24 * HOUR_US, lock + 28 * 24 * HOUR_US])
    day = (counts.end_us[a:b] - lock) / (24 * HOUR_US)
    with plot("auckland") as axes:
        usual = np.median(np.nan_to_num(counts.counts[max(0, a - 1344) : a]), axis=0)
        axes.plot(day, counts.counts[a:b] / np.maximum(usual, 1), color="0.6", linewidth=0.3)
        for rules, colour, label, height in (
            ((Rule.UNUSUAL_FOOTFALL,), "tab:orange", "unusually empty raised", 7.0),
            ((Rule.COUNTER_BLIND,), "tab:red", "counter blind raised", 6.5),
        ):
            at = [
                e.at_us
                for e in seen.of(*rules)
                if e.code != "footfall_high" and counts.end_us[a] < e.at_us < counts.end_us[b - 1]
            ]
            axes.plot([(t - lock) / (24 * HOUR_US) for t in at], [height] * len(at), "|", color=colour, label=label)
        axes.set_ylim(0, 8)
        axes.set_xlabel("days from the lockdown")
        axes.set_ylabel("of its median")
        axes.legend(loc="upper right")
