"""Whether people are told of an alert now, later or not, and under which name.

One decision: whoever asks shows the whole case (the alert, how far people were told, what stands in the way, which levels are
manned) and gets one verdict with a named reason and the time at which it holds or is to be looked at again. Nothing depends
on what was asked before, so a crash between two questions loses nothing and says nothing twice.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from analytics.findings import Rule, Severity, SubjectKind
from analytics.lifecycle import ACTIVE, State, hold_us
from gateway.clock import MINUTE_US, SECOND_US


class Told(StrEnum):
    """Why people are told."""

    NEW = "new"
    RISEN = "risen"
    ESCALATED = "escalated"
    RE_NOTIFY = "re_notify"
    CLEARED = "cleared"
    EXPIRED = "expired"
    """Its day or window has passed and nobody had taken it over: that is no recovery."""
    RETRACTED = "retracted"


class Quiet(StrEnum):
    """Why people are not told."""

    SILENCED = "silenced"
    MAINTENANCE = "maintenance"
    CLOSED_DAY = "closed_day"
    INHIBITED = "inhibited"
    """What is blind cannot accuse: the site's own blindness is told instead."""
    DAMPED = "damped"
    """It came back within the hold time: those who were told know of it, and have not been told that it is over."""
    GROUPED = "grouped"
    """Another alert's message names it."""
    LATE_AND_OVER = "late_and_over"
    OVER = "over"
    """Over before anyone was told, or nobody was: nothing to take back."""
    HANDLED = "handled"
    """A person has resolved it."""
    NOBODY = "nobody"
    """Nobody is on duty."""
    UNREACHED = "unreached"
    """Every level was told and nobody has taken it over."""
    ALREADY_TOLD = "already_told"


ENDS = frozenset({Told.CLEARED, Told.EXPIRED, Told.RETRACTED})
"""Said once, to whoever was told, when an alert has ended."""
GROUP_WAIT_US = 20 * SECOND_US
"""What is not urgent waits so long for what belongs to it, and takes along what would come so much later."""
REMIND_US = 60 * MINUTE_US
"""Whoever took an alert over is reminded after so long without doing anything; each further time takes twice as long."""
MOST_DOUBLINGS = 5
LOOK_US = MINUTE_US
"""How often a reason for silence without a known end is looked at."""
LOOK_BLOCKED_US = 10 * MINUTE_US
"""How often one with an end: it may have been ended early."""
WAITS_US = {
    Severity.URGENT: (5 * MINUTE_US, 10 * MINUTE_US, 15 * MINUTE_US),
    Severity.MAJOR: (15 * MINUTE_US, 30 * MINUTE_US, 60 * MINUTE_US),
}
"""By severity: how long each level (site, town, city) has to take an alert over. Minor ones are told to the site alone."""
LEVELS = 3
GRAVITY = {Severity.MINOR: 0, Severity.MAJOR: 1, Severity.URGENT: 2}
EQUIPMENT = frozenset(
    {
        Rule.DEVICE_OFFLINE,
        Rule.DEVICE_SILENT,
        Rule.STUCK,
        Rule.FLAPPING,
        Rule.COUNTER_BLIND,
        Rule.COUNT_MISMATCH,
        Rule.BATTERY_LOW,
        Rule.CLOCK_WRONG,
        Rule.MONITORING_GAP,
    }
)
"""Rules about whether we can see, not about what is seen. Tampering is not among them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """Something that stands in the way. until_us: known end, None for none. detail: what `why` shows of it."""

    reason: Quiet
    until_us: int | None = None
    detail: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """An alert and how far people have been told of it.

    recurs: it is the same trouble as an earlier alert, or stands for several episodes. recurred_by: the alert that goes on
    with this one. active_us: when it was last seen to begin. severity_told: the gravest that was told, None for nothing.
    level: the highest told. inherited: told as the alert that it recurs. ended_us: event time of its end.
    """

    rule: str
    state: State
    severity: str
    late: bool = False
    calm: bool = False
    unreached: bool = False
    recurred_by: int | None = None
    detected_us: int
    active_us: int
    ended_us: int | None = None
    severity_told: str | None = None
    level: int = -1
    told_us: int | None = None
    acted_us: int | None = None
    reminders: int = 0
    inherited: bool = False
    over: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is to happen. due_us: a Told holds from then on; a Quiet is to be looked at again then, None: never."""

    reason: Told | Quiet
    due_us: int | None = None
    level: int = 0
    detail: dict[str, Any] = field(default_factory=dict)


