"""What the engine remembers of one shard: one row per site and per device in numpy arrays, a few structs for what is open.

One decision: everything that must survive is in `Memory`, as arrays and plain structs, so that a checkpoint is its bytes;
what the register says is compiled anew from the inputs that the checkpoint carries.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from zlib import crc32

import msgspec
import numpy as np
from numpy.typing import NDArray

from analytics.findings import Rule, Severity, SubjectKind
from analytics.sight import Gap, View
from ingest.columns import COLUMNS

NEVER = 2**62
UNKNOWN = -1
FAMILIES = ("door", "counter", "terminal")
DOOR, COUNTER, TERMINAL = range(3)
"""Families that prove activity and its absence; others are only watched for being there."""

SITE = np.dtype(
    [
        ("id", "i4"),
        ("started", "i8"),  # begin of what its gateways saw; NEVER: nothing yet
        ("clock", "i8"),  # analysed through here, event time
        ("due", "i8"),  # nothing happens before this time unless events make it happen; a lower bound
        ("agenda", "i8"),  # next time that the calendar has something to do
        ("last_act", "i8"),
        ("judged", "i8"),  # begin of the silence that no_activity has judged
        ("last_event", "i8"),
        ("night", "?"),  # activity now is after hours
        ("open_records", "?"),  # something is held or open that any event may change
        ("held", "?"),  # something is held back until more of what its gateways saw is known
        ("day_from", "i8"),
        ("day_to", "i8"),
        ("today_in", "i4"),
        ("today_passages", "i4"),
    ]
)
DEVICE = np.dtype(
    [
        ("id", "i4"),
        ("site", "i4"),  # row of the site
        ("gateway", "i4"),  # id of the gateway
        ("alive_every", "i8"),
        ("patience", "i8"),  # silence after which it is offline
        ("mounted", "i8"),
        ("heard", "i8"),  # its last sign of life
        ("act", "i8"),  # its last activity
        ("due", "i8"),  # looked at again at this time, a lower bound of its offline deadline
        ("link_off", "i8"),  # its network says it is away since; 0 it is not
        ("offline", "?"),  # a finding says so
        ("door", "i1"),  # 1 open, 0 closed, UNKNOWN
        ("door_since", "i8"),
        ("door_seen", "i8"),  # last contact message
        ("door_pos", "i8"),  # the stored event that `door_since` rests on
        ("door_ordinal", "i4"),
    ]
)
ROW = np.dtype([*COLUMNS.descr, ("pos", "i8"), ("s", "i4"), ("d", "i4")])
"""A stored row with its position, and the rows of its site and device here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """State that a detector keeps: one row per subject of `kind`, carried over by id when the register changes.

    kind: SITE and DEVICE have the rows of Memory.sites and Memory.devices, PLACE the counting places, PERSON the persons of
    the register. dtype: its first field is ("id", "i4"). blank: what a new subject's fields begin with, where not 0.
    """

    name: str
    kind: SubjectKind
    dtype: np.dtype[np.void]
    blank: Mapping[str, Any] = field(default_factory=dict)

    def new(self, rows: int = 1) -> NDArray[np.void]:
        """Return rows of subjects of which nothing is known."""
        made = np.zeros(rows, self.dtype)
        for name, value in self.blank.items():
            made[name] = value
        return made


class Record(msgspec.Struct, kw_only=True):
    """A finding that is open, or held back for want of proof.

    since_us: begin of what it rests on. deadline_us: time of the finding. until_us: it ends by itself then. first_us: the
    first activity after the deadline, 0 none; of a rule about quarters of an hour: begin of the first one that speaks
    against it. last_us, count: of the activity that makes it up (opened_after_hours); end of the last quarter that speaks
    for it, and how many speak against it. absent: it says that something did not happen, so late evidence may disprove it.
    """

    rule: Rule
    kind: SubjectKind
    subject: int
    site: int
    episode: int
    since_us: int
    deadline_us: int
    severity: Severity
    reason: dict[str, Any]
    until_us: int = NEVER
    held: bool = False
    first_us: int = 0
    last_us: int = 0
    count: int = 0
    absent: bool = False
    evidence: list[tuple[int, int]] = []


