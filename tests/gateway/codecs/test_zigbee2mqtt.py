"""zigbee2mqtt: exact payload bytes and the exact events that follow."""

import pytest

from gateway.codecs.contract import BlindChange, Decoded, Message
from gateway.codecs.zigbee2mqtt import Zigbee2Mqtt
from gateway.events import Event, FaultCode, Flag, Kind

NOW = 1_790_000_000_000_000  # 2026-09-21T14:13:20Z
SEEN = 1_789_999_990_250_000
FRONT = "z2m/康乐/前门"


def decode(
    payload: bytes, memory: dict[str, int] | None = None, *, topic: str = "康乐/前门", retained: bool = False, deaf_us: int = 0
) -> Decoded:
    message = Message(topic=f"zigbee2mqtt/{topic}", payload=payload, received_us=NOW, retained=retained, deaf_us=deaf_us)
    return Zigbee2Mqtt().decode(message, memory or {}, {})


def contact(a: int, flags: Flag, t_us: int = NOW, raw_us: int = 0) -> Event:
    """Return a CONTACT; with the device's own time it has a key, by which the same reception said twice is known."""
    key = 0 if flags & (Flag.TIME_RECEIVED | Flag.TIME_IMPLAUSIBLE) else 2 * t_us + a
    flags |= Flag.HAS_KEY if key else Flag(0)
    return Event(device=FRONT, kind=Kind.CONTACT, t_us=t_us, received_us=NOW, raw_us=raw_us, a=a, flags=flags, key=key)


def test_the_first_state_ever_seen_is_a_state_and_no_edge() -> None:
    decoded = decode(b'{"contact":false,"linkquality":87}')
    assert decoded == Decoded(events=(contact(1, Flag.TIME_RECEIVED | Flag.REPEAT),), memory={FRONT: 1})


def test_a_state_unlike_the_remembered_one_is_an_edge() -> None:
    decoded = decode(b'{"contact":true,"linkquality":87}', {FRONT: 1})
    assert decoded == Decoded(events=(contact(0, Flag.TIME_RECEIVED),), memory={FRONT: 0})


def test_a_battery_report_that_repeats_the_contact_is_no_edge() -> None:
    decoded = decode(b'{"battery":71,"contact":false,"voltage":2955}', {FRONT: 1, f"{FRONT}#battery": 72})
    battery = Event(device=FRONT, kind=Kind.BATTERY, t_us=NOW, received_us=NOW, a=71, flags=Flag.TIME_RECEIVED)
    assert decoded.events == (contact(1, Flag.TIME_RECEIVED | Flag.REPEAT), battery)
    assert decoded.memory == {f"{FRONT}#battery": 71}


def test_an_ias_contact_tells_tampering_and_a_low_battery_once() -> None:
    payload = b'{"battery":null,"battery_low":true,"contact":true,"tamper":true}'
    decoded = decode(payload, {FRONT: 0})
    flags = Flag.TIME_RECEIVED
    tamper = Event(device=FRONT, kind=Kind.TAMPER, t_us=NOW, received_us=NOW, a=1, flags=flags)
    low = Event(device=FRONT, kind=Kind.FAULT, t_us=NOW, received_us=NOW, aux=FaultCode.BATTERY_LOW, a=1, flags=flags)
    assert decoded.events == (contact(0, flags | Flag.REPEAT), tamper, low)
    again = decode(payload, {FRONT: 0, **decoded.memory})
    assert again.events == (contact(0, flags | Flag.REPEAT),)


@pytest.mark.parametrize(
    "last_seen",
    [b'"2026-09-21T14:13:10.250Z"', b'"2026-09-21T22:13:10.250+08:00"', b"1789999990250", b"1789999990250.0"],
    ids=["ISO_8601", "ISO_8601_local", "epoch", "epoch as a float"],
)
def test_last_seen_is_the_time_of_the_event_in_every_format(last_seen: bytes) -> None:
    decoded = decode(b'{"contact":false,"last_seen":' + last_seen + b"}", {FRONT: 0})
    assert decoded.events == (contact(1, Flag(0), SEEN),)
    assert decoded.memory == {FRONT: 1, f"{FRONT}#seen": SEEN}


