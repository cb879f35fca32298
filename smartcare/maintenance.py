"""Maintenance: `smartcare maintain`, `smartcare erase`, and the night's run inside the worker.

One decision: every worker looks once an hour whether the night's run is due, and the first one does it; nobody has to set up
a timer, and a run that was cut off is simply due again.
"""

import asyncio
import io
import logging
from collections.abc import Callable, Mapping
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table

from gateway.clock import now_us
from ingest import erasure, maintenance
from ingest.errors import IngestError
from ingest.maintenance import Report
from ingest.store.partitions import Part

LOOK_S = 3600.0
WIDTH = 110
Conn = psycopg.Connection[Any]
Say = Callable[[str], None]

log = logging.getLogger(__name__)


class BadToken(IngestError):
    """What was given is no token."""


def run(conn: Conn, days: Mapping[str, int], say: Say, *, dry_run: bool) -> str:
    """Maintain with a line of progress for each step. Returns the table of what it brought. Raises IngestError."""
    return rendered(maintenance.maintain(conn, now_us(), days, say, dry_run=dry_run), dry_run)


def erase(conn: Conn, token: str) -> int:
    """Erase the person with this token (hexadecimal). Returns how many passages became anonymous. Raises IngestError."""
    try:
        raw = bytes.fromhex(token)
    except ValueError:
        raise BadToken(f"{token!r} is no token; expected 32 hexadecimal digits") from None
    return erasure.erase_person(conn, raw, now_us())


async def nightly(database_url: str, days: Mapping[str, int]) -> None:
    """Maintain each night until cancelled; a run that is under way is then cut off."""
    while True:
        try:
            await _once(database_url, days)
        except (psycopg.Error, IngestError) as e:
            log.warning("maintenance did not finish and is tried again in an hour: %s", e)
        await asyncio.sleep(LOOK_S)


async def _once(database_url: str, days: Mapping[str, int]) -> None:
    conn = await asyncio.to_thread(_connect, database_url)
    try:
        done = await asyncio.to_thread(_if_due, conn, days)
        if done:
            log.info("maintenance:\n%s", done)
    except asyncio.CancelledError:
        conn.cancel_safe(timeout=2)
        raise
    finally:
        conn.close()


def _connect(database_url: str) -> Conn:
    return psycopg.connect(database_url, autocommit=True, connect_timeout=5, application_name="smartcare maintenance")


def _if_due(conn: Conn, days: Mapping[str, int]) -> str:
    if not maintenance.due(conn, now_us()):
        return ""
    try:
        return run(conn, days, log.debug, dry_run=False)
    except maintenance.Busy:
        return ""  # another worker is at it


def rendered(report: Report, dry_run: bool) -> str:
    """Return the report as text: for each table what goes or went, and its bytes before and after."""
    title = "会做什么 what would be done (nothing was)" if dry_run else "维护 what was done"
    table = Table("表 table", title=title)
    for head in ("删除行 rows deleted", "删除分区 parts dropped", "压缩 compressed", "之前 before", "之后 after"):
        table.add_column(head, justify="right")
    dropped, compressed = _by_table(report.dropped), _by_table(report.compressed)
    touched = {*report.rows, *dropped, *compressed}
    for name in sorted(report.before, key=lambda n: -report.before[n]):
        if name in touched or report.before[name] > 1_000_000:
            counts = (report.rows.get(name, 0), dropped.get(name, 0), compressed.get(name, 0))
            sizes = report.before[name], report.after.get(name, 0)
            table.add_row(name, *(f"{n:,}" if n else "" for n in counts), *(f"{n / 1e6:,.1f} MB" for n in sizes))
    table.add_section()
    table.add_row("全部 all", "", "", "", *(f"{sum(s.values()) / 1e6:,.1f} MB" for s in (report.before, report.after)))
    console = Console(file=io.StringIO(), width=WIDTH)
    console.print(table)
    for line in _remarks(report):
        console.print(line, soft_wrap=True)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def _remarks(report: Report) -> list[str]:
    said = []
    if not report.timescale:
        said.append("普通 PostgreSQL 不压缩，空间会被重用 plain PostgreSQL compresses nothing; space is reused")
    if report.held_back_us is not None:
        said.append("分析未读完的日志保留 what the analyzer has yet to read is kept, although its time is over")
    if report.missed:
        said.append(f"被占用，明天再试 in use, left for the next run: {', '.join(report.missed)}")
    if report.unlinked:
        said.append(f"再次匿名 anonymous again: {report.unlinked} passages of erased persons")
    return said


def _by_table(parts: list[Part]) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in parts:
        found[part.table] = found.get(part.table, 0) + 1
    return found
