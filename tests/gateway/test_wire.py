"""The wire: golden bytes built by hand, round trips, and bytes of any kind give nothing but WireError."""

import re
import struct
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.events import GATEWAY_FLAGS, MAX_VALUE, Event, Flag, Kind, Method, Result
from gateway.wire import (
    HEADER_BYTES,
    BadBody,
    BadHeader,
    BadMessage,
    Header,
    WireError,
    decode_bodies,
    decode_body,
    decode_down,
    decode_header,
    decode_heartbeat,
    encode_body,
    encode_frame,
    is_frame,
    parse_stream,
    stream_text,
)

T = 1_780_272_000_000_000
TOKEN = bytes.fromhex("5f0c1e8a93d24b7760a1c2e3f4051627")
HEADER = Header(stream=0x1F2E3D4C5B6A7988, seq=7, oldest=3, since_us=T - 60_000_000, through_us=T + 2_500_000)
EVENTS = [
    Event(device="z2m/前门", kind=Kind.CONTACT, t_us=T, received_us=T, a=1, flags=Flag.TIME_RECEIVED),
    Event(
        device="face/1000042",
        kind=Kind.PASSAGE,
        aux=Method.FACE,
        t_us=T + 1_000_000,
        received_us=T + 2_000_000,
        raw_us=T + 1_000_001,
        a=Result.ALLOWED,
        b=1,
        key=9001,
        flags=Flag.HAS_KEY,
        person=TOKEN,
    ),
]


def golden() -> bytes:
    """The frame of docs/uplink.md, put together from its tables and nothing of ours."""
    door, face = "z2m/前门".encode(), b"face/1000042"
    body = struct.pack(">H", 2) + bytes([len(door)]) + door + bytes([len(face)]) + face
    body += struct.pack(">H", 1) + TOKEN
    body += struct.pack(">H", 2)
    body += struct.pack(">HHBBHqqqqqQ", 0, 0, 1, 0, 8, T, T, 0, 1, 0, 0)
    body += struct.pack(">HHBBHqqqqqQ", 1, 1, 4, 1, 256, T + 1_000_000, T + 2_000_000, T + 1_000_001, 1, 1, 9001)
    head = bytes.fromhex("cafe0100") + struct.pack(">QQQ", 0x1F2E3D4C5B6A7988, 7, 3)
    head += struct.pack(">qqII", T - 60_000_000, T + 2_500_000, len(body), zlib.crc32(body))
    return head + struct.pack(">I", zlib.crc32(head)) + body


def test_a_frame_has_the_golden_bytes_and_so_has_the_specification() -> None:
    assert encode_frame(HEADER, encode_body(EVENTS)) == golden()
    text = (Path(__file__).parents[2] / "docs" / "uplink.md").read_text(encoding="utf-8")
    block = re.search(r"```hex\n(.*?)```", text, re.S)
    assert block
    assert bytes.fromhex(re.sub(r"#.*", "", block[1])) == golden()


def test_the_golden_bytes_decode_to_the_events() -> None:
    assert decode_header(golden()) == HEADER
    body = decode_body(golden())
    assert body.devices == ["z2m/前门", "face/1000042"]
    assert body.persons == [TOKEN]
    assert [tuple(r) for r in body.rows.tolist()] == [
        (0, 0, 1, 0, 8, T, T, 0, 1, 0, 0),
        (1, 1, 4, 1, 256, T + 1_000_000, T + 2_000_000, T + 1_000_001, 1, 1, 9001),
    ]
    assert is_frame(golden())


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_or_a_wire_error(data: bytes) -> None:
    with pytest.raises(BadHeader):
        decode_header(data)
    for decode in (decode_heartbeat, decode_down):
        with pytest.raises(BadMessage):
            decode(data)


@given(st.integers(0, len(golden()) - 1), st.integers(1, 255), st.integers(0, len(golden())))
def test_no_damage_goes_unnoticed(at: int, change: int, length: int) -> None:
    data = bytearray(golden())
    data[at] ^= change
    with pytest.raises(BadHeader if at < HEADER_BYTES else BadBody):
        decode(bytes(data))
    if length < len(golden()):
        with pytest.raises(WireError):
            decode(golden()[:length])


def decode(data: bytes) -> None:
    decode_header(data)
    decode_body(data)


