"""What is usual at a site hour by hour on a day like today, from its own roll-ups, for the band behind today's counts.

One decision: the band is drawn from what was counted and nothing else, the middle eight tenths of the last days of the same kind,
so that anyone can check it; whether someone is told is decided by the analyzer's finer profile.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

from analytics.calendars import Calendar
from api import daybook, reading
from api.reading import HourRow, SiteRow
from gateway.clock import DAY_US, HOUR_US

Connection = AsyncConnection[Any]
BACK_DAYS = 56
LAST_DAYS = 20
"""Days of a kind that the band rests on: four workweeks; of weekend days there are eight in the time that is looked at."""
LEAST_DAYS = 4
SHARE = 0.1
"""Share of the days that lies above the band, and below it."""
MARGIN = 2
"""People beyond the band below which an hour is not marked, and at least a quarter of the band's edge."""
CLASSES = (0, 0, 0, 0, 0, 1, 2, 2)
"""Kind of each day type of `Calendar.day_type`: workday, Saturday, Sunday and public holiday."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usual:
    """Local hour of the day → (low, high) people. days: how many days it rests on."""

    hours: Mapping[int, tuple[int, int]]
    days: int


NOTHING = Usual(hours={}, days=0)


async def read(conn: Connection, site: SiteRow, start_us: int, country: str) -> Usual:
    """Return what is usual on days like the local day that begins at `start_us`."""
    from_us = start_us - BACK_DAYS * DAY_US
    special = {d.date: d.kind for d in await daybook.days(conn, country) if d.kind != "normal"}
    closed = await daybook.entries(conn, site.id, from_us, start_us)
    calendar = daybook.calendar_of(site, closed, special)
    return band(await reading.footfall(conn, site.id, from_us, start_us), calendar, start_us)


def band(hours: Iterable[HourRow], calendar: Calendar, start_us: int) -> Usual:
    """Return the band for the day that begins at `start_us`; nothing while too few days like it are known.

    Days on which nobody was counted, closures, visits and drills say nothing.
    """
    kind = CLASSES[calendar.day_type(start_us)]
    found: dict[int, dict[int, int]] = defaultdict(dict)
    for h in hours:
        begin, end = calendar.day_of(h.hour_us)
        if CLASSES[calendar.day_type(h.hour_us)] == kind and not calendar.excused(begin, end):
            found[begin][(h.hour_us - begin) // HOUR_US] = h.people_in or h.passages
    days = [found[begin] for begin in sorted(found) if any(found[begin].values())][-LAST_DAYS:]
    if len(days) < LEAST_DAYS:
        return NOTHING
    cut = int(len(days) * SHARE)
    usual = {}
    for hour in range(24):
        counts = sorted(day.get(hour, 0) for day in days)
        usual[hour] = counts[cut], counts[-1 - cut]
    return Usual(hours=usual, days=len(days))


def mark(people: int, low: int, high: int, *, over: bool) -> str:
    """Return "high" or "low" where an hour's people are clearly beyond the band, else "". over: the hour is, and was seen."""
    if people > high + max(MARGIN, high / 4):
        return "high"
    return "low" if over and people < low - max(MARGIN, low / 4) else ""
