"""Reports, regions and acceptances as people and programs reach them."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser

from tests.api.conftest import Running, Town
from tests.api.everything import open_yesterday
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
