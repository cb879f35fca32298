"""What is usual at a place at this time of the week, learned from its own past, and how sure that is.

One decision: a quarter of an hour is learned a day after it was counted, when it leaves the ring of the last day: until then
it can still be found blind, excused or part of something unusual, and then it teaches little or nothing.

    count ─→ ring (96 quarters) ─ a day later ─→ class shape (workday, Saturday, Sunday: 96 quarters)
                                              ├→ ratio of each day type to its class (12 times two hours)
                                              └→ level (days) ── shape x ratio x level = usual

A usual count is the mean of a negative binomial whose relative variance `spread` is learned for each length of time.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Rows = NDArray[np.void]

QUARTERS = 96
UNSEEN = 0xFFFF
"""Ring: not seen, or excused. Shape: never learned."""
DOUBTED = 0x8000
"""Ring, added to the count: part of something unusual that was reported."""
MOST = 0x7FFE
"""Largest count of a quarter that the ring tells from a larger one."""
SCALE = 256.0
"""Shapes are square roots in 1/256: as fine as the noise of a count needs, from 0 to 65,000."""
SPANS = np.array([1, 4, 16, 96])
"""Lengths of time that are judged, in quarters."""
CLASS = np.array([0, 0, 0, 0, 0, 1, 2, 2])
"""Class of each day type: workday, Saturday, Sunday and public holiday."""
BLOCKS = 6
"""Parts of the day that differ in their spread."""

FIRST_SPREAD = 0.3
SPREAD = [
    ("spread", "f2", (2, BLOCKS, len(SPANS))),
    ("learned", "u2", (8,)),  # quarters learned, per day type
    ("kinds", "i1", (2,)),  # day type of the local day that the last quarter was in, and of the one before
]
"""What `spread`, `spread_out`, `days` and `doubtfulness` need of a profile."""
PROFILE = np.dtype(
    [
        ("id", "i4"),
        ("shape", "u2", (3, QUARTERS)),
        ("ratio", "f2", (8, 12)),
        ("ring", "u2", (QUARTERS,)),
        *SPREAD,
        ("slot", "i1"),  # the last quarter of the day
        ("counted", "f4"),  # of the last days, fading
        ("usual", "f4"),  # what shape and ratio say of the same quarters
    ]
)
BLANK = {"shape": UNSEEN, "ratio": 1.0, "ring": UNSEEN, "spread": FIRST_SPREAD, "kinds": -1, "slot": -1}

LEVEL_DAYS = 4.0
"""Half-life of the level: it follows weather, season and a new normal, not a single day. What was unusual counts in full, yet
at most twice as usual, so that weeks of lockdown are taken over and a fair is not."""
LEVEL_PRIOR = 20.0
"""Counts that hold the level at 1 while little was counted."""
LONGEST = np.array([30.0, 10.0, 10.0])
"""Days of a class that its shape averages over: about six workweeks, ten weekends."""
RATIO_DAYS = 8.0
DOUBT = 0.2
"""Weight of a quarter that was reported as unusual: a single one moves little, a new normal is taken over within weeks."""
FEW_DAYS = 0.25
"""Relative variance of what one single day of a class says of the next ones; falls with the square of their number."""
STRANGE_DAY = np.array([0.02] * 5 + [0.0, 0.01, 0.4])
"""Relative variance between a day type not seen before and its class: a public holiday may be anything."""
CLIP = 1.0
"""Standard deviations beyond which a quarter adds no more to the spread, so that every second evening may be unusual."""
CLIPPED = 0.516
"""Mean square of a standard normal clipped at `CLIP`."""
CALMER = 1.5
"""Multiple of the spread of the week's calmer parts that a part of a workday can have, twice that at weekends: a hall with an
event on every second evening is unusual on each of them."""
FAR = 3.0
"""Standard deviations from usual beyond which a quarter teaches as little as one that was reported."""

ANYTHING = 1.4
"""Relative variance of what is general for a kind of site: the next one may have a third of it, or three times as many."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What was counted and what is usual, per row and span (n, len(SPANS)).

    mean NaN: nothing is known. spread: relative variance of the count beyond Poisson's, including how unsure `mean` is.
    guessed (n,): `mean` is what is general for the kind of site, for too little is known of the place itself.
    """

    counted: Floats
    mean: Floats
    spread: Floats
    z: Floats
    guessed: NDArray[np.bool_]


def turn(profile: Rows, rows: Ints, slot: Ints, kind: Ints) -> None:
    """Begin a quarter: learn the one that was counted a day ago in its place. slot, kind: (n,) local quarter and day type."""
    new_day = slot < profile["slot"][rows]
    fresh = profile["slot"][rows] < 0
    kinds = profile["kinds"]
    kinds[rows, 1] = np.where(fresh, kind, np.where(new_day, kinds[rows, 0], kinds[rows, 1]))
    kinds[rows, 0] = kind
    profile["slot"][rows] = slot
    old = profile["ring"][rows, slot]
    known = old != UNSEEN
    if known.any():
        weight = np.where(old[known] >= DOUBTED, DOUBT, 1.0)
        counted = (old[known] & np.uint16(DOUBTED - 1)).astype(np.float64)
        _learn(profile, rows[known], slot[known], kinds[rows[known], 1].astype(np.int64), counted, weight)


def put(profile: Rows, rows: Ints, slot: Ints, counted: Ints, seen: NDArray[np.bool_]) -> None:
    """Keep what was counted in the quarter that ends; not seen (or excused): nothing is known of it."""
    profile["ring"][rows, slot] = np.where(seen, np.minimum(counted, MOST), UNSEEN)


def doubt(profile: Rows, rows: Ints, slot: Ints, quarters: Ints) -> None:
    """The last `quarters` (n,) through `slot` were unusual: they shall teach little."""
    back = np.arange(QUARTERS)
    for i in range(len(rows)):
        at = (slot[i] - back[: quarters[i]]) % QUARTERS
        ring = profile["ring"][rows[i]]
        ring[at] = np.where(ring[at] == UNSEEN, UNSEEN, ring[at] | DOUBTED)


def forget(profile: Rows, rows: Ints, slot: Ints, quarters: Ints) -> None:
    """The last `quarters` (n,) through `slot` were blind after all: they teach nothing."""
    back = np.arange(QUARTERS)
    for i in range(len(rows)):
        profile["ring"][rows[i], (slot[i] - back[: quarters[i]]) % QUARTERS] = UNSEEN


def usual(profile: Rows, rows: Ints, slot: Ints, span: int, *, told: bool = True) -> tuple[Floats, Floats]:
    """Return what was counted and what is usual in each of the last `span` quarters, newest first: two (n, span); NaN unknown.

    told: what was part of something unusual that was reported counts, too.
    """
    at = (slot[:, None] - np.arange(span)) % QUARTERS
    kind = profile["kinds"][rows][np.arange(len(rows))[:, None], (at > slot[:, None]).astype(int)].astype(np.int64)
    ring = profile["ring"][rows[:, None], at]
    unknown = (ring == UNSEEN) if told else (ring >= DOUBTED)
    counted = np.where(unknown, np.nan, (ring & np.uint16(DOUBTED - 1)).astype(np.float64))
    return counted, _mean(profile, rows[:, None], at, kind) * level(profile, rows)[:, None]


def level(profile: Rows, rows: Ints) -> Floats:
    """Return how busy the last days were, as a multiple of what shape and ratio say."""
    p = profile[["counted", "usual"]][rows]
    return np.asarray((p["counted"].astype(np.float64) + LEVEL_PRIOR) / (p["usual"].astype(np.float64) + LEVEL_PRIOR))


def days(profile: Rows, rows: Ints) -> Floats:
    """Return how many days were learned."""
    return np.asarray(profile["learned"][rows].sum(axis=1, dtype=np.float64) / QUARTERS)


def look(profile: Rows, rows: Ints, slot: Ints) -> Outlook:
    """Compare the spans that end with quarter `slot` to what is usual. Call after `put`.

    The day is judged once an hour, by what was not reported: else yesterday's rush would be told again this morning.
    """
    x, m = np.full((2, len(rows), len(SPANS)), np.nan)
    short = len(SPANS) - 1
    x[:, :short], m[:, :short] = _sums(profile, rows, slot, SPANS[:short])
    full = np.flatnonzero(slot % 4 == 3)
    if len(full):
        x[full, short:], m[full, short:] = _sums(profile, rows[full], slot[full], SPANS[short:], told=False)
    wide = spread(profile, rows, slot) + doubtfulness(profile, rows)[:, None]
    return Outlook(counted=x, mean=m, spread=wide, z=score(x, m, wide), guessed=np.zeros(len(rows), np.bool_))


def a_day(profile: Rows, rows: Ints) -> Floats:
    """Return how many were counted a day so far; 0 on the first."""
    kept = 0.5 ** (1.0 / LEVEL_DAYS)
    known = days(profile, rows)
    return np.where(known >= 1.0, profile["counted"][rows] * (1.0 - kept) / (1.0 - kept ** np.maximum(known, 1.0)), 0.0)


def guess(outlook: Outlook, profile: Rows, rows: Ints, slot: Ints, at: Ints, people: Floats) -> Outlook:
    """Judge new places, rows[at], by a general number of `people` a day (of shape `at`), in eight hours, give or take."""
    if not len(at):
        return outlook
    spans = SPANS[:-1]
    counted, _ = usual(profile, rows[at], slot[at], int(spans[-1]))
    known = ~np.isnan(counted)
    x, n = (np.cumsum(np.where(known, v, 0.0), axis=1)[:, spans - 1] for v in (counted, 1.0))
    x = np.where((n >= spans * 0.75) & known[:, :1], x, np.nan)
    m, spread = people[:, None] / (QUARTERS / 3) * spans, np.full((len(at), len(spans)), ANYTHING)
    made = [array.copy() for array in (outlook.counted, outlook.mean, outlook.spread, outlook.z)]
    for array, with_ in zip(made, (x, m, spread, score(x, m, spread)), strict=True):
        array[at, :-1], array[at, -1] = with_, np.nan
    return Outlook(counted=made[0], mean=made[1], spread=made[2], z=made[3], guessed=np.isin(np.arange(len(rows)), at))


def _sums(profile: Rows, rows: Ints, slot: Ints, spans: Ints, *, told: bool = True) -> tuple[Floats, Floats]:
    """Return what was counted and what is usual over spans; NaN where the last quarter, or a fourth of all, is unknown."""
    counted, mean = usual(profile, rows, slot, int(spans[-1]), told=told)
    known = ~np.isnan(counted) & ~np.isnan(mean)
    x, m, n = (np.cumsum(np.where(known, v, 0.0), axis=1)[:, spans - 1] for v in (counted, mean, 1.0))
    enough = (n >= spans * 0.75) & known[:, :1]
    return np.where(enough, x, np.nan), np.where(enough, np.maximum(m, 1e-3), np.nan)


def doubtfulness(profile: Rows, rows: Ints) -> Floats:
    """Return the relative variance of the usual count itself: large for a new place, and on a day type seldom seen."""
    kind = profile["kinds"][rows, 0]
    learned = profile["learned"][rows].astype(np.float64) / QUARTERS
    same = CLASS[kind][:, None] == CLASS
    of_class = np.minimum((learned * same).sum(axis=1), LONGEST[CLASS[kind]])
    of_kind = np.minimum(learned[np.arange(len(rows)), kind], RATIO_DAYS)
    return np.asarray(FEW_DAYS / (0.5 + of_class) ** 2 + STRANGE_DAY[kind] / (1.0 + of_kind))


def spread_out(profile: Rows, rows: Ints, slot: Ints, outlook: Outlook, steady: NDArray[np.bool_]) -> None:
    """Learn the spread from the quarter just judged, where nothing unusual is going on (`steady`)."""
    block, group = slot // (QUARTERS // BLOCKS), (CLASS[profile["kinds"][rows, 0]] > 0).astype(int)
    m, x, present = outlook.mean, outlook.counted, profile["spread"][rows, group, block].astype(np.float64)
    with np.errstate(invalid="ignore"):
        bound = CLIP * np.sqrt(m + outlook.spread * m * m)
        error = np.clip(x - m, -bound, bound)
        sample = (error * error / CLIPPED - m) / (m * m) - doubtfulness(profile, rows)[:, None]
        sure = (m / (1.0 + present * m)) ** 2
        learned = np.minimum(days(profile, rows), 30.0) * np.where(group, 2.0, 5.0) / 7.0
        often = QUARTERS // BLOCKS * np.where(SPANS < QUARTERS, 1.0, 0.25)
        gain = sure / (1.0 + sure) / (often * (1.0 + learned[:, None]))
        new = np.clip(present + gain * (sample - present), 0.002, 1.5)
    profile["spread"][rows, group, block] = np.where(steady[:, None] & ~np.isnan(new), new, present)


def score(x: Floats, mean: Floats, spread: Floats) -> Floats:
    """Return the normal score of a negative binomial count: about how many standard deviations it is from usual.

    The tail that x begins is meant: P(X >= x) above the mean, P(X <= x) below. Peizer and Pratt's approximation (JASA 63,
    1968) of the equivalent binomial tail. x, mean (> 0), spread (relative variance beyond Poisson's): any equal shapes.
    """
    size = 1.0 / np.clip(spread, 1e-4, 1.4)
    with np.errstate(invalid="ignore", divide="ignore"):
        above = _peizer_pratt(np.maximum(x - 1.0, 0.0), size, mean)
        below = _peizer_pratt(x, size, mean)
    z: Floats = np.where((above > 0) & (x >= 1.0), above, np.where(below < 0, below, 0.0))
    return np.where(np.isnan(mean) | np.isnan(x), np.nan, z)


def _peizer_pratt(x: Floats, size: Floats, mean: Floats) -> Floats:
    """Return z with P(X <= x) = Phi(z), X negative binomial with `size` and `mean`."""
    p = size / (size + mean)
    q = mean / (size + mean)
    n, s, t = x + size, size - 0.5, x + 0.5
    d = s + 1 / 6 - (n + 1 / 3) * p + 0.02 * (q / (s + 0.5) - p / (t + 0.5) + (q - 0.5) / (n + 1))
    z = d * np.sqrt((1 + q * _g(s / (n * p)) + p * _g(t / (n * q))) / ((n + 1 / 6) * p * q))
    return -z


def _g(x: Floats) -> Floats:
    x = np.maximum(x, 1e-12)
    e = 1.0 - x
    near = np.abs(e) < 1e-3
    exact = (1.0 - x * x + 2.0 * x * np.log(x)) / np.where(near, 1.0, e * e)
    return np.where(near, e / 3.0, exact)


def _mean(profile: Rows, rows: Ints, slot: Ints, kind: Ints) -> Floats:
    shape = profile["shape"][rows, CLASS[kind], slot]
    ratio = profile["ratio"][rows, kind, slot // 8].astype(np.float64)
    return np.where(shape == UNSEEN, np.nan, (shape / SCALE) ** 2 * ratio)


def spread(profile: Rows, rows: Ints, slot: Ints) -> Floats:
    """Return the learned relative variance of the spans that end with `slot`, shape (n, len(SPANS))."""
    group = (CLASS[profile["kinds"][rows, 0]] > 0).astype(int)
    known = profile["spread"][rows].astype(np.float64)
    calm = np.sort(known.reshape(len(rows), -1, len(SPANS)), axis=1)[:, 2 * BLOCKS // 3]
    most = CALMER * (1 + group)[:, None] * calm
    return np.asarray(np.minimum(known[np.arange(len(rows)), group, slot // (QUARTERS // BLOCKS)], most))


def _learn(profile: Rows, rows: Ints, slot: Ints, kind: Ints, x: Floats, weight: Floats) -> None:
    of = CLASS[kind]
    mean = _mean(profile, rows, slot, kind)
    new = np.isnan(mean)
    ratio = profile["ratio"][rows, kind, slot // 8].astype(np.float64)
    shape = np.where(new, 0.0, mean / ratio)
    learned = profile["learned"][rows].astype(np.float64) / QUARTERS
    of_class = np.minimum((learned * (of[:, None] == CLASS)).sum(axis=1), LONGEST[of])
    now = level(profile, rows)
    spread = profile["spread"][rows, (of > 0).astype(int), slot // (QUARTERS // BLOCKS), 0].astype(np.float64)
    bound = FAR * np.sqrt(mean * now + (spread + doubtfulness(profile, rows)) * (mean * now) ** 2) + 1.0
    weight = np.where(np.abs(x - mean * now) > bound, DOUBT, weight)
    gain = np.where(new, 1.0, weight / (1.0 + of_class))
    _learn_ratio(profile, rows, slot, kind, x, np.where(new, 0.0, weight), shape * now, ratio)
    bounded = np.where(weight < 1.0, 2.0 * mean * now + 1.0, x)
    fade = 0.5 ** (1.0 / (QUARTERS * LEVEL_DAYS))
    old = profile["counted"][rows], profile["usual"][rows]
    profile["counted"][rows] = old[0] * fade + np.where(new, 0.0, np.minimum(x, bounded))
    profile["usual"][rows] = old[1] * fade + np.where(new, 0.0, mean)
    shape += gain * (x / ratio - shape)
    profile["shape"][rows, of, slot] = np.minimum(np.sqrt(np.maximum(shape, 0.0)) * SCALE + 0.5, UNSEEN - 1).astype(np.uint16)
    profile["learned"][rows, kind] = np.minimum(profile["learned"][rows, kind] + 1, UNSEEN - 1)


def _learn_ratio(
    profile: Rows, rows: Ints, slot: Ints, kind: Ints, x: Floats, weight: Floats, base: Floats, ratio: Floats
) -> None:
    """Move the ratio of a day type's two hours, the slower the fewer counts speak for it; without them it stays near 1."""
    days_of = np.minimum(profile["learned"][rows, kind].astype(np.float64) / QUARTERS, RATIO_DAYS)
    gain = weight / (2.0 + days_of) / 4.0
    moved = ratio + gain * ((x - base * ratio) / (base + 1.0) + 0.05 * (1.0 - ratio))
    profile["ratio"][rows, kind, slot // 8] = np.clip(moved, 0.05, 20.0)
