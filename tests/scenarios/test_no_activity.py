"""Silence while open."""

from functools import cache
from typing import Any

from analytics.findings import Phase, Rule
from analytics.reasons import render
from gateway.clock import MINUTE_US
from gateway.events import Kind
from ingest.inputs import Inputs
from tests.scenarios.day import COUNTER, DOOR, SHARD, TERMINAL, Day, inputs

NO_ACTIVITY = Rule.NO_ACTIVITY


def opened() -> Day:
    """Opened at 08:00; the last activity was at 09:10."""
    day = Day(inputs({DOOR: 1, COUNTER: 1}), since="07:50").at("08:00").opens().at("08:01").closes()
    return day.alive_until("09:10", DOOR, COUNTER).counts(1).expect_nothing()


def test_two_hours_of_proven_silence_are_found_at_their_end() -> None:
    day = opened().alive_until("11:05", DOOR, COUNTER).expect_nothing().at("11:11")
    found = day.expect(NO_ACTIVITY, at="11:10")
    assert found.episode == day.time("09:10")
    assert render(found.rule, found.reason, "zh", day.zone) == (
        "自 09:10 起 120 分钟无人活动（开放时间，2 个传感器均正常；默认时限：仅了解 1 天）"
    )
    day.alive_until("11:40", DOOR, COUNTER).counts(1)
    day.expect(NO_ACTIVITY, Phase.END, at="11:40")
    day.expect_nothing()


def test_activity_begins_the_wait_anew() -> None:
    day = opened().alive_until("11:00", DOOR, COUNTER).opens().closes().alive_until("12:50", DOOR, COUNTER).expect_nothing()
    day.alive_until("13:00", DOOR, COUNTER)
    day.expect(NO_ACTIVITY, at="13:00")


def test_it_ends_at_closing_and_is_not_raised_across_it() -> None:
    day = opened().alive_until("14:00", DOOR, COUNTER).counts(1).alive_until("15:30", DOOR, COUNTER)
    day.expect(NO_ACTIVITY, at="11:10")
    day.expect(NO_ACTIVITY, Phase.END, at="14:00")
    day.counts(1).alive_until("20:00", DOOR, COUNTER).expect_nothing()
    day = opened().alive_until("17:10", DOOR, COUNTER)
    day.expect(NO_ACTIVITY, at="11:10")
    day.expect(NO_ACTIVITY, Phase.END, at="17:00")


def test_a_sensor_that_is_not_there_holds_it_back() -> None:
    day = opened().alive_until("13:30", DOOR)
    assert [f.rule for f in day.found] == [Rule.DEVICE_OFFLINE]  # the counter, and no word about silence


def test_late_evidence_takes_it_back_and_the_wait_begins_there() -> None:
    day = opened().alive_until("11:20", DOOR, COUNTER)
    day.expect(NO_ACTIVITY, at="11:10")
    day.counts(1, t="09:30")
    day.expect(NO_ACTIVITY, Phase.RETRACT, at="09:30")
    day.expect_nothing().alive_until("11:40", DOOR, COUNTER)
    day.expect(NO_ACTIVITY, at="11:30")


def test_a_site_that_nobody_opened_is_not_also_called_silent() -> None:
    day = Day(inputs()).alive_until("12:00", DOOR)
    assert [f.rule for f in day.found] == [Rule.NOT_OPENED]


