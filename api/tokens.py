"""Short-lived secrets that a platform hands out: request secrets of the md5 gateway, access tokens of 浙政钉.

    md5   refreshTokenByKey.htm (appSecret) ─► refreshSecret 48 h, requestSecret 15 min ─► refreshTokenBySec.htm (refreshSecret) …
    zwdd  GET gettoken.json (signed) ─► access token 2 h, a parameter of the URL

One decision: what is handed out is kept in the database beside its end, is fetched again before that, and is dropped as soon as
the receiver says no to anything: whatever the reason was, a fresh one is cheap.
"""

import hashlib
from dataclasses import replace
from typing import Any

import msgspec
import psycopg
from psycopg.rows import dict_row

from api.endpoints import Endpoint
from api.errors import ApiError
from api.outgoing import Caller
from api.signers import Attempt, Request, Signer, with_query, zwdd
from gateway.clock import MINUTE_US, SECOND_US
from ingest.store.queries import Queries

SQL = Queries("api", "delivery.sql")
MARGIN_US = MINUTE_US
REQUEST_US, REFRESH_US = 14 * MINUTE_US, 47 * 60 * MINUTE_US
"""How long the gateway's secrets are used where it does not say: a little less than its documented 15 min and 48 h."""
ACCESS_US = 110 * MINUTE_US


class NoToken(ApiError):
    """The platform handed out no token; the message says what it answered, without secrets."""

    slug = "no-token"


class Tokens:
    """Fetches and keeps what endpoints with a token URL need."""

    def __init__(self, conn: psycopg.AsyncConnection[Any], caller: Caller) -> None:
        self._conn, self._caller = conn, caller

    async def on(self, to: Endpoint, now_us: int) -> Endpoint:
        """Return the endpoint with the secret or URL of this moment. Raises NoToken, outgoing.OutgoingError."""
        if not to.token_url:
            return to
        async with self._conn.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(SQL["read_token"], {"endpoint": to.id})
            known = await cursor.fetchone()
        if known is None or known["until_us"] <= now_us + MARGIN_US:
            fetch = self._md5 if to.signer is Signer.MD5 else self._zwdd
            known = await fetch(to, known, now_us)
            await self._conn.execute(SQL["put_token"], known | {"endpoint": to.id})
        token = str(known["token"])
        return replace(to, secret=token) if to.signer is Signer.MD5 else replace(to, url=with_query(to.url, access_token=token))

    async def refused(self, to: Endpoint) -> None:
        """The receiver has said no: the next attempt fetches a fresh one."""
        if to.token_url:
            await self._conn.execute(SQL["end_token"], {"endpoint": to.id})

    async def _md5(self, to: Endpoint, known: dict[str, Any] | None, now_us: int) -> dict[str, Any]:
        base = to.token_url.rstrip("/")
        if known and known["refresh"] and known["refresh_until_us"] > now_us + MARGIN_US:
            try:
                return await self._secrets(f"{base}/refreshTokenBySec.htm", to.key_id, known["refresh"], now_us)
            except NoToken:
                pass  # whoever fetched in between has made it void: start from the key
        return await self._secrets(f"{base}/refreshTokenByKey.htm", to.key_id, to.secret, now_us)

    async def _secrets(self, url: str, app: str, secret: str, now_us: int) -> dict[str, Any]:
        at_ms = str(now_us // 1000)
        sign = hashlib.md5(f"{app}{secret}{at_ms}".encode(), usedforsecurity=False).hexdigest()
        found = await self._ask(with_query(url, appKey=app, requestTime=at_ms, sign=sign), {})
        datas = found.get("datas") if isinstance(found.get("datas"), dict) else None
        if not datas or not datas.get("requestSecret"):
            raise NoToken(f"网关没有给出 requestSecret · the gateway gave no requestSecret: code {found.get('code')!r}")
        return {
            "token": str(datas["requestSecret"]),
            "until_us": _end(datas.get("requestSecretEndTime"), now_us + REQUEST_US),
            "refresh": str(datas.get("refreshSecret", "")),
            "refresh_until_us": _end(datas.get("refreshSecretEndTime"), now_us + REFRESH_US),
        }

    async def _zwdd(self, to: Endpoint, _: dict[str, Any] | None, now_us: int) -> dict[str, Any]:
        url = with_query(to.token_url, appkey=to.key_id, appsecret=to.secret)
        attempt = Attempt(secret=to.secret, key_id=to.key_id, webhook_id="", at_us=now_us, nonce=now_us % 10_000)
        made = zwdd(Request(url=url, headers={}, body=b""), attempt, "GET")
        found = await self._ask(made.url, dict(made.headers))
        content: Any = found.get("content")
        data = content.get("data") if isinstance(content, dict) else None
        data = data if isinstance(data, dict) else {}
        token = data.get("accessToken")
        if not token:
            raise NoToken(f"浙政钉没有给出 accessToken · gettoken gave no accessToken: {found.get('errorMsg')!r}")
        lives_s = data.get("expiresIn")
        lives_us = lives_s * SECOND_US if isinstance(lives_s, int) else ACCESS_US
        return {"token": str(token), "until_us": now_us + lives_us, "refresh": "", "refresh_until_us": 0}

    async def _ask(self, url: str, headers: dict[str, str]) -> dict[str, Any]:
        reply = await self._caller.get(url, headers)
        try:
            found: Any = msgspec.json.decode(reply.body) if reply.status == 200 else None
        except msgspec.DecodeError:
            found = None
        if not isinstance(found, dict):
            raise NoToken(f"取令牌失败 · the token's address answered HTTP {reply.status} and no JSON object")
        return found


def _end(time_ms: object, default_us: int) -> int:
    return time_ms * 1000 if isinstance(time_ms, int) and time_ms > 0 else default_us
