"""Years of ordinary counting: how often staff would be told something, and what calendar and gaps explain.

One decision: nothing in these data is labelled, so every alarm counts as false, though fairs and storms are among them.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np

from analytics.findings import Rule
from benchmarks.quality import baselines
from benchmarks.quality.counts import Counts, fremont, instants, melbourne
from benchmarks.quality.drive import Replay, public_holidays, replay
from benchmarks.quality.report import Say, plot, table
from gateway.clock import HOUR_US

DAY_US = 24 * HOUR_US
LEARNING_US = 28 * DAY_US
YEARS_US = 365 * DAY_US
"""What is replayed of each series: its last year."""
TOWNS = {"fremont": fremont, "melbourne": melbourne}


def measure(data: Path, say: Say) -> dict[str, float]:
    """Return quality.footfall.<town>.*"""
    figures: dict[str, float] = {}
    for name, load in TOWNS.items():
        counts = _last(load(data), YEARS_US)
        say(f"footfall: {name}, {len(counts.end_us)} hours, {len(counts.counters)} counters")
        seen = replay(counts)
        figures |= {f"quality.footfall.{name}.{k}": v for k, v in (_alarms(seen) | _explained(seen)).items()}
        _draw(seen)
    return figures


def section(figures: Mapping[str, float]) -> str:
    """Return the Markdown."""
    rows: list[tuple[str | float, ...]] = []
    explained: list[tuple[str | float, ...]] = []
    for town in TOWNS:
        f = {k.removeprefix(f"quality.footfall.{town}."): v for k, v in figures.items()}
        for method, name in {"": "unusual_footfall", **{f"{m}.": n for m, n in baselines.NAMES.items()}}.items():
            rows.append((town, name, f[f"{method}high_per_month"], f[f"{method}low_per_month"], f[f"{method}per_month"]))
        explained.append((town, f["holidays"], f["holidays_explained"], f["gaps"], f["gaps_explained"], f["device_per_month"]))
    return f"""## Ordinary years (footfall)

Alarms per counter and month on hourly counts after four weeks of learning. Nothing is labelled: fairs and storms count as false.
All methods are set for about one false alarm per counter and month under their own model; none keeps it, because real days have
heavier tails than any of the models, and in part because something did happen.

{table(("", "", "Busy", "Empty", "Together"), rows)}
Holidays explained: public holidays, times counters, without an alarm. Gaps explained: hours without counts that began no
“unusually empty” and, where longer than two periods, were reported as a device that is offline.

{table(("", "Holidays", "Explained", "Gaps", "Explained", "Device findings per counter and month"), explained)}
![Alarms per month](images/quality-footfall-melbourne.png)
"""


def _last(counts: Counts, span_us: int) -> Counts:
    keep = counts.end_us > counts.end_us[-1] - span_us
    return replace(counts, end_us=counts.end_us[keep], counts=counts.counts[keep])


def _alarms(seen: Replay) -> dict[str, float]:
    counts = seen.counts
    begin = int(counts.end_us[0]) + LEARNING_US
    live = (~np.isnan(counts.counts[counts.end_us >= begin])).sum()
    months = float(live) * counts.period_us / (30 * DAY_US)
    said = [e for e in seen.of(Rule.UNUSUAL_FOOTFALL) if e.at_us >= begin]
    high = sum(e.code == "footfall_high" for e in said)
    figures = {"high_per_month": high / months, "low_per_month": (len(said) - high) / months, "per_month": len(said) / months}
    device = [e for e in seen.of(Rule.COUNTER_BLIND, Rule.STUCK, Rule.DEVICE_SILENT) if e.at_us >= begin]
    figures["device_per_month"] = len(device) / months
    for method in baselines.METHODS:
        z = baselines.scores(counts, method)
        z[counts.end_us < begin] = np.nan
        busy, empty = (
            sum(len(baselines.alarms(z[:, k], sign * baselines.limit(counts), gap=3)) for k in range(z.shape[1])) / months
            for sign in (1, -1)
        )
        figures |= {f"{method}.high_per_month": busy, f"{method}.low_per_month": empty}
        figures[f"{method}.per_month"] = busy + empty
    return figures


def _explained(seen: Replay) -> dict[str, float]:
    counts = seen.counts
    begin = int(counts.end_us[0]) + LEARNING_US
    days = [datetime(d.year, d.month, d.day) for d in public_holidays(counts)]  # noqa: DTZ001 - local time of the data
    starts = [int(t) for t in instants(days, counts.zone) if t >= begin]
    said = seen.of(Rule.UNUSUAL_FOOTFALL)
    pairs = [(t, k) for t in starts for k in range(len(counts.counters))]
    calm = sum(not any(e.counter == k and t <= e.at_us < t + DAY_US for e in said) for t, k in pairs)
    gaps = explained = 0
    for k in range(len(counts.counters)):
        missing = np.flatnonzero(np.isnan(counts.counts[:, k]) & (counts.end_us >= begin))
        if not len(missing):
            continue
        low = [e for e in said if e.counter == k and e.code == "footfall_low"]
        offline = seen.of(Rule.DEVICE_OFFLINE, Rule.MONITORING_GAP, counter=k)
        for part in np.split(missing, np.flatnonzero(np.diff(missing) > 1) + 1):
            span = int(counts.end_us[part[0]]) - counts.period_us, int(counts.end_us[part[-1]]) + counts.period_us
            told = any(e.overlaps(span) for e in offline) or span[1] - span[0] <= 4 * counts.period_us
            gaps += 1
            explained += told and not any(span[0] <= e.at_us <= span[1] for e in low)
    return {
        "holidays": len(pairs),
        "holidays_explained": calm / max(len(pairs), 1),
        "gaps": gaps,
        "gaps_explained": explained / gaps if gaps else float("nan"),
    }


def _draw(seen: Replay) -> None:
    counts = seen.counts
    begin = int(counts.end_us[0])
    months = int((counts.end_us[-1] - begin) // (30 * DAY_US)) + 1
    with plot(f"footfall-{counts.name}", height=2.0) as axes:
        for code, colour, label in (("footfall_high", "tab:orange", "busy"), ("footfall_low", "tab:blue", "empty")):
            at = [(e.at_us - begin) // (30 * DAY_US) for e in seen.of(Rule.UNUSUAL_FOOTFALL) if e.code == code]
            per = np.bincount(np.array(at, np.int64), minlength=months)[:months] / len(counts.counters)
            axes.plot(range(months), per, color=colour, label=label, drawstyle="steps-mid")
        axes.set_xlabel(f"months ({counts.name})")
        axes.set_ylabel("alarms per counter")
        axes.legend()
