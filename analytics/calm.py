"""Rows of sites where nothing can happen, taken as columns.

One decision: what a device's row remembers is gathered once, changed, and written back, for rows are wide and devices many.
"""

import numpy as np
from numpy.typing import NDArray

from analytics import occupancy
from analytics.recent import remember
from analytics.state import NEVER, Memory, grouped, put
from analytics.town import Town
from analytics.watch import is_activity
from gateway.events import Flag, Kind

Rows = NDArray[np.void]
REPEAT, CONTACT, PASSAGE = int(Flag.REPEAT), int(Kind.CONTACT), int(Kind.PASSAGE)


def take(memory: Memory, town: Town, rows: Rows) -> int:
    """Take rows (dtype ROW, in order of time). Returns the least deadline of the devices that were heard."""
    sites = memory.sites
    active = is_activity(rows)
    seen = rows if active.all() else rows.compress(active)
    _put_latest(sites["last_event"], rows["s"], rows["t_us"])
    _put_latest(sites["last_act"], seen["s"], seen["t_us"])
    due = _hear(memory.devices, rows, active)
    _doors(memory.devices, rows)
    occupancy.take(memory, town, rows)
    remember(memory, seen)
    s, t, n = seen["s"].astype(np.int64), seen["t_us"], len(sites)
    today = (t >= sites["day_from"][s]) & (t < sites["day_to"][s])
    sites["today_in"] += np.bincount(s, seen["d_in"] * today, n).astype(np.int32)
    sites["today_passages"] += np.bincount(s[today & (seen["kind"] == PASSAGE)], minlength=n)
    return due


def _hear(devices: Rows, rows: Rows, active: NDArray[np.bool_]) -> int:
    """Take note of signs of life."""
    d, t = rows["d"].astype(np.int64), rows["t_us"]
    heard, acted = np.zeros((2, len(devices)), np.int64)
    known = d >= 0
    heard[d[known]] = t[known]  # of repeated indices, the last stays
    known &= active
    acted[d[known]] = t[known]
    here = np.flatnonzero(heard)
    mine = devices.take(here)
    mine["heard"], mine["act"] = np.maximum(mine["heard"], heard[here]), np.maximum(mine["act"], acted[here])
    mine["link_off"] = 0
    mine["due"] = np.maximum(mine["heard"], mine["mounted"]) + mine["patience"]
    put(devices, here, mine)
    return int(mine["due"].min(initial=NEVER))


def _doors(devices: Rows, rows: Rows) -> None:
    """Take the contact messages among rows (in order of time): the last is the state, the last change says since when."""
    n = np.flatnonzero((rows["kind"] == CONTACT) & (rows["d"] >= 0))
    n = n[rows["t_us"][n] >= devices["door_seen"][rows["d"][n]]]
    if not len(n):
        return
    n = n[grouped(rows["d"][n], len(devices))]
    d, t, state = rows["d"][n].astype(np.int64), rows["t_us"][n], (rows["a"][n] == 1).astype(np.int8)
    first = np.r_[True, d[1:] != d[:-1]]
    before = np.where(first, devices["door"][d], np.r_[np.int8(0), state[:-1]])
    change = (state != before) | ((rows["flags"][n] & REPEAT) == 0)
    changed = d[change]  # assignments with repeated indices keep the last
    devices["door_since"][changed] = t[change]
    for name, of in (("door_pos", "pos"), ("door_ordinal", "ordinal")):
        devices[name][changed] = rows[of][n[change]]
    devices["door"][d] = state
    devices["door_seen"][d] = t


def _put_latest(to: NDArray[np.int64], at: NDArray[np.int32], t_us: NDArray[np.int64]) -> None:
    """Raise `to[at]` to times that are in order."""
    latest = np.zeros(len(to), np.int64)
    latest[at] = t_us  # of repeated indices, the last stays
    np.maximum(to, latest, out=to)
