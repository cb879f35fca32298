"""Hikvision access terminals: events in every envelope, bodies cut anywhere, and nobody named."""

import json
from typing import Any

import pytest

from gateway.codecs.contract import Decoded, Message, Reply
from gateway.codecs.hikaccess import HikAccess
from gateway.events import NO_FLAGS, Event, Flag, Kind, Method, Result

NOW = 1_790_000_000_000_000  # 22:13:20 in Shanghai
SEEN = 1_789_999_995_000_000
TOPIC = "http/hikaccess/front/"
TERMINAL = "hikaccess/front"
TOKEN = bytes(range(16))
PERSONS = {(TERMINAL, "E-17"): TOKEN}
SECRETS = ("王秀英", "E-17", "6217000000000001", "JFIF", "\\xff\\xd8")
EVENT = (
    '{"ipAddress":"192.0.2.31","portNo":443,"protocol":"HTTPS","macAddress":"a4:d5:c2:00:00:31","channelID":1,'
    '"dateTime":"2026-09-21T22:13:15+08:00","activePostCount":1,"eventType":"AccessControllerEvent","eventState":"active",'
    '"eventDescription":"Access Controller Event","shortSerialNumber":"FX1","AccessControllerEvent":{"deviceName":"front",'
    '"majorEventType":5,"subEventType":75,"name":"王秀英","cardNo":"6217000000000001","cardReaderNo":1,"employeeNoString":"E-17",'
    '"serialNo":5120,"userType":"normal","currentEvent":true,"currentVerifyMode":"cardOrFace","frontSerialNo":5119,'
    '"attendanceStatus":"checkIn","mask":"no","picturesNumber":1,"FaceRect":{"height":0.1,"width":0.2,"x":0.3,"y":0.4}}}'
).encode()
HEAD = (
    b'--MIME_boundary\r\nContent-Disposition: form-data; name="AccessControllerEvent"\r\nContent-Type: application/json\r\n\r\n'
)
PICTURE = (
    b'\r\n--MIME_boundary\r\nContent-Disposition: form-data; name="Picture"; filename="Picture.jpg"\r\n'
    b"Content-Type: image/jpeg\r\nContent-Length: 24\r\n\r\n\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01\r\n{\x07\r\n\r\n\xff\xd9"
)
MULTIPART = HEAD + EVENT + PICTURE + b"\r\n--MIME_boundary--\r\n"
HEARTBEAT = b'{"dateTime":"2026-09-21T22:13:15+08:00","eventType":"heartBeat","eventState":"active"}'


def decode(payload: bytes) -> Decoded:
    return HikAccess().decode(Message(topic=TOPIC, payload=payload, received_us=NOW), {}, PERSONS)


def posted(alert: dict[str, Any] | None = None, **record: Any) -> bytes:
    body = json.loads(EVENT) | (alert or {})
    body["AccessControllerEvent"] |= record
    return json.dumps({k: v for k, v in body.items() if v is not None}).encode()


def passage(**changes: Any) -> Event:
    values: dict[str, Any] = {
        "device": TERMINAL,
        "kind": Kind.PASSAGE,
        "t_us": SEEN,
        "received_us": NOW,
        "aux": Method.FACE,
        "a": Result.ALLOWED,
        "flags": Flag.HAS_KEY,
        "key": 5120,
        "person": TOKEN,
    }
    return Event(**values | changes)


def alive() -> Event:
    return Event(device=TERMINAL, kind=Kind.ALIVE, t_us=SEEN, received_us=NOW)


def test_a_recognition_becomes_a_passage_and_is_answered() -> None:
    assert decode(MULTIPART) == Decoded(events=(passage(),), replies=(Reply(topic=TOPIC, payload=b"OK"),))


@pytest.mark.parametrize(
    "payload",
    [
        EVENT,
        HEAD.replace(b'"AccessControllerEvent"', b'"event_log"') + EVENT + PICTURE,
        MULTIPART.replace(b"\r\n", b"\n"),
        b"\r\n" + MULTIPART,
        PICTURE.strip() + b"\r\n" + MULTIPART,  # the picture first
        b'{"EventNotificationAlert":' + EVENT + b"}",
        EVENT.replace(b'"AccessControllerEvent":{', b'"AcsEvent":{'),
        EVENT.replace(b'"majorEventType"', b'"major"').replace(b'"subEventType"', b'"minor"'),
        EVENT.replace("王秀英".encode(), "王秀英".encode("gb18030")),
        EVENT.replace(b'"serialNo":5120', b'"serialNo":"5120"'),
    ],
)
def test_every_envelope_of_the_same_event_is_the_same_passage(payload: bytes) -> None:
    assert decode(payload).events == (passage(),)


