"""Labels with QR codes to print: for a site's places and devices, and the cards that people check in with.

One decision: a code on a wall or a device is an address of this console and shows nothing without signing in; a card's code is
the bare number that the check-in form takes, so that any reader can type it. Names are on neither.
"""

from urllib.parse import quote, urlencode

import segno
from fastapi import APIRouter, Request
from markupsafe import Markup
from starlette.responses import Response

from api import installing, people, reading, registering
from api.access import Installer, People
from api.console import console
from api.errors import NotFound
from api.web.page import say_for, show
from ingest.desk import CLASS as DESK

router = APIRouter(include_in_schema=False)
MOST = 400
"""Most cards on one page: what one check-in desk lists."""


@router.get("/sites/{code}/labels")
async def labels(request: Request, who: Installer, code: str) -> Response:
    """Labels of a site's places, which open the claim form for that place, and of its devices, which find the device in it."""
    state, say = console(request), say_for(request)
    async with state.scoped(who) as conn:
        sites = await reading.sites(conn, who.sites, code)
        if not sites:
            raise NotFound(f"there is no site {code!r}")
        places = await registering.rows(conn, who, "places", code)
        devices = [d for d in await registering.rows(conn, who, "devices", code) if d["place"] and d["class"] != DESK]
        waits = await installing.waiting(conn, who)
    base = state.settings.public_url.rstrip("/")
    here = {p["code"]: say.name(p["name"], p["name_en"]) for p in places}
    gateways = {d["gateway"] for d in devices}
    mounted = [(d["identity"], d["name"] or here.get(d["place"].partition("/")[2], "")) for d in devices]
    waiting = [(w.identity, "") for w in waits if w.gateway in gateways]
    return show(
        request,
        "labels.html",
        who=who,
        say=say,
        here="devices",
        code=code,
        name=say.name(sites[0].name, sites[0].name_en),
        places=[(qr(f"{base}/install?{urlencode({'place': f'{code}/{p}'})}"), word, f"{code}/{p}") for p, word in here.items()],
        devices=[
            (qr(f"{base}/install?{urlencode({'number': number(identity)})}"), number(identity), word)
            for identity, word in dict(mounted + waiting).items()
        ],
    )


@router.get("/sites/{code}/cards")
async def cards(request: Request, who: People, code: str, person: int = 0) -> Response:
    """The desk's label, which opens its check-in page, and the cards of everyone who has a number, or of one person."""
    state, say = console(request), say_for(request)
    async with state.scoped(who) as conn:
        sites = await reading.sites(conn, who.sites, code)
        if not sites:
            raise NotFound(f"there is no site {code!r}")
        persons = await people.listed(conn, who, site=code, limit=MOST)
        if person:
            persons = [p for p in persons if p["id"] == person]
    numbered = [p for p in persons if p["ref"]]
    return show(
        request,
        "cards.html",
        who=who,
        say=say,
        here="sites",
        code=code,
        name=say.name(sites[0].name, sites[0].name_en),
        desk=None if person else qr(f"{state.settings.public_url.rstrip('/')}/sites/{quote(code)}/check-in"),
        cards=[(qr(p["ref"]), p["ref"], say.word("person_role", p["role"])) for p in numbered],
        missing=[p["id"] for p in persons if not p["ref"]],
    )


def number(identity: str) -> str:
    """Return what stands on the device itself: its identity without the family."""
    return identity.partition("/")[2]


def qr(text: str) -> Markup:
    """Draw a text as a QR code, an SVG that fills its box; a seventh of it may be scratched."""
    drawn: str = segno.make(text, error="m", micro=False).svg_inline(dark="#000", light="#fff", omitsize=True)
    return Markup(drawn)  # noqa: S704 - made of numbers by the library
