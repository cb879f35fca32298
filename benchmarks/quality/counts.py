"""Readers of the counting data sets: one shape for all, so that what is done with them is written once.

One decision: a series is regular in local wall-clock time as the files are, and becomes instants only where it is replayed:
the hour that a clock change repeats or skips is then the file's affair, as it is with real devices.
"""

import csv
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.report import need
from gateway.clock import SECOND_US

Span = tuple[int, int]
"""[from, to) in microseconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Counters of one town.

    end_us: int64 (n,), end of each period, increasing. counts: float64 (n, counters), NaN where the sensor sent nothing.
    period_us: length of a period. sites: for each counter the site it stands at. country, region: whose holidays.
    """

    name: str
    zone: str
    country: str
    region: str | None
    period_us: int
    counters: list[str]
    sites: list[str]
    end_us: NDArray[np.int64]
    counts: NDArray[np.float64]


def dodgers(data: Path) -> Counts:
    """5-minute counts of a motorway ramp near Dodger Stadium, Los Angeles, April to October 2005 (UCI)."""
    path = need(data / "dodgers" / "dodgers.csv", "5-minute counts with columns t, count")
    rows = [(row["t"], float(row["count"])) for row in _read(path)]
    times, values = [datetime.fromisoformat(t) for t, _ in rows], np.array([[v] for _, v in rows])
    values[values < 0] = np.nan
    return _series("dodgers", "America/Los_Angeles", ("US", "CA"), 5, {"ramp": "ramp"}, times, values)


def games(data: Path) -> list[Span]:
    """Games at the stadium, from the first pitch to the end."""
    return _spans(need(data / "dodgers" / "games_from_labels.csv", "columns start, end"), "America/Los_Angeles", 0)


def outages(data: Path) -> list[Span]:
    """Times without counts."""
    return _spans(need(data / "dodgers" / "sensor_outages.csv", "columns start, end"), "America/Los_Angeles", 0)


def auckland(data: Path) -> Counts:
    """Hourly pedestrian counts of the city centre, 2019 and 2020 (Heart of the City)."""
    path = need(data / "auckland" / "hourly_counts_2019_2020.csv", "hourly counts, one column per counter")
    rows = list(_read(path))
    counters = [c for c in rows[0] if c not in ("date", "hour", "year")]
    times = [_hour(row) for row in rows]
    values = np.array([[float(row[c]) if row[c] else np.nan for c in counters] for row in rows])
    return _series("auckland", "Pacific/Auckland", ("NZ", "AUK"), 60, {c: c for c in counters}, times, values)


def dead_runs(data: Path) -> list[tuple[str, Span]]:
    """Times in which a counter of Auckland counted nothing while the others did."""
    path = need(data / "auckland" / "dead_sensor_runs_2019_2020.csv", "columns sensor, start, end")
    return [(row["sensor"], span) for row, span in zip(_read(path), _spans(path, "Pacific/Auckland", 60), strict=True)]


def fremont(data: Path) -> Counts:
    """Hourly bicycle counts on the two sidewalks of the Fremont Bridge, Seattle, 2012 to 2018."""
    path = need(data / "fremont" / "FremontBridge.csv", "hourly counts, columns Date, East, West")
    rows = list(_read(path))
    names = [c for c in rows[0] if c != "Date"]
    times = [datetime.strptime(row["Date"], "%m/%d/%Y %I:%M:%S %p") for row in rows]  # noqa: DTZ007 - the zone follows
    values = np.array([[float(row[c]) if row[c] else np.nan for c in names] for row in rows])
    return _series("fremont", "America/Los_Angeles", ("US", "WA"), 60, dict.fromkeys(names, "bridge"), times, values)


def melbourne(data: Path) -> Counts:
    """Hourly pedestrian counts of the city centre of Melbourne, 2016 and 2017."""
    path = need(data / "melbourne" / "hourly_peds.csv", "columns sensor, t_local, count")
    rows = [(row["sensor"], datetime.fromisoformat(row["t_local"]), row["count"]) for row in _read(path)]
    names = sorted({sensor for sensor, _, _ in rows})
    times = sorted({t for _, t, _ in rows})
    column, line = {s: i for i, s in enumerate(names)}, {t: i for i, t in enumerate(times)}
    values = np.full((len(times), len(names)), np.nan)
    for sensor, t, count in rows:
        values[line[t], column[sensor]] = float(count) if count else np.nan
    return _series("melbourne", "Australia/Melbourne", ("AU", "VIC"), 60, {n: n for n in names}, times, values)


def instants(times: list[datetime], zone: str) -> NDArray[np.int64]:
    """Return local times as microseconds since 1970; of times written twice in the night with 25 hours, the second is later."""
    info, seen, out = ZoneInfo(zone), set(), np.zeros(len(times), np.int64)
    for i, t in enumerate(times):
        out[i] = int(t.replace(tzinfo=info, fold=int(t in seen)).timestamp()) * SECOND_US
        seen.add(t)
    return out


def _series(
    name: str,
    zone: str,
    holidays: tuple[str, str],
    minutes: int,
    sites: dict[str, str],
    times: list[datetime],
    values: NDArray[np.float64],
) -> Counts:
    period_us = minutes * 60 * SECOND_US
    end_us = instants(times, zone) + period_us
    end_us, first = np.unique(end_us, return_index=True)  # a skipped local hour falls onto the next
    return Counts(
        name=name,
        zone=zone,
        country=holidays[0],
        region=holidays[1],
        period_us=period_us,
        counters=list(sites),
        sites=list(sites.values()),
        end_us=end_us,
        counts=values[first],
    )


def _hour(row: dict[str, str]) -> datetime:
    """A day of the file runs from 6:00 to 5:59: its last six hours belong to the next date (fireworks show it)."""
    hour = int(row["hour"].split(":")[0])
    return datetime.fromisoformat(row["date"]) + timedelta(hours=hour, days=int(hour < 6))


def _spans(path: Path, zone: str, more_min: int) -> list[Span]:
    """Read columns start and end; `end` is `more_min` minutes early where it names the last period's begin."""
    rows = list(_read(path))
    begin = instants([datetime.fromisoformat(row["start"]) for row in rows], zone)
    end = instants([datetime.fromisoformat(row["end"]) for row in rows], zone) + more_min * 60 * SECOND_US
    return list(zip(begin.tolist(), end.tolist(), strict=True))


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as lines:
        return list(csv.DictReader(lines))
