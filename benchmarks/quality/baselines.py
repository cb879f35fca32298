"""Well-known detectors of unusual counts, to compare with: each says which periods are unusual, knowing the past only.

* Quasi-Poisson limits after Farrington et al. (J. R. Stat. Soc. A 159, 1996) with the threshold of Noufaily et al. (Stat. Med.
  32, 2013): mean and dispersion from the same time of the week in past weeks, past exceedances down-weighted, limit at a
  quantile of the negative binomial that has this mean and dispersion.
* Seasonal EWMA: mean and deviation of each time of the week, exponentially weighted, alarm beyond a number of deviations.
* Seasonal hybrid ESD after Vallis, Hochenbaum and Kejariwal (HotCloud 2014): residuals from the median of the time of the week,
  judged by median and MAD of a moving window of four weeks, here with a one-sided test for each new period.

One decision: all have the false-alarm rate that our rule is set for (one per counter and month, both sides), under their own
model, so that what is compared is the model and not the threshold.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from statistics import NormalDist
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from benchmarks.quality.counts import Counts
from gateway.clock import HOUR_US, SECOND_US

Floats = NDArray[np.float64]
MONTH_US = 30 * 24 * HOUR_US
WEEKS = 12
"""Weeks that the quasi-Poisson limits look back."""


def scores(counts: Counts, method: str) -> Floats:
    """Return a normal score per period and counter (n, counters), NaN where nothing is known; `method` is one of METHODS."""
    week = _time_of_week(counts)
    made = [METHODS[method](counts.counts[:, k], week, counts.period_us) for k in range(counts.counts.shape[1])]
    return np.stack(made, axis=1)


def limit(counts: Counts) -> float:
    """Return the score beyond which one period a month lies by chance, each side half of it."""
    return -NormalDist().inv_cdf(0.5 * counts.period_us / MONTH_US)


def alarms(z: Floats, beyond: float, gap: int) -> list[tuple[int, int]]:
    """Return [first, last] of each alarm of one counter: scores beyond the limit less than `gap` periods apart are one."""
    at = np.flatnonzero(np.nan_to_num(z) * np.sign(beyond) > abs(beyond))
    if not len(at):
        return []
    cut = np.flatnonzero(np.diff(at) > gap) + 1
    return [(int(part[0]), int(part[-1])) for part in np.split(at, cut)]


def _time_of_week(counts: Counts) -> NDArray[np.int64]:
    """Number the periods of the local week."""
    zone, minutes = ZoneInfo(counts.zone), counts.period_us // SECOND_US // 60
    begin = [datetime.fromtimestamp(int(t - counts.period_us) // SECOND_US, zone) for t in counts.end_us]
    return np.array([(t.weekday() * 1440 + t.hour * 60 + t.minute) // minutes for t in begin], np.int64)


def _farrington(x: Floats, week: NDArray[np.int64], _: int) -> Floats:
    z = np.full(len(x), np.nan)
    for slot in np.unique(week):
        at = np.flatnonzero(week == slot)
        for n in range(4, len(at)):
            past = x[at[max(0, n - WEEKS) : n]]
            past = past[~np.isnan(past)]
            if len(past) >= 4:
                z[at[n]] = _quasi_poisson(x[at[n]], past)
    return z


def _quasi_poisson(x: float, past: Floats) -> float:
    weight = np.ones(len(past))
    for _ in range(2):  # once as they are, once without what was unusual itself
        mean = max(float((weight * past).sum() / weight.sum()), 0.1)
        phi = max(float((weight * (past - mean) ** 2).sum() / mean / max(weight.sum() - 1, 1)), 1.0)
        residual = 1.5 * (np.cbrt(past**2) - mean ** (2 / 3)) / np.sqrt(phi) / mean ** (1 / 6)  # Anscombe residuals
        weight = np.where(residual > 2.58, residual.clip(1e-9) ** -2.0, 1.0)
    sd = np.sqrt(phi * mean + phi * mean / len(past))
    return float(1.5 * (np.cbrt(max(x, 0.0) ** 2) - mean ** (2 / 3)) * mean ** (1 / 3) / sd)


def _ewma(x: Floats, week: NDArray[np.int64], _: int) -> Floats:
    z = np.full(len(x), np.nan)
    mean, variance, seen = (np.zeros(int(week.max()) + 1) for _ in range(3))
    for n, slot in enumerate(week.tolist()):
        if np.isnan(x[n]):
            continue
        if seen[slot] >= 4:
            z[n] = (x[n] - mean[slot]) / np.sqrt(max(variance[slot], mean[slot], 1.0))
        gain = max(1.0 / (seen[slot] + 1.0), 0.1)
        error = x[n] - mean[slot]
        mean[slot] += gain * error
        variance[slot] = (1.0 - gain) * (variance[slot] + gain * error * error)
        seen[slot] += 1
    return z


def _hybrid_esd(x: Floats, week: NDArray[np.int64], period_us: int) -> Floats:
    residual = np.full(len(x), np.nan)
    for slot in np.unique(week):
        at = np.flatnonzero(week == slot)
        for n in range(4, len(at)):
            past = x[at[max(0, n - 8) : n]]
            if (~np.isnan(past)).sum() >= 3:
                residual[at[n]] = x[at[n]] - np.nanmedian(past)
    z, day, month = np.full(len(x), np.nan), int(24 * HOUR_US // period_us), int(28 * 24 * HOUR_US // period_us)
    for begin in range(0, len(x), day):
        past = residual[max(0, begin - month) : begin]
        past = past[~np.isnan(past)]
        if len(past) >= 7 * day // 2:
            centre = np.median(past)
            scale = max(1.4826 * float(np.median(np.abs(past - centre))), 1.0)
            z[begin : begin + day] = (residual[begin : begin + day] - centre) / scale
    return z


METHODS: Mapping[str, Callable[[Floats, NDArray[np.int64], int], Floats]] = {
    "farrington": _farrington,
    "ewma": _ewma,
    "esd": _hybrid_esd,
}
NAMES = {"farrington": "Farrington/Noufaily", "ewma": "Seasonal EWMA", "esd": "Seasonal hybrid ESD"}
