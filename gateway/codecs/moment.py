"""When something happened: the device's own time where it is plausible, else the gateway's.

One decision: whatever is wrong with a device's clock becomes a flag, never a lost event. A time that cannot be read is
kept as `UNREADABLE`, so that a record pushed twice is still recognised as the same by its key and raw time.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo

from gateway.clock import DAY_US, MINUTE_US
from gateway.events import MAX_VALUE, NO_FLAGS, Event, Flag, Kind

OLDEST_US = 7 * DAY_US
NEWEST_US = 2 * MINUTE_US
STALE_US = 10 * MINUTE_US
"""A record older than that was kept while the device could not send, where its protocol has no word for it."""
UNREADABLE = -1
"""Raw time of a device that should have said the time and did not, or not in words we understand."""
_OFFSET = re.compile(r"([+-])(\d{1,2}):(\d\d)$")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """The time columns of an event. `own`: `t_us` is the device's time, not the gateway's."""

    t_us: int
    received_us: int
    raw_us: int
    flags: Flag

    @property
    def own(self) -> bool:
        """Tell whether `t_us` is the device's own time."""
        return not self.flags & (Flag.TIME_RECEIVED | Flag.TIME_IMPLAUSIBLE)

    @property
    def stale(self) -> bool:
        """Tell whether the device's own time is so old that the record must have waited."""
        return self.own and self.received_us - self.t_us > STALE_US

    def event(
        self, device: str, kind: Kind, flags: Flag = NO_FLAGS, *, aux: int = 0, a: int = 0, b: int = 0, key: int = 0
    ) -> Event:
        """Make an event that happened then."""
        return Event(
            device=device,
            kind=kind,
            aux=aux,
            flags=self.flags | flags,
            t_us=self.t_us,
            received_us=self.received_us,
            raw_us=self.raw_us,
            a=a,
            b=b,
            key=key,
        )


def place(raw_us: int | None, received_us: int) -> Moment:
    """Choose between the device's time (None: it says none by design) and the gateway's."""
    if raw_us is None:
        return Moment(t_us=received_us, received_us=received_us, raw_us=0, flags=Flag.TIME_RECEIVED)
    if raw_us >= 0 and received_us - OLDEST_US <= raw_us <= received_us + NEWEST_US:
        return Moment(t_us=raw_us, received_us=received_us, raw_us=0, flags=NO_FLAGS)
    kept = raw_us if abs(raw_us) <= MAX_VALUE else UNREADABLE
    return Moment(t_us=received_us, received_us=received_us, raw_us=kept, flags=Flag.TIME_IMPLAUSIBLE)


def read_iso(text: object, zone: tzinfo) -> int:
    """Read an ISO 8601 time (any fraction, blank or T, offset or not) as microseconds; local times are of `zone`."""
    if not isinstance(text, str):
        return UNREADABLE
    try:
        when = datetime.fromisoformat(text.strip())
        if when.tzinfo is None:
            when = when.replace(tzinfo=zone)
        return (when - _EPOCH) // _US
    except (ValueError, OverflowError):
        return UNREADABLE


def read_wall(text: object, zone: tzinfo, received_us: int) -> int:
    """Read like `read_iso` what cameras say: offsets such as "-5:00", and a right clock with a wrong offset.

    An offset that puts the time into the future is a label nobody set, if the bare clock of `zone` would be plausible.
    """
    if not isinstance(text, str):
        return UNREADABLE
    text = text.strip()
    raw_us = read_iso(_OFFSET.sub(lambda m: f"{m[1]}{m[2]:0>2}:{m[3]}", text), zone)
    if raw_us > received_us + NEWEST_US:
        wall_us = read_iso(_OFFSET.sub("", text.removesuffix("Z")), zone)
        if received_us - OLDEST_US <= wall_us <= received_us + NEWEST_US:
            return wall_us
    return raw_us
