"""Unusually many or few people at a place, and counters that count nobody where people must be.

One decision: every quarter of an hour is compared over several lengths of time, each with its own learned spread, so that a
short rush and a slow empty day are both found; a count of exactly zero accuses the counter first, and people only where
neighbours were empty too.

    ring of the last day ─→ 15 min, 1 h, 4 h, 24 h against the profile ─→ unusual_footfall
    nothing counted though many are usual ─→ neighbours? ─┬─ as usual ─→ counter_blind
                                                          └─ empty too ─→ unusual_footfall

Neighbours are the site's doors and terminals where it has such, for they see the same people; else other counters.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics import health, profiles, unusual
from analytics.episodes import Episodes, Saying, streak_of, streaks
from analytics.findings import Rule, Severity, SubjectKind
from analytics.profiles import BLANK, PROFILE, QUARTERS, SPANS, Floats, Ints, Outlook
from analytics.quarters import QUARTER_US, Quarter
from analytics.state import COUNTER, DOOR, TERMINAL, Table
from analytics.unusual import EMPTY, Subjects

PLACE, DEVICE = SubjectKind.PLACE, SubjectKind.DEVICE
Mask = NDArray[np.bool_]

PROFILES = Table(name="profile", kind=PLACE, dtype=PROFILE, blank=BLANK)
FOOTFALL = Table(
    name="footfall",
    kind=PLACE,
    dtype=np.dtype(
        [
            ("id", "i4"),
            ("zeros", "u2"),  # quarters without a count in a row, as far as seen
            ("missed", "f4"),  # people usual in them, as many fewer as at the neighbours
            ("doubtful", "f4"),  # most people ever missed in a row after which it counted again, slowly forgotten
            ("others", "u1"),  # quarters of them in which other sensors of the site were active
            ("counted", "f4"),  # of the last hours, fading
            ("usual", "f4"),
            ("quarter", "i4"),  # the last one closed
            ("share", "f2", (8,)),  # counted / usual of the last quarters, by quarter modulo 8; NaN unknown
        ]
    ),
    blank={"share": np.nan},
)
TABLES = (PROFILES, FOOTFALL, *unusual.TABLES, streaks(Rule.COUNTER_BLIND, DEVICE))

BLIND_LEAST = 20.0
"""People usual, and not counted, below which a counter is not called blind."""
IMPROBABLE = -np.log(1e5)
"""Log-probability of a run of zeros from which on it is not chance."""
HALF_DAY = 48
"""Quarters without a count, longer than a night, after which a counter is called blind though neighbours are nearly empty."""
LAG = 4
"""Quarters that neighbours are asked about later, so that all sites with a living gateway have closed theirs."""
NOBODY = 2.0
"""People missed in a run of zeros from which on a place shows its neighbours that nobody comes."""
A_DAY = {"centre": 80.0, "station": 40.0, "point": 20.0, "mutual_aid": 15.0}
"""People a day at a place of a site of each kind, until enough is known of itself."""
FADE = 0.5 ** (1 / 4)
"""Per quarter: the share of the usual is that of the last two hours or so."""


def close(q: Quarter, episodes: Episodes) -> None:
    """Judge the counting places of the sites that close a quarter."""
    rows, site, device, counted, alive, seen, gate = _places(q)
    if not len(rows):
        return
    profile, state = q.memory.tables[PROFILES.name], q.memory.tables[FOOTFALL.name]
    slot, kind = q.slot[site].astype(np.int64), q.day_type[site].astype(np.int64)
    profiles.turn(profile, rows, slot, kind)
    blind = _is_raised(q, Rule.COUNTER_BLIND, device)
    back = blind & seen & alive
    profiles.put(profile, rows, slot, counted, seen & ~q.excused[site] & (~blind | back))
    outlook = profiles.look(profile, rows, slot)
    share = _neighbours(q, state, rows, site, np.where(seen & ~alive, np.nan_to_num(outlook.mean[:, 0]), 0.0))
    run = _count_zeros(q, state, rows, alive, seen & ~q.excused[site], outlook, share, _others(q, site))
    dead = _blind(q, episodes, (rows, site, device, slot), outlook, share, run, back)
    places = Subjects(
        kind=PLACE,
        rows=rows,
        site=site,
        dead=dead,
        blind=_is_raised(q, Rule.COUNTER_BLIND, device),
        quiet=np.zeros(len(rows), np.bool_),
        share=share,
        words=lambda n: _words(q, int(rows[n])),
        doubt=lambda n, quarters: profiles.doubt(profile, rows[n], slot[n], quarters),
    )
    judged = _with_guesses(q, outlook, rows, site, slot)
    steady = unusual.judge(q, episodes, places, judged)
    unusual.judge_sites(q, episodes, places, np.flatnonzero(gate), slot, judged, outlook)
    profiles.spread_out(profile, rows, slot, outlook, steady)
    _remember(q, state, rows, outlook)


def log_chance_of_none(usual: Floats, spread: Floats) -> Floats:
    """Return the log-probability that a negative binomial with mean `usual` and relative variance `spread` counts nobody."""
    return np.asarray(-np.log1p(spread * usual) / spread)


# ---------------------------------------------------------------- what was counted


def _places(q: Quarter) -> tuple[Ints, Ints, Ints, Ints, Mask, Mask, Mask]:
    """Return table row, site row, row of a counter, people who came in, whether anyone was counted in or out, whether all
    counters saw, and whether it is at an entrance, per place that closes."""
    devices = q.devices[q.town.family[q.devices] == COUNTER]
    place = np.array([q.town.devices[d].place for d in devices.tolist()], np.int64)
    rows, first, which = np.unique(q.town.place_row[place], return_index=True, return_inverse=True)
    counted = np.bincount(which, q.tally["came_in"][devices], len(rows)).astype(np.int64)
    alive = np.bincount(which, q.tally["came_in"][devices] + q.tally["went_out"][devices], len(rows)) > 0
    every = np.maximum(q.memory.devices["alive_every"][devices], 1)
    whole = (q.tally["messages"][devices] + 1) * every > QUARTER_US  # else it was away for a part
    seen = np.bincount(which, ~(q.sees[devices] & whole), len(rows)) == 0
    site = q.memory.devices["site"][devices][first].astype(np.int64)
    return rows, site, devices[first], counted, alive, seen, q.town.gate[place[first]]


def _others(q: Quarter, site: Ints) -> Mask:
    """Tell where sensors that do not count were active."""
    devices = q.devices[q.town.family[q.devices] != COUNTER]
    active = (q.tally["opens"] + q.tally["passages"])[devices] > 0
    return np.isin(site, q.memory.devices["site"][devices[active]])


def _is_raised(q: Quarter, rule: Rule, rows: Ints) -> Mask:
    return np.asarray(q.memory.tables[streak_of(rule, DEVICE)]["raised"][rows])


def _remember(q: Quarter, state: NDArray[np.void], rows: Ints, outlook: Outlook) -> None:
    """Keep how busy a place is, for those who ask later."""
    x, m = outlook.counted[:, 0], outlook.mean[:, 0]
    known = ~np.isnan(x)
    state["counted"][rows] = state["counted"][rows] * FADE + np.where(known, x, 0.0)
    state["usual"][rows] = state["usual"][rows] * FADE + np.where(known, m, 0.0)
    number = q.to_us // QUARTER_US
    enough = state["usual"][rows] >= 2.0
    share = (state["counted"][rows] + 0.5) / (state["usual"][rows] + 0.5)
    share[state["missed"][rows] >= NOBODY] = 0.0  # at once, not fading: it may be the whole town
    state["share"][rows, number % 8] = np.where(enough, np.minimum(share, 100.0), np.nan)
    state["quarter"][rows] = number


def _neighbours(q: Quarter, state: NDArray[np.void], rows: Ints, site: Ints, missed: Floats) -> Floats:
    """Return the median share of the usual at the other places of the site, else of the shard, `LAG` quarters ago, for those
    that have `missed` people now or in a row until now; NaN unknown. A neighbour not so far yet, or too far, is not asked.
    """
    share = np.full(len(rows), np.nan)
    ask = np.flatnonzero(state["missed"][rows] + missed >= NOBODY)
    if not len(ask):
        return share
    asked = q.to_us // QUARTER_US - LAG
    ahead = state["quarter"].astype(np.int64) - asked
    known = np.where((ahead >= 0) & (ahead < 8), state["share"][:, asked % 8].astype(np.float64), np.nan)
    share[ask] = _median_without(known, rows[ask])
    at = q.town.site_row_of_place[[p.id for p in q.town.counting]]
    together = np.bincount(at, ~np.isnan(known), len(q.memory.sites))
    for n in ask[together[site[ask]] - ~np.isnan(known[rows[ask]]) > 0].tolist():
        here = np.flatnonzero(at == site[n])
        share[n] = np.nanmedian(known[here[here != rows[n]]])
    return share


def _median_without(values: Floats, rows: Ints) -> Floats:
    """Return, for each of `rows`, the median of all other values that are not NaN; NaN where there are none."""
    ordered = np.sort(values[~np.isnan(values)])
    own = values[rows]
    mine = ~np.isnan(own)
    left = np.where(mine, np.searchsorted(ordered, np.where(mine, own, 0.0)), len(ordered))
    rest = len(ordered) - mine.astype(np.int64)
    low, high = (rest - 1) // 2, rest // 2
    padded = np.append(ordered, np.nan)
    both = [padded[np.clip(k + (k >= left), 0, len(ordered))] for k in (low, high)]
    return np.where(rest > 0, (both[0] + both[1]) / 2.0, np.nan)


def _count_zeros(
    q: Quarter,
    state: NDArray[np.void],
    rows: Ints,
    alive: Mask,
    seen: Mask,
    outlook: Outlook,
    share: Floats,
    others: Mask,
) -> Floats:
    """Go on with, or end, each run of zeros; returns the people missed in it, 0 where there is none."""
    nobody, somebody = seen & ~alive, seen & alive
    missed = np.nan_to_num(outlook.mean[:, 0]) * np.clip(np.where(np.isnan(share), 1.0, share), 0.0, 1.0)
    doubtful = np.where(somebody, np.maximum(state["doubtful"][rows] * 0.9999, state["missed"][rows]), state["doubtful"][rows])
    was_blind = state["missed"][rows] > 8.0 * np.maximum(state["doubtful"][rows], BLIND_LEAST)
    state["doubtful"][rows] = np.where(was_blind, state["doubtful"][rows], doubtful)
    for name, more in (("zeros", np.ones(len(rows))), ("missed", missed), ("others", others.astype(np.float64))):
        most = np.iinfo(state[name].dtype).max if state[name].dtype.kind == "u" else 1e9
        state[name][rows] = np.where(somebody, 0, np.where(nobody, np.minimum(state[name][rows] + more, most), state[name][rows]))
    return np.asarray(state["missed"][rows].astype(np.float64))


# ---------------------------------------------------------------- what it means


def _blind(
    q: Quarter, episodes: Episodes, at: tuple[Ints, Ints, Ints, Ints], outlook: Outlook, share: Floats, run: Floats, back: Mask
) -> Mask:
    """Say which counters are blind; returns those whose zeros may be the counter's, so that nobody is called absent for them."""
    rows, site, device, slot = at
    state, profile = q.memory.tables[FOOTFALL.name], q.memory.tables[PROFILES.name]
    zeros, others = state["zeros"][rows], state["others"][rows]
    active = q.town.setting(Rule.COUNTER_BLIND, "active")[site]
    span = np.searchsorted(SPANS[1:-1], np.clip(zeros, 4, 16))
    spread = np.maximum(outlook.spread[np.arange(len(rows)), span + 1], 0.02)
    own, doors = _see(q, site, TERMINAL), _see(q, site, DOOR)
    habit = np.where(others >= active, health.log_chance(q, device), 0.0)  # other counters may be as empty as this one
    chance = np.minimum(log_chance_of_none(run, np.minimum(spread, 0.3)), habit)
    strange = (run >= BLIND_LEAST) & (run >= 3.0 * state["doubtful"][rows]) & (chance <= IMPROBABLE)
    elsewhere = (share >= EMPTY) | np.isnan(share)
    elsewhere |= (share > 0.05) & (zeros >= HALF_DAY)  # few people everywhere, yet enough to count some
    on = strange & (zeros >= active) & ((others >= active) | elsewhere & ~(own | doors)) & (zeros > 0)

    def say(n: int, since_us: int) -> Saying:
        profiles.forget(profile, rows[n : n + 1], slot[n : n + 1], np.minimum(zeros[n : n + 1], QUARTERS).astype(np.int64))
        since = q.to_us - int(zeros[n]) * QUARTER_US
        why = "zeros_others" if others[n] >= active[n] else "zeros_alone" if np.isnan(share[n]) else "zeros_neighbours"
        reason = _device(q, int(device[n])) | {
            "code": why,
            "since_us": since,
            "usual": round(float(run[n])),
            "share": 0 if np.isnan(share[n]) else round(100 * float(share[n])),
            "quarters": int(others[n]),
        }
        return Saying(severity=Severity.MAJOR, reason=reason, absent=True, since_us=since)

    raised = _is_raised(q, Rule.COUNTER_BLIND, device)
    episodes.update(Rule.COUNTER_BLIND, DEVICE, device, on & ~raised, back, say)
    empty = (share < EMPTY) | doors & (others == 0)  # a door that moves for everyone has not moved
    return np.asarray((zeros > 0) & (run >= 1.0) & ~(empty & ~on) | _is_raised(q, Rule.COUNTER_BLIND, device))


