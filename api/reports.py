"""Reads reports of sites over local days: opening, footfall, 服务人次, meals, visits, alerts, sensors, corrections.

    roll-ups per place and hour, per site and slot, per person and day ─┐
    hours, closures, calendar ── what was planned ──────────────────────┼─▶ SiteReport per site ─▶ total
    coverage, blind spans, silent hours ── what sensors could see ──────┘

One decision: only roll-ups are read, one query per kind for any number of sites, so that a city's month takes seconds; the
events behind a figure are looked up when someone asks for them (api/report_evidence.py).
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from analytics import visits
from api.errors import BadRequest, NotFound
from api.report_figures import CORRECTABLE, Figures, Rate, SiteReport, total
from api.report_period import ReportPeriod
from api.report_reading import Connection, ZoneReading, dicts, tuples
from ingest import daybook

MAX_SITES = 3000
"""Most sites of one report."""
MAX_REASON = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a report is about: a site by its code, or a region by the beginning of its code ("" everything)."""

    site: str | None = None
    region: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report. name: of the site or region. through_us: what came later is not looked at."""

    scope: Scope
    name: str
    name_en: str
    period: ReportPeriod
    through_us: int
    total: Figures
    sites: tuple[SiteReport, ...]


async def read(
    conn: Connection,
    scope: Scope,
    period: ReportPeriod,
    now_us: int,
    own: list[int] | None = None,
    country: str = daybook.COUNTRY,
) -> Report:
    """Read a report as of now_us. own: the sites the reader may see, None for all. country: of the public holidays.

    Raises NotFound where the reader sees no such site or region, BadRequest for more than MAX_SITES sites.
    """
    rows = await sites_of(conn, scope, own)
    if len(rows) > MAX_SITES:
        raise BadRequest(f"a report has at most {MAX_SITES} sites; ask for a smaller region")
    days = await _calendar(conn, country)
    rates = await _rates(conn, scope, period, rows)
    found: dict[int, SiteReport] = {}
    for zone in dict.fromkeys(row["zone"] for row in rows):
        here = [row for row in rows if row["zone"] == zone]
        found |= await ZoneReading(conn, here, period, zone, now_us).read(days, rates)
    sites = tuple(found[row["id"]] for row in rows)
    name, name_en = await _name(conn, scope, rows)
    values = {"sites": [row["id"] for row in rows], "first": period.first, "last": period.last}
    came = dict(await tuples(conn, "attenders", values))
    sites = tuple(replace(s, figures=replace(s.figures, attenders=came.get(s.site.id, 0))) for s in sites)
    whole = sites[0].figures if scope.site else total([s.figures for s in sites], came.get(None, 0))
    return Report(scope=scope, name=name, name_en=name_en, period=period, through_us=now_us, total=whole, sites=sites)


async def sites_of(conn: Connection, scope: Scope, own: list[int] | None) -> list[dict[str, Any]]:
    """Return the sites of a scope, rows of the query "sites". Raises NotFound where there is none."""
    if not ((scope.region.isascii() and scope.region.isdecimal()) or not scope.region) or len(scope.region) > 12:
        raise BadRequest(f"a region is the beginning of a code of 12 digits, not {scope.region[:20]!r}")
    values = {"own": own, "code": scope.site, "region": scope.region, "limit": MAX_SITES + 1}
    rows = await dicts(conn, "sites", values)
    if not rows:
        raise NotFound(f"there is no site {scope.site!r}" if scope.site else f"there is no site in region {scope.region!r}")
    return rows


async def parts(conn: Connection, own: list[int] | None, most: int) -> list[dict[str, str]]:
    """Return what a report may be about: the counties and towns that one sees, then sites if there are at most that many."""
    return await dicts(conn, "parts", {"own": own, "most": most})


async def _name(conn: Connection, scope: Scope, rows: Sequence[dict[str, Any]]) -> tuple[str, str]:
    if scope.site:
        return rows[0]["name"], rows[0]["name_en"]
    widest = await dicts(conn, "region_names", {"region": scope.region.removesuffix("000") if scope.region else ""})
    return (widest[0]["name"], widest[0]["name_en"]) if widest else (scope.region, scope.region)


async def _calendar(conn: Connection, country: str) -> dict[str, str]:
    """Return the days that are not as their weekday, the country's own corrected by what people entered."""
    days = {day: kind for day, (kind, _) in daybook.public(country).items()}
    days |= {day.isoformat(): kind for day, kind in await tuples(conn, "calendar_days", {})}
    return {day: kind for day, kind in days.items() if kind != "normal"}


async def _rates(
    conn: Connection, scope: Scope, period: ReportPeriod, rows: Sequence[dict[str, Any]]
) -> Mapping[str, list[Rate]]:
    """Return 月探访率 of each month by the code of the site."""
    found: dict[str, list[Rate]] = defaultdict(list)
    only = [row["id"] for row in rows]
    for month in period.months():
        for r in await visits.visit_rate(conn, month, region=scope.region, sites=only):
            found[r.site_code].append(Rate(month=month, residents=r.residents, reached=r.reached))
    return found


async def correct(conn: Connection, site: int, day: date, what: str, delta: int, reason: str, author: str, now_us: int) -> int:
    """Add someone's word to a day's figure, in the caller's transaction; returns its number. Raises BadRequest.

    What was measured stays, and so does this: to take it back, correct by the opposite.
    """
    if what not in CORRECTABLE:
        raise BadRequest(f"what can be corrected is {', '.join(CORRECTABLE)}, not {what[:40]!r}")
    if not delta or abs(delta) >= 1_000_000:
        raise BadRequest("a correction adds or takes away something, below a million")
    if not reason.strip() or len(reason) > MAX_REASON or not reason.isprintable():
        raise BadRequest(f"a correction needs a reason of at most {MAX_REASON} characters in one line")
    values = {"site": site, "day": day, "what": what, "delta": delta, "reason": reason.strip(), "author": author}
    (row,) = await tuples(conn, "correct", values | {"now_us": now_us})
    return int(row[0])
