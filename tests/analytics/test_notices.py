"""Whether people are told, as a table of cases; no database, no clock."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.findings import Rule, Severity
from analytics.lifecycle import ACTIVE, HOLD_US, State, hold_us
from analytics.messages import happened
from analytics.notices import (
    ENDS,
    GROUP_WAIT_US,
    LOOK_BLOCKED_US,
    LOOK_US,
    REMIND_US,
    WAITS_US,
    Block,
    Case,
    Quiet,
    Told,
    Verdict,
    cause,
    closed_day,
    inhibited,
    needs_notice,
)
from analytics.recurrence import Draft, follow
from gateway.clock import HOUR_US, MINUTE_US
from tests.analytics.duty import T0, finding

NEW = Case(rule=Rule.NO_ACTIVITY, state=State.OPEN, severity="urgent", detected_us=T0, active_us=T0)
TOLD = replace(NEW, severity_told="urgent", level=0, told_us=T0)
TAKEN = replace(TOLD, state=State.ACKNOWLEDGED, acted_us=T0)
OVER = replace(TOLD, state=State.CLEARED, ended_us=T0)
ALL, NONE = (True, True, True), (False, False, False)
SITE, TOWN, CITY = WAITS_US[Severity.URGENT]


def ask(
    case: Case, at: int = T0, *, block: Block | None = None, manned: tuple[bool, ...] = ALL, rostered: bool = True
) -> Verdict:
    return needs_notice(case, block, manned, rostered, at)


@pytest.mark.parametrize(
    ("case", "at", "reason", "due", "level"),
    [
        (NEW, T0, Told.NEW, T0, 0),
        (replace(NEW, severity="major"), T0, Told.NEW, T0 + GROUP_WAIT_US, 0),
        (TOLD, T0, Quiet.ALREADY_TOLD, T0 + SITE, 0),
        (TOLD, T0 + SITE, Told.ESCALATED, T0 + SITE, 1),
        (replace(TOLD, level=1), T0 + TOWN, Told.ESCALATED, T0 + TOWN, 2),
        (replace(TOLD, level=2), T0 + CITY, Quiet.UNREACHED, T0 + CITY, 0),
        (replace(TOLD, level=2, unreached=True), T0 + CITY, Quiet.ALREADY_TOLD, None, 0),
        (replace(TOLD, active_us=T0 + SITE), T0 + SITE, Quiet.ALREADY_TOLD, T0 + 2 * SITE, 0),
        (replace(TOLD, severity_told="major"), T0, Told.RISEN, T0, 0),
        (replace(TOLD, severity="minor"), T0 + HOUR_US, Quiet.ALREADY_TOLD, None, 0),
        (replace(TAKEN, severity_told="major"), T0, Told.RISEN, T0, 0),
        (TAKEN, T0, Told.RE_NOTIFY, T0 + REMIND_US, 0),
        (replace(TAKEN, reminders=2), T0, Told.RE_NOTIFY, T0 + 4 * REMIND_US, 0),
        (OVER, T0, Told.CLEARED, T0 + HOLD_US, 0),
        (replace(OVER, state=State.EXPIRED), T0, Told.EXPIRED, T0, 0),
        (replace(OVER, state=State.RETRACTED), T0, Told.RETRACTED, T0, 0),
        (replace(OVER, state=State.RETRACTED, inherited=True), T0, Told.CLEARED, T0, 0),
        (replace(OVER, state=State.RESOLVED), T0, Quiet.HANDLED, None, 0),
        (replace(OVER, recurred_by=9), T0, Quiet.DAMPED, None, 0),
        (replace(OVER, severity_told=None), T0, Quiet.OVER, None, 0),
        (replace(OVER, severity_told=None, late=True), T0, Quiet.LATE_AND_OVER, None, 0),
        (replace(OVER, over=True), T0, Quiet.ALREADY_TOLD, None, 0),
        (replace(TOLD, inherited=True), T0, Quiet.DAMPED, T0 + SITE, 0),
        (replace(TOLD, calm=True), T0 + SITE, Quiet.ALREADY_TOLD, None, 0),
        (replace(NEW, rule=Rule.NOBODY_REACHED), T0, Told.NEW, T0, 2),
    ],
)
def test_each_case_has_one_named_verdict(case: Case, at: int, reason: Told | Quiet, due: int | None, level: int) -> None:
    verdict = ask(case, at)
    assert (verdict.reason, verdict.due_us, verdict.level) == (reason, due, level)


@pytest.mark.parametrize(
    ("manned", "rostered", "reason", "level"),
    [
        ((False, True, True), True, Told.NEW, 1),
        ((False, False, True), True, Told.NEW, 2),
        (NONE, True, Quiet.UNREACHED, 0),
        (NONE, False, Quiet.NOBODY, 0),
    ],
)
def test_the_first_level_with_someone_on_duty_is_told(
    manned: tuple[bool, ...], rostered: bool, reason: Told | Quiet, level: int
) -> None:
    verdict = ask(NEW, manned=manned, rostered=rostered)
    assert (verdict.reason, verdict.level) == (reason, level)


def test_a_block_holds_back_what_would_be_said_and_never_an_end() -> None:
    block = Block(reason=Quiet.SILENCED, until_us=T0 + HOUR_US, detail={"silence": 4})
    for case in (NEW, replace(TOLD, severity_told="minor")):
        verdict = ask(case, block=block)
        assert (verdict.reason, verdict.due_us, verdict.detail) == (Quiet.SILENCED, T0 + LOOK_BLOCKED_US, {"silence": 4})
    assert ask(TOLD, T0 + SITE, block=block).reason is Quiet.SILENCED
    assert ask(NEW, block=Block(reason=Quiet.INHIBITED)).due_us == T0 + LOOK_US
    assert ask(NEW, T0 + HOUR_US - 5, block=block).due_us == T0 + HOUR_US
    assert ask(replace(OVER, state=State.RETRACTED), block=block).reason is Told.RETRACTED


def test_what_is_about_equipment_is_told_together_and_can_wait_for_the_opening() -> None:
    assert cause(Rule.DEVICE_OFFLINE) == cause(Rule.MONITORING_GAP) != cause(Rule.LEFT_OPEN)
    assert closed_day(Rule.OPENED_AFTER_HOURS, T0) is None
    assert closed_day(Rule.TAMPER, T0) is None
    waits = closed_day(Rule.BATTERY_LOW, T0)
    assert waits is not None
    assert waits.until_us == T0


@pytest.mark.parametrize(
    ("rule", "kind", "severity", "held"),
    [
        (Rule.DEVICE_OFFLINE, "device", "minor", True),
        (Rule.DEVICE_OFFLINE, "device", "major", False),
        (Rule.TAMPER, "device", "minor", False),
        (Rule.LEFT_OPEN, "place", "minor", False),
    ],
)
def test_a_gap_inhibits_minor_device_alerts_alone(rule: Rule, kind: str, severity: str, held: bool) -> None:
    assert (inhibited(rule, kind, severity, 7) is not None) is held
    assert inhibited(rule, kind, severity, None) is None


cases = st.builds(
    Case,
    rule=st.sampled_from(list(Rule)),
    state=st.sampled_from(list(State)),
    severity=st.sampled_from(["urgent", "major", "minor"]),
    late=st.booleans(),
    calm=st.booleans(),
    unreached=st.booleans(),
    recurred_by=st.none() | st.just(3),
    detected_us=st.just(T0),
    active_us=st.integers(T0, T0 + HOUR_US),
    ended_us=st.none() | st.integers(T0, T0 + HOUR_US),
    severity_told=st.none() | st.sampled_from(["urgent", "major", "minor"]),
    level=st.integers(-1, 2),
    told_us=st.none() | st.integers(T0, T0 + HOUR_US),
    acted_us=st.none() | st.integers(T0, T0 + HOUR_US),
    reminders=st.integers(0, 20),
    inherited=st.booleans(),
    over=st.booleans(),
)


@given(
    case=cases,
    manned=st.tuples(st.booleans(), st.booleans(), st.booleans()),
    rostered=st.booleans(),
    after=st.integers(0, HOUR_US),
)
def test_nobody_is_woken_for_what_is_taken_over_or_over_and_every_time_lies_ahead(
    case: Case, manned: tuple[bool, ...], rostered: bool, after: int
) -> None:
    now = T0 + after
    verdict = needs_notice(case, None, manned, rostered, now)
    assert verdict.due_us is None or verdict.due_us >= now
    if isinstance(verdict.reason, Told):
        assert verdict.due_us is not None
    if case.state is not State.OPEN:
        assert verdict.reason not in (Told.NEW, Told.ESCALATED, Quiet.UNREACHED)
    if case.state not in ACTIVE or case.over:
        assert verdict.reason not in (Told.RISEN, Told.RE_NOTIFY)
    if verdict.reason in ENDS:
        assert case.severity_told is not None, "nobody was told that it began"
    if verdict.reason in (Told.NEW, Told.ESCALATED):
        assert manned[verdict.level]


@given(st.lists(st.integers(1, 60 * MINUTE_US), min_size=1, max_size=40))
def test_no_alert_that_has_ended_is_used_again_and_every_episode_is_counted(gaps: list[int]) -> None:
    known: list[Draft] = []
    at, ended = T0, set[int]()
    for gap in gaps:
        at += gap
        begin = finding(episode=at, at_us=at)
        follow(known, begin)
        follow(known, begin)
        assert not any(id(d) in ended and d.state in ACTIVE for d in known)
        at += 1
        over = finding(type(begin.phase).END, episode=begin.episode, at_us=at, reason={"ended": "activity"})
        follow(known, over)
        follow(known, over)
        ended |= {id(d) for d in known if d.state not in ACTIVE}
    assert sum(d.count for d in known) == len(gaps)
    hold = hold_us(Rule.NO_ACTIVITY)
    assert len(known) <= 2 + 2 * sum(gap > hold for gap in gaps)


def test_what_was_known_late_says_how_late() -> None:
    assert happened(T0, T0 + MINUTE_US, "zh") == ""
    assert happened(T0, T0 + 20 * MINUTE_US, "zh") == "20 分钟前发生，此时才得知"
    assert happened(T0, T0 + 3 * HOUR_US, "en") == "happened 3 h ago when it was detected"