def _see(q: Quarter, site: Ints, family: int) -> Mask:
    """Tell which sites have sensors of a family that see: were nobody there, they would be quiet too."""
    devices = q.devices[q.town.family[q.devices] == family]
    return np.isin(site, q.memory.devices["site"][devices[q.sees[devices]]])


def _with_guesses(q: Quarter, outlook: Outlook, rows: Ints, site: Ints, slot: Ints) -> Outlook:
    """Where too little is known of a place, take what is general for the kind of its site, or more if more came so far."""
    profile = q.memory.tables[PROFILES.name]
    new = np.flatnonzero(profiles.days(profile, rows) < q.town.setting(Rule.UNUSUAL_FOOTFALL, "days")[site])
    general = np.array([A_DAY[q.town.by_row[row].input.kind] for row in site[new].tolist()], np.float64)
    return profiles.guess(outlook, profile, rows, slot, new, np.maximum(general, profiles.a_day(profile, rows[new])))


def _words(q: Quarter, row: int) -> dict[str, Any]:
    place = q.town.counting[row]
    known = int(profiles.days(q.memory.tables[PROFILES.name], np.array([row]))[0])
    return {"place": place.name, "place_en": place.name_en or place.name, "days": known}


def _device(q: Quarter, row: int) -> dict[str, Any]:
    device = q.town.devices[row]
    place = q.town.places[device.place]
    return {"device": device.name, "place": place.name, "place_en": place.name_en or place.name}
