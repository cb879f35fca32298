"""mqtt/face over HTTP: the same passages as over MQTT, the terminal's own answer, and nothing else gets through."""

import json
from typing import Any

import pytest

from gateway.codecs.contract import Decoded, Message, Reply
from gateway.codecs.face_http import FaceSubscribe
from gateway.events import Event, Flag, Kind, ListRole, Method, Result

NOW = 1_790_000_000_000_000  # 22:13:20 in Shanghai
SEEN = 1_789_999_995_000_000
TERMINAL = "face/2046381"
TOKEN = bytes(range(16))
PERSONS = {(TERMINAL, "17"): TOKEN, (TERMINAL, "330481-9"): bytes(16)}
SECRETS = ("王秀英", "330481194905120021", "13805730000", "4AAQSkZJRg", "BQYHCAkK")
VERIFY = (
    '{"operator":"VerifyPush","info":{"DeviceID":"2046381","PersonID":17,"CustomizeID":"","PersonUUID":"","Name":"王秀英",'
    '"PersonType":0,"Similarity1":88.5,"VerifyStatus":1,"VerfyType":1,"IdCard":"330481194905120021","Telnum":"13805730000",'
    '"CreateTime":"2026-09-21T22:13:15","Sendintime":1,"PushType":2,"nRecordIndex":5120},'
    '"SanpPic":"data:image/jpeg;base64,/9j/4AAQSkZJRgABAQ","ScenePic":"data:image/jpeg;base64,/9j/BQYHCAkK"}'
).encode()
SNAP = (
    b'{"operator":"SnapPush","info":{"DeviceID":2046381,"CreateTime":"2026-09-21T22:13:15","Sendintime":1,"PushType":2,'
    b'"ManualPushID":0,"nRecordIndex":5120},"SanpPic":"data:image/jpeg;base64,/9j/4AAQSkZJRg"}'
)
HEARTBEAT = b'{"operator":"HeartBeat","info":{"DeviceID":"2046381","Time":"2026-09-21T22:13:15"}}'


def decode(payload: bytes, word: str = "Verify", name: str = "2046381") -> Decoded:
    message = Message(topic=f"http/face/{name}/{word}", payload=payload, received_us=NOW)
    return FaceSubscribe().decode(message, {}, PERSONS)


def push(**info: Any) -> bytes:
    body = json.loads(VERIFY)
    body["info"] = {k: v for k, v in (body["info"] | info).items() if v is not None}
    return json.dumps(body).encode()


def passage(**changes: Any) -> Event:
    values: dict[str, Any] = {
        "device": TERMINAL,
        "kind": Kind.PASSAGE,
        "t_us": SEEN,
        "received_us": NOW,
        "aux": Method.FACE,
        "a": Result.ALLOWED,
        "b": ListRole.ALLOW_LIST,
        "flags": Flag.HAS_KEY,
        "key": 5120,
        "person": TOKEN,
    }
    return Event(**values | changes)


def done(word: str = "Verify") -> tuple[Reply]:
    return (Reply(topic=f"http/face/2046381/{word}", payload=b'{"code":200,"desc":"OK"}'),)


def test_a_recognition_becomes_a_passage_and_gets_the_terminal_s_answer() -> None:
    assert decode(VERIFY) == Decoded(events=(passage(),), replies=done())


def test_a_snap_of_a_terminal_with_a_number_for_a_name_is_a_stranger_whose_key_no_record_has() -> None:
    stranger = passage(a=Result.STRANGER, b=ListRole.UNKNOWN, key=(1 << 62) + 5120, person=None)
    assert decode(SNAP, "Snap") == Decoded(events=(stranger,), replies=done("Snap"))


def test_a_heartbeat_is_a_sign_of_life() -> None:
    alive = Event(device=TERMINAL, kind=Kind.ALIVE, t_us=SEEN, received_us=NOW)
    assert decode(HEARTBEAT, "heartbeat") == Decoded(events=(alive,), replies=done("heartbeat"))


