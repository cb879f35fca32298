"""HA03 door contacts: a form is a whole state, and edges come from memory."""

import pytest

from gateway.codecs.contract import Decoded, Message, Reply
from gateway.codecs.ha03 import Ha03
from gateway.events import NO_FLAGS, Event, FaultCode, Flag, Kind

NOW = 1_790_000_000_000_000  # 22:13:20 in Shanghai
SEEN = 1_789_999_995_000_000
DOOR = "ha03/861234050000017"
TOPIC = "http/ha03/861234050000017/"
FORM = (
    b"imei=861234050000017&data_type=devicestatus&date_str=20260921221315&device_type=HA03&power_type=1"
    b"&version=1.2&nb_signal=-91&nb_cellid=5f01&door_statu=1"
)
KNOWN = {DOOR: 0, f"{DOOR}#battery_low": 0}


def decode(payload: bytes, memory: dict[str, int] | None = None, topic: str = TOPIC) -> Decoded:
    return Ha03().decode(Message(topic=topic, payload=payload, received_us=NOW), memory or {}, {})


def contact(a: int, flags: Flag = NO_FLAGS) -> Event:
    return Event(device=DOOR, kind=Kind.CONTACT, a=a, t_us=SEEN, received_us=NOW, flags=flags | Flag.HAS_KEY, key=SEEN * 2 + a)


def low(a: int) -> Event:
    return Event(device=DOOR, kind=Kind.FAULT, aux=FaultCode.BATTERY_LOW, a=a, t_us=SEEN, received_us=NOW)


def test_one_is_open_and_the_first_state_is_no_edge() -> None:
    assert decode(FORM) == Decoded(
        events=(contact(1, Flag.REPEAT), low(0)),
        memory={DOOR: 1, f"{DOOR}#seen": SEEN, f"{DOOR}#battery_low": 0},
        replies=(Reply(topic=TOPIC, payload=b"OK"),),
    )


def test_a_state_unlike_the_last_one_is_an_edge() -> None:
    assert decode(FORM, KNOWN).events == (contact(1),)
    assert decode(FORM.replace(b"statu=1", b"statu=0"), KNOWN | {DOOR: 1}).events == (contact(0),)


def test_a_form_posted_again_has_the_same_key() -> None:
    first = decode(FORM, KNOWN)
    again = decode(FORM, {**KNOWN, **first.memory})
    assert [e.key for e in first.events] == [e.key for e in again.events]


def test_low_power_is_a_fault_once() -> None:
    assert decode(FORM.replace(b"power_type=1", b"power_type=0"), KNOWN).events == (contact(1), low(1))
    assert decode(FORM.replace(b"power_type=1", b"power_type=0"), KNOWN | {f"{DOOR}#battery_low": 1}).events == (contact(1),)


@pytest.mark.parametrize(("date", "raw_us"), [(b"19700101080009", 9_000_000), (b"2026-09-21", -1), (b"", -1)])
def test_a_sensor_without_a_clock_keeps_its_states(date: bytes, raw_us: int) -> None:
    (state,) = decode(FORM.replace(b"20260921221315", date), KNOWN).events
    assert (state.t_us, state.raw_us, state.flags, state.key) == (NOW, raw_us, Flag.TIME_IMPLAUSIBLE, 0)


def test_a_form_of_another_type_is_a_sign_of_life() -> None:
    payload = FORM.replace(b"devicestatus", b"alarm").replace(b"power_type=1&", b"")
    assert [e.kind for e in decode(payload).events] == [Kind.ALIVE]


@pytest.mark.parametrize(
    ("payload", "topic", "reason"),
    [
        (FORM, TOPIC.replace("17/", "18/"), "bad_identity"),  # a sensor speaks only as itself
        (b"", TOPIC, "bad_identity"),
        (FORM.replace(b"statu=1", b"statu=2"), TOPIC, "bad_field"),
        (FORM.replace(b"power_type=1", b"power_type=x"), TOPIC, "bad_field"),
        (FORM + b"&a=" + "门".encode(), TOPIC, "bad_form"),
        (FORM + b"&a=1" * 60, TOPIC, "bad_form"),
    ],
)
def test_what_cannot_be_read_is_rejected_and_not_answered(payload: bytes, topic: str, reason: str) -> None:
    decoded = decode(payload, topic=topic)
    assert (decoded.events, decoded.memory, decoded.replies) == ((), {}, ())
    assert decoded.reject is not None
    assert decoded.reject.reason == reason
