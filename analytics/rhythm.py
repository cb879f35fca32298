"""One person's rhythm, in opening days: how surprising it is that they have not come.

One decision: each missed opening day surprises by what the person's own habit of that weekday says (a beta-binomial that
forgets), and how often such a sum of surprises was only chance is learned from the person's own long gaps (peaks over a
threshold, with a gamma prior on their tail), so that who comes in spells is given more time than who comes like clockwork.

    day by day:  hit or miss, weekday  →  habit per weekday       ┐
    gap by gap:  its surprise          →  tail of the surprises   ┴→  how often a year would chance alone do this?
"""

import numpy as np
from numpy.typing import NDArray

RHYTHM = [
    ("hits", "f4", (7,)),  # opening days with a visit, by weekday from Monday, forgetting
    ("days", "f4", (7,)),  # opening days, likewise
    ("gaps", "f4"),  # gaps between visits, forgetting
    ("over", "f4"),  # those more surprising than THRESHOLD
    ("excess", "f4"),  # by how much, in sum
    ("visits", "u2"),  # days with a visit, at most 65535
    ("longest", "u1"),  # longest gap that nobody was sent for, in opening days
]
"""Fields of a row of what is learned of one person."""

PRIOR_RATE, PRIOR_DAYS = 0.3, 4.0
"""Visits per opening day of people who attend, and how many days that belief is worth against a person's own."""
WEEKDAY_DAYS = 3.0
"""How many days a person's overall rate is worth against the habit of one weekday."""
DAY_KEPT = 0.5 ** (1 / 12)
"""What is left of a day's weight at the next day of its weekday: half after 12 weeks."""
GAP_KEPT = 0.5 ** (1 / 200)
"""The same for gaps: half after 200."""
THRESHOLD = 0.7
"""Surprise in nats (half the gaps of a perfectly predicted person exceed it) above which the tail begins."""
CLIP = 8.0
"""Excess of one gap that is learned, at most: one long absence does not make the next one usual."""
TAIL_GAPS, TAIL_EXCESS = 4.0, 1.3
"""Prior of the tail: so many gaps of this mean excess. 1 would be a person predicted perfectly."""
FIRST_GAPS = 2.0
"""How many gaps the prior of exceeding the threshold is worth."""
OPENING_DAYS = 250
"""Opening days a year, to turn a chance per gap into times a year."""
EVERY_WEEK = np.array([sum(1 << j for j in range(r, 64, 7)) for r in range(7)], np.uint64)

Rows = NDArray[np.void]
Floats = NDArray[np.float64]
Counts = NDArray[np.int64]


def weekday(day: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return 0-6 for Monday to Sunday of days numbered from 1970-01-01."""
    return (day + 3) % 7


def by_weekday(missed: NDArray[np.uint64], day: NDArray[np.int64]) -> Counts:
    """Count missed days by weekday, shape (n, 7). Bit j of `missed`: the day `day` - j."""
    shift = (weekday(day)[:, None] - np.arange(7)) % 7
    return np.asarray(np.bitwise_count(missed[:, None] & EVERY_WEEK[shift]), np.int64)


def rate(rows: Rows) -> Floats:
    """Return visits per opening day, shape (n,)."""
    hits, days = rows["hits"].sum(1, dtype=np.float64), rows["days"].sum(1, dtype=np.float64)
    return np.asarray((hits + PRIOR_DAYS * PRIOR_RATE) / (days + PRIOR_DAYS))


def surprise(rows: Rows, missed: Counts) -> Floats:
    """Return -ln of the chance of missing so many days of each weekday, shape (n,), for a person who keeps to their habit.

    The chance of a run of misses under a beta-binomial: the product of (b + j) / (a + b + j), j = 0, 1, ….
    """
    overall = rate(rows)[:, None]
    came = rows["hits"] + WEEKDAY_DAYS * overall
    stayed = rows["days"] - rows["hits"] + WEEKDAY_DAYS * (1 - overall)
    total = np.zeros(len(rows))
    for j in range(int(missed.max(initial=0))):
        total += np.where(j < missed, np.log1p(came / (stayed + j)), 0).sum(1)
    return total


def per_year(rows: Rows, surprised: Floats) -> Floats:
    """Return how often a year chance alone makes a gap at least so surprising, shape (n,).

    Above the threshold the tail is Lomax, the prediction of an exponential whose rate has a gamma posterior:
    (b / (b + x)) ** a with a, b = prior + observed number and sum of excesses.
    """
    begins = (rows["over"] + FIRST_GAPS * np.exp(-THRESHOLD)) / (rows["gaps"] + FIRST_GAPS)
    a = TAIL_GAPS + rows["over"].astype(np.float64)
    b = TAIL_GAPS * TAIL_EXCESS + rows["excess"].astype(np.float64)
    beyond = np.maximum(surprised - THRESHOLD, 0)
    chance = np.where(surprised < THRESHOLD, np.exp(-surprised), begins * (b / (b + beyond)) ** a)
    return np.asarray(OPENING_DAYS * rate(rows) * chance)


def learn(rows: Rows, day: NDArray[np.int64], missed: Counts, reported: NDArray[np.bool_]) -> None:
    """Take in, in place, that these people came on `day` after missing so many opening days of each weekday.

    A gap for which someone was sent teaches the tail (clipped) and nothing else: it was not the habit.
    """
    surprised = surprise(rows, missed)
    regular = rows["visits"] > 0
    beyond = regular & (surprised > THRESHOLD)
    kept = np.where(regular, GAP_KEPT, 1)
    rows["gaps"] = rows["gaps"] * kept + regular
    rows["over"] = rows["over"] * kept + beyond
    rows["excess"] = rows["excess"] * kept + np.where(beyond, np.minimum(surprised - THRESHOLD, CLIP), 0)
    usual = (regular & ~reported)[:, None]
    faded = DAY_KEPT ** np.where(usual, missed, 0)
    rows["days"] = rows["days"] * faded + (1 - faded) / (1 - DAY_KEPT)
    rows["hits"] *= faded
    n, today = np.arange(len(rows)), weekday(day)
    for name in ("days", "hits"):
        rows[name][n, today] = rows[name][n, today] * DAY_KEPT + 1
    rows["longest"] = np.where(usual[:, 0], np.maximum(rows["longest"], np.minimum(missed.sum(1), 255)), rows["longest"])
    rows["visits"] += (rows["visits"] < 65535).astype(np.uint16)
