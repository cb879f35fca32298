"""stranger_spike: within an hour the terminals saw far more people they do not know than is usual at the site.

One decision: the usual number is a mean per three hours of the day and kind of day, learned from hours in which all terminals
were seen; an hour that was told counts as no more than the limit it passed, so a spike does not become the usual.
"""

import numpy as np
from numpy.typing import NDArray

from analytics.calendars import SATURDAY
from analytics.episodes import Episodes, Saying, streaks
from analytics.findings import Rule, Severity, SubjectKind
from analytics.quarters import QUARTER_US, Quarter
from analytics.state import TERMINAL, Table, put

SITE = SubjectKind.SITE
BLOCK = 12
"""Quarters of an hour that share a mean."""
STRANGERS = Table(
    name="strangers",
    kind=SITE,
    dtype=np.dtype(
        [
            ("id", "i4"),
            ("recent", "u2", (3,)),  # of the last three quarters
            ("seen", "u1"),  # quarters of this clock hour in which all terminals were seen
            ("hour", "u2"),  # strangers in this clock hour
            ("usual", "f4", (2, 8)),  # an hour: Monday to Friday and other days, by block of the day
            ("hours", "u1", (2, 8)),  # learned
        ]
    ),
)
TABLES = (STRANGERS, streaks(Rule.STRANGER_SPIKE, SITE))

KNOWN = 15
"""Hours after which the site's own mean is believed (five days)."""
MEMORY = 60
"""Hours after which the oldest are slowly forgotten (twenty days)."""
PRIOR = 4.0
"""Strangers an hour that are taken as usual at a site that is not known yet; more, where it has had more."""
GROWN = 1.5
"""Times as many as were told, to be told again."""
Ints = NDArray[np.int64]


def close(q: Quarter, episodes: Episodes) -> None:
    """Judge the last hour of the sites that close a quarter, then learn from it."""
    s, n = q.sites, len(q.memory.sites)
    if not len(s):
        return
    table, d = q.memory.tables[STRANGERS.name], q.devices
    site, mine = q.memory.devices["site"][d], table.take(s)
    came = np.bincount(site, q.tally["strangers"][d], n)[s].astype(np.int64)
    people = mine["recent"].sum(axis=1, dtype=np.int64) + came
    at = np.arange(len(s)), (q.day_type[s] >= SATURDAY).astype(np.int64), q.slot[s].astype(np.int64) // BLOCK
    known, usual = mine["hours"][at] >= KNOWN, mine["usual"][at].astype(np.float64)
    usual = np.where(known, usual, np.maximum(usual, PRIOR))
    limit = np.maximum(q.town.setting(Rule.STRANGER_SPIKE, "least")[s], q.town.setting(Rule.STRANGER_SPIKE, "times")[s] * usual)
    over = people >= limit
    for k in np.flatnonzero(over & q.excused[s]).tolist():
        over[k] = q.town.by_row[int(s[k])].calendar.mode(q.from_us, q.to_us) != "visit"
    calm = people < limit / 2

    def say(k: int, since_us: int) -> Saying:
        code = "stranger_spike" if known[k] else "stranger_spike_new"
        times = {"from_us": q.to_us - 4 * QUARTER_US, "to_us": q.to_us}
        numbers = {"people": int(people[k]), "usual": round(float(usual[k]), 1)}
        return Saying(severity=Severity.MAJOR, reason={"code": code} | times | numbers)

    episodes.update(Rule.STRANGER_SPIKE, SITE, s, over, calm & ~over, say, end_after=2)
    for k in np.flatnonzero(over).tolist():
        record = episodes.open(Rule.STRANGER_SPIKE, SITE, int(s[k]))
        if record is not None and people[k] >= GROWN * record.reason["people"]:
            episodes.again(record, record.severity, record.reason | say(k, 0).reason)
    _learn(q, mine, came, limit, at)
    put(table, s, mine)


def _learn(q: Quarter, mine: NDArray[np.void], came: Ints, limit: NDArray[np.float64], at: tuple[Ints, Ints, Ints]) -> None:
    """Learn at the end of each clock hour that was seen throughout. Keeps what came in the columns `mine`."""
    s, d, n = q.sites, q.devices, len(q.memory.sites)
    terminal = q.town.family[d] == TERMINAL
    site = q.memory.devices["site"][d]
    hidden = np.bincount(site, terminal & ~q.sees[d], n)[s] > 0
    seen = (np.bincount(site, terminal, n)[s] > 0) & ~hidden & ~q.excused[s]
    mine["recent"] = np.column_stack([mine["recent"][:, 1:], np.minimum(came, 65535)])
    mine["hour"] = np.minimum(mine["hour"] + came, 65535)
    mine["seen"] += seen
    end = q.slot[s] % 4 == 3
    learn = end & (mine["seen"] == 4)
    hours, usual = mine["hours"][at].astype(np.int64), mine["usual"][at].astype(np.float64)
    hour = np.minimum(mine["hour"], limit)
    mine["usual"][at] = np.where(learn, usual + (hour - usual) / (np.minimum(hours, MEMORY - 1) + 1), usual)
    mine["hours"][at] = np.minimum(hours + learn, MEMORY)
    mine["hour"][end], mine["seen"][end] = 0, 0
