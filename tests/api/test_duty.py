"""The roster, silences, and why someone was or was not told, as people and programs use them."""

import asyncio
import re
from datetime import datetime
from zoneinfo import ZoneInfo

import httpx
import pytest
from psycopg import AsyncConnection

from analytics.telling import tick
from api.duty import area
from gateway.clock import DAY_US, HOUR_US, SECOND_US, now_us
from tests.api.conftest import Running, Town

TOWNSHIP = "999001001000"


def tell(dsn: str, after_us: int = 0) -> None:
    """Let whoever tells people come by once."""

    async def once() -> None:
        async with await AsyncConnection.connect(dsn, autocommit=True) as conn:
            await tick(conn, now_us() + after_us)

    asyncio.run(once())


@pytest.fixture
def robot(town: Town) -> str:
    town.county.conn.execute("INSERT INTO endpoint (name, url, secret, kind) VALUES ('群', 'http://127.0.0.1:9/', '', 'feishu')")
    return "群"


def raised(town: Town, rule: str = "not_opened") -> int:
    number = town.county.alert(town.east, rule)
    town.county.conn.execute("INSERT INTO telling (alert, site, due_us) VALUES (%s, %s, 0)", [number, town.east])
    return number


def on_duty(admin: httpx.Client, robot: str) -> None:
    assert admin.post("/api/v1/contacts", json={"name": "李站长", "endpoint": robot, "account": "east-staff"}).status_code == 200
    shift = {"contact": "李站长", "site": "east", "from_us": now_us() - HOUR_US}
    assert admin.post("/api/v1/shifts", json=shift).status_code == 200


def test_why_says_who_was_told_and_what_became_of_it(admin: httpx.Client, town: Town, robot: str, dsn: str) -> None:
    on_duty(admin, robot)
    number = raised(town)
    tell(dsn)
    said = admin.get(f"/api/v1/alerts/{number}/why").json()
    (decision,) = said["decisions"]
    assert (decision["told"], decision["reason"], decision["level"]) == (True, "new", 0)
    assert [(r["name"], r["kind"], r["state"]) for r in decision["to"]] == [("李站长", "feishu", "pending")]
    assert said["next_us"] > now_us()
    assert "李站长（飞书）发送中" in admin.get(f"/alerts/{number}").text


def test_a_silence_explains_itself_on_the_page_and_when_it_is_ended_people_are_told(
    admin: httpx.Client, town: Town, robot: str, dsn: str
) -> None:
    on_duty(admin, robot)
    made = {"reason": "装修", "site": "east", "to_us": now_us() + HOUR_US}
    silence = admin.post("/api/v1/silences", json=made).json()["id"]
    number = raised(town)
    tell(dsn)
    (decision,) = admin.get(f"/api/v1/alerts/{number}/why").json()["decisions"]
    assert (decision["told"], decision["reason"], decision["detail"]) == (False, "silenced", {"silence": silence})
    page = admin.get(f"/alerts/{number}").text
    assert "未通知：静默中" in page
    assert 'href="/silences"' in page
    assert admin.post(f"/silences/{silence}/expire").status_code == 303
    tell(dsn)
    assert [d["reason"] for d in admin.get(f"/api/v1/alerts/{number}/why").json()["decisions"]] == ["silenced", "new"]


