"""Closing a site today and opening it again, a site's calendar, and the days that are special everywhere.

One decision: a reason is a button, so that closing takes two taps; what is typed instead comes along as a note.
"""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from api import daybook, reading
from api.access import Actor, Operator, Reader
from api.accounts import Principal
from api.console import console
from api.daybook import Connection
from api.errors import BadRequest, NotFound
from api.reading import SiteRow
from api.web import calendar_views
from api.web.forms import form, whole
from api.web.page import say_for, show
from gateway.clock import DAY_US, SECOND_US, now_us
from ingest.daybook import YEARS

router = APIRouter(include_in_schema=False)
REASONS = ("holiday", "works", "weather", "outing", "staff")


@router.post("/sites/{code}/close")
async def close(request: Request, who: Actor, code: str) -> Response:
    """Close a site for today, from the form. reason: one of `REASONS` or, with "other", what was typed."""
    fields, say = await form(request), say_for(request)
    chosen, note = fields.get("reason", ""), fields.get("note", "")
    reason = say("close." + chosen) if chosen in REASONS else note
    async with console(request).scoped(who) as conn:
        await daybook.close_today(conn, who, await _site(conn, who, code), reason, now_us())
    return RedirectResponse(f"/sites/{code}", 303)


@router.post("/sites/{code}/reopen")
async def reopen(request: Request, who: Actor, code: str) -> Response:
    """Open a site again that is closed now, from the form."""
    async with console(request).scoped(who) as conn:
        await daybook.reopen(conn, who, await _site(conn, who, code), now_us())
    return RedirectResponse(f"/sites/{code}", 303)


@router.get("/sites/{code}/calendar")
async def site_calendar(request: Request, who: Reader, code: str, month: str = "") -> Response:
    """A month of a site: hours of each day, what is special about it, and forms to say so."""
    state, say = console(request), say_for(request)
    async with state.scoped(who) as conn:
        row = await _site(conn, who, code)
        first = _month(month) if month else _today(row.zone).replace(day=1)
        start = daybook.moment(first.isoformat(), row.zone)
        present = await daybook.entries(conn, row.id, start - 10 * DAY_US, start + 45 * DAY_US)
        coming = await daybook.entries(conn, row.id, say.now_us, say.now_us + daybook.MAX_SPAN_US)
        special = {d.date: d for d in await daybook.days(conn, state.settings.country)}
    return show(
        request,
        "site_calendar.html",
        who=who,
        say=say,
        here="sites",
        site=row,
        name=say.name(row.name, row.name_en),
        days=calendar_views.month(row, first, present, special, say),
        first=first,
        title=calendar_views.month_title(first, say),
        earlier=(first - timedelta(days=1)).strftime("%Y-%m"),
        later=(first + timedelta(days=32)).strftime("%Y-%m"),
        coming=[calendar_views.entry(e, row.zone, say) for e in coming],
        hours=calendar_views.hours_fields(row.hours, say),
        today=_today(row.zone).isoformat(),
    )


@router.post("/sites/{code}/entries")
async def enter(request: Request, who: Actor, code: str) -> Response:
    """Enter a closure, visit or drill of whole days or hours, from the form."""
    fields = await form(request)
    async with console(request).scoped(who) as conn:
        row = await _site(conn, who, code)
        last = fields.get("to", "")
        to_us = daybook.moment(last, row.zone)
        if len(last) == len("YYYY-MM-DD"):
            to_us = daybook.moment((date.fromisoformat(last) + timedelta(days=1)).isoformat(), row.zone)
        from_us = daybook.moment(fields.get("from", ""), row.zone)
        await daybook.enter(conn, who, row, fields.get("mode", ""), from_us, to_us, fields.get("reason", ""), now_us())
    return RedirectResponse(f"/sites/{code}/calendar", 303)


@router.post("/sites/{code}/entries/cancel")
async def cancel(request: Request, who: Actor, code: str) -> Response:
    """Take back what was entered for exactly this time, from the form."""
    fields = await form(request)
    mode, from_us, to_us = fields.get("mode", ""), whole(fields.get("from_us", "")), whole(fields.get("to_us", ""))
    async with console(request).scoped(who) as conn:
        row = await _site(conn, who, code)
        there = [
            e
            for e in await daybook.entries(conn, row.id, from_us, to_us)
            if (e.mode, e.from_us, e.to_us) == (mode, from_us, to_us)
        ]
        if not there:
            raise NotFound("nothing of the kind is in force at that time")
        await daybook.enter(conn, who, row, mode, from_us, to_us, there[0].reason, now_us(), cancelled=True)
    return RedirectResponse(f"/sites/{code}/calendar", 303)


@router.get("/calendar")
async def calendar(request: Request, who: Reader, year: int | None = None) -> Response:
    """Public holidays and worked weekend days of a year, and who says so."""
    state, say = console(request), say_for(request)
    chosen = year or _today("Asia/Shanghai").year
    if chosen not in YEARS:
        raise BadRequest(f"a year is between {YEARS.start} and {YEARS.stop - 1}")
    async with state.scoped(who) as conn:
        found = await daybook.days(conn, state.settings.country, chosen)
    days = [calendar_views.special_day(d, say) for d in found]
    return show(request, "calendar.html", who=who, say=say, here="more", days=days, year=chosen, kinds=daybook.KINDS)


@router.post("/calendar/days")
async def set_day(request: Request, who: Operator) -> Response:
    """Say what a day is everywhere, from the form."""
    fields = await form(request)
    try:
        day = date.fromisoformat(fields.get("date", ""))
    except ValueError as error:
        raise BadRequest("a date was expected") from error
    if day.year not in YEARS:
        raise BadRequest(f"a year is between {YEARS.start} and {YEARS.stop - 1}")
    async with console(request).scoped(who) as conn:
        await daybook.set_day(conn, who, day, fields.get("kind", ""), fields.get("name", ""), now_us())
    return RedirectResponse(f"/calendar?year={day.year}", 303)


async def _site(conn: Connection, who: Principal, code: str) -> SiteRow:
    rows = await reading.sites(conn, who.sites, code)
    if not rows:
        raise NotFound(f"there is no site {code!r}")
    return rows[0]


def _month(text: str) -> date:
    try:
        found = date.fromisoformat(f"{text}-01")
    except ValueError as error:
        raise BadRequest("a month is YYYY-MM") from error
    if found.year not in YEARS:
        raise BadRequest(f"a year is between {YEARS.start} and {YEARS.stop - 1}")
    return found


def _today(zone: str) -> date:
    return datetime.fromtimestamp(now_us() // SECOND_US, ZoneInfo(zone)).date()
