"""Traffic near a stadium: surges after games, and a sensor that is often away.

One decision: a surge belongs to a game from half an hour before its end to three hours after; all else that is called unusually
busy counts as false, though some of it is real traffic.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from analytics.findings import Rule
from benchmarks.quality import baselines
from benchmarks.quality.counts import Counts, Span, dodgers, games, outages
from benchmarks.quality.drive import Episode, Replay, replay
from benchmarks.quality.report import Say, plot, table
from gateway.clock import HOUR_US, MINUTE_US

LEARNING_US = 14 * 24 * HOUR_US
BEFORE_US, AFTER_US = 30 * MINUTE_US, 3 * HOUR_US
NAMES = {"ours": "unusual_footfall", **baselines.NAMES}


def measure(data: Path, say: Say) -> dict[str, float]:
    """Return quality.dodgers.*; games in the first 14 days are counted apart, for nothing is judged then."""
    counts, played = dodgers(data), games(data)
    holes = outages(data)
    say(f"dodgers: {len(counts.end_us)} periods, {len(played)} games, {len(holes)} outages")
    seen = replay(counts)
    high = [e for e in seen.of(Rule.UNUSUAL_FOOTFALL) if e.code == "footfall_high"]
    figures = _games("", counts, played, [(e.at_us, e.end_us or int(counts.end_us[-1])) for e in high])
    for method in baselines.METHODS:
        z = baselines.scores(counts, method)[:, 0]
        found = baselines.alarms(z, baselines.limit(counts), gap=12)
        spans = [(int(counts.end_us[a]), int(counts.end_us[b])) for a, b in found]
        figures |= _games(f"{method}.", counts, played, spans)
    figures |= _outages(seen, holes)
    low = [e for e in seen.of(Rule.UNUSUAL_FOOTFALL) if e.code == "footfall_low"]
    figures["low_alarms_per_day"] = len(low) / _days(counts)
    _draw(seen, played, high)
    return {f"quality.dodgers.{name}": value for name, value in figures.items()}


def section(figures: Mapping[str, float]) -> str:
    """Return the Markdown."""
    f = {k.removeprefix("quality.dodgers."): v for k, v in figures.items()}
    rows: list[tuple[str | float, ...]] = []
    for method, name in NAMES.items():
        p = "" if method == "ours" else f"{method}."
        rows.append((name, f[f"{p}found"], f[f"{p}found_late"], f[f"{p}alarms_per_day"], f[f"{p}delay_min"]))
    return f"""## Surges after games (dodgers)

5-minute counts of a motorway ramp near a stadium, {f["games"]:.0f} games. Found: share of all games, those of the first 14 days
included, in which nothing is judged; after them: share of the other {f["games_judged"]:.0f}. Alarms outside: “unusually busy”
per day with no game near. Delay: median minutes from the end of the game (a surge peaks about 45 minutes after it).

{table(("", "Found", "After 14 days", "Alarms a day outside", "Delay, min"), rows)}
Of {f["outages"]:.0f} outages, those longer than two missed messages number {f["outages_long"]:.0f}; {f["outages_found"]:.0%} of
these were reported as a device that is offline, and {f["outages_not_empty"]:.0%} of all were never called “unusually empty”.

![A week of counts and what was said of it](images/quality-dodgers.png)
"""


def _games(prefix: str, counts: Counts, played: list[Span], alarms: list[Span]) -> dict[str, float]:
    begin = int(counts.end_us[0]) + LEARNING_US
    hits = [[a for a in alarms if a[0] <= end + AFTER_US and a[1] >= end - BEFORE_US] for _, end in played]
    late = [h for h, (_, end) in zip(hits, played, strict=True) if end >= begin]
    near = [(start - HOUR_US, end + AFTER_US) for start, end in played]
    outside = [a for a in alarms if not any(s <= a[0] <= e or (s <= a[1] and a[0] <= e) for s, e in near)]
    delays = [(h[0][0] - end) / MINUTE_US for h, (_, end) in zip(hits, played, strict=True) if h]
    return {
        f"{prefix}games": len(played),
        f"{prefix}found": sum(map(bool, hits)) / len(played),
        f"{prefix}games_judged": len(late),
        f"{prefix}found_late": sum(map(bool, late)) / len(late),
        f"{prefix}alarms_per_day": len(outside) / _days(counts),
        f"{prefix}delay_min": float(np.median(delays)) if delays else float("nan"),
    }


def _outages(seen: Replay, holes: list[Span]) -> dict[str, float]:
    said = seen.of(Rule.DEVICE_OFFLINE, Rule.MONITORING_GAP)
    low = [e for e in seen.of(Rule.UNUSUAL_FOOTFALL) if e.code == "footfall_low"]
    long = [h for h in holes if h[1] - h[0] > 2 * seen.counts.period_us]
    slack = seen.counts.period_us
    return {
        "outages": len(holes),
        "outages_long": len(long),
        "outages_found": sum(any(e.overlaps((a, b + slack)) for e in said) for a, b in long) / max(len(long), 1),
        "outages_not_empty": 1.0 - sum(any(_rests_on(e, h) for e in low) for h in holes) / max(len(holes), 1),
    }


def _rests_on(e: Episode, hole: Span) -> bool:
    """Tell whether an "unusually empty" was raised in an outage."""
    return hole[0] <= e.at_us <= hole[1]


def _days(counts: Counts) -> float:
    return float((counts.end_us[-1] - counts.end_us[0] - LEARNING_US) / (24 * HOUR_US))


def _draw(seen: Replay, played: list[Span], high: list[Episode]) -> None:
    counts = seen.counts
    middle = played[len(played) // 2][0]
    a, b = np.searchsorted(counts.end_us, [middle - 24 * HOUR_US, middle + 6 * 24 * HOUR_US])
    day = (counts.end_us[a:b] - counts.end_us[a]) / (24 * HOUR_US)
    with plot("dodgers") as axes:
        axes.plot(day, counts.counts[a:b, 0], color="0.4", linewidth=0.7)
        for spans, colour, label in (
            (played, "tab:blue", "game"),
            ([(e.at_us, e.end_us or e.at_us) for e in high], "tab:orange", "unusually busy"),
        ):
            for n, (s, e) in enumerate(x for x in spans if counts.end_us[a] < x[0] < counts.end_us[b - 1]):
                ends = [(t - counts.end_us[a]) / (24 * HOUR_US) for t in (s, e)]
                axes.axvspan(*ends, color=colour, alpha=0.35, linewidth=0, label=label if n == 0 else None)
        axes.set_xlabel("days")
        axes.set_ylabel("per 5 min")
        axes.legend(loc="upper right")
