"""Who is told of an alert, when and why, on a real database in virtual time: rosters, levels, groups, flapping."""

from dataclasses import replace

import pytest

from analytics.alerts import StaleVersion, acknowledge, apply_findings, assign, comment, resolve
from analytics.findings import Phase, Rule, Severity
from analytics.telling import tick
from tests.analytics.duty import DAY_US, MINUTE_US, SECOND_US, T0, Duty, device, finding

HOUR = 60 * MINUTE_US
END = finding(Phase.END, at_us=T0 + MINUTE_US, reason=finding().reason | {"ended": "activity"})
RETRACT = replace(END, phase=Phase.RETRACT, reason=finding().reason | {"ended": "activity_before"})
URGENT = finding(severity=Severity.URGENT)


async def test_an_alert_climbs_from_site_to_town_to_city_until_someone_takes_it(duty: Duty) -> None:
    await duty.find(URGENT)
    assert duty.told() == [("李站长", "new")]
    await duty.wait(5 * MINUTE_US - 1)
    assert len(duty.told()) == 1
    await duty.wait(1)
    assert duty.told()[1:] == [("王镇长", "escalated")]
    await acknowledge(duty.conn, duty.alert()["id"], 1, "王", duty.now)
    await duty.wait(30 * MINUTE_US)
    assert len(duty.told()) == 2, "someone was woken after the alert was taken over"


async def test_when_nobody_takes_it_over_that_is_a_state_and_an_alert_of_its_own(duty: Duty) -> None:
    await duty.find(URGENT)
    first = duty.alert()["id"]
    await duty.wait(30 * MINUTE_US)
    assert duty.told(of=first) == [("李站长", "new"), ("王镇长", "escalated"), ("赵科长", "escalated")]
    assert duty.rows("SELECT state, reach FROM alert WHERE id = %s", first) == [("open", "unreached")]
    second = duty.alert()
    assert (second["rule"], second["episode"], second["state"]) == ("nobody_reached", first, "open")
    assert duty.told(of=second["id"]) == [("赵科长", "new")]
    assert "已通知 3 人，至今无人接手" in duty.messages()[-1]
    await duty.wait(DAY_US)
    assert len(duty.told()) == 4
    version = duty.one("SELECT version FROM alert WHERE id = %s", first)
    await acknowledge(duty.conn, first, version, "李", duty.now)
    assert duty.rows("SELECT state, reach FROM alert ORDER BY id") == [("acknowledged", ""), ("cleared", "")]


async def test_a_level_without_anyone_on_duty_is_passed_over_at_once(duty: Duty) -> None:
    duty.db.execute("UPDATE shift SET to_us = %s WHERE site = 1", [T0])
    await duty.find(URGENT)
    assert duty.told() == [("王镇长", "new")]


async def test_with_a_roster_and_nobody_on_duty_it_is_said_that_nobody_can_be_reached(duty: Duty) -> None:
    duty.db.execute("UPDATE shift SET from_us = %s", [T0 + HOUR])
    await duty.find(URGENT)
    assert duty.told() == []
    assert duty.rows("SELECT reach FROM alert ORDER BY id")[0] == ("unreached",)
    await duty.wait(HOUR)
    assert ("李站长", "new") in duty.told(), "whoever comes on duty later hears of it"


async def test_with_no_roster_at_all_nothing_is_claimed(duty: Duty) -> None:
    duty.db.execute("DELETE FROM shift")
    await duty.find(URGENT)
    await duty.wait(HOUR)
    assert duty.decisions() == ["nobody"]
    assert duty.rows("SELECT reach FROM alert") == [("",)]


async def test_a_robot_that_is_nobodys_hears_of_every_alert_and_a_platform_of_every_version(duty: Duty) -> None:
    insert = "INSERT INTO endpoint (name, url, secret, kind) VALUES (%s, 'http://127.0.0.1:9/', '', %s)"
    for name, kind in (("群", "feishu"), ("平台", "webhook")):
        duty.db.execute(insert.encode(), [name, kind])
    await duty.find(URGENT)
    await acknowledge(duty.conn, duty.alert()["id"], 1, "李", duty.now)
    assert sorted(duty.told()) == [("李站长", "new"), ("群", "new")]
    versions = duty.rows("SELECT e.name, o.version FROM outbox o JOIN endpoint e ON e.id = o.endpoint WHERE notice IS NULL")
    assert sorted(versions) == [("平台", 1), ("平台", 2)]


