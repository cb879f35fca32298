"""Where devices post over HTTP: known by their address, strained of pictures, answered only when the spool has it.

One decision: a request waits for the spool with its connection open. A bounded number of requests is read at a time, so
a slow spool slows the devices down and then sends them away with 503, and memory stays flat whatever they send.

    address → slot → body: inflate, strain, bound → queue → (codecs → spool) → the vendor's answer
"""

import asyncio
import contextlib
import ipaddress
import logging
import socket
import zlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import uvicorn
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Receive, Scope, Send

from gateway.addresses import Address, AddressError, Addresses
from gateway.codecs.contract import Message
from gateway.codecs.request import topic_of
from gateway.strainer import Strainer

log = logging.getLogger(__name__)

SLOTS = 64
"""Requests read or waiting for the spool at a time; each keeps at most KEPT_BYTES."""
KEPT_BYTES = 256 * 1024
BODY_BYTES = 16 * 1024 * 1024
"""What a device may send, pictures included; two of 2 MB in base64 are 6 MB."""
SLOT_S, BODY_S, ANSWER_S = 5.0, 30.0, 8.0
"""Terminals say a thing again when they have waited ten seconds."""
CONNECTIONS = 1000
CUT_OFF = frozenset({"hikaccess", "hikcount"})
"""Families whose firmware breaks off in the middle of a picture; what came before it is an event."""

