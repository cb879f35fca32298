"""The overview and the site pages."""

from urllib.parse import urlencode

from fastapi import APIRouter, Request
from markupsafe import Markup
from starlette.responses import Response

from api import daybook, history, reading
from api.access import Reader
from api.console import console
from api.errors import BadRequest, NotFound
from api.report_period import month_of
from api.web import calendar_views, duty_views, health_views, views
from api.web.fragments import LISTED
from api.web.live import revision_of
from api.web.page import say_for, show

router = APIRouter(include_in_schema=False)
SHARED = ("banner", "counters", "sites", "latest")
"""What all who see the same sites are shown alike; alerts are read anew, for whoever has just acted on one."""
MAX_PAGES = 10_000


@router.get("/")
async def overview(request: Request, who: Reader, site: str | None = None) -> Response:
    """Counters, what waits, every site, and one site in detail."""
    state, say = console(request), say_for(request)
    shared, position = await state.hub.shown(SHARED, who.part, say.lang)
    now = state.hub.position()
    async with state.scoped(who) as conn:
        if site is None:
            chosen = await state.fragments.single(conn, who.part)
        else:
            chosen = next(iter(await reading.sites(conn, who.sites, site, limit=1)), None)
        if site is not None and chosen is None:
            raise NotFound(f"there is no site {site!r}")
        parts = shared | {"alerts": await state.fragments.render(conn, "alerts", who.part, say)}
    if chosen:
        detail, since = await state.hub.shown([f"site:{chosen.id}"], who.part, say.lang)
        parts |= detail
        position = min(position, since, key=revision_of)
    return show(
        request,
        "overview.html",
        who=who,
        say=say,
        here="overview",
        parts={t.partition(":")[0]: Markup(html) for t, html in parts.items()},  # noqa: S704
        topics=list(parts),
        position=min(position, now, key=revision_of),
        selected=chosen.code if chosen else "",
        zone=chosen.zone if chosen else "Asia/Shanghai",
    )


@router.get("/sites")
async def sites(request: Request, who: Reader, q: str = "", state: str = "", page: int = 1) -> Response:
    """Every site, or those that match, page by page; the first page of the unfiltered list is live."""
    parts, say = console(request), say_for(request)
    position = parts.hub.position()
    if not 1 <= page <= MAX_PAGES:
        raise BadRequest(f"a page is a number from 1 to {MAX_PAGES}")
    states = [name for name, counted in views.COUNTED.items() if counted == state] if state else None
    word, offset = q.strip()[:100], (page - 1) * LISTED
    async with parts.scoped(who) as conn:
        rows = await reading.sites(conn, who.sites, states=states, word=word, limit=LISTED + 1, offset=offset)
        counters = views.counters(await reading.site_states(conn, who.sites), say)
    topics = [] if q or state or page > 1 else ["sites"]
    return show(
        request,
        "sites.html",
        who=who,
        say=say,
        here="sites",
        sites=[views.site(r, say) for r in rows[:LISTED]],
        counters=counters,
        q=q,
        state=state,
        topic="sites" if topics else "",
        topics=topics,
        position=position,
        earlier=_page(q, state, page - 1) if page > 1 else "",
        later=_page(q, state, page + 1) if len(rows) > LISTED else "",
    )


def _page(q: str, state: str, page: int) -> str:
    chosen = {"q": q, "state": state, "page": page if page > 1 else ""}
    return "/sites?" + urlencode({name: value for name, value in chosen.items() if value})


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
        health = await history.health(conn, who.sites, devices, say.now_us)
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
        health=health_views.health(health, say),
        alerts=[views.alert(a, say) for a in past if a.state not in ("open", "acknowledged")],
        month=month_of(say.now_us, row.zone),
        zone=row.zone,
        closed=[calendar_views.entry(e, row.zone, say) for e in closed],
        on_duty=[duty_views.shift(s, row.zone, say) for s in present],
    )
