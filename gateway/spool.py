"""What the gateway has taken and the backend may not have stored yet: one SQLite file, on disk before anyone is answered.

One decision: everything that follows from a group of messages (events, last-known states, quarantine, blind spans) is
one transaction with one fsync, so that after a crash either all of it happened or none, and the device says it again.
"""

import contextlib
import hashlib
import os
import shutil
import sqlite3
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np

from gateway.codecs.moment import NEWEST_US, OLDEST_US
from gateway.crashpoint import crashpoint
from gateway.events import EVENT_DTYPE, TOKEN_BYTES, Event, Flag
from gateway.uplink import Key, Mark, Progress
from gateway.wire import HEADER_BYTES, Blind, Config, Header, encode_body, encode_frame, rows_of

FRAME_EVENTS = 500
FRAME_BODY_BYTES = 60 * 1024
QUARANTINED = 1000
"""Quarantined messages kept; the oldest make room."""
RESERVE_BYTES = 32 * 1024 * 1024
"""Left free on the disk for the write-ahead log and for everyone else."""
HEAD_BYTES = 1024
PICTURE_HEAD_BYTES = 128

SCHEMA = """
CREATE TABLE IF NOT EXISTS stream (position INTEGER PRIMARY KEY, id INTEGER NOT NULL UNIQUE, since_us INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS frame (
    stream INTEGER NOT NULL REFERENCES stream (position), seq INTEGER NOT NULL, through_us INTEGER NOT NULL,
    size INTEGER NOT NULL, body BLOB NOT NULL, UNIQUE (stream, seq));
CREATE TABLE IF NOT EXISTS acknowledged (
    stream INTEGER NOT NULL REFERENCES stream (position), at_us INTEGER NOT NULL, seq INTEGER NOT NULL,
    PRIMARY KEY (stream, at_us)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS memory (device TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS quarantine (
    id INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, family TEXT NOT NULL, topic TEXT NOT NULL, reason TEXT NOT NULL,
    detail TEXT NOT NULL, length INTEGER NOT NULL, sha256 BLOB NOT NULL, head BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS blind (source TEXT NOT NULL, from_us INTEGER NOT NULL, to_us INTEGER, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS shift (
    stream INTEGER PRIMARY KEY REFERENCES stream (position), after INTEGER NOT NULL, us INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""


class SpoolError(Exception):
    """The spool cannot take anything; the devices must not be answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A message (or its rest) that was not understood. picture: only length, hash and a masked head are kept."""

    at_us: int
    family: str
    topic: str
    reason: str
    detail: str
    payload: bytes
    picture: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The frames of one stream as found at start: first, first + 1, … with these sizes in bytes (header included)."""

    stream: int
    first: int
    sizes: list[int]
    marks: list[Mark]