def test_a_site_that_never_closes_is_called_silent_once_per_silence() -> None:
    hours = {d: [("00:00", "24:00")] for d in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")}
    day = Day(inputs(hours=hours), since="05:00").alive_until("06:00", DOOR).opens().alive_until("+4 06:00", DOOR, every_min=50)
    day.expect(NO_ACTIVITY, at="08:00")
    day.expect_nothing()


# ---------------------------------------------------------------- learned

BOTH = {DOOR: 1, COUNTER: 1}
ALL_DAY = {d: [("00:00", "24:00")] for d in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")}
BUSY = [f"{h:02d}:{m:02d}" for h in (8, 9, 10, 11) for m in (4, 12, 19, 27, 34, 42, 49, 57)]
QUIET = ["13:10", "14:40", "15:30", "16:20"]
BEGIN = "2026-03-02"  # a Monday
WEEKS = {d: [("08:00", "17:00")] for d in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")}


@cache
def saved(always: bool, habits: tuple[str, ...], days: int) -> tuple[bytes, int]:
    """A checkpoint at midnight after some days of activity at these times, the sensors alive throughout."""
    day = Day(known(always), date=BEGIN, since="00:00")
    devices = [d.id for d in day.register.devices]
    for n in range(days):
        for quarter in range(96):
            day.now = day.time(f"+{n} 00:00") + (quarter + 1) * 15 * MINUTE_US
            acts = [t for t in habits if day.now - 15 * MINUTE_US < day.time(f"+{n} {t}") <= day.now]
            rows = [day.row(COUNTER, Kind.COUNT_TOTAL, t=f"+{n} {t}", d_in=1) for t in acts]
            day.happens(*rows, *(day.row(d, Kind.ALIVE) for d in devices))
    return day.engine.dump(SHARD), day.now


def known(always: bool = False, **site: Any) -> Inputs:
    """A site with a door and a counter that opens every day, or is always open."""
    return inputs(BOTH, capacity=None, hours=ALL_DAY if always else WEEKS, **site)


def lived(habits: list[str], *, always: bool = False) -> Day:
    """A site after eight such days, of which nothing that was found is left."""
    state, now = saved(always, tuple(habits), 8)
    day = Day(known(always), date=BEGIN, since="00:00")
    day.engine.load(SHARD, state)
    day.now = now
    day.found.clear()
    return day


LEARNED = ("days", "tried", "woke", "expected", "observed")


def learned(day: Day) -> Any:
    """What the engine has learned of silence."""
    return day.engine._shard(SHARD).memory.tables["silence"]


def next_deadline(day: Day) -> tuple[str, int | None]:
    """What the page shows."""
    (status,) = day.engine.take_changed(SHARD)
    return status.next_rule, status.next_deadline_us


def test_a_site_that_is_known_alarms_sooner_in_its_busy_hours_and_says_what_is_usual() -> None:
    day = lived(BUSY + QUIET)
    day.expect_nothing()
    day.alive_until("+8 08:04", DOOR, COUNTER, every_min=15).counts(1).alive_until("+8 09:10", DOOR, COUNTER).counts(1)
    rule, shown = next_deadline(day)
    day.alive_until("+8 12:00", DOOR, COUNTER)
    begin = day.found[0]
    assert (begin.rule, begin.phase, rule) == (NO_ACTIVITY, Phase.BEGIN, NO_ACTIVITY)
    assert day.time("+8 09:40") <= begin.at_us <= day.time("+8 11:00")
    assert shown is not None
    assert abs(shown - begin.at_us) <= 10 * MINUTE_US  # fixed when the silence is confirmed
    said = render(begin.rule, begin.reason, "zh", day.zone)
    assert said.startswith("自 09:10 起无人活动 ")
    assert "周二此时通常不超过 " in said
    assert "已了解 9 天" in said
    assert "on a Tuesday usually no more than" in render(begin.rule, begin.reason, "en", day.zone)
    busy = begin.at_us - day.time("+8 09:10")
    day.found.clear()
    day.alive_until("+8 13:10", DOOR, COUNTER).counts(1)
    day.found.clear()
    day.alive_until("+8 16:59", DOOR, COUNTER)
    quiet = [f.at_us - day.time("+8 13:10") for f in day.found if f.phase is Phase.BEGIN]
    assert not quiet or quiet[0] > 1.5 * busy


def test_the_deadline_shown_once_the_silence_is_confirmed_is_when_it_is_told() -> None:
    day = lived(BUSY)
    day.alive_until("+8 08:20", DOOR, COUNTER, every_min=15).counts(1).alive_until("+8 08:50", DOOR, COUNTER, every_min=5)
    _, shown = next_deadline(day)
    day.alive_until("+8 11:30", DOOR, COUNTER, every_min=5)
    assert day.found[0].at_us == shown


def test_no_learned_limit_passes_the_hard_cap() -> None:
    day = lived(["08:10", "16:50"])
    day.alive_until("+8 08:10", DOOR, COUNTER, every_min=5).counts(1).alive_until("+8 13:00", DOOR, COUNTER)
    day.expect(NO_ACTIVITY, at="+8 12:10")


def test_a_closure_and_blindness_teach_nothing() -> None:
    """Three days of closure, or without the gateway, that would have been three days of silence."""
    before, closed, blind = lived(BUSY + QUIET), lived(BUSY + QUIET), lived(BUSY + QUIET)
    closed.registers(known(version=2, closed=[(closed.now, closed.time("+11 00:00"))]))
    for _ in range(3 * 8):
        closed.now += 3 * 60 * MINUTE_US
        closed.alive(DOOR, COUNTER)
    blind.lost(1)
    blind.now = blind.time("+11 00:00")
    blind.restarts(1).back(1)
    for day in (closed, blind):
        assert [learned(day)[name].tolist() for name in LEARNED] == [learned(before)[name].tolist() for name in LEARNED]


def test_a_silence_that_was_told_is_learned_up_to_its_alarm_only() -> None:
    day = lived([f"{h:02d}:10" for h in range(24)], always=True)
    while not day.found:
        day.now += 15 * MINUTE_US
        day.alive(DOOR, COUNTER)
    tried = learned(day)["tried"].tolist()
    day.alive_until("+9 06:00", DOOR, COUNTER, every_min=30)
    assert [f.rule for f in day.found] == [NO_ACTIVITY]
    assert learned(day)["tried"].tolist() == tried


def test_where_people_live_an_absence_has_a_rhythm_of_its_own() -> None:
    """They leave at nine by the front door and are back at six; in the house, somebody moves each half hour."""
    register = inputs(
        BOTH | {TERMINAL: 1},
        capacity=None,
        hours=ALL_DAY,
        alive_us=dict.fromkeys((DOOR, COUNTER, TERMINAL), 60 * MINUTE_US),
    )
    day = Day(register, date=BEGIN, since="00:00")
    at_home = [f"{h:02d}:{m}" for h in (7, 8, 18, 19, 20, 21) for m in (10, 40)]
    for n in range(9):
        for quarter in range(96 if n < 8 else 36):
            begin, day.now = day.now, day.time(f"+{n} 00:00") + (quarter + 1) * 15 * MINUTE_US
            rows = [day.row(d, Kind.ALIVE) for d in (DOOR, COUNTER, TERMINAL)]
            rows += [
                day.row(COUNTER, Kind.COUNT_TOTAL, t=f"+{n} {t}", d_in=1)
                for t in at_home
                if begin < day.time(f"+{n} {t}") <= day.now
            ]
            rows += [
                day.row(DOOR, Kind.CONTACT, t=f"+{n} {t}", a=1)
                for t in ("09:00", "18:05")
                if begin < day.time(f"+{n} {t}") <= day.now
            ]
            day.happens(*sorted(rows, key=lambda r: int(r["t_us"])))
    day.found.clear()
    before = day.engine.dump(SHARD)
    day.alive_until("+8 16:00", DOOR, COUNTER, TERMINAL, every_min=30)
    day.expect_nothing()  # out, as every day
    day.alive_until("+9 09:00", DOOR, COUNTER, TERMINAL, every_min=30)
    assert "可能外出未归" in render(day.found[0].rule, day.found[0].reason, "zh", day.zone)
    out = day.found[0].at_us
    day.engine.load(SHARD, before)
    day.found.clear()
    day.now = day.time("+8 09:01")
    day.counts(1).alive_until("+9 09:00", DOOR, COUNTER, TERMINAL, every_min=30)  # somebody stayed
    assert day.found[0].reason["code"] == "silence"
    assert day.found[0].at_us < out