def test_a_body_cut_anywhere_behind_the_event_keeps_the_passage_and_before_it_is_asked_for_again() -> None:
    for end in range(len(MULTIPART) + 1):
        decoded = decode(MULTIPART[:end])
        if end >= len(HEAD + EVENT):
            assert decoded.events == (passage(),), end
            assert decoded.replies
        else:
            assert (decoded.events, decoded.replies) == ((), ()), end
            assert decoded.reject is not None
            assert decoded.reject.picture


@pytest.mark.parametrize(
    ("minor", "method", "result", "person"),
    [
        (1, Method.CARD, Result.ALLOWED, TOKEN),
        (9, Method.CARD, Result.STRANGER, None),
        (38, Method.FINGERPRINT, Result.ALLOWED, TOKEN),
        (75, Method.FACE, Result.ALLOWED, TOKEN),
        (76, Method.FACE, Result.STRANGER, None),
        (77, Method.FACE, Result.ALLOWED, TOKEN),
        (80, Method.FACE, Result.STRANGER, None),
    ],
)
def test_the_minor_type_says_how_and_with_what_result(minor: int, method: Method, result: Result, person: bytes | None) -> None:
    assert decode(posted(subEventType=minor)).events == (passage(aux=method, a=result, person=person),)


@pytest.mark.parametrize(("major", "minor"), [(5, 21), (5, 22), (2, 75), (1, 1028)])
def test_doors_locks_and_operations_are_signs_of_life(major: int, minor: int) -> None:
    assert decode(posted(majorEventType=major, subEventType=minor)).events == (alive(),)


@pytest.mark.parametrize(
    "payload", [HEARTBEAT, b'{"dateTime":"2026-09-21T22:13:15+08:00","eventType":"videoloss","eventState":"inactive"}']
)
def test_heartbeats_are_signs_of_life(payload: bytes) -> None:
    assert decode(payload) == Decoded(events=(alive(),), replies=(Reply(topic=TOPIC, payload=b"OK"),))


@pytest.mark.parametrize(
    ("current", "flags"), [(False, Flag.LATE), ("false", Flag.LATE), (True, NO_FLAGS), (None, NO_FLAGS), (0.5, NO_FLAGS)]
)
def test_an_event_from_before_an_outage_is_late(current: object, flags: Flag) -> None:
    assert decode(posted(currentEvent=current)).events == (passage(flags=Flag.HAS_KEY | flags),)


@pytest.mark.parametrize(
    ("who", "person"),
    [
        ({"employeeNoString": "E-18"}, None),
        ({"employeeNoString": ""}, None),
        ({"employeeNoString": "", "employeeNo": "E-17"}, TOKEN),
        ({"employeeNoString": ["E-17"]}, None),
    ],
)
def test_only_who_has_consented_is_more_than_anonymous(who: dict[str, Any], person: bytes | None) -> None:
    assert decode(posted(**who)).events == (passage(person=person),)


@pytest.mark.parametrize("time", ["2026-09-21T22:13:15", "2026-09-21T14:13:15Z", "2026-09-21T09:13:15-5:00"])
def test_times_with_and_without_an_offset_are_the_same_moment(time: str) -> None:
    assert decode(posted({"dateTime": time})).events == (passage(),)


@pytest.mark.parametrize(("time", "raw_us"), [("1970-01-01T08:00:09+08:00", 9_000_000), ("soon", -1), (None, -1)])
def test_a_terminal_without_a_clock_keeps_its_passages(time: str | None, raw_us: int) -> None:
    expected = passage(t_us=NOW, raw_us=raw_us, flags=Flag.HAS_KEY | Flag.TIME_IMPLAUSIBLE)
    assert decode(posted({"dateTime": time})).events == (expected,)


def test_a_record_without_a_number_is_kept_without_a_key() -> None:
    assert decode(posted(serialNo=None)).events == (passage(key=0, flags=NO_FLAGS),)


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "no_part"),
        (PICTURE.strip(), "no_part"),
        (EVENT[:-1], "bad_json"),
        (posted(majorEventType=None), "bad_field"),
        (posted(subEventType={"a": 1}), "bad_field"),
        (b'{"AccessControllerEvent":[]}', "bad_field"),
    ],
)
def test_what_cannot_be_read_is_rejected_as_a_picture_and_not_answered(payload: bytes, reason: str) -> None:
    decoded = decode(payload)
    assert (decoded.events, decoded.replies) == ((), ())
    assert decoded.reject is not None
    assert (decoded.reject.reason, decoded.reject.picture) == (reason, True)


def test_no_name_number_or_picture_gets_through_whole_or_cut_anywhere() -> None:
    for end in range(len(MULTIPART) + 1):
        text = repr(decode(MULTIPART[:end]))
        assert not any(secret in text for secret in SECRETS), end
