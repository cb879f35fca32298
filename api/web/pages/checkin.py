"""Check-in without a face: a card or code that is read, or a tap by staff; it counts like a passage at a terminal.

One decision: whoever stays anonymous is counted too, by one button.
"""

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from api import people, reading
from api.access import People
from api.console import console
from api.errors import NotFound
from api.web.forms import form, whole
from api.web.i18n import day_start_us
from api.web.page import say_for, show
from gateway.clock import now_us

router = APIRouter(include_in_schema=False)
LISTED = 400
"""Most persons that one page lets staff tap: what one helper looks after."""


@router.get("/sites/{code}/check-in")
async def desk(request: Request, who: People, code: str, done: str = "") -> Response:
    """The desk of a site: a field for cards and codes, and everyone by number."""
    return await _desk(request, who, code, done=done, named=False)


@router.post("/sites/{code}/check-in/names")
async def named(request: Request, who: People, code: str) -> Response:
    """The same with names; that they were read is noted."""
    return await _desk(request, who, code, done="", named=True)


async def _desk(request: Request, who: People, code: str, *, done: str, named: bool, status: int = 200) -> Response:
    state, say = console(request), say_for(request)
    async with state.scoped(who) as conn:
        rows = await reading.sites(conn, who.sites, code)
        if not rows:
            raise NotFound(f"there is no site {code!r}")
        row = rows[0]
        persons = await people.listed(conn, who, site=code, limit=LISTED)
        names = await people.names(conn, who, state.sealer, [p["id"] for p in persons], "check-in") if named else {}
        today = await people.today(conn, row.code, day_start_us(say.now_us, row.zone))
    here = {c["person"] for c in today}
    return show(
        request,
        "checkin.html",
        who=who,
        say=say,
        here="sites",
        status=status,
        code=code,
        name=say.name(row.name, row.name_en),
        named=named,
        done=done if done in ("yes", "unknown") else "",
        people=[
            (p["id"], names.get(p["id"]) or p["ref"] or str(p["id"]), say.word("person_role", p["role"]), p["id"] in here)
            for p in persons
        ],
        today=[
            (
                say.seconds(c["t_us"], row.zone),
                c["person"],
                say("checkin.by_" + ("tap" if c["method"] == 4 else "card")),
                c["author"],
            )
            for c in today
        ],
    )


@router.post("/sites/{code}/check-in")
async def check_in(request: Request, who: People, code: str) -> Response:
    """Note that someone is here, from the form: `ref` as it was read, `person` as it was tapped, neither: anonymous."""
    fields, now = await form(request), now_us()
    ref, person, how = fields.get("ref", "").strip(), fields.get("person", ""), "tap"
    async with console(request).scoped(who) as conn:
        rows = await reading.sites(conn, who.sites, code)
        if not rows:
            raise NotFound(f"there is no site {code!r}")
        number = None
        if ref:
            how, number = "card", await people.by_ref(conn, rows[0].id, ref)
        elif person:
            number = (await people.found(conn, who, min(whole(person), 2**31 - 1)))["id"]
        if not ref or number is not None:
            await people.check_in(conn, who, rows[0].id, number, how, now, now)
    done = "yes" if not ref or number is not None else "unknown"
    return RedirectResponse(f"/sites/{code}/check-in?done={done}", 303)
