"""Settings of the rules: every number that decides whether someone is told, in one place, overridable per site.

One decision: a setting is a plain number of minutes with its default here; a site's register entry names only what differs,
{"left_open": {"after_min": 45}}.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, TypeVar

from analytics.findings import Rule
from gateway.clock import MINUTE_US


@dataclass(frozen=True, slots=True, kw_only=True)
class NotOpened:
    """Nobody came on an opening day."""

    grace_min: float = 30
    """Minutes after opening until someone is told. Longer where staff often come late and nobody needs to know."""
    before_min: float = 120
    """Minutes before opening from when on a sign of activity counts as opening. Longer where the kitchen starts early."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedAfterHours:
    """Someone is in while the site is closed."""

    before_min: float = 30
    """Minutes before opening in which arriving is normal. Longer where staff come early."""
    after_min: float = 30
    """Minutes after closing in which leaving is normal. Longer where cleaning follows."""
    hold_min: float = 15
    """Minutes without activity after which it is over; activity within them belongs to the same alert."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOpen:
    """A door is open though the site is closed."""

    after_min: float = 30
    """Minutes after closing until someone is told."""
    fresh_min: float = 10
    """Minutes before that deadline within which a message "open" counts as confirmed (close messages get lost)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoActivity:
    """Silence while open."""

    limit_min: float = 120
    """Minutes of proven silence until someone is told. Longer for points that few people visit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOffline:
    """A sensor no longer speaks."""

    silences: float = 2
    """Missed signs of life (multiples of the class's `alive_every`) until someone is told. More where radio is poor."""
    link_min: float = 5
    """Minutes after the device's own network reported it offline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringGap:
    """We cannot see."""

    after_min: float = 5
    """Minutes of blindness until someone is told. Shorter blindness neither counts nor holds rules back. Not per site."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The settings of one site."""

    not_opened: NotOpened
    opened_after_hours: OpenedAfterHours
    left_open: LeftOpen
    no_activity: NoActivity
    device_offline: DeviceOffline


GAP_US = int(MonitoringGap().after_min * MINUTE_US)
HELD_US = 72 * 60 * MINUTE_US
"""How long a rule that was held back waits for proof: as long as gateways keep what we have not stored."""
T = TypeVar("T")


def compile_rules(overrides: Mapping[str, Mapping[str, float]]) -> Rules:
    """Return the settings of a site; names that no rule knows are left out."""
    return Rules(
        not_opened=_with(NotOpened, overrides.get(Rule.NOT_OPENED, {})),
        opened_after_hours=_with(OpenedAfterHours, overrides.get(Rule.OPENED_AFTER_HOURS, {})),
        left_open=_with(LeftOpen, overrides.get(Rule.LEFT_OPEN, {})),
        no_activity=_with(NoActivity, overrides.get(Rule.NO_ACTIVITY, {})),
        device_offline=_with(DeviceOffline, overrides.get(Rule.DEVICE_OFFLINE, {})),
    )


def minutes(value: float) -> int:
    """Return a setting in microseconds."""
    return round(value * MINUTE_US)


def _with(kind: type[T], overrides: Mapping[str, float]) -> T:
    known: Any = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in overrides.items() if name in known})
