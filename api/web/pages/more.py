"""Devices, and what is needed seldom: account, display, how pushes stand."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from api import reading
from api.access import Reader
from api.console import console
from api.web import views
from api.web.page import say_for, show

router = APIRouter(include_in_schema=False)


@router.get("/devices")
async def devices(request: Request, who: Reader) -> Response:
    """Devices with the time each was last heard; unknown ones too, for an admin."""
    say = say_for(request)
    async with console(request).scoped(who) as conn:
        known = await reading.devices(conn, who.sites)
        unknown = await reading.unclaimed(conn) if who.role == "city" else []
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
    counts = {}
    if who.role == "city":
        async with console(request).scoped(who) as conn:
            counts = await reading.push_counts(conn)
    return show(request, "more.html", who=who, here="more", counts=counts)