async def test_taking_over_withdraws_what_was_not_sent_and_lets_it_never_be_tried_again(duty: Duty) -> None:
    await apply_findings(duty.conn, [URGENT], duty.now)
    await tick(duty.conn, duty.now)
    assert duty.rows("SELECT state FROM outbox") == [("pending",)]
    await acknowledge(duty.conn, duty.alert()["id"], 1, "李", duty.now)
    assert duty.rows("SELECT state FROM outbox") == [("superseded",)]


async def test_whoever_took_over_is_reminded_and_each_time_later(duty: Duty) -> None:
    await duty.find(URGENT)
    alert = duty.alert()["id"]
    await acknowledge(duty.conn, alert, 1, "李", duty.now)
    await duty.wait(HOUR - 1)
    assert len(duty.told()) == 1
    await duty.wait(1)
    assert duty.told()[1:] == [("李站长", "re_notify")]
    await comment(duty.conn, alert, "李", "在路上", duty.now)
    await duty.wait(HOUR - 1)
    assert len(duty.told()) == 2, "a comment shows that someone is at it"
    await duty.wait(3 * HOUR + 1)
    assert duty.told()[2:] == [("李站长", "re_notify")] * 2
    await resolve(duty.conn, alert, 3, "李", "real", "", duty.now)
    await duty.wait(DAY_US)
    assert len(duty.told()) == 4


async def test_assigning_and_commenting_are_versions_with_their_author(duty: Duty) -> None:
    await duty.find(URGENT)
    alert = duty.alert()["id"]
    await assign(duty.conn, alert, 1, "王", "李", duty.now)
    await comment(duty.conn, alert, "李", "马上去", duty.now)
    changes = duty.rows("SELECT version, what, who, why FROM alert_change ORDER BY id")
    assert changes[1:] == [(2, "assigned", "王", "李"), (3, "commented", "李", "马上去")]
    assert (duty.alert()["assignee"], duty.alert()["state"]) == ("李", "open")


async def test_what_rises_is_told_again_and_what_falls_is_not(duty: Duty) -> None:
    await duty.find(finding())
    await duty.wait(20 * SECOND_US)
    assert duty.told() == [("李站长", "new")]
    for severity in (Severity.URGENT, Severity.MINOR, Severity.MAJOR, Severity.URGENT):
        await duty.find(finding(Phase.CONTINUE, severity=severity))
    assert duty.told()[1:] == [("李站长", "risen")]
    assert duty.alert()["severity"] == "urgent"


async def test_a_retraction_tells_whoever_was_told_and_only_them(duty: Duty) -> None:
    await duty.find(URGENT)
    await duty.wait(5 * MINUTE_US)
    await duty.find(RETRACT)
    assert duty.told()[2:] == [("李站长", "retracted"), ("王镇长", "retracted")]
    assert "请勿再处理" in duty.messages()[-1]


async def test_what_never_reached_anyone_is_not_taken_back(duty: Duty) -> None:
    await apply_findings(duty.conn, [URGENT], duty.now)
    await tick(duty.conn, duty.now)
    await apply_findings(duty.conn, [RETRACT], duty.now)
    await duty.tick()
    assert duty.told() == []
    assert duty.decisions() == ["new", "over"]


async def test_a_message_on_its_way_counts_as_told(duty: Duty) -> None:
    await apply_findings(duty.conn, [URGENT], duty.now)
    await tick(duty.conn, duty.now)
    duty.db.execute("UPDATE outbox SET leased_until_us = %s", [duty.now + MINUTE_US])
    await apply_findings(duty.conn, [RETRACT], duty.now)
    await duty.tick()
    assert [reason for _, reason in duty.told()] == ["retracted"]


async def test_that_it_is_over_is_told_when_it_has_stayed_so(duty: Duty) -> None:
    await duty.find(URGENT)
    duty.now += MINUTE_US
    await duty.find(END)
    assert duty.alert()["state"] == "cleared"
    assert len(duty.told()) == 1
    await duty.wait(10 * MINUTE_US)
    assert duty.told()[1:] == [("李站长", "cleared")]


