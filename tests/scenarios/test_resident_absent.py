"""A regular visitor stays away: watch, visit, urgent; and everything that explains it."""

import copy
import functools
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from analytics.engine import Engine
from analytics.findings import Finding, Phase, Rule, Severity, SubjectKind
from analytics.reasons import render
from gateway.clock import HOUR_US
from ingest.columns import Batch
from ingest.inputs import PersonInput
from tests.scenarios.day import SHARD, SITE, TERMINAL, Day, inputs

ABSENT, WANG = Rule.RESIDENT_ABSENT, 501
MONDAY = "2026-03-02"
Habit = Callable[[int], bool]


def person(**changes: object) -> PersonInput:
    """A resident whom the terminal knows."""
    known = PersonInput(id=WANG, site=SITE, role="resident", consent_from_us=0, devices=[TERMINAL], absences=[])
    return msgspec.structs.replace(known, **changes)


def centre(*persons: PersonInput) -> Day:
    """A centre with a terminal that needs to be heard once a day; a Monday, five in the morning."""
    who = list(persons) or [person()]
    return Day(inputs({TERMINAL: 1}, alive_us={TERMINAL: 30 * HOUR_US}, persons=who), date=MONDAY)


def weeks(day: Day, first: int, last: int, comes: Habit) -> Day:
    """Let the days from `first` to `last` (0 is that Monday) pass: the terminal lives, the person comes at 9 as `comes` says."""
    for n in range(first, last + 1):
        goes(day, f"+{n} 08:30").alive(TERMINAL)
        if comes(n):
            goes(day, f"+{n} 09:00").passes(person=WANG)
        goes(day, f"+{n} 20:00")
    return day


def goes(day: Day, text: str) -> Day:
    """Go on to a time in one step: months are long."""
    day.now = day.time(text)
    return day.beat()


def daily(n: int) -> bool:
    """From Monday to Friday."""
    return n % 7 < 5


def never(n: int) -> bool:
    """Not at all."""
    return n < 0


@functools.cache
def history(comes: Habit, days: int) -> Day:
    """A centre whose only resident has come for so many days."""
    return weeks(centre(), 0, days - 1, comes)


def regular() -> Day:
    """A resident who came every working day of nearly four weeks, until Friday 27 March."""
    return copy.deepcopy(history(daily, 26))


def absent(day: Day) -> list[Finding]:
    """Take what was found of the rule."""
    mine = [f for f in day.found if f.rule is ABSENT]
    day.found.clear()
    return mine


def said(day: Day) -> list[tuple[str, str, str]]:
    """Take what was found of the rule: phase, severity, time."""
    return [(f.phase, f.severity, day.say(f.at_us)[:11]) for f in absent(day)]


def test_by_when_a_resident_is_awaited_is_known_before_anything_is_said() -> None:
    day, n, found = regular(), 27, list[Finding]()
    (status,) = day.engine.take_changed(SHARD)
    assert status.detail["awaited"] == []  # they came today
    weeks(day, 26, 26, never)
    dues = []
    while not found:
        (status,) = day.engine.take_changed(SHARD)
        (awaited,) = status.detail["awaited"]
        dues.append(awaited["due_us"])
        assert awaited["person"] == WANG
        weeks(day, n, n, never)
        n, found = n + 1, absent(day)
    assert len(dues) > 2
    assert {found[0].at_us} == set(dues)  # the weekend between was known to be closed


def test_a_daily_attender_is_watched_then_visited_then_urgent_and_it_ends_when_they_come() -> None:
    day = regular()
    assert said(day) == []
    weeks(day, 26, 37, never)
    found = absent(day)
    assert [(f.phase, f.severity) for f in found] == [
        (Phase.BEGIN, Severity.MINOR),
        (Phase.CONTINUE, Severity.MAJOR),
        (Phase.CONTINUE, Severity.URGENT),
    ]
    first, second, _ = found
    assert (first.subject_kind, first.subject, first.site) == (SubjectKind.PERSON, WANG, SITE)
    assert day.say(first.at_us) == "04-01 08:00:00"  # Monday and Tuesday missed, said on Wednesday morning
    assert {f.episode for f in found} == {day.time("+26 00:00")}
    assert second.reason["days"] >= 3
    words = render(ABSENT, first.reason, "zh", day.zone)
    assert words == "一位常来的老人 2 个开放日未到（平时约每 1.1 个开放日来一次，以往最长间隔 0 个开放日），请留意"
    assert str(WANG) not in words
    goes(goes(day, "+38 08:30").alive(TERMINAL), "+38 10:12").passes(person=WANG)
    goes(day, "+38 10:40")
    assert said(day) == [("end", "urgent", "04-09 10:12")]
    weeks(day, 39, 41, daily)
    assert said(day) == []


