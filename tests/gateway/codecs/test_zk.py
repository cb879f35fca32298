"""ZKTeco PUSH: every table gets the answer its terminal waits for, and only records are read."""

from typing import Any

import pytest

from gateway.codecs.contract import Decoded, Message
from gateway.codecs.zk import ZkPush
from gateway.events import NO_FLAGS, Event, Flag, Kind, Method, Result

NOW = 1_790_000_000_000_000  # 22:13:20 in Shanghai
SEEN = 1_789_999_995_000_000
TERMINAL = "zk/CKJB201360017"
BASE = "http/zk/CKJB201360017/"
ATTLOG = BASE + "cdata?table=ATTLOG"
RTLOG = BASE + "cdata?table=rtlog"
RTSTATE = BASE + "cdata?table=rtstate"
TOKEN = bytes(range(16))
PERSONS = {(TERMINAL, "17"): TOKEN}
MINUTE = {f"{TERMINAL}#alive": NOW // 60_000_000}
ATT_ROWS = b"17\t2026-09-21 22:13:15\t0\t15\t\t0\t0\t\t\t43\n18\t2026-09-21 22:13:15\t255\t1\t0\t0\t0\t0\t0\t0\n"
RT_ROW = (
    b"time=2026-09-21 22:13:15\tpin=17\tcardno=0\teventaddr=1\tevent=3\tinoutstatus=0\tverifytype=15\tindex=140\tsitecode=0\t"
    b"linkid=0\tmaskflag=0\ttemperature=0\tconvtemperature=0\n"
)
STATE_ROW = b"time=2026-09-21 22:13:15\tsensor=02\trelay=00\talarm=0000000000000000\tdoor=01\n"


def decode(payload: bytes, topic: str = ATTLOG, memory: dict[str, int] | None = None) -> Decoded:
    return ZkPush().decode(Message(topic=topic, payload=payload, received_us=NOW), memory or {}, PERSONS)


def passage(**changes: Any) -> Event:
    values: dict[str, Any] = {
        "device": TERMINAL,
        "kind": Kind.PASSAGE,
        "t_us": SEEN,
        "received_us": NOW,
        "aux": Method.FACE,
        "a": Result.ALLOWED,
        "flags": Flag.HAS_KEY,
        "key": 140,
        "person": TOKEN,
    }
    return Event(**values | changes)


def said(decoded: Decoded) -> bytes:
    (reply,) = decoded.replies
    return reply.payload


def test_attendance_rows_become_passages_with_different_keys_for_two_people_in_one_second() -> None:
    decoded = decode(ATT_ROWS)
    first, second = decoded.events
    assert first == passage(key=first.key)
    assert second == passage(key=second.key, aux=Method.FINGERPRINT, person=None)
    assert {first.key // 16, second.key // 16} == {SEEN // 1_000_000}
    assert first.key != second.key
    assert said(decoded) == b"OK"
    assert decode(ATT_ROWS).events == decoded.events  # uploaded again


@pytest.mark.parametrize(
    ("verify", "how"),
    [("15", Method.FACE), ("1", Method.FINGERPRINT), ("2", Method.CARD), ("0", Method.MANUAL), ("", Method.MANUAL)],
)
def test_the_way_of_recognition_is_the_fourth_column(verify: str, how: Method) -> None:
    (event,) = decode(f"17\t2026-09-21 22:13:15\t0\t{verify}\n".encode()).events
    assert event.aux == how


def test_an_access_record_has_its_own_number() -> None:
    assert decode(RT_ROW, RTLOG) == Decoded(events=(passage(),), replies=decode(RT_ROW, RTLOG).replies)
    assert said(decode(RT_ROW, RTLOG)) == b"OK"


@pytest.mark.parametrize(
    ("code", "result", "person"),
    [(b"0", Result.ALLOWED, TOKEN), (b"23", Result.REFUSED, TOKEN), (b"27", Result.STRANGER, None)],
)
def test_the_event_s_number_says_with_what_result(code: bytes, result: Result, person: bytes | None) -> None:
    assert decode(RT_ROW.replace(b"event=3", b"event=" + code), RTLOG).events == (passage(a=result, person=person),)


@pytest.mark.parametrize("code", [b"200", b"202", b"8", b"100"])
def test_doors_buttons_and_the_terminal_itself_are_no_passages(code: bytes) -> None:
    assert [e.kind for e in decode(RT_ROW.replace(b"event=3", b"event=" + code), RTLOG).events] == [Kind.ALIVE]


def test_the_door_sensor_of_a_terminal_is_a_contact_with_edges_from_memory() -> None:
    opened = decode(STATE_ROW, RTSTATE, {TERMINAL: 0})
    assert opened.events == (Event(device=TERMINAL, kind=Kind.CONTACT, a=1, t_us=SEEN, received_us=NOW),)
    closed = decode(STATE_ROW.replace(b"sensor=02", b"sensor=01"), RTSTATE, {TERMINAL: 0})
    assert [(e.a, e.flags) for e in closed.events] == [(0, Flag.REPEAT)]
    none = decode(STATE_ROW.replace(b"sensor=02", b"sensor=00"), RTSTATE)
    assert [e.kind for e in none.events] == [Kind.ALIVE]


def test_what_was_kept_while_the_terminal_was_offline_is_late() -> None:
    (event,) = decode(b"17\t2026-09-21 20:13:15\t0\t15\n").events
    assert event.flags == Flag.HAS_KEY | Flag.LATE


@pytest.mark.parametrize(("time", "raw_us"), [("1970-01-01 08:00:09", 9_000_000), ("soon", -1)])
def test_a_terminal_without_a_clock_keeps_its_passages(time: str, raw_us: int) -> None:
    (event,) = decode(f"17\t{time}\t0\t15\n".encode()).events
    assert (event.t_us, event.raw_us, bool(event.key)) == (NOW, raw_us, raw_us > 0)
    assert event.flags == Flag.TIME_IMPLAUSIBLE | (Flag.HAS_KEY if raw_us > 0 else NO_FLAGS)


def test_one_bad_row_is_told_and_the_others_are_kept_and_nothing_is_uploaded_again() -> None:
    decoded = decode(b"17\n" + ATT_ROWS)
    assert len(decoded.events) == 2
    assert decoded.reject is not None
    assert (decoded.reject.reason, decoded.reject.picture) == ("bad_row", True)
    assert said(decoded) == b"OK"


@pytest.mark.parametrize(
    ("query", "payload", "expected"),
    [
        ("cdata?table=tabledata&tablename=biophoto&count=1", b"biophoto pin=17\tcontent=/9j/4AAQ", b"biophoto=1"),
        ("cdata?table=tabledata&tablename=user", b"user pin=17\tname=Wang\nuser pin=18\tname=Li\n", b"user=2"),
        ("cdata?table=OPERLOG", b"USER PIN=17\tName=Wang\n", b"OK"),
        ("cdata?table=ATTPHOTO", b"PIN=1.jpg\x00\xff\xd8", b"OK"),
        ("getrequest", b"", b"OK"),
        ("devicecmd", b"ID=1&Return=0", b"OK"),
        ("registry", b"DeviceType=acc", b"RegistryCode=CKJB201360017"),
    ],
)
def test_what_nobody_wants_is_answered_and_not_read(query: str, payload: bytes, expected: bytes) -> None:
    decoded = decode(payload, BASE + query)
    assert said(decoded) == expected
    assert [e.kind for e in decoded.events] == [Kind.ALIVE]
    assert decoded.reject is None


def test_the_greeting_asks_for_records_and_not_for_photos() -> None:
    greeting = said(decode(b"", BASE + "cdata?options=all"))
    assert greeting.startswith(b"GET OPTION FROM: CKJB201360017\n")
    assert b"TransFlag=TransData AttLog\n" in greeting
    assert b"Photo" not in greeting


def test_the_poll_is_a_sign_of_life_once_a_minute() -> None:
    first = decode(b"", BASE + "getrequest")
    assert first.memory == MINUTE
    again = decode(b"", BASE + "getrequest", MINUTE)
    assert (again.events, again.memory, said(again)) == ((), {}, b"OK")
