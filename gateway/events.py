"""Canonical events: what every vendor's payload becomes, and how the rows lie in memory and on the wire.

One decision: an event is a fixed-width row, so that a frame of fifty of them is decoded with one `numpy.frombuffer`
and stored with one COPY. What does not fit a row (a face, a name, a picture) is not an event.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag

import numpy as np


class Kind(IntEnum):
    """What was observed, and the meaning of the row's `aux`, `a` and `b`."""

    CONTACT = 1
    """Door contact. a: 1 open, 0 closed. With `Flag.REPEAT` the state is repeated and there is no edge."""
    COUNT_TOTAL = 2
    """Raw running totals of a counting line. aux: line 1-16, a: total in, b: total out. Differences are made at ingest."""
    COUNT_PERIOD = 3
    """Counts of one period (not cumulative). aux: line 1-16, a: in, b: out."""
    PASSAGE = 4
    """Face, card or manual check-in. aux: `Method`, a: `Result`, b: `ListRole`. Person token or anonymous."""
    OCCUPANCY = 5
    """People seen in a region. aux: region 1-16 (0: the whole view), a: people."""
    BATTERY = 6
    """a: percent 0-100."""
    TAMPER = 7
    """a: 1 opened or taken off its mount, 0 in place."""
    ALIVE = 8
    """A sign of life that says nothing else."""
    LINK = 9
    """What the device's own network says of it. a: 1 online, 0 offline."""
    FAULT = 10
    """Fault that the device reports of itself. aux: `FaultCode`, a: 1 present, 0 over."""


class Method(IntEnum):
    """How a passage was recognised (`aux` of PASSAGE)."""

    FACE = 1
    CARD = 2
    FINGERPRINT = 3
    MANUAL = 4


class Result(IntEnum):
    """What the terminal decided (`a` of PASSAGE)."""

    ALLOWED = 1
    REFUSED = 2
    STRANGER = 3


class ListRole(IntEnum):
    """Which list of the terminal the person is on (`b` of PASSAGE)."""

    UNKNOWN = 0
    ALLOW_LIST = 1
    BLOCK_LIST = 2


class FaultCode(IntEnum):
    """Faults a device reports of itself (`aux` of FAULT)."""

    OCCLUDED = 1
    MOVED = 2
    HARDWARE = 3
    BATTERY_LOW = 4
    """The device says only that its battery is low, not how low."""


class Flag(IntFlag):
    """Qualities of an event (`flags`, 16 bits)."""

    REPEAT = 1
    """The state is repeated, nothing changed."""
    INFERRED = 2
    """The edge was not seen; it follows from a later state, and happened somewhere before `t_us`."""
    LATE = 4
    """The device says it is a replay or history: stored and counted, never the cause of a live alert."""
    TIME_RECEIVED = 8
    """The device gave no time; `t_us` is when the gateway received it."""
    TIME_IMPLAUSIBLE = 16
    """The device gave a time outside [received - 7 days, received + 2 minutes]; `t_us` is the receive time, `raw_us` its own."""
    TIME_CORRECTED = 32
    """The gateway's clock was wrong and ingest shifted the times. Set by ingest only."""
    WRAP16 = 64
    """COUNT_TOTAL: the totals wrap at 2**16 (else at 2**32)."""
    DAILY = 128
    """COUNT_TOTAL: the totals start again at local midnight."""
    HAS_KEY = 256
    """`key` is the vendor's own record number: the same (device, kind, aux, key, raw time) is the same observation."""


NO_FLAGS = Flag(0)
KNOWN_FLAGS = 0x01FF
GATEWAY_FLAGS = KNOWN_FLAGS & ~int(Flag.TIME_CORRECTED)

EVENT_DTYPE = np.dtype(
    [
        ("device", ">u2"),  # index into the frame's device table
        ("person", ">u2"),  # 0 anonymous, else 1 + index into the frame's person table
        ("kind", "u1"),
        ("aux", "u1"),
        ("flags", ">u2"),
        ("t_us", ">i8"),  # when it happened
        ("received_us", ">i8"),  # when the gateway received it
        ("raw_us", ">i8"),  # what the device's clock said; 0: it said nothing, or exactly t_us
        ("a", ">i8"),
        ("b", ">i8"),
        ("key", ">u8"),
    ]
)
"""One event on the wire: 56 bytes, big endian, unaligned."""

MAX_VALUE = 2**53 - 1
MIN_TIME_US = 0  # a gateway before NTP lives in 1970; ingest judges its clock
MAX_TIME_US = 4_102_444_800_000_000  # 2100-01-01
TOKEN_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One canonical event as a codec and the spool see it; `gateway.wire` packs many into a frame.

    `device` is "<family>/<identity>", e.g. "z2m/前门", "lora/24e124fffef0a1b2", "face/1026700", at most 120 bytes of UTF-8.
    `person` is the 16-byte token of someone who has consented, or None (anonymous). Times are microseconds since 1970.
    """

    device: str
    kind: Kind
    t_us: int
    received_us: int
    aux: int = 0
    flags: Flag = NO_FLAGS
    raw_us: int = 0
    a: int = 0
    b: int = 0
    key: int = 0
    person: bytes | None = None
