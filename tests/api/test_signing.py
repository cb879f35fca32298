"""Signatures that any Standard Webhooks receiver accepts, and a verifier that hostile input cannot upset."""

import base64
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook

from api.signing import BadSecret, Verdict, generate_secret, keys, sign, verify

SECRET = "whsec_" + base64.b64encode(bytes(range(40, 72))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(range(80, 112))).decode()
NOW = 1_790_000_000
BODY = '{"type":"alert.opened","data":{"site":"睦邻点"}}'.encode()


@pytest.mark.parametrize(
    ("secret", "webhook_id", "at", "body", "signature"),
    [
        (
            "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            1614265330,
            b'{"test": 2432232314}',
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
        ),
        (
            "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",
            "msg_1",
            1700000000,
            b'{"a":1}',
            "v1,rkwp5YuvdrMkcu0ZhuMsXoTg44mHAr1Q0+FFgFpXsjY=",
        ),
    ],
)
def test_published_vectors_are_met(secret: str, webhook_id: str, at: int, body: bytes, signature: str) -> None:
    assert sign(secret, webhook_id, at, body) == signature
    assert verify(secret, webhook_id, str(at), signature, body, at) is Verdict.VERIFIED


@given(key=st.binary(min_size=24, max_size=64), at=st.integers(0, 4_000_000_000), body=st.text())
def test_the_reference_library_signs_alike(key: bytes, at: int, body: str) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    theirs = Webhook(secret).sign(msg_id="alert-7-2-1", timestamp=datetime.fromtimestamp(at, UTC), data=body)
    assert sign(secret, "alert-7-2-1", at, body.encode()) == theirs


def test_a_signature_does_not_depend_on_the_zone_of_a_clock_on_the_wall() -> None:
    shanghai = datetime.fromtimestamp(NOW, timezone(timedelta(hours=8)))
    ours = sign(SECRET, "a", int(shanghai.timestamp()), BODY)
    assert ours == Webhook(SECRET).sign(msg_id="a", timestamp=shanghai.astimezone(UTC), data=BODY.decode())
    assert ours != Webhook(SECRET).sign(msg_id="a", timestamp=shanghai, data=BODY.decode())  # the library's trap


def test_during_a_rotation_holders_of_either_secret_verify() -> None:
    header = sign(f"{SECRET} {OTHER}", "a", NOW, BODY)
    assert header == f"{sign(SECRET, 'a', NOW, BODY)} {sign(OTHER, 'a', NOW, BODY)}"
    for held in (SECRET, OTHER, f"{OTHER} {SECRET}"):
        assert verify(held, "a", str(NOW), header, BODY, NOW) is Verdict.VERIFIED
    assert verify(generate_secret(), "a", str(NOW), header, BODY, NOW) is Verdict.MISMATCH


GOOD = sign(SECRET, "a", NOW, BODY)


@pytest.mark.parametrize(
    ("webhook_id", "timestamp", "signature", "body", "verdict"),
    [
        (None, str(NOW), GOOD, BODY, Verdict.MISSING_HEADER),
        ("a", None, GOOD, BODY, Verdict.MISSING_HEADER),
        ("a", str(NOW), None, BODY, Verdict.MISSING_HEADER),
        ("a", str(NOW), "", BODY, Verdict.MISSING_HEADER),
        ("a.b", str(NOW), GOOD, BODY, Verdict.BAD_ID),
        ("甲", str(NOW), GOOD, BODY, Verdict.BAD_ID),
        ("a" * 201, str(NOW), GOOD, BODY, Verdict.BAD_ID),
        ("a", f"{NOW}.0", GOOD, BODY, Verdict.BAD_TIMESTAMP),
        ("a", "-1", GOOD, BODY, Verdict.BAD_TIMESTAMP),
        ("a", "１７９", GOOD, BODY, Verdict.BAD_TIMESTAMP),
        ("a", "9" * 6000, GOOD, BODY, Verdict.BAD_TIMESTAMP),
        ("a", str(NOW), "garbage", BODY, Verdict.NO_V1_SIGNATURE),
        ("a", str(NOW), GOOD.replace("v1,", "v1a,"), BODY, Verdict.NO_V1_SIGNATURE),
        ("a", str(NOW), "v1,", BODY, Verdict.MISMATCH),
        ("a", str(NOW), "v1,签名", BODY, Verdict.MISMATCH),
        ("a", str(NOW), GOOD[:-1], BODY, Verdict.MISMATCH),
        ("b", str(NOW), GOOD, BODY, Verdict.MISMATCH),
        ("a", str(NOW + 1), GOOD, BODY, Verdict.MISMATCH),
        ("a", str(NOW), GOOD, BODY + b" ", Verdict.MISMATCH),
        ("a", str(NOW), GOOD, b"\xff\xfe", Verdict.MISMATCH),
    ],
)
def test_each_refusal_has_its_name(
    webhook_id: str | None, timestamp: str | None, signature: str | None, body: bytes, verdict: Verdict
) -> None:
    assert verify(SECRET, webhook_id, timestamp, signature, body, NOW) is verdict


@pytest.mark.parametrize(
    ("off", "verdict"),
    [(-301, Verdict.TOO_OLD), (-300, Verdict.VERIFIED), (300, Verdict.VERIFIED), (301, Verdict.TOO_NEW)],
)
def test_five_minutes_of_clock_error_are_tolerated_and_no_more(off: int, verdict: Verdict) -> None:
    assert verify(SECRET, "a", str(NOW + off), sign(SECRET, "a", NOW + off, BODY), BODY, NOW) is verdict


headers = st.none() | st.text(max_size=40) | st.sampled_from(["a", str(NOW), GOOD, "v1,\ud800", "v1," * 50])


@given(webhook_id=headers, timestamp=headers, signature=headers, body=st.binary(max_size=40))
def test_no_hostile_header_raises_or_passes(
    webhook_id: str | None, timestamp: str | None, signature: str | None, body: bytes
) -> None:
    assert verify(SECRET, webhook_id, timestamp, signature, body, NOW) is not Verdict.VERIFIED


@pytest.mark.parametrize("webhook_id", ["", "a.b", "a b", "甲", "a\n", "x" * 201])
def test_an_id_that_could_pass_for_another_message_is_not_signed(webhook_id: str) -> None:
    with pytest.raises(ValueError, match="webhook id"):
        sign(SECRET, webhook_id, NOW, BODY)


@pytest.mark.parametrize("secret", ["", "whsec_", "c2VjcmV0", "whsec_****", "whsec_c2hvcnQ=", "whsec_" + "A" * 100, "whsec_密"])
def test_a_secret_too_weak_or_garbled_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(BadSecret) as refused:
        keys(secret)
    assert secret in ("", "whsec_") or secret not in str(refused.value)


def test_new_secrets_have_32_bytes_and_never_repeat() -> None:
    made = {generate_secret() for _ in range(50)}
    assert len(made) == 50
    assert {len(keys(s)[0]) for s in made} == {32}
