"""Alerts: the history, one alert, taking over, giving to someone, commenting and resolving."""

from collections.abc import Mapping
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from markupsafe import Markup
from starlette.responses import RedirectResponse, Response

from api import acting, daybook, duty, history, reading
from api.access import Actor, Reader
from api.console import console
from api.errors import BadRequest, NotFound, Stale
from api.web import duty_views, views
from api.web.forms import form, whole
from api.web.page import safe_back, say_for, show
from gateway.clock import DAY_US, now_us

router = APIRouter(include_in_schema=False)
PAGE = 30
ZONE = "Asia/Shanghai"
"""Zone of the days that are asked for: they are about several sites."""
FIELDS = ("show", "site", "rule", "severity", "from", "to")
FILTERS = {
    "all": None,
    "active": ("open", "acknowledged"),
    "ended": ("resolved", "cleared", "retracted", "expired"),
}


@router.get("/alerts")
async def index(request: Request, who: Reader, before: int | None = None) -> Response:
    """Every alert, newest first, a page at a time, narrowed down by state, site, rule, severity and days."""
    say, asked = say_for(request), {k: v for k, v in request.query_params.items() if k in FIELDS and v}
    wanted = _wanted(asked)
    async with console(request).scoped(who) as conn:
        rows = await history.alerts(conn, who.sites, wanted, before, PAGE + 1)
        sites = await reading.sites(conn, who.sites)
    older = rows[PAGE - 1].id if len(rows) > PAGE else None
    return show(
        request,
        "alerts.html",
        who=who,
        say=say,
        here="alerts",
        alerts=[views.alert(r, say) for r in rows[:PAGE]],
        filters=tuple(FILTERS),
        chosen=asked.get("show", "all"),
        asked=asked,
        narrowed=urlencode({k: v for k, v in asked.items() if k != "show"}),
        older=urlencode(asked | {"before": older}) if older else "",
        sites=[(s.code, say.name(s.name, s.name_en)) for s in sites],
        rules=duty_views.rules(say),
    )


def _wanted(asked: Mapping[str, str]) -> history.Wanted:
    """Read the filters of the history. Raises BadRequest."""
    chosen = asked.get("show", "all")
    if chosen not in FILTERS:
        raise BadRequest(f"show is one of {', '.join(FILTERS)}")
    from_us = daybook.moment(asked["from"], ZONE) if "from" in asked else None
    to_us = daybook.moment(asked["to"], ZONE) + DAY_US if "to" in asked else None
    texts = {name: asked.get(key) for name, key in (("of", "site"), ("rule", "rule"), ("severity", "severity"))}
    if any("\0" in text for text in texts.values() if text):
        raise BadRequest("a text without NUL was expected")
    return history.Wanted(states=FILTERS[chosen], from_us=from_us, to_us=to_us, **texts)


@router.get("/alerts/{number}")
async def alert(request: Request, who: Reader, number: int) -> Response:
    """One alert: why, since when, what was done, what it rests on."""
    return await _alert_page(request, who, number, "")


async def _alert_page(request: Request, who: Reader, number: int, message: str, status: int = 200) -> Response:
    state, say = console(request), say_for(request)
    position = state.hub.position()
    async with state.scoped(who) as conn:
        row = await reading.alert(conn, who.sites, number)
        if row is None:
            raise NotFound(f"there is no alert {number}")
        topic = f"alert:{number}"
        part = Markup(await state.fragments.render(conn, topic, who.part, say))  # noqa: S704 - our own template
    return show(
        request,
        "alert.html",
        who=who,
        status=status,
        say=say,
        here="alerts",
        part=part,
        topics=[topic],
        position=position,
        message=message,
        zone=row.zone,
        alert=views.alert(row, say),
    )


@router.post("/alerts/{number}/acknowledge")
async def acknowledge(request: Request, who: Actor, number: int) -> Response:
    """Take over, from the form; whoever was slower sees the alert as it is now and why nothing happened."""
    fields = await form(request)
    try:
        async with console(request).scoped(who) as conn:
            await acting.acknowledge(conn, who, number, whole(fields.get("version", "")), now_us())
    except Stale as stale:
        return await _stale(request, who, number, stale)
    return RedirectResponse(safe_back(fields.get("back", f"/alerts/{number}")), 303)


@router.post("/alerts/{number}/resolve")
async def resolve(request: Request, who: Actor, number: int) -> Response:
    """Resolve, from the form."""
    fields = await form(request)
    version, outcome, note = whole(fields.get("version", "")), fields.get("outcome", ""), fields.get("note", "").strip()
    try:
        async with console(request).scoped(who) as conn:
            await acting.resolve(conn, who, number, version, outcome, note, now_us())
    except Stale as stale:
        return await _stale(request, who, number, stale)
    return RedirectResponse(f"/alerts/{number}", 303)


@router.post("/alerts/{number}/assign")
async def assign(request: Request, who: Actor, number: int) -> Response:
    """Give an alert to someone, from the form."""
    fields = await form(request)
    try:
        async with console(request).scoped(who) as conn:
            await duty.assign(conn, who, number, whole(fields.get("version", "")), fields.get("assignee", ""), now_us())
    except Stale as stale:
        return await _stale(request, who, number, stale)
    return RedirectResponse(f"/alerts/{number}", 303)


@router.post("/alerts/{number}/comments")
async def comment(request: Request, who: Actor, number: int) -> Response:
    """Say something about an alert, from the form."""
    fields = await form(request)
    try:
        async with console(request).scoped(who) as conn:
            await duty.comment(conn, who, number, fields.get("text", ""), now_us())
    except Stale as stale:
        return await _stale(request, who, number, stale)
    return RedirectResponse(f"/alerts/{number}", 303)


async def _stale(request: Request, who: Actor, number: int, stale: Stale) -> Response:
    say = say_for(request)
    message = say("alert.stale", state=say.word("alert_state", str(stale.members["state"])))
    return await _alert_page(request, who, number, message, 409)
