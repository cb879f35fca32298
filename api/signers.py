"""Signs a request the way its receiver checks it; every signer is a pure function from a request to a signed one.

One decision: a signer adds headers, query parameters or, for Feishu, two members, and never serialises the body again. The
bytes that were stored are the bytes that leave.

    standard   webhook-signature: v1,<base64 HMAC-SHA256(id.timestamp.body)>
    hmac-sm3   the same with HMAC-SM3 (GM/T 0004), webhook-signature: sm3,<base64>
    zwdd       X-Hmac-Auth-*: <base64 HMAC-SHA256(METHOD, timestamp, nonce, path, sorted k=v)>, body a form
    md5        ?appKey=…&requestTime=<ms>&sign=<hex md5(appKey + secret + requestTime)>
    dingtalk   ?timestamp=<ms>&sign=<base64 HMAC-SHA256(key secret, ms + LF + secret)>
    feishu     {"timestamp": "<s>", "sign": base64 HMAC-SHA256(key s + LF + secret, nothing), …}
    bearer     Authorization: Bearer <secret>, for gateways of SMS and voice
"""

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from urllib.parse import parse_qsl, quote, urlencode, urlsplit
from zoneinfo import ZoneInfo

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.hmac import HMAC

from api.signing import BadSecret, keys, sign
from gateway.clock import SECOND_US

BEIJING = ZoneInfo("Asia/Shanghai")
NOWHERE = {"X-Hmac-Auth-IP": "127.0.0.1", "X-Hmac-Auth-MAC": "00:00:00:00:00:00"}
"""Wanted and not signed; where a call comes from is for the receiver's network to know."""


class Signer(StrEnum):
    """How a request is signed. Two are the robots' own and follow from an endpoint's kind."""

    STANDARD = "standard"
    SM3 = "hmac-sm3"
    ZWDD = "zwdd"
    MD5 = "md5"
    DINGTALK = "dingtalk"
    FEISHU = "feishu"
    BEARER = "bearer"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A POST, signed or not yet."""

    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Who signs what and when. key_id: apiKey or appKey. nonce: 0 to 9999, another one at each attempt."""

    secret: str
    key_id: str
    webhook_id: str
    at_us: int
    nonce: int

    @property
    def at_s(self) -> int:
        """Unix seconds."""
        return self.at_us // SECOND_US

    @property
    def at_ms(self) -> int:
        """Unix milliseconds."""
        return self.at_us // 1000


def check_secret(signer: Signer, secret: str, key_id: str) -> None:
    """Raise BadSecret where a signer could not work with these."""
    if not (secret.isascii() and secret.isprintable() and key_id.isascii() and key_id.isprintable()):
        raise BadSecret("a secret and a key id are printable ASCII characters")
    if signer in (Signer.STANDARD, Signer.SM3):
        keys(secret)
    elif signer in (Signer.ZWDD, Signer.MD5) and not (secret and key_id):
        raise BadSecret(f"the signer {signer} needs a key id (apiKey, appKey) and a secret")
    elif signer is Signer.BEARER and not secret:
        raise BadSecret("the signer bearer needs a secret")


def secret_of(signer: Signer, secret: str, attempts: int) -> str:
    """Return what an attempt is signed with after `attempts` failed ones, where `secret` may be two for a rotation.

    Who can put several signatures into a request does; the others take turns, so that either secret is tried within seconds.
    """
    if signer in (Signer.STANDARD, Signer.SM3):
        return secret
    several = secret.split() or [""]
    return several[attempts % len(several)]


def signed(signer: Signer, request: Request, attempt: Attempt) -> Request:
    """Return the request as it leaves. Raises BadSecret."""
    return SIGNERS[signer](request, attempt)


def standard(request: Request, attempt: Attempt) -> Request:
    """Standard Webhooks 1.0."""
    return _webhook(request, attempt, sign(attempt.secret, attempt.webhook_id, attempt.at_s, request.body))


def hmac_sm3(request: Request, attempt: Attempt) -> Request:
    """Sign the same bytes as Standard Webhooks under the same headers, with HMAC-SM3; one for each secret of a rotation."""
    text = f"{attempt.webhook_id}.{attempt.at_s}.".encode() + request.body
    made = [base64.b64encode(sm3(key, text)).decode() for key in keys(attempt.secret)]
    return _webhook(request, attempt, " ".join(f"sm3,{one}" for one in made))


