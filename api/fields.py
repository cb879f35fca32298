"""What a token with an allow-list of fields lets out: JSON with nothing else in it, and no page, table or stream at all.

One decision: it is taken away from the finished answer, so that no route can forget it; what is not named does not leave.
"""

from typing import Any

import msgspec
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem

ALLOWED = "smartcare.fields"
"""Where `api.access` leaves the allow-list for this wrapper, in the request's scope."""
STRUCTURE = frozenset({"items", "cursor", "after", "changes"})
"""Members that carry others, or lead on: never data themselves."""


class _NotJson(Exception):
    """The answer is no JSON."""


class FieldFilter:
    """Filters the answers to requests whose token has an allow-list."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wrap one request."""
        start: list[Message] = []
        body = bytearray()

        async def filtered(message: Message) -> None:
            if ALLOWED not in scope:
                await send(message)
            elif message["type"] == "http.response.start":
                kind = MutableHeaders(scope=message).get("content-type", "")
                if message["status"] >= 400:
                    del scope[ALLOWED]  # an error says nothing of anyone
                    await send(message)
                elif kind == "application/json":
                    start.append(message)
                else:
                    raise _NotJson
            else:
                body.extend(message.get("body", b""))
                if not message.get("more_body"):
                    await _finish(start[0], bytes(body), scope[ALLOWED], send)

        try:
            await self.app(scope, receive, filtered if scope["type"] == "http" else send)
        except _NotJson:  # whatever was about to be sent, a stream for one, has ended with it
            await problem(403, "not-allowed", "this token is for JSON of some fields only")(scope, receive, send)


async def _finish(start: Message, body: bytes, fields: frozenset[str], send: Send) -> None:
    left = msgspec.json.encode(only(msgspec.json.decode(body), fields))
    MutableHeaders(scope=start)["content-length"] = str(len(left))
    await send(start)
    await send({"type": "http.response.body", "body": left})


def only(value: Any, fields: frozenset[str]) -> Any:
    """Return JSON with the members named in `fields` (whole), and those that carry such members; lists keep their length."""
    if isinstance(value, list):
        return [only(item, fields) for item in value]
    if not isinstance(value, dict):
        return None
    left = {}
    for name, member in value.items():
        if name in fields or name in ("cursor", "after"):
            left[name] = member
        elif isinstance(member, dict | list):
            inner = only(member, fields)
            if name in STRUCTURE or (inner and inner != [None] * len(inner)):
                left[name] = inner
    return left
