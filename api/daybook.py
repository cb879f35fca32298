"""Closing a site, visits, drills and the calendar, for the page and the REST interface alike.

One decision: "closed today" is a closure of the whole local day, so that an alert raised before anyone pressed the button is
taken back too; opening again cancels it, and keeps of a longer closure the days that were closed.
"""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from psycopg import AsyncConnection
from psycopg.rows import class_row

from analytics.calendars import Calendar, Window
from api import audit
from api.accounts import Principal
from api.duty import Shift
from api.errors import BadRequest, NotFound
from api.reading import SiteRow
from gateway.clock import DAY_US, SECOND_US
from ingest import daybook
from ingest.daybook import QUERIES, Day
from ingest.store.queries import Queries

Connection = AsyncConnection[Any]
SQL = Queries("api", "daybook.sql")
KINDS = ("holiday", "workday", "normal")
MODES = ("closed", "visit", "drill")
MAX_REASON = 500
MAX_SPAN_US = 400 * DAY_US
"""Longest closure, visit or drill: more is a site that should leave the register."""
MAX_ENTRIES = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A closure (mode "closed"), visit or drill in force, [from_us, to_us)."""

    mode: str
    from_us: int
    to_us: int
    reason: str
    author: str
    at_us: int


async def entries(conn: Connection, site: int, from_us: int, to_us: int) -> list[Entry]:
    """Return what is in force at a site (id) and touches [from_us, to_us), in order of time."""
    async with conn.cursor(row_factory=class_row(Entry)) as cursor:
        await cursor.execute(SQL["entries"], {"site": site, "from_us": from_us, "to_us": to_us})
        return await cursor.fetchmany(MAX_ENTRIES)


async def enter(
    conn: Connection,
    who: Principal,
    site: SiteRow,
    mode: str,
    from_us: int,
    to_us: int,
    reason: str,
    now_us: int,
    *,
    cancelled: bool = False,
) -> None:
    """Enter a closure, visit or drill, or take back the one of exactly this time. Raises BadRequest."""
    if mode not in MODES:
        raise BadRequest(f"a mode is one of {', '.join(MODES)}")
    if from_us >= to_us or to_us - from_us > MAX_SPAN_US:
        raise BadRequest("the end must come after the begin, and within 400 days of it")
    if not reason.strip() or len(reason) > MAX_REASON or "\0" in reason:
        raise BadRequest(f"a reason of 1 to {MAX_REASON} characters is needed: people will ask why")
    values = {"from_us": from_us, "to_us": to_us, "reason": reason.strip(), "author": who.name, "cancelled": cancelled}
    query = "put_closure" if mode == "closed" else "put_site_mode"
    await conn.execute(QUERIES[query], values | {"site": site.code, "mode": mode, "now_us": now_us})
    await conn.execute(QUERIES["raise_version"])
    what = "cancelled" if cancelled else "entered"
    await audit.write(conn, who, action=f"site.{mode}.{what}", subject=f"site/{site.code}", detail=values)


async def close_today(conn: Connection, who: Principal, site: SiteRow, reason: str, now_us: int) -> None:
    """Close a site for the whole of its local day. Raises BadRequest."""
    from_us, to_us = calendar_of(site, [], {}).day_of(now_us)
    await enter(conn, who, site, "closed", from_us, to_us, reason, now_us)


async def reopen(conn: Connection, who: Principal, site: SiteRow, now_us: int) -> None:
    """End every closure of a site that holds now; of a longer one the days before today stay. Raises NotFound."""
    today, _ = calendar_of(site, [], {}).day_of(now_us)
    present = [e for e in await entries(conn, site.id, now_us, now_us + 1) if e.mode == "closed"]
    if not present:
        raise NotFound(f"{site.code} is not closed now")
    for e in present:
        await enter(conn, who, site, "closed", e.from_us, e.to_us, e.reason, now_us, cancelled=True)
        if e.from_us < today:
            await enter(conn, who, site, "closed", e.from_us, today, e.reason, now_us)


async def on_duty(conn: Connection, site: int, now_us: int) -> list[Shift]:
    """Return who is on duty now for a site (id): its own people first, then the town's and the city's."""
    async with conn.cursor(row_factory=class_row(Shift)) as cursor:
        await cursor.execute(SQL["on_duty"], {"site": site, "now_us": now_us})
        return await cursor.fetchall()


async def days(conn: Connection, country: str, year: int | None = None) -> list[Day]:
    """Return the days that are not as their weekday by date, what was entered before the library's."""
    found = {day: Day(date=day, kind=kind, name=name, source="library") for day, (kind, name) in daybook.public(country).items()}
    for day, kind, name, author in await (await conn.execute(QUERIES["calendar_days"])).fetchall():
        found[day.isoformat()] = Day(date=day.isoformat(), kind=kind, name=name, source=author)
    return [found[key] for key in sorted(found) if year is None or key.startswith(f"{year:04d}-")]


async def set_day(conn: Connection, who: Principal, day: date, kind: str, name: str, now_us: int) -> None:
    """Say what a day is everywhere, in place of the library. Raises BadRequest."""
    if kind not in KINDS:
        raise BadRequest(f"a day is one of {', '.join(KINDS)}")
    if kind == "workday" and day.weekday() < 5:
        raise BadRequest(f"{day} is no weekend day and worked anyway; say normal where it is not a holiday after all")
    if len(name) > 100 or "\0" in name:
        raise BadRequest("a name has at most 100 characters")
    values = {"kind": kind, "name": name.strip()}
    await conn.execute(QUERIES["put_calendar_day"], values | {"date": day, "author": who.name, "now_us": now_us})
    await conn.execute(QUERIES["raise_version"])
    await audit.write(conn, who, action="calendar.day.set", subject=f"day/{day}", detail=values)


def calendar_of(site: SiteRow, present: list[Entry], special: dict[str, str]) -> Calendar:
    """Return a site's calendar as the analyzer has it. special: "YYYY-MM-DD" → "holiday" or "workday"."""
    hours = {day: [(a, b) for a, b in windows] for day, windows in site.hours.items()}
    closed = [(e.from_us, e.to_us) for e in present if e.mode == "closed"]
    modes = [(e.from_us, e.to_us, e.mode) for e in present if e.mode != "closed"]
    return Calendar(site.zone, hours, closed, days=special, modes=modes)


def windows_of(calendar: Calendar, day_us: int) -> list[Window]:
    """Return the windows that begin on the local day of `day_us`."""
    begin, end = calendar.day_of(day_us)
    return [w for w in calendar.around(day_us) if begin <= w.opens_us < end]


def moment(text: str, zone: str) -> int:
    """Read "YYYY-MM-DD" or "YYYY-MM-DDTHH:MM" of a form in a zone as microseconds. Raises BadRequest."""
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * SECOND_US
    except (ValueError, OverflowError) as error:
        raise BadRequest("a date and a time were expected") from error
