"""ThingsBoard's device API: its three forms of telemetry, for a device and for a gateway."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.codecs.contract import Decoded, Message
from gateway.codecs.mapping import parse
from gateway.codecs.thingsboard import ThingsBoard
from gateway.events import NO_FLAGS, Event, Flag, Kind
from tests.gateway.codecs.test_hostile import JSON
from tests.gateway.codecs.test_hostile import decode as fits

NOW = 1_790_000_000_000_000
SENT = 1_789_999_995_250_000
CODEC = ThingsBoard(
    parse("""\
thingsboard:
  - devices: "door*"
    events:
      - {kind: contact, value: contact, yes: [false], no: [true]}
      - {kind: battery, value: batteryLevel}
  - devices: "hall*"
    events: [{kind: count_total, in: enter, out: leave}]
""")
)
MINE, GATEWAY = "tb/door7/v1/devices/me/telemetry", "tb/site7/v1/gateway/telemetry"


def decode(topic: str, said: Any, memory: dict[str, int] | None = None) -> Decoded:
    payload = said if isinstance(said, bytes) else json.dumps(said).encode()
    return CODEC.decode(Message(topic=topic, payload=payload, received_us=NOW), memory or {}, {})


def battery(percent: int, device: str = "tb/door7", flags: Flag = Flag.TIME_RECEIVED, t_us: int = NOW) -> Event:
    return Event(device=device, kind=Kind.BATTERY, t_us=t_us, received_us=NOW, a=percent, flags=flags)


@pytest.mark.parametrize(
    ("form", "events"),
    [
        ({"batteryLevel": 87}, [battery(87)]),
        ({"ts": 1789999995250, "values": {"batteryLevel": 87}}, [battery(87, flags=NO_FLAGS, t_us=SENT)]),
        ([{"batteryLevel": 87}, {"batteryLevel": "86"}], [battery(87), battery(86)]),
        ([{"ts": 1789999995250, "values": {"batteryLevel": 87}}], [battery(87, flags=NO_FLAGS, t_us=SENT)]),
    ],
)
@pytest.mark.parametrize("topic", [MINE, "http/tb/door7/telemetry", "http/tb/door7/attributes", MINE.replace("tele", "x")])
def test_all_forms_of_telemetry_are_read(topic: str, form: Any, events: list[Event]) -> None:
    decoded = decode(topic, form)
    if "xmetry" in topic:
        assert decoded == Decoded()
        return
    assert list(decoded.events) == events
    assert [r.payload for r in decoded.replies] == ([b""] if topic.startswith("http/") else [])


def test_a_door_s_edges_come_from_what_it_said_before_even_within_one_message() -> None:
    said = [{"ts": 1789999995250, "values": {"contact": True}}, {"ts": 1789999996250, "values": {"contact": False}}]
    first, edge = decode(MINE, said).events
    assert (first.a, bool(first.flags & Flag.REPEAT)) == (0, True)
    assert (edge.a, edge.flags, edge.key) == (1, Flag.HAS_KEY, 1_789_999_996_250_000 * 2 + 1)


def test_a_gateway_speaks_for_its_own_devices_under_its_own_name() -> None:
    decoded = decode(
        GATEWAY, {"door 1": [{"ts": 1789999995250, "values": {"batteryLevel": 87}}], "hall": {"enter": 5, "leave": 4}}
    )
    assert [(e.device, e.kind, e.a, e.b) for e in decoded.events] == [
        ("tb/site7/door 1", Kind.BATTERY, 87, 0),
        ("tb/site7/hall", Kind.COUNT_TOTAL, 5, 4),
    ]


def test_devices_of_a_gateway_come_and_go() -> None:
    came = decode("tb/site7/v1/gateway/connect", {"device": "door 1", "type": "default"})
    went = decode("tb/site7/v1/gateway/disconnect", {"device": "door 1"}, dict(came.memory))
    assert [(e.device, e.kind, e.a) for e in (*came.events, *went.events)] == [
        ("tb/site7/door 1", Kind.LINK, 1),
        ("tb/site7/door 1", Kind.LINK, 0),
    ]


def test_a_device_of_which_the_mapping_says_nothing_is_alive_and_told_and_hurts_no_other() -> None:
    decoded = decode(GATEWAY, {"lamp": [{"on": True}], "door 1": [{"batteryLevel": 87}], "door 2": [{"temperature": 20}]})
    assert [(e.device, e.kind) for e in decoded.events] == [
        ("tb/site7/door 1", Kind.BATTERY),
        ("tb/site7/lamp", Kind.ALIVE),
        ("tb/site7/door 2", Kind.ALIVE),
    ]
    assert decoded.reject
    assert decoded.reject.reason == "no_mapping"


def test_what_waited_at_a_gateway_is_late() -> None:
    (event,) = decode(MINE, {"ts": NOW // 1000 - 3_600_000, "values": {"contact": False}}, {"tb/door7": 0}).events
    assert event.flags == Flag.LATE | Flag.REPEAT | Flag.HAS_KEY


def test_a_request_for_attributes_or_commands_is_answered_with_nothing_and_is_a_sign_of_life_once_a_minute() -> None:
    first = decode("http/tb/door7/attributes", b"")
    assert ([e.kind for e in first.events], first.replies[0].payload) == ([Kind.ALIVE], b"{}")
    assert decode("http/tb/door7/rpc", b"", dict(first.memory)).events == ()


@pytest.mark.parametrize(
    "topic",
    ["tb/site7/v1/gateway/rpc", "tb/site7/v1/devices/me/rpc/request/1", "tb/site7/v1/gateway/claim", "tb/x", "tb/门/v1/x"],
)
def test_other_parts_of_the_api_say_nothing(topic: str) -> None:
    assert decode(topic, {"device": "door 1"}) == Decoded()


@pytest.mark.parametrize(
    ("topic", "said", "reason"),
    [
        (MINE, b"{", "bad_json"),
        (MINE, [3], "bad_field"),
        (MINE, [{}] * 1001, "bad_field"),
        (GATEWAY, [], "bad_field"),
        (GATEWAY, {"door": 3}, "bad_field"),
        (GATEWAY, {"门" * 60: {}}, "bad_identity"),
        ("tb/site7/v1/gateway/connect", {}, "bad_identity"),
    ],
)
def test_what_is_no_telemetry_is_rejected(topic: str, said: Any, reason: str) -> None:
    decoded = decode(topic, said)
    assert decoded.reject
    assert (decoded.reject.reason, decoded.events, decoded.replies) == (reason, (), ())


VALUES = st.dictionaries(st.sampled_from(["contact", "batteryLevel", "enter", "leave"]), JSON | st.integers(-1, 200))
ITEMS = VALUES | st.fixed_dictionaries({"ts": st.integers() | JSON, "values": VALUES | JSON}) | JSON
SAID = JSON | st.lists(ITEMS) | ITEMS
BEHIND = st.dictionaries(st.sampled_from(["door 1", "hall", "lamp", "", "\ud800"]), st.lists(ITEMS) | ITEMS)


@given(st.sampled_from([MINE, GATEWAY, "http/tb/door7/telemetry", "tb/site7/v1/gateway/connect"]), SAID | BEHIND | st.binary())
def test_anything_said_to_the_api_hurts_nobody(topic: str, said: Any) -> None:
    fits(CODEC, topic, said if isinstance(said, bytes) else json.dumps(said).encode())
