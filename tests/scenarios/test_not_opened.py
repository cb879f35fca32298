"""Nobody came on an opening day."""

from analytics.findings import Phase, Rule, Severity
from analytics.reasons import render
from gateway.events import Flag, Kind
from tests.scenarios.day import COUNTER, DOOR, PATIENT, Day, inputs

NOT_OPENED = Rule.NOT_OPENED


def morning(**register: object) -> Day:
    """A door that speaks every ten minutes, from 05:00 until 08:25; nobody has come."""
    return Day(inputs(**register)).alive_until("08:25", DOOR).expect_nothing()  # type: ignore[arg-type]


def test_a_site_where_nobody_came_is_found_at_opening_plus_grace() -> None:
    day = morning().at("08:29").expect_nothing().at("08:31")
    found = day.expect(NOT_OPENED, at="08:30")
    assert (found.severity, found.episode) == (Severity.URGENT, day.time("08:00"))
    text = render(found.rule, found.reason, "zh", day.zone)
    assert text == "08:30 前未开门（08:00 应开门，宽限 30 分钟，1 个传感器均正常且无人经过）"
    assert render(found.rule, found.reason, "en", day.zone).startswith("Not opened by 08:30 (opens 08:00, 30 min grace")
    day.at("09:12").opens()
    day.expect(NOT_OPENED, Phase.END, at="09:12")
    day.expect_nothing()


def test_someone_who_comes_in_the_two_hours_before_has_opened() -> None:
    day = Day(inputs()).alive_until("06:00", DOOR)
    day.opens().at("06:01").closes().alive_until("09:00", DOOR)
    assert NOT_OPENED not in [f.rule for f in day.found]


def test_someone_who_comes_before_that_has_not() -> None:
    day = Day(inputs()).alive_until("05:50", DOOR).opens().at("05:51").closes()
    day.alive_until("08:40", DOOR)
    assert [f.rule for f in day.found if f.phase is Phase.BEGIN] == [Rule.OPENED_AFTER_HOURS, NOT_OPENED]


def test_it_expires_at_closing_time() -> None:
    day = morning().alive_until("17:01", DOOR)
    day.expect(NOT_OPENED, at="08:30")
    assert day.expect(NOT_OPENED, Phase.END, at="17:00").reason["ended"] == "closing"
    day.expect_nothing()


def test_a_sensor_that_says_nothing_holds_it_back_until_it_proves_that_it_was_quiet() -> None:
    day = Day(inputs(rules={"device_offline": {"silences": 20}}))
    day.at("06:00").alive(DOOR).at("09:30").expect_nothing()  # its gateway is there, the sensor is not
    day.alive(DOOR)
    day.expect(NOT_OPENED, at="08:30")
    day.expect_nothing()


def test_held_back_and_then_opened_by_the_sensor_that_proves_it_is_over_before_it_was_known() -> None:
    day = Day(inputs(rules={"device_offline": {"silences": 20}})).at("06:00").alive(DOOR).at("09:30").opens()
    day.expect(NOT_OPENED, at="08:30")
    day.expect(NOT_OPENED, Phase.END, at="09:30")
    day.expect_nothing()


def test_every_sensor_of_the_site_must_be_there() -> None:
    register = inputs({DOOR: 1, COUNTER: 1}, rules={"device_offline": {"silences": 20}})
    day = Day(register).at("07:00").alive(COUNTER).alive_until("09:00", DOOR).expect_nothing().counts(2).at("09:30")
    day.expect(NOT_OPENED, at="08:30")
    day.expect(NOT_OPENED, Phase.END, at="09:00")


def test_a_lost_gateway_holds_it_back_and_its_backlog_decides() -> None:
    def until_lost() -> Day:
        day = Day(inputs({DOOR: 1, COUNTER: 2})).alive_until("07:30", DOOR, COUNTER).at("07:31").lost(2)
        day.expect(Rule.MONITORING_GAP, at="07:31")
        return day.alive_until("09:00", DOOR).expect_nothing()

    came = until_lost().back(2)
    came.expect(Rule.MONITORING_GAP, Phase.END, at="09:00")
    came.counts(3, t="08:10").expect_nothing()
    came.alive_until("09:20", DOOR, COUNTER).expect_nothing()
    none = until_lost().back(2)
    none.expect(Rule.MONITORING_GAP, Phase.END, at="09:00")
    none.alive(COUNTER)
    none.expect(NOT_OPENED, at="08:30")


def test_what_is_held_back_is_told_when_a_gateway_proves_it_by_having_been_there_alone() -> None:
    day = Day(inputs({DOOR: 1, COUNTER: 2}, alive_us=PATIENT)).alive(DOOR, COUNTER).at("08:20").lost(2)
    day.expect(Rule.MONITORING_GAP, at="08:20")
    day.at("08:40").expect_nothing()  # the clock went on without gateway 2, which may have heard someone
    day.back(2)
    day.expect(Rule.MONITORING_GAP, Phase.END, at="08:40")
    day.expect_nothing().beat()  # nothing happened: no event comes, only its word that it was listening
    day.expect(NOT_OPENED, at="08:30")
    day.expect_nothing()


def test_late_evidence_takes_it_back() -> None:
    day = morning().at("08:40")
    day.expect(NOT_OPENED, at="08:30")
    day.happens(day.row(DOOR, Kind.CONTACT, t="07:50", a=1, flags=Flag.LATE))
    day.expect(NOT_OPENED, Phase.RETRACT, at="07:50")
    day.expect_nothing()


def test_a_closure_entered_afterwards_takes_it_back() -> None:
    day = morning().at("08:40")
    day.expect(NOT_OPENED, at="08:30")
    closed = [(day.time("00:00"), day.time("+1 00:00"))]
    day.registers(inputs(version=2, closed=closed))
    assert day.expect(NOT_OPENED, Phase.RETRACT, at="08:40").reason["ended"] == "closure"


def test_a_closed_day_and_a_weekend_expect_nobody() -> None:
    day = Day(inputs())
    closed = [(day.time("00:00"), day.time("+1 00:00"))]
    day.registers(inputs(version=2, closed=closed)).alive_until("12:00", DOOR).expect_nothing()
    Day(inputs(), date="2026-03-08").alive_until("12:00", DOOR).expect_nothing()


def test_blindness_reported_over_the_morning_holds_it_back() -> None:
    day = Day(inputs()).alive_until("07:00", DOOR).blind("z2m/", "07:01", "07:40")
    day.expect(Rule.MONITORING_GAP, at="07:01")
    day.expect(Rule.MONITORING_GAP, Phase.END, at="07:40")
    day.at("07:45").alive_until("09:00", DOOR).expect_nothing()


def test_another_devices_blindness_holds_nothing_back() -> None:
    day = Day(inputs()).alive_until("07:00", DOOR).blind("face/", "07:01", "07:40")
    day.found.clear()
    day.alive_until("08:40", DOOR)
    day.expect(NOT_OPENED, at="08:30")
