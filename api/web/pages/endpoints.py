"""Receivers and what is on its way to them: breaker, queue, subscriptions, what was given up and can be sent again."""

from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from api import breaker, deadletters, reading
from api.access import Actor, Administrator
from api.console import console
from api.web.page import show
from gateway.clock import now_us

router = APIRouter(include_in_schema=False)
SIGNS = {"closed": "ok", "open": "alert", "half_open": "attention", "off": "closed"}


@router.get("/endpoints")
async def endpoints(request: Request, who: Administrator) -> Response:
    """Every endpoint, and what was given up."""
    async with console(request).scoped(who) as conn:
        rows, dead = await reading.endpoints(conn), await deadletters.listed(conn)
    shown = [row | _state(row, now_us()) for row in rows]
    return show(request, "endpoints.html", who=who, here="more", endpoints=shown, dead=dead)


@router.post("/endpoints/dead-letters/{number}/send-again")
async def send_again(request: Request, who: Actor, number: int) -> Response:
    """Send a dead letter again, from the form."""
    async with console(request).scoped(who) as conn:
        await deadletters.send_again(conn, who, number, now_us())
    return RedirectResponse("/endpoints", 303)


def _state(row: dict[str, object], at_us: int) -> dict[str, str]:
    state = str(breaker.state(int(str(row["open_until_us"])), at_us)) if row["enabled"] else "off"
    return {"state": state, "sign": SIGNS[state], "receiver": urlsplit(str(row["url"])).netloc.rpartition("@")[2]}