def sm3(key: bytes, text: bytes) -> bytes:
    """Return HMAC-SM3, 32 bytes."""
    mac = HMAC(key, hashes.SM3())
    mac.update(text)
    return mac.finalize()


def zwdd(request: Request, attempt: Attempt, method: str = "POST") -> Request:
    """浙政钉 (专有钉钉): the values of query and form are signed as they are before encoding."""
    at = datetime.fromtimestamp(attempt.at_ms / 1000, BEIJING).isoformat(timespec="milliseconds")
    nonce = f"{attempt.at_s}000{attempt.nonce:04}"
    parts = urlsplit(request.url)
    values = [*parse_qsl(parts.query, keep_blank_values=True), *parse_qsl(request.body.decode(), keep_blank_values=True)]
    headers = NOWHERE | {
        "X-Hmac-Auth-Timestamp": at,
        "X-Hmac-Auth-Version": "1.0",
        "X-Hmac-Auth-Nonce": nonce,
        "apiKey": attempt.key_id,
        "X-Hmac-Auth-Signature": zwdd_signature(attempt.secret, at, nonce, parts.path, values, method),
    }
    return replace(request, headers={**request.headers, **headers})


def zwdd_signature(
    secret: str, timestamp: str, nonce: str, path: str, values: list[tuple[str, str]], method: str = "POST"
) -> str:
    """Return X-Hmac-Auth-Signature. values: (name, value) of query and form, not encoded, in any order."""
    lines = [method, timestamp, nonce, path]
    if values:
        lines.append("&".join(f"{k}={v}" for k, v in sorted(values)))
    return _sha256(secret.encode(), "\n".join(lines).encode())


def md5_gateway(request: Request, attempt: Attempt) -> Request:
    """公共数据平台 gateway: three parameters in the query; the receiver's rule, not our choice of a hash."""
    text = f"{attempt.key_id}{attempt.secret}{attempt.at_ms}".encode()
    sign = hashlib.md5(text, usedforsecurity=False).hexdigest()
    return replace(request, url=with_query(request.url, appKey=attempt.key_id, requestTime=str(attempt.at_ms), sign=sign))


def dingtalk(request: Request, attempt: Attempt) -> Request:
    """钉钉 robot with 加签; one without a secret is protected by keyword or address list."""
    if not attempt.secret:
        return request
    sign = _sha256(attempt.secret.encode(), f"{attempt.at_ms}\n{attempt.secret}".encode())
    return replace(request, url=with_query(request.url, timestamp=str(attempt.at_ms), sign=sign))


def feishu(request: Request, attempt: Attempt) -> Request:
    """飞书 robot with 签名校验: key and message change places against 钉钉, and the signature goes into the body."""
    if not attempt.secret:
        return request
    sign = _sha256(f"{attempt.at_s}\n{attempt.secret}".encode(), b"")
    head = f'{{"timestamp":"{attempt.at_s}","sign":"{sign}",'.encode()
    return replace(request, body=head + request.body.removeprefix(b"{"))


def bearer(request: Request, attempt: Attempt) -> Request:
    """A fixed token in a header, where a gateway knows no better; only over https."""
    return replace(request, headers={**request.headers, "authorization": f"Bearer {attempt.secret}"})


def unsigned(request: Request, attempt: Attempt) -> Request:
    """企业微信 robot, or an SMS gateway: whoever knows the URL may post."""
    return request


SIGNERS: Mapping[Signer, Callable[[Request, Attempt], Request]] = {
    Signer.STANDARD: standard,
    Signer.SM3: hmac_sm3,
    Signer.ZWDD: zwdd,
    Signer.MD5: md5_gateway,
    Signer.DINGTALK: dingtalk,
    Signer.FEISHU: feishu,
    Signer.BEARER: bearer,
    Signer.NONE: unsigned,
}


def with_query(url: str, **values: str) -> str:
    """Return the URL with parameters added, each encoded once."""
    return f"{url}{'&' if '?' in url else '?'}{urlencode(values, quote_via=quote, safe='')}"


def _webhook(request: Request, attempt: Attempt, signature: str) -> Request:
    mine = {"webhook-id": attempt.webhook_id, "webhook-timestamp": str(attempt.at_s), "webhook-signature": signature}
    return replace(request, headers={**request.headers, **mine})


def _sha256(key: bytes, text: bytes) -> str:
    return base64.b64encode(hmac.digest(key, text, "sha256")).decode()
