"""Sensors that are there and yet cannot be trusted: neighbours decide."""

from collections.abc import Callable
from copy import deepcopy
from functools import cache
from typing import Any

import numpy as np
import pytest

from analytics.findings import Finding, Phase, Rule
from analytics.reasons import render
from gateway.clock import DAY_US, MINUTE_US
from gateway.events import NO_FLAGS, FaultCode, Flag, Kind
from ingest.columns import COLUMNS, BlindSpan
from ingest.inputs import Inputs
from tests.scenarios.day import COUNTER, DOOR, TERMINAL, Day, event, inputs

ALL = {DOOR: 1, COUNTER: 1, TERMINAL: 1}
Skips = Callable[[int], frozenset[int]]
"""Which devices see nobody on day n."""


def nobody(_: int) -> frozenset[int]:
    """All sensors work."""
    return frozenset()


def register(**changes: Any) -> Inputs:
    """All three behind one gateway, each heard at least every hour."""
    return inputs(ALL, alive_us=dict.fromkeys(ALL, 60 * MINUTE_US), **changes)


def site(**more: object) -> Day:
    """A site with a door, a counter and a terminal behind one gateway, since midnight of a Tuesday."""
    return Day(register(), since="00:00", **more)  # type: ignore[arg-type]


def days(day: Day, first: int, last: int, skips: Skips = nobody, *, out: float = 1.0, flags: Flag = NO_FLAGS) -> Day:
    """Opening hours of several days: every 20 minutes someone comes through the door, is counted and checks in."""
    rng = np.random.default_rng(first)
    for n in range(first, last):
        midnight = day.time("00:00") + n * DAY_US
        rows = []
        for minute in range(0, 24 * 60, 20):
            t = midnight + minute * MINUTE_US
            rows += [event(t, d, Kind.ALIVE) for d in ALL]
            if 8 * 60 <= minute < 17 * 60 and (n + 1) % 7 not in (5, 6):
                seen = [d for d in ALL if d not in skips(n)]
                rows += [event(t + MINUTE_US, d, Kind.CONTACT, a=a) for d in seen if d == DOOR for a in (1, 0)]
                rows += [event(t + MINUTE_US, TERMINAL, Kind.PASSAGE, a=1, flags=flags)] * (TERMINAL in seen)
                if COUNTER in seen:
                    row = event(t + MINUTE_US, COUNTER, Kind.COUNT_TOTAL, d_in=3)
                    row["d_out"] = int(rng.random() < out) * 3
                    rows.append(row)
        day.now = midnight + DAY_US
        day.send(rows=np.array([r.item() for r in rows], COLUMNS), coverage=[day.cover(1)])
    return day


@cache
def _two_weeks() -> Day:
    return days(site(), 0, 14)


def known() -> Day:
    """The site after two weeks in which all sensors worked."""
    return deepcopy(_two_weeks())


def found(day: Day, rule: Rule, phase: Phase = Phase.BEGIN) -> list[Finding]:
    """The findings of one rule."""
    return [f for f in day.found if f.rule is rule and f.phase is phase]


def test_a_door_that_never_moves_while_others_are_busy_is_stuck() -> None:
    day = known()
    assert not found(day, Rule.STUCK)
    days(day, 14, 18, lambda _: frozenset({DOOR}))
    (stuck,) = found(day, Rule.STUCK)
    assert stuck.subject == DOOR
    assert 12 * 3_600_000_000 <= stuck.at_us - day.time("+14 08:00") <= 3 * DAY_US
    assert "起没有变化" in render(stuck.rule, stuck.reason, "zh", day.zone)
    days(day, 18, 21)
    assert found(day, Rule.STUCK, Phase.END)


def test_a_back_door_that_is_hardly_used_is_not_stuck() -> None:
    day = days(site(), 0, 20, lambda n: frozenset() if n % 7 == 0 else frozenset({DOOR}))
    assert not found(day, Rule.STUCK)


def test_a_terminal_without_passages_is_silent_and_late_evidence_takes_that_back() -> None:
    day = days(known(), 14, 18, lambda _: frozenset({TERMINAL}))
    (silent,) = found(day, Rule.DEVICE_SILENT)
    assert silent.subject == TERMINAL
    assert 2 * DAY_US < silent.at_us - day.time("+14 08:00") < 5 * DAY_US
    assert "在线，但" in render(silent.rule, silent.reason, "zh", day.zone)
    day.passes(t="+15 09:00")
    assert [f.episode for f in found(day, Rule.DEVICE_SILENT, Phase.RETRACT)] == [silent.episode]
    days(day, 18, 21)
    assert len(found(day, Rule.DEVICE_SILENT)) == 1


@pytest.mark.parametrize("who", [frozenset(ALL), frozenset()])
def test_when_everything_is_silent_or_nobody_could_see_no_sensor_is_blamed(who: frozenset[int]) -> None:
    day = known()
    if not who:
        span = BlindSpan(gateway=1, source="face/", from_us=day.time("+14 00:00"), to_us=None, reason="x")
        day.send(blind=[span])
        who = frozenset({TERMINAL})
    days(day, 14, 18, lambda _: who)
    assert not [f for f in day.found if f.rule in (Rule.STUCK, Rule.DEVICE_SILENT)]


