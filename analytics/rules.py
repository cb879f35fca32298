"""Settings of the rules: every number that decides whether someone is told, in one place, overridable per site.

One decision: a setting is a plain number of minutes with its default here; a site's register entry names only what differs,
{"left_open": {"after_min": 45}}.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, get_type_hints

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
    """Silence while open, for longer than usual at this time of the week."""

    limit_min: float = 120
    """Minutes of proven silence until someone is told, while less than `days` days are known of the site. Longer for points
    that few people visit."""
    days: float = 7
    """Days of history from which on the site's own rhythm decides. More to keep to `limit_min`."""
    per_month: float = 0.5
    """False alarms per site and month that the learned limit is set for. Less where nobody is near to look."""
    least_min: float = 30
    """Minutes below which no learned limit falls; at least 30."""
    most_min: float = 240
    """Minutes above which no learned limit rises (hard cap) at a site that closes every day."""
    most_always_min: float = 1440
    """The same where people live: a day and a night."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedEarly:
    """Everybody has left well before closing, though that is not the site's habit."""

    early_min: float = 60
    """Minutes of proven silence before closing that count as closed. Longer where afternoons are quiet."""
    per_month: float = 0.5
    """False alarms per site and month that the least unusual silence is set for, by what past days were like."""
    days: float = 10
    """Opening days of its kind (Monday to Friday, weekends, public holidays) that must be known before a site is judged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleAfterClosing:
    """More people were counted in than out, and since the last exit a second sensor says that someone is there."""

    after_min: float = 45
    """Minutes after closing until someone is told."""
    people: float = 1
    """People, after correction of the counters' drift, from which on it is worth telling."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowding:
    """More people inside than the site may hold."""

    share: float = 1.0
    """Share of the site's capacity that may not be exceeded."""
    clear_share: float = 0.9
    """Share of the capacity below which it is over (hysteresis)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusualFootfall:
    """Counts that the learned profile makes improbable, of a place or of a site with several entrances."""

    per_month: float = 1.0
    """False alarms per place (and site) and month that the thresholds are set for, if days are as the profile says."""
    days: float = 14
    """Days of history below which only more people than its kind of site ever has are told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidentAbsent:
    """A regular visitor stays away for longer than their own rhythm allows."""

    visits: float = 5
    """Days with a visit below which nobody is called regular."""
    days: float = 3
    """Opening days missed below which nobody is sent; one less to watch, two more to be urgent."""
    per_year: float = 1.0
    """How often a year chance may send someone to a person: a rarer gap is a visit task. Less where staff are few."""
    watch_times: float = 2
    """The same to watch, as a multiple."""
    urgent_times: float = 0.1
    """The same to be urgent."""
    seeing: float = 0.9
    """Share of a day's open quarters of an hour in which a terminal must have been seeing for the day to count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedPerson:
    """Someone on the block list was recognised."""

    hold_min: float = 30
    """Minutes without another sighting after which it is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StrangerSpike:
    """Unusually many people whom the terminals do not know."""

    least: float = 8
    """Strangers within an hour below which nobody is told."""
    times: float = 3
    """Multiple of the usual number from which on it is unusual."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceOffline:
    """A sensor no longer speaks."""

    silences: float = 2
    """Missed signs of life (multiples of the class's `alive_every`) until someone is told. More where radio is poor."""
    link_min: float = 5
    """Minutes after the device's own network reported it offline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSilent:
    """A sensor that is there gives no data, although its neighbours at the site do."""

    days: float = 3
    """Days without data, while neighbours were busy, until someone is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """A sensor says the same all the time, although others move."""

    hours: float = 12
    """Busy hours (with activity at the site's other sensors) in one state until someone is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flapping:
    """A contact chatters."""

    edges: float = 80
    """Edges within a quarter of an hour from which on it is chatter, unless others saw a quarter as many people."""
    calm_min: float = 60
    """Minutes without chatter after which it is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterBlind:
    """A counter counts nobody, although doors and terminals are busy."""

    active: float = 6
    """Quarters of an hour with activity at other sensors and none at the counter until someone is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CountMismatch:
    """A counter's ins and outs of whole days do not match."""

    share: float = 0.25
    """Difference as a share of all that were counted, over the window, that is told."""
    days: float = 7
    """Days over which ins and outs are compared."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatteryLow:
    """A battery will soon be empty."""

    percent: float = 20
    """Percent at which someone is told; over again 10 points above."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tamper:
    """A device was opened or taken off its mount."""

    hold_min: float = 10
    """Minutes for which it must be in place again until that is believed (a loose cover chatters)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockWrong:
    """A device's clock is not plausible, so its times are those of arrival."""

    messages: float = 3
    """Messages with an implausible time within a day until someone is told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MonitoringGap:
    """We cannot see."""

    after_min: float = 5
    """Minutes of blindness until someone is told. Shorter blindness neither counts nor holds rules back. Not per site."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The settings of one site, one field per rule, by its name."""

    not_opened: NotOpened
    closed_early: ClosedEarly
    no_activity: NoActivity
    opened_after_hours: OpenedAfterHours
    left_open: LeftOpen
    people_after_closing: PeopleAfterClosing
    crowding: Crowding
    unusual_footfall: UnusualFootfall
    resident_absent: ResidentAbsent
    refused_person: RefusedPerson
    stranger_spike: StrangerSpike
    device_offline: DeviceOffline
    device_silent: DeviceSilent
    stuck: Stuck
    flapping: Flapping
    counter_blind: CounterBlind
    count_mismatch: CountMismatch
    battery_low: BatteryLow
    tamper: Tamper
    clock_wrong: ClockWrong


GAP_US = int(MonitoringGap().after_min * MINUTE_US)
HELD_US = 72 * 60 * MINUTE_US
"""How long a rule that was held back waits for proof: as long as gateways keep what we have not stored."""


KINDS = get_type_hints(Rules)
DEFAULT = Rules(**{rule: kind() for rule, kind in KINDS.items()})


def compile_rules(overrides: Mapping[str, Mapping[str, float]]) -> Rules:
    """Return the settings of a site; names that no rule knows are left out."""
    return replace(DEFAULT, **{rule: _with(KINDS[rule], settings) for rule, settings in overrides.items() if rule in KINDS})


def minutes(value: float) -> int:
    """Return a setting in microseconds."""
    return round(value * MINUTE_US)


def _with(kind: Any, overrides: Mapping[str, float]) -> Any:
    known = {f.name for f in fields(kind)}
    return kind(**{name: value for name, value in overrides.items() if name in known})
