"""An installer's pages: claim a device by its number, swap one, walk through a site.

One decision: claiming and swapping are one form, "mount it at" or "mount it instead of", because both begin with the number on
the device in one's hand. A label with /install?number=<number> as its QR code opens the form filled in.
"""

from typing import Any

from fastapi import APIRouter, Request
from markupsafe import Markup
from starlette.responses import RedirectResponse, Response

from api import installing, reading, registering
from api.access import Installer
from api.accounts import Principal
from api.console import console
from api.errors import BadRequest, NotFound
from api.installing import Connection
from api.reading import SiteRow
from api.web.forms import form
from api.web.page import say_for, show
from api.web.views import kinds
from gateway.clock import now_us
from ingest.classes import CLASSES, SEES_FACES
from ingest.declaration import RegisterError
from ingest.desk import CLASS as DESK

router = APIRouter(include_in_schema=False)


@router.get("/install")
async def install(request: Request, who: Installer, number: str = "", place: str = "") -> Response:
    """What waits to be claimed, the form for one, walk tests, and the swap of a gateway. place: to choose it beforehand."""
    return await _install(request, who, number[:500], chosen=place[:200])


async def _install(request: Request, who: Principal, number: str, status: int = 200, **said: Any) -> Response:
    state, say = console(request), say_for(request)
    found = await installing.find(state.pool, who, number) if number.strip() else []
    async with state.scoped(who) as conn:
        sites = await reading.sites(conn, who.sites)
        places = await registering.rows(conn, who, "places")
        devices = [d for d in await registering.rows(conn, who, "devices") if d["place"] and d["class"] != DESK]
        waits = await installing.waiting(conn, who)
    names = {s.code: say.name(s.name, s.name_en) for s in sites}
    values: dict[str, Any] = {"errors": [], "done": "", "chosen": ""} | said
    return show(
        request,
        "install.html",
        who=who,
        say=say,
        here="devices",
        status=status,
        number=number,
        found=[(w, kinds(w.kinds, say)) for w in found],
        waits=[(w, kinds(w.kinds, say)) for w in waits],
        sites=sites,
        names=names,
        places=places,
        devices=devices,
        gateways=sorted({d["gateway"] for d in devices}),
        classes=[(c.name, say.name(c.zh, c.en)) for c in CLASSES.values()],
        faces=SEES_FACES,
        **values,
    )


@router.post("/install")
async def mount(request: Request, who: Installer) -> Response:
    """Claim a device for a place, or in place of another, from the form; then walk."""
    fields = await form(request)
    gateway, identity, at = (fields.get(name, "") for name in ("gateway", "identity", "at"))
    pool = console(request).pool
    how, _, target = at.partition(":")
    try:
        if how == "place":
            place = target
            text = fields.get("assessment", "")
            await installing.claim(pool, who, gateway, identity, fields.get("class", ""), place, text, now_us())
        elif how == "device":
            old_gateway, _, old = target.partition(" ")
            place = await installing.swap_device(
                pool, who, old_gateway, old, identity, now_us(), new_gateway=gateway, device_class=fields.get("class", "")
            )
        else:
            raise BadRequest("choose a place, or a device to replace")
    except RegisterError as refused:
        return await _install(request, who, identity.partition("/")[2], 422, errors=refused.errors)
    return RedirectResponse(f"/sites/{place.partition('/')[0]}/walk", 303)


@router.post("/install/gateway")
async def swap_gateway(request: Request, who: Installer) -> Response:
    """Give all devices of a gateway to another one, from the form."""
    fields, say = await form(request), say_for(request)
    try:
        moved = await installing.swap_gateway(console(request).pool, who, fields.get("old", ""), fields.get("new", ""))
    except RegisterError as refused:
        return await _install(request, who, "", 422, errors=refused.errors)
    return await _install(request, who, "", done=say("install.moved", count=moved))


@router.get("/sites/{code}/walk")
async def walk(request: Request, who: Installer, code: str) -> Response:
    """The check list of a site; it ticks off live."""
    state, say = console(request), say_for(request)
    position = state.hub.position()
    async with state.scoped(who) as conn:
        row = await _site(conn, who, code)
        topic = f"walk:{row.id}"
        part = Markup(await state.fragments.render(conn, topic, who.part, say))  # noqa: S704
    name = say.name(row.name, row.name_en)
    return show(
        request,
        "walk.html",
        who=who,
        say=say,
        here="devices",
        name=name,
        code=code,
        part=part,
        topics=[topic],
        position=position,
        zone=row.zone,
    )


@router.post("/sites/{code}/walk")
async def start(request: Request, who: Installer, code: str) -> Response:
    """Begin a walk test, from the form."""
    async with console(request).scoped(who) as conn:
        row = await _site(conn, who, code)
        await installing.start_walk(conn, who, row.id, code, now_us())
    return RedirectResponse(f"/sites/{code}/walk", 303)


@router.post("/sites/{code}/walk/end")
async def end(request: Request, who: Installer, code: str) -> Response:
    """Keep what was seen, from the form."""
    async with console(request).scoped(who) as conn:
        row = await _site(conn, who, code)
        await installing.end_walk(conn, who, row.id, code, now_us())
    return RedirectResponse(f"/sites/{code}/walk", 303)


async def _site(conn: Connection, who: Principal, code: str) -> SiteRow:
    rows = await reading.sites(conn, who.sites, code)
    if not rows:
        raise NotFound(f"there is no site {code!r}")
    return rows[0]
