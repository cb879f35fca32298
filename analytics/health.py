"""Sensors that are there and yet cannot be trusted: neighbours decide.

One decision: a sensor is judged by its own habit given that others at its site were busy. It was active in the share h of
those quarters of an hour; that k of them in a row pass without it has the probability (1 - h)^k, and only a run that this
habit makes improbable is told. So a back door that is never used is never stuck, and a silent building accuses nobody.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.episodes import Episodes, Saying, streaks
from analytics.findings import Rule, Severity, SubjectKind
from analytics.quarters import Quarter
from analytics.state import COUNTER, DOOR, TERMINAL, Table, put

DEVICE = SubjectKind.DEVICE

HEALTH = Table(
    name="health",
    kind=DEVICE,
    dtype=np.dtype(
        [
            ("id", "i4"),
            ("hits", "f4"),  # busy quarters of the site with and
            ("misses", "f4"),  # without this sensor, slowly forgotten
            ("run", "u2"),  # busy quarters without it since it was last active,
            ("run_since", "i8"),  # and when they began
            ("hit_days", "f4"),  # the same by the day
            ("miss_days", "f4"),
            ("days", "u1"),  # local days with such quarters since then
            ("quiet_today", "?"),
            ("active_today", "?"),
            ("in_today", "f4"),
            ("out_today", "f4"),
            ("in_sum", "f4"),  # of past days, forgotten over CountMismatch.days
            ("out_sum", "f4"),
            ("counted_days", "u1"),
            ("odd_today", "u2"),  # messages with an implausible time
            ("heard_today", "?"),
        ]
    ),
)
TABLES = (HEALTH, *(streaks(rule, DEVICE) for rule in (Rule.DEVICE_SILENT, Rule.STUCK, Rule.FLAPPING)))
TABLES += tuple(streaks(rule, DEVICE) for rule in (Rule.COUNT_MISMATCH, Rule.CLOCK_WRONG))

IMPROBABLE = 1e-5
"""Of a run of busy quarters without a sensor, if quarters were independent."""
IMPROBABLE_DAYS = 1e-2
"""Of a run of days without it: quarters of one day are not independent (a door may be used once a week, but then all day)."""
FORGET, FORGET_DAYS = 0.9995, 0.98
"""Per busy quarter and day: half a habit is forgotten in some six weeks of opening hours."""
PRIOR_MISSES, PRIOR_DAYS = 20.0, 1.0
"""A new sensor counts as rarely used until it shows otherwise."""
LEAST_COUNTED = 30.0
"""People a day below which ins and outs are not compared."""
LAST_SLOT, MOST = 95, 60_000
MASK = NDArray[np.bool_]
ROWS = NDArray[np.int64]


def close(q: Quarter, episodes: Episodes) -> None:
    """Judge the sensors of the sites that close a quarter."""
    d = q.devices
    if not len(d):
        return
    site = q.memory.devices["site"][d]
    tally = q.tally.take(d)
    active = tally["edges"] + tally["came_in"] + tally["went_out"] + tally["passages"] > 0
    busy = np.bincount(site, active & ~_chattering(q, d, site), len(q.memory.sites))[site] - active > 0
    judged = busy & q.sees[d] & q.is_open[site] & ~q.excused[site]
    last = q.slot[site] == LAST_SLOT
    if judged.any() or active.any():
        _habit(q, d, judged, active)
        _missing(q, episodes, d, site, active)
    _flapping(q, episodes, d, site)
    _count(q, d)
    _times(q, episodes, d, site, last)
    if last.any():
        _mismatch(q, episodes, d[last & (q.town.family[d] == COUNTER)])
        _end_day(q.memory.tables[HEALTH.name], d[last])


def _habit(q: Quarter, d: ROWS, judged: MASK, active: MASK) -> None:
    """Learn from busy quarters; a run without the sensor is learned when it ends."""
    health = q.memory.tables[HEALTH.name]
    mine = health.take(d)
    seen = judged & active
    forget = FORGET ** (mine["run"] + 1.0)
    mine["hits"] = np.where(seen, mine["hits"] * forget + 1, mine["hits"])
    mine["misses"] = np.where(seen, mine["misses"] * forget + mine["run"], mine["misses"])
    over = active | ((mine["run"] > 0) & (q.memory.devices["act"][d] >= mine["run_since"]))  # perhaps by late evidence
    mine["run"][over] = 0
    missed = judged & ~active
    mine["run_since"][missed & (mine["run"] == 0)] = q.from_us
    mine["run"][missed & (mine["run"] < MOST)] += 1
    mine["quiet_today"] |= missed
    mine["active_today"] |= seen
    put(health, d, mine)


def _missing(q: Quarter, episodes: Episodes, d: ROWS, site: ROWS, active: MASK) -> None:
    """Doors that are stuck and terminals that are silent, while others are busy."""
    mine = q.memory.tables[HEALTH.name].take(d)
    habit = _habit_of(mine)
    daily = mine["hit_days"] / (mine["hit_days"] + mine["miss_days"] + PRIOR_DAYS)
    unlikely = (mine["run"] * np.log1p(-habit) < np.log(IMPROBABLE)) & (mine["days"] * np.log1p(-daily) < np.log(IMPROBABLE_DAYS))
    for rule, family, long_enough in (
        (Rule.STUCK, DOOR, mine["run"] >= 4 * q.town.setting(Rule.STUCK, "hours")[site]),
        (Rule.DEVICE_SILENT, TERMINAL, mine["days"] >= q.town.setting(Rule.DEVICE_SILENT, "days")[site]),
    ):
        of = np.flatnonzero(q.town.family[d] == family)

        def say(n: int, since_us: int, rule: Rule = rule, of: ROWS = of) -> Saying:
            k = int(of[n])
            usual: dict[str, Any] = {
                "run": int(mine["run"][k]),
                "percent": round(100 * float(habit[k])),
                "days": int(mine["days"][k]),
            }
            return _say(q, int(d[k]), usual | {"code": rule.value}, since_us=int(mine["run_since"][k]))

        episodes.update(rule, DEVICE, d[of], (unlikely & long_enough & ~active)[of], active[of], say)


def log_chance(q: Quarter, d: ROWS) -> NDArray[np.float64]:
    """Return the log-probability of the busy quarters of its site that devices in rows `d` have let pass, by their habit."""
    mine = q.memory.tables[HEALTH.name].take(d)
    return np.asarray(mine["run"] * np.log1p(-_habit_of(mine)), np.float64)


def _habit_of(mine: NDArray[np.void]) -> NDArray[np.float32]:
    return np.asarray(mine["hits"] / (mine["hits"] + mine["misses"] + np.float32(PRIOR_MISSES)))


def _flapping(q: Quarter, episodes: Episodes, d: ROWS, site: ROWS) -> None:
    doors = np.flatnonzero(q.town.family[d] == DOOR)
    chatter, calm = _chattering(q, d, site)[doors], q.sees[d[doors]]
    quarters = (q.town.setting(Rule.FLAPPING, "calm_min")[site[doors]] // 15).astype(np.int64)

    def say(n: int, since_us: int) -> Saying:
        row = int(d[doors[n]])
        return _say(q, row, {"code": "flapping", "edges": int(q.tally["edges"][row])})

    episodes.update(Rule.FLAPPING, DEVICE, d[doors], chatter, calm & ~chatter, say, end_after=np.maximum(quarters, 1))


def _chattering(q: Quarter, d: ROWS, site: ROWS) -> MASK:
    """Tell which contacts changed more often than the people that others saw could have moved them."""
    tally = q.tally.take(d)
    people = np.bincount(site, tally["came_in"] + tally["went_out"] + tally["passages"], len(q.memory.sites))[site]
    many: MASK = tally["edges"] >= q.town.setting(Rule.FLAPPING, "edges")[site]
    return many & (tally["edges"] > 4 * people)


def _times(q: Quarter, episodes: Episodes, d: ROWS, site: ROWS, last: MASK) -> None:
    mine = q.memory.tables[HEALTH.name].take(d)
    on = mine["odd_today"] >= q.town.setting(Rule.CLOCK_WRONG, "messages")[site]
    off = last & mine["heard_today"] & (mine["odd_today"] == 0)

    def say(n: int, since_us: int) -> Saying:
        return _say(q, int(d[n]), {"code": "clock_wrong", "messages": int(mine["odd_today"][n])})

    episodes.update(Rule.CLOCK_WRONG, DEVICE, d, on, off, say)


def _count(q: Quarter, d: ROWS) -> None:
    health = q.memory.tables[HEALTH.name]
    health["in_today"][d] += q.tally["came_in"][d]
    health["out_today"][d] += q.tally["went_out"][d]
    health["odd_today"][d] = np.minimum(health["odd_today"][d].astype(np.int64) + q.tally["odd_times"][d], MOST)
    health["heard_today"][d] |= q.tally["messages"][d] > 0


def _mismatch(q: Quarter, episodes: Episodes, c: ROWS) -> None:
    """Compare ins and outs of past days of counters `c`, where they do not match at the site as a whole either."""
    health, sites = q.memory.tables[HEALTH.name], len(q.memory.sites)
    its = q.memory.devices["site"][c]
    mine, days = health.take(c), q.town.setting(Rule.COUNT_MISMATCH, "days")[its]
    learn = (mine["in_today"] + mine["out_today"] > 0) & ~q.excused[its]
    keep = np.where(learn, 1 - 1 / days, 1)
    mine["in_sum"] = mine["in_sum"] * keep + np.where(learn, mine["in_today"], 0)
    mine["out_sum"] = mine["out_sum"] * keep + np.where(learn, mine["out_today"], 0)
    mine["counted_days"][learn & (mine["counted_days"] < 255)] += 1
    put(health, c, mine)
    share = q.town.setting(Rule.COUNT_MISMATCH, "share")[its]
    ins, outs = mine["in_sum"].astype(np.float64), mine["out_sum"].astype(np.float64)
    own = (ins - outs) / np.maximum(ins + outs, 1)
    all_in, all_out = np.bincount(its, ins, sites)[its], np.bincount(its, outs, sites)[its]
    whole = (all_in - all_out) / np.maximum(all_in + all_out, 1)
    known = (mine["counted_days"] >= days) & (ins + outs >= LEAST_COUNTED * days)
    on = known & (np.abs(own) > share) & (own * whole > 0) & (np.abs(whole) > share / 2)
    off = known & (np.abs(own) < 0.8 * share)

    def say(n: int, since_us: int) -> Saying:
        numbers: dict[str, Any] = {"came_in": round(float(ins[n])), "went_out": round(float(outs[n])), "days": int(days[n])}
        return _say(q, int(c[n]), numbers | {"code": "count_mismatch"})

    episodes.update(Rule.COUNT_MISMATCH, DEVICE, c, on, off, say)


def _end_day(health: NDArray[np.void], d: ROWS) -> None:
    """Learn of a day with the sensor, and of those before it without; a run of days is told by `days`."""
    mine = health.take(d)
    hit, missed = mine["active_today"], mine["quiet_today"] & ~mine["active_today"]
    forget = FORGET_DAYS ** (mine["days"] + 1.0)
    mine["hit_days"] = np.where(hit, mine["hit_days"] * forget + 1, mine["hit_days"])
    mine["miss_days"] = np.where(hit, mine["miss_days"] * forget + mine["days"], mine["miss_days"])
    mine["days"][hit] = 0
    mine["days"] += missed & (mine["days"] < 255)
    for name in ("quiet_today", "active_today", "heard_today", "in_today", "out_today", "odd_today"):
        mine[name] = 0
    put(health, d, mine)


def _say(q: Quarter, row: int, reason: dict[str, Any], since_us: int = 0) -> Saying:
    """since_us: nothing was seen since then."""
    device = q.town.devices[row]
    place = q.town.places[device.place]
    words = {"device": device.name or device.identity, "place": place.name, "place_en": place.name_en or place.name}
    since = {"since_us": since_us} if since_us else {}
    return Saying(severity=Severity.MINOR, reason=reason | words | since, absent=since_us > 0, since_us=since_us)