def test_neither_the_cut_of_batches_nor_a_checkpoint_changes_what_is_found() -> None:
    day = regular()
    weeks(day, 26, 31, never).passes(person=WANG)
    expected, engine, found = absent(goes(day, "+32 09:15")), Engine(), list[Finding]()
    for n in range(0, len(day.batches), 7):
        some = day.batches[n : n + 7]
        rows = np.concatenate([b.rows for b in some])
        inputs = next((b.inputs for b in some if b.inputs), None)
        coverage = [c for b in some for c in b.coverage]
        found += engine.apply(Batch(shard=SHARD, prev=n, pos=n + 1, rows=rows, coverage=coverage, inputs=inputs))
        state, engine = engine.dump(SHARD), Engine()
        engine.load(SHARD, state)
    assert [f.phase for f in expected] == [Phase.BEGIN, Phase.CONTINUE, Phase.END]
    assert [f for f in found if f.rule is ABSENT] == expected


@pytest.mark.parametrize("blind", ["device", "gateway"])
def test_days_on_which_the_terminal_was_not_seeing_do_not_count(blind: str) -> None:
    day = regular()
    if blind == "gateway":
        day.blind("face/", "+26 06:00")
    for n in range(26, 32):
        if blind == "device":  # nothing is heard of it, though its gateway is there
            goes(day, f"+{n} 20:00")
        else:
            weeks(day, n, n, never)
    assert said(day) == []


def test_a_closure_entered_afterwards_takes_it_back() -> None:
    day = regular()
    weeks(day, 26, 32, never)
    assert [s[:2] for s in said(day)] == [("begin", "minor"), ("continue", "major")]
    site = day.register.sites[0]
    shut = msgspec.structs.replace(site, closed=[(day.time("+26 00:00"), day.time("+33 00:00"))])
    day.registers(msgspec.structs.replace(day.register, version=2, sites=[shut]))
    (found,) = absent(day)
    assert (found.phase, found.reason["ended"]) == (Phase.RETRACT, "explained")


def test_an_announced_absence_is_not_missed_before_or_afterwards() -> None:
    day = regular()
    away = person(absences=[(day.time("+26 00:00"), day.time("+33 00:00"))])
    day.registers(msgspec.structs.replace(day.register, version=2, persons=[away]))
    weeks(day, 26, 33, never)
    assert said(day) == []
    weeks(day, 34, 37, never)  # not back when they said they would be
    assert [s[:2] for s in said(day)] == [("begin", "minor")]
    longer = person(absences=[(day.time("+26 00:00"), day.time("+42 00:00"))])
    day.registers(msgspec.structs.replace(day.register, version=3, persons=[longer]))
    assert [s[0] for s in said(day)] == ["retract"]


def test_late_evidence_takes_it_back_and_the_gap_begins_there() -> None:
    day = regular()
    weeks(day, 26, 31, never)
    begun = absent(day)
    assert begun[-1].severity is Severity.MAJOR
    day.passes(person=WANG, t="+29 09:00")
    (found,) = absent(day)
    assert (found.phase, found.episode, found.reason["ended"]) == (Phase.RETRACT, begun[0].episode, "seen_before")
    weeks(day, 32, 32, never)
    again = absent(day)
    assert again[0].phase is Phase.BEGIN
    assert day.say(again[0].episode) == "04-01 00:00:00"
    assert again[0].reason["days"] == 2  # Monday counts no more; Tuesday was the visit


def test_an_older_late_visit_changes_nothing() -> None:
    day = regular()
    weeks(day, 26, 30, never)
    absent(day)
    day.passes(person=WANG, t="+17 09:30")
    assert said(day) == []


def test_withdrawn_consent_ends_it_at_once_and_nothing_is_kept() -> None:
    day = regular()
    weeks(day, 26, 30, never)
    absent(day)
    day.registers(msgspec.structs.replace(day.register, version=2, persons=[]))
    (found,) = absent(day)
    assert (found.phase, found.reason["ended"]) == (Phase.END, "left")
    day.registers(msgspec.structs.replace(day.register, version=3, persons=[person()]))
    weeks(day, 31, 42, never)
    assert said(day) == []  # nobody that they ever came is remembered


@pytest.mark.parametrize("who", [person(devices=[TERMINAL, 999]), person(devices=[]), person(role="staff")])
def test_who_may_have_been_where_we_cannot_see_is_not_missed(who: PersonInput) -> None:
    day = weeks(weeks(centre(who), 0, 8, daily), 9, 14, never)
    assert said(day) == []


def test_a_few_visits_make_no_regular() -> None:
    day = weeks(centre(), 0, 3, daily)
    weeks(day, 4, 14, never)
    assert said(day) == []
