"""Accepted frames become columns: who, where, what is new, how many people.

    frames → gather (identities, persons, times) → fresh (repeats dropped) → complete (places, differences) → Prepared

One decision: pure, and columnar from the wire to COPY; the log's answers (what devices sent before) come in as values, so
that T1 decides when to ask.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.clock import HOUR_US, MINUTE_US
from gateway.events import EVENT_DTYPE, Flag, Kind, ListRole, Result
from gateway.wire import Body, Header
from ingest.columns import COLUMNS
from ingest.counters import MAX_DELTA, deltas
from ingest.memory import NEAR_US, Memory, Moved
from ingest.snapshot import Consent, Snapshot

CLOCK_NEVER_SET_US = 1_577_836_800_000_000  # 2020-01-01: earlier than this project, so no clock was set
FOREVER_US = 2**63 - 1
QUARTER_US = 15 * MINUTE_US  # every zone is a multiple of it away from UTC
NOWHERE = [(FOREVER_US, FOREVER_US, 0)]

Rows = NDArray[np.void]
Key = tuple[int, int, int, int, int]
"""(device, kind, aux, key, own time): the same observation, however often it is pushed."""

ROWS = np.dtype(
    [*COLUMNS.descr, ("raw_us", "i8"), ("received_us", "i8"), ("key", "i8"), ("source", "i4"), ("shard", "i2")],
)
"""COLUMNS while a batch is being made, and what only the store keeps. source: index into the batch's identities."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """A frame to be stored. body None: it could not be read, only its number counts. offset_us: add it to the gateway's clock."""

    gateway: int
    header: Header
    body: Body | None
    offset_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unclaimed:
    """What an unknown device sent."""

    gateway: int
    identity: str
    first_us: int
    last_us: int
    events: int
    kinds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """rows: dtype ROWS, shape (n,), to be stored, by ordinal. repeats: rows dropped because they are stored already."""

    rows: Rows
    unclaimed: list[Unclaimed]
    repeats: int = 0
    moved: Moved = field(default_factory=Moved)

    def columns(self) -> Rows:
        """Return the rows as the analyzer gets them, dtype COLUMNS."""
        out = np.zeros(len(self.rows), COLUMNS)
        for name in COLUMNS.names or ():
            out[name] = self.rows[name]
        return out


def gather(frames: Mapping[int, Sequence[Accepted]], snapshot: Snapshot, now_us: int) -> Prepared:
    """Put the rows of all shards into one array, by shard, with the register's ids. Ordinals number all of a shard's rows."""
    shards = [(shard, f, f.body) for shard in sorted(frames) for f in frames[shard] if f.body is not None]
    if not shards:
        return Prepared(rows=np.zeros(0, ROWS), unclaimed=[])
    read = [(f, body) for _, f, body in shards]
    identities = [(f.gateway, identity) for f, body in read for identity in body.devices]
    # Not np.concatenate: for every array it compares the fields of the types, which takes longer than all the rest.
    wire = np.frombuffer(b"".join([body.rows.tobytes() for _, body in read]), EVENT_DTYPE)
    sizes = [len(body.rows) for _, body in read]
    rows = np.zeros(len(wire), ROWS)
    for name in ("t_us", "received_us", "raw_us", "a", "b", "key", "kind", "aux", "flags"):
        rows[name] = wire[name]
    rows["shard"] = np.repeat([shard for shard, _, _ in shards], sizes)
    rows["ordinal"] = ordinals(rows["shard"], np.ones(len(rows), np.int64))
    rows["gateway"] = np.repeat([f.gateway for f, _ in read], sizes)
    _correct_times(rows, np.repeat([f.offset_us for f, _ in read], sizes).astype(np.int64), now_us)
    rows["source"] = wire["device"] + np.repeat(_starts([len(body.devices) for _, body in read]), sizes)
    rows["device"] = _take([snapshot.devices.get(identity, 0) for identity in identities], rows["source"])
    nobody = Consent(id=0, from_us=0, to_us=0)
    consents = [nobody, *(snapshot.persons.get(token, nobody) for _, body in read for token in body.persons)]
    index = wire["person"] + np.repeat(_starts([len(body.persons) for _, body in read]), sizes)
    _identify(rows, np.where(wire["person"] == 0, 0, index), consents, now_us)
    unknown = rows["device"] == 0
    return Prepared(rows=rows[~unknown], unclaimed=_unclaimed(rows[unknown], identities))


def ordinals(shard: NDArray[np.integer[Any]], counts: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Return how many are counted before each item of its shard; items lie by shard. All arrays have shape (n,)."""
    before = np.cumsum(counts, dtype=np.int64) - counts
    return before - before[np.searchsorted(shard, shard)]


