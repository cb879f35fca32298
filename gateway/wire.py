"""The uplink's bytes: numbered frames and unnumbered heartbeats up, answers and configuration down.

Specified for other implementers in docs/uplink.md, with golden bytes. One decision: the header has a checksum of its
own, so that a frame with a broken body can still be numbered, quarantined and passed over.

    frame  = header (56 bytes) + body
    body   = device table + person table + event rows (gateway.events.EVENT_DTYPE)
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from gateway.events import EVENT_DTYPE, GATEWAY_FLAGS, MAX_TIME_US, MAX_VALUE, MIN_TIME_US, TOKEN_BYTES, Event, Kind

MAGIC = b"\xca\xfe"
VERSION = 1
HEADER = struct.Struct(">2sBBQQQqqII")  # all but the header's own checksum
HEADER_BYTES = HEADER.size + 4
SHORT, LONG, LENGTH_CRC = struct.Struct(">H"), struct.Struct(">I"), struct.Struct(">II")
MAX_BODY_BYTES = 64 * 1024
MAX_EVENTS = 1000
MAX_DEVICE_BYTES = 120
_Bound = int | NDArray[np.int64]


class WireError(Exception):
    """Base of what can be wrong with bytes from the wire; `reason` is a stable word for counters."""

    reason = "wire"


class BadHeader(WireError):
    """The header cannot be trusted: the sender's number is unknown, so nothing but the bytes can be kept."""

    reason = "bad_header"


class BadBody(WireError):
    """The header is good and the body is not: quarantine the frame, advance past it."""

    reason = "bad_body"


