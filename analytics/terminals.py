"""The days that each terminal proved: open and seeing, open and blind, or closed.

One decision: a day is one bit per terminal, kept for 64 days, so that closures and absences entered later can be taken into
account, and every question about many people and days is arithmetic on columns.
"""

import numpy as np
from numpy.typing import NDArray

from analytics.findings import SubjectKind
from analytics.people import People
from analytics.quarters import QUARTER_US, Quarter
from analytics.state import Memory, Table, put
from analytics.town import Town
from gateway.clock import DAY_US

KEPT = 64
"""Days that are remembered."""
SPOILED = 4
"""Quarters of an hour of closure, visit or drill that leave a day as it is; a clock change moves one that much over its edge."""
HOLIDAY = 7
ONE = np.uint64(1)

TERMINALS = Table(
    name="terminal_days",
    kind=SubjectKind.DEVICE,
    dtype=np.dtype(
        [
            ("id", "i4"),
            ("day", "i4"),  # the last day that is over
            ("lit", "u8"),  # bit j: open and seeing on day - j
            ("dark", "u8"),  # open and not seeing
            ("open", "u1"),  # quarters of today in which the site was open,
            ("seen", "u1"),  # in which it saw all the while,
            ("excused", "u1"),  # and of closure, visit, drill or public holiday
        ]
    ),
)
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


def watch(q: Quarter) -> None:
    """Count a quarter of an hour for each device, and close the day where it ends."""
    table, devices = q.memory.tables[TERMINALS.name], q.devices
    site = q.memory.devices["site"][devices]
    is_open = q.is_open[site] & ~q.excused[site]
    table["open"][devices] += is_open
    table["seen"][devices] += is_open & q.sees[devices]
    table["excused"][devices] += q.excused[site] | (q.day_type[site] == HOLIDAY)
    local = q.to_us + q.town.people.site_shift[site]
    over = devices[local % DAY_US == 0]
    if not len(over):
        return
    today = q.to_us + q.town.people.site_shift[q.memory.devices["site"][over]]
    rows, day = table.take(over), today // DAY_US - 1
    gap = np.where(rows["day"] > 0, day - rows["day"], KEPT)
    sites = [q.town.by_row[site] for site in q.memory.devices["site"][over].tolist()]
    share = np.array([site.rules.resident_absent.seeing for site in sites])
    was_open = (rows["open"] > 0) & (rows["excused"] <= SPOILED)
    seeing = rows["seen"] >= share * rows["open"]
    for name, now in (("lit", was_open & seeing), ("dark", was_open & ~seeing)):
        rows[name] = _later(rows[name], gap) | now
    rows["day"], rows["open"], rows["seen"], rows["excused"] = day, 0, 0, 0
    put(table, over, rows)


def _later(bits: NDArray[np.uint64], days: Ints) -> NDArray[np.uint64]:
    """Move bits on by so many days; what is older than that is forgotten."""
    return np.where(days < KEPT, bits << np.minimum(days, KEPT - 1).astype(np.uint64), np.uint64(0))


def forget_closed(memory: Memory, town: Town) -> None:
    """Take days back that closures, visits or drills cover by now."""
    table = memory.tables[TERMINALS.name]
    for site in town.by_row:
        shift = int(town.people.site_shift[site.row])
        since = int(memory.sites["clock"][site.row]) - (KEPT + 1) * DAY_US
        spans = [s for s in (*site.input.closed, *((a, b) for a, b, _ in site.input.modes)) if s[1] > since]
        for d in site.devices if spans else ():
            last = int(table["day"][d])
            for j in range(KEPT):
                begin = (last - j) * DAY_US - shift
                if sum(max(0, min(b, begin + DAY_US) - max(a, begin)) for a, b in spans) > SPOILED * QUARTER_US:
                    keep = ~(ONE << np.uint64(j))
                    table["lit"][d] &= keep
                    table["dark"][d] &= keep


def counts(memory: Memory, people: People, rows: Ints, day: Ints) -> Mask:
    """Tell for whom a day counts if they do not come: some terminal of theirs was open, and all that were, were seeing."""
    wanted = np.full(len(people.residents), -1, np.int64)
    wanted[rows] = day
    person, device = people.link
    mine = wanted[person] >= 0
    person, device = person[mine], device[mine]
    terminals = memory.tables[TERMINALS.name][device]
    ago = terminals["day"] - wanted[person]
    known = (ago >= 0) & (ago < KEPT)
    shift = np.clip(ago, 0, KEPT - 1).astype(np.uint64)
    lit, dark = ((terminals[name] >> shift & ONE).astype(np.bool_) for name in ("lit", "dark"))
    n = len(people.residents)
    seeing = np.bincount(person, lit & known, n)[rows] > 0
    unsure = np.bincount(person, dark | ~known, n)[rows] > 0
    return np.asarray(seeing & ~unsure & ~people.hidden[rows] & ~people.is_away(rows, day))