def test_a_maintenance_window_entered_on_the_page_begins_in_its_time_and_then_holds_back(
    admin: httpx.Client, town: Town, robot: str, dsn: str
) -> None:
    on_duty(admin, robot)
    begin = datetime.fromtimestamp((now_us() + 2 * HOUR_US) // SECOND_US, ZoneInfo("Asia/Shanghai"))
    window = {"kind": "maintenance", "site": "east", "from": f"{begin:%Y-%m-%dT%H:%M}", "hours": "2", "reason": "停电检修"}
    assert admin.post("/silences", data=window).status_code == 303
    (made,) = admin.get("/api/v1/silences").json()
    assert (made["kind"], made["to_us"] - made["from_us"]) == ("maintenance", 2 * HOUR_US)
    before, within = raised(town), raised(town)
    town.county.conn.execute("UPDATE telling SET due_us = %s WHERE alert = %s", [now_us() + 3 * HOUR_US, within])
    tell(dsn)
    tell(dsn, 3 * HOUR_US)
    why = {n: admin.get(f"/api/v1/alerts/{n}/why").json()["decisions"] for n in (before, within)}
    assert why[before][0]["reason"] == "new"
    assert [(d["told"], d["reason"], d["detail"]) for d in why[within]] == [(False, "maintenance", {"silence": made["id"]})]
    assert "未通知：维护期间" in admin.get(f"/alerts/{within}").text


def test_on_a_day_that_was_closed_over_rest_equipment_waits_and_people_do_not(
    admin: httpx.Client, town: Town, robot: str, dsn: str
) -> None:
    on_duty(admin, robot)
    now = now_us()
    closure = {"from_us": now - 3 * DAY_US, "to_us": now + 3 * DAY_US, "reason": "装修"}
    assert admin.post("/api/v1/sites/east/closures", json=closure).status_code == 201
    equipment, people = raised(town, rule="device_offline"), raised(town, rule="opened_after_hours")
    tell(dsn)
    why = {n: admin.get(f"/api/v1/alerts/{n}/why").json()["decisions"] for n in (equipment, people)}
    assert [d["reason"] for d in why[equipment]] == ["closed_day"]
    assert [d["reason"] for d in why[people]] == ["new"]
    assert "未通知：休息日，开门时再说" in admin.get(f"/alerts/{equipment}").text


def test_a_silence_without_an_end_a_reason_or_a_matcher_is_refused(admin: httpx.Client) -> None:
    fine = {"reason": "x", "site": "east", "to_us": now_us() + HOUR_US}
    for wrong in (
        {"site": None},  # matches everything
        {"to_us": now_us() + 31 * DAY_US},
        {"to_us": 1},
        {"reason": " "},
        {"rule": "everything"},
        {"region": "1"},
    ):
        assert admin.post("/api/v1/silences", json=fine | wrong).status_code == 400, wrong
    assert admin.post("/api/v1/silences", json=fine).status_code == 200


def test_staff_silence_their_own_site_only_and_see_no_one_elses(east_staff: httpx.Client, admin: httpx.Client) -> None:
    until = now_us() + HOUR_US
    west = admin.post("/api/v1/silences", json={"reason": "x", "site": "west", "to_us": until}).json()["id"]
    town = admin.post("/api/v1/silences", json={"reason": "x", "region": TOWNSHIP, "to_us": until}).json()["id"]
    for elsewhere, status in (({"site": "west"}, 404), ({"site": "nowhere"}, 404), ({"region": TOWNSHIP}, 403)):
        assert east_staff.post("/api/v1/silences", json={"reason": "x", "to_us": until} | elsewhere).status_code == status
    mine = east_staff.post("/api/v1/silences", json={"reason": "x", "rule": "left_open", "to_us": until}).json()["id"]
    rows = {s["id"]: s["site"] for s in east_staff.get("/api/v1/silences").json()}
    assert rows == {mine: "east", town: None}
    for foreign in (west, town):
        assert east_staff.post(f"/api/v1/silences/{foreign}/expire").status_code == 404
    assert east_staff.post(f"/api/v1/silences/{mine}/expire").status_code == 200


def test_a_supervisor_silences_their_own_region_and_nothing_beyond_it(running: Running, admin: httpx.Client, town: Town) -> None:
    county, until = town.county, now_us() + HOUR_US
    with running.client(county.session(county.account("supervisor", "town", area="999001001"))) as supervisor:
        said = {"reason": "x", "to_us": until}
        whole = supervisor.post("/api/v1/silences", json=said | {"region": TOWNSHIP}).json()["id"]
        rule = supervisor.post("/api/v1/silences", json=said | {"rule": "left_open"}).json()["id"]
        rows = {s["id"]: s["area"] for s in supervisor.get("/api/v1/silences").json()}
        assert rows == {whole: "999001001", rule: "999001001"}
        assert f'value="{TOWNSHIP}' in supervisor.get("/silences", headers={"accept": "text/html"}).text
        foreign = admin.post("/api/v1/silences", json=said | {"region": "999001000000"}).json()["id"]
        for wider in ("999001000000", "999002000000"):
            assert supervisor.post("/api/v1/silences", json=said | {"region": wider}).status_code == 404
        assert supervisor.post(f"/api/v1/silences/{foreign}/expire").status_code == 404
        assert supervisor.post(f"/api/v1/silences/{whole}/expire").status_code == 200


def test_the_roster_is_an_administrators_to_change_and_its_sites_to_see(
    admin: httpx.Client, east_staff: httpx.Client, robot: str
) -> None:
    on_duty(admin, robot)
    far = {"contact": "李站长", "site": "west", "from_us": now_us(), "to_us": now_us() + DAY_US}
    assert east_staff.post("/api/v1/shifts", json=far).status_code == 403
    assert east_staff.get("/api/v1/contacts").status_code == 403
    admin.post("/api/v1/shifts", json=far)
    admin.post("/api/v1/shifts", json={"contact": "李站长", "region": TOWNSHIP, "from_us": now_us()})
    assert [(s["site"], s["area"], s["level"]) for s in east_staff.get("/api/v1/shifts").json()] == [
        ("east", None, 0),
        (None, "999001001", 1),
    ]
    assert admin.post("/api/v1/shifts", json=far | {"site": "nowhere"}).status_code == 404
    assert admin.post("/api/v1/shifts", json=far | {"region": TOWNSHIP}).status_code == 400
    (east, _, _) = admin.get("/api/v1/shifts").json()
    assert admin.post(f"/api/v1/shifts/{east['id']}/end").status_code == 200


def test_the_pages_work_without_javascript_in_both_languages(admin: httpx.Client, robot: str) -> None:
    admin.post("/roster/contacts", data={"name": "王", "endpoint": robot, "address": "", "account": ""})
    start = {"contact": "王", "place": "site:east", "from": "2026-01-01T08:00", "to": ""}
    assert admin.post("/roster/shifts", data=start).status_code == 303
    assert admin.post("/roster/shifts", data=start | {"from": "soon"}).status_code == 400
    silence = {"kind": "maintenance", "site": "", "region": TOWNSHIP, "rule": "", "severity": "", "from": "", "hours": "2"}
    assert admin.post("/silences", data=silence | {"reason": "停电检修"}).status_code == 303
    for lang, words in (
        ("zh", ("正在值班", "长期", "维护 · 云溪街道")),
        ("en", ("on duty now", "until further notice", "maintenance")),
    ):
        admin.cookies.set("lang", lang)
        text = admin.get("/roster").text + admin.get("/silences").text
        assert [word for word in words if word not in text] == []


def test_assigning_and_commenting_from_the_alerts_page(admin: httpx.Client, east_staff: httpx.Client, town: Town) -> None:
    number = raised(town)
    assert re.search(r"<option[^>]*>east-staff</option>", admin.get(f"/alerts/{number}").text)
    assert "west-staff" not in admin.get(f"/alerts/{number}").text
    assert admin.post(f"/alerts/{number}/assign", data={"version": "1", "assignee": "east-staff"}).status_code == 303
    assert admin.post(f"/alerts/{number}/assign", data={"version": "1", "assignee": "root"}).status_code == 409
    assert admin.post(f"/api/v1/alerts/{number}/assign", json={"version": 2, "assignee": "west-staff"}).status_code == 400
    assert east_staff.post(f"/alerts/{number}/comments", data={"text": "在路上 <b>"}).status_code == 303
    assert east_staff.post(f"/alerts/{number}/comments", data={"text": " "}).status_code == 400
    page = admin.get(f"/alerts/{number}").text
    assert "在路上 &lt;b&gt;" in page
    assert east_staff.get(f"/api/v1/alerts/{number}").json()["assignee"] == "east-staff"


def test_what_is_another_sites_is_not_found(running: Running, town: Town) -> None:
    number = raised(town)
    with running.client(town.county.session(town.west_staff)) as west:
        assert west.get(f"/api/v1/alerts/{number}/why").status_code == 404
        assert west.post(f"/api/v1/alerts/{number}/comments", json={"text": "x"}).status_code == 404
        assert west.post(f"/api/v1/alerts/{number}/assign", json={"version": 1, "assignee": "root"}).status_code == 404


def test_a_link_in_a_message_only_shows(admin: httpx.Client, running: Running, town: Town) -> None:
    number = raised(town)
    with running.client() as chat_program:
        assert chat_program.get(f"/alerts/{number}").status_code == 401
    admin.get(f"/alerts/{number}")
    assert town.county.version(number) == 1


@pytest.mark.parametrize(
    ("region", "head"),
    [
        ("330481001000", "330481001"),
        ("330481000000", "330481"),
        ("330400000000", "3304"),
        ("330000000000", "33"),
        ("330110000000", "330110"),
        ("330481001002", "330481001002"),
    ],
)
def test_a_regions_head_is_what_its_parts_share(region: str, head: str) -> None:
    assert area(region) == head