def test_a_closure_is_no_evidence_against_a_sensor() -> None:
    day = known()
    day.registers(register(version=2, closed=[(day.time("+14 00:00"), day.time("+30 00:00"))]))
    days(day, 14, 18, lambda _: frozenset({TERMINAL}))
    assert not found(day, Rule.DEVICE_SILENT)


def test_ten_thousand_flips_are_one_episode_of_chatter() -> None:
    day = site()
    start = day.time("+1 02:00")
    flips = [event(start + n * 1_000_000, DOOR, Kind.CONTACT, a=n % 2) for n in range(10_000)]
    for n in range(0, 10_000, 1000):
        day.now = start + (n + 1000) * 1_000_000
        day.send(rows=np.array([r.item() for r in flips[n : n + 1000]], COLUMNS), coverage=[day.cover(1)])
    day.alive_until("+1 07:00", *ALL)
    (flapping,) = found(day, Rule.FLAPPING)
    assert flapping.at_us == day.time("+1 02:15")
    assert [f.at_us for f in found(day, Rule.FLAPPING, Phase.END)] == [day.time("+1 05:00")]
    assert "15 分钟内变化 900 次" in render(flapping.rule, flapping.reason, "zh", day.zone)


def test_a_busy_door_is_not_chatter() -> None:
    day = site()
    start = day.time("+1 11:00")
    rows = [event(start + n * 8_000_000, DOOR, Kind.CONTACT, a=n % 2) for n in range(100)]
    rows += [event(start + n * 16_000_000, COUNTER, Kind.COUNT_TOTAL, d_in=1) for n in range(50)]
    day.now = start + 60 * MINUTE_US
    day.send(rows=np.array([r.item() for r in rows], COLUMNS), coverage=[day.cover(1)])
    assert not found(day, Rule.FLAPPING)


def test_ins_without_outs_are_told_after_a_week() -> None:
    assert not found(known(), Rule.COUNT_MISMATCH)
    day = days(site(), 0, 10, out=0.4)
    (mismatch,) = found(day, Rule.COUNT_MISMATCH)
    assert mismatch.subject == COUNTER
    days(day, 10, 22)
    assert found(day, Rule.COUNT_MISMATCH, Phase.END)


def test_times_that_are_not_plausible_are_told_once_and_over_after_a_good_day() -> None:
    day = days(site(), 0, 3, flags=Flag.TIME_IMPLAUSIBLE)
    (wrong,) = found(day, Rule.CLOCK_WRONG)
    assert wrong.subject == TERMINAL
    assert wrong.at_us == day.time("08:45")
    days(day, 3, 4)
    assert len(found(day, Rule.CLOCK_WRONG, Phase.END)) == 1


def test_a_gateway_whose_clock_is_wrong_is_a_gap_and_somebody_has_to_set_it() -> None:
    day = Day(register()).at("06:00")
    span: dict[str, Any] = {"gateway": 1, "source": "", "from_us": day.time("06:00"), "reason": "clock wrong"}
    day.send(blind=[BlindSpan(to_us=None, **span)]).at("06:20")
    day.expect(Rule.MONITORING_GAP, at="06:00")
    wrong = day.expect(Rule.CLOCK_WRONG, at="06:00")
    assert render(wrong.rule, wrong.reason, "zh", day.zone).startswith("网关 gw-1 的时钟自 06:00 起不准")
    day.send(blind=[BlindSpan(to_us=day.time("06:30"), **span)]).at("06:40")
    assert {f.rule: f.phase for f in day.found} == {Rule.MONITORING_GAP: Phase.END, Rule.CLOCK_WRONG: Phase.END}


def test_a_low_battery_is_told_once_until_it_is_replaced() -> None:
    day = Day(register()).at("06:00")
    for level in (60, 20, 19, 25, 18):
        day.happens(day.row(DOOR, Kind.BATTERY, a=level))
    day.expect(Rule.BATTERY_LOW, at="06:00")
    day.expect_nothing().happens(day.row(DOOR, Kind.BATTERY, a=100))
    day.expect(Rule.BATTERY_LOW, Phase.END, at="06:00")


def test_a_loose_cover_is_one_alert_that_ends_when_it_stays_in_place() -> None:
    day = Day(register()).at("06:00")
    for minute, opened in ((0, 1), (1, 0), (2, 1), (3, 0)):
        day.at(f"06:{minute:02}").happens(day.row(DOOR, Kind.TAMPER, a=opened))
    day.expect(Rule.TAMPER, at="06:00")
    day.expect_nothing().at("06:12").expect_nothing().at("06:14")
    day.expect(Rule.TAMPER, Phase.END, at="06:03")


def test_what_a_device_says_of_itself_is_told_under_the_rule_it_belongs_to() -> None:
    day = Day(register()).at("06:00")
    for aux, rule in (
        (FaultCode.OCCLUDED, Rule.COUNTER_BLIND),
        (FaultCode.MOVED, Rule.TAMPER),
        (FaultCode.HARDWARE, Rule.STUCK),
        (FaultCode.BATTERY_LOW, Rule.BATTERY_LOW),
    ):
        row = day.row(COUNTER, Kind.FAULT, a=1)
        row["aux"] = aux
        finding = day.happens(row).expect(rule, at="06:00")
        assert "传感器12" in render(finding.rule, finding.reason, "zh", day.zone)
    late = day.row(DOOR, Kind.TAMPER, a=1, flags=Flag.LATE)
    day.happens(late).at("06:10").expect_nothing()
