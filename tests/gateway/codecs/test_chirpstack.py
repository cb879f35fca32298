"""ChirpStack's envelope: identity, time, keys and memory around the payload."""

import base64
import json
from typing import Any

import pytest

from gateway.codecs.chirpstack import ChirpStack
from gateway.codecs.contract import Decoded, Message
from gateway.events import Event, Flag, Kind

NOW = 1_790_000_000_000_000
SENT = 1_789_999_998_123_456
EUI = "24e124a1b2c3d4e5"
COUNTER = f"lora/{EUI}"
KEY = (0x01A2B3C4 << 31) | 41


def envelope(frame: str = "", **changes: Any) -> bytes:
    body = {
        "deduplicationId": "0f2f3c86-56c6-4d0a-8f5e-2a1b3c4d5e6f",
        "time": "2026-09-21T14:13:18.123456789+00:00",
        "deviceInfo": {"devEui": EUI, "deviceProfileName": "counter", "tags": {"model": "VS133"}},
        "devAddr": "01a2b3c4",
        "fCnt": 41,
        "fPort": 85,
        "data": base64.b64encode(bytes.fromhex(frame)).decode(),
        "object": {"line_1_total_in": 999.0},
    } | changes
    return json.dumps({k: v for k, v in body.items() if v is not None}).encode()


def decode(payload: bytes, memory: dict[str, int] | None = None, event: str = "up", eui: str = EUI, deaf_us: int = 0) -> Decoded:
    topic = f"application/3f0b8c1e-0000-4000-8000-000000000001/device/{eui}/event/{event}"
    message = Message(topic=topic, payload=payload, received_us=NOW, deaf_us=deaf_us)
    return ChirpStack().decode(message, memory or {}, {})


def event(kind: Kind, a: int, b: int = 0, *, aux: int = 0, flags: Flag = Flag.HAS_KEY, t_us: int = SENT, key: int = KEY) -> Event:
    return Event(device=COUNTER, kind=kind, t_us=t_us, received_us=NOW, aux=aux, a=a, b=b, flags=flags, key=key)


def test_an_uplink_becomes_raw_totals_with_the_session_and_frame_as_key() -> None:
    payload = (
        b'{"deduplicationId":"d3b0","time":"2026-09-21T14:13:18.123456789+00:00","deviceInfo":{"devEui":"24e124a1b2c3d4e5",'
        b'"tags":{}},"devAddr":"01a2b3c4","fCnt":41,"fPort":85,"data":"A9IGAQAABNL6AAAABcwDAAQA"}'
    )
    decoded = decode(payload)
    assert decoded.events == (event(Kind.COUNT_TOTAL, 262, 250, aux=1), event(Kind.COUNT_PERIOD, 3, 4, aux=1))
    assert decoded.memory == {f"{COUNTER}#in1": 262, f"{COUNTER}#out1": 250}
    assert decoded.reject is None


def test_the_same_frame_number_of_another_session_has_another_key() -> None:
    keys = {decode(envelope("05cc01000100", devAddr=address)).events[0].key for address in ("01a2b3c4", "01a2b3c5", "ffffffff")}
    assert len(keys) == 3
    assert max(keys) < 2**63


def test_an_uplink_without_an_address_has_no_key() -> None:
    (counted,) = decode(envelope("05cc01000100", devAddr=None)).events
    assert (counted.key, counted.flags) == (0, Flag(0))


def test_totals_that_come_in_two_uplinks_are_completed_from_memory() -> None:
    first = decode(envelope("03d209000000"))
    assert [e.kind for e in first.events] == [Kind.ALIVE]
    assert first.memory == {f"{COUNTER}#in1": 9}
    second = decode(envelope("04d204000000"), dict(first.memory))
    assert second.events == (event(Kind.COUNT_TOTAL, 9, 4, aux=1),)


def test_sixteen_bit_totals_say_that_they_wrap() -> None:
    decoded = decode(envelope("04ccfeff0300", deviceInfo={"devEui": EUI, "deviceProfileName": "Milesight VS350 v1"}))
    assert decoded.events == (event(Kind.COUNT_TOTAL, 65534, 3, aux=1, flags=Flag.HAS_KEY | Flag.WRAP16),)


def test_a_door_contact_on_lorawan_gets_its_edges_from_memory() -> None:
    door = envelope("017557030001040000", deviceInfo={"devEui": EUI, "tags": {"model": "WS301"}})
    first = decode(door)
    assert [e.kind for e in first.events] == [Kind.BATTERY, Kind.CONTACT, Kind.TAMPER]
    assert first.events[1] == event(Kind.CONTACT, 1, flags=Flag.HAS_KEY | Flag.REPEAT)
    closed = decode(envelope("017557030000040000"), {**first.memory})
    assert closed.events == (event(Kind.CONTACT, 0),)


