"""Whatever arrives, a codec returns: no exception, and only events that the wire can carry."""

import json
import re
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.codecs.contract import Codec, Decoded, Message
from gateway.codecs.families import codecs
from gateway.codecs.milesight import decode as decode_milesight
from gateway.wire import Header, decode_body, encode_body, encode_frame
from tests.gateway.codecs.test_chirpstack import envelope
from tests.gateway.codecs.test_dahua import INLINE, LINES
from tests.gateway.codecs.test_face import REC_PUSH
from tests.gateway.codecs.test_face_http import SNAP, VERIFY
from tests.gateway.codecs.test_ha03 import FORM
from tests.gateway.codecs.test_hikaccess import EVENT, MULTIPART
from tests.gateway.codecs.test_hikcount import HEARTBEAT, REAL_TIME, WINDOW
from tests.gateway.codecs.test_milesight_push import REPORT, TRIGGER
from tests.gateway.codecs.test_zk import ATT_ROWS, ATTLOG, RT_ROW, RTLOG, RTSTATE, STATE_ROW

NOW = 1_790_000_000_000_000
UP = "application/a/device/24e124a1b2c3d4e5/event/up"
STATE = b'{"battery":71,"battery_low":false,"contact":false,"last_seen":"2026-09-21T14:13:10.250Z","tamper":false}'
VALID = [
    ("zigbee2mqtt/康乐/前门", STATE),
    ("zigbee2mqtt/康乐/前门/availability", b'{"state":"online"}'),
    ("zigbee2mqtt/bridge/state", b'{"state":"offline"}'),
    (UP, envelope("03d206010000 04d2fa000000 05cc03000400 0fe301020304 50fc000001")),
    (UP, envelope("017557 030001 040000 060001 20ce763bb16a08 01000200")),
    (UP, envelope("04c9050300a1 20ce763bb16a10 0a000b00", deviceInfo={"devEui": "24e124a1b2c3d4e5", "tags": {"model": "VS121"}})),
    (UP.replace("/up", "/status"), envelope("", batteryLevel=50.0)),
    ("mqtt/face/2046381/Rec", REC_PUSH),
    ("mqtt/face/2046381/Snap", REC_PUSH.replace(b"RecPush", b"StrSnapPush").replace(b"RecordID", b"SnapID")),
    ("mqtt/face/basic", b'{"operator":"Online","messageId":"m1","info":{"facesluiceId":"2046381","time":"2026-09-21 22:13:15"}}'),
    ("mqtt/face/heartbeat", b'{"operator":"HeartBeat","info":{"facesluiceId":"2046381","time":"2026-09-21 22:13:15"}}'),
    ("milesight/6771E2B490310007", REPORT),
    ("http/milesight/6771E2B490310007/", TRIGGER),
    ("http/hikcount/hall-cam/", REAL_TIME),
    ("http/hikcount/hall-cam/", WINDOW),
    ("http/hikcount/hall-cam/", HEARTBEAT),
    ("http/hikaccess/front/", EVENT),
    ("http/hikaccess/front/", MULTIPART),
    ("http/face/2046381/Verify", VERIFY),
    ("http/face/2046381/Snap", SNAP),
    ("http/ha03/861234050000017/", FORM),
    (ATTLOG, ATT_ROWS),
    (RTLOG, RT_ROW),
    (RTSTATE, STATE_ROW),
    ("http/dahua/side/", INLINE),
    ("http/dahua/side/", LINES),
]
FAMILIES = {
    type(codec).__name__: [valid for valid in VALID if codec.matches(valid[0])]
    for codec in codecs()
    if any(codec.matches(topic) for topic, _ in VALID)
}
SPITEFUL = [
    "NaN",
    "1e999",
    "9" * 400,
    "9" * 5000,
    "-1",
    "true",
    "null",
    '""',
    '"\\ud800"',
    '"\\u0000"',
    "[[[{}]]]",
    "1" + "0" * 18,
]
LEAVES = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
CHANNELS = ["0175", "0300", "0400", "03d2", "04d2", "05cc", "0fe3", "20ce", "ff08", "50fc", "04cc"]