@pytest.mark.parametrize(
    ("last_seen", "raw_us"),
    [
        (b'"2026-09-21T14:15:20.000Z"', None),  # two minutes ahead is still plausible
        (b'"2026-09-21T14:15:20.001Z"', 1_790_000_120_001_000),
        (b'"2026-09-14T14:13:20Z"', None),  # seven days ago as well
        (b'"2026-09-14T14:13:19Z"', 1_789_395_199_000_000),
        (b'"yesterday"', -1),
        (b"1789999990", 1_789_999_990_000),  # seconds where milliseconds belong
        (b"1e300", -1),
    ],
)
def test_an_implausible_last_seen_gives_way_to_the_receive_time_and_is_kept(last_seen: bytes, raw_us: int | None) -> None:
    (event,) = decode(b'{"contact":false,"last_seen":' + last_seen + b"}", {FRONT: 0}).events
    if raw_us is None:
        assert (event.flags, event.raw_us) == (Flag.HAS_KEY, 0)
    else:
        assert event == contact(1, Flag.TIME_IMPLAUSIBLE, NOW, raw_us)


def test_a_cached_state_older_than_the_last_one_is_late_and_moves_no_memory() -> None:
    memory = {FRONT: 0, f"{FRONT}#seen": SEEN + 1}
    decoded = decode(b'{"contact":false,"last_seen":1789999990250}', memory)
    assert decoded == Decoded(events=(contact(1, Flag.LATE | Flag.REPEAT, SEEN),))


def test_a_reception_has_a_key_made_of_its_time_and_its_state() -> None:
    (opened,) = decode(b'{"contact":false,"last_seen":1789999990250}', {FRONT: 0}).events
    (closed,) = decode(b'{"contact":true,"last_seen":1789999990250}', {FRONT: 0}).events
    assert (opened.key, closed.key) == (3_579_999_980_500_001, 3_579_999_980_500_000)
    (timeless,) = decode(b'{"contact":false}', {FRONT: 0}).events
    assert (timeless.key, timeless.flags & Flag.HAS_KEY) == (0, 0)


def test_the_second_publish_of_one_frame_carries_the_edge() -> None:
    memory = {FRONT: 0, f"{FRONT}#seen": SEEN}
    assert decode(b'{"contact":false,"last_seen":1789999990250}', memory).events == (contact(1, Flag(0), SEEN),)


def test_a_retained_state_says_that_the_edge_was_not_seen() -> None:
    decoded = decode(b'{"contact":false}', {FRONT: 0}, retained=True)
    assert decoded.events == (contact(1, Flag.TIME_RECEIVED | Flag.INFERRED),)
    unchanged = decode(b'{"contact":false}', {FRONT: 1}, retained=True)
    assert unchanged.events == (contact(1, Flag.TIME_RECEIVED | Flag.INFERRED | Flag.REPEAT),)
    timed = b'{"contact":false,"last_seen":1789999990250}'  # when it was heard last, which need not be when it opened
    assert decode(timed, {FRONT: 0}, retained=True).events == (contact(1, Flag.INFERRED, SEEN),)
    assert decode(timed, {FRONT: 1}, retained=True).events == (contact(1, Flag.REPEAT, SEEN),)


def test_an_edge_in_the_first_state_after_the_gateway_was_deaf_was_not_seen_and_the_next_one_was() -> None:
    found = decode(b'{"contact":false}', {FRONT: 0}, deaf_us=NOW - 9)
    assert found.events == (contact(1, Flag.TIME_RECEIVED | Flag.INFERRED),)
    memory = {FRONT: 0, **found.memory}
    assert decode(b'{"contact":true}', memory, deaf_us=NOW - 9).events == (contact(0, Flag.TIME_RECEIVED),)
    deaf_again = decode(b'{"contact":true}', memory, deaf_us=NOW - 5)
    assert deaf_again.events == (contact(0, Flag.TIME_RECEIVED | Flag.INFERRED),)
    unchanged = decode(b'{"contact":true}', {FRONT: 0}, deaf_us=NOW - 9)
    assert unchanged.events == (contact(0, Flag.TIME_RECEIVED | Flag.REPEAT),)
    assert decode(b'{"contact":false}', {FRONT: 0, **unchanged.memory}, deaf_us=NOW - 9).events == (
        contact(1, Flag.TIME_RECEIVED),
    )


def test_a_state_with_a_time_of_its_own_from_before_waited_and_was_said_in_time() -> None:
    timed = b'{"contact":false,"last_seen":1789999990250}'
    assert decode(timed, {FRONT: 0}, deaf_us=SEEN + 1).events == (contact(1, Flag(0), SEEN),)
    assert decode(timed, {FRONT: 0}, deaf_us=SEEN - 1).events == (contact(1, Flag.INFERRED, SEEN),)


def test_a_message_that_says_nothing_else_is_a_sign_of_life_unless_retained() -> None:
    alive = Event(device=FRONT, kind=Kind.ALIVE, t_us=NOW, received_us=NOW, flags=Flag.TIME_RECEIVED)
    assert decode(b'{"linkquality":12}').events == (alive,)
    assert decode(b'{"linkquality":12}', retained=True).events == ()


