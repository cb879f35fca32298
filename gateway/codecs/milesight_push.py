"""Milesight counters with their own network (VS125, VS133): JSON over MQTT or HTTP, identity "milesight/<device_sn>".

One decision: people are counted from the running totals and the counts of a period, never from trigger reports, whose
numbers are one crossing on some firmware and a total on others.

    milesight/<device_sn>, http/milesight/<device_sn>/
    line_total_data       → COUNT_TOTAL    line_periodic_data → COUNT_PERIOD
    region_count_data     → OCCUPANCY      line_trigger_data, nothing of these → ALIVE
"""

import re
from collections.abc import Mapping
from datetime import timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from gateway.codecs.contract import Decoded, Message
from gateway.codecs.moment import Moment, place, read_iso
from gateway.codecs.payload import Unreadable, identity, read_json
from gateway.codecs.request import answer, read_request
from gateway.codecs.terminal import reject
from gateway.events import NO_FLAGS, Event, Flag, Kind

PREFIX = "milesight/"
_SERIAL = re.compile(r"[A-Za-z0-9]{4,32}")
_ZONE = re.compile(r"UTC([+-])(\d{1,2}):(\d\d)")
_TOTALS = 2**32


class _Device(msgspec.Struct, frozen=True):
    device_sn: str


class _Time(msgspec.Struct, frozen=True):
    """trigger reports say `time` or `trigger_time`, the others from when until when."""

    time: Any = None
    trigger_time: Any = None
    start_time: Any = None
    end_time: Any = None
    time_zone: Any = None


class _Count(msgspec.Struct, frozen=True, rename={"entered": "in", "left": "out"}):
    entered: int = 0
    left: int = 0


class _Counted(msgspec.Struct, frozen=True, rename={"entered": "in_counted", "left": "out_counted"}):
    entered: int
    left: int


class _Present(msgspec.Struct, frozen=True):
    current_total: int


class _Period(msgspec.Struct, frozen=True):
    """`group` is a breakdown of `total` and is not read."""

    line: int
    total: _Count


class _Total(msgspec.Struct, frozen=True):
    line: int
    total: _Counted


class _Region(msgspec.Struct, frozen=True):
    region: int
    total: _Present


class _Regions(msgspec.Struct, frozen=True):
    region_count_data: list[_Region] | None = None


class _Push(msgspec.Struct, frozen=True):
    device_info: _Device
    time_info: _Time = _Time()
    line_periodic_data: list[_Period] | None = None
    line_total_data: list[_Total] | None = None
    region_data: _Regions | None = None


_pushes = msgspec.json.Decoder(_Push)


class MilesightPush:
    """The codec. zone: of counters that say neither an offset nor their zone."""

    family = "milesight"
    topics: tuple[str, ...] = ("milesight/#",)

    def __init__(self, zone: str = "Asia/Shanghai") -> None:
        self._zone = ZoneInfo(zone)

    def matches(self, topic: str) -> bool:
        """Tell whether the topic is a counter's, or a request by one."""
        return topic.startswith(PREFIX) or read_request(topic, self.family) is not None

    def decode(self, message: Message, memory: Mapping[str, int], persons: Mapping[tuple[str, str], bytes]) -> Decoded:
        """Decode a report; over HTTP it is answered in any case, since a report said again is no better."""
        request = read_request(message.topic, self.family)
        name = request.name if request else message.topic.removeprefix(PREFIX).split("/")[0]
        replies = (answer(message),) if request else ()
        try:
            push = read_json(_pushes, message.payload)
            serial = push.device_info.device_sn
            if not _SERIAL.fullmatch(serial) or serial.lower() != name.lower():
                raise Unreadable("bad_identity", "")
            at = place(_when(push.time_info, self._zone), message.received_us)
            return Decoded(events=tuple(_events(push, identity("milesight", serial.lower()), at)), replies=replies)
        except Unreadable as e:
            return Decoded(replies=replies, reject=reject(e.reason, message.payload))


def _when(info: _Time, zone: tzinfo) -> int:
    text = next((t for t in (info.end_time, info.time, info.trigger_time) if isinstance(t, str) and t), None)
    if text is None:
        return read_iso(None, zone)
    # A suffix that means "offset unknown" after a local time; then the zone's own name is the better witness.
    return read_iso(text.strip().removesuffix("-00:00"), _zone(info.time_zone) or zone)


def _zone(text: object) -> tzinfo | None:
    match = _ZONE.match(text) if isinstance(text, str) else None
    if match is None or int(match[2]) > 14 or int(match[3]) > 59:
        return None
    offset = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return timezone(offset if match[1] == "+" else -offset)


def _events(push: _Push, device: str, at: Moment) -> list[Event]:
    events: list[Event] = []
    ended_s = (at.raw_us or at.t_us) // 1_000_000
    keyed, key = (Flag.HAS_KEY, ended_s) if ended_s > 0 else (NO_FLAGS, 0)
    for total in push.line_total_data or ():
        a, b = _people(total.total.entered), _people(total.total.left)
        events.append(at.event(device, Kind.COUNT_TOTAL, aux=_number(total.line), a=a, b=b))
    for period in push.line_periodic_data or ():
        a, b = _people(period.total.entered), _people(period.total.left)
        events.append(at.event(device, Kind.COUNT_PERIOD, keyed, aux=_number(period.line), a=a, b=b, key=key))
    for region in (push.region_data and push.region_data.region_count_data) or ():
        people = _people(region.total.current_total)
        events.append(at.event(device, Kind.OCCUPANCY, aux=_number(region.region), a=people))
    return events or [at.event(device, Kind.ALIVE)]


def _number(value: int) -> int:
    if not 1 <= value <= 16:
        raise Unreadable("bad_field", "")
    return value


def _people(value: int) -> int:
    if not 0 <= value < _TOTALS:
        raise Unreadable("bad_field", "")
    return value
