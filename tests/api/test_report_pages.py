"""Reports, regions and acceptances as people and programs reach them."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, expect

from gateway.clock import DAY_US, SECOND_US, now_us
from ingest.desk import Desk
from tests.api.conftest import Running, Town
from tests.api.everything import ZONE, open_yesterday
from tests.ingest.frames import store
from tests.programs import chromium


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for the module."""
    with chromium() as found:
        yield found


@pytest.fixture
def yesterday(town: Town) -> str:
    """Yesterday at the eastern site: its door was heard all day and opened at 08:20; twelve were served, one alert answered."""
    return open_yesterday(town)


def test_a_report_is_read_by_programs_and_opens_to_its_events(running: Running, town: Town, yesterday: str) -> None:
    token = town.county.token(town.admin, "read", "act")
    period = f"{yesterday}..{yesterday}"
    with running.client(token=token) as root:
        body = root.get("/api/v1/reports", params={"site": "east", "period": period}).json()
        measured = body["total"]["measured"]
        assert [measured[k] for k in ("planned_days", "opening_days", "footfall", "served", "meals")] == [1, 1, 5, 12, 9]
        assert (measured["alerts"], measured["unanswered"], measured["blind_hours"]) == (1, 0, 0)
        assert body["total"]["seen_percent"] == {"opening": 100.0, "footfall": None, "service": None}
        assert "once per person" in body["rules"]["en"]["served"]
        (day,) = root.get("/api/v1/reports/sites/east/days", params={"period": period}).json()
        assert (day["opened"], day["served"]) == (True, 12)
        events = root.get("/api/v1/reports/sites/east/events", params={"day": yesterday, "what": "opening"}).json()
        assert [e["t_us"] for e in events["items"]] == [day["first_us"]]
        everything = root.get("/api/v1/reports", params={"period": period}).json()
        assert {s["code"]: s["measured"]["served"] for s in everything["sites"]} == {"east": 12, "west": 0}
        assert everything["total"]["measured"]["unknown_days"] == 1, "nothing is known of the site without sensors"
        bad = root.get("/api/v1/reports", params={"period": "yesterday"})
        assert (bad.status_code, bad.json()["type"]) == (400, "urn:smartcare:problem:bad-request")
        assert root.get("/api/v1/reports", params={"site": "nowhere", "period": period}).status_code == 404
        regions = root.get("/api/v1/regions").json()
        assert [(r["sites"], r["served"], r["alerts"]) for r in regions] == [(2, 12, 1)]
        under = root.get("/api/v1/regions", params={"under": regions[0]["code"]}).json()
        assert {r["code"] for r in under} == {"east", "west"}


def test_what_is_foreign_is_not_found_and_a_correction_is_audited(running: Running, town: Town, yesterday: str) -> None:
    correction: dict[str, Any] = {"day": yesterday, "what": "served", "delta": -2, "reason": "重复登记"}
    with running.client(town.county.session(town.west_staff)) as west:
        for path in ("", "/sites/east/days", "/sites/east/sensors", "/sites/east/corrections"):
            query = {"period": f"{yesterday}..{yesterday}"} | ({} if path else {"site": "east"})
            assert west.get(f"/api/v1/reports{path}", params=query).status_code == 404
        assert west.get("/api/v1/reports/sites/east/events", params={"day": yesterday, "what": "service"}).status_code == 404
        assert west.get("/sites/east/acceptances").status_code == 404
        assert west.post("/api/v1/reports/sites/west/corrections", json=correction).status_code == 403
        mine = west.get("/api/v1/reports", params={"period": yesterday[:7]}).json()
        assert [s["code"] for s in mine["sites"]] == ["west"]
    with running.client(town.county.session(town.admin)) as root:
        assert root.post("/api/v1/reports/sites/east/corrections", json=correction).status_code == 201
        assert root.post("/api/v1/reports/sites/east/corrections", json=correction | {"delta": 0}).status_code == 400
        total = root.get("/api/v1/reports", params={"site": "east", "period": yesterday[:7]}).json()["total"]
        assert (total["measured"]["served"], total["corrected"]["served"]) == (12, 10)
        made = root.post("/api/v1/sites/east/acceptances", json={"days": 1}).json()
        assert (made["passed"], made["record"]["sensors"][0]["days_reported"]) == (False, 1)
        assert made["record"]["sensors"][0]["failed"] == ["walk_test"]
    rows = town.county.conn.execute("SELECT action, subject, who FROM audit ORDER BY id").fetchall()
    assert rows[-2:] == [("report.corrected", "site/east", "root"), ("site.accepted", "site/east", "root")]