class Spool:
    """The spool at `path` (mode 0600), of which this process is the only writer.

    lost: where the file was damaged or deleted, the time (µs) up to which the backend surely has everything, else None; the
    damaged file lies beside the new one. alive_us: when the gateway was last known to be alive, 0 for a new spool.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lost: int | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            self.lost = self._delivered()  # a file that was deleted may have held as much as a damaged one
        try:
            self._db = _open(path)
        except sqlite3.DatabaseError as e:
            if isinstance(e, sqlite3.OperationalError):  # locked, no access, disk full: not damage
                raise SpoolError(f"the spool {path} cannot be opened: {e}; end the other gateway or free the disk") from e
            self.lost = self._set_aside()
            self._db = _open(path)
        self.alive_us = int(self._meta("alive_us") or 0)
        self._stream = 0
        self._position = 0
        self._seq = 0
        self._since_us = 0
        self._through_us = 0

    def close(self) -> None:
        """Close the file; what was committed stays."""
        self._db.close()

    # ------------------------------------------------------------------ taking
    def begin_stream(self, stream: int, since_us: int) -> None:
        """Number what follows in a new stream. It takes a place among the streams with its first frame."""
        self._stream, self._position, self._seq = stream, 0, 0
        self._since_us = self._through_us = since_us

    def append(
        self,
        events: Sequence[Event],
        *,
        through_us: int,
        memory: Mapping[str, int] | None = None,
        quarantine: Sequence[Quarantined] = (),
        blind: Sequence[Blind] | None = None,
    ) -> list[int]:
        """Commit a group. Returns the sizes in bytes of the frames it became, numbered on from the last.

        through_us: everything received until then is in this group or an earlier one. blind: replaces the spans kept.
        Raises SpoolError (nothing is kept) and ValueError or OverflowError where an event does not fit the wire.
        """
        bodies = [(encode_body(group), _through(group, following, through_us)) for group, following in _groups(events)]
        position, seq, through = self._position, self._seq, self._through_us
        sizes = []
        with self._transaction() as db:
            if bodies and not position:
                cursor = db.execute("INSERT INTO stream (id, since_us) VALUES (?, ?)", (self._stream, self._since_us))
                position = cursor.lastrowid or 0
            for body, until_us in bodies:
                seq, through = seq + 1, max(through, until_us)
                sizes.append(HEADER_BYTES + len(body))
                db.execute("INSERT INTO frame VALUES (?, ?, ?, ?, ?)", (position, seq, through, sizes[-1], body))
            db.executemany("INSERT OR REPLACE INTO memory VALUES (?, ?)", (memory or {}).items())
            self._quarantine(db, quarantine)
            if blind is not None:
                _write_blind(db, blind)
            self._write_alive(db, through_us)
        self._position, self._seq, self._through_us = position, seq, through
        return sizes

    def note(self, *, alive_us: int, progress: Progress | None, delete: Sequence[Key], blind: Sequence[Blind] | None) -> None:
        """Commit what the uplink and the clock have brought: life, acknowledgements, frames to delete, blind spans kept."""
        with self._transaction() as db:
            if progress:
                _write_meta(db, "epoch", str(progress.epoch).encode())
                if progress.renewed:
                    db.execute("DELETE FROM acknowledged")
                for stream, marks in progress.marks.items():
                    db.executemany(
                        "INSERT OR REPLACE INTO acknowledged SELECT position, ?, ? FROM stream WHERE id = ?",
                        [(mark.at_us, mark.seq, stream) for mark in marks],
                    )
            for stream, seq in delete:
                for table in ("frame", "acknowledged"):
                    db.execute(
                        f"DELETE FROM {table} WHERE stream = (SELECT position FROM stream WHERE id = ?) AND seq <= ?",  # noqa: S608
                        (stream, seq),
                    )
            if delete:
                db.execute("DELETE FROM shift WHERE stream NOT IN (SELECT stream FROM frame)")
                db.execute(
                    "DELETE FROM stream WHERE position NOT IN (SELECT stream FROM frame) AND position <> ?", (self._position,)
                )
            if blind is not None:
                _write_blind(db, blind)
            self._write_alive(db, alive_us)

    def shift(self, after: int, us: int) -> None:
        """The clock of the present stream was never set, and is now known to have been `us` behind: frames later than `after`,
        which were never on the way, go out with the right times."""
        if self._position:
            with self._transaction() as db:
                db.execute("INSERT OR REPLACE INTO shift VALUES (?, ?, ?)", (self._position, after, us))

    def keep_config(self, config: Config) -> None:
        """Commit what the backend said of people; it replaces what was kept."""
        with self._transaction() as db:
            _write_meta(db, "config", msgspec.json.encode(config))

    def delivered(self, through_us: int) -> None:
        """Note beside the file that the backend has everything up to then: it dates the loss if the file is ever damaged."""
        fresh = self.path.with_suffix(".delivered.new")
        fresh.write_text(str(through_us))
        fresh.replace(self.path.with_suffix(".delivered"))

    def room(self) -> int:
        """Return the bytes that the file may come to take, its present ones included, and `RESERVE_BYTES` left on the disk."""
        return self.path.stat().st_size + shutil.disk_usage(self.path.parent).free - RESERVE_BYTES

    # ------------------------------------------------------------------ reading
    def frame(self, key: Key, oldest: int) -> bytes | None:
        """Return a frame as it goes on the wire, None where it is no longer held."""
        row = self._db.execute(
            "SELECT since_us, through_us, body, after, us FROM frame f JOIN stream ON position = f.stream"
            " LEFT JOIN shift s ON s.stream = f.stream WHERE id = ? AND seq = ?",
            key,
        ).fetchone()
        if row is None:
            return None
        since_us, through_us, body, after, us = row
        if us is not None and key.seq > after:
            since_us, through_us, body = since_us + us, through_us + us, shifted(body, us)
        header = Header(stream=key.stream, seq=key.seq, oldest=oldest, since_us=since_us, through_us=through_us)
        return encode_frame(header, body)

    def held(self) -> list[Held]:
        """Return the frames held, oldest stream first."""
        found = []
        for position, stream in self._db.execute("SELECT position, id FROM stream ORDER BY position").fetchall():
            frames = self._db.execute("SELECT seq, size FROM frame WHERE stream = ? ORDER BY seq", (position,)).fetchall()
            if not frames:
                continue
            marks = self._db.execute("SELECT seq, at_us FROM acknowledged WHERE stream = ? ORDER BY at_us", (position,))
            found.append(Held(stream=stream, first=frames[0][0], sizes=[s for _, s in frames], marks=[Mark(*m) for m in marks]))
        return found

    def memory(self) -> dict[str, int]:
        """Return the codecs' last-known states."""
        return dict(self._db.execute("SELECT device, value FROM memory").fetchall())

    def blind(self) -> list[Blind]:
        """Return the blind spans kept; those without `to_us` were open when the process ended."""
        rows = self._db.execute("SELECT source, from_us, to_us, reason FROM blind ORDER BY from_us").fetchall()
        return [Blind(source=s, from_us=f, to_us=t, reason=r) for s, f, t, r in rows]

    def epoch(self) -> int:
        """Return the backend's epoch that the acknowledgements kept are from."""
        return int(self._meta("epoch") or 0)

    def config(self) -> Config | None:
        """Return what the backend said last of people, None where it never did."""
        raw = self._meta("config")
        return msgspec.json.decode(raw, type=Config) if raw else None

    @property
    def seq(self) -> int:
        """Number of the last frame of the present stream, 0 for none."""
        return self._seq

    # ------------------------------------------------------------------ inside
    def _meta(self, key: str) -> bytes | None:
        row = self._db.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                crashpoint("spool.commit")
                self._db.execute("COMMIT")
                crashpoint("spool.committed")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise
        except sqlite3.Error as e:
            raise SpoolError(f"the spool {self.path} does not take the group: {e}; free the disk or replace the card") from e

    def _write_alive(self, db: sqlite3.Connection, now_us: int) -> None:
        self.alive_us = max(self.alive_us, now_us)  # a clock that starts in 1970 must not hide how long we were down
        _write_meta(db, "alive_us", str(self.alive_us).encode())

    def _quarantine(self, db: sqlite3.Connection, rows: Sequence[Quarantined]) -> None:
        for q in rows:
            head = mask(q.payload[:PICTURE_HEAD_BYTES]) if q.picture else q.payload[:HEAD_BYTES]
            values = (q.at_us, q.family, q.topic, q.reason, q.detail, len(q.payload), hashlib.sha256(q.payload).digest(), head)
            db.execute(
                "INSERT INTO quarantine (at_us, family, topic, reason, detail, length, sha256, head)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                values,
            )
        if rows:
            db.execute("DELETE FROM quarantine WHERE id <= (SELECT max(id) FROM quarantine) - ?", (QUARANTINED,))

    def _set_aside(self) -> int:
        """Move the damaged file and its journal away. Returns the time up to which the backend surely has everything."""
        delivered_us = self._delivered()
        known_us = int(self.path.stat().st_mtime * 1e6) if delivered_us is None else delivered_us
        for suffix in ("", "-wal", "-shm"):
            file = Path(f"{self.path}{suffix}")
            if file.exists():
                file.replace(f"{self.path}.damaged{suffix}")
        return known_us

    def _delivered(self) -> int | None:
        with contextlib.suppress(FileNotFoundError, ValueError):
            return int(self.path.with_suffix(".delivered").read_text())
        return None


