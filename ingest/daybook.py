"""What people enter about days and sites that are not as usual: public holidays, closures, visits and drills.

One decision: the country's holidays come from the `holidays` library for a fixed span of years, so that equal registers give
equal inputs; what is announced later, or differs locally, is a row that goes before the library.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any, Literal
from zoneinfo import ZoneInfo

import holidays
import psycopg

from ingest.declaration import micros
from ingest.errors import IngestError
from ingest.register import raise_version
from ingest.store.queries import Queries

QUERIES = Queries("ingest")
YEARS = range(2015, 2036)
COUNTRY = "CN"
Kind = Literal["holiday", "workday", "normal"]
Mode = Literal["visit", "drill"]
Connection = psycopg.Connection[Any]


class DaybookError(IngestError):
    """An entry was refused; nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A day that is not as its weekday. source: "library" or the author of the entry."""

    date: str
    kind: str
    name: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A closure (mode "closed"), visit or drill of a site, [from_us, to_us)."""

    site: str
    from_us: int
    to_us: int
    mode: str
    reason: str
    author: str
    cancelled: bool = False


@cache
def public(country: str = COUNTRY) -> Mapping[str, tuple[str, str]]:
    """Return the country's public holidays and worked weekend days (调休) of YEARS: "YYYY-MM-DD" → (kind, name).

    country: ISO 3166 code; names are in its own language. Raises DaybookError where the library does not know it.
    """
    try:
        known = holidays.country_holidays(country, years=YEARS)
        # unless told, the library names days in the language of whoever started this process
        known = holidays.country_holidays(country, years=YEARS, language=known.default_language)
    except NotImplementedError as e:
        raise DaybookError(f"no public holidays are known of {country!r}; give an ISO 3166 code such as CN") from e
    worked = {day.isoformat(): ("workday", "") for day in sorted(known.weekend_workdays)}
    return {day.isoformat(): ("holiday", name) for day, name in sorted(known.items())} | worked


def days(conn: Connection, country: str = COUNTRY) -> dict[str, str]:
    """Return the days that differ from their weekday, as Inputs.days has them: "YYYY-MM-DD" → "holiday" or "workday"."""
    return {day.date: day.kind for day in listed(conn, country) if day.kind != "normal"}


def listed(conn: Connection, country: str = COUNTRY, year: int | None = None) -> list[Day]:
    """Return these days by date, with names and where they come from; entries of kind "normal" too."""
    found = {day: Day(date=day, kind=kind, name=name, source="library") for day, (kind, name) in public(country).items()}
    for day, kind, name, author in conn.cursor(row_factory=psycopg.rows.tuple_row).execute(QUERIES["calendar_days"]).fetchall():
        found[day.isoformat()] = Day(date=day.isoformat(), kind=kind, name=name, source=author)
    return [found[key] for key in sorted(found) if year is None or key.startswith(f"{year:04d}-")]


def set_day(conn: Connection, day: date, kind: Kind, author: str, now_us: int, *, name: str = "") -> None:
    """Say what a day is, in place of the library and of what was said before."""
    if kind == "workday" and day.weekday() < 5:
        raise DaybookError(f"{day} is a {day:%A} and worked anyway; say normal where the library calls it a holiday")
    with conn.transaction():
        conn.execute(QUERIES["put_calendar_day"], {"date": day, "kind": kind, "name": name, "author": author, "now_us": now_us})
        raise_version(conn)


def enter(conn: Connection, entry: Entry, now_us: int) -> None:
    """Enter a closure, visit or drill, or cancel the one of the same site and time. Raises DaybookError."""
    if entry.from_us >= entry.to_us:
        raise DaybookError("the end must come after the begin")
    if not entry.reason.strip():
        raise DaybookError("a reason is needed: people will ask why")
    name = "put_closure" if entry.mode == "closed" else "put_site_mode"
    values = {field: getattr(entry, field) for field in entry.__slots__} | {"now_us": now_us}
    with conn.transaction():
        if conn.execute(QUERIES[name], values).rowcount != 1:
            raise DaybookError(f"there is no site {entry.site!r} in the register")
        raise_version(conn)


def span(conn: Connection, site: str, begin: str, end: str) -> tuple[int, int]:
    """Read "YYYY-MM-DD" or "YYYY-MM-DDTHH:MM" in a site's zone as [from_us, to_us); a date as the end is that day's end."""
    row = conn.cursor(row_factory=psycopg.rows.tuple_row).execute(QUERIES["zone_of_site"], {"site": site}).fetchone()
    if row is None:
        raise DaybookError(f"there is no site {site!r} in the register")
    try:
        first, last = datetime.fromisoformat(begin), datetime.fromisoformat(end)
    except ValueError:
        raise DaybookError(f'got {begin} and {end}, expected "YYYY-MM-DD" or "YYYY-MM-DDTHH:MM"') from None
    if len(end) == len("YYYY-MM-DD"):
        last += timedelta(days=1)
    zone = ZoneInfo(row[0])
    return micros(first.replace(tzinfo=zone)), micros(last.replace(tzinfo=zone))