class Memory(msgspec.Struct, kw_only=True):
    """All that survives of a shard.

    Arrays have dtypes SITE, DEVICE and ROW; `records` go by site id, `tables` (of the detectors) by name.
    """

    inputs: bytes | None = None
    sites: NDArray[np.void] = msgspec.field(default_factory=lambda: np.zeros(0, SITE))
    devices: NDArray[np.void] = msgspec.field(default_factory=lambda: np.zeros(0, DEVICE))
    waiting: list[NDArray[np.void]] = []
    views: dict[int, View] = {}
    records: dict[int, list[Record]] = {}
    tables: dict[str, NDArray[np.void]] = {}


def put(table: NDArray[np.void], at: Any, rows: NDArray[np.void]) -> None:
    """Write rows of the same dtype at `table[at]`: as bytes, for numpy copies structs field by field, ten times slower.

    For the same reason rows are read by `take` and `compress`, not by an index or a mask.
    """
    raw = np.dtype((np.void, table.dtype.itemsize))
    table.view(raw)[at] = rows.view(raw)


def grouped(rows: NDArray[np.integer[Any]], of: int) -> NDArray[np.intp]:
    """Return an order that groups equal entries of `rows` (0 to `of`), each group as it was."""
    return np.argsort(rows.astype(np.int16 if of < 2**15 else np.int32), kind="stable")  # numpy sorts short integers by radix


def in_order(rows: NDArray[np.void]) -> NDArray[np.void]:
    """Sort rows of ROW by time; at the same time by device, and those of one device as they are."""
    t, device = rows["t_us"], rows["device"]
    if not ((t[1:] > t[:-1]) | (t[1:] == t[:-1]) & (device[1:] >= device[:-1])).all():
        rows = rows.take(np.lexsort((device, t)))
    return rows


def joined(parts: Sequence[NDArray[np.void]]) -> NDArray[np.void]:
    """Return the rows of all parts (one dtype) in one array."""
    raw = np.dtype((np.void, parts[0].dtype.itemsize))
    return np.concatenate([part.view(raw) for part in parts]).view(parts[0].dtype)


class LayoutError(Exception):
    """A checkpoint that this version does not read: replay from the beginning of the log instead."""


class _Saved(msgspec.Struct, kw_only=True):
    layout: int
    inputs: bytes | None
    sites: bytes
    devices: bytes
    waiting: bytes
    views: dict[int, View]
    records: dict[int, list[Record]]
    tables: dict[str, bytes]


def layout_of(tables: Iterable[Table]) -> int:
    """Return a number that differs wherever a checkpoint would: by the fields of all arrays and structs."""
    fields = [t.descr for t in (SITE, DEVICE, ROW)] + [(t.name, t.dtype.descr) for t in tables]
    structs = [kind.__annotations__ for kind in (Record, Memory, View, Gap)]
    return crc32(repr((fields, structs)).encode()) >> 1


def dump(memory: Memory, layout: int) -> bytes:
    """Write a checkpoint."""
    saved = _Saved(
        layout=layout,
        inputs=memory.inputs,
        sites=memory.sites.tobytes(),
        devices=memory.devices.tobytes(),
        waiting=b"".join(rows.tobytes() for rows in memory.waiting),
        views=memory.views,
        records=memory.records,
        tables={name: rows.tobytes() for name, rows in memory.tables.items()},
    )
    return msgspec.msgpack.encode(saved)


def load(data: bytes, layout: int, tables: Iterable[Table]) -> Memory:
    """Read a checkpoint. Raises LayoutError."""
    try:
        saved = msgspec.msgpack.decode(data, type=_Saved)
        if saved.layout != layout:
            raise LayoutError(f"the checkpoint has layout {saved.layout}, this version reads {layout}; replaying the log instead")
        return Memory(
            inputs=saved.inputs,
            sites=np.frombuffer(saved.sites, SITE).copy(),
            devices=np.frombuffer(saved.devices, DEVICE).copy(),
            waiting=[np.frombuffer(saved.waiting, ROW).copy()],
            views=saved.views,
            records=saved.records,
            tables={t.name: np.frombuffer(saved.tables[t.name], t.dtype).copy() for t in tables},
        )
    except (msgspec.MsgspecError, ValueError, KeyError) as e:
        raise LayoutError(f"the checkpoint cannot be read: {e}; replaying the log instead") from None
