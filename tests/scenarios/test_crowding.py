"""More people inside than the site may hold."""

from typing import Any

import pytest
from msgspec.structs import replace

from analytics.engine import Engine
from analytics.findings import Phase, Rule
from analytics.reasons import render
from analytics.state import NEVER
from analytics.watch import Watch
from gateway.clock import SECOND_US
from gateway.events import Flag, Kind
from ingest.inputs import Inputs
from tests.scenarios.day import ALIVE_US, COUNTER, DOOR, PATIENT, SHARD, TERMINAL, Day, inputs

CROWDING = Rule.CROWDING
BOTH = {DOOR: 1, COUNTER: 1}


def centre(gateways: dict[int, int] = BOTH, **more: Any) -> Inputs:
    """A centre for ten people, whose sensors may be silent for as long as they like."""
    settings: dict[str, Any] = {"capacity": 10, "alive_us": PATIENT}
    return inputs(gateways, **(settings | more))


def hall(gateways: dict[int, int] = BOTH, **more: Any) -> Day:
    """That centre, a minute after it has opened."""
    day = Day(centre(gateways, **more), since="05:00").alive(*gateways)
    return day.alive_until("07:55", *gateways, every_min=25).at("08:00").opens().at("08:01").closes()


def test_it_is_told_at_the_person_who_is_too_many_and_over_when_enough_have_left() -> None:
    day = hall().at("09:00").counts(9).at("09:05").counts(1).expect_nothing().at("09:06").counts(1)
    found = day.expect(CROWDING, at="09:06")
    assert (found.reason["people"], found.evidence) == (11, ((day.pos, 0),))
    assert render(found.rule, found.reason, "zh", day.zone) == "09:06，室内约 11 人，超过核定的 10 人"
    assert render(found.rule, found.reason, "en", day.zone) == "About 11 people inside at 09:06; 10 are allowed"
    day.at("09:07").counts(1)
    assert day.expect(CROWDING, Phase.CONTINUE, at="09:07").reason["people"] == 12
    day.at("09:08").leaves(2).at("09:09").counts(1).expect_nothing()  # down to ten, and up again: not over, not anew
    day.at("09:10").leaves(2)
    day.expect(CROWDING, Phase.END, at="09:10")
    day.expect_nothing()


def test_people_seen_at_once_are_inside_though_nobody_counted_them() -> None:
    day = hall().at("09:00").counts(3).sees(11)
    day.expect(CROWDING, at="09:00")
    day.at("09:01").leaves(2)
    day.expect(CROWDING, Phase.END, at="09:01")


def test_more_cannot_leave_than_came() -> None:
    day = hall().at("09:00").leaves(30).counts(10).expect_nothing().counts(1)
    day.expect(CROWDING, at="09:00")


def test_where_entrances_are_counted_rooms_are_not_counted_again() -> None:
    day = hall({**BOTH, TERMINAL: 1}, rooms={COUNTER: "canteen"}).at("09:00").counts(11)
    day.expect(CROWDING, at="09:00")  # nothing else counts
    register = centre(rooms={COUNTER: "canteen"})
    devices = [replace(d, family="counter") for d in register.devices]
    day = Day(replace(register, devices=devices), since="08:00")
    day.at("09:00").counts(11).expect_nothing()
    day.happens(day.row(DOOR, Kind.COUNT_TOTAL, d_in=11))
    day.expect(CROWDING, at="09:00")


def test_replayed_counts_and_a_visit_raise_nothing() -> None:
    hall().at("09:00").counts(11, flags=Flag.LATE).expect_nothing()
    day = Day(centre(), since="08:00")
    modes = [(day.time("08:30"), day.time("10:00"), "visit")]
    day.registers(centre(version=2, modes=modes)).at("09:00").counts(11).at("09:30").expect_nothing()
    day.at("10:00").sees(11)  # still too many when the visit is over
    day.expect(CROWDING, at="10:00")
    day.registers(centre(version=3, modes=[(day.time("08:30"), day.time("11:00"), "visit")]))
    assert day.expect(CROWDING, Phase.RETRACT, at="10:00").reason["ended"] == "visit"


def test_in_a_drill_it_is_told_as_a_drill() -> None:
    day = Day(centre(), since="08:00")
    day.registers(centre(version=2, modes=[(day.time("08:30"), day.time("09:30"), "drill")]))
    day.at("09:00").counts(11)
    found = day.expect(CROWDING, at="09:00")
    assert render(found.rule, found.reason, "zh", day.zone).startswith("【演练】09:00，室内约 11 人")
    day.at("09:40").leaves(5)
    assert day.expect(CROWDING, Phase.END, at="09:40").reason["mode"] == "drill"


def test_a_gap_in_counting_is_said() -> None:
    day = hall().at("08:20").expect_nothing().blind("lora/", "08:20", "09:00")
    day.found.clear()
    day.at("09:40").counts(11)
    assert day.expect(CROWDING, at="09:40").reason["code"] == "crowding_unsure"


def test_a_backlog_that_comes_late_neither_raises_it_nor_counts() -> None:
    day = hall().at("10:00").counts(11, t="09:00").counts(5).expect_nothing().counts(6)
    assert day.expect(CROWDING, at="10:00").reason["code"] == "crowding_unsure"


def test_what_waited_for_another_gateway_is_not_late_when_the_register_no_longer_asks_for_that_one() -> None:
    day = hall({DOOR: 2, COUNTER: 1})
    day.silent.add(2)
    day.at("09:00").counts(11).expect_nothing()  # gateway 2 may still have seen something before
    day.at("09:05").registers(centre({COUNTER: 1}, version=2))
    assert day.expect(CROWDING, at="09:00").reason["code"] == "crowding"


def test_a_site_far_from_its_capacity_is_counted_as_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    day = hall().at("09:00")
    day.at("09:01")
    monkeypatch.setattr(Watch, "sweep", lambda *_: pytest.fail("a site with room was gone through event by event"))
    for _ in range(4):
        day.now += SECOND_US
        day.happens(day.row(COUNTER, Kind.COUNT_TOTAL, d_in=2))
    monkeypatch.undo()
    day.now += SECOND_US
    day.counts(3)
    assert day.expect(CROWDING, at="09:01:05").reason["people"] == 11
    assert day.engine.take_changed(SHARD)[0].detail["inside"] == 11


def test_a_night_proven_quiet_counts_anew_and_learns_the_drift_of_the_counters() -> None:
    day = hall()
    day.at("09:00").counts(5).alive_until("16:50", DOOR, COUNTER, every_min=60).leaves(1).at("16:55").opens().at("16:56").closes()
    day.alive_until("+1 05:00", DOOR, COUNTER, every_min=60)
    state = saved(day.engine)
    assert state["inside"] == 0
    assert state["ratio"] == 1000 * (5000 + 200_000) // (1000 + 200_000)
    assert state["unsure"] == NEVER


def test_a_night_that_nobody_saw_counts_anew_but_learns_nothing_and_is_unsure() -> None:
    day = (
        hall(alive_us=ALIVE_US, rules={"device_offline": {"silences": 50}})
        .at("09:00")
        .counts(5)
        .alive_until("17:30", DOOR, COUNTER)
    )
    day.alive_until("+1 05:00", DOOR, every_min=29)
    state = saved(day.engine)
    assert (state["inside"], state["ratio"], state["unsure"]) == (0, 1000, day.time("+1 04:15"))


def saved(engine: Engine) -> dict[str, int]:
    """What the engine knows of who is inside."""
    table = engine._shard(SHARD).memory.tables["occupancy"]
    return dict(zip(table.dtype.names or (), table[0].item(), strict=True))
