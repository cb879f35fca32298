"""Reports on the page: choose, read, print, open a number to its events, enter a correction, take a file along."""

from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from api import report_evidence, report_period, report_tables, reports, rest_reports
from api.access import Registrar, Reporter
from api.console import console
from api.errors import BadRequest
from api.report_figures import CORRECTABLE
from api.report_tables import RULES
from api.reports import Scope
from api.web import report_views
from api.web.forms import form
from api.web.page import say_for, show
from gateway.clock import SECOND_US

router = APIRouter(include_in_schema=False)
ZONE = "Asia/Shanghai"
OFFERED = 300
"""Most sites that the choice lists; others are reached through their region."""


@router.get("/reports")
async def page(
    request: Request, who: Reporter, period: str = "", site: str = "", region: str = "", begin: str = "", end: str = ""
) -> Response:
    """The choice of a report, and the report once a period is chosen. begin, end: days, in place of a period."""
    say, state = say_for(request), console(request)
    if begin and end:
        period = f"{begin}..{end}"
    today = datetime.fromtimestamp(say.now_us // SECOND_US, ZoneInfo(ZONE)).date()
    async with state.scoped(who) as conn:
        parts = await reports.parts(conn, who.sites, OFFERED)
    choice: dict[str, Any] = {
        "periods": report_views.periods(today),
        "parts": parts,
        "site": site,
        "region": region,
        "period": period,
        "correctable": CORRECTABLE,
        "grids": [],
        "today": today.isoformat(),
        "may_correct": who.role in ("city", "town"),
    }
    if not period:
        return show(request, "report.html", who=who, say=say, here="reports", report=None, **choice)
    report = await rest_reports.read(request, who, site, region, period)
    query = urlencode({"period": period} | ({"site": site} if site else {"region": region}) | {"lang": say.lang})
    zone = report.sites[0].site.zone
    return show(
        request,
        "report.html",
        who=who,
        say=say,
        here="reports",
        zone=zone,
        report=report,
        name=say.name(report.name, report.name_en) or say("report.everything"),
        through=report_tables.at(report.through_us, zone, dated=True),
        running=report.period.bounds(zone)[-1] > report.through_us,
        files=[(f, f"/api/v1/reports/export?format={f}&{query}") for f in ("xlsx", "csv", "json")],
        rules=RULES,
        **choice | {"grids": report_views.grids(report, say)},
    )


@router.get("/reports/sites/{code}/events")
async def events(request: Request, who: Reporter, code: str, day: str, what: str, after: str | None = None) -> Response:
    """The stored events that a day's figure is made of."""
    say, date = say_for(request), report_period.day(day)
    async with console(request).scoped(who) as conn:
        (row,) = await reports.sites_of(conn, Scope(site=code), who.sites)
        found = await report_evidence.events(conn, row, date, what, after)
    return show(
        request,
        "report_events.html",
        who=who,
        say=say,
        here="reports",
        title=say("report.of_day", site=say.name(row["name"], row["name_en"]), day=day, what=say("report_what." + what)),
        back_to=_report(code, f"{date:%Y-%m}"),
        lines=report_views.event_lines(found.items, row["zone"], say),
        deleted=found.deleted,
        more=report_views.events_path(code, day, what, found.after) if found.after else "",
    )


@router.get("/reports/sites/{code}/attenders")
async def attenders(request: Request, who: Reporter, code: str, period: str) -> Response:
    """Which residents came on which days, by number."""
    say, parsed = say_for(request), report_period.parse(period)
    async with console(request).scoped(who) as conn:
        (row,) = await reports.sites_of(conn, Scope(site=code), who.sites)
        came = await report_evidence.came(conn, row["id"], parsed.first, parsed.last)
    return show(
        request,
        "report_attenders.html",
        who=who,
        say=say,
        here="reports",
        title=f"{say.name(row['name'], row['name_en'])} · {period} · {say('metric.attenders')}",
        back_to=_report(code, period),
        persons=len({c["person"] for c in came}),
        came=[c | {"first": report_tables.at(c["first_us"], row["zone"])} for c in came],
    )


@router.post("/reports/sites/{code}/corrections")
async def correct(request: Request, who: Registrar, code: str) -> Response:
    """Enter a correction, from the form."""
    fields = await form(request)
    try:
        delta = int(fields.get("delta", ""))
    except ValueError:
        raise BadRequest("a correction is a whole number, with a minus where it takes away") from None
    date = report_period.day(fields.get("day", ""))
    await rest_reports.entered(request, who, code, date, fields.get("what", ""), delta, fields.get("reason", ""))
    return RedirectResponse(_report(code, fields.get("period") or f"{date:%Y-%m}") + "#corrections", 303)


def _report(code: str, period: str) -> str:
    return f"/reports?site={quote(code, safe='')}&period={quote(period, safe='')}"
