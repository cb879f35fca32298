"""The live stream's address."""

from collections.abc import AsyncIterator

from fastapi import APIRouter, Request
from starlette.responses import Response, StreamingResponse

from api.access import Reader
from api.console import console
from api.errors import NotFound
from api.web.fragments import allowed
from api.web.live import Hub, Ticket
from api.web.page import say_for

router = APIRouter(include_in_schema=False)


@router.get("/events")
async def events(request: Request, who: Reader, topics: str, after: str = "") -> Response:
    """Server-sent events of the topics (separated by spaces), from the given position on. GET changes nothing."""
    state, wanted = console(request), topics.split()
    async with state.scoped(who) as conn:
        if not await allowed(conn, wanted, who):
            raise NotFound("there is no such topic")
    position = request.headers.get("last-event-id") or after
    ticket = state.hub.open(who.key, who.part)
    body = _guarded(state.hub, ticket, state.hub.stream(ticket, wanted, say_for(request).lang, position))
    return StreamingResponse(body, media_type="text/event-stream", headers={"x-accel-buffering": "no"})


async def _guarded(hub: Hub, ticket: Ticket, body: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for part in body:
            yield part
    finally:
        hub.shut(ticket)