def test_the_pages_say_what_is_known_and_print_without_menus(
    browser: Browser, running: Running, town: Town, yesterday: str
) -> None:
    with running.client(town.county.session(town.admin)) as root:
        form = {"day": yesterday, "what": "served", "delta": "3", "reason": "手工登记", "period": yesterday[:7]}
        assert root.post("/reports/sites/east/corrections", data=form).headers["location"].endswith("#corrections")
        made = root.post("/sites/east/acceptances", data={"days": "1"})
        record = made.headers["location"]
        assert root.get(record + "/file").json()["signature"]
        for kind in ("xlsx", "csv", "json"):
            file = root.get("/api/v1/reports/export", params={"period": yesterday[:7], "format": kind})
            assert file.headers["content-disposition"].endswith(f'.{kind}"')
    month = yesterday[:7]
    paths = {
        "/reports": "报表与通报",
        f"/reports?period={month}": "东桥睦邻点",
        f"/reports?site=east&period={month}": "手工登记",
        f"/reports/sites/east/events?day={yesterday}&what=opening": "开门",
        f"/reports/sites/east/attenders?period={month}": "服务人数",
        "/regions": "云溪街道",
        "/regions?under=999001001": "西岭照料中心",
        "/sites/east/acceptances": "验收",
        record: "签名",
    }
    context = browser.new_context(base_url=running.url)
    context.add_cookies([{"name": "session", "value": town.county.session(town.admin), "url": running.url}])
    page = context.new_page()
    for path, words in paths.items():
        page.goto(path)
        assert words in page.inner_text("main"), path
    page.goto(f"/reports?site=east&period={month}")
    page.emulate_media(media="print")
    assert not page.locator(".nav").is_visible()
    assert page.locator("#rules").is_visible()
    context.close()


def test_a_check_in_without_a_face_counts_as_a_service_and_its_desk_is_no_sensor(
    admin: httpx.Client, town: Town, dsn: str
) -> None:
    conn, now = town.county.conn, now_us()
    conn.execute("UPDATE site SET shard = 3 WHERE id = %s", [town.east])  # one that the store below owns
    person = conn.execute(
        "INSERT INTO person (token, site, role, consent_from_us) VALUES (%s, %s, 'resident', %s) RETURNING id",
        [bytes(16), town.east, now - DAY_US],
    ).fetchone()
    assert person
    for who in (str(person[0]), str(person[0]), ""):  # tapped twice; one who stays anonymous
        assert admin.post("/sites/east/check-in", data={"person": who}).status_code == 303
    desk = Desk(dsn)
    with store(dsn) as worker:
        worker.take(*desk.messages([3], now_us()), now_us=now_us())
    desk.close()
    day = f"{datetime.fromtimestamp(now // SECOND_US, ZONE):%Y-%m-%d}"
    total = admin.get("/api/v1/reports", params={"site": "east", "period": f"{day}..{day}"}).json()["total"]["measured"]
    assert [total[k] for k in ("served", "anonymous", "attenders", "sensors", "blind_hours")] == [2, 1, 1, 0, 0]
    behind = admin.get("/api/v1/reports/sites/east/events", params={"day": day, "what": "service"}).json()["items"]
    assert [e["person"] for e in behind] == [person[0], person[0], None]
    assert all(e["gateway"].startswith("desk-") for e in behind)


def test_a_site_whose_sensors_reported_and_were_walked_past_is_accepted(admin: httpx.Client, town: Town, yesterday: str) -> None:
    conn = town.county.conn
    (device, door) = conn.execute("SELECT device, place FROM mounting").fetchone() or (0, 0)
    assert admin.post("/sites/east/walk").status_code == 303
    now = now_us()
    for n, opened in enumerate((1, 0)):
        conn.execute(
            "INSERT INTO event VALUES (%s, %s, 0, %s, 0, 0, %s, %s, %s, 0, 0, 0, 1, 1, 0, 0)",
            [now + n, now + n, opened, n, device, door],
        )
    assert admin.post("/sites/east/walk/end").status_code == 303
    made = admin.post("/api/v1/sites/east/acceptances", json={"days": 1}).json()
    assert (made["passed"], made["record"]["last"]) == (True, yesterday)
    (sensor,) = made["record"]["sensors"]
    assert (sensor["failed"], sensor["walk_tests"][0]["seen"], sensor["walk_tests"][0]["by"]) == ([], True, "root")
    page = admin.get(f"/sites/east/acceptances/{made['id']}", headers={"accept": "text/html"}).text
    assert "通过" in page
    assert "未通过" not in page


def test_every_number_of_a_report_opens_to_what_it_is_made_of_and_says_what_sensors_saw(
    browser: Browser, running: Running, town: Town, yesterday: str
) -> None:
    context = browser.new_context(base_url=running.url)
    context.add_cookies([{"name": "session", "value": town.county.session(town.admin), "url": running.url}])
    page = context.new_page()
    report = f"/reports?site=east&period={yesterday}..{yesterday}"
    page.goto(report)
    rows = page.locator(".grid-summary tbody tr")
    figures = {row.locator("th").inner_text(): row for row in rows.all()}
    assert len(figures) > 15
    for name, row in figures.items():
        number = row.locator("td").first
        assert number.inner_text() == "–" or number.locator("a").count() == 1, f"{name} leads nowhere"
    assert figures["开放天数"].locator("td").last.inner_text() == "100.0"
    ways = sorted(
        {str(row.locator("td a").first.get_attribute("href")) for row in figures.values() if row.locator("td a").count()}
    )
    for way in ways:
        target = way if way.startswith("/") else report + way
        answer = page.goto(target)  # None where it is a place on the page itself
        assert answer is None or answer.status == 200, target
        anchor = target.partition("#")[2]
        assert not anchor or page.locator(f"#{anchor}").count() == 1, f"{target} is not on the page"
    page.goto(report)
    page.locator(".grid-days tbody a").first.click()
    expect(page.locator("tbody tr").first).to_contain_text("08:20")
    context.close()
