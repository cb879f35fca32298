"""How grave it is that a resident stays away, and when it will become graver if they go on doing so.

One decision: the deadline is the rule itself, asked of the opening days to come; so what the page announces and what is raised
cannot disagree unless hours, absences or the habit change in between.
"""

import numpy as np
from numpy.typing import NDArray

from analytics import rhythm
from analytics.calendars import Calendar
from analytics.people import People
from analytics.state import NEVER
from analytics.town import Town
from gateway.clock import HOUR_US

MORNING_US = 8 * HOUR_US
"""Local standard time at which the day before is decided."""
FORESEEN = 40
"""Days looked ahead."""
WATCH, SEND, URGENT = 1, 2, 3
ONE = np.uint64(1)

Ints = NDArray[np.int64]


def grade(town: Town, who: Ints, rows: NDArray[np.void]) -> Ints:
    """Say how grave the gaps in `rows` (of the residents' table, for people `who`) are: 0 nothing, WATCH, SEND, URGENT."""
    rules = [town.by_row[site].rules.resident_absent for site in town.people.site[who].tolist()]

    def setting(name: str) -> NDArray[np.float64]:
        return np.array([getattr(rule, name) for rule in rules], np.float64)

    gap = rhythm.by_weekday(rows["missed"], rows["day"].astype(np.int64))
    days = gap.sum(1)
    chance = rhythm.per_year(rows, rhythm.surprise(rows, gap))
    limit, least = setting("per_year"), setting("days")
    watch = (chance <= limit * setting("watch_times")) & (days >= least - 1)
    send = (chance <= limit) & (days >= least)
    urgent = (chance <= limit * setting("urgent_times")) & (days >= least + 2)
    grade = np.where(urgent, URGENT, np.where(send, SEND, np.where(watch, WATCH, 0)))
    return np.where(rows["visits"] >= setting("visits"), grade, 0)


def due(town: Town, who: Ints, rows: NDArray[np.void]) -> Ints:
    """Return when something graver would be said of people who come no more; NEVER: not in the next FORESEEN days.

    Shape (n,). Days on which their site is not to open, and announced absences, do not count.
    """
    people, rows = town.people, rows.copy()
    found, said, day = np.full(len(who), NEVER), rows["grade"].astype(np.int64), rows["day"].astype(np.int64)
    open_days = _open_days(town, people, who, day)
    for j in range(1, FORESEEN + 1):
        left = np.flatnonzero(found == NEVER)
        if not len(left):
            break
        its, its_day = who[left], day[left] + j
        missed = open_days[left, j - 1] & ~people.is_away(its, its_day)
        rows["missed"][left] = rows["missed"][left] << ONE | missed
        rows["day"][left] = its_day
        graver = grade(town, its, rows[left]) > said[left]
        found[left[graver]] = people.begins(its, its_day + 1)[graver] + MORNING_US
    return found


def _open_days(town: Town, people: People, who: Ints, day: Ints) -> NDArray[np.bool_]:
    """Tell which of the days after `day` the home sites are to open; shape (n, FORESEEN)."""
    known: dict[tuple[int, int], bool] = {}
    sites, calendars = people.site[who].tolist(), town.calendar
    opens = np.zeros((len(who), FORESEEN), np.bool_)
    for n, (site, last) in enumerate(zip(sites, day.tolist(), strict=True)):
        which, calendar = int(calendars[site]), town.by_row[site].calendar
        for j in range(FORESEEN):
            key = which, last + 1 + j
            if key not in known:
                known[key] = _opens(calendar, key[1])
            opens[n, j] = known[key]
    return opens


def _opens(calendar: Calendar, day: int) -> bool:
    return not calendar.has_hours or calendar.opens_on(day)