@pytest.mark.parametrize("payload", [b'{"state":"offline"}', b"offline"])
def test_availability_is_a_link_in_json_and_as_a_bare_word(payload: bytes) -> None:
    decoded = decode(payload, topic="康乐/前门/availability")
    link = Event(device=FRONT, kind=Kind.LINK, t_us=NOW, received_us=NOW, a=0, flags=Flag.TIME_RECEIVED)
    assert decoded == Decoded(events=(link,), memory={f"{FRONT}#link": 0})


def test_an_empty_retained_availability_means_that_the_device_was_renamed() -> None:
    assert decode(b"", topic="康乐/前门/availability", retained=True) == Decoded()


@pytest.mark.parametrize(
    ("payload", "change"),
    [
        (b'{"state":"offline"}', BlindChange(source="z2m/", blind=True, reason="bridge_offline")),
        (b"offline", BlindChange(source="z2m/", blind=True, reason="bridge_offline")),
        (b'{"state":"online"}', BlindChange(source="z2m/", blind=False, reason="")),
        (b"online", BlindChange(source="z2m/", blind=False, reason="")),
    ],
)
def test_a_lost_bridge_makes_all_its_devices_unheard(payload: bytes, change: BlindChange) -> None:
    assert decode(payload, topic="bridge/state") == Decoded(blind=(change,), memory={"z2m/#bridge": int(not change.blind)})


BACK = {"z2m/#bridge": 1, "z2m/#back": NOW - 1_000_000}


def test_an_edge_in_what_a_bridge_repeats_when_it_is_back_was_not_seen_and_the_next_one_was() -> None:
    back = decode(b"online", {"z2m/#bridge": 0}, topic="bridge/state")
    assert back.memory == {"z2m/#bridge": 1, "z2m/#back": NOW}
    assert decode(b"online", BACK, topic="bridge/state", retained=True).memory == {}  # it never was away
    assert decode(b"online", BACK, topic="bridge/state").memory == {
        "z2m/#back": NOW
    }  # as after a power cut: nobody heard it leave
    memory = {**BACK, FRONT: 0}
    cached = decode(b'{"contact":false}', memory)
    assert cached.events == (contact(1, Flag.TIME_RECEIVED | Flag.INFERRED),)
    assert decode(b'{"contact":true}', {**memory, **cached.memory}).events == (contact(0, Flag.TIME_RECEIVED),)
    unchanged = decode(b'{"contact":true}', memory)
    assert unchanged.events == (contact(0, Flag.TIME_RECEIVED | Flag.REPEAT),)
    assert decode(b'{"contact":false}', {**memory, **unchanged.memory}).events == (contact(1, Flag.TIME_RECEIVED),)


def test_where_states_have_their_own_time_it_says_whether_the_edge_was_seen() -> None:
    before = b'{"contact":false,"last_seen":1789999990250}'
    assert decode(before, {**BACK, FRONT: 0}).events == (contact(1, Flag.INFERRED, SEEN),)
    after = {**BACK, "z2m/#back": SEEN - 1, FRONT: 0}
    assert decode(before, after).events == (contact(1, Flag(0), SEEN),)


@pytest.mark.parametrize("topic", ["bridge/devices", "bridge/logging", "康乐/前门/set", "康乐/前门/get", "康乐/前门/set/state"])
def test_inventories_and_commands_are_not_for_us(topic: str) -> None:
    assert decode(b'{"contact":false}', topic=topic) == Decoded()


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b'{"contact":"false"}', "bad_field"),
        (b'{"contact":false,"battery":101}', "bad_field"),
        (b'{"contact":fal', "bad_json"),
        (b"[" * 100_000, "bad_field"),
        (b'{"x":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "bad_json"),
        (b'"open"', "bad_field"),
        (b'{"last_seen":"\xc4\xe3"}', "bad_json"),
    ],
)
def test_what_cannot_be_read_is_rejected_with_a_stable_reason(payload: bytes, reason: str) -> None:
    decoded = decode(payload)
    assert decoded.events == ()
    assert decoded.reject is not None
    assert (decoded.reject.reason, decoded.reject.picture) == (reason, False)
    assert "open" not in decoded.reject.detail


def test_something_that_looks_like_a_picture_is_quarantined_as_one() -> None:
    reject = decode(b'{"contact":1,"image":"data:image/jpeg;base64,/9j/4AAQ"}').reject
    assert reject is not None
    assert reject.picture


@pytest.mark.parametrize("name", ["", "a\0b", "长" * 40, "\ud800"])
def test_a_name_that_the_wire_cannot_carry_is_rejected(name: str) -> None:
    reject = decode(b'{"contact":false}', topic=name).reject
    assert reject is not None
    assert reject.reason == "bad_identity"