def test_a_camera_of_the_family_says_how_many_people_are_there() -> None:
    said = b'{"operator":"CountInRegionPush","info":{"DeviceID":2046381,"time":"2026-09-21T22:13:15","realtimeCount":5}}'
    present = Event(device=TERMINAL, kind=Kind.OCCUPANCY, t_us=SEEN, received_us=NOW, a=5)
    assert decode(said, "Count") == Decoded(events=(present,), replies=done("Count"))
    bad = decode(said.replace(b":5}", b":-5}"), "Count")
    assert (bad.events, bad.reject is not None, bad.replies) == ((), True, done("Count"))


def test_a_recognition_without_pictures_is_the_same_passage() -> None:
    body = json.loads(VERIFY)
    assert decode(json.dumps({k: body[k] for k in ("operator", "info")}).encode()) == decode(VERIFY)


@pytest.mark.parametrize(
    ("status", "person_type", "result", "role", "person"),
    [
        (1, 0, Result.ALLOWED, ListRole.ALLOW_LIST, TOKEN),
        ("1", "0", Result.ALLOWED, ListRole.ALLOW_LIST, TOKEN),
        (2, 1, Result.REFUSED, ListRole.BLOCK_LIST, TOKEN),
        (3, 0, Result.STRANGER, ListRole.ALLOW_LIST, None),
        (24, None, Result.STRANGER, ListRole.UNKNOWN, None),
    ],
)
def test_status_and_list_mean_what_they_mean_over_mqtt(
    status: object, person_type: object, result: Result, role: ListRole, person: bytes | None
) -> None:
    assert decode(push(VerifyStatus=status, PersonType=person_type)).events == (passage(a=result, b=role, person=person),)


@pytest.mark.parametrize(
    ("said", "late"),
    [
        ({"Sendintime": 0}, True),
        ({"Sendintime": "0", "PushType": 0}, True),
        ({"Sendintime": 1, "PushType": 2}, False),
        ({"Sendintime": None, "PushType": 2}, True),
        ({"Sendintime": None, "PushType": 0}, False),
    ],
)
def test_a_replay_is_late_and_a_live_record_is_not(said: dict[str, Any], late: bool) -> None:
    assert decode(push(**said)).events == (passage(flags=Flag.HAS_KEY | (Flag.LATE if late else Flag(0))),)


@pytest.mark.parametrize(
    ("ids", "person"), [({"CustomizeID": "330481-9"}, bytes(16)), ({"PersonID": 18}, None), ({"PersonID": "17"}, TOKEN)]
)
def test_only_who_has_consented_is_more_than_anonymous(ids: dict[str, Any], person: bytes | None) -> None:
    assert decode(push(**ids)).events == (passage(person=person),)


@pytest.mark.parametrize(
    ("payload", "name", "reason", "answered"),
    [
        (VERIFY, "2046382", "bad_identity", False),  # a terminal speaks only as itself
        (push(DeviceID=None), "2046381", "bad_identity", False),
        (VERIFY[:-1], "2046381", "bad_json", False),
        (b'{"operator":7}', "2046381", "bad_field", False),
        # these would be said again for ever
        (push(nRecordIndex=None), "2046381", "bad_record", True),
        (push(VerifyStatus={"a": 1}), "2046381", "bad_status", True),
        (VERIFY.replace(b"VerifyPush", b"IDCardPush"), "2046381", "unknown_operator", True),
    ],
)
def test_what_cannot_be_read_is_rejected_as_a_picture(payload: bytes, name: str, reason: str, answered: bool) -> None:
    decoded = decode(payload, name=name)
    assert (decoded.events, bool(decoded.replies)) == ((), answered)
    assert decoded.reject is not None
    assert (decoded.reject.reason, decoded.reject.picture) == (reason, True)


def test_no_picture_name_or_number_of_a_person_gets_through_whole_or_cut_anywhere() -> None:
    for end in range(len(VERIFY) + 1):
        text = repr(decode(VERIFY[:end]))
        assert not any(secret in text for secret in SECRETS), end