def test_after_the_gateway_was_deaf_a_frame_that_follows_the_last_one_shows_that_its_edge_was_seen() -> None:
    opened = envelope("030001")
    for frame, flags in ((KEY - 1, Flag.HAS_KEY), (KEY - 2, Flag.HAS_KEY | Flag.INFERRED), (5, Flag.HAS_KEY | Flag.INFERRED)):
        memory = {COUNTER: 0, f"{COUNTER}#frame": frame}
        found = decode(opened, memory, deaf_us=NOW - 9_000_000)
        assert found.events == (event(Kind.CONTACT, 1, flags=flags),)
        closed = decode(envelope("030000", fCnt=45), {**memory, **found.memory}, deaf_us=NOW - 9_000_000)
        assert closed.events == (event(Kind.CONTACT, 0, key=KEY + 4),)


def test_history_is_late_has_its_own_time_and_keeps_its_key_when_sent_again() -> None:
    info = {"devEui": EUI, "tags": {"model": "EM300-MCS"}}
    record = "20ce763bb16ae1005b01"
    first = decode(envelope(record, deviceInfo=info, fCnt=41), {COUNTER: 0})
    again = decode(envelope(record, deviceInfo=info, fCnt=55), {COUNTER: 0})
    t_us = 1_789_999_990_000_000
    flags = Flag.HAS_KEY | Flag.LATE | Flag.REPEAT
    assert first.events == again.events == (event(Kind.CONTACT, 1, flags=flags, t_us=t_us, key=1_789_999_990),)
    assert first.memory == {}


def test_the_device_time_of_an_unset_clock_is_kept_but_not_believed() -> None:
    (record,) = decode(envelope("20ce1027000008 01000200".replace(" ", ""))).events
    assert (record.t_us, record.raw_us) == (NOW, 10_000_000_000)
    assert record.flags == Flag.HAS_KEY | Flag.LATE | Flag.TIME_IMPLAUSIBLE


def test_the_rest_of_a_frame_with_an_unknown_channel_is_told() -> None:
    decoded = decode(envelope("05cc0100020077aa01"))
    assert decoded.events == (event(Kind.COUNT_PERIOD, 1, 2, aux=1),)
    assert decoded.reject is not None
    assert (decoded.reject.reason, decoded.reject.detail) == ("unknown_channel", "at byte 6 of 9: channel 77aa is unknown")


@pytest.mark.parametrize("data", [None, ""])
def test_an_uplink_that_carries_nothing_is_a_sign_of_life(data: str | None) -> None:
    decoded = decode(envelope(data=data) if data is None else envelope(""))
    assert decoded.events == (event(Kind.ALIVE, 0, flags=Flag(0), key=0),)


def test_a_join_is_a_sign_of_life_and_a_status_tells_the_battery() -> None:
    assert decode(envelope(data=None), event="join").events == (event(Kind.ALIVE, 0, flags=Flag(0), key=0),)
    status = decode(envelope(data=None, margin=10, batteryLevel=63.5), event="status")
    assert status.events == (event(Kind.BATTERY, 64, flags=Flag(0), key=0),)
    mains = decode(envelope(data=None, batteryLevel=0.0, externalPowerSource=True), event="status")
    assert mains.events == (event(Kind.ALIVE, 0, flags=Flag(0), key=0),)


@pytest.mark.parametrize("name", ["log", "ack", "txack", "location", "integration"])
def test_other_events_of_the_network_say_nothing(name: str) -> None:
    assert decode(b'{"level":"ERROR","code":"UPLINK_MIC"}', event=name) == Decoded()


@pytest.mark.parametrize(
    ("payload", "eui", "reason"),
    [
        (envelope("05cc01000100"), "24e124a1b2c3d4e6", "bad_identity"),  # a device speaks only as itself
        (envelope("05cc01000100"), "24e124", "bad_identity"),
        (envelope(data="A9I*"), EUI, "bad_base64"),
        (envelope(data="门"), EUI, "bad_base64"),
        (envelope("05cc01000100", joinServerContext={"sessionKeyId": "00"}), EUI, "encrypted"),
        (envelope("05cc01000100", fCnt=2**40), EUI, "bad_field"),
        (envelope("05cc01000100", fCnt="41"), EUI, "bad_field"),
        (envelope("05cc01000100", deviceInfo=None), EUI, "bad_field"),
        (envelope("05cc01000100")[:-1], EUI, "bad_json"),
        (envelope("030001", deviceInfo={"devEui": EUI, "tags": {"model": "WS202"}}), EUI, "unknown_model"),
    ],
)
def test_what_cannot_be_trusted_is_rejected_with_a_stable_reason(payload: bytes, eui: str, reason: str) -> None:
    decoded = decode(payload, eui=eui)
    assert decoded.events == ()
    assert decoded.reject is not None
    assert (decoded.reject.reason, decoded.reject.picture) == (reason, False)


def test_an_upper_case_device_is_the_same_device() -> None:
    info = {"devEui": EUI.upper(), "tags": {"model": None}}
    assert decode(envelope("05cc01000100", deviceInfo=info), eui=EUI.upper()).events[0].device == COUNTER
