"""Data periods: the hours and local days that platforms are told of, and what is said of a site in one of them.

One decision: a period's figures are a plain value without version or time of making. Whether a receiver must be told again
follows from comparing digests of them, so that a correction is sent exactly when a number has changed.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from gateway.clock import HOUR_US, MINUTE_US, SECOND_US

WHATS = ("counts", "opening", "service", "devices")
DAILY = ("opening", "service")
"""What is said of days only."""
GRACE_US = 5 * MINUTE_US
"""A period is made this long after its end; what comes later is a correction."""
WHOLE_US = MINUTE_US
"""Sensors that missed no more than this saw all of a period: restarts are no gaps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """[from_us, to_us): a UTC hour, or a local day of 23 to 25 hours."""

    from_us: int
    to_us: int


def of(period: str, zone: str, t_us: int) -> Period:
    """Return the period ("hour", "day") that a time lies in."""
    if period == "hour":
        begin = t_us - t_us % HOUR_US
        return Period(from_us=begin, to_us=begin + HOUR_US)
    day = datetime.fromtimestamp(t_us // SECOND_US, ZoneInfo(zone)).replace(hour=0, minute=0, second=0, fold=0)
    return Period(from_us=_us(day), to_us=_us(day + timedelta(days=1)))


def ended(period: str, zone: str, after_us: int, through_us: int) -> Iterator[Period]:
    """Yield the periods that end in (after_us, through_us], oldest first."""
    one = of(period, zone, after_us)
    while one.to_us <= through_us:
        if one.to_us > after_us:
            yield one
        one = of(period, zone, one.to_us)


def within(period: str, zone: str, from_us: int, to_us: int) -> Iterator[Period]:
    """Yield the periods that lie in [from_us, to_us), oldest first."""
    return (one for one in ended(period, zone, from_us, to_us) if one.from_us >= from_us)


def digest(figures: dict[str, Any]) -> bytes:
    """Return what tells figures apart: 32 bytes, the same for the same figures."""
    return hashlib.sha256(msgspec.json.encode(figures)).digest()


def body(what: str, period: str, zone: str, span: Period, version: int, figures: dict[str, Any], now_us: int) -> bytes:
    """Serialise what an endpoint is told of a site's period, once: the bytes are stored, signed and sent as they are."""
    data = {
        "what": what,
        "period": period,
        "version": version,
        "date": f"{datetime.fromtimestamp(span.from_us // SECOND_US, ZoneInfo(zone)):%Y-%m-%d}",
        "begin": iso(span.from_us),
        "end": iso(span.to_us),
    }
    return msgspec.json.encode({"type": f"data.{what}", "timestamp": iso(now_us), "data": data | figures})


def iso(t_us: int | None) -> str | None:
    """Return a time as ISO 8601 in UTC."""
    if t_us is None:
        return None
    return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=t_us)).isoformat().replace("+00:00", "Z")


def _us(local: datetime) -> int:
    return int(local.timestamp()) * SECOND_US
