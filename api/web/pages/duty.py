"""Silences and maintenance windows, and the duty roster."""

from datetime import datetime
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from api import duty, reading
from api.access import Actor, Operator, Reader
from api.console import console
from api.errors import BadRequest
from api.web import duty_views
from api.web.forms import form, whole
from api.web.page import say_for, show
from gateway.clock import HOUR_US, SECOND_US, now_us

router = APIRouter(include_in_schema=False)
ZONE = "Asia/Shanghai"
"""Zone of the times on these pages: they are about several sites."""


@router.get("/silences")
async def silences(request: Request, who: Reader) -> Response:
    """What nobody is told of at present, and a form to keep something quiet."""
    say = say_for(request)
    async with console(request).scoped(who) as conn:
        rows = await duty.silences(conn, who, say.now_us)
        sites = await reading.sites(conn, who.sites)
        regions = [] if who.area is None else [r for r in await duty.choices(conn, "regions") if r[0].startswith(who.area)]
    return show(
        request,
        "silences.html",
        who=who,
        say=say,
        here="more",
        silences=[duty_views.silence(r, ZONE, say) for r in rows],
        rules=duty_views.rules(say),
        sites=[(s.code, say.name(s.name, s.name_en)) for s in sites],
        regions=[(code, say.name(name, name_en)) for code, name, name_en in regions],
    )


@router.post("/silences")
async def silence(request: Request, who: Actor) -> Response:
    """Keep something quiet, from the form."""
    fields, now = await form(request), now_us()
    start = _time(fields.get("from", "")) or now
    hours = whole(fields.get("hours", ""))
    async with console(request).scoped(who) as conn:
        await duty.silence(
            conn,
            who,
            now,
            kind=fields.get("kind", ""),
            reason=fields.get("reason", ""),
            from_us=start,
            to_us=start + hours * HOUR_US,
            rule=fields.get("rule") or None,
            site=fields.get("site") or None,
            region=fields.get("region") or None,
            severity=fields.get("severity") or None,
        )
    return RedirectResponse("/silences", 303)


@router.post("/silences/{number}/expire")
async def expire(request: Request, who: Actor, number: int) -> Response:
    """End a silence now, from the form."""
    async with console(request).scoped(who) as conn:
        await duty.expire(conn, who, number, now_us())
    return RedirectResponse("/silences", 303)


@router.get("/roster")
async def roster(request: Request, who: Reader) -> Response:
    """Who is on duty; forms to add people and shifts, for an admin."""
    say = say_for(request)
    admin = who.role == "city"
    async with console(request).scoped(who) as conn:
        rows = await duty.shifts(conn, who, say.now_us)
        people = await duty.contacts(conn) if admin else []
        sites = await reading.sites(conn, who.sites) if admin else []
        regions = await duty.choices(conn, "regions") if admin else []
        endpoints = await duty.choices(conn, "endpoints") if admin else []
    places = [(f"site:{s.code}", say.name(s.name, s.name_en)) for s in sites]
    return show(
        request,
        "roster.html",
        who=who,
        say=say,
        here="more",
        shifts=[duty_views.shift(r, ZONE, say) for r in rows],
        contacts=people,
        places=places + [(f"region:{code}", say.name(name, name_en)) for code, name, name_en in regions],
        endpoints=[name for (name,) in endpoints],
    )


@router.post("/roster/contacts")
async def put_contact(request: Request, who: Operator) -> Response:
    """Add someone who can be on duty, from the form."""
    fields = await form(request)
    values = [fields.get(name, "") for name in ("name", "endpoint", "address", "account")]
    async with console(request).scoped(who) as conn:
        await duty.put_contact(conn, *values)
    return RedirectResponse("/roster", 303)


@router.post("/roster/shifts")
async def put_shift(request: Request, who: Operator) -> Response:
    """Put someone on duty, from the form."""
    fields = await form(request)
    kind, _, code = fields.get("place", "").partition(":")
    site, region = (code if kind == "site" else None), (code if kind == "region" else None)
    start, end = _time(fields.get("from", "")) or now_us(), _time(fields.get("to", ""))
    async with console(request).scoped(who) as conn:
        await duty.put_shift(conn, fields.get("contact", ""), site, region, start, end)
    return RedirectResponse("/roster", 303)


@router.post("/roster/shifts/{number}/end")
async def end_shift(request: Request, who: Operator, number: int) -> Response:
    """Take someone off duty, from the form."""
    async with console(request).scoped(who) as conn:
        await duty.end_shift(conn, number, now_us())
    return RedirectResponse("/roster", 303)


def _time(text: str) -> int | None:
    """Read what a field of local date and time says, None for nothing. Raises BadRequest."""
    if not text:
        return None
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(ZONE)).timestamp()) * SECOND_US
    except (ValueError, OverflowError) as error:
        raise BadRequest("a date and a time were expected") from error
