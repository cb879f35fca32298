"""mqtt/face: what becomes of recognitions, and that nothing else of them gets through."""

import json
from typing import Any

import pytest

from gateway.codecs.contract import Decoded, Message, Reply
from gateway.codecs.face import FaceTerminal
from gateway.events import Event, Flag, Kind, ListRole, Method, Result

NOW = 1_790_000_000_000_000  # 22:13:20 in Shanghai
SEEN = 1_789_999_995_000_000
TERMINAL = "face/2046381"
TOKEN = bytes(range(16))
PERSONS = {(TERMINAL, "17"): TOKEN, (TERMINAL, "330481-9"): bytes(16)}
SECRETS = ("王秀英", "330481194905120021", "13805730000", "data:image", "4AAQSkZJRg", "BQYHCAkK")
REC_PUSH = (
    '{"operator":"RecPush","info":{"customId":"","personId":"17","RecordID":"5120","VerifyStatus":"1","PersonType":"0",'
    '"similarity1":"88.500000","Sendintime":1,"personName":"王秀英","facesluiceId":"2046381","idCard":"330481194905120021",'
    '"telnum":"13805730000","time":"2026-09-21 22:13:15","isNoMask":"1","PushType":0,"targetPosInScene":[40,8,512,480],'
    '"pic":"data:image/jpeg;base64,/9j/4AAQSkZJRgABAQ","scene":"data:image/jpeg;base64,/9j/BQYHCAkK"}}'
).encode()


def decode(payload: bytes, topic: str = "2046381/Rec", memory: dict[str, int] | None = None) -> Decoded:
    return FaceTerminal().decode(Message(topic=f"mqtt/face/{topic}", payload=payload, received_us=NOW), memory or {}, PERSONS)


def push(**info: Any) -> bytes:
    body = json.loads(REC_PUSH)
    body["info"] |= info
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


def test_a_recognition_becomes_a_passage_and_is_acknowledged() -> None:
    ack = b'{"operator":"PushAck","messageId":"RecPush-5120","info":{"PushAckType":2,"SnapOrRecordID":5120}}'
    assert decode(REC_PUSH) == Decoded(events=(passage(),), replies=(Reply(topic="mqtt/face/2046381", payload=ack),))


def test_a_stranger_becomes_a_passage_whose_key_no_record_can_have() -> None:
    payload = (
        b'{"operator":"StrSnapPush","messageId":"m-77","info":{"facesluiceId":"2046381","SnapID":"5120",'
        b'"time":"2026-09-21 22:13:15","isNoMask":"1","PushType":0,"targetPosInScene":"[0,0,0,0]",'
        b'"pic":"data:image/jpeg;base64,/9j/4AAQ"}}'
    )
    decoded = decode(payload, "2046381/Snap")
    stranger = passage(a=Result.STRANGER, b=ListRole.UNKNOWN, key=(1 << 62) + 5120, person=None)
    ack = b'{"operator":"PushAck","messageId":"m-77","info":{"PushAckType":1,"SnapOrRecordID":5120}}'
    assert decoded == Decoded(events=(stranger,), replies=(Reply(topic="mqtt/face/2046381", payload=ack),))


@pytest.mark.parametrize(
    ("status", "person_type", "result", "role", "person"),
    [
        ("1", "0", Result.ALLOWED, ListRole.ALLOW_LIST, TOKEN),
        (1, 0, Result.ALLOWED, ListRole.ALLOW_LIST, TOKEN),
        ("2", "1", Result.REFUSED, ListRole.BLOCK_LIST, TOKEN),
        ("3", "0", Result.STRANGER, ListRole.ALLOW_LIST, None),
        ("0", "7", Result.STRANGER, ListRole.UNKNOWN, None),
        ("24", None, Result.STRANGER, ListRole.UNKNOWN, None),
    ],
)
def test_status_and_list_mean_the_same_as_text_and_as_numbers(
    status: object, person_type: object, result: Result, role: ListRole, person: bytes | None
) -> None:
    assert decode(push(VerifyStatus=status, PersonType=person_type)).events == (passage(a=result, b=role, person=person),)


@pytest.mark.parametrize(
    ("ids", "person"),
    [
        ({"customId": "330481-9"}, bytes(16)),
        ({"customId": "", "personId": 17}, TOKEN),
        ({"customId": " ", "personId": "18"}, None),  # somebody without consent
        ({"customId": "17", "personId": "17"}, TOKEN),
        ({"customId": [17], "personId": {"a": 1}}, None),
        ({"customId": None, "personId": 10**5000}, None),
    ],
)
def test_only_who_has_consented_is_more_than_anonymous(ids: dict[str, object], person: bytes | None) -> None:
    if ids.get("personId") == 10**5000:
        payload = push(customId="", personId=0).replace(b'"personId": 0', b'"personId": 1' + b"0" * 5000)
        assert all(event.person is None for event in decode(payload).events)
        return
    assert decode(push(**ids)).events == (passage(person=person),)


@pytest.mark.parametrize("late", [{"Sendintime": 0}, {"Sendintime": "0"}, {"PushType": 2}])
def test_a_record_pushed_again_by_hand_or_after_an_outage_is_late(late: dict[str, object]) -> None:
    assert decode(push(**late)).events == (passage(flags=Flag.HAS_KEY | Flag.LATE),)


@pytest.mark.parametrize(
    ("time", "t_us", "raw_us"),
    [
        ("2026-09-21T22:13:15", SEEN, 0),
        ("2026-09-21T14:13:15Z", SEEN, 0),
        ("1970-01-01 08:00:09", NOW, 9_000_000),
        ("2026/09/21", NOW, -1),
        (None, NOW, -1),
        (20260921, NOW, -1),
    ],
)
def test_a_terminal_without_a_clock_keeps_its_passages(time: object, t_us: int, raw_us: int) -> None:
    flags = Flag.HAS_KEY | (Flag.TIME_IMPLAUSIBLE if raw_us else Flag(0))
    assert decode(push(time=time)).events == (passage(t_us=t_us, raw_us=raw_us, flags=flags),)


