"""What keeps a store small over years: rows whose time is over are deleted, closed parts of the log compressed or dropped.

One decision: nothing here is in anyone's way. Each step is a short transaction of its own that waits for no lock longer than
two seconds; what could not be had is left for the next day, and a run that is cut off is simply begun anew.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import sql

from gateway.clock import DAY_US, HOUR_US
from ingest import erasure
from ingest.errors import IngestError
from ingest.memory import HORIZON_US
from ingest.store.partitions import Part, compress, drop, parts, sizes
from ingest.store.queries import Queries
from ingest.store.schema import ensure_partitions, has_timescale

QUERIES = Queries("ingest", "maintenance.sql")
LOCK = 0x5CA170  # advisory lock: one maintenance at a time
ROWS_AT_ONCE = 10_000
COMPRESS_US = HORIZON_US + DAY_US
"""T1 asks about the time before, row by row."""
NIGHT_US = 19 * HOUR_US
"""03:00 in China, when centres there are closed."""

Conn = psycopg.Connection[Any]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How long something is kept (days), at least how long, and why."""

    days: int
    least: int
    why: str


KEEP: Mapping[str, Keep] = {
    "event": Keep(days=1096, least=60, why="补助以人次计，可追溯到原始事件 subsidies rest on counts, and counts on events"),
    "passage": Keep(days=366, least=60, why="人脸办法§8、个保法§19：期限最短 no longer than needed; counts stay in roll-ups"),
    "person_day": Keep(days=1096, least=60, why="服务记录 the record of whom a subsidy was for"),
    "alert": Keep(days=1096, least=60, why="处理记录三年 handling of alerts, as records of processing (人脸办法§9)"),
    "outbox": Keep(days=183, least=7, why="网络安全法§21：日志六个月 logs for six months; what left is in the disclosure record"),
    "quarantine": Keep(days=183, least=7, why="网络安全法§21：日志六个月 logs for six months"),
    "cursor": Keep(days=90, least=14, why="网关重发 72 小时 gateways send 72 h again; disks are cloned and rolled back"),
    "unclaimed": Keep(days=90, least=1, why="待认领设备 devices that nobody entered"),
    "session": Keep(days=183, least=1, why="登录与令牌到期后 sign-ins and tokens after their end (网络安全法§21)"),
    "erased": Keep(days=7, least=2, why="被删除者编号 numbers of erased persons"),
}
ROWS: tuple[tuple[str, str], ...] = (
    ("loss", "event"),
    ("coverage", "event"),
    ("blind", "event"),
    ("liveness", "event"),
    ("inputs", "event"),
    ("data_period", "event"),
    ("served_person", "passage"),
    *((name, name) for name in ("person_day", "outbox", "alert", "quarantine", "cursor", "unclaimed", "session", "erased")),
    ("signin_link", "session"),
    ("api_token", "session"),
)
"""Tables, in the order in which they are gone through, and whose retention they share. Cursors need coverage."""
COUNT = sql.SQL("SELECT count(*) FROM ({old}\n) AS old")
DELETE = sql.SQL("DELETE FROM {table} WHERE ctid = ANY(ARRAY({old}\nLIMIT {limit}))")
PARTS = {"frame": "event", "event": "event", "passage": "passage"}


class RetentionError(IngestError):
    """A retention that nothing has, or that is too short."""


class Busy(IngestError):
    """Another maintenance is running."""


@dataclass(slots=True, kw_only=True)
class Report:
    """What was done, or with a dry run would be. before, after: table → bytes; rows: table → deleted.

    held_back_us: where the analyzer's checkpoints ended, if that was earlier than what was to be deleted.
    """

    timescale: bool
    before: dict[str, int]
    after: dict[str, int] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    dropped: list[Part] = field(default_factory=list)
    compressed: list[Part] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    unlinked: int = 0
    held_back_us: int | None = None


def retention(days: Mapping[str, int]) -> dict[str, int]:
    """Return table → days with `days` over the defaults. Raises RetentionError."""
    for name, wanted in days.items():
        if name not in KEEP:
            raise RetentionError(f"there is no retention {name!r}; expected one of {', '.join(KEEP)}")
        if wanted < KEEP[name].least:
            raise RetentionError(f"{name} cannot be kept for {wanted} days only; at least {KEEP[name].least}")
    return {name: k.days for name, k in KEEP.items()} | dict(days)


