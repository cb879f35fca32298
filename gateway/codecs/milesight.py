"""Milesight's LoRaWAN payloads: channel(1) type(1) data, little endian, repeated.

One decision: there is no length byte, so an unknown channel ends the reading; what came before it counts, the rest is
told. (channel, type) decides the meaning; the model is needed only for history records and to refuse sensors that use a
door contact's channels for something else.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass

from gateway.events import NO_FLAGS, FaultCode, Flag, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """One observation. COUNT_TOTAL may carry only one direction (the other is None). time_s: a history record's own time."""

    kind: Kind
    aux: int = 0
    a: int | None = 0
    b: int | None = 0
    flags: Flag = NO_FLAGS
    time_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Readings in order, and why the reading ended early ("" if it did not): a stable word and words for people."""

    readings: tuple[Reading, ...]
    reason: str = ""
    detail: str = ""


Read = Callable[[bytes], list[Reading]]


def _nothing(_: bytes) -> list[Reading]:
    return []


def _contact(data: bytes) -> list[Reading]:
    return [Reading(kind=Kind.CONTACT, a=int(data[0] != 0))]


def _tamper(data: bytes) -> list[Reading]:
    return [Reading(kind=Kind.TAMPER, a=int(data[0] != 0))]  # 1: not installed


def _battery(data: bytes) -> list[Reading]:
    return [Reading(kind=Kind.BATTERY, a=data[0])] if data[0] <= 100 else []  # 255: not known


def _total_in(line: int) -> Read:
    return lambda data: [Reading(kind=Kind.COUNT_TOTAL, aux=line, a=int.from_bytes(data, "little"), b=None)]


def _total_out(line: int) -> Read:
    return lambda data: [Reading(kind=Kind.COUNT_TOTAL, aux=line, a=None, b=int.from_bytes(data, "little"))]


def _pair(kind: Kind, line: int, flags: Flag = NO_FLAGS) -> Read:
    def read(data: bytes) -> list[Reading]:
        a, b = struct.unpack_from("<HH", data)
        return [Reading(kind=kind, aux=line, a=a, b=b, flags=flags)]

    return read


def _regions(first: int) -> Read:
    return lambda data: [Reading(kind=Kind.OCCUPANCY, aux=first + i, a=n) for i, n in enumerate(data)]


def _view(data: bytes) -> list[Reading]:
    return [Reading(kind=Kind.OCCUPANCY, aux=0, a=data[0])]  # then the number of regions and a mask of occupied ones


def _occluded(data: bytes) -> list[Reading]:
    return [Reading(kind=Kind.FAULT, aux=FaultCode.OCCLUDED, a=int(data[2] != 0))]


_total16 = _pair(Kind.COUNT_TOTAL, 1, Flag.WRAP16)
_period = _pair(Kind.COUNT_PERIOD, 1)

VS133: dict[tuple[int, int], tuple[int, Read]] = {
    # four lines (VS132 has one), regions, dwell, occlusion
    **{(0x03 + 3 * i, 0xD2): (4, _total_in(i + 1)) for i in range(4)},
    **{(0x04 + 3 * i, 0xD2): (4, _total_out(i + 1)) for i in range(4)},
    **{(0x05 + 3 * i, 0xCC): (4, _pair(Kind.COUNT_PERIOD, i + 1)) for i in range(4)},
    (0x0F, 0xE3): (4, _regions(1)),
    (0x10, 0xE4): (5, _nothing),
    (0x50, 0xFC): (3, _occluded),
    # the same for children: a breakdown, which is never added to the counts
    **{(0x11 + 3 * i, 0xD2): (4, _nothing) for i in range(4)},
    **{(0x12 + 3 * i, 0xD2): (4, _nothing) for i in range(4)},
    **{(0x13 + 3 * i, 0xCC): (4, _nothing) for i in range(4)},
    (0x1D, 0xE3): (4, _nothing),
    (0x1E, 0xE4): (5, _nothing),
}
VS133_HISTORY = {channel: read for (channel, _), (size, read) in VS133.items() if size == 4}  # its records name the channel
VS133_HISTORY_DWELL = (0x10, 0x20, 0x1E, 0x3C)
VS121_HISTORY: dict[int, tuple[int, Read]] = {
    # the whole view, a period, most people, regions by four, flows between sides by two, totals, dwell, line (part of totals)
    0x01: (4, _view),
    0x02: (4, _period),
    0x03: (1, _nothing),
    **{0x04 + i: (4, _regions(1 + 4 * i)) for i in range(4)},
    **dict.fromkeys(range(8, 16), (4, _nothing)),
    0x10: (4, _total16),
    0x11: (5, _nothing),
    0x12: (4, _nothing),
}
"""A record of a VS121 says after its time which of these follows."""

CHANNELS: dict[tuple[int, int], tuple[int, Read]] = {
    **VS133,
    # device information, once after a join: protocol, serial, hardware, firmware, TSL, class, reset, power on
    (0xFF, 0x01): (1, _nothing),
    (0xFF, 0x16): (8, _nothing),
    (0xFF, 0x09): (2, _nothing),
    (0xFF, 0x0A): (2, _nothing),
    (0xFF, 0x1F): (4, _nothing),
    (0xFF, 0xFF): (2, _nothing),
    (0xFF, 0x0F): (1, _nothing),
    (0xFF, 0xFE): (1, _nothing),
    (0xFF, 0x0B): (1, _nothing),
    # battery; temperature, humidity, temperature with alarm, sensitivity
    (0x01, 0x75): (1, _battery),
    (0x03, 0x67): (2, _nothing),
    (0x04, 0x68): (1, _nothing),
    (0x83, 0x67): (3, _nothing),
    (0x81, 0xEE): (1, _nothing),
    # WS301 contact and tamper, EM300-MCS contact
    (0x03, 0x00): (1, _contact),
    (0x04, 0x00): (1, _tamper),
    (0x06, 0x00): (1, _contact),
    # VS350, VS351: totals and period, plain and with a threshold alarm; the device's time
    (0x04, 0xCC): (4, _total16),
    (0x84, 0xCC): (5, _total16),
    (0x85, 0xCC): (5, _period),
    (0x0A, 0xEF): (4, _nothing),
    # VS121: whole view, most people, regions 1-8 and 9-16, flows between sides, totals, dwell, time, line (part of totals)
    (0x04, 0xC9): (4, _view),
    (0x06, 0xCD): (1, _nothing),
    (0x07, 0xD5): (8, _regions(1)),
    (0x08, 0xD5): (8, _regions(9)),
    **{(channel, 0xDA): (8, _nothing) for channel in range(0x09, 0x0D)},
    (0x0D, 0xCC): (4, _total16),
    (0x0E, 0xE4): (5, _nothing),
    (0x0F, 0x85): (4, _nothing),
    (0x10, 0xF7): (4, _nothing),
}
MODELS = frozenset({"VS121", "VS125", "VS132", "VS133", "VS135", "VS350", "VS351", "WS301", "EM300"})


class _Stop(Exception):
    """Reading cannot go on."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


