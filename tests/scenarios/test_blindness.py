"""Devices that no longer speak, gateways that are gone, and what they hold back."""

from analytics.findings import Phase, Rule, Severity, SubjectKind
from analytics.reasons import render
from gateway.events import Kind
from tests.scenarios.day import COUNTER, DOOR, SITE, Day, inputs

OFFLINE, GAP = Rule.DEVICE_OFFLINE, Rule.MONITORING_GAP
SUNDAY = "2026-03-08"


def sunday(gateways: dict[int, int] | None = None) -> Day:
    """A day on which nobody is expected."""
    return Day(inputs(gateways or {DOOR: 1, COUNTER: 1}), date=SUNDAY).alive_until("06:00", DOOR, COUNTER).expect_nothing()


def test_a_device_silent_for_two_signs_of_life_is_offline() -> None:
    day = sunday().alive_until("06:58", DOOR).expect_nothing().at("07:01")
    found = day.expect(OFFLINE, at="07:00")
    assert (found.severity, found.subject, found.episode) == (Severity.MINOR, COUNTER, day.time("06:00"))
    assert render(found.rule, found.reason, "zh", day.zone) == "大厅的“传感器12”自 06:00 起无信号（通常至少每 30 分钟 一次）"
    day.at("07:20").alive(COUNTER)
    day.expect(OFFLINE, Phase.END, at="07:20")


def test_the_only_sensor_of_a_site_matters_more() -> None:
    day = Day(inputs(), date=SUNDAY).alive_until("06:00", DOOR).at("08:01")
    assert day.expect(OFFLINE, at="08:00").severity is Severity.MAJOR


def test_a_device_that_was_never_heard_is_found_too() -> None:
    day = Day(inputs(), date=SUNDAY).at("06:59").expect_nothing().at("07:01")
    assert day.expect(OFFLINE, at="07:00").reason["code"] == "never_heard"


def test_its_own_network_says_that_it_is_gone_sooner() -> None:
    day = sunday()
    day.happens(day.row(DOOR, Kind.LINK, a=0)).at("06:04").expect_nothing().at("06:06")
    assert day.expect(OFFLINE, at="06:05").reason["code"] == "link_offline"
    day.happens(day.row(DOOR, Kind.LINK, a=1))
    day.expect(OFFLINE, Phase.END, at="06:06")


def test_a_link_that_comes_back_in_time_is_no_finding() -> None:
    day = sunday()
    day.happens(day.row(DOOR, Kind.LINK, a=0)).at("06:04").happens(day.row(DOOR, Kind.LINK, a=1))
    day.at("06:20").expect_nothing()


def test_silence_behind_a_lost_gateway_accuses_no_device() -> None:
    day = sunday({DOOR: 1, COUNTER: 2}).lost(2)
    gap = day.expect(GAP, at="06:00")
    assert (gap.subject_kind, gap.subject, gap.reason["places"]) == (SubjectKind.SITE, SITE, ["大厅"])
    text = render(gap.rule, gap.reason, "zh", day.zone)
    assert text == "自 06:00 起收不到网关 gw-2，大厅（1/2 个传感器）看不见"
    day.alive_until("08:00", DOOR).expect_nothing()
    day.back(2)
    day.expect(GAP, Phase.END, at="08:00")
    day.restarts(2).alive_until("08:50", DOOR).expect_nothing()  # its silence counts from when someone listens again
    day.alive_until("09:00", DOOR)
    day.expect(OFFLINE, at="09:00")


def test_late_signs_of_life_take_the_accusation_back() -> None:
    day = sunday().alive_until("07:10", DOOR)
    day.expect(OFFLINE, at="07:00")
    day.alive(COUNTER, t="06:40")
    day.expect(OFFLINE, Phase.RETRACT, at="06:40")


def test_blindness_of_five_minutes_is_told_and_shorter_is_not() -> None:
    day = sunday().blind("z2m/", "06:00").at("06:04").expect_nothing().at("06:06")
    found = day.expect(GAP, at="06:00")
    assert (found.reason["places"], found.reason["code"]) == (["大门"], "blind")
    day.blind("z2m/", "06:00", "06:30")
    day.expect(GAP, Phase.END, at="06:30")
    day.blind("z2m/", "06:40", "06:44").at("06:55").expect_nothing()


def test_blindness_of_devices_that_no_site_has_is_the_gateways_own() -> None:
    day = sunday().blind("face/", "06:00", "06:30")
    assert day.expect(GAP, at="06:00").subject_kind is SubjectKind.GATEWAY


def test_a_gateway_that_restarted_after_long_was_not_receiving() -> None:
    day = sunday()
    day.silent.add(1)
    day.now = day.time("06:20")
    day.restarts(1)
    assert day.expect(GAP, at="06:00").reason["code"] == "hole"
    day.expect(GAP, Phase.END, at="06:20")
    day.blind("", "06:00", "06:20").expect_nothing()  # the same, in its own words


def test_lost_and_found_again_with_a_new_stream_is_one_gap() -> None:
    day = sunday({DOOR: 1, COUNTER: 2}).at("06:01").lost(2)
    day.expect(GAP, at="06:01")
    day.at("06:30").back(2).restarts(2).blind("", "06:00", "06:30", gateway=2)
    day.expect(GAP, Phase.END, at="06:30")
    assert [f.rule for f in day.found if f.rule is GAP] == []


def test_all_gateways_lost_stop_the_sites_clock_and_the_backlog_is_judged_in_its_own_time() -> None:
    day = sunday({DOOR: 1, COUNTER: 1}).at("06:02").lost(1)
    day.expect(GAP, at="06:02")
    day.now = day.time("09:00")
    day.expect_nothing().back(1)
    day.expect(GAP, Phase.END, at="09:00")
    backlog = [day.row(d, Kind.ALIVE, t=t) for t in ("06:40", "07:20", "08:00", "08:40") for d in (DOOR, COUNTER)]
    day.happens(*backlog).expect_nothing()
