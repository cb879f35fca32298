"""ChirpStack v4: LoRaWAN uplinks with Milesight payloads, identity "lora/<DevEUI in lower case>".

One decision: `data` is decoded here and `object` is ignored: its names depend on whatever codec someone has put into the
device profile. The key of an uplink is its session's address and its frame counter, since the counter alone starts again
at every join; a history record's key is its own time, which stays when the record is sent again. A door's frame that follows
the last one shows that none between was missed, whatever else was.

    application/<id>/device/<DevEUI>/event/up      {"time", "deviceInfo": {"devEui", "tags"}, "devAddr", "fCnt", "data"}
"""

import binascii
import re
from collections.abc import Mapping
from datetime import UTC
from typing import Any

import msgspec

from gateway.codecs import milesight
from gateway.codecs.contract import Decoded, Message, Reject
from gateway.codecs.moment import Moment, place, read_iso
from gateway.codecs.payload import Unreadable, identity, read_json, rejected
from gateway.codecs.remembered import Remembered
from gateway.events import Event, Flag, Kind

_TOPIC = re.compile(r"application/[^/]+/device/([^/]+)/event/([^/]+)")
_EUI = re.compile(r"[0-9a-f]{16}")
_MODEL = re.compile(r"(?<![A-Z0-9])(?:[A-Z]{2}\d{3})(?!\d)")
MODEL_TAG = "model"


class _DeviceInfo(msgspec.Struct, frozen=True, rename="camel"):
    dev_eui: str
    device_profile_name: str | None = None
    tags: dict[str, Any] | None = None


class _Envelope(msgspec.Struct, frozen=True, rename="camel"):
    """What we read of an integration event; current versions emit defaults, older ones omit them."""

    device_info: _DeviceInfo
    time: str | None = None
    dev_addr: str | None = None
    f_cnt: int = 0
    data: str | None = None
    join_server_context: Any = None
    battery_level: float | None = None
    battery_level_unavailable: bool = False
    external_power_source: bool = False


_envelopes = msgspec.json.Decoder(_Envelope)


class ChirpStack:
    """The codec; it has no state and no settings."""

    family = "lora"
    topics: tuple[str, ...] = ("application/+/device/+/event/+",)

    def matches(self, topic: str) -> bool:
        """Tell whether the topic is an integration event's."""
        return _TOPIC.fullmatch(topic) is not None

    def decode(self, message: Message, memory: Mapping[str, int], persons: Mapping[tuple[str, str], bytes]) -> Decoded:
        """Decode `up`, `join` and `status`; ack, txack, log, location and integration say nothing of the place."""
        match = _TOPIC.fullmatch(message.topic)
        if match is None or match[2] not in ("up", "join", "status"):
            return Decoded()
        try:
            envelope = read_json(_envelopes, message.payload)
            last = Remembered(memory, _identity(envelope, match[1]), message.deaf_us)
            at = place(read_iso(envelope.time, UTC), message.received_us)
            if match[2] == "up" and envelope.data:
                return _uplink(envelope, last, at)
            return Decoded(events=tuple(_status(envelope, last, at)), memory=last.changes)
        except Unreadable as e:
            return rejected(e, message.payload)


def _identity(envelope: _Envelope, from_topic: str) -> str:
    eui = from_topic.lower()
    if not _EUI.fullmatch(eui) or envelope.device_info.dev_eui.lower() != eui:
        raise Unreadable("bad_identity", "topic and deviceInfo must name the same DevEUI of 16 hexadecimal digits")
    return identity("lora", eui)


def _status(envelope: _Envelope, last: Remembered, at: Moment) -> list[Event]:
    level = envelope.battery_level
    known = level is not None and not envelope.battery_level_unavailable and not envelope.external_power_source
    if level is not None and known and 0 <= level <= 100:
        return [at.event(last.device, Kind.BATTERY, a=round(level))]
    return [at.event(last.device, Kind.ALIVE)]


def _uplink(envelope: _Envelope, last: Remembered, at: Moment) -> Decoded:
    if envelope.join_server_context is not None:
        raise Unreadable("encrypted", "the application key is at the join server; let ChirpStack have it")
    try:
        data = binascii.a2b_base64(envelope.data or "", strict_mode=True)
    except ValueError:  # also where the text is not ASCII
        raise Unreadable("bad_base64", "`$.data` is not base64") from None
    frame = milesight.decode(data, model_of(envelope.device_info))
    key = _key(envelope)
    events: list[Event] = []
    for reading in frame.readings:
        events += _events(reading, last, at, key)
    if not events and not frame.reason:
        events.append(at.event(last.device, Kind.ALIVE))
    reject = Reject(reason=frame.reason, detail=frame.detail, picture=False) if frame.reason else None
    return Decoded(events=tuple(events), memory=last.changes, reject=reject)


def model_of(info: _DeviceInfo) -> str:
    """Return the model named by the device's tag, else by its profile's name (which may be anything), else ""."""
    for text in ((info.tags or {}).get(MODEL_TAG, ""), info.device_profile_name or ""):
        found = _MODEL.search(text.upper()) if isinstance(text, str) else None
        if found:
            return found[0]
    return ""


def _key(envelope: _Envelope) -> int | None:
    try:
        address = int(envelope.dev_addr or "", 16)
    except ValueError:
        return None
    if not 0 <= address < 2**32 or not 0 <= envelope.f_cnt < 2**32:
        raise Unreadable("bad_field", "expected devAddr and fCnt of 32 bits")
    return (address << 31) | (envelope.f_cnt & 0x7FFF_FFFF)


def _events(reading: milesight.Reading, last: Remembered, at: Moment, key: int | None) -> list[Event]:
    flags = reading.flags
    if reading.time_s is not None:
        at, key = place(reading.time_s * 1_000_000, at.received_us), reading.time_s
    if key is None:
        key = 0
    else:
        flags |= Flag.HAS_KEY
    value = reading.a or 0
    match reading.kind:
        case Kind.CONTACT if reading.time_s is not None:  # a sample of the past: a state, no edge
            return [at.event(last.device, Kind.CONTACT, flags | Flag.REPEAT, a=value, key=key)]
        case Kind.CONTACT:
            follows = key != 0 and last.get("frame") == key - 1
            last.put(key, "frame")
            return [last.contact(bool(value), at, flags, key, follows=follows)]
        case Kind.TAMPER:
            return last.on_change(Kind.TAMPER, "tamper", value, at, flags, key=key)
        case Kind.BATTERY:
            return last.on_change(Kind.BATTERY, "battery", value, at, flags, key=key)
        case Kind.COUNT_TOTAL:
            total = _total(reading, last)
            return [at.event(last.device, reading.kind, flags, aux=reading.aux, a=total[0], b=total[1], key=key)] if total else []
        case _:
            return [at.event(last.device, reading.kind, flags, aux=reading.aux, a=value, b=reading.b or 0, key=key)]


def _total(reading: milesight.Reading, last: Remembered) -> tuple[int, int] | None:
    """Complete a total whose other direction came in another uplink; None while that one has never been heard."""
    a, b = reading.a, reading.b
    if reading.time_s is not None or reading.flags & Flag.WRAP16:
        return None if a is None or b is None else (a, b)  # half a history record tells nothing that the totals will not
    for name, value in ((f"in{reading.aux}", a), (f"out{reading.aux}", b)):
        if value is not None:
            last.put(value, name)
    a, b = last.get(f"in{reading.aux}"), last.get(f"out{reading.aux}")
    return None if a is None or b is None else (a, b)