def shifted(body: bytes, us: int) -> bytes:
    """Return a frame's body with its gateway's clock set right by `us`, where its times rest on that clock.

    A device's own time that was implausible beside a clock of 1970 holds if it is plausible beside the right one.
    """
    head, rows = rows_of(body)
    rows = rows.copy()
    rows["received_us"] += us
    own = rows["raw_us"]
    right = ((rows["flags"] & int(Flag.TIME_IMPLAUSIBLE)) != 0) & (own > 0)
    right &= (own >= rows["received_us"] - OLDEST_US) & (own <= rows["received_us"] + NEWEST_US)
    rows["t_us"] = np.where(right, own, rows["t_us"] + us)
    rows["flags"][right] &= ~np.uint16(Flag.TIME_IMPLAUSIBLE)
    rows["raw_us"][right] = 0
    return head + rows.tobytes()


def mask(head: bytes) -> bytes:
    """Keep the shape of a text and none of its content: letters become x, digits 0, all beyond ASCII and controls "?"."""
    return head.translate(_MASK)


_LETTERS = string.ascii_letters.encode()
_KEPT = string.punctuation.encode() + b" "
_DIGITS = string.digits.encode()
_MASK = bytes(ord("x") if i in _LETTERS else ord("0") if i in _DIGITS else i if i in _KEPT else ord("?") for i in range(256))