def decode(codec: Codec, topic: str, payload: bytes, received_us: int = NOW, memory: dict[str, int] | None = None) -> Decoded:
    decoded = codec.decode(Message(topic=topic, payload=payload, received_us=received_us), memory or {}, {})
    if decoded.events:
        body = encode_body(decoded.events)
        header = Header(stream=1, seq=1, oldest=1, since_us=0, through_us=NOW)
        assert len(decode_body(encode_frame(header, body)).rows) == len(decoded.events)
    assert all(isinstance(value, int) and -(2**63) <= value < 2**63 for value in decoded.memory.values())
    if decoded.reject:
        assert re.fullmatch(r"[a-z0-9_]+", decoded.reject.reason)
        assert len(decoded.reject.detail) < 300
        assert decoded.reject.detail.encode()
    return decoded


def everyone(topic: str, payload: bytes, received_us: int = NOW) -> None:
    for codec in codecs():
        decode(codec, topic, payload, received_us)


@pytest.mark.parametrize(("topic", "payload"), VALID)
def test_a_payload_cut_at_any_byte_hurts_nobody(topic: str, payload: bytes) -> None:
    for end in range(len(payload) + 1):
        everyone(topic, payload[:end])


@pytest.mark.parametrize(("topic", "payload"), VALID)
def test_each_valid_payload_is_understood_by_exactly_its_codec(topic: str, payload: bytes) -> None:
    (codec,) = [c for c in codecs() if c.matches(topic)]
    decoded = decode(codec, topic, payload)
    assert decoded.reject is None
    assert decoded.events or decoded.blind
    assert all(event.device.startswith(f"{codec.family}/") for event in decoded.events)


@pytest.mark.parametrize("spite", SPITEFUL)
@pytest.mark.parametrize(("topic", "payload"), VALID)
def test_a_spiteful_value_in_any_field_hurts_nobody(topic: str, payload: bytes, spite: str) -> None:
    for match in re.finditer(rb'":(?:"[^"]*"|[a-z0-9.]+)', payload):
        everyone(topic, payload[: match.start() + 2] + spite.encode() + payload[match.end() :])


@pytest.mark.parametrize(
    "spite", [*SPITEFUL, "", "&a;", "<![CDATA[", "%ff%00", "\\x00", "--", "=", "0x10", "٣", "9999-99-99T99:99:99"]
)
@pytest.mark.parametrize(("topic", "payload"), [v for v in VALID if v[0].startswith("http/")])
def test_a_spiteful_text_in_any_field_of_a_form_a_table_or_an_element_hurts_nobody(
    topic: str, payload: bytes, spite: str
) -> None:
    for match in re.finditer(rb"(?<=[=>\t])[^<>&\t\r\n\"{]+", payload):
        everyone(topic, payload[: match.start()] + spite.encode() + payload[match.end() :])


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=settings().max_examples * 2 // 5)
@given(st.data())
def test_mutated_payloads_of_each_family_hurt_nobody(family: str, data: st.DataObject) -> None:
    topic, payload = data.draw(st.sampled_from(FAMILIES[family]))
    mutated = bytearray(payload)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(mutated)))
        mutated[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=4))
    everyone(topic, bytes(mutated), data.draw(st.sampled_from([0, 1, NOW, 4_102_444_799_000_000])))


@given(st.sampled_from([topic for topic, _ in VALID]) | st.text(), st.binary() | JSON.map(lambda v: json.dumps(v).encode()))
@example("mqtt/face//Rec", REC_PUSH)
@example("zigbee2mqtt/", STATE)
@example("zigbee2mqtt/" + "门" * 100, STATE)
@example("application/a/device//event/up", envelope())
def test_anything_on_any_topic_hurts_nobody(topic: str, payload: bytes) -> None:
    everyone(topic, payload)


@given(st.sampled_from(["VS133", "VS121", "VS350", "WS301", "EM300", "VS132", "", "XX999"]), st.binary(max_size=60))
def test_any_bytes_from_a_counter_end_in_readings_or_a_reason(model: str, data: bytes) -> None:
    frame = decode_milesight(data, model)
    assert bool(frame.reason) == bool(frame.detail)


@given(
    st.lists(
        st.sampled_from(["0175", "0300", "0400", "03d2", "04d2", "05cc", "0fe3", "20ce", "ff08", "50fc", "04cc"]), max_size=6
    ),
    st.randoms(),
)
def test_known_channels_with_any_data_become_events_that_fit_the_wire(heads: list[str], rng: Any) -> None:
    data = "".join(head + rng.randbytes(rng.choice([1, 4, 8])).hex() for head in heads)
    lora = next(c for c in codecs() if c.family == "lora")
    decode(lora, UP, envelope(data), memory={"lora/24e124a1b2c3d4e5": 0, "lora/24e124a1b2c3d4e5#in1": 3})