def needs_notice(case: Case, block: Block | None, manned: Sequence[bool], rostered: bool, now_us: int) -> Verdict:
    """Return whether and why people are told. manned: by level, whether someone is on duty; rostered: someone ever is."""
    if case.over:
        return Verdict(reason=Quiet.ALREADY_TOLD)
    if case.state not in ACTIVE:
        return _ended(case, now_us)
    if case.calm:
        return Verdict(reason=Quiet.DAMPED if case.inherited else Quiet.ALREADY_TOLD)
    verdict = _active(case, manned, rostered, now_us)
    speaks = verdict.reason in (Told.NEW, Quiet.UNREACHED) or (isinstance(verdict.reason, Told) and verdict.due_us == now_us)
    if block is None or not speaks:
        return verdict
    look = now_us + LOOK_US if block.until_us is None else min(block.until_us, now_us + LOOK_BLOCKED_US)
    return Verdict(reason=block.reason, due_us=look, detail=block.detail)


def cause(rule: str) -> str:
    """Return what the alerts of one site are told together by: all about equipment are one trouble (a power cut, a link)."""
    return "equipment" if rule in EQUIPMENT else rule


def inhibited(rule: str, subject_kind: str, severity: str, gap: int | None) -> Block | None:
    """Return the block that a site's monitoring gap (an active alert's number) is for its minor device alerts."""
    device = subject_kind == SubjectKind.DEVICE and rule in EQUIPMENT
    if gap is None or not device or severity != Severity.MINOR:
        return None
    return Block(reason=Quiet.INHIBITED, detail={"alert": gap})


def closed_day(rule: str, opens_us: int | None) -> Block | None:
    """Return the block that a closed day is for alerts about equipment; who is there on such a day is told all the same.

    opens_us: when the site opens next.
    """
    return Block(reason=Quiet.CLOSED_DAY, until_us=opens_us) if rule in EQUIPMENT else None


def _active(case: Case, manned: Sequence[bool], rostered: bool, now_us: int) -> Verdict:
    if case.severity_told is not None and _gravity(case.severity) > _gravity(case.severity_told):
        return Verdict(reason=Told.RISEN, due_us=now_us, level=max(case.level, 0))
    if case.state is State.ACKNOWLEDGED:
        return _reminder(case, now_us)
    if case.severity_told is None:
        return _first(case, manned, rostered, now_us)
    return _next(case, manned, now_us)


def _ended(case: Case, now_us: int) -> Verdict:
    if case.severity_told is None:
        return Verdict(reason=Quiet.LATE_AND_OVER if case.late else Quiet.OVER)
    if case.state is State.RESOLVED:
        return Verdict(reason=Quiet.HANDLED)
    if case.state is State.RETRACTED and not case.inherited:
        return Verdict(reason=Told.RETRACTED, due_us=now_us)
    if case.recurred_by is not None:
        return Verdict(reason=Quiet.DAMPED, detail={"alert": case.recurred_by})
    if case.state is State.EXPIRED:
        return Verdict(reason=Told.EXPIRED, due_us=now_us)
    waited = (case.ended_us or now_us) + (hold_us(case.rule) if case.state is State.CLEARED else 0)
    return Verdict(reason=Told.CLEARED, due_us=max(waited, now_us))


def _reminder(case: Case, now_us: int) -> Verdict:
    base = max(case.acted_us or 0, case.told_us or 0, case.detected_us if case.acted_us is None else 0)
    due = base + (REMIND_US << min(case.reminders, MOST_DOUBLINGS))
    return Verdict(reason=Told.RE_NOTIFY, due_us=max(due, now_us), level=max(case.level, 0))


def _first(case: Case, manned: Sequence[bool], rostered: bool, now_us: int) -> Verdict:
    levels = range(LEVELS - 1, -1, -1) if case.rule == Rule.NOBODY_REACHED else range(LEVELS)
    level = next((n for n in levels if manned[n]), None)
    if level is None:
        if rostered and case.severity in WAITS_US and case.rule != Rule.NOBODY_REACHED and not case.unreached:
            return Verdict(reason=Quiet.UNREACHED, due_us=now_us)
        return Verdict(reason=Quiet.NOBODY, due_us=now_us + LOOK_US)
    wait = 0 if case.severity == Severity.URGENT else GROUP_WAIT_US
    return Verdict(reason=Told.NEW, due_us=max(case.detected_us + wait, now_us), level=level)


def _next(case: Case, manned: Sequence[bool], now_us: int) -> Verdict:
    """Escalate what nobody has taken over; what comes and goes has to stay for a level's whole time first."""
    quiet = Quiet.DAMPED if case.inherited else Quiet.ALREADY_TOLD
    waits = WAITS_US.get(Severity(case.severity))
    if waits is None or case.unreached or case.rule == Rule.NOBODY_REACHED:
        return Verdict(reason=quiet)
    due = max(case.told_us or 0, case.active_us) + waits[max(case.level, 0)]
    if due > now_us:
        return Verdict(reason=quiet, due_us=due)
    level = next((n for n in range(case.level + 1, LEVELS) if manned[n]), None)
    if level is None:
        return Verdict(reason=Quiet.UNREACHED, due_us=now_us)
    return Verdict(reason=Told.ESCALATED, due_us=now_us, level=level)


def _gravity(severity: str) -> int:
    return GRAVITY[Severity(severity)]
