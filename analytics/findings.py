"""What detectors say. A finding is data; telling someone is the alert's and the outbox's affair."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Rule(StrEnum):
    """The rules, by the names that alerts, settings and reports use."""

    NOT_OPENED = "not_opened"
    CLOSED_EARLY = "closed_early"
    NO_ACTIVITY = "no_activity"
    OPENED_AFTER_HOURS = "opened_after_hours"
    LEFT_OPEN = "left_open"
    PEOPLE_AFTER_CLOSING = "people_after_closing"
    CROWDING = "crowding"
    UNUSUAL_FOOTFALL = "unusual_footfall"
    RESIDENT_ABSENT = "resident_absent"
    REFUSED_PERSON = "refused_person"
    STRANGER_SPIKE = "stranger_spike"
    DEVICE_OFFLINE = "device_offline"
    DEVICE_SILENT = "device_silent"
    STUCK = "stuck"
    FLAPPING = "flapping"
    COUNTER_BLIND = "counter_blind"
    COUNT_MISMATCH = "count_mismatch"
    BATTERY_LOW = "battery_low"
    TAMPER = "tamper"
    CLOCK_WRONG = "clock_wrong"
    MONITORING_GAP = "monitoring_gap"
    NOBODY_REACHED = "nobody_reached"
    """Raised by whoever tells people, not by a detector: every level was told of an alert and nobody took it over."""


class SubjectKind(StrEnum):
    """What a finding is about."""

    SITE = "site"
    PLACE = "place"
    DEVICE = "device"
    GATEWAY = "gateway"
    PERSON = "person"


class Phase(StrEnum):
    """Where a finding is in its life."""

    BEGIN = "begin"
    CONTINUE = "continue"
    """Something the reader sees has changed: severity, numbers, recurrence."""
    END = "end"
    """The cause is over: the alert clears by itself."""
    RETRACT = "retract"
    """Late evidence shows that it never was: whoever was told is told."""


class Severity(StrEnum):
    """How soon someone must act."""

    URGENT = "urgent"
    MAJOR = "major"
    MINOR = "minor"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One step in the life of (rule, subject, episode).

    episode: begin of the episode in microseconds, unique per (rule, subject) and equal in every batching. at_us: event
    time of this step; of a BEGIN its deadline, never the moment it was revealed. reason: numbers for the words,
    {"code": …}; times as microseconds under keys that end in `_us`. evidence: (pos, ordinal) of stored events.
    """

    shard: int
    rule: Rule
    subject_kind: SubjectKind
    subject: int
    site: int
    episode: int
    phase: Phase
    at_us: int
    severity: Severity
    reason: dict[str, Any]
    evidence: tuple[tuple[int, int], ...] = field(default=())