_UNKNOWN = "地址未登记 — unknown address: run `smartcare gateway device` on the gateway and set its URL in the device\n"
_BUSY = "稍后再发 — busy, say it again\n"
_OFF = {
    "face": "订阅 VerifyNoPic，取消 VerifyWithSnap 与 Snap — subscribe VerifyNoPic instead of VerifyWithSnap and Snap",
    "hikaccess": "关闭“认证时上传抓拍图片”— turn off 'Upload Captured Picture' under Access Control > Terminal Parameters",
    "hikcount": "报警联动取消“上传图片”— turn off the picture in the alarm's HTTP data transmission",
    "zk": "关闭“考勤照片/抓拍”— turn off capture mode and the upload of photos",
    "dahua": "关闭“上传图片”— turn off picture upload in the event's HTTP upload",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Posted:
    """A request that waits. The future gets the body of the answer, None where the codec gave none."""

    message: Message
    answered: asyncio.Future[bytes | None]


class Listener:
    """The HTTP side of a gateway. `news` is called when something has come; take it, store it, then resolve it.

    address: "HOST:PORT", bound here; port 0 takes any, see `port`. Raises OSError where it cannot be bound.
    """

    def __init__(self, address: str, addresses: Addresses, clock: Callable[[], int], news: Callable[[], None]) -> None:
        host, _, port = address.rpartition(":")
        host = host.strip("[]") or "127.0.0.1"
        self.local = is_local(host)
        self._addresses, self._clock, self._news = addresses, clock, news
        self._since_us = clock()
        self._slots = asyncio.Semaphore(SLOTS)
        self._waiting: deque[Posted] = deque()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, int(port)), family=family)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio does so only for sockets it made
        self.port: int = self._socket.getsockname()[1]
        self._server = _Server(
            uvicorn.Config(
                self._respond,
                interface="asgi3",
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,  # addresses are credentials
                server_header=False,
                proxy_headers=False,
                limit_concurrency=CONNECTIONS,
                timeout_graceful_shutdown=1,
            )
        )
        log.info("devices post to http://%s:%d%s", host, self.port, "" if self.local else "; pictures block a device")

    async def run(self) -> None:
        """Serve until cancelled; who waits then is told to say it again."""
        try:
            await self._server.serve([self._socket])
        finally:
            for posted in self._waiting:
                if not posted.answered.done():
                    posted.answered.set_exception(_Gone())
            if self._server.started:
                await self._server.shutdown([self._socket])
            self._socket.close()

    def take(self, through_us: int) -> list[Posted]:
        """Take the requests received until then, in order; those nobody waits for any more are left out."""
        taken = []
        while self._waiting and self._waiting[0].message.received_us <= through_us:
            posted = self._waiting.popleft()
            if not posted.answered.done():
                taken.append(posted)
        return taken

    # ------------------------------------------------------------------ one request
    async def _respond(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve as an application of its own: a router for one route costs as much as the codec."""
        request = Request(scope, receive)
        known = request.method in ("GET", "POST", "PUT")
        response = await self._serve(request) if known else PlainTextResponse("", 405)
        await response(scope, receive, send)

    async def _serve(self, request: Request) -> Response:
        try:
            serial = request.query_params.get("SN", "")
            found = self._addresses.find(request.url.path, serial, by_serial=self.local)
        except AddressError as e:
            log.error("%s", e)
            return PlainTextResponse(_BUSY, 503)
        if found is None:
            return PlainTextResponse(_UNKNOWN, 404)
        address, path = found
        if address.blocked:
            return _refused(address)
        try:
            async with asyncio.timeout(SLOT_S):
                await self._slots.acquire()
        except TimeoutError:
            return PlainTextResponse(_BUSY, 503, {"Retry-After": "5"})
        try:
            return await self._take_in(request, address, topic_of(address.family, address.name, path, request.query_params))
        finally:
            self._slots.release()

    async def _take_in(self, request: Request, address: Address, topic: str) -> Response:
        try:
            async with asyncio.timeout(BODY_S):
                body = await self._body(request, address)
        except _Blocked:
            return _refused(address)
        except (_TooLong, zlib.error):
            return PlainTextResponse("too long or not inflatable\n", 413)
        except TimeoutError:
            return PlainTextResponse("", 408)
        except ClientDisconnect:
            return PlainTextResponse("", 400)
        message = Message(topic=topic, payload=body, received_us=self._clock(), deaf_us=self._since_us)
        posted = Posted(message=message, answered=asyncio.get_running_loop().create_future())
        self._waiting.append(posted)
        self._news()
        try:
            async with asyncio.timeout(ANSWER_S):
                reply = await posted.answered
        except (TimeoutError, _Gone):
            return PlainTextResponse(_BUSY, 503, {"Retry-After": "5"})
        if reply is None:
            return PlainTextResponse("", 400)
        return Response(reply, 200, media_type="application/json" if reply.startswith(b"{") else "text/plain")

    async def _body(self, request: Request, address: Address) -> bytes:
        """Read, inflate, strain and bound the body."""
        strainer = Strainer(request.headers.get("content-type", ""))
        kept = bytearray()
        try:
            async for chunk in _inflated(request):
                kept += strainer.feed(chunk)
                self._judge(strainer, address, kept)
        except ClientDisconnect:
            if address.family not in CUT_OFF:
                raise
        kept += strainer.close()
        self._judge(strainer, address, kept)
        return bytes(kept)

    def _judge(self, strainer: Strainer, address: Address, kept: bytearray) -> None:
        if strainer.picture and not self.local:
            log.warning(
                "%s/%s sent a picture over the internet and is blocked until it is added again", address.family, address.name
            )
            self._addresses.block(address)
            raise _Blocked
        if len(kept) > KEPT_BYTES:
            raise _TooLong


class _Blocked(Exception):
    """A picture came where none may."""


class _Gone(Exception):
    """The gateway leaves."""


class _TooLong(Exception):
    """The body is longer than anything a device has to say."""


class _Server(uvicorn.Server):
    """uvicorn as a part of a process that handles its own signals."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


async def _inflated(request: Request) -> AsyncIterator[bytes]:
    """Yield the body in pieces, inflated where it says that it is deflated or zipped. Raises _TooLong."""
    encoding = request.headers.get("content-encoding", "identity").lower()
    inflate = None if encoding in ("", "identity") else zlib.decompressobj(wbits=47)
    came = 0
    async for chunk in request.stream():
        while chunk:
            piece = chunk if inflate is None else inflate.decompress(chunk, KEPT_BYTES)
            chunk = b"" if inflate is None else inflate.unconsumed_tail
            came += len(piece)
            if came > BODY_BYTES:
                raise _TooLong
            yield piece


def _refused(address: Address) -> Response:
    how = _OFF.get(address.family, "关闭图片上传 — turn off the upload of pictures")
    text = (
        "本网关在互联网上，不接收图片，此设备已停用。请先关闭图片，再用 `smartcare gateway device` 重新登记。\n"
        "This listener is on the internet and takes no pictures; the device is blocked. Turn pictures off, then add it again\n"
        f"with `smartcare gateway device`.\n{how}\n"
    )
    return PlainTextResponse(text, 403)


def is_on_site(url: str) -> bool:
    """Tell whether a broker is of this machine or network: a private address, or a name that no registry gives out."""
    host = urlsplit(url).hostname or ""
    return is_local(host) or "." not in host.removesuffix(".") or host.rpartition(".")[2] in ("local", "lan", "internal", "home")


def is_local(host: str) -> bool:
    """Tell whether an address is only for this machine or its own network; one that is for all (0.0.0.0) is not."""
    try:
        at = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    return not at.is_unspecified and (at.is_loopback or at.is_private)