def test_local_time_is_that_of_the_zone_given() -> None:
    message = Message(topic="mqtt/face/2046381/Rec", payload=push(time="2026-09-21 14:13:15"), received_us=NOW)
    assert FaceTerminal("UTC").decode(message, {}, {}).events == (passage(person=None),)


def test_a_record_pushed_twice_is_the_same_event_and_acknowledged_twice() -> None:
    assert decode(REC_PUSH) == decode(REC_PUSH)
    assert len(decode(REC_PUSH).replies) == 1


def test_the_attendance_variant_of_the_topic_is_understood() -> None:
    assert decode(REC_PUSH, "2046381/rec/AttendanceRecord").events == (passage(),)


def test_online_is_answered_every_time_and_is_news_once() -> None:
    payload = b'{"operator":"Online","info":{"facesluiceId":"2046381","username":"admin","time":"2026-09-21 22:13:15"}}'
    ack = b'{"messageId":"Online-2046381","operator":"Online-Ack","info":{"facesluiceId":"2046381","result":"ok"}}'
    link = Event(device=TERMINAL, kind=Kind.LINK, t_us=SEEN, received_us=NOW, a=1)
    first = decode(payload, "basic")
    assert first == Decoded(
        events=(link,), replies=(Reply(topic="mqtt/face/2046381", payload=ack),), memory={f"{TERMINAL}#link": 1}
    )
    again = decode(payload, "basic", {f"{TERMINAL}#link": 1})
    assert [e.flags for e in again.events] == [Flag.REPEAT]
    assert again.replies == first.replies


def test_the_will_says_offline_now() -> None:
    decoded = decode(b'{"operator":"Offline","info":{"facesluiceId":"2046381"}}', "basic", {f"{TERMINAL}#link": 1})
    link = Event(device=TERMINAL, kind=Kind.LINK, t_us=NOW, received_us=NOW, a=0, flags=Flag.TIME_RECEIVED)
    assert decoded == Decoded(events=(link,), memory={f"{TERMINAL}#link": 0})


def test_a_heartbeat_is_a_sign_of_life_also_from_a_terminal_with_a_number_for_a_name() -> None:
    decoded = decode(b'{"operator":"HeartBeat","info":{"facesluiceId":2046381,"time":"2026-09-21 22:13:15"}}', "heartbeat")
    assert decoded == Decoded(events=(Event(device=TERMINAL, kind=Kind.ALIVE, t_us=SEEN, received_us=NOW),))


@pytest.mark.parametrize("topic", ["2046381", "2046381/Ack"])
def test_what_is_said_to_a_terminal_and_its_answers_are_not_events(topic: str) -> None:
    assert decode(REC_PUSH, topic) == Decoded()


@pytest.mark.parametrize(
    ("payload", "topic", "reason"),
    [
        (REC_PUSH, "2046382/Rec", "bad_identity"),  # a terminal speaks only as itself
        (push(facesluiceId="a/+/b"), "basic", "bad_identity"),
        (push(facesluiceId=None), "basic", "bad_identity"),
        (push(RecordID="-4"), "2046381/Rec", "bad_record"),
        (push(RecordID="٣"), "2046381/Rec", "bad_record"),
        (push(RecordID=10**18), "2046381/Rec", "bad_record"),
        (push(RecordID=True), "2046381/Rec", "bad_record"),
        (
            b'{"operator":"EditPersonsNew","info":{"facesluiceId":"2046381","pic":"data:image"}}',
            "2046381/Rec",
            "unknown_operator",
        ),
        (b'{"operator":7,"info":{"facesluiceId":"2046381"}}', "2046381/Rec", "bad_field"),
        (b'{"operator":"RecPush"}', "2046381/Rec", "bad_identity"),
        (REC_PUSH[:-1], "2046381/Rec", "bad_json"),
    ],
)
def test_what_cannot_be_read_is_rejected_as_a_picture(payload: bytes, topic: str, reason: str) -> None:
    decoded = decode(payload, topic)
    assert (decoded.events, decoded.replies) == ((), ())
    assert decoded.reject is not None
    assert (decoded.reject.reason, decoded.reject.picture) == (reason, True)


def test_a_record_with_an_unreadable_status_is_quarantined_and_acknowledged() -> None:
    """Else the terminal would push it for ever and never come to the next one."""
    decoded = decode(push(VerifyStatus={"a": 1}))
    assert decoded.events == ()
    assert decoded.reject is not None
    assert (decoded.reject.reason, decoded.reject.picture) == ("bad_status", True)
    assert [json.loads(reply.payload)["info"] for reply in decoded.replies] == [{"PushAckType": 2, "SnapOrRecordID": 5120}]


def test_names_in_an_old_encoding_do_not_cost_the_passage() -> None:
    payload = REC_PUSH.replace("王秀英".encode(), "王秀英".encode("gb18030")).replace(b"personName", b"persionName")
    assert decode(payload).events == (passage(),)


def test_no_picture_name_or_number_of_a_person_gets_through_whole_or_cut_anywhere() -> None:
    for end in range(len(REC_PUSH) + 1):
        decoded = decode(REC_PUSH[:end])
        text = repr(decoded)
        assert not any(secret in text for secret in SECRETS), end
        assert (decoded.reject is None) == (end == len(REC_PUSH))
        if decoded.reject:
            assert decoded.reject.picture
