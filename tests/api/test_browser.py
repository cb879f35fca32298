"""The page in a real browser, on a desk and on a phone."""

import re
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

from gateway.clock import MINUTE_US, now_us
from gateway.events import Kind
from tests.api.conftest import Running, Town
from tests.programs import chromium

DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}
SIZES = pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for the module."""
    with chromium() as found:
        yield found


@pytest.fixture
def context(browser: Browser, running: Running, town: Town) -> Iterator[BrowserContext]:
    """A browser in which an admin is signed in; at the end nothing may have been fetched from elsewhere or gone wrong."""
    found = browser.new_context(viewport=DESK, base_url=running.url)  # type: ignore[arg-type]
    found.add_cookies([{"name": "session", "value": town.county.session(town.admin), "url": running.url}])
    faults: list[str] = []
    found.on("request", lambda r: faults.append(r.url) if not r.url.startswith(running.url) else None)
    found.on("weberror", lambda e: faults.append(str(e.error)))
    found.on("console", lambda m: faults.append(m.text) if m.type == "error" and not expected(m.text) else None)
    yield found
    found.close()
    assert faults == []


def expected(message: str) -> bool:
    """The browser's own notes on what a test makes happen: a refused version, a blocked stream, an ended session."""
    return any(part in message for part in ("409", "401", "ERR_FAILED"))


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A tab."""
    page = context.new_page()
    page.set_default_timeout(60_000)
    return page


def live(page: Page, path: str = "/") -> None:
    """Open a page and wait until it is connected."""
    page.goto(path)
    expect(page.locator("#link")).to_have_attribute("data-state", "live")


def test_an_alert_raised_after_loading_appears_without_reload(page: Page, town: Town) -> None:
    live(page)
    expect(page.get_by_text("没有待处理的告警")).to_be_visible()
    page.evaluate("window.untouched = true")
    alert = town.county.alert(town.east)
    row = page.locator(f"#alert-{alert}")
    expect(row).to_contain_text("前未开门")
    expect(row).to_contain_text("东桥睦邻点")
    expect(row).to_contain_text("紧急")
    assert page.evaluate("window.untouched") is True


def test_taking_over_by_a_click_changes_the_row_and_the_database(page: Page, town: Town) -> None:
    alert = town.county.alert(town.east)
    live(page)
    page.evaluate("window.untouched = true")
    page.locator(f"#alert-{alert}").get_by_role("button", name="接手").click()
    expect(page.locator(f"#alert-{alert}")).to_contain_text("root 已接手")
    expect(page.locator("#toast")).to_have_text("已接手。")
    assert page.evaluate("window.untouched") is True
    assert town.county.version(alert) == 2


def test_whoever_clicks_second_is_told_that_someone_was_faster(page: Page, town: Town) -> None:
    alert = town.county.alert(town.east)
    live(page)
    button = page.locator(f"#alert-{alert}").get_by_role("button", name="接手")
    # committed without a change row, so that this page still shows the old version
    town.county.conn.execute("UPDATE alert SET state = 'acknowledged', version = 2, assignee = '别人' WHERE id = %s", [alert])
    button.click()
    expect(page.locator("#toast")).to_contain_text("刚刚已由他人处理，现状态：处理中")


def test_resolving_asks_for_the_outcome_and_shows_it(page: Page, town: Town) -> None:
    alert = town.county.alert(town.east)
    live(page)
    page.locator(f"#alert-{alert}").get_by_role("link", name="办结").click()
    page.get_by_label("误报").check()
    page.get_by_label("说明").fill("送货的人来过")
    page.get_by_role("button", name="办结").click()
    expect(page.locator("article")).to_contain_text("送货的人来过")
    expect(page.locator(".tag")).to_contain_text("已办结")
    expect(page.locator(".history")).to_contain_text("root")


def test_typed_words_survive_a_live_update(page: Page, town: Town) -> None:
    alert = town.county.alert(town.east)
    live(page, f"/alerts/{alert}")
    page.get_by_label("说明").fill("正在写")
    page.get_by_label("真实").check()
    town.county.conn.execute("UPDATE alert SET severity = 'minor', version = 2 WHERE id = %s", [alert])
    town.county.change(alert, 2, "updated")
    expect(page.locator("article header")).to_contain_text("一般")
    expect(page.get_by_label("说明")).to_have_value("正在写")
    expect(page.get_by_label("真实")).to_be_checked()


def test_a_list_does_not_move_under_a_pressing_finger(page: Page, town: Town) -> None:
    first = town.county.alert(town.east, severity="major")
    live(page)
    page.locator("h1").hover()
    page.mouse.down()
    second = town.county.alert(town.west)
    with page.expect_response(re.compile("livez")):
        page.evaluate("new Promise(done => setTimeout(done, 1500)).then(() => fetch('/livez'))")
    expect(page.locator(".alerts li.alert")).to_have_count(1)
    page.mouse.up()
    expect(page.locator(".alerts li.alert")).to_have_count(2)
    assert page.locator(".alerts li.alert").first.get_attribute("id") == f"alert-{second}"
    assert page.locator(".alerts li.alert").last.get_attribute("id") == f"alert-{first}"


def test_the_page_speaks_english_after_one_click_and_live_updates_do_too(page: Page, town: Town) -> None:
    live(page)
    page.get_by_role("button", name="English").click()
    expect(page.locator("h1")).to_have_text("Today")
    expect(page.locator("html")).to_have_attribute("lang", "en")
    expect(page.locator("#link")).to_have_attribute("data-state", "live")
    alert = town.county.alert(town.east)
    row = page.locator(f"#alert-{alert}")
    expect(row).to_contain_text("Not opened by")
    expect(row).to_contain_text("Dongqiao point")
    expect(row.get_by_role("button")).to_have_text("Take over")
    text = page.locator("body").inner_text().replace("中文", "")
    assert not re.search(r"[一-鿿]", text), text


def test_large_text_is_a_quarter_larger(page: Page) -> None:
    live(page)
    before = page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)")
    page.get_by_role("button", name="大字").click()
    expect(page.locator("html.large")).to_have_count(1)
    assert page.evaluate("parseFloat(getComputedStyle(document.body).fontSize)") == before * 1.25


def test_the_page_says_what_is_not_analysed_as_soon_as_it_is(page: Page, town: Town) -> None:
    live(page)
    expect(page.get_by_text("未分析，自")).to_have_count(0)
    town.county.conn.execute("UPDATE shard SET failing_since_us = %s WHERE id = 1", [now_us() - 5 * MINUTE_US])
    banner = page.locator(".banner.bad")
    expect(banner).to_contain_text("未分析，自")
    expect(banner).to_contain_text("东桥睦邻点")
    page.get_by_role("button", name="English").click()
    expect(page.locator(".banner.bad")).to_contain_text("Not analysed since")


def test_an_event_appears_at_once_marked_and_leads_to_its_site(page: Page, town: Town) -> None:
    live(page)
    latest = page.locator(".latest")
    expect(latest.locator("li")).to_have_count(8)
    expect(page.locator(".fresh")).to_have_count(0)
    county = town.county
    county.happened(town.west, county.event(now_us(), county.place(town.west), Kind.CONTACT, a=1))
    first = latest.locator("li").first
    expect(first).to_have_class("fresh")
    expect(first).to_contain_text("开门")
    expect(first).to_contain_text("前门")
    expect(latest.locator("li")).to_have_count(8)
    expect(page.locator(".fresh")).to_have_count(0)  # the mark fades
    first.get_by_role("link", name="西岭照料中心").click()
    expect(page.locator("h1")).to_have_text("西岭照料中心")


@SIZES
def test_a_door_is_a_line_and_the_same_in_a_table(page: Page, town: Town, size: Any) -> None:
    page.set_viewport_size(size)
    now = now_us()
    town.county.contact(town.east, [(now - 9 * MINUTE_US, now)], (now - 8 * MINUTE_US, 1, 0), (now - 2 * MINUTE_US, 0, 0))
    live(page, "/sites/east")
    door = page.locator(".door-day")
    expect(door).to_contain_text("开门 1 次，现在关着")
    for state in ("open", "closed", "unknown"):
        expect(door.locator(f"rect.{state}")).not_to_have_count(0)
    line, bar = door.locator("svg").bounding_box(), door.locator("rect.open").bounding_box()
    assert line
    assert bar
    assert line["x"] <= bar["x"] < line["x"] + line["width"]
    door.get_by_text("开关记录").click()
    expect(door.locator("tbody tr").nth(1)).to_contain_text(re.compile(r"开着\s*6 分钟"))
    town.county.conn.execute("UPDATE site_status SET changed = pg_current_xact_id(), today_in = 4711")
    expect(page.locator("#site")).to_contain_text("4711")
    expect(door.locator("tbody tr").nth(1)).to_be_visible()  # a live update leaves the table open


def test_a_site_shows_its_state_deadline_places_and_events(page: Page, town: Town) -> None:
    live(page, "/?site=east")
    row = page.locator("#site-row-east")
    expect(row).to_contain_text("正常")
    expect(row).to_contain_text(re.compile(r"应有动静 \d\d:\d\d\s*还有 2\d 分钟"))
    site = page.locator("#site")
    expect(site).to_contain_text("前门")
    expect(site.locator(".place-open")).to_contain_text("开着")
    expect(site.locator(".events")).to_contain_text("进 2，出 1")
    page.goto("/sites/east")
    expect(page.locator("h1")).to_have_text("东桥睦邻点")


def test_searching_hides_the_sites_that_do_not_match(page: Page) -> None:
    live(page)
    page.get_by_role("searchbox").fill("西岭")
    expect(page.locator("#site-row-east")).to_be_hidden()
    expect(page.locator("#site-row-west")).to_be_visible()
    page.get_by_role("searchbox").fill("没有这个")
    expect(page.get_by_text("没有符合的站点")).to_be_visible()


def test_a_lost_connection_is_shown_and_what_was_missed_comes_back(page: Page, town: Town, context: BrowserContext) -> None:
    live(page)
    page.clock.install()
    page.reload()
    expect(page.locator("#link")).to_have_attribute("data-state", "live")
    page.clock.run_for(20_000)
    expect(page.locator("#link")).to_have_attribute("data-state", "live")
    context.route("**/events*", lambda route: route.abort())
    page.clock.run_for(20_000)
    expect(page.locator("#link")).to_have_attribute("data-state", "lost")
    expect(page.locator("#lost")).to_be_visible()
    alert = town.county.alert(town.east)
    context.unroute("**/events*")
    page.clock.resume()
    expect(page.locator("#link")).to_have_attribute("data-state", "live")
    expect(page.locator(f"#alert-{alert}")).to_be_visible()


def test_signing_out_elsewhere_leads_an_open_page_to_the_door(page: Page, town: Town) -> None:
    live(page)
    town.county.conn.execute("DELETE FROM session")
    page.wait_for_url("**/signin")


def test_everything_works_without_javascript(browser: Browser, running: Running, town: Town) -> None:
    alert = town.county.alert(town.east)
    context = browser.new_context(base_url=running.url, java_script_enabled=False)
    context.add_cookies([{"name": "session", "value": town.county.session(town.east_staff), "url": running.url}])
    page = context.new_page()
    page.goto("/")
    page.locator(f"#alert-{alert}").get_by_role("button", name="接手").click()
    expect(page.locator(f"#alert-{alert}")).to_contain_text("east-staff 已接手")
    expect(page.locator(".latest li").first).to_contain_text("进 2，出 1")
    page.get_by_role("searchbox").fill("东桥")
    page.get_by_role("searchbox").press("Enter")
    expect(page.locator("#site-row-east")).to_be_visible()
    page.get_by_role("link", name="告警", exact=True).click()
    expect(page.locator(".past")).to_contain_text("处理中")
    context.close()


def test_the_bar_of_a_phone_has_five_entries_and_more_leads_to_the_devices(page: Page) -> None:
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    page.goto("/more")
    assert [link.inner_text() for link in page.locator("nav a").all() if link.is_visible()] == [
        "总览",
        "站点",
        "告警",
        "探访",
        "更多",
    ]
    page.locator("main").get_by_role("link", name="设备").click()
    expect(page.locator("h1")).to_have_text("设备")


SEES = """
window.BarcodeDetector = class { async detect() { return [{ rawValue: "SN:1;DevEUI:24E124FFFE0BADCAFE" }]; } };
const canvas = document.createElement("canvas");
const pen = canvas.getContext("2d");
setInterval(() => pen.fillRect(0, 0, 100 * Math.random(), 100), 50);
const media = { async getUserMedia() { return canvas.captureStream(20); } };
Object.defineProperty(navigator, "mediaDevices", { value: media });
"""


def test_the_camera_reads_the_code_on_a_device_where_the_browser_can(page: Page, town: Town) -> None:
    town.county.conn.execute("INSERT INTO gateway (code, shard) VALUES ('gw', 1)")
    town.county.conn.execute("INSERT INTO unclaimed SELECT id, 'lora/24e124fffe0badcafe', 0, 1, 12, 1036 FROM gateway")
    page.goto("/install")
    assert page.locator("#scan").is_hidden()  # this browser reads no codes
    page.add_init_script(SEES)
    answer = page.goto("/install")
    assert answer is not None
    assert "camera=(self)" in answer.headers["permissions-policy"]
    page.click("#scan")
    page.wait_for_selector("#found-1")
    assert "DevEUI" in page.url
