"""Signs what leaves and verifies what arrives, by Standard Webhooks 1.0 (symmetric, v1).

One decision: times are integer seconds and bodies are bytes, so that neither a time zone nor a second serialisation can
change what is signed.

    webhook-signature = "v1," + base64(HMAC-SHA256(secret, id + "." + timestamp + "." + body)), one for each secret
"""

import base64
import binascii
import hmac
import secrets
from enum import StrEnum

from api.errors import ApiError

PREFIX = "whsec_"
TOLERANCE_S = 300
KEY_BYTES = (24, 64)
MAX_ID = 200
MAX_SIGNATURES = 16


class BadSecret(ApiError):
    """A secret that Standard Webhooks does not allow; the message never repeats it."""

    slug = "bad-secret"


class Verdict(StrEnum):
    """What `verify` found; everything but VERIFIED is a refusal with its name."""

    VERIFIED = "verified"
    MISSING_HEADER = "missing_header"
    BAD_ID = "bad_id"
    BAD_TIMESTAMP = "bad_timestamp"
    TOO_OLD = "too_old"
    TOO_NEW = "too_new"
    NO_V1_SIGNATURE = "no_v1_signature"
    MISMATCH = "mismatch"


def generate_secret() -> str:
    """Return a new secret of 32 random bytes, "whsec_" and base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()


def keys(secret: str) -> list[bytes]:
    """Return the keys of "whsec_…"; during a rotation several, separated by spaces. Raises BadSecret."""
    found = []
    for part in secret.split():
        if not part.startswith(PREFIX):
            raise BadSecret(f"a signing secret begins with {PREFIX}; make one with `generate_secret`")
        text = part.removeprefix(PREFIX)
        try:
            key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except (binascii.Error, ValueError):
            raise BadSecret(f"a signing secret is {PREFIX} and base64; this one is not base64") from None
        if not KEY_BYTES[0] <= len(key) <= KEY_BYTES[1]:
            raise BadSecret(f"a signing secret has {KEY_BYTES[0]} to {KEY_BYTES[1]} bytes, this one has {len(key)}")
        found.append(key)
    if not found:
        raise BadSecret(f"a signing secret is {PREFIX} and base64; this one is empty")
    return found


def sign(secret: str, webhook_id: str, timestamp_s: int, body: bytes) -> str:
    """Return the webhook-signature header. `timestamp_s`: Unix seconds of the attempt. Raises BadSecret, ValueError."""
    if not _good_id(webhook_id):
        raise ValueError(f"a webhook id is 1 to {MAX_ID} printable ASCII characters without a dot, got {webhook_id!r}")
    return " ".join(_signature(key, webhook_id, str(timestamp_s), body) for key in keys(secret))


def verify(secret: str, webhook_id: str | None, timestamp: str | None, signature: str | None, body: bytes, now_s: int) -> Verdict:
    """Judge the three headers (None: absent) and the body as they came, at `now_s` Unix seconds.

    Whatever a caller sent is answered by a Verdict. Only a secret of our own that is wrong raises (BadSecret).
    """
    ours = keys(secret)
    if not (webhook_id and timestamp and signature):
        return Verdict.MISSING_HEADER
    if not _good_id(webhook_id):
        return Verdict.BAD_ID
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return Verdict.BAD_TIMESTAMP
    if int(timestamp) < now_s - TOLERANCE_S:
        return Verdict.TOO_OLD
    if int(timestamp) > now_s + TOLERANCE_S:
        return Verdict.TOO_NEW
    came = [s.encode("utf-8", "surrogatepass") for s in signature.split(" ")[:MAX_SIGNATURES] if s.startswith("v1,")]
    if not came:
        return Verdict.NO_V1_SIGNATURE
    expected = [_signature(key, webhook_id, timestamp, body).encode() for key in ours]
    matches = [hmac.compare_digest(mine, theirs) for mine in expected for theirs in came]
    return Verdict.VERIFIED if any(matches) else Verdict.MISMATCH


def _signature(key: bytes, webhook_id: str, timestamp: str, body: bytes) -> str:
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


def _good_id(webhook_id: str) -> bool:
    # A dot would let "a.1" + "2" + "x" pass for "a" + "1" + "2.x": the same signed bytes, another message.
    printable = webhook_id.isascii() and webhook_id.isprintable() and " " not in webhook_id
    return printable and "." not in webhook_id and 1 <= len(webhook_id) <= MAX_ID