async def test_what_nobody_took_over_in_its_time_is_said_to_have_passed_and_not_to_be_well(duty: Duty) -> None:
    await duty.find(URGENT)
    await duty.wait(5 * MINUTE_US)
    await duty.find(replace(END, at_us=duty.now, reason=END.reason | {"ended": "closing"}))
    assert duty.alert()["state"] == "expired"
    assert duty.told()[2:] == [("李站长", "expired"), ("王镇长", "expired")]
    assert duty.messages()[-1].startswith("【已过时，始终无人接手】")
    assert "恢复" not in duty.messages()[-1]


async def test_what_was_over_before_it_was_known_wakes_no_one(duty: Duty) -> None:
    await duty.find(URGENT, END)
    await duty.wait(DAY_US)
    assert duty.told() == []
    assert duty.decisions() == ["late_and_over"]


async def test_what_is_over_before_its_turn_wakes_no_one(duty: Duty) -> None:
    await duty.find(finding())
    await duty.find(END)
    await duty.wait(DAY_US)
    assert duty.told() == []
    assert duty.decisions() == ["over"]


async def test_what_happened_hours_ago_and_goes_on_is_told_and_says_so(duty: Duty) -> None:
    duty.now = T0 + 3 * HOUR
    await duty.find(URGENT)
    assert "3 小时前发生" in duty.messages()[0]


# ---------------------------------------------------------------- flapping


async def test_ten_thousand_flips_are_two_notices_and_two_alerts(duty: Duty) -> None:
    flips = []
    for n in range(10_000):
        at = T0 + n * 30 * SECOND_US
        flips += [finding(episode=at, at_us=at), replace(END, episode=at, at_us=at + 10 * SECOND_US)]
    await duty.find(flips[0])
    await duty.wait(20 * SECOND_US)
    for start in range(1, len(flips), 251):  # cut anywhere, between a begin and its end too
        batch = flips[start : start + 251]
        duty.now = batch[-1].at_us
        await duty.find(*batch)
    await duty.wait(HOUR)
    assert duty.told() == [("李站长", "new"), ("李站长", "cleared")]
    assert duty.rows("SELECT state, count FROM alert ORDER BY id") == [("cleared", 1), ("cleared", 9_999)]


async def test_one_at_a_time_they_are_the_same(duty: Duty) -> None:
    await duty.find(finding())
    await duty.wait(20 * SECOND_US)
    for n in range(20):
        at = T0 + (n + 1) * MINUTE_US
        for step in (replace(END, episode=T0 if n == 0 else at - MINUTE_US, at_us=at - 1), finding(episode=at, at_us=at)):
            duty.now = step.at_us
            await duty.find(step)
    assert duty.rows("SELECT state, count FROM alert ORDER BY id") == [("cleared", 1), ("open", 20)]
    await duty.find(replace(END, episode=T0 + 20 * MINUTE_US, at_us=duty.now + SECOND_US))
    await duty.wait(HOUR)
    assert duty.told() == [("李站长", "new"), ("李站长", "cleared")]
    assert set(duty.decisions()) == {"new", "damped", "cleared"}


async def test_what_came_back_and_stays_is_escalated_all_the_same(duty: Duty) -> None:
    await duty.find(URGENT)
    duty.now += MINUTE_US
    await duty.find(END)
    duty.now += MINUTE_US
    await duty.find(replace(URGENT, episode=duty.now, at_us=duty.now))
    assert duty.alert()["recurs"] is not None
    await duty.wait(5 * MINUTE_US)
    assert duty.told() == [("李站长", "new"), ("王镇长", "escalated")]