def _open(path: Path) -> sqlite3.Connection:
    os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    db = sqlite3.connect(path, isolation_level=None, timeout=1)
    try:
        # A second process on the same spool would number its frames in between ours.
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")
        if db.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("the file is damaged")
        db.executescript(SCHEMA)
    except BaseException:
        db.close()
        raise
    return db


def _write_meta(db: sqlite3.Connection, key: str, value: bytes) -> None:
    db.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def _write_blind(db: sqlite3.Connection, spans: Iterable[Blind]) -> None:
    db.execute("DELETE FROM blind")
    db.executemany("INSERT INTO blind VALUES (?, ?, ?, ?)", [(b.source, b.from_us, b.to_us, b.reason) for b in spans])


def _groups(events: Sequence[Event]) -> list[tuple[list[Event], Event | None]]:
    """Cut into groups that fit a frame, each with the event that follows it."""
    groups: list[list[Event]] = []
    room = 0
    devices: set[str] = set()
    persons: set[bytes] = set()
    for e in events:
        size = EVENT_DTYPE.itemsize
        size += 0 if e.device in devices else 1 + len(e.device.encode())
        size += 0 if e.person is None or e.person in persons else TOKEN_BYTES
        if not groups or size > room or len(groups[-1]) == FRAME_EVENTS:
            groups.append([])
            room, devices, persons = FRAME_BODY_BYTES - 6, set(), set()
            size = EVENT_DTYPE.itemsize + 1 + len(e.device.encode()) + (0 if e.person is None else TOKEN_BYTES)
        groups[-1].append(e)
        room -= size
        devices.add(e.device)
        if e.person is not None:
            persons.add(e.person)
    return [(g, groups[i][0] if i < len(groups) else None) for i, g in enumerate(groups, 1)]


def _through(group: Sequence[Event], following: Event | None, through_us: int) -> int:
    """Return the watermark of a group: the next frame's first event must not lie before it."""
    return through_us if following is None else min(through_us, following.received_us - 1)