def needed(prepared: Prepared, memory: Memory) -> list[int]:
    """Return the devices whose stored rows must be known and are not yet."""
    rows = prepared.rows
    counts = (rows["kind"] == Kind.COUNT_TOTAL) | (rows["kind"] == Kind.COUNT_PERIOD)
    concerned = np.unique(rows["device"][counts | (rows["flags"] & int(Flag.HAS_KEY) != 0)])
    return [device for device in concerned.tolist() if device not in memory.known]


def suspects(prepared: Prepared, memory: Memory) -> dict[int, int]:
    """Return the devices some of whose keyed records may be stored already, each with the time to look from."""
    rows = prepared.rows[_suspicious(prepared.rows, memory)]
    own = _own_time(rows)
    look_from = np.where(own > rows["t_us"] + NEAR_US, 0, own - NEAR_US)
    found: dict[int, int] = {}
    for device, from_us in zip(rows["device"].tolist(), look_from.tolist(), strict=True):
        found[device] = min(found.get(device, from_us), from_us)
    return found


def complete(prepared: Prepared, memory: Memory, stored: set[Key], snapshot: Snapshot) -> Prepared:
    """Drop repeats, say where devices were mounted, count people. `stored`: keyed records of the suspects."""
    rows = prepared.rows
    fresh = _fresh(rows, memory, stored)
    repeats, rows = len(rows) - int(fresh.sum()), rows[fresh]
    _mount(rows, snapshot)
    moved = _count(rows, memory)
    keyed = rows[rows["flags"] & int(Flag.HAS_KEY) != 0]
    own = _own_time(keyed)
    near = own <= keyed["t_us"] + NEAR_US
    devices, group = np.unique(keyed["device"][near], return_inverse=True)
    newest = np.zeros(len(devices), np.int64)
    np.maximum.at(newest, group, own[near])
    for device, own_us in zip(devices.tolist(), newest.tolist(), strict=True):
        moved.high_us[device] = max(memory.high_us.get(device, 0), own_us)
    return Prepared(rows=rows, unclaimed=prepared.unclaimed, repeats=repeats, moved=moved)


