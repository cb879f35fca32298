"""How many people are inside each site: counted in less counted out, put right by what else is known.

One decision: a count is kept in thousandths of a person as an integer, so that adding it up gives the same however rows were
cut into batches, as columns (`take`) or one by one (`step`).

    inside = max(0, inside + in - out * ratio)      each count at an entrance
    inside = max(inside, people seen)               each observation of a region
    inside = 0                                      each night, when two quiet hours prove that nobody is there

Counters lose a few percent, and not the same in both directions, so a day's sum drifts (up or down by ratio - 1 of all who
came). Where the site is empty at both ends of a day, as many have left as came: with probabilities p and q of being counted
in and out, in = p·N and out = q·N for the same N, so ratio = p / q is learned as in / out over past days, pulled to 1 by PRIOR.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.book import Book
from analytics.episodes import Episodes
from analytics.findings import Rule, SubjectKind
from analytics.quarters import QUARTER_US, Quarter
from analytics.state import NEVER, Memory, Table, grouped, put
from analytics.town import Town
from gateway.events import Flag, Kind

OCCUPANCY = Table(
    name="occupancy",
    kind=SubjectKind.SITE,
    dtype=np.dtype(
        [
            ("id", "i4"),
            ("inside", "i8"),  # thousandths of a person
            ("since", "i8"),  # begin of the count
            ("ratio", "i4"),  # thousandths: what one counted out takes away
            ("ins", "i8"),  # counted since then
            ("outs", "i8"),
            ("sum_in", "i8"),  # of past days, thousandths, slowly forgotten
            ("sum_out", "i8"),
            ("last_exit", "i8"),  # last time that someone may have left: counted out, or a door at an entrance moved
            ("last_sign", "i8"),  # last sign of someone who is inside
            ("stay_from", "i8"),  # signs from here on are people after closing; NEVER: none is
            ("stayed", "i8"),  # thousandths: inside once those who leave late had left, or seen since then
            ("quiet", "u1"),  # quarters in a row in which everything was proven quiet
            ("unsure", "i8"),  # a counter was not seen, or a count came late, from here on; NEVER: the count holds
            ("odd", "?"),  # a closure, visit or drill: nothing is learned
        ]
    ),
    blank={"ratio": 1000, "stay_from": NEVER, "unsure": NEVER},
)
TABLES = (OCCUPANCY,)

ONE = 1000
PRIOR = 200 * ONE
"""People counted without drift that a new site is credited with."""
LEAST, MOST = 800, 1250
"""Ratios beyond these are a fault of a counter (count_mismatch), not drift."""
EMPTY = 8
"""Quiet quarters of an hour that prove a closed site to be empty."""
SMALL_HOURS, RESET = 20, 16
"""Slots (05:00, 04:00): a site without closing time may be empty before the one; unproven, a closed site counts anew at the
other and says that it is unsure."""
SET = 10**9
CONTACT, PASSAGE, OBSERVED = int(Kind.CONTACT), int(Kind.PASSAGE), int(Kind.OCCUPANCY)
REPEAT, UNCERTAIN = int(Flag.REPEAT), int(Flag.LATE | Flag.INFERRED | Flag.REPEAT)
Rows = NDArray[np.void]


def take(memory: Memory, town: Town, rows: Rows) -> None:
    """Add rows (dtype ROW, timely, in order of time) of many sites."""
    table = memory.tables[OCCUPANCY.name]
    gate = town.gate[rows["place"]]
    counted = gate & (rows["d_in"] + rows["d_out"] > 0)
    seen = is_observed(rows)
    s, t = rows["s"].astype(np.int64), rows["t_us"].copy()
    out, sign = is_exit(rows, gate), is_sign(rows, gate)
    table["last_exit"][s[out]] = t[out]  # of repeated indices the last holds
    table["last_sign"][s[sign]] = t[sign]
    mine = np.flatnonzero(counted | seen)
    if not len(mine):
        return
    mine = mine[grouped(s[mine], len(table))]
    s, counted, seen = s[mine], counted[mine], seen[mine]
    came, left = (np.where(counted, rows[name][mine], 0).astype(np.int64) for name in ("d_in", "d_out"))
    first = np.flatnonzero(np.r_[True, s[1:] != s[:-1]])
    here = s[first]
    change = ONE * came - table["ratio"][s] * left
    change -= SET * (seen & ~town.counted[s])
    floor = np.where(seen, ONE * rows["a"][mine], 0)
    total = np.cumsum(change)
    before = np.r_[0, total][first]  # of the sites before; it cancels out
    end = np.r_[total[first[1:] - 1], total[-1]]
    best = np.maximum.reduceat(floor - total, first)
    # inside_k = max(floor_k, inside_(k-1) + change_k), unrolled
    table["inside"][here] = end + np.maximum(table["inside"][here] - before, best)
    table["ins"][here] += np.add.reduceat(came, first)
    table["outs"][here] += np.add.reduceat(left, first)


def step(memory: Memory, town: Town, row: dict[str, int], *, late: bool) -> None:
    """Add one row. One whose quarter is over changes no count, it makes it unsure."""
    o = memory.tables[OCCUPANCY.name][row["s"]]
    gate = bool(town.gate[row["place"]])
    if is_exit(row, gate):
        o["last_exit"] = max(int(o["last_exit"]), row["t_us"])
    if is_sign(row, gate):
        o["last_sign"] = max(int(o["last_sign"]), row["t_us"])
    counted = gate and row["d_in"] + row["d_out"] > 0
    if late:
        if counted and row["t_us"] > o["since"]:
            o["unsure"] = min(int(o["unsure"]), row["t_us"])
    elif counted:
        o["ins"] += row["d_in"]
        o["outs"] += row["d_out"]
        o["inside"] = max(0, int(o["inside"]) + ONE * row["d_in"] - int(o["ratio"]) * row["d_out"])
    elif is_observed(row):
        o["inside"] = max(int(o["inside"]) if town.counted[row["s"]] else 0, ONE * row["a"])
        if row["t_us"] >= o["stay_from"]:
            o["stayed"] = max(int(o["stayed"]), ONE * row["a"])


def near(memory: Memory, town: Town, rows: Rows) -> NDArray[np.bool_]:
    """Tell which sites (one entry per site) these rows might bring over their capacity, or to a sign of life after closing."""
    table, n = memory.tables[OCCUPANCY.name], len(memory.sites)
    gate = town.gate[rows["place"]]
    seen = np.flatnonzero(is_observed(rows))
    most = table["inside"].copy()
    np.maximum.at(most, rows["s"][seen], ONE * rows["a"][seen])
    at: NDArray[np.bool_] = most + ONE * np.bincount(rows["s"], rows["d_in"] * gate, n) > town.limit
    night = np.flatnonzero(rows["t_us"] >= table["stay_from"][rows["s"]])
    stays = night[is_sign(rows[night], gate[night])]
    at[rows["s"][stays]] = True
    return at


def is_exit(row: Any, gate: Any) -> Any:
    """Tell (elementwise) whether someone may have left: counted out, or a door at an entrance moved."""
    edge = (row["kind"] == CONTACT) & ((row["flags"] & REPEAT) == 0)
    return gate & (edge | (row["d_out"] > 0))


def is_sign(row: Any, gate: Any) -> Any:
    """Tell (elementwise) what only someone inside can have done: a passage, being seen, moving what is not an entrance."""
    certain = (row["flags"] & UNCERTAIN) == 0
    inner = (row["kind"] == CONTACT) | (row["d_in"] + row["d_out"] > 0)
    there = (row["kind"] == PASSAGE) | ((row["kind"] == OBSERVED) & (row["a"] > 0))
    return certain & (there | (inner & (gate ^ True)))


def is_observed(row: Any) -> Any:
    """Tell (elementwise) whether people were seen in a region."""
    return row["kind"] == OBSERVED


def close(q: Quarter, episodes: Episodes) -> None:
    """Find out which sites are proven empty, and learn their counters' drift from the day that ends so."""
    sites, table = q.sites, q.memory.tables[OCCUPANCY.name]
    n = len(q.memory.sites)
    d = q.devices
    site, tally = q.memory.devices["site"][d], q.tally.take(d)
    sensor = q.town.family[d] >= 0
    active = tally["edges"] + tally["came_in"] + tally["went_out"] + tally["passages"] > 0
    moved = np.bincount(site, active, n)[sites] > 0
    hidden = np.bincount(site, sensor & ~q.sees[d], n)[sites] > 0
    uncounted = np.bincount(site, q.town.gate_counter[d] & ~q.sees[d], n)[sites] > 0
    mine = table.take(sites)
    mine["unsure"] = np.where(uncounted, np.minimum(mine["unsure"], q.from_us), mine["unsure"])
    mine["odd"] |= q.excused[sites]
    quiet = ~moved & ~hidden & (mine["last_sign"] <= q.to_us - EMPTY * QUARTER_US)
    may = ~q.is_open[sites] | (q.slot[sites] < SMALL_HOURS)
    run = np.where(quiet, np.minimum(mine["quiet"].astype(np.int64) + 1, 255), mine["quiet"])
    mine["quiet"] = np.where(may & ~moved, run, 0)
    put(table, sites, mine)
    unsure = mine["unsure"] < NEVER
    used = (mine["inside"] != 0) | (mine["ins"] + mine["outs"] > 0) | unsure | mine["odd"]
    proven = quiet & may & (mine["quiet"] >= EMPTY) & used
    for k in np.flatnonzero(proven).tolist():
        _empty(q, episodes, int(sites[k]), learn=not (unsure[k] or mine["odd"][k]))
    for k in np.flatnonzero(~proven & ~q.is_open[sites] & (q.slot[sites] == RESET) & used).tolist():
        _empty(q, episodes, int(sites[k]), learn=False)
        table["unsure"][sites[k]] = q.to_us


def _empty(q: Quarter, episodes: Episodes, row: int, *, learn: bool) -> None:
    """Count anew. Where people were told that someone is still there, silence is no proof that they have left."""
    book = Book(episodes.shard, q.memory, q.town, q.town.by_row[row])
    if any(r.rule is Rule.PEOPLE_AFTER_CLOSING for r in book.records):
        return
    o = q.memory.tables[OCCUPANCY.name][row]
    if learn and o["ins"] + o["outs"] > 0:
        o["sum_in"] = int(o["sum_in"]) * 9 // 10 + ONE * int(o["ins"])
        o["sum_out"] = int(o["sum_out"]) * 9 // 10 + ONE * int(o["outs"])
        o["ratio"] = min(MOST, max(LEAST, ONE * (int(o["sum_in"]) + PRIOR) // (int(o["sum_out"]) + PRIOR)))
    o["inside"] = o["ins"] = o["outs"] = 0
    o["since"], o["unsure"], o["odd"] = q.to_us, NEVER, False
    for record in [r for r in book.records if r.rule is Rule.CROWDING]:
        book.end(record, q.to_us, "empty")
    episodes.found += book.found
