"""Signers against published vectors, an independent SM3, and receivers that check as their vendors document."""

import base64
import hashlib
import hmac
import re
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from gmssl import sm3
from hypothesis import given
from hypothesis import strategies as st

from api import signers
from api.signers import Attempt, Request, Signer, check_secret, signed, zwdd_signature
from api.signing import BadSecret

KEY = bytes(range(60, 92))
WHSEC = "whsec_" + base64.b64encode(KEY).decode()
PLAIN = Request(url="http://receiver/in", headers={"content-type": "application/json"}, body=b'{"n":1}')


def attempt(secret: str = WHSEC, at_us: int = 1_700_000_000_000_000, key_id: str = "", nonce: int = 0) -> Attempt:
    return Attempt(secret=secret, key_id=key_id, webhook_id="msg_1", at_us=at_us, nonce=nonce)


def query(url: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(url).query))


def gm_hmac(key: bytes, text: bytes) -> bytes:
    """HMAC (RFC 2104) over a pure-Python SM3 that shares no code with ours."""

    def digest(data: bytes) -> bytes:
        return bytes.fromhex(sm3.sm3_hash(list(data)))

    block = (digest(key) if len(key) > 64 else key).ljust(64, b"\0")
    inner = digest(bytes(b ^ 0x36 for b in block) + text)
    return digest(bytes(b ^ 0x5C for b in block) + inner)


def test_standard_webhooks_vector() -> None:
    secret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="
    made = signed(Signer.STANDARD, Request(url="http://x/", headers={}, body=b'{"a":1}'), attempt(secret))
    assert made.headers == {
        "webhook-id": "msg_1",
        "webhook-timestamp": "1700000000",
        "webhook-signature": "v1,rkwp5YuvdrMkcu0ZhuMsXoTg44mHAr1Q0+FFgFpXsjY=",
    }


@given(key=st.binary(max_size=100), text=st.binary(max_size=300))
def test_hmac_sm3_agrees_with_an_independent_implementation(key: bytes, text: bytes) -> None:
    assert signers.sm3(key, text) == gm_hmac(key, text)


def test_sm3_gives_the_standards_digest() -> None:
    """GM/T 0004-2012, example 1, by way of our independent implementation."""
    assert sm3.sm3_hash(list(b"abc")) == "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"


def test_an_sm3_webhook_signs_id_time_and_body_once_for_each_secret() -> None:
    other = bytes(range(90, 122))
    made = signed(Signer.SM3, PLAIN, attempt(f"{WHSEC} whsec_{base64.b64encode(other).decode()}"))
    text = b'msg_1.1700000000.{"n":1}'
    expected = [f"sm3,{base64.b64encode(gm_hmac(key, text)).decode()}" for key in (KEY, other)]
    assert made.headers["webhook-signature"].split(" ") == expected
    assert made.body == PLAIN.body


def test_zwdd_vector() -> None:
    values = [("b", "2"), ("a", "1")]
    signature = zwdd_signature("secret", "2024-01-01T08:00:00.000+08:00", "17040672000001234", "/chat/sendMsg", values)
    assert signature == "siPiACR4WOrU9TOFUcp7u/lBptMg6mnTa10VIlut5z8="


def test_a_zwdd_request_carries_time_nonce_and_signature_of_query_and_form() -> None:
    form = Request(url="http://receiver/chat/sendMsg?b=2", headers={}, body=b"a=1")
    made = signed(Signer.ZWDD, form, attempt("secret", 1_704_067_200_000_000, "app", 1234))
    assert made.headers["X-Hmac-Auth-Timestamp"] == "2024-01-01T08:00:00.000+08:00"
    assert made.headers["X-Hmac-Auth-Nonce"] == "17040672000001234"
    assert made.headers["X-Hmac-Auth-Version"] == "1.0"
    assert made.headers["apiKey"] == "app"
    assert made.headers["X-Hmac-Auth-Signature"] == "siPiACR4WOrU9TOFUcp7u/lBptMg6mnTa10VIlut5z8="
    assert made.body == b"a=1"


def test_zwdd_signs_values_as_they_are_before_encoding() -> None:
    form = Request(url="http://receiver/p", headers={}, body=b"msg=%E5%BC%80+%26")
    made = signed(Signer.ZWDD, form, attempt("secret", key_id="app"))
    at, nonce = made.headers["X-Hmac-Auth-Timestamp"], made.headers["X-Hmac-Auth-Nonce"]
    text = f"POST\n{at}\n{nonce}\n/p\nmsg=开 &"
    expected = base64.b64encode(hmac.new(b"secret", text.encode(), hashlib.sha256).digest()).decode()
    assert made.headers["X-Hmac-Auth-Signature"] == expected


def test_md5_gateway_vector() -> None:
    made = signed(Signer.MD5, PLAIN, attempt("SECRET", key_id="APPKEY"))
    sign = "3c283aacefcd01b0047b02d46c075359"
    assert query(made.url) == {"appKey": "APPKEY", "requestTime": "1700000000000", "sign": sign}
    assert made.body == PLAIN.body


def test_dingtalk_vector_is_encoded_once() -> None:
    made = signed(Signer.DINGTALK, Request(url="http://r/robot/send?access_token=t", headers={}, body=b"{}"), attempt("SECdemo"))
    expected = "access_token=t&timestamp=1700000000000&sign=lOvVf9TQCVugV68mGbSZCg0gzOl1SVjxWi1MyVZCUuA%3D"
    assert urlsplit(made.url).query == expected


def test_feishu_vector_is_put_into_the_body() -> None:
    said = Request(url="http://r/hook/t", headers={}, body=b'{"msg_type":"text"}')
    made = signed(Signer.FEISHU, said, attempt("demo", 1_599_360_473_900_000))
    expected = b'{"timestamp":"1599360473","sign":"l1N0gAcBjdwBvGm1xMjOF0XSyaLRpR7tuO5dHfhAYc8=","msg_type":"text"}'
    assert made.body == expected


@pytest.mark.parametrize("signer", [Signer.DINGTALK, Signer.FEISHU, Signer.NONE])
def test_a_robot_without_a_secret_is_sent_the_message_as_it_is(signer: Signer) -> None:
    assert signed(signer, PLAIN, attempt("")) == PLAIN


@pytest.mark.parametrize(
    ("signer", "secret", "key_id"),
    [
        (Signer.STANDARD, "secret", ""),
        (Signer.SM3, "", ""),
        (Signer.ZWDD, "secret", ""),
        (Signer.MD5, "", "app"),
        (Signer.MD5, "a\nb", "app"),
        (Signer.DINGTALK, "密钥", ""),
    ],
)
def test_a_secret_that_its_signer_cannot_use_is_refused(signer: Signer, secret: str, key_id: str) -> None:
    with pytest.raises(BadSecret):
        check_secret(signer, secret, key_id)


def test_the_vectors_in_the_documentation_are_right() -> None:
    text = (Path(__file__).parents[2] / "docs" / "integration.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| (\S+) \| `([^`]+)` \|$", text, re.M))
    key, body = base64.b64decode(rows["secret"].removeprefix("whsec_")), rows["body"]
    signed_text = f"evt_7_1_2.1790000000.{body}".encode()
    assert rows["`hmac-sm3`"] == f"sm3,{base64.b64encode(gm_hmac(key, signed_text)).decode()}"
    assert rows["`standard`"] == f"v1,{base64.b64encode(hmac.new(key, signed_text, hashlib.sha256).digest()).decode()}"
