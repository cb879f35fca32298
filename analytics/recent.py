"""The newest activity of each site, for the page.

One decision: it is a ring of eight fixed-width rows a site, so that a batch with activity at a thousand sites writes columns and
reads nothing.
"""

import numpy as np
from numpy.typing import NDArray

from analytics.findings import SubjectKind
from analytics.state import Memory, Table, grouped, put
from gateway.events import Kind

KEPT = 8
EVENT = np.dtype([("t_us", "i8"), ("place", "i4"), ("d_in", "i4"), ("d_out", "i4"), ("kind", "i1"), ("a", "i1")])
"""a: of contacts and passages."""
RECENT = Table(name="recent", kind=SubjectKind.SITE, dtype=np.dtype([("id", "i4"), ("next", "i1"), ("events", EVENT, (KEPT,))]))
"""next: the oldest, and the place of the one to come."""
TABLES = (RECENT,)
CONTACT, PASSAGE = int(Kind.CONTACT), int(Kind.PASSAGE)
TURN = np.arange(KEPT)


def remember(memory: Memory, rows: NDArray[np.void]) -> None:
    """Keep the newest of `rows` (dtype ROW, activity, in order of time) and of what is kept, of each site."""
    if not len(rows):
        return
    table, fresh = memory.tables[RECENT.name], _events(rows)
    known = table["events"]
    order = grouped(rows["s"], len(table))
    s = rows["s"][order].astype(np.int64)
    first = np.flatnonzero(np.r_[True, s[1:] != s[:-1]])
    here, count = s[first], np.diff(np.r_[first, len(s)])
    oldest = table["next"][here].astype(np.int64)
    late = np.flatnonzero(fresh["t_us"][order[first]] < known["t_us"][here, oldest - 1])
    merged = [
        _newest(known[here[n], (oldest[n] + TURN) % KEPT], fresh[order[first[n] : first[n] + count[n]]]) for n in late.tolist()
    ]
    rank = np.arange(len(s)) - np.repeat(first, count)
    stays = rank >= np.repeat(count - KEPT, count)
    place = (np.repeat(oldest, count) + rank) % KEPT
    put(known, (s[stays], place[stays]), fresh.take(order[stays]))
    table["next"][here] = oldest = (oldest + count) % KEPT
    for n, events in zip(late.tolist(), merged, strict=True):
        known[here[n], (oldest[n] + TURN) % KEPT] = events


def newest(memory: Memory, row: int) -> list[dict[str, int]]:
    """Return a site's newest activity, newest first."""
    mine = memory.tables[RECENT.name][row]
    events = mine["events"][(int(mine["next"]) + TURN) % KEPT]
    return [dict(zip(EVENT.names or (), e, strict=True)) for e in events[events["t_us"] > 0][::-1].tolist()]


def _events(rows: NDArray[np.void]) -> NDArray[np.void]:
    events = np.empty(len(rows), EVENT)
    for name in ("t_us", "place", "d_in", "d_out", "kind"):
        events[name] = rows[name]
    events["a"] = np.where((rows["kind"] == CONTACT) | (rows["kind"] == PASSAGE), rows["a"], 0)
    return events


def _newest(known: NDArray[np.void], more: NDArray[np.void]) -> NDArray[np.void]:
    both = np.concatenate([known, more])
    return both[np.argsort(both["t_us"], kind="stable")[-KEPT:]]
