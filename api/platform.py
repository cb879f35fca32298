"""`smartcare platform`: a receiver of alerts for demos and tests, as a city's platform would be one.

One decision: the ledger is the truth. Each request is on disk before it is answered, verified or not, so that what was
received can be compared with what was sent whatever was killed in between.
"""

import contextlib
import hashlib
import json
import os
from collections import deque
from collections.abc import Sequence
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import jinja2
import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from api.signing import Verdict, keys, verify
from gateway.clock import SECOND_US, now_us

MAX_BODY_BYTES = 64 * 1024
SHOWN = 50
REFUSALS = {
    Verdict.MISSING_HEADER: "缺少签名头 · webhook-id, webhook-timestamp or webhook-signature is missing",
    Verdict.BAD_ID: "webhook-id 无效 · webhook-id is not valid",
    Verdict.BAD_TIMESTAMP: "webhook-timestamp 无效 · webhook-timestamp is not Unix seconds",
    Verdict.TOO_OLD: "时间过早，请校时 · webhook-timestamp is more than 5 minutes old; check the sender's clock",
    Verdict.TOO_NEW: "时间超前，请校时 · webhook-timestamp is more than 5 minutes ahead; check the sender's clock",
    Verdict.NO_V1_SIGNATURE: "没有 v1 签名 · webhook-signature holds no v1 signature",
    Verdict.MISMATCH: "签名不符，请核对密钥 · the signature does not match; check the secret",
}


def _clock(at_us: int) -> str:
    return f"{datetime.fromtimestamp(at_us / SECOND_US, ZoneInfo('Asia/Shanghai')):%m-%d %H:%M:%S}"


_pages = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
_pages.filters["clock"] = _clock
PAGE = _pages.from_string((resources.files("api") / "platform.html").read_text("utf-8"))


class Ledger:
    """An append-only file of JSON lines, on disk when `append` returns; the last entries also in memory for the page."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.total = 0
        self.last: deque[dict[str, Any]] = deque(maxlen=SHOWN)
        self._path = path
        with path.open("a+b") as file:
            file.seek(0)
            end = 0
            for line in file:
                if line.endswith(b"\n"):
                    self._keep(json.loads(line))
                    end += len(line)
            file.truncate(end)  # a line that a kill cut short was never answered

    def append(self, entry: dict[str, Any]) -> None:
        """Write one entry and wait for the disk."""
        with self._path.open("ab") as file:
            file.write(json.dumps(entry, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
            file.flush()
            os.fsync(file.fileno())
        self._keep(entry)

    def _keep(self, entry: dict[str, Any]) -> None:
        self.total += 1
        self.last.appendleft(entry)


def create_platform(ledger: Path, secret: str, misbehave: Sequence[int] = ()) -> Starlette:
    """Return the receiver. misbehave: statuses to answer to the first verified requests, in order. Raises BadSecret."""
    keys(secret)
    book, left = Ledger(ledger), deque(misbehave)

    async def take(request: Request) -> Response:
        try:
            body = await _read(request)
        except ClientDisconnect:
            return Response(status_code=400)
        if body is None:
            return JSONResponse({"code": 413, "message": f"超过 {MAX_BODY_BYTES} 字节 · too long"}, 413)
        at_us, get = now_us(), request.headers.get
        verdict = verify(secret, get("webhook-id"), get("webhook-timestamp"), get("webhook-signature"), body, at_us // SECOND_US)
        verified = verdict is Verdict.VERIFIED
        answer = (left.popleft() if left else 200) if verified else 401
        book.append(_entry(at_us, get("webhook-id", ""), verdict, answer, body))
        if not verified:
            return JSONResponse({"code": 401, "message": REFUSALS[verdict]}, 401)
        if answer == 200:
            return JSONResponse({"code": 0})
        headers = {429: {"retry-after": "7"}, 301: {"location": "/elsewhere"}}.get(answer)
        return JSONResponse({"code": answer, "message": "演练故障 · misbehaving as told"}, answer, headers)

    async def show(_: Request) -> Response:
        return HTMLResponse(PAGE.render(entries=list(book.last), total=book.total))

    return Starlette(routes=[Route("/alerts", take, methods=["POST"]), Route("/", show)])


def run(host: str, port: int, ledger: Path, secret: str) -> None:
    """Serve until SIGINT or SIGTERM."""
    app = create_platform(ledger, secret)
    uvicorn.run(app, host=host, port=port, log_level="warning", ws="none", server_header=False, timeout_graceful_shutdown=2)


def _entry(at_us: int, webhook_id: str, verdict: Verdict, answered: int, body: bytes) -> dict[str, Any]:
    said: Any = body.decode("utf-8", "replace")
    if verdict is Verdict.VERIFIED:  # bytes from anyone else are kept, not parsed
        with contextlib.suppress(ValueError, RecursionError):
            said = json.loads(body)
    top = said if isinstance(said, dict) else {}
    data = top["data"] if isinstance(top.get("data"), dict) else {}
    return {
        "received_us": at_us,
        "webhook_id": webhook_id,
        "verified": verdict is Verdict.VERIFIED,
        "verdict": str(verdict),
        "answered": answered,
        "type": top.get("type"),
        "alert_id": data.get("alert_id"),
        "version": data.get("version"),
        "sha256": hashlib.sha256(body).hexdigest(),
        "body": said,
    }


async def _read(request: Request) -> bytes | None:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY_BYTES:
            return None
    return body