def rollups(rows: Rows) -> dict[str, NDArray[np.int64]]:
    """Return what the rows add per place and UTC hour: columns of rollup_hour, sorted by place and hour."""
    rows = rows[rows["place"] > 0]
    keys, group = np.unique(rows["place"].astype(np.int64) << 24 | rows["t_us"] // HOUR_US, return_inverse=True)
    entered = _entered(rows)
    edge = (rows["kind"] == Kind.CONTACT) & (rows["flags"] & int(Flag.REPEAT) == 0)
    opened = edge & (rows["a"] == 1)
    people = (rows["d_in"] > 0) | (rows["d_out"] > 0) | entered

    def total(weights: NDArray[np.generic]) -> NDArray[np.int64]:
        return np.bincount(group, weights.astype(np.float64), len(keys)).astype(np.int64)

    first_us, last_us = np.full(len(keys), FOREVER_US), np.zeros(len(keys), np.int64)
    begins, lives = opened | people, edge | people  # a door that closes after midnight begins no day
    np.minimum.at(first_us, group[begins], rows["t_us"][begins])
    np.maximum.at(last_us, group[lives], rows["t_us"][lives])
    return {
        "place": keys >> 24,
        "hour_us": (keys & 0xFFFFFF) * HOUR_US,
        "people_in": total(rows["d_in"]),
        "people_out": total(rows["d_out"]),
        "passages": total(entered),
        "openings": total(opened),
        "events": total(np.ones(len(rows))),
        "first_us": np.where(first_us == FOREVER_US, 0, first_us),
        "last_us": last_us,
    }


def service(rows: Rows) -> dict[str, NDArray[np.int64]]:
    """Return the allowed passages by place, person (0 anonymous) and quarter of an hour, in which no service slot begins."""
    rows = rows[(rows["place"] > 0) & _entered(rows)]
    keys = np.zeros(len(rows), [("place", "i8"), ("person", "i8"), ("t_us", "i8")])
    keys["place"], keys["person"] = rows["place"], rows["person"]
    keys["t_us"] = rows["t_us"] - rows["t_us"] % QUARTER_US
    found, passages = np.unique(keys, return_counts=True)
    return {**{name: found[name] for name in ("place", "person", "t_us")}, "passages": passages.astype(np.int64)}


def _entered(rows: Rows) -> NDArray[np.bool_]:
    allowed: NDArray[np.bool_] = (rows["kind"] == Kind.PASSAGE) & (rows["a"] == Result.ALLOWED)
    return allowed


def _starts(sizes: list[int]) -> NDArray[np.int64]:
    return np.cumsum([0, *sizes])[:-1]


def _take(values: list[int], index: NDArray[np.generic]) -> NDArray[np.int64]:
    taken: NDArray[np.int64] = np.array(values or [0], np.int64)[index]
    return taken


def _correct_times(rows: Rows, offset_us: NDArray[np.int64], now_us: int) -> None:
    """Shift times that rest on a gateway's wrong clock; a clock that was never set says nothing, so arrival must do."""
    on_gateway = rows["flags"] & int(Flag.TIME_RECEIVED | Flag.TIME_IMPLAUSIBLE) != 0
    shifted = on_gateway & (offset_us != 0)
    rows["received_us"] += offset_us
    rows["t_us"] += np.where(shifted, offset_us, 0)
    never_set = rows["t_us"] < CLOCK_NEVER_SET_US
    rows["t_us"][never_set] = now_us
    rows["received_us"][never_set] = now_us
    rows["flags"][shifted | never_set] |= int(Flag.TIME_CORRECTED)


def _identify(rows: Rows, index: NDArray[np.int64], consents: list[Consent], now_us: int) -> None:
    """Passages get their person while consent holds, at that time and now: what was withdrawn is not linked afterwards."""
    ids, from_us, to_us = (np.array(v, np.int64) for v in zip(*((c.id, c.from_us, c.to_us) for c in consents), strict=True))
    held = (from_us[index] <= rows["t_us"]) & (rows["t_us"] < to_us[index]) & (now_us < to_us[index])
    passage = rows["kind"] == Kind.PASSAGE
    rows["person"] = np.where(held & passage, ids[index], 0)
    for name, known in (("a", Result), ("b", ListRole)):
        rows[name][passage & ~np.isin(rows[name], [int(k) for k in known])] = 0


def _unclaimed(rows: Rows, identities: list[tuple[int, str]]) -> list[Unclaimed]:
    found: dict[tuple[int, str], Unclaimed] = {}
    for source in np.unique(rows["source"]).tolist():
        mine = rows[rows["source"] == source]
        gateway, identity = identities[source]
        before = found.get((gateway, identity))
        first, last, kinds = int(mine["t_us"].min()), int(mine["t_us"].max()), 0
        for kind in np.unique(mine["kind"]).tolist():
            kinds |= 1 << kind
        found[gateway, identity] = Unclaimed(
            gateway=gateway,
            identity=identity,
            first_us=min(first, before.first_us) if before else first,
            last_us=max(last, before.last_us) if before else last,
            events=len(mine) + (before.events if before else 0),
            kinds=kinds | (before.kinds if before else 0),
        )
    return [found[key] for key in sorted(found)]


def _own_time(rows: Rows) -> NDArray[np.int64]:
    return np.where(rows["raw_us"] != 0, rows["raw_us"], rows["t_us"])


def _suspicious(rows: Rows, memory: Memory) -> NDArray[np.bool_]:
    """A record can be a repeat unless its own time is newer than that of every record of its device."""
    own = _own_time(rows)
    devices, group = np.unique(rows["device"], return_inverse=True)
    high_us = np.array([memory.high_us.get(device, -1) for device in devices.tolist()] or [0], np.int64)[group]
    keyed: NDArray[np.bool_] = rows["flags"] & int(Flag.HAS_KEY) != 0
    return keyed & ((own <= high_us) | (own > rows["t_us"] + NEAR_US))


def _fresh(rows: Rows, memory: Memory, stored: set[Key]) -> NDArray[np.bool_]:
    fresh = np.ones(len(rows), np.bool_)
    keyed = np.flatnonzero(rows["flags"] & int(Flag.HAS_KEY) != 0)
    if not len(keyed):
        return fresh
    names = [("device", "i8"), ("kind", "i8"), ("aux", "i8"), ("key", "i8"), ("own", "i8")]
    keys = np.zeros(len(keyed), names)
    for name, _ in names[:-1]:
        keys[name] = rows[name][keyed]
    keys["own"] = _own_time(rows)[keyed]
    first = np.zeros(len(keyed), np.bool_)
    first[np.unique(keys, return_index=True)[1]] = True
    fresh[keyed] = first
    for i in np.flatnonzero(_suspicious(rows, memory)[keyed]).tolist():
        if keys[i].item() in stored:
            fresh[keyed[i]] = False
    return fresh


def _mount(rows: Rows, snapshot: Snapshot) -> None:
    """Say where devices were mounted. Nearly always it is the last mounting; only for the others all are gone through."""
    devices, group = np.unique(rows["device"], return_inverse=True)
    last = [snapshot.mountings.get(device, NOWHERE)[-1] for device in devices.tolist()]
    from_us, to_us, place = (np.array(values, np.int64) for values in zip(*(last or NOWHERE), strict=True))
    t_us = rows["t_us"]
    held = (from_us[group] <= t_us) & (t_us < to_us[group])
    rows["place"] = np.where(held, place[group], 0)
    earlier = np.flatnonzero(~held)
    for device in np.unique(rows["device"][earlier]).tolist():
        mine = earlier[rows["device"][earlier] == device]
        for from_one, to_one, where in snapshot.mountings.get(device, []):
            rows["place"][mine[(from_one <= t_us[mine]) & (t_us[mine] < to_one)]] = where


def _count(rows: Rows, memory: Memory) -> Moved:
    """Fill in d_in and d_out. Returns the totals that moved on."""
    totals = np.flatnonzero(rows["kind"] == Kind.COUNT_TOTAL)
    columns = {name: rows[name][totals].astype(np.int64) for name in ("t_us", "a", "b", "flags")}
    device, line = (rows[name][totals].astype(np.int64) for name in ("device", "aux"))
    d_in, d_out, moved = deltas(device=device, line=line, last=memory.totals, **columns)
    rows["d_in"][totals], rows["d_out"][totals] = d_in, d_out
    periods = np.flatnonzero(rows["kind"] == Kind.COUNT_PERIOD)
    totalling = memory.totalling.union(np.unique(rows["device"][totals]).tolist())
    devices, group = np.unique(rows["device"][periods], return_inverse=True)
    mine = np.array([device not in totalling for device in devices.tolist()], np.bool_)[group]
    for name, out in (("a", "d_in"), ("b", "d_out")):
        people = rows[name][periods]
        rows[out][periods] = np.where(mine & (people >= 0) & (people <= MAX_DELTA), people, 0)
    return Moved(totals=moved)
