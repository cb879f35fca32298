"""What the page is told of a site."""

from analytics.findings import Rule
from analytics.status import SiteStatus
from gateway.events import Flag
from tests.scenarios.day import COUNTER, DOOR, PLACE_OF, SHARD, SITE, TERMINAL, Day, inputs

ALL = {DOOR: 1, COUNTER: 1, TERMINAL: 1}


def shown(day: Day) -> SiteStatus:
    """The newest status of the scenario's site."""
    (status,) = day.engine.take_changed(SHARD)
    return status


def test_the_nearest_deadline_of_each_time_of_day_is_shown() -> None:
    day = Day(inputs(ALL), since="05:00").at("06:00")
    status = shown(day)
    assert (status.base, status.next_rule, status.next_deadline_us) == ("closed", Rule.NOT_OPENED, day.time("08:30"))
    day.at("07:50").opens().at("08:05")
    status = shown(day)
    assert (status.base, status.next_rule, status.next_deadline_us) == ("ok", Rule.NO_ACTIVITY, day.time("10:00"))
    day.at("15:30").counts(1).at("15:31")
    status = shown(day)
    assert (status.next_rule, status.next_deadline_us) == (Rule.LEFT_OPEN, day.time("17:30"))


def test_all_deadlines_are_listed_that_of_the_first_silent_device_too() -> None:
    day = Day(inputs(ALL), since="05:00").at("07:50").opens().at("08:05")
    listed = [(d["rule"], day.say(d["due_us"])[-8:]) for d in shown(day).detail["deadlines"]]
    assert listed[:3] == [("device_offline", "09:50:00"), ("no_activity", "10:00:00"), ("left_open", "17:30:00")]


def test_places_say_open_closed_online_offline_and_unknown() -> None:
    day = Day(inputs(ALL), since="09:00").at("09:01").opens().counts(2).at("09:02")
    states = {p["id"]: p["state"] for p in shown(day).detail["places"]}
    assert states == {PLACE_OF[DOOR]: "open", PLACE_OF[COUNTER]: "online", PLACE_OF[TERMINAL]: "unknown"}
    day.closes().at("11:30")
    places = {p["id"]: p for p in shown(day).detail["places"]}
    assert places[PLACE_OF[DOOR]]["since_us"] == day.time("09:02")
    assert (places[PLACE_OF[DOOR]]["state"], places[PLACE_OF[TERMINAL]]["state"]) == ("offline", "offline")


def test_today_counts_people_and_passages_since_local_midnight() -> None:
    day = (
        Day(inputs(ALL), since="09:00").at("09:01").counts(3).passes().at("09:05").passes(t="09:02", flags=Flag.LATE).at("09:06")
    )
    status = shown(day)
    assert (status.today_in, status.today_passages, status.last_event_us) == (3, 2, day.time("09:02"))
    assert [e["t_us"] for e in status.detail["recent"]][:1] == [day.time("09:02")]
    day.at("+1 00:01").counts(1).at("+1 00:02")
    assert shown(day).today_in == 1


def test_the_eight_newest_activities_are_shown_newest_first_and_signs_of_life_are_not() -> None:
    day = Day(inputs(ALL), since="09:00")
    for n in range(10):
        day.at(f"09:{n + 1:02d}").counts(n + 1)
    day.at("09:20").alive(COUNTER).at("09:21")
    assert [e["d_in"] for e in shown(day).detail["recent"]] == [10, 9, 8, 7, 6, 5, 4, 3]


def test_a_site_that_nobody_watches_yet_is_unknown() -> None:
    day = Day(inputs({}))
    assert shown(day).base == "unknown"


def test_only_changed_sites_are_shown_and_a_quiet_one_from_time_to_time() -> None:
    day = Day(inputs(ALL), since="09:00").at("09:01")
    shown(day)
    assert day.engine.take_changed(SHARD) == []
    day.now += 10_000_000
    day.beat()
    assert day.engine.take_changed(SHARD) == []
    day.now += 25_000_000
    day.beat()
    assert shown(day).clock_us == day.now


def test_taking_some_sites_leaves_what_changed_at_the_others_for_later() -> None:
    day = Day(inputs(ALL), since="09:00").at("09:01").counts(3).at("09:06")
    assert day.engine.take_changed(SHARD, {SITE + 1}) == []
    (status,) = day.engine.take_changed(SHARD, {SITE})
    assert status.today_in == 3
    assert day.engine.take_changed(SHARD) == []
