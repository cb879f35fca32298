"""The overview and the site pages."""

from fastapi import APIRouter, Request
from markupsafe import Markup
from starlette.responses import Response

from api import daybook, reading
from api.access import Reader
from api.console import console
from api.errors import NotFound
from api.web import calendar_views, duty_views, views
from api.web.page import say_for, show

router = APIRouter(include_in_schema=False)


@router.get("/")
async def overview(request: Request, who: Reader, site: str | None = None) -> Response:
    """Counters, what waits, every site, and one site in detail."""
    state, say = console(request), say_for(request)
    position = state.hub.position()
    async with state.scoped(who) as conn:
        rows = await reading.sites(conn, who.sites)
        chosen = next((r for r in rows if r.code == site), rows[0] if rows else None)
        if site is not None and (chosen is None or chosen.code != site):
            raise NotFound(f"there is no site {site!r}")
        topics = ["banner", "counters", "alerts", "sites", "latest", *([f"site:{chosen.id}"] if chosen else [])]
        parts = {t.partition(":")[0]: Markup(await state.fragments.render(conn, t, who.part, say)) for t in topics}  # noqa: S704
    return show(
        request,
        "overview.html",
        who=who,
        say=say,
        here="overview",
        parts=parts,
        topics=topics,
        position=position,
        selected=chosen.code if chosen else "",
        zone=chosen.zone if chosen else "Asia/Shanghai",
    )


@router.get("/sites")
async def sites(request: Request, who: Reader, q: str = "", state: str = "") -> Response:
    """Every site, or those that match; the unfiltered list is live."""
    parts, say = console(request), say_for(request)
    position = parts.hub.position()
    async with parts.scoped(who) as conn:
        rows = await reading.sites(conn, who.sites)
    wanted = q.strip().lower()
    found = [
        r
        for r in rows
        if (not wanted or any(wanted in text.lower() for text in (r.name, r.name_en, r.region, r.region_en, r.code)))
        and (not state or views.COUNTED[r.state] == state)
    ]
    shown = [views.site(r, say) for r in found]
    counters = views.counters(rows, say)
    topics = [] if q or state else ["sites"]
    return show(
        request,
        "sites.html",
        who=who,
        say=say,
        here="sites",
        sites=shown,
        counters=counters,
        q=q,
        state=state,
        topic="sites" if topics else "",
        topics=topics,
        position=position,
    )


@router.get("/sites/{code}")
async def site(request: Request, who: Reader, code: str) -> Response:
    """One site: its alerts, places, people, recent events and devices."""
    state, say = console(request), say_for(request)
    position = state.hub.position()
    async with state.scoped(who) as conn:
        rows = await reading.sites(conn, who.sites, code)
        if not rows:
            raise NotFound(f"there is no site {code!r}")
        row = rows[0]
        topics = [f"banner:{row.id}", f"pending:{row.id}", f"site:{row.id}"]
        parts = {t.partition(":")[0]: Markup(await state.fragments.render(conn, t, who.part, say)) for t in topics}  # noqa: S704
        devices = await reading.devices(conn, who.sites, code)
        past = await reading.alerts(conn, who.sites, of=code, limit=20)
        closed = [e for e in await daybook.entries(conn, row.id, say.now_us, say.now_us + 1) if e.mode == "closed"]
        present = await daybook.on_duty(conn, row.id, say.now_us)
    return show(
        request,
        "site.html",
        who=who,
        say=say,
        here="sites",
        parts=parts,
        topics=topics,
        position=position,
        site=views.site(row, say),
        devices=devices,
        alerts=[views.alert(a, say) for a in past if a.state not in ("open", "acknowledged")],
        zone=row.zone,
        closed=[calendar_views.entry(e, row.zone, say) for e in closed],
        on_duty=[duty_views.shift(s, row.zone, say) for s in present],
    )
