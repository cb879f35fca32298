"""The baseline for homes: an alert line per slot of the day, after Cuddihy, Weisenberg, Graichen and Ganesh,
"Algorithm to automatically detect abnormally long periods of inactivity in a home", HealthNet 2007.

One decision: the line is the longest inactivity seen in a slot and its neighbours over the days before, plus a buffer; today's
inactivity is alarming where it rises above the line. The buffer is the one parameter that trades delay for false alarms.
"""

import numpy as np
from numpy.typing import NDArray

from gateway.clock import DAY_US, HOUR_US

SLOT_US = HOUR_US // 2
SLOTS = DAY_US // SLOT_US
BUFFER_US = 2 * HOUR_US
WINDOW_DAYS = 60
LONGEST_US = 30 * DAY_US

Ints = NDArray[np.int64]


def longest(times: Ints, begin_us: int, end_us: int) -> Ints:
    """Return the longest inactivity that was going on in each slot of each day, (days, SLOTS), -1 where not watched.

    times: activity (n,), increasing. The first day is that of `begin_us`.
    """
    first, last = begin_us // SLOT_US, end_us // SLOT_US
    found = np.full(((last // SLOTS - first // SLOTS + 1) * SLOTS,), -1, np.int64)
    for slot in range(first, last):
        a, b = np.searchsorted(times, [slot * SLOT_US, (slot + 1) * SLOT_US])
        marks = np.concatenate([times[max(a - 1, 0) : b], [(slot + 1) * SLOT_US]])
        found[slot - first // SLOTS * SLOTS] = np.diff(marks).max() if len(marks) > 1 else marks[-1] - begin_us
    return found.reshape(-1, SLOTS)


def lines(inactivity: Ints, buffer_us: int = BUFFER_US) -> Ints:
    """Return the alert line of each day, (days, SLOTS), from the days before it; the first day has none (LONGEST_US)."""
    line = np.full(inactivity.shape, LONGEST_US, np.int64)
    for day in range(1, len(line)):
        top = inactivity[max(0, day - WINDOW_DAYS) : day].max(0)
        line[day] = np.maximum(np.maximum(np.roll(top, 1), np.roll(top, -1)), top) + buffer_us
    return line


def due(line: Ints, first_day: int, base_us: int) -> int:
    """Return when inactivity since `base_us` rises above the line; `first_day` (days since 1970) is that of `line[0]`."""
    slot = base_us // SLOT_US
    while True:
        limit = int(line[min(slot // SLOTS - first_day, len(line) - 1), slot % SLOTS])
        at = max(base_us + limit, slot * SLOT_US)
        if at < (slot + 1) * SLOT_US or at >= base_us + LONGEST_US:
            return at
        slot += 1