async def test_what_was_disproved_in_between_breaks_no_line_and_what_was_resolved_ends_it(duty: Duty) -> None:
    await duty.find(URGENT)
    await duty.find(END)
    for n in (2, 3):
        duty.now = T0 + n * MINUTE_US
        again = replace(URGENT, episode=duty.now, at_us=duty.now)
        await duty.find(again)
        if n == 2:
            await apply_findings(duty.conn, [replace(RETRACT, episode=duty.now, at_us=duty.now)], duty.now)
    assert duty.rows("SELECT state, recurs FROM alert ORDER BY id") == [("cleared", None), ("retracted", 1), ("open", 1)]
    await duty.tick()
    assert duty.told() == [("李站长", "new")], "they know of it and were not told that it is over"
    await resolve(duty.conn, 3, 1, "李", "real", "", duty.now)
    await duty.find(replace(again, episode=duty.now + 1, at_us=duty.now + 1))
    assert duty.alert()["recurs"] == 1
    assert duty.told(of=4) == [("李站长", "new")]


async def test_a_new_episode_after_the_hold_time_is_told_as_new(duty: Duty) -> None:
    await duty.find(URGENT)
    duty.now += MINUTE_US
    await duty.find(END)
    await duty.wait(HOUR)
    await duty.find(replace(URGENT, episode=duty.now, at_us=duty.now))
    assert [reason for _, reason in duty.told()] == ["new", "cleared", "new"]
    assert duty.alert()["recurs"] is None


# ---------------------------------------------------------------- what keeps quiet


async def test_five_hundred_devices_of_a_town_are_one_message_for_each_sites_duty_person_within_a_minute(duty: Duty) -> None:
    for number in range(2, 12):
        duty.site(number)
        duty.person(f"站长{number}", site=number)
    cut = [device(n, 2 + n % 10, at_us=T0 + n * 100_000, episode=T0 + n) for n in range(500)]
    for start in range(0, 500, 125):  # they are noticed over fifteen seconds
        await duty.find(*cut[start : start + 125])
        await duty.wait(3_750_000)
    await duty.wait(45 * SECOND_US)
    assert sorted(duty.told()) == sorted((f"站长{n}", "new") for n in range(2, 12))
    assert {m.split("\n")[0] for m in duty.messages()} == {f"【一般】设备离线等 50 项 · 照料中心{n}" for n in range(2, 12)}
    text = duty.messages()[0]
    assert "另有设备离线 49 项：" in text
    assert duty.one("SELECT count(*) FROM notice WHERE reason = 'grouped' AND told AND under IS NOT NULL") == 490
    assert duty.now <= T0 + 60 * SECOND_US
    await duty.find(*(replace(f, phase=Phase.END, at_us=duty.now) for f in cut))
    await duty.wait(HOUR)
    assert sorted(duty.told()[10:]) == sorted((f"站长{n}", "cleared") for n in range(2, 12))


async def test_a_power_cut_is_one_message_that_names_what_it_covers(duty: Duty) -> None:
    gap = {"code": "lost", "since_us": T0, "gateway": "gw-1", "places": ["大门", "食堂"], "sensors": 2, "of": 2, "source": ""}
    await duty.find(device(1, 1), finding(rule=Rule.MONITORING_GAP, reason=gap), device(2, 1, severity=Severity.MAJOR))
    await duty.wait(MINUTE_US)
    assert len(duty.told()) == 1
    (text,) = duty.messages()
    assert text.split("\n")[0] == "【重要】监测中断等 2 项 · 照料中心1"
    assert "大门、食堂" in text
    assert "另有设备离线 1 项：门2" in text


async def test_a_message_about_several_goes_until_all_are_taken_over(duty: Duty) -> None:
    await apply_findings(duty.conn, [device(1, 1), device(2, 1)], duty.now)
    duty.now += MINUTE_US
    await tick(duty.conn, duty.now)
    await acknowledge(duty.conn, 1, 1, "李", duty.now)
    assert duty.rows("SELECT state FROM outbox") == [("pending",)]
    await acknowledge(duty.conn, 2, 1, "李", duty.now)
    assert duty.rows("SELECT state FROM outbox") == [("superseded",)]


async def test_what_is_urgent_waits_for_nothing(duty: Duty) -> None:
    await duty.find(URGENT, device(1, 1))
    assert duty.told() == [("李站长", "new")]


async def test_acting_on_an_older_version_is_refused(duty: Duty) -> None:
    await duty.find(URGENT)
    await comment(duty.conn, 1, "李", "x", duty.now)
    with pytest.raises(StaleVersion):
        await acknowledge(duty.conn, 1, 1, "李", duty.now)