@given(st.binary(min_size=0, max_size=400))
def test_any_body_under_a_good_header_decodes_or_is_a_bad_body(body: bytes) -> None:
    data = encode_frame(HEADER, body)
    assert decode_header(data) == HEADER
    try:
        decode_body(data)
    except BadBody:
        return


@given(st.data())
def test_a_body_with_any_rows_decodes_or_is_a_bad_body(data: st.DataObject) -> None:
    row = st.binary(min_size=56, max_size=56)
    rows = data.draw(st.lists(row, max_size=3))
    count = data.draw(st.integers(0, 4))
    body = struct.pack(">HB1sHH", 1, 1, b"d", 0, count) + b"".join(rows)
    try:
        decoded = decode_body(encode_frame(HEADER, body))
    except BadBody:
        return
    assert set(decoded.rows["device"]) == {0}
    assert set(decoded.rows["person"]) == {0}


@given(
    st.lists(
        st.builds(
            Event,
            device=st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1, max_size=30),
            kind=st.sampled_from(Kind),
            t_us=st.integers(0, 4_102_444_799_999_999),
            received_us=st.integers(0, 4_102_444_799_999_999),
            aux=st.integers(0, 255),
            flags=st.integers(0, GATEWAY_FLAGS).map(lambda f: Flag(f & GATEWAY_FLAGS)),
            raw_us=st.integers(-MAX_VALUE, MAX_VALUE),
            a=st.integers(-MAX_VALUE, MAX_VALUE),
            b=st.integers(-MAX_VALUE, MAX_VALUE),
            key=st.integers(0, 2**63 - 1),
            person=st.none() | st.binary(min_size=16, max_size=16),
        ),
        min_size=1,
        max_size=20,
    )
)
def test_events_come_back_as_they_went(events: list[Event]) -> None:
    body = decode_body(encode_frame(HEADER, encode_body(events)))
    back = [
        Event(
            device=body.devices[device],
            person=body.persons[person - 1] if person else None,
            kind=Kind(kind),
            aux=aux,
            flags=Flag(flags),
            t_us=t,
            received_us=received,
            raw_us=raw,
            a=a,
            b=b,
            key=key,
        )
        for device, person, kind, aux, flags, t, received, raw, a, b, key in body.rows.tolist()
    ]
    assert back == events


@pytest.mark.parametrize("device", ["", "x" * 121, "a\0b", "\ud800"])
def test_a_device_identity_that_the_receiver_would_refuse_is_not_sent(device: str) -> None:
    with pytest.raises(ValueError, match=r"identity|surrogates"):
        encode_body([Event(device=device, kind=Kind.ALIVE, t_us=T, received_us=T)])


@given(st.integers(0, 2**63 - 1))
def test_a_stream_is_sixteen_hex_digits(stream: int) -> None:
    assert parse_stream(stream_text(stream)) == stream


@pytest.mark.parametrize("text", ["", "1", "g" * 16, "8000000000000000", "000000000000000A", "0x00000000000001", "0" * 17])
def test_anything_else_is_no_stream(text: str) -> None:
    with pytest.raises(BadMessage):
        parse_stream(text)


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"type":"answer"}',
        b'{"type":"answer","epoch":true,"stream":"","seq":1,"window":1}',
        b'{"type":"nonsense"}',
        b"\xff\xfe",
        b"NaN",
    ],
)
def test_bad_json_is_a_bad_message(data: bytes) -> None:
    for decode in (decode_down, decode_heartbeat):
        with pytest.raises(BadMessage):
            decode(data)


def test_bad_bodies_among_many_do_not_touch_the_others() -> None:
    bad_row = struct.pack(">HB1sHH", 1, 1, b"d", 0, 1) + struct.pack(">HHBBHqqqqqQ", 7, 0, 1, 0, 0, T, T, 0, 1, 0, 0)
    one = encode_frame(HEADER, encode_body(EVENTS[:1]))
    frames = [golden(), encode_frame(HEADER, bad_row), one, one[:-1] + b"\xff", golden()]
    found = decode_bodies(frames)
    assert [isinstance(body, BadBody) for body in found] == [False, True, False, True, False]
    assert "event 0: device is out of range: 7" in str(found[1])
    for frame, body in zip(frames, found, strict=True):
        if not isinstance(body, BadBody):
            alone = decode_body(frame)
            assert (body.devices, body.persons, body.rows.tolist()) == (alone.devices, alone.persons, alone.rows.tolist())
    assert decode_bodies([]) == []