def due(conn: Conn, now_us: int) -> bool:
    """Tell whether a night has passed since the last run."""
    last = conn.execute(QUERIES["last_run"]).fetchone()
    return last is None or (now_us - NIGHT_US) // DAY_US > (last[0] - NIGHT_US) // DAY_US


def log_from_us(conn: Conn) -> int:
    """Return from where on the log is whole; 0: from its beginning."""
    last = conn.execute(QUERIES["last_run"]).fetchone()
    return int(last[1]) if last else 0


def maintain(conn: Conn, now_us: int, days: Mapping[str, int], say: Say, *, dry_run: bool = False) -> Report:
    """Do what is due; `say` is told of each step before it begins. conn: in autocommit. Raises Busy, RetentionError."""
    kept = retention(days)
    with _alone(conn):
        report = Report(timescale=has_timescale(conn), before=sizes(conn))
        if not dry_run:
            ensure_partitions(conn, now_us)
            report.unlinked = erasure.forget_erased(conn)
        started = _log_start(conn, now_us, kept, report)
        _parts(conn, now_us, started, report, say, dry_run)
        for table, whose in ROWS:
            before_us = started["event"] if whose == "event" else now_us - kept[whose] * DAY_US
            if count := _rows(conn, table, before_us, say, dry_run):
                report.rows[table] = count
        report.after = sizes(conn)
        if not dry_run:
            whole_from = max([0, *(p.to_us for p in report.dropped)])
            conn.execute(QUERIES["put_run"], {"now_us": now_us, "log_from_us": whole_from})
    return report


@contextmanager
def _alone(conn: Conn) -> Iterator[None]:
    got = conn.execute(QUERIES["try_alone"], {"lock": LOCK}).fetchone()
    if not (got and got[0]):
        raise Busy("另一个维护正在运行 another maintenance is running; wait for it, or stop it")
    try:
        yield
    finally:
        if not conn.broken:
            conn.execute(QUERIES["leave"], {"lock": LOCK})


def _log_start(conn: Conn, now_us: int, kept: Mapping[str, int], report: Report) -> dict[str, int]:
    """Where each part of the log may begin: what an analyzer has yet to read stays, however old it is."""
    wanted = {name: now_us - kept[name] * DAY_US for name in ("event", "passage")}
    (through,) = conn.execute(QUERIES["analysed_through"]).fetchall()[0]
    if through is not None and through < max(wanted.values()):
        report.held_back_us = through
        return {name: min(at, through) for name, at in wanted.items()}
    return wanted


def _parts(conn: Conn, now_us: int, started: Mapping[str, int], report: Report, say: Say, dry_run: bool) -> None:
    """Drop what is over and compress what is closed, oldest first."""
    for part in parts(conn):
        if part.to_us <= started[PARTS[part.table]]:
            what, done, work = "删除 dropping", report.dropped, drop
        elif report.timescale and not part.compressed and part.to_us <= now_us - COMPRESS_US:
            what, done, work = "压缩 compressing", report.compressed, compress
        else:
            continue
        say(f"{what} {part.name}")
        try:
            if not dry_run:
                work(conn, part)
            done.append(part)
        except psycopg.errors.LockNotAvailable:
            report.missed.append(part.name)


def _rows(conn: Conn, table: str, before_us: int, say: Say, dry_run: bool) -> int:
    """Delete the rows of a table whose time is over, so many at a time. Returns how many."""
    values = {"before_us": before_us}
    names = {"table": sql.Identifier(table), "old": sql.SQL(QUERIES[f"old_{table}"]), "limit": ROWS_AT_ONCE}
    if dry_run:
        count: int = conn.execute(COUNT.format(**names), values).fetchall()[0][0]
        return count
    say(f"整理 tidying {table}")
    gone = 0
    while True:
        some = conn.execute(DELETE.format(**names), values).rowcount
        gone += some
        if some < ROWS_AT_ONCE:
            return gone