class BadMessage(WireError):
    """A JSON message (heartbeat, answer) that does not parse or is out of range."""

    reason = "bad_message"


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The numbered part of a frame.

    stream: random id of the gateway's process. seq: 1, 2, 3, … in the stream. oldest: the lowest seq of this stream that
    the gateway still holds. since_us: start of the stream, from when on the gateway was receiving. through_us: watermark,
    everything received until then is in this frame or an earlier one.
    """

    stream: int
    seq: int
    oldest: int
    since_us: int
    through_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """A decoded body: device identities, person tokens (16 bytes each) and rows of EVENT_DTYPE, shape (n,)."""

    devices: list[str]
    persons: list[bytes]
    rows: NDArray[np.void]


def encode_body(events: Sequence[Event]) -> bytes:
    """Pack events in order. Raises ValueError where a codec handed over what the wire cannot carry."""
    if not 1 <= len(events) <= MAX_EVENTS:
        raise ValueError(f"a frame carries 1 to {MAX_EVENTS} events, got {len(events)}")
    devices: dict[str, int] = {}
    persons: dict[bytes, int] = {}
    rows = np.zeros(len(events), EVENT_DTYPE)
    for i, e in enumerate(events):
        device = devices.setdefault(e.device, len(devices))
        person = 0 if e.person is None else 1 + persons.setdefault(e.person, len(persons))
        rows[i] = (device, person, e.kind, e.aux, e.flags, e.t_us, e.received_us, e.raw_us, e.a, e.b, e.key)
    parts = [struct.pack(">H", len(devices))]
    for name in devices:
        raw = name.encode()
        if not 1 <= len(raw) <= MAX_DEVICE_BYTES or b"\0" in raw:
            raise ValueError(
                f"a device identity has 1 to {MAX_DEVICE_BYTES} bytes of UTF-8 without NUL, got {len(raw)}: {name!r}"
            )
        parts += [struct.pack(">B", len(raw)), raw]
    parts.append(struct.pack(">H", len(persons)))
    for token in persons:
        if len(token) != TOKEN_BYTES:
            raise ValueError(f"a person token has {TOKEN_BYTES} bytes, got {len(token)}")
        parts.append(token)
    parts += [struct.pack(">H", len(rows)), rows.tobytes()]
    body = b"".join(parts)
    if len(body) > MAX_BODY_BYTES:
        raise ValueError(f"a body has at most {MAX_BODY_BYTES} bytes, got {len(body)}; put fewer events in a frame")
    check_rows(rows, len(devices), len(persons))
    return body


def rows_of(body: bytes) -> tuple[bytes, NDArray[np.void]]:
    """Return a body of our own making in two parts: its tables, and its rows of EVENT_DTYPE, shape (n,)."""
    _, at = _read_devices(memoryview(body))
    (persons,) = SHORT.unpack_from(body, at)
    at += 4 + persons * TOKEN_BYTES
    return body[:at], np.frombuffer(body, EVENT_DTYPE, offset=at)


def encode_frame(header: Header, body: bytes) -> bytes:
    """Put header and body together; only `oldest` may differ between two sendings of the same frame."""
    head = HEADER.pack(
        MAGIC,
        VERSION,
        0,
        header.stream,
        header.seq,
        header.oldest,
        header.since_us,
        header.through_us,
        len(body),
        zlib.crc32(body),
    )
    return head + struct.pack(">I", zlib.crc32(head)) + body


def decode_header(data: bytes) -> Header:
    """Read and check the first 56 bytes. Raises BadHeader."""
    if len(data) < HEADER_BYTES:
        raise BadHeader(f"a frame has at least {HEADER_BYTES} bytes, got {len(data)}")
    (crc,) = LONG.unpack_from(data, HEADER.size)
    if zlib.crc32(data[: HEADER.size]) != crc:
        raise BadHeader("the header's checksum does not match")
    magic, version, _, stream, seq, oldest, since_us, through_us, _, _ = HEADER.unpack_from(data)
    if magic != MAGIC or version != VERSION:
        raise BadHeader(f"expected magic cafe and version {VERSION}, got {magic.hex()} and {version}")
    if not (1 <= oldest <= seq < 2**63 and stream < 2**63):
        raise BadHeader(f"expected 1 <= oldest <= seq < 2**63 and stream < 2**63, got {oldest}, {seq}, {stream}")
    if not (MIN_TIME_US <= since_us <= through_us < MAX_TIME_US):
        raise BadHeader(f"expected 1970 <= since_us <= through_us < 2100, got {since_us}, {through_us}")
    return Header(stream=stream, seq=seq, oldest=oldest, since_us=since_us, through_us=through_us)


def decode_body(data: bytes) -> Body:
    """Read the body of a frame whose header is good. Raises BadBody; never anything else, whatever the bytes."""
    (body,) = decode_bodies([data])
    if isinstance(body, BadBody):
        raise body
    return body


def decode_bodies(frames: Sequence[bytes]) -> list[Body | BadBody]:
    """Read the bodies of many frames whose headers are good, each by itself: a bad one does not touch the others.

    All rows are read and checked in one pass, which makes a frame of few events ten times cheaper than alone.
    """
    tables = [_read_tables(data) for data in frames]
    good = [t for t in tables if not isinstance(t, BadBody)]
    if not good:
        return [t for t in tables if isinstance(t, BadBody)]
    sizes = [t.events for t in good]
    rows = np.frombuffer(b"".join([t.rows for t in good]), EVENT_DTYPE)
    devices, persons = np.repeat([len(t.devices) for t in good], sizes), np.repeat([len(t.persons) for t in good], sizes)
    bad = any(not fine.all() for _, fine in _row_checks(rows, devices, persons))
    found: list[Body | BadBody] = []
    at = 0
    for t in tables:
        if isinstance(t, BadBody):
            found.append(t)
            continue
        body = Body(devices=t.devices, persons=t.persons, rows=rows[at : at + t.events])
        at += t.events
        found.append(_checked(body) if bad else body)
    return found


class _Tables(NamedTuple):
    """A body before its rows are looked at."""

    devices: list[str]
    persons: list[bytes]
    rows: memoryview
    events: int


def _checked(body: Body) -> Body | BadBody:
    try:
        check_rows(body.rows, len(body.devices), len(body.persons))
    except ValueError as e:
        return BadBody(str(e))
    return body


def _read_tables(data: bytes) -> _Tables | BadBody:
    length, crc = LENGTH_CRC.unpack_from(data, HEADER.size - 8)
    body = memoryview(data)[HEADER_BYTES:]
    if len(body) != length or length > MAX_BODY_BYTES:
        return BadBody(f"the header announces {length} bytes (at most {MAX_BODY_BYTES}), {len(body)} came")
    if zlib.crc32(body) != crc:
        return BadBody("the body's checksum does not match")
    try:
        devices, at = _read_devices(body)
        (n_persons,) = SHORT.unpack_from(body, at)
        at += 2
        end = at + n_persons * TOKEN_BYTES
        if end > length:
            return BadBody(f"{n_persons} person tokens do not fit into the body")
        persons = [bytes(body[i : i + TOKEN_BYTES]) for i in range(at, end, TOKEN_BYTES)]
        (n,) = SHORT.unpack_from(body, end)
        end += 2
    except BadBody as e:
        return e
    except (struct.error, UnicodeDecodeError) as e:
        return BadBody(f"the tables cannot be read: {e}")
    if not 1 <= n <= MAX_EVENTS or length - end != n * EVENT_DTYPE.itemsize:
        return BadBody(f"{n} events of {EVENT_DTYPE.itemsize} bytes announced (1 to {MAX_EVENTS}), {length - end} bytes left")
    return _Tables(devices, persons, body[end:], n)


def _read_devices(body: memoryview) -> tuple[list[str], int]:
    (n,) = SHORT.unpack_from(body, 0)
    devices, at = [], 2
    for _ in range(n):
        if at >= len(body):
            raise BadBody(f"{n} device identities do not fit into the body")
        size = body[at]
        raw = bytes(body[at + 1 : at + 1 + size])
        if not 1 <= size <= MAX_DEVICE_BYTES or len(raw) != size or b"\0" in raw:
            raise BadBody(f"a device identity has 1 to {MAX_DEVICE_BYTES} bytes without NUL, got {raw!r}")
        devices.append(raw.decode())
        at += 1 + size
    return devices, at


def check_rows(rows: NDArray[np.void], n_devices: int, n_persons: int) -> None:
    """Check every column against its closed range. Raises ValueError naming the column."""
    for name, good in _row_checks(rows, n_devices, n_persons):
        if not good.all():
            i = int(np.argmin(good))
            raise ValueError(f"event {i}: {name} is out of range: {rows[name][i]}")


def _row_checks(rows: NDArray[np.void], n_devices: _Bound, n_persons: _Bound) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    """Yield for each column which rows are within its range; the bounds are numbers, or one for each row."""
    kind, flags = rows["kind"], rows["flags"]
    yield "device", rows["device"] < n_devices
    yield "person", rows["person"] <= n_persons
    yield "kind", (kind >= min(Kind)) & (kind <= max(Kind))
    yield "flags", (flags & ~np.uint16(GATEWAY_FLAGS)) == 0
    for name in ("t_us", "received_us"):
        yield name, (rows[name] >= MIN_TIME_US) & (rows[name] < MAX_TIME_US)
    for name in ("raw_us", "a", "b"):
        yield name, np.abs(rows[name]) <= MAX_VALUE
    yield "key", rows["key"] < 2**63


class Blind(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A time in which the gateway could not hear some of its devices.

    source: prefix of the device identities concerned ("z2m/", "lora/", "face/"; "" is all). to_us None: still blind.
    """

    source: str
    from_us: int
    to_us: int | None = None
    reason: str = ""


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, tag="heartbeat", tag_field="type"):
    """Unnumbered, not spooled, about every 15 s. Counts as coverage only where ingest's cursor is at `seq`.

    stream: as 16 hex digits. seq: last frame made in the stream, 0 for none. config: version the gateway holds.
    queued_bytes: spooled and not yet acknowledged, of all streams. user: whose credentials it uses at the broker.
    """

    stream: str
    seq: int
    since_us: int
    through_us: int
    sent_us: int
    blind: list[Blind] = []
    config: int = 0
    queued_bytes: int = 0
    software: str = ""
    user: str = ""


