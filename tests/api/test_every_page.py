"""Every page of the console in a real browser, on a desk and on a phone, in both languages: it fits, it can be used, it speaks
one language, and no rule of accessibility is broken.

One decision: each page is opened once in each language and looked at in both sizes, light on one and dark on the other, in large
text on the English phone: one database, application and browser serve all, and what the looking costs is axe-core's work alone.
"""

import html
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, ViewportSize

from smartcare.embedded import postgres
from tests.api.everything import Pages, furnish
from tests.api.house import House, house
from tests.programs import chromium

DESK: ViewportSize = {"width": 1280, "height": 800}
PHONE: ViewportSize = {"width": 390, "height": 844}
PARTS = 5
"""So that no test takes long on a busy machine."""
STATUS = {"/sites/nowhere": 404, "/invitation/used-up": 410}
OVERFLOWS = """() => [...document.querySelectorAll("body *")].filter((e) => e.getBoundingClientRect().right > innerWidth + 1
  && !e.closest(".scroll")).map((e) => e.className || e.nodeName)"""
TOO_SMALL = """() => [...document.querySelectorAll("button, .button, nav a, select, summary, .field input, input[type=search]")]
  .map((e) => [e.textContent || e.name, e.type, e.getBoundingClientRect()])
  .filter(([, type, r]) => r.width && !["checkbox", "radio"].includes(type) && (r.height < 43.5 || r.width < 43.5))
  .map(([t]) => t)"""
FOLDED = "[...document.querySelectorAll('main details')].slice(0, 2).forEach((d) => { d.open = true; })"
WORDS = (
    """() => [...document.querySelectorAll("pre")].reduce((text, e) => text.replace(e.innerText, ""), document.body.innerText)"""
)
CHINESE = re.compile(r"[一-鿿]+")
ENGLISH = re.compile(r"\b[A-Za-z]?[a-z]{2,} [a-z]{2,}\b")


BREAKS = """async () => (await axe.run(document, { resultTypes: ["violations"] })).violations
  .map((v) => [v.id, v.help, v.nodes.map((n) => n.target.join(" ")).slice(0, 3)])"""
LARGE = "document.documentElement.classList.add('large')"  # what the server does for those who chose it


@dataclass(slots=True)
class Inspector:
    """Looks at pages on a desk and then on a phone, and collects what is wrong with them."""

    page: Page
    lang: str
    axe: str = field(default_factory=lambda: Axe().axe_script)
    wrong: list[str] = field(default_factory=list)

    def look(self, path: str) -> None:
        """Open a page and inspect it."""
        self.page.set_viewport_size(DESK)
        self.page.emulate_media(color_scheme="light" if self.lang == "zh" else "dark", reduced_motion="reduce")
        answer = self.page.goto(path)
        status = answer.status if answer else 0
        if status != STATUS.get(path, 200):
            self.wrong.append(f"{path}: answered {status}")
            return
        self.page.evaluate(FOLDED)  # the first forms that are folded away: the others are like them
        self.page.evaluate(self.axe)
        text = self.page.evaluate(WORDS).replace("中文", "")  # the switch says what it leads to
        self._note(path, f"is not {self.lang}", (CHINESE if self.lang == "en" else ENGLISH).findall(text))
        self._inspect(path, "on a desk")
        self.page.set_viewport_size(PHONE)
        self.page.emulate_media(color_scheme="dark" if self.lang == "zh" else "light", reduced_motion="reduce")
        if self.lang == "en":
            self.page.evaluate(LARGE)
        self._inspect(path, "on a phone")

    def _inspect(self, path: str, where: str) -> None:
        self._note(path, f"reaches beyond the edge {where}", self.page.evaluate(OVERFLOWS))
        self._note(path, f"is too small for a finger {where}", self.page.evaluate(TOO_SMALL))
        self._note(path, f"breaks a rule of accessibility {where}", self.page.evaluate(BREAKS))

    def _note(self, path: str, what: str, found: list[Any]) -> None:
        if found:
            self.wrong.append(f"{path}: {what}: {found[:6]}")


@pytest.fixture(scope="module")
def home(postgres_server: postgres.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One application for the module."""
    with house(postgres_server, "everything", tmp_path_factory.mktemp("everything")) as found:
        yield found


@pytest.fixture(scope="module")
def pages(home: House) -> Pages:
    """The same with something of everything."""
    return furnish(home)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for the module."""
    with chromium() as found:
        yield found


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_every_page_fits_speaks_one_language_and_breaks_no_accessibility_rule(
    browser: Browser, home: House, pages: Pages, lang: str, part: int
) -> None:
    url = home.running.url
    context = browser.new_context(base_url=url)
    context.set_default_timeout(60_000)
    elsewhere: list[str] = []
    context.on("request", lambda r: elsewhere.append(r.url) if not r.url.startswith(url) else None)
    context.on("weberror", lambda e: elsewhere.append(str(e.error)))
    context.add_cookies([{"name": "lang", "value": lang, "url": url}])
    inspector = Inspector(context.new_page(), lang)
    for path in pages.outside if part == 0 else ():
        inspector.look(path)
    context.add_cookies([{"name": "session", "value": home.town.county.session(home.town.admin), "url": url}])
    for path in pages.inside[part::PARTS]:
        inspector.look(path)
    context.close()
    assert elsewhere == []
    assert inspector.wrong == [], "\n".join(inspector.wrong)


def test_every_page_there_is_is_looked_at(home: House, pages: Pages) -> None:
    routes = home.running.server.config.app.routes  # type: ignore[union-attr]
    shown = {
        r.path
        for r in routes
        if "GET" in (getattr(r, "methods", None) or ()) and not r.path.startswith(("/api/", "/static/", "/events"))
    } - {"/livez", "/healthz", "/metrics", "/register.xlsx"}
    asked = [p.partition("?")[0] for p in (*pages.inside, *pages.outside)]
    unseen = [p for p in shown if not any(re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", p), path) for path in asked)]
    assert sorted(unseen) == sorted(
        ["/people/{number}/export.zip", "/sites/{code}/acceptances/{number}/file", "/signin/{secret}"]
    ), "a page that is not in the list of everything.py"


@pytest.mark.parametrize("role", ["city", "town", "staff", "installer", "auditor"])
def test_nobody_is_led_to_a_page_that_refuses_them(home: House, pages: Pages, role: str) -> None:
    county, town = home.town.county, home.town
    area = "999001001" if role in ("town", "auditor") else None
    account = county.account(f"a {role}", role, town.east if role in ("staff", "installer") else None, area=area)
    with home.running.client(county.session(account), accept="text/html") as client:
        seen, wanted = set[str](), ["/", "/more", "/sites", "/alerts", "/devices", "/sites/east"]
        for path in wanted:  # and what these six lead to
            answer = client.get(path)
            assert answer.status_code == 200, f"{role}: {path} answers {answer.status_code}"
            if len(seen) < 6:
                links = {html.unescape(link).partition("#")[0] for link in re.findall(r'<a [^>]*href="(/[^"]*)"', answer.text)}
                wanted += sorted(links - set(wanted))
            seen.add(path)
    assert len(seen) > 12
