"""What silences, blindness and closed days keep from people, and for how long, in virtual time."""

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from analytics.findings import Phase, Rule, Severity
from tests.analytics.duty import MINUTE_US, SECOND_US, T0, TOWN, Duty, device, finding

HOUR = 60 * MINUTE_US
END = finding(Phase.END, at_us=T0 + MINUTE_US, reason=finding().reason | {"ended": "activity"})
RETRACT = replace(END, phase=Phase.RETRACT, reason=finding().reason | {"ended": "activity_before"})
URGENT = finding(severity=Severity.URGENT)


def silence(duty: Duty, minutes: int, matchers: dict[str, object], kind: str = "silence") -> int:
    columns = ["kind", "from_us", "to_us", "author", "reason", "created_us", *matchers]
    values = [kind, duty.now, duty.now + minutes * MINUTE_US, "王", "装修", duty.now, *matchers.values()]
    marks = ", ".join(["%s"] * len(values))
    return int(duty.one(f"INSERT INTO silence ({', '.join(columns)}) VALUES ({marks}) RETURNING id", *values))


@pytest.mark.parametrize(
    ("kind", "matchers"),
    [
        ("silence", {"rule": "no_activity"}),
        ("silence", {"site": 1, "severity": "urgent"}),
        ("silence", {"area": TOWN}),
        ("silence", {"subject_kind": "site", "subject": 1}),
        ("maintenance", {"site": 1}),
    ],
)
async def test_while_it_is_silenced_nobody_is_told_and_then_whoever_is_there(
    duty: Duty, kind: str, matchers: dict[str, object]
) -> None:
    number = silence(duty, 30, matchers, kind)
    await duty.find(URGENT)
    await duty.wait(29 * MINUTE_US)
    assert duty.told() == []
    assert duty.rows("SELECT reason, detail FROM notice") == [("silenced" if kind == "silence" else kind, {"silence": number})]
    await duty.wait(MINUTE_US)
    assert duty.told() == [("李站长", "new")]


@pytest.mark.parametrize("matchers", [{"rule": "left_open"}, {"area": "330482"}, {"subject_kind": "site", "subject": 2}])
async def test_a_silence_about_something_else_changes_nothing(duty: Duty, matchers: dict[str, object]) -> None:
    silence(duty, 30, matchers)
    await duty.find(URGENT)
    assert duty.told() == [("李站长", "new")]


async def test_a_silence_stops_an_escalation(duty: Duty) -> None:
    await duty.find(URGENT)
    silence(duty, 60, {"site": 1})
    await duty.wait(59 * MINUTE_US)
    assert len(duty.told()) == 1
    await duty.wait(2 * MINUTE_US)
    assert ("王镇长", "escalated") in duty.told()


async def test_what_is_blind_cannot_accuse(duty: Duty) -> None:
    gap = finding(rule=Rule.MONITORING_GAP, reason={"code": "lost"})
    await duty.find(gap)
    await duty.wait(MINUTE_US)
    await duty.find(device(1, 1))
    await duty.wait(MINUTE_US)
    assert [reason for _, reason in duty.told()] == ["new"]
    assert duty.rows("SELECT reason, detail FROM notice ORDER BY id DESC LIMIT 1") == [("inhibited", {"alert": 1})]
    await duty.find(replace(gap, phase=Phase.END, at_us=duty.now))
    await duty.wait(2 * MINUTE_US)
    assert len(duty.told()) == 2, "the device is silent still, and the gap no longer explains it"


async def test_equipment_on_a_closed_day_waits_for_the_opening(duty: Duty) -> None:
    closed_tuesday = {
        "mon": [["08:00", "17:00"]],
        "tue": [],
        "wed": [["08:00", "17:00"]],
        "thu": [],
        "fri": [],
        "sat": [],
        "sun": [],
    }
    duty.site(2, closed_tuesday)
    duty.person("周站长", site=2)
    await duty.find(device(1, 2), finding(site=2, subject=2, rule=Rule.OPENED_AFTER_HOURS, reason={"code": "opened"}))
    await duty.wait(MINUTE_US)
    assert [m.split("\n")[0] for m in duty.messages()] == ["【重要】非开放时间有人 · 照料中心2"]
    assert "closed_day" in duty.decisions()
    opens = datetime(2026, 3, 4, 8, tzinfo=ZoneInfo("Asia/Shanghai"))
    await duty.wait(int(opens.timestamp()) * SECOND_US - duty.now - MINUTE_US)
    before = len(duty.messages())
    await duty.wait(2 * MINUTE_US)
    assert [m.split("\n")[0] for m in duty.messages()[before:]] == ["【一般】设备离线 · 照料中心2"]


# ---------------------------------------------------------------- groups