def decode(data: bytes, model: str = "") -> Frame:
    """Read a frame; model: e.g. "VS133", "" if nobody knows. Never raises."""
    readings: list[Reading] = []
    at = 0
    try:
        if model and model not in MODELS:
            raise _Stop("unknown_model", f"model {model} is not one of {', '.join(sorted(MODELS))}")
        while at < len(data):
            size, found = _read(data, at, model)
            readings += found
            at += size
    except _Stop as e:
        return Frame(readings=_joined(readings), reason=e.reason, detail=f"at byte {at} of {len(data)}: {e.detail}")
    return Frame(readings=_joined(readings))


def _read(data: bytes, at: int, model: str) -> tuple[int, list[Reading]]:
    head = (data[at], data[at + 1]) if at + 1 < len(data) else (data[at], -1)
    rest = data[at + 2 :]
    if head == (0x20, 0xCE):
        size, read = _history(rest, model)
    elif head == (0xFF, 0x08):  # a serial number of 6 bytes, or of 8 on newer firmware; it contains no ff
        size, read = (8 if len(rest) == 8 or (len(rest) > 8 and 0xFF not in rest[:8] and rest[8] == 0xFF) else 6), _nothing
    elif head in CHANNELS:
        size, read = CHANNELS[head]
    else:
        raise _Stop("unknown_channel", f"channel {data[at : at + 2].hex()} is unknown")
    if len(rest) < size:
        raise _Stop("truncated", f"channel {data[at : at + 2].hex()} has {size} bytes, {len(rest)} came")
    return 2 + size, read(rest[:size])


def _history(rest: bytes, model: str) -> tuple[int, Read]:
    kind = rest[4] if len(rest) > 4 else 0
    if model == "EM300":
        return 8, lambda d: _late(d, [Reading(kind=Kind.CONTACT, a=int(d[7] != 0))])
    if model in ("VS350", "VS351") and kind in (0, 1):
        return (13 if kind else 9), lambda d: _late(d, _period(d[5:9]) + (_total16(d[9:13]) if kind else []))
    if model == "VS121" and kind in VS121_HISTORY:
        size, read = VS121_HISTORY[kind]
        return 5 + size, lambda d: _late(d, read(d[5:]))
    if model in ("VS133", "VS135"):
        if kind in VS133_HISTORY_DWELL:
            return 8, _nothing
        if kind in VS133_HISTORY:
            return 9, lambda d: _late(d, VS133_HISTORY[d[4]](d[5:9]))
    raise _Stop("unknown_history", f"a history record of model {model or 'unknown'}; set the device's tag 'model'")


def _late(data: bytes, readings: list[Reading]) -> list[Reading]:
    (time_s,) = struct.unpack_from("<I", data)
    return [Reading(kind=r.kind, aux=r.aux, a=r.a, b=r.b, flags=r.flags | Flag.LATE, time_s=time_s) for r in readings]


def _joined(readings: list[Reading]) -> tuple[Reading, ...]:
    """Put the two directions of a line's total together; both carry the same time."""
    joined: list[Reading] = []
    where: dict[tuple[int, int | None], int] = {}
    for r in readings:
        half = r.kind is Kind.COUNT_TOTAL and (r.a is None or r.b is None)
        other = where.get((r.aux, r.time_s)) if half else None
        if half and other is None:
            where[r.aux, r.time_s] = len(joined)
        if other is None:
            joined.append(r)
            continue
        first = joined[other]
        joined[other] = Reading(
            kind=r.kind,
            aux=r.aux,
            a=r.a if r.a is not None else first.a,
            b=r.b if r.b is not None else first.b,
            flags=r.flags,
            time_s=r.time_s,
        )
    return tuple(joined)
