"""Devices, and what is needed seldom: account, display, pushes that were given up."""

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from api import deadletters, reading
from api.access import Actor, Reader
from api.console import console
from api.web import views
from api.web.page import say_for, show
from gateway.clock import now_us

router = APIRouter(include_in_schema=False)


@router.get("/devices")
async def devices(request: Request, who: Reader) -> Response:
    """Devices with the time each was last heard; unknown ones too, for an admin."""
    say = say_for(request)
    async with console(request).pool.connection() as conn:
        known = await reading.devices(conn, who.site)
        unknown = await reading.unclaimed(conn) if who.role == "admin" else []
    return show(
        request,
        "devices.html",
        who=who,
        say=say,
        here="devices",
        devices=known,
        unclaimed=[(row, views.kinds(row.kinds, say)) for row in unknown],
    )


@router.get("/more")
async def more(request: Request, who: Reader) -> Response:
    """Account and display; how the pushes stand, for an admin."""
    counts, dead = {}, []
    if who.role == "admin":
        async with console(request).pool.connection() as conn:
            counts, dead = await reading.push_counts(conn), await reading.dead_letters(conn)
    return show(request, "more.html", who=who, here="more", counts=counts, dead=dead)


@router.post("/more/dead-letters/{number}/send-again")
async def send_again(request: Request, who: Actor, number: int) -> Response:
    """Send a dead letter again, from the form."""
    async with console(request).pool.connection() as conn:
        await deadletters.send_again(conn, who, number, now_us())
    return RedirectResponse("/more", 303)
