"""The console's pages in a real browser, in both sizes and languages, and what happens to an open page in rough times."""

import io
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import zxingcpp
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect

from smartcare.embedded import postgres
from tests.api.everything import count
from tests.api.house import House, house, served
from tests.programs import chromium

DESK, PHONE = {"width": 1280, "height": 800}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the application's key."""
    return tmp_path_factory.mktemp("console")


@pytest.fixture(scope="module")
def home(postgres_server: postgres.Server, state: Path) -> Iterator[House]:
    """One application for the module, with eight weeks of counts."""
    with house(postgres_server, "console", state) as found:
        count(found.town)
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
    found.set_default_timeout(60_000)
    return found


def sign_in(context: BrowserContext, home: House, account: int) -> None:
    """Give a browser a session."""
    context.add_cookies([{"name": "session", "value": home.town.county.session(account), "url": home.running.url}])


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
        expect(page.locator("#link")).to_have_attribute("data-state", "live")
        expect(page.locator(f"#alert-{missed}")).to_be_visible()
        later = home.town.county.alert(home.town.west, severity="minor")
        expect(page.locator(f"#alert-{later}")).to_be_visible()
        assert page.evaluate("window.untouched") is True
        context.close()


def live(page: Page, path: str = "/") -> None:
    """Open a page and wait until it is connected."""
    page.goto(path)
    expect(page.locator("#link")).to_have_attribute("data-state", "live")


def test_labels_and_cards_are_read_by_a_scanner_from_the_page_and_lead_where_they_should(page: Page, home: House) -> None:
    url = home.running.url
    assert scanned(page, "/sites/west/labels") == {f"{url}/install?place=west%2Fp{n}" for n in range(3)}
    consent = {"version": "2026-1", "channel": "paper", "attendance": "1"}
    for ref in ("W-1", "W-2"):
        home.west.post("/people", data={"site": "west", "role": "resident", "name": "沈桂芳", "ref": ref} | consent)
    assert scanned(page, "/sites/west/cards") == {f"{url}/sites/west/check-in", "W-1", "W-2"}
    assert "沈桂芳" not in page.content()
    page.goto(f"{url}/install?place=west%2Fp2")
    expect(page.locator("main")).to_contain_text("安装到 西岭照料中心 · 食堂")
    assert home.east.get("/sites/west/cards").status_code == 404
    assert home.east.get("/sites/east/labels").status_code == 403


def scanned(page: Page, path: str) -> set[str]:
    """What a scanner reads of a page that is printed."""
    page.goto(path)
    page.emulate_media(media="print", color_scheme="light")
    picture = Image.open(io.BytesIO(page.screenshot(full_page=True)))
    page.emulate_media(media="screen")
    return {code.text for code in zxingcpp.read_barcodes(picture)}
