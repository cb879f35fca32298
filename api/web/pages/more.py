"""Devices, and what is needed seldom: account, display, how pushes stand."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from api import history, reading
from api.access import Reader
from api.console import console
from api.web import health_views, views
from api.web.page import say_for, show

router = APIRouter(include_in_schema=False)
SIGNS = (("offline", "alert"), ("unknown", "blind"), ("trouble", "attention"), ("online", "ok"))
"""What devices are counted by, and its sign."""


@router.get("/devices")
async def devices(request: Request, who: Reader, state: str = "") -> Response:
    """Devices with how each stands, those in trouble if asked for; unknown ones too, for an admin."""
    say = say_for(request)
    async with console(request).scoped(who) as conn:
        known = await reading.devices(conn, who.sites)
        health = await history.health(conn, who.sites, known, say.now_us)
        unknown = await reading.unclaimed(conn) if who.role == "city" else []
    return show(
        request,
        "devices.html",
        who=who,
        say=say,
        here="devices",
        devices=[d for d in known if not state or state in _states(health[d.id])],
        health=health_views.health(health, say),
        tally=[(name, sign, sum(name in _states(h) for h in health.values())) for name, sign in SIGNS],
        chosen=state,
        unclaimed=[(row, views.kinds(row.kinds, say)) for row in unknown],
    )


def _states(health: history.Health) -> tuple[str, ...]:
    return (health.state, "trouble") if health.troubles else (health.state,)


@router.get("/more")
async def more(request: Request, who: Reader) -> Response:
    """Account and display; how the pushes stand, for an admin."""
    counts = {}
    if who.role == "city":
        async with console(request).scoped(who) as conn:
            counts = await reading.push_counts(conn)
    return show(request, "more.html", who=who, here="more", counts=counts)