class Answer(msgspec.Struct, frozen=True, kw_only=True, tag="answer", tag_field="type"):
    """After COMMIT: everything of `stream` up to `seq` is stored. window: bytes the gateway may have on the way."""

    epoch: int
    stream: str
    seq: int
    window: int


class PersonLink(msgspec.Struct, frozen=True, kw_only=True):
    """A consented person as one terminal knows them. token: 32 hex digits."""

    device: str
    local_id: str
    token: str


class Config(msgspec.Struct, frozen=True, kw_only=True, tag="config", tag_field="type"):
    """What the gateway may know of people, sent when a heartbeat shows an older version. Replaces what it held."""

    version: int
    persons: list[PersonLink]
    heartbeat_s: float = 15.0


class Refusal(msgspec.Struct, frozen=True, kw_only=True, tag="refusal", tag_field="type"):
    """Why nothing is stored, in words an installer can act on. reason: unknown_gateway, suspended, wrong_shard, bad_header."""

    reason: str
    message: str


class Renewal(msgspec.Struct, frozen=True, kw_only=True, tag="renewal", tag_field="type"):
    """Another user and secret for the broker of the uplink. Address and topics stay: nobody can send a gateway elsewhere."""

    user: str
    secret: str


Down = Answer | Config | Refusal | Renewal
T = TypeVar("T")
_encoder = msgspec.json.Encoder()
_heartbeats = msgspec.json.Decoder(Heartbeat)
_downs: msgspec.json.Decoder[Down] = msgspec.json.Decoder(Down)


