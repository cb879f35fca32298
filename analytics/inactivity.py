"""no_activity: when the present silence of a site becomes too long, learned from the site's own past, with a hard cap.

One decision: what is learned changes only when a quarter of an hour closes, and the deadline of a silence is fixed by the first
quarter that is silent throughout; no silence is told before it has lasted half an hour, so no deadline comes before it is fixed.

    quarter closes ─┬─ with activity: learn; the silence before it is over
                    └─ in silence: learn, while proven and not told; the first one fixes the deadline
    watch, status: deadline(site, base) = learned, or the default until enough days are known

Where people live, the entrance tells absence from inactivity: since its door last moved, at most one other sensor has. Such an
absence has a rhythm of its own. At a site that closes every day it would only delay, so it is not asked there.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.episodes import Episodes
from analytics.findings import Rule, SubjectKind
from analytics.quarters import QUARTER_US, Mask, Quarter
from analytics.rules import minutes
from analytics.silence import MODEL, QUARTERS, Ints, Silence, kind_after, kind_of, learn, limits
from analytics.state import DOOR, NEVER, Memory, Table
from analytics.town import Site, Town
from gateway.clock import HOUR_US, MINUTE_US

SILENCE = Table(
    name="silence",
    kind=SubjectKind.SITE,
    dtype=np.dtype(
        [
            ("id", "i4"),
            ("days", "u2"),  # days of which something was learned
            ("day", "i8"),  # begin of the last of them
            ("opened", "i8"),  # begin of the present opening time, 0 closed
            ("always", "?"),  # which never ends
            ("mode", "u1"),  # 1: presumed to be out
            ("quiet", "u2"),  # closed quarters of the present silence
            ("unproven", "?"),  # some of them were not watched
            ("base", "i8"),  # begin of the silence that `due` is the deadline of
            ("due", "i8"),
            ("usual", "i8"),  # its usual end
            *MODEL,
        ]
    ),
    blank={"due": NEVER},
)
TABLES = (SILENCE,)
ENTRANCE = "entrance"
FEW_SENSORS = 3
"""So many sensors besides the entrance, and one of them alone does not prove that someone is back: it may chatter."""
LONGEST = 60_000
ALWAYS_US = 26 * HOUR_US
"""A site that is open for longer than a day, the longest of which has 25 hours, does not close every day."""
MONTH_DAYS = 30.4
LEAST_MIN = 2 * QUARTER_US / MINUTE_US
"""A deadline is fixed when the first quarter in silence has closed: half an hour after the last activity at most."""
Columns = NDArray[np.void]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """When a silence becomes too long. days: that are known of the site; learned: they suffice; out: presumed to be out."""

    due_us: int
    usual_us: int
    days: int
    learned: bool
    out: bool


def close(q: Quarter, episodes: Episodes) -> None:
    """Learn from a quarter, and fix the deadlines of silences that it confirms. Says nothing itself: `watch` does, in time."""
    table = q.memory.tables[SILENCE.name]
    _open(q, table)
    active, watched, unproven = _sensors(q)
    taken = (watched & q.is_open & ~q.excused)[q.sites]
    rows = q.sites[taken]
    silent = ~active[rows]
    table["unproven"][rows] |= silent & unproven[rows]
    learned = table["days"][rows] >= q.town.setting(Rule.NO_ACTIVITY, "days")[rows]
    told = learned & (table["due"][rows] <= q.from_us)
    _learn(q, table, rows[~told & ~table["unproven"][rows]], active)
    for row in rows[~silent & table["always"][rows]].tolist():
        table["mode"][row] = _out(q.memory, q.town, row)
    over = np.concatenate([q.sites[~taken], rows[~silent]])
    table["quiet"][over], table["unproven"][over], table["base"][over], table["due"][over] = 0, False, 0, NEVER
    rows = rows[silent]
    table["quiet"][rows] = np.minimum(table["quiet"][rows] + 1, LONGEST)
    _fix(q, table, rows)


def deadline(memory: Memory, town: Town, site: Site, base_us: int) -> Deadline:
    """Return when a silence since `base_us` becomes too long at a site that is open."""
    mine, settings = memory.tables[SILENCE.name][[site.row]], site.rules.no_activity
    days = int(mine["days"][0])
    if days < settings.days:
        due = base_us + minutes(settings.limit_min)
        return Deadline(due_us=due, usual_us=due, days=days, learned=False, out=False)
    if mine["base"][0] != base_us:  # not fixed yet, or moved by evidence that came late
        day_type, slot, _, _ = site.calendar.quarter(base_us, base_us + 1)
        mine["mode"] = mine["always"][0] and _out(memory, town, site.row)
        base, kind, at = np.array([[base_us], [day_type], [slot]], np.int64)
        mine["due"], mine["usual"] = _limits(town, mine, np.array([site.row]), base, kind, at)
    due, usual, out = int(mine["due"][0]), int(mine["usual"][0]), bool(mine["mode"][0])
    return Deadline(due_us=due, usual_us=usual, days=days, learned=True, out=out)


def reason(site: Site, found: Deadline, base_us: int, since_opening: bool) -> dict[str, Any]:
    """Say why a silence that has come to its deadline is told."""
    minutes_long = round((found.due_us - base_us) / MINUTE_US)
    said = {"since_us": base_us, "limit_min": minutes_long, "sensors": len(site.sensors), "days": found.days}
    if not found.learned:
        return {"code": "no_activity_since_opening" if since_opening else "no_activity"} | said
    code = "nobody_back" if found.out else "silence_since_opening" if since_opening else "silence"
    usual = round((found.usual_us - base_us) / MINUTE_US)
    return {"code": code, "usual_min": usual, "on_day": site.calendar.day_type(base_us)} | said


def fixed(memory: Memory, site: Site, base_us: int, clock_us: int) -> bool:
    """Tell whether the deadline of a silence since `base_us` is final."""
    known = memory.tables[SILENCE.name][site.row]
    default = known["days"] < site.rules.no_activity.days
    return bool(default or known["base"] == base_us) or clock_us > (base_us // QUARTER_US + 2) * QUARTER_US


def _open(q: Quarter, table: Columns) -> None:
    """Take note of sites that open and close."""
    table["opened"][q.sites[~q.is_open[q.sites]]] = 0
    new = q.is_open[q.sites] & ((table["opened"][q.sites] == 0) | (q.slot[q.sites] == 0))
    for row in q.sites[new].tolist():
        window = q.town.by_row[row].calendar.at(q.from_us)
        table["opened"][row] = max(window.opens_us, 1) if window else q.from_us
        table["always"][row] = window is not None and window.closes_us - window.opens_us > ALWAYS_US


def _sensors(q: Quarter) -> tuple[Mask, Mask, Mask]:
    """Tell of each site of the shard: someone was active; it has sensors; one of them proves nothing about the quarter."""
    n = len(q.memory.sites)
    devices = q.devices[q.town.family[q.devices] >= 0]
    site, said = q.memory.devices["site"][devices], q.tally.take(devices)
    acted = (said["edges"] > 0) | (said["came_in"] + said["went_out"] > 0) | (said["passages"] > 0)
    return tuple(np.bincount(site[mask], minlength=n) > 0 for mask in (acted, acted | True, ~q.sees[devices]))  # type: ignore[return-value]


def _learn(q: Quarter, table: Columns, rows: Ints, active: Mask) -> None:
    if not len(rows):
        return
    day = q.memory.sites["day_from"][rows]
    table["days"][rows] += table["day"][rows] != day
    table["day"][rows] = day
    mode, quiet = table["mode"][rows].astype(np.int64), table["quiet"][rows].astype(np.int64)
    learn(table, rows, mode, kind_of(q.day_type[rows].astype(np.int64)), q.slot[rows].astype(np.int64), quiet, active[rows])


def _fix(q: Quarter, table: Columns, rows: Ints) -> None:
    """Fix the deadlines of silences that have none yet; the engine looks at these sites then."""
    sites = q.memory.sites
    base = np.maximum(np.maximum(sites["last_act"], sites["started"]), table["opened"])[rows]
    fresh = (table["base"][rows] != base) & (table["days"][rows] >= q.town.setting(Rule.NO_ACTIVITY, "days")[rows])
    rows, base = rows[fresh], base[fresh]
    if not len(rows):
        return
    slot = (q.slot[rows] - (q.from_us // QUARTER_US - base // QUARTER_US)) % QUARTERS
    due, usual = _limits(q.town, table[rows], rows, base, q.day_type[rows].astype(np.int64), slot)
    table["base"][rows], table["usual"][rows], table["due"][rows] = base, usual, np.maximum(due, q.to_us)
    sites["due"][rows] = np.minimum(sites["due"][rows], table["due"][rows])


def _limits(town: Town, known: Columns, rows: Ints, base: Ints, day_type: Ints, slot: Ints) -> tuple[Ints, Ints]:
    """Return deadlines and usual ends of silences since `base`; `known`: their rows of SILENCE."""
    silence = Silence(
        base_us=base, slot=slot, mode=known["mode"].astype(np.int64), kind=kind_of(day_type), next_kind=kind_after(day_type)
    )
    due, usual = limits(known, silence, town.setting(Rule.NO_ACTIVITY, "per_month")[rows] / MONTH_DAYS)
    most, always, least = (town.setting(Rule.NO_ACTIVITY, name)[rows] for name in ("most_min", "most_always_min", "least_min"))
    most_us = (np.where(known["always"], always, most) * MINUTE_US).astype(np.int64)
    least_us = (np.maximum(least, LEAST_MIN) * MINUTE_US).astype(np.int64)
    return base + np.clip(due - base, least_us, np.maximum(most_us, least_us)), usual


def _out(memory: Memory, town: Town, row: int) -> bool:
    """Tell whether the people of a site are presumed to be out: nobody but the entrance door and one other sensor has moved
    since that door did."""
    entrance: list[int] = []
    inside: list[int] = []
    for d in town.by_row[row].sensors:
        at_entrance = town.family[d] == DOOR and town.places[town.devices[d].place].room == ENTRANCE
        (entrance if at_entrance else inside).append(int(memory.devices["act"][d]))
    left = max(entrance, default=0)
    return left > 0 and sum(act > left for act in inside) <= (len(inside) >= FEW_SENSORS)
