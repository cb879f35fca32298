"""Event time cut into quarters of an hour, for the rules that need statistics rather than single events.

One decision: a quarter is closed once per site, when the site's clock has passed its end, with exactly the rows of that
quarter tallied; so what a detector sees does not depend on batches, and all it does is arithmetic on columns.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from analytics.findings import SubjectKind
from analytics.state import Memory, Table
from analytics.town import Town
from gateway.clock import MINUTE_US
from gateway.events import Flag, Kind, Result

QUARTER_US = 15 * MINUTE_US
CONTACT, PASSAGE, STRANGER = int(Kind.CONTACT), int(Kind.PASSAGE), int(Result.STRANGER)
REPEAT, ODD = int(Flag.REPEAT), int(Flag.TIME_IMPLAUSIBLE)
BLIND_US = MINUTE_US
"""A gateway that missed more than this of a quarter did not cover it."""

TALLY = Table(
    name="tally",
    kind=SubjectKind.DEVICE,
    dtype=np.dtype(
        [
            ("id", "i4"),
            ("messages", "i4"),  # of any kind
            ("edges", "i4"),  # of a door, seen or inferred
            ("opens", "i4"),  # those that opened
            ("came_in", "i4"),
            ("went_out", "i4"),
            ("passages", "i4"),  # faces, cards, manual check-ins
            ("strangers", "i4"),
            ("odd_times", "i4"),  # messages whose own time was not plausible
        ]
    ),
)
"""What each device said in the quarter that its site has not closed yet."""
COUNTED = TALLY.dtype.names[1:] if TALLY.dtype.names else ()

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarter:
    """A quarter of an hour that some sites have closed. Masks have one entry per device or per site of the shard.

    sites, devices: rows of the sites that close it and of their devices. tally: dtype TALLY. covered: the device's gateway
    listened to it throughout. sees: covered, mounted all the while, and the device proves that it was there (`sight`).
    is_open: the site was open throughout. excused: in a closure, visit or drill. day_type: 0-6 Monday to Sunday, 7 public
    holiday. slot: local quarter of the day, 0-95.
    """

    from_us: int
    to_us: int
    memory: Memory
    town: Town
    sites: Rows
    devices: Rows
    tally: NDArray[np.void]
    covered: Mask
    sees: Mask
    is_open: Mask
    excused: Mask
    day_type: NDArray[np.int8]
    slot: NDArray[np.int16]


def count(memory: Memory, rows: NDArray[np.void]) -> None:
    """Add rows (dtype ROW, of quarters that are not closed) to the tallies."""
    known = rows["d"] >= 0
    rows = rows if known.all() else rows.compress(known)
    tally = memory.tables[TALLY.name]
    d, kind = rows["d"].astype(np.int64), rows["kind"]
    if not len(rows):
        return
    edge = (kind == CONTACT) & ((rows["flags"] & REPEAT) == 0)
    passage = kind == PASSAGE
    stranger = passage & (rows["a"] == STRANGER)
    odd = (rows["flags"] & ODD) != 0
    once, opens = np.ones(len(rows), np.int32), edge & (rows["a"] == 1)
    np.add.at(tally["messages"], d, once)  # of the tally's own type: else numpy adds one by one, fifty times slower
    for name, of in (("edges", edge), ("opens", opens), ("passages", passage), ("strangers", stranger), ("odd_times", odd)):
        some = np.flatnonzero(of)
        np.add.at(tally[name], d[some], once[: len(some)])
    for name, people in (("came_in", rows["d_in"]), ("went_out", rows["d_out"])):
        some = np.flatnonzero(people)
        np.add.at(tally[name], d[some], people[some])


def ends(before: NDArray[np.int64], after: NDArray[np.int64]) -> list[int]:
    """Return the ends of all quarters that a clock of some site passes on its way from `before` to `after`, in order."""
    first, last = before // QUARTER_US + 1, after // QUARTER_US
    moved = last >= first
    if not moved.any():
        return []
    return [q * QUARTER_US for q in range(int(first[moved].min()), int(last[moved].max()) + 1)]


def close(memory: Memory, town: Town, sites: Rows, to_us: int) -> Quarter:
    """Describe the quarter that ends at `to_us` for the sites that close it."""
    from_us = to_us - QUARTER_US
    closing = np.zeros(len(memory.sites), np.bool_)
    closing[sites] = True
    known = memory.devices
    devices = np.flatnonzero(closing[known["site"]])
    hours = np.zeros((4, len(town.calendars)), np.int64)
    for n in np.unique(town.calendar[sites]).tolist():
        hours[:, n] = town.calendars[n].quarter(from_us, to_us)
    day_type, slot, is_open, excused = np.where(closing, hours[:, town.calendar], 0)
    covered = _covered(memory, town, closing, devices, from_us, to_us)
    there = (known["heard"] > 0) & (to_us - known["heard"] < known["alive_every"])
    here = (known["mounted"] <= from_us) & ~((known["link_off"] > 0) & (known["link_off"] < to_us))
    return Quarter(
        from_us=from_us,
        to_us=to_us,
        memory=memory,
        town=town,
        sites=sites,
        devices=devices,
        tally=memory.tables[TALLY.name],
        covered=covered,
        sees=covered & there & here,
        is_open=is_open > 0,
        excused=excused > 0,
        day_type=day_type.astype(np.int8),
        slot=slot.astype(np.int16),
    )


def clear(quarter: Quarter) -> None:
    """Begin the next quarter of the sites that closed this one."""
    for name in COUNTED:
        quarter.tally[name][quarter.devices] = 0


def _covered(memory: Memory, town: Town, closing: Mask, devices: Rows, from_us: int, to_us: int) -> Mask:
    listening, apart = np.zeros((2, len(town.heard)), np.bool_)
    gateway, site = town.link
    for n in np.unique(gateway[closing[site]]).tolist():
        view = memory.views.get(town.heard[n])
        listening[n] = view is not None and not view.uncovered("", from_us, to_us, BLIND_US)
        apart[n] = view is not None and any(
            g.counts and g.source and g.from_us < to_us and (g.to_us is None or g.to_us > from_us) for g in view.gaps
        )
    covered = np.zeros(len(memory.devices), np.bool_)
    covered[devices] = listening[town.behind[devices]]
    for d in devices[apart[town.behind[devices]]].tolist():
        view = memory.views[int(memory.devices["gateway"][d])]
        covered[d] = not view.uncovered(town.devices[d].identity, from_us, to_us, BLIND_US)
    return covered
