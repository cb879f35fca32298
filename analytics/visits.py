"""Visit tasks (探访): made by a resident's absence, closed by a visit or by the person coming; and the monthly visit rate.

One decision: tasks follow findings in the same transaction as alerts do, and every step may be repeated: one task for an
alert, and only an open task changes.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, tuple_row

from analytics import alerts
from analytics.findings import Finding, Phase, Rule, Severity
from gateway.clock import DAY_US, HOUR_US
from ingest.store.queries import Queries

SQL = Queries("analytics", "visits.sql")
DUE_US = {Severity.MAJOR: DAY_US, Severity.URGENT: 4 * HOUR_US}
"""How soon someone should have been there."""
MONTH = re.compile(r"^(\d{4})-(0[1-9]|1[0-2])$")

Connection = AsyncConnection[Any]


class Result(StrEnum):
    """How a visit came out."""

    WELL = "well"
    IN_HOSPITAL = "in_hospital"
    AWAY = "away"
    MOVED = "moved"
    NOT_FOUND = "not_found"
    EMERGENCY = "emergency"
    OTHER = "other"


class VisitError(Exception):
    """Base of what can go wrong with a visit task."""


class UnknownVisit(VisitError):
    """There is no such task, or it belongs to another site."""

    def __init__(self, number: int) -> None:
        super().__init__(f"there is no visit task {number}")
        self.number = number


class VisitOver(VisitError):
    """Someone else has done it, or it was withdrawn."""

    def __init__(self, number: int, state: str) -> None:
        super().__init__(f"visit task {number} is {state} already; look at it again")
        self.number, self.state = number, state


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A task with its site and why it was made. Times in microseconds."""

    id: int
    alert: int
    person: int
    site_code: str
    site_name: str
    site_name_en: str
    zone: str
    created_us: int
    due_us: int
    state: str
    result: str | None
    note: str
    done_us: int | None
    who: str
    rule: str
    severity: str
    reason: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRate:
    """Residents of a site in a month: all under consent; who came; who was visited; who did either."""

    site_code: str
    site_name: str
    site_name_en: str
    region: str
    residents: int
    seen: int
    visited: int
    reached: int


async def follow(conn: Connection, findings: Sequence[Finding], now_us: int) -> None:
    """Make, withdraw and close tasks as findings say, in the transaction that stored their alerts."""
    for f in findings:
        if f.rule is not Rule.RESIDENT_ABSENT:
            continue
        values: dict[str, Any] = {"person": f.subject, "site": f.site, "now_us": now_us}
        if f.phase in (Phase.BEGIN, Phase.CONTINUE):
            if f.severity in DUE_US:
                await conn.execute(SQL["make_visit"], values | {"due_us": now_us + DUE_US[f.severity]})
            else:
                await conn.execute(SQL["end_visits"], values | {"state": "withdrawn", "result": None})
        else:
            seen = f.phase is Phase.END and f.reason.get("ended") == "seen"
            await conn.execute(
                SQL["end_visits"], values | {"state": "done" if seen else "withdrawn", "result": "seen" if seen else None}
            )


async def complete(
    conn: Connection, number: int, result: Result, note: str, who: str, now_us: int, *, sites: list[int] | None = None
) -> None:
    """Record a visit; unless nobody was found, its alert is resolved too. sites: where the caller may act; None: everywhere.

    Raises UnknownVisit, VisitOver.
    """
    async with conn.transaction():
        row = await (await _tuples(conn, "alert_of_visit", {"id": number, "sites": sites})).fetchone()
        if row is None:
            raise UnknownVisit(number)
        alert, state, version = row  # locked first, as findings lock it
        task = await (await _tuples(conn, "lock_visit", {"id": number})).fetchone()
        if task is None or task[0] != "open":
            raise VisitOver(number, task[0] if task else "gone")
        values = {"id": number, "result": result, "note": note, "who": who, "now_us": now_us}
        await conn.execute(SQL["complete_visit"], values)
        if result is not Result.NOT_FOUND and state in ("open", "acknowledged"):
            await alerts.resolve(conn, alert, version, who, "real", f"{result}: {note}" if note else str(result), now_us)


async def visits(
    conn: Connection, *, sites: list[int] | None = None, state: str | None = None, number: int | None = None, limit: int = 200
) -> list[Visit]:
    """Return tasks: the open ones by when they are due, then the others, newest first."""
    async with conn.cursor(row_factory=class_row(Visit)) as cursor:
        await cursor.execute(SQL["visits"], {"sites": sites, "state": state, "id": number, "limit": limit})
        return await cursor.fetchall()


async def visits_page(
    conn: Connection, *, sites: list[int] | None, region: str, state: str | None, below: int | None, limit: int
) -> list[Visit]:
    """Return tasks by id, newest first, below a cursor. region: head of region codes."""
    async with conn.cursor(row_factory=class_row(Visit)) as cursor:
        values = {"sites": sites, "region": region, "state": state, "below": below, "limit": limit}
        await cursor.execute(SQL["visits_page"], values)
        return await cursor.fetchall()


async def visit_rate(conn: Connection, month: str, *, region: str = "", sites: list[int] | None = None) -> list[SiteRate]:
    """Return each site's residents of `month` ("YYYY-MM"); region: only codes that begin so.

    Raises ValueError for a month or region that is none.
    """
    found = MONTH.match(month)
    if found is None or not "0001" <= found[1] <= "9998":
        raise ValueError(f"a month is written 2026-11, not {month!r}")
    if not re.fullmatch(r"[0-9]{0,12}", region):
        raise ValueError(f"a region is the beginning of a code of 12 digits, not {region!r}")
    begin = date(int(found[1]), int(found[2]), 1)
    end = date(begin.year + begin.month // 12, begin.month % 12 + 1, 1)
    async with conn.cursor(row_factory=class_row(SiteRate)) as cursor:
        await cursor.execute(SQL["visit_rate"], {"from_day": begin, "to_day": end, "region": region, "sites": sites})
        return await cursor.fetchall()


async def _tuples(conn: Connection, query: str, values: dict[str, Any]) -> Any:
    cursor = conn.cursor(row_factory=tuple_row)
    return await cursor.execute(SQL[query], values)
