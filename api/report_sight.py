"""How much of a time sensors could see, and on which days a site was open, as arithmetic on intervals.

    coverage, blind spans, hours without a message ──▶ holes per sensor ──▶ a day: opened · not opened · not seen
    hours of the register, closures ──▶ what was planned ─────────────────┘

One decision: everything is a sorted list of [from, to) in microseconds, so that a restart of a gateway, a night of 25 hours
and a window over midnight are nobody's special case.
"""

import itertools
import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from analytics.calendars import SPAN_DAYS, Calendar
from gateway.clock import DAY_US, HOUR_US, MINUTE_US

Interval = tuple[int, int]
WHOLE_US = MINUTE_US
"""Who missed no more than this saw all of it: restarts are no gaps."""
MARGIN_US = HOUR_US
"""Staff unlock before opening and lock after closing: signs of life count from the whole hour before to the whole hour after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Planned:
    """What the register says of a local day. windows: open. life: where a sign of life says that it was opened."""

    windows: tuple[Interval, ...]
    life: Interval


def join(spans: Iterable[Interval]) -> list[Interval]:
    """Return the union, sorted and apart."""
    joined: list[Interval] = []
    for a, b in sorted(s for s in spans if s[0] < s[1]):
        if joined and a <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(b, joined[-1][1])
        else:
            joined.append((a, b))
    return joined


def without(spans: Sequence[Interval], holes: Sequence[Interval]) -> list[Interval]:
    """Return what of joined spans lies in none of the joined holes."""
    left: list[Interval] = []
    for a, b in spans:
        first = max(0, bisect_right(holes, (a, a)) - 1)
        for c, d in holes[first:]:
            if c >= b:
                break
            if d > a:
                if c > a:
                    left.append((a, c))
                a = d
        if a < b:
            left.append((a, b))
    return left


def length(spans: Iterable[Interval]) -> int:
    """Return how long spans are in all (us)."""
    return sum(b - a for a, b in spans)


def silent(heard: int, from_us: int, hours: int, alive_us: int) -> list[Interval]:
    """Return the runs of hours without a message that are as long as a sensor of its class never is silent.

    heard: bit n set where the sensor spoke in the hour from from_us + n hours, of `hours` hours that are over.
    """
    least = max(1, -(-alive_us // HOUR_US))
    bits = f"{heard & ((1 << hours) - 1):0{hours}b}"[::-1] if hours > 0 else ""
    return [(from_us + m.start() * HOUR_US, from_us + m.end() * HOUR_US) for m in re.finditer(f"0{{{least},}}", bits)]


def planned(calendar: Calendar, bounds: Sequence[int], closed: Sequence[Interval]) -> list[Planned | None]:
    """Return what is planned for each day between bounds (local midnights); None: nothing, the site is closed.

    calendar: without closures. A window belongs to the day on which it opens; a site that never closes has whole days.
    """
    if not calendar.has_hours:
        return [_day(without([day], closed), day) for day in itertools.pairwise(bounds)]
    short: dict[Interval, None] = {}
    long: list[Interval] = []
    for at in [*range(bounds[0], bounds[-1], (SPAN_DAYS - 2) * DAY_US), bounds[-1]]:
        near = at - (SPAN_DAYS - 1) * DAY_US, at + (SPAN_DAYS - 1) * DAY_US
        for a, b in ((w.opens_us, w.closes_us) for w in calendar.around(at) if w.opens_us < near[1] and w.closes_us > near[0]):
            if b - a <= DAY_US:
                short[a, b] = None
            else:
                long.append((max(a, near[0]), min(b, near[1])))
    found = []
    for begin, end in itertools.pairwise(bounds):
        mine = [(a, b) for a, b in short if begin <= a < end]
        mine += [(max(a, begin), min(b, end)) for a, b in long if a < end and b > begin]
        found.append(_day(without(join(mine), closed), (begin, end)))
    return found


def _day(windows: Sequence[Interval], day: Interval) -> Planned | None:
    if not windows:
        return None
    opens, closes = windows[0][0], windows[-1][1]
    begin = max(day[0], opens - opens % HOUR_US - MARGIN_US)
    end = closes + -closes % HOUR_US + MARGIN_US
    return Planned(windows=tuple(windows), life=(begin, min(end, day[1]) if closes <= day[1] else end))


def opened(life: Interval | None, plan: Planned, holes: Sequence[Interval], until_us: int) -> bool | None:
    """Say whether a site was opened on a day: True where there was a sign of life, False where sensors saw that there was
    none, None where they did not see all of it or the day is not over. life: its first and last sign within the day's hours."""
    if life is not None:
        return True
    over = plan.windows[-1][1] <= until_us
    return False if over and length(plan.windows) - length(without(plan.windows, holes)) <= WHOLE_US else None


def life_within(hours: Mapping[int, tuple[int | None, int | None]], span: Interval) -> Interval | None:
    """Return the first and last sign of life in a span of whole hours; None where nothing began. hours: hour → (first, last)."""
    rows = [hours[h] for h in range(span[0] - span[0] % HOUR_US, span[1], HOUR_US) if h in hours]
    firsts = [first for first, _ in rows if first is not None]
    return (min(firsts), max(last for _, last in rows if last is not None)) if firsts else None
