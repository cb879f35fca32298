"""The newest activity of each site, for the page.

One decision: it is eight fixed-width rows a site, oldest first, so that a batch with activity at a thousand sites moves columns.
"""

import numpy as np
from numpy.typing import NDArray

from analytics.findings import SubjectKind
from analytics.state import Memory, Table

KEPT = 8
EVENT = np.dtype([("t_us", "i8"), ("place", "i4"), ("kind", "i2"), ("a", "i2"), ("b", "i2"), ("d_in", "i4"), ("d_out", "i4")])
RECENT = Table(name="recent", kind=SubjectKind.SITE, dtype=np.dtype([("id", "i4"), ("events", EVENT, (KEPT,))]))
TABLES = (RECENT,)


def remember(memory: Memory, rows: NDArray[np.void]) -> None:
    """Keep the newest of `rows` (dtype ROW, activity, in order of time) and of what is kept, of each site."""
    if not len(rows):
        return
    site = rows["s"].astype(np.int16 if len(memory.sites) < 2**15 else np.int32)  # numpy sorts short integers by radix
    order = np.argsort(site, kind="stable")
    s = site[order].astype(np.int64)
    first = np.flatnonzero(np.r_[True, s[1:] != s[:-1]])
    here, end = s[first], np.r_[first[1:], len(s)]
    place = end[:, None] + np.arange(-KEPT, 0)  # in `order`; before `first` what was kept moves up
    new = place >= first[:, None]
    known, fresh = memory.tables[RECENT.name]["events"], np.empty(len(rows), EVENT)
    for name in EVENT.names or ():
        fresh[name] = rows[name]
    events = known[here[:, None], np.minimum(np.arange(KEPT) + (end - first)[:, None], KEPT - 1)]
    events[new] = fresh[order[place[new]]]
    late = rows["t_us"][order[first]] < known["t_us"][here, -1]
    for n in np.flatnonzero(late).tolist():
        both = np.concatenate([known[here[n]], fresh[order[first[n] : end[n]]]])
        events[n] = both[np.argsort(both["t_us"], kind="stable")[-KEPT:]]
    known[here] = events


def newest(memory: Memory, row: int) -> list[dict[str, int]]:
    """Return a site's newest activity, newest first."""
    events = memory.tables[RECENT.name]["events"][row]
    return [dict(zip(EVENT.names or (), e, strict=True)) for e in events[events["t_us"] > 0][::-1].tolist()]
