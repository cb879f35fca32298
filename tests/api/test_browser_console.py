"""The console's pages in a real browser, in both sizes and languages, and what happens to an open page in rough times."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from gateway.clock import DAY_US, HOUR_US, MINUTE_US, now_us
from smartcare.embedded import postgres
from tests.api.house import House, house, served
from tests.programs import chromium

DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the application's key."""
    return tmp_path_factory.mktemp("console")


@pytest.fixture(scope="module")
def home(postgres_server: postgres.Server, state: Path) -> Iterator[House]:
    """One application for the module, with something of everything."""
    with house(postgres_server, "console", state) as found:
        fill(found)
        yield found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for the module."""
    with chromium() as found:
        yield found


@pytest.fixture
def context(browser: Browser, home: House) -> Iterator[BrowserContext]:
    """A browser in which an administrator is signed in; nothing may come from elsewhere."""
    found = browser.new_context(viewport=DESK, base_url=home.running.url)  # type: ignore[arg-type]
    sign_in(found, home, home.town.admin)
    foreign: list[str] = []
    found.on("request", lambda r: foreign.append(r.url) if not r.url.startswith(home.running.url) else None)
    found.on("weberror", lambda e: foreign.append(str(e.error)))
    yield found
    found.close()
    assert foreign == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    """A tab."""
    found = context.new_page()
    found.set_default_timeout(10_000)
    return found


def sign_in(context: BrowserContext, home: House, account: int) -> None:
    """Give a browser a session."""
    context.add_cookies([{"name": "session", "value": home.town.county.session(account), "url": home.running.url}])


def fill(home: House) -> None:
    """Eight weeks of counts, people, a closure to come, a device in trouble."""
    county, now = home.town.county, now_us()
    hour = now - now % HOUR_US
    hall = county.place(home.town.east, "p1")
    for n in range(1, 57):
        for back, people in ((0, 12), (1, 8 + n % 4), (2, 3)):
            at_us = hour - n * DAY_US - back * HOUR_US
            county.conn.execute("INSERT INTO rollup_hour (place, hour_us, people_in) VALUES (%s, %s, %s)", [hall, at_us, people])
    county.conn.execute("INSERT INTO rollup_hour (place, hour_us, people_in) VALUES (%s, %s, 41)", [hall, hour])
    county.conn.execute('UPDATE site_status SET detail = detail || \'{"inside": 17, "inside_unsure": true}\'')
    device = county.contact(home.town.east, [(now - HOUR_US, now)], (now - 8 * MINUTE_US, 1, 0), (now - 2 * MINUTE_US, 0, 0))
    trouble = county.alert(home.town.east, "battery_low", severity="minor", state="acknowledged")
    county.conn.execute("UPDATE alert SET subject_kind = 'device', subject = %s WHERE id = %s", [device, trouble])
    fields = {
        "site": "east",
        "role": "resident",
        "name": "沈桂芳",
        "ref": "E-1",
        "version": "2026-1",
        "channel": "paper",
        "guardian": "沈明",
    }
    home.east.post("/people", data=fields | {"attendance": "1", "absence": "1"})
    home.east.post("/people/1/absences", data={"from": "2026-12-01", "to": "2026-12-09", "reason": "住女儿家"})
    home.east.post("/sites/east/check-in", data={"ref": "E-1"})
    home.east.post("/sites/east/entries", data={"mode": "visit", "from": today(2), "to": today(2), "reason": "参观"})
    home.admin.post("/sites/east/rules", data={"rule": "battery_low", "percent": "15", "do": "save"})


def today(days: int = 0) -> str:
    """A date as forms have it."""
    return datetime.fromtimestamp((now_us() + days * DAY_US) // 1_000_000, UTC).strftime("%Y-%m-%d")


PAGES = (
    "/sites/east",
    "/sites/east/calendar",
    "/calendar",
    "/register",
    "/sites/east/register",
    "/sites/east/rules",
    "/people",
    "/people/1",
    "/sites/east/check-in",
    "/devices",
    "/alerts?site=east&show=active",
    "/accounts",
    "/audit",
    "/password",
)


@pytest.mark.parametrize(
    ("size", "lang", "text", "scheme"),
    [(DESK, "zh", "normal", "light"), (PHONE, "en", "large", "dark")],
    ids=["desk-zh", "phone-en"],
)
def test_every_page_fits_and_breaks_no_accessibility_rule(
    context: BrowserContext, page: Page, home: House, size: Any, lang: str, text: str, scheme: Any
) -> None:
    context.add_cookies([{"name": n, "value": v, "url": home.running.url} for n, v in (("lang", lang), ("text", text))])
    page.set_viewport_size(size)
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    for path in PAGES:
        answer = page.goto(path)
        assert answer
        assert answer.status == 200, path
        # the first forms that are folded away: the others are like them
        page.evaluate("[...document.querySelectorAll('main details')].slice(0, 2).forEach((d) => { d.open = true; })")
        wide = page.evaluate(
            """() => [...document.querySelectorAll("main *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1
            && !e.closest(".scroll")).map((e) => e.className || e.nodeName)"""
        )
        assert wide == [], (path, wide)
        small = page.evaluate(
            """() => [...document.querySelectorAll("button, .button, select, summary, .field input")]
            .map((e) => [e.textContent || e.name, e.getBoundingClientRect()])
            .filter(([, r]) => r.width && r.height < 43.5).map(([t]) => t)"""
        )
        assert small == [], (path, small)
        found = Axe().run(page, context="main", options={"resultTypes": ["violations"]})  # the frame is tried with other pages
        assert found.violations_count == 0, (path, found.generate_report())
        if lang == "en" and "people" not in path and "east" not in path:
            said = page.locator("main h1, main h2, main label, main button, main summary, main th").all_inner_texts()
            assert not re.search(r"[一-鿿]", "".join(said).replace("值班", "")), (path, said)


def test_the_site_page_marks_an_hour_by_shape_and_reads_it_out(page: Page, home: House) -> None:
    page.goto("/sites/east")
    expect(page.locator(".flow .sign.high")).to_have_count(1)
    expect(page.locator(".flow polygon.usual")).to_have_count(1)
    expect(page.locator(".reader output")).to_contain_text(re.compile(r"41 人次，通常 12–12，偏高"))
    page.locator("#flow-reader").press("ArrowLeft")
    expect(page.locator(".reader output")).not_to_contain_text("41 人次")
    page.get_by_text("数据表").click()
    expect(page.locator("#flow-table")).to_contain_text("偏高")
    expect(page.locator("#site")).to_contain_text("17 / 60")


def test_a_site_is_closed_in_two_taps_and_opened_in_one(page: Page) -> None:
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    page.goto("/sites/west")
    page.get_by_text("今日停业…").click()
    page.get_by_role("button", name="检修施工").click()
    expect(page.locator(".today-form")).to_contain_text("今日停业 检修施工 · root")
    page.get_by_role("button", name="恢复开放").click()
    expect(page.get_by_text("今日停业…")).to_be_visible()


def test_an_urgent_alert_sounds_once_and_stands_in_the_title_until_it_is_taken(page: Page, home: House) -> None:
    live(page)
    expect(page).to_have_title(re.compile(r"^今日总览"))
    alert = home.town.county.alert(home.town.west)
    expect(page.locator(f"#alert-{alert}")).to_be_visible()
    expect(page).to_have_title(re.compile(r"^\(1\) 今日总览"))
    expect(page.locator("body")).to_have_attribute("data-sounded", "1")
    page.get_by_role("button", name="声音：开").click()
    other = home.town.county.alert(home.town.west)
    expect(page).to_have_title(re.compile(r"^\(2\)"))
    expect(page.locator("body")).to_have_attribute("data-sounded", "1")
    for number in (alert, other):
        page.locator(f"#alert-{number}").get_by_role("button", name="接手").click()
    expect(page).to_have_title(re.compile(r"^今日总览"))


def test_taking_over_while_another_resolves_leaves_one_winner_and_two_true_pages(
    page: Page, browser: Browser, home: House
) -> None:
    alert = home.town.county.alert(home.town.east, severity="major")
    context = browser.new_context(base_url=home.running.url)
    sign_in(context, home, home.town.east_staff)
    other = context.new_page()
    other.goto(f"/alerts/{alert}")
    live(page)
    row = page.locator(f"#alert-{alert}")
    other.get_by_label("真实").check()

    def after_the_other(route: Route) -> None:
        resolve(other)
        route.continue_()

    page.route("**/acknowledge", after_the_other)
    row.get_by_role("button", name="接手").click()
    expect(page.locator("#toast")).to_contain_text("刚刚已由他人处理，现状态：已办结")
    expect(row).to_have_count(0)
    expect(other.locator(".tag")).to_contain_text("已办结")
    changes = home.town.county.conn.execute("SELECT what, who FROM alert_change WHERE alert = %s ORDER BY id", [alert]).fetchall()
    assert changes == [("opened", "analyzer"), ("resolved", "east-staff")]
    context.close()


def resolve(page: Page) -> None:
    """Send the form that is filled in."""
    page.get_by_role("button", name="办结").click()
    expect(page.locator(".tag")).to_contain_text("已办结")


def test_five_hundred_updates_in_a_second_end_in_the_last_one(page: Page, home: House) -> None:
    live(page, "/?site=east")
    county, site = home.town.county, home.town.east
    for n in range(500):
        county.conn.execute(
            "UPDATE site_status SET today_in = %s, changed = pg_current_xact_id() WHERE site = %s", [10_000 + n, site]
        )
    county.conn.execute("NOTIFY smartcare")
    expect(page.locator("#site .facts")).to_contain_text("10499")
    alert = county.alert(site, severity="minor")
    expect(page.locator(f"#alert-{alert}")).to_be_visible()


def test_an_open_page_misses_no_alert_when_the_api_restarts(browser: Browser, home: House, state: Path) -> None:
    with served(home.dsn, state) as first:
        context = browser.new_context(base_url=first.url)
        context.add_cookies([{"name": "session", "value": home.town.county.session(home.town.admin), "url": first.url}])
        page = context.new_page()
        live(page)
        page.evaluate("window.untouched = true")
        port = int(first.url.rpartition(":")[2])
    expect(page.locator("#link")).not_to_have_attribute("data-state", "live")
    missed = home.town.county.alert(home.town.west, severity="minor")
    with served(home.dsn, state, port):
        expect(page.locator("#link")).to_have_attribute("data-state", "live", timeout=20_000)
        expect(page.locator(f"#alert-{missed}")).to_be_visible()
        later = home.town.county.alert(home.town.west, severity="minor")
        expect(page.locator(f"#alert-{later}")).to_be_visible()
        assert page.evaluate("window.untouched") is True
        context.close()


def live(page: Page, path: str = "/") -> None:
    """Open a page and wait until it is connected."""
    page.goto(path)
    expect(page.locator("#link")).to_have_attribute("data-state", "live")
