"""Dahua access control: two ways to write an event, wherever it stands."""

from typing import Any

import pytest

from gateway.codecs.contract import Decoded, Message, Reply
from gateway.codecs.dahua import Dahua
from gateway.events import NO_FLAGS, Event, Flag, Kind, Method, Result

NOW = 1_790_000_000_000_000
SEEN = 1_789_999_995_000_000
TOPIC = "http/dahua/side/"
TERMINAL = "dahua/side"
TOKEN = bytes(range(16))
PERSONS = {(TERMINAL, "A17"): TOKEN}
INLINE = (
    'Code=AccessControl;action=Pulse;index=0;data={\n   "CardName" : "王秀英",\n   "UserID" : "A17",\n   "Method" : 15,\n'
    '   "Status" : 1,\n   "RecNo" : 77,\n   "UTC" : 1789999995\n}\n'
).encode()
LINES = (
    "Events[0].Code=AccessControl\r\nEvents[0].Data.UserID=A17\r\nEvents[0].Data.CardName=王秀英\r\n"
    "Events[0].Data.UTC=1789999995\r\nEvents[0].Data.Method=15\r\nEvents[0].Data.Status=1\r\nEvents[0].Data.RecNo=77\r\n"
).encode()
MULTIPART = (
    b"--myboundary\r\nContent-Type: text/plain\r\nContent-Length:9\r\n\r\n" + LINES + b"\r\n--myboundary\r\n"
    b"Content-Type: image/jpeg\r\n\r\n\xff\xd8\xff\xe0JFIF"
)


def decode(payload: bytes) -> Decoded:
    return Dahua().decode(Message(topic=TOPIC, payload=payload, received_us=NOW), {}, PERSONS)


def passage(**changes: Any) -> Event:
    values: dict[str, Any] = {
        "device": TERMINAL,
        "kind": Kind.PASSAGE,
        "t_us": SEEN,
        "received_us": NOW,
        "aux": Method.FACE,
        "a": Result.ALLOWED,
        "flags": Flag.HAS_KEY,
        "key": 77,
        "person": TOKEN,
    }
    return Event(**values | changes)


@pytest.mark.parametrize("payload", [INLINE, LINES, MULTIPART, b"Heartbeat\r\n" + INLINE])
def test_either_form_alone_or_beside_a_picture_is_the_same_passage(payload: bytes) -> None:
    assert decode(payload) == Decoded(events=(passage(),), replies=(Reply(topic=TOPIC, payload=b"OK"),))


def test_several_events_in_one_upload_are_several_passages() -> None:
    assert [e.key for e in decode(INLINE + INLINE.replace(b"77", b"78")).events] == [77, 78]
    assert [e.key for e in decode(LINES + LINES.replace(b"[0]", b"[1]").replace(b"77", b"78")).events] == [77, 78]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ((b'"Method" : 15', b'"Method" : 1'), {"aux": Method.CARD}),
        ((b'"Method" : 15', b'"Method" : 6'), {"aux": Method.FINGERPRINT}),
        ((b'"Method" : 15', b'"Method" : 99'), {"aux": Method.MANUAL}),
        ((b'"Status" : 1,', b'"Status" : 0,'), {"a": Result.REFUSED}),
        ((b'"Status" : 1,', b""), {}),
        ((b'"A17"', b'"A18"'), {"person": None}),
    ],
)
def test_method_status_and_person_are_read(change: tuple[bytes, bytes], expected: dict[str, Any]) -> None:
    assert decode(INLINE.replace(*change)).events == (passage(**expected),)


def test_nobody_known_is_a_stranger() -> None:
    payload = INLINE.replace(b'"A17"', b'""').replace(b'"Status" : 1', b'"Status" : 0')
    assert decode(payload).events == (passage(a=Result.STRANGER, person=None),)


def test_a_record_without_a_number_is_known_by_its_second() -> None:
    (event,) = decode(INLINE.replace(b'   "RecNo" : 77,\n', b"")).events
    assert (event.key // 16, event.flags) == (SEEN // 1_000_000, Flag.HAS_KEY)


def test_a_utc_that_is_really_local_time_is_understood() -> None:
    assert decode(INLINE.replace(b"1789999995", str(1789999995 + 8 * 3600).encode())).events == (passage(),)


def test_a_terminal_without_a_clock_keeps_its_passages() -> None:
    (event,) = decode(INLINE.replace(b"1789999995", b"9")).events
    assert (event.t_us, event.raw_us) == (NOW, 9_000_000)
    (timeless,) = decode(INLINE.replace(b"1789999995", b'"soon"').replace(b'   "RecNo" : 77,\n', b"")).events
    assert (timeless.raw_us, timeless.key, timeless.flags) == (-1, 0, NO_FLAGS | Flag.TIME_IMPLAUSIBLE)


@pytest.mark.parametrize(
    "payload", [b"Heartbeat", b"Code=VideoMotion;action=Start;index=0", INLINE.replace(b"=Pulse", b"=Start")]
)
def test_everything_else_is_a_sign_of_life(payload: bytes) -> None:
    alive = Event(device=TERMINAL, kind=Kind.ALIVE, t_us=NOW, received_us=NOW, flags=Flag.TIME_RECEIVED)
    assert decode(payload).events == (alive,)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "no_part"),
        (b"\xff\xd8\xff", "no_part"),
        (INLINE[:-3], "bad_json"),
        (b"Code=AccessControl;action=Pulse;index=0;data=" + b'{"a":' * 5000, "bad_json"),
        (b"Code=AccessControl;action=Pulse;index=0", "bad_json"),
    ],
)
def test_what_cannot_be_read_is_rejected_and_not_answered(payload: bytes, reason: str) -> None:
    decoded = decode(payload)
    assert (decoded.events, decoded.replies) == ((), ())
    assert decoded.reject is not None
    assert (decoded.reject.reason, decoded.reject.picture) == (reason, True)