def encode_message(message: Heartbeat | Down) -> bytes:
    """Write a JSON message; floats and times are finite by construction."""
    return _encoder.encode(message)


def is_frame(data: bytes) -> bool:
    """Tell a frame from a JSON message by its first bytes."""
    return data[:2] == MAGIC


def decode_heartbeat(data: bytes) -> Heartbeat:
    """Read a heartbeat. Raises BadMessage."""
    heartbeat = _decode(_heartbeats, data)
    times = [heartbeat.since_us, heartbeat.through_us, heartbeat.sent_us]
    times += [t for b in heartbeat.blind for t in (b.from_us, b.to_us) if t is not None]
    # A gateway before NTP lives in 1970: allowed here, judged by ingest against its own clock.
    if not all(0 <= t < MAX_TIME_US for t in times) or not 0 <= heartbeat.seq < 2**63:
        raise BadMessage("a time or a number of the heartbeat is out of range")
    parse_stream(heartbeat.stream)
    return heartbeat


def decode_down(data: bytes) -> Down:
    """Read what the backend says. Raises BadMessage."""
    return _decode(_downs, data)


def stream_text(stream: int) -> str:
    """Write a stream id as 16 hex digits."""
    return f"{stream:016x}"


def parse_stream(text: str) -> int:
    """Read 16 hex digits. Raises BadMessage."""
    if len(text) != 16 or not set(text) <= set("0123456789abcdef") or int(text, 16) >= 2**63:
        raise BadMessage(f"a stream id is 16 hex digits below 2**63, got {text!r}")
    return int(text, 16)


def _decode(decoder: msgspec.json.Decoder[T], data: bytes) -> T:
    # msgspec's errors have three bases; all of them are bad bytes.
    try:
        return decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        raise BadMessage(f"expected one of our JSON messages: {e}") from None


def topic_up(shard: int, gateway: str) -> str:
    """Topic a gateway publishes to; its credentials allow no other."""
    return f"care/v1/{shard}/{gateway}/up"


def topic_down(shard: int, gateway: str) -> str:
    """Topic a gateway listens to; its credentials allow no other."""
    return f"care/v1/{shard}/{gateway}/down"
