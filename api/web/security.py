"""What stands between the network and the handlers: body limit, cross-site check, security headers, the end of the server.

One decision: these are plain ASGI wrappers, because they must also hold for streams and for requests that no route takes.
"""

import asyncio
import re
from collections.abc import Callable

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.problems import problem

MAX_BODY = 64 * 1024
LARGER = {"/register/import": 4 * 1024 * 1024, "/people/import": 4 * 1024 * 1024}
"""Where a file may be sent: whoever may not import is refused after it has been taken in."""
BODY_SECONDS = 10
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",  # not "no-referrer": that makes browsers send "Origin: null" with forms
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
SCANS = re.compile(r"/install|/sites/[^/]+/check-in(/names)?")
"""The pages that may ask for the camera: to read the code on a device or a card."""


class SecurityHeaders:
    """Adds the security headers to every answer, and `no-store` unless the handler said otherwise."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wrap one request."""

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
                if SCANS.fullmatch(scope["path"]):
                    headers["permissions-policy"] = HEADERS["permissions-policy"].replace("camera=()", "camera=(self)")
                headers.setdefault("cache-control", "no-store")
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)


class CutOff:
    """Answers 503 to a request that is cut off because the server stops, instead of ending with an error."""

    def __init__(self, app: ASGIApp, stopping: Callable[[], bool]) -> None:
        self.app = app
        self.stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wrap one request."""
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self.app(scope, receive, noted)
        except asyncio.CancelledError:
            if scope["type"] != "http" or not self.stopping():
                raise
            if not begun:
                await problem(503, "unavailable", "the server stops; try again in a few seconds")(scope, receive, send)


class BodyLimit:
    """Takes in the whole body first, 64 KiB at most (413; a file, where one is expected, 4 MiB) and within ten seconds (408)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wrap one request."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body, most = bytearray(), LARGER.get(scope["path"], MAX_BODY)
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return
                    body += message.get("body", b"")
                    if len(body) > most:
                        await problem(413, "too-large", f"a request has at most {most} bytes")(scope, receive, send)
                        return
                    if not message.get("more_body"):
                        break
        except TimeoutError:
            await problem(408, "too-slow", f"a request arrives within {BODY_SECONDS} s")(scope, receive, send)
            return
        first: list[Message] = [{"type": "http.request", "body": bytes(body), "more_body": False}]

        async def replay() -> Message:
            return first.pop() if first else await receive()

        await self.app(scope, replay, send)


class SameOrigin:
    """Refuses unsafe requests that another site caused (403).

    Browsers say where a request comes from in Sec-Fetch-Site; those that do not, and plain http, in Origin. A request
    with an Authorization header needs neither: browsers never add that by themselves, and cookies are then not looked at.
    """

    def __init__(self, app: ASGIApp, origin: str) -> None:
        self.app = app
        self.origin = origin

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Wrap one request."""
        if scope["type"] == "http" and scope["method"] not in SAFE and not self._own(Headers(scope=scope)):
            await problem(403, "cross-site", "this request came from another site; open the page and try again there")(
                scope, receive, send
            )
            return
        await self.app(scope, receive, send)

    def _own(self, headers: Headers) -> bool:
        if "authorization" in headers:
            return True
        site = headers.get("sec-fetch-site")
        if site is not None:
            return site in ("same-origin", "none")
        return headers.get("origin") == self.origin
