"""How long silence usually lasts at a site, by time of day, and when it has become too long; pure arithmetic on columns.

One decision: time is measured by what usually happens in it. Each quarter of an hour has a chance of activity, learned by hour
and kind of day and scaled by how long it has been quiet already; silence through many likely quarters is surprising, through a
night it is not. It is too long where, by what is known, chance alone would let it come to this less often than a site may be
alarmed by mistake; such mistakes are spread evenly over the time that is watched.

    hours x kind of day: chance of a quarter with activity ┐
    x how long quiet:    observed / expected endings       ┴→ surprise since the last activity → limit

A discrete-time survival model with proportional hazards; the margin for what few days cannot tell is that of a gamma
distributed rate (a Lomax tail instead of an exponential one).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.state import put
from gateway.clock import MINUTE_US

QUARTER_US = 15 * MINUTE_US
QUARTERS = 96
"""Of a day; and how far a silence is looked ahead."""
AGES = (0, 1, 2, 4, 8, 16, 32)
"""Quarters of silence at which its classes begin."""
MODEL = [
    ("tried", "f4", (2, 2, 24)),  # quarters that began in silence, by mode, kind of day, hour; forgetting
    ("woke", "f4", (2, 2, 24)),  # those of them with activity
    ("expected", "f4", (2, len(AGES))),  # activity to be expected by hour, by mode and length of the silence; forgetting
    ("observed", "f4", (2, len(AGES))),  # activity observed
]
"""Fields of a row of what is learned of one site. Mode 0: people are there. 1: presumed to be out."""

KEPT_DAYS = 60.0
"""Days after which what was learned weighs 1/e."""
FIRST_CHANCE, FIRST_QUARTERS = (0.2, 0.05), 10.0
"""Chance of activity in a quarter before anything is known, by mode, and how many quarters that is worth."""
MEAN_QUARTERS, HOUR_QUARTERS, DAY_QUARTERS = 1.0, 8.0, 4.0
"""What the mean of all hours is worth to three hours beside each other, these to the one between them, and all days to one kind
of day, in quarters: 4 are one such day."""
AGE_QUARTERS = 6.0
"""What "as likely as usual" is worth to a class of lengths."""
MOST_CHANCE = 0.97
"""No quarter is more certain than that."""
REGULAR, FIRST_ENDINGS = 25.0, 4.0
"""How many endings a limit rests on: those learned at its hours and a few more for what all sites have in common, at most
REGULAR, for people are only so regular (25: a rate is within 20 % of the truth)."""
USUAL = 0.05
"""Share of silences that are longer than what is called usual."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """Silences that go on, one entry each.

    base_us: begin. slot: local quarter of the day that it lies in. mode: 0 or 1. kind, next_kind: of its day and of the next
    (0 working day, 1 weekend or holiday).
    """

    base_us: Ints
    slot: Ints
    mode: Ints
    kind: Ints
    next_kind: Ints


def kind_of(day_type: Ints) -> Ints:
    """Return 0 for Monday to Friday, 1 for weekends and holidays (day types of `Calendar.day_type`)."""
    kind: Ints = (day_type >= 5).astype(np.int64)
    return kind


def kind_after(day_type: Ints) -> Ints:
    """Return the kind of the day after; a holiday is taken to be followed by another."""
    kind: Ints = ((day_type == 4) | (day_type == 5) | (day_type == 7)).astype(np.int64)
    return kind


def learn(model: NDArray[np.void], rows: Ints, mode: Ints, kind: Ints, slot: Ints, age: Ints, active: NDArray[np.bool_]) -> None:
    """Learn from one quarter each of `rows` (all different): whether silence of `age` quarters ended in it."""
    hour, at = slot // 4, _class(age)
    mine = model.take(rows)
    n = np.arange(len(rows))
    chance = chances(mine["tried"][n, mode], mine["woke"][n, mode], mode)[n, kind, hour]
    factor = _factors(mine, mode)[n, at]
    kept = np.exp(-1 / (QUARTERS * KEPT_DAYS))
    mine["observed"][n, mode, at] = kept * mine["observed"][n, mode, at] + active
    mine["expected"][n, mode, at] = kept * mine["expected"][n, mode, at] + chance
    cell, kept = (n, mode, kind, hour), np.exp(-1 / (4 * KEPT_DAYS))
    mine["tried"][cell] = kept * mine["tried"][cell] + factor
    mine["woke"][cell] = kept * mine["woke"][cell] + active
    put(model, rows, mine)


def chances(tried: NDArray[np.float32], woke: NDArray[np.float32], mode: Ints) -> Floats:
    """Return the chance of activity in a quarter, (n, kinds of day, hours), from counts of that shape; `mode` (n,).

    Each hour of a kind of day leans on that hour of all days, it on the hours beside it, and they on the mean of all hours, the
    less the more is known.
    """
    first = np.array(FIRST_CHANCE)[mode]
    mean = (woke.sum((1, 2)) + first * FIRST_QUARTERS) / (tried.sum((1, 2)) + FIRST_QUARTERS)
    all_woke, all_tried = woke.sum(1), tried.sum(1)
    beside = (_beside(all_woke) + mean[:, None] * MEAN_QUARTERS) / (_beside(all_tried) + MEAN_QUARTERS)
    hours = (all_woke + beside * HOUR_QUARTERS) / (all_tried + HOUR_QUARTERS)
    days: Floats = (woke + hours[:, None, :] * DAY_QUARTERS) / (tried + DAY_QUARTERS)
    return days


def limits(mine: NDArray[np.void], silence: Silence, per_day: Floats) -> tuple[Ints, Ints]:
    """Return when each silence becomes too long, and its usual end, in microseconds; `mine` (n,) rows with MODEL's fields.

    per_day: false alarms a day that the limit is set for. Neither is later than a day after `base_us`.
    """
    n, j = np.arange(len(mine))[:, None], np.arange(QUARTERS + 1)[None, :]
    slot = silence.slot[:, None] + j
    kind = np.where(slot < QUARTERS, silence.kind[:, None], silence.next_kind[:, None])
    own = np.arange(len(mine))
    chance = chances(mine["tried"][own, silence.mode], mine["woke"][own, silence.mode], silence.mode)
    chance = chance[n, kind, slot % QUARTERS // 4] * _factors(mine, silence.mode)[n, _class(np.maximum(j - 1, 0))]
    length = np.ones(chance.shape)
    length[:, 0] -= silence.base_us % QUARTER_US / QUARTER_US
    surprise = -np.log1p(-np.minimum(chance, MOST_CHANCE)) * length
    before = np.cumsum(surprise, 1) - surprise
    days = (np.exp(-before) * -np.expm1(-surprise) / surprise * length).sum(1) / QUARTERS
    rare = -np.log(np.minimum(per_day * np.minimum(days, 1), 1))[:, None]
    woke = mine["woke"][own, silence.mode].sum(1)[n, slot % QUARTERS // 4]
    endings = 1 / (1 / REGULAR + 1 / (FIRST_ENDINGS + np.cumsum(woke * length / 4, 1)))
    long = _when(before, surprise, length, endings * np.expm1(rare / endings))
    usual = _when(before, surprise, length, np.full(chance.shape, -np.log(USUAL)))
    return silence.base_us + long, silence.base_us + usual


def _beside(hours: NDArray[np.float32]) -> NDArray[np.float32]:
    """Blur (n, 24) counts over neighbours, because nobody is punctual."""
    blurred: NDArray[np.float32] = (np.roll(hours, 1, 1) + 2 * hours + np.roll(hours, -1, 1)) / np.float32(4)
    return blurred


def _factors(mine: NDArray[np.void], mode: Ints) -> Floats:
    n = np.arange(len(mine))
    factors: Floats = (mine["observed"][n, mode] + AGE_QUARTERS) / (mine["expected"][n, mode] + AGE_QUARTERS)
    return factors


def _class(age: Ints) -> Ints:
    return np.searchsorted(AGES, age, "right") - 1


def _when(before: Floats, surprise: Floats, length: Floats, level: Floats) -> Ints:
    """Return the time (microseconds after the base) at which the sum of surprises comes to `level`, at most a day."""
    over = before + surprise >= level
    at = np.where(over.any(1), over.argmax(1), over.shape[1] - 1)
    n = np.arange(len(at))
    share = np.clip((level[n, at] - before[n, at]) / surprise[n, at], 0, 1)
    quarters = np.cumsum(length, 1)[n, at] - length[n, at] * (1 - share)
    when: Ints = np.rint(np.minimum(quarters, QUARTERS) * QUARTER_US).astype(np.int64)
    return when
