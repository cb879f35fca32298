"""Every route, each role, and what is not theirs; generated from the application's own routes and their description."""

import itertools
import json
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from api.access import declared, require_declared
from api.app import ApiSettings, create_app
from api.errors import UndeclaredPermission
from api.openapi import describe
from gateway.clock import HOUR_US, now_us
from smartcare.embedded import postgres
from tests.api.conftest import Running, Town
from tests.api.house import House, house

APP = create_app(ApiSettings(database_url="", public_url="http://x"))
DESCRIBED = describe(APP)["paths"]
ROUTES = [(min(r.methods or {"GET"}), r.path, declared(r)[0]) for r in APP.routes if isinstance(r, APIRoute)]
GUARDED = [route for route in ROUTES if route[2] != "anyone"]
ALL = {"city", "town", "staff", "installer", "auditor", "platform"}
MAY = {
    "reader": ALL,
    "actor": {"city", "town", "staff", "platform"},
    "registrar": {"city", "town"},
    "people": {"city", "town", "staff"},
    "installer": {"city", "town", "installer"},
    "reporter": {"city", "town", "staff", "auditor", "platform"},
    "auditor": {"city", "auditor"},
    "administrator": {"city"},
    "operator": {"city"},
    "scraper": {"city"},
}
"""Which roles a permission is for, written down a second time."""
DAY = datetime.fromtimestamp(now_us() / 1e6).date().isoformat()  # noqa: DTZ006 - any day near now
HOUR = now_us() // HOUR_US * HOUR_US
QUERY = {
    "month": DAY[:7],
    "period": DAY[:7],
    "day": DAY,
    "what": "footfall",
    "number": "g1",
    "from_us": HOUR - HOUR_US,
    "to_us": HOUR,
}
FORM = {
    "version": "1",
    "assignee": "root",
    "text": "x",
    "outcome": "real",
    "note": "x",
    "reason": "x",
    "result": "well",
    "hours": "1",
    "kind": "silence",
    "mode": "drill",
    "from": f"{DAY}T08:00",
    "to": f"{DAY}T09:00",
    "name": "x",
    "rule": "left_open",
    "role": "staff",
    "day": DAY,
    "what": "served",
    "delta": "1",
    "person": "1",
    "channel": "paper",
    "purpose": "attendance",
}
"""A form that most pages take; each takes what it knows."""
OPEN = {"/signin", "/signin/{secret}", "/invitation/{secret}", "/static/{digest}/{name}", "/healthz", "/livez", "/preferences"}


def ask(client: httpx.Client, method: str, route: str, code: str, number: int) -> httpx.Response:
    """Ask for a route about a site, or an alert, visit or whatever else has that number, with what it would take."""
    path = route.replace("{code}", code).replace("{name}", code).replace("{number}", str(number)).replace("{what}", "counts")
    operation = DESCRIBED.get(route, {}).get(method.lower(), {})
    needed = [p["name"] for p in operation.get("parameters", []) if p["in"] == "query" and p["required"]] if operation else QUERY
    query: dict[str, Any] = {name: QUERY[name] for name in needed} if method == "GET" else {}
    if route == "/events":
        query = {"topics": f"alert:{number}"}
    elif route in ("/api/v1/figures/{what}", "/api/v1/devices", "/api/v1/reports"):
        query = query | {"site": code}
    if method == "GET":
        return client.get(path, params=query)
    if operation:
        return client.post(path, json=_body(operation, code))
    return client.post(path, data=FORM | {"site": code, "place": f"site:{code}", "part": f"site:{code}"})


def _body(operation: dict[str, Any], code: str) -> Any:
    if "requestBody" not in operation:
        return {}
    example = json.loads(json.dumps(operation["requestBody"]["content"]["application/json"]["example"]))
    given: dict[str, Any] = {"site": code, "code": code, "region": None, "subject": None, "subject_kind": None, "severity": None}
    given |= {"from_us": now_us(), "to_us": now_us() + HOUR_US, "version": 1, "rule": "left_open", "assignee": "root"}
    return example | {name: value for name, value in given.items() if name in example}


@pytest.fixture(scope="module")
def home(postgres_server: postgres.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One application for the module; the eastern and the western site are of two townships."""
    with house(postgres_server, "access", tmp_path_factory.mktemp("access")) as found:
        region = found.town.county.region("西岭街道", "Xiling")
        found.town.county.conn.execute("UPDATE site SET region = %s WHERE id = %s", [region, found.town.west])
        found.running.console.by_token.per_s = 10_000  # limits are another test's
        yield found


@pytest.fixture(scope="module")
def foreign(home: House) -> int:
    """The number of everything of the west that has one."""
    return western(home.town)


@pytest.fixture
def running(home: House) -> Running:
    """The application."""
    return home.running


@pytest.fixture
def town(home: House) -> Town:
    """Two sites, and who is signed in."""
    return home.town


@pytest.fixture
def admin(home: House) -> httpx.Client:
    """A city administrator."""
    return home.admin


@pytest.fixture
def east_staff(home: House) -> httpx.Client:
    """A member of staff of the eastern site."""
    return home.east


def test_only_these_routes_are_open_to_all() -> None:
    assert {path for _, path, permission in ROUTES if permission == "anyone"} == OPEN


def test_an_application_with_an_undeclared_route_does_not_start() -> None:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)

    @app.get("/forgotten")
    async def forgotten() -> str:
        return "secret"

    with pytest.raises(UndeclaredPermission, match="/forgotten"):
        require_declared(app)


@pytest.fixture
def routes() -> list[tuple[str, str, str]]:
    """Every guarded route; at least the ones we know of."""
    assert len(GUARDED) > 15
    return GUARDED


def test_a_stranger_reads_and_changes_nothing(running: Running, town: Town, routes: list[tuple[str, str, str]]) -> None:
    alert = town.county.alert(town.east)
    with running.client() as stranger, running.client("made-up") as forger, running.client(token="made-up") as program:
        for (method, path, _), client in zip(routes, itertools.cycle((stranger, forger, program)), strict=False):
            answer = ask(client, method, path, "east", alert)
            assert (answer.status_code, answer.json()["type"]) == (401, "urn:smartcare:problem:not-signed-in"), path
    assert town.county.version(alert) == 1


def test_a_stranger_in_a_browser_is_led_to_the_sign_in_page(running: Running, town: Town) -> None:
    with running.client(accept="text/html") as stranger:
        answer = stranger.get("/")
    assert (answer.status_code, answer.headers["location"]) == (303, "/signin")


def western(town: Town) -> int:
    """An alert of the western site, a person, a visit task, a silence and a shift, all of one number; returns that."""
    conn = town.county.conn
    conn.execute("ALTER TABLE alert ALTER id RESTART 500")  # not the number of anything that is made on the way
    number = town.county.alert(town.west)
    for statement in (
        "INSERT INTO person (id, token, site, role, consent_from_us) OVERRIDING SYSTEM VALUE "
        "VALUES (%(n)s, '\\x00112233445566778899aabbccddeeff', %(west)s, 'resident', 0)",
        "INSERT INTO visit_task (id, alert, person, site, created_us, due_us) OVERRIDING SYSTEM VALUE "
        "VALUES (%(n)s, %(n)s, %(n)s, %(west)s, 0, 0)",
        "INSERT INTO silence (id, kind, site, from_us, to_us, author, reason, created_us) OVERRIDING SYSTEM VALUE "
        "VALUES (%(n)s, 'silence', %(west)s, 0, 9e15, 'root', 'x', 0)",
    ):
        conn.execute(statement.encode(), {"n": number, "west": town.west})
    return number


def state(town: Town) -> list[Any]:
    """All that the west has, as it is stored."""
    tables = (
        "site",
        "place",
        "alert",
        "alert_change",
        "visit_task",
        "silence",
        "closure",
        "site_mode",
        "person",
        "consent",
        "device",
    )
    found = []
    for table in tables:
        own = {"site": "id = 2", "alert_change": "alert >= 500", "consent": "true", "device": "true"}.get(table, "site = 2")
        found.append(town.county.conn.execute(f"SELECT t::text FROM {table} t WHERE {own} ORDER BY 1".encode()).fetchall())
    return found


MISSING = 10**9
ABOUT_SITES = {"/events", "/api/v1/devices", "/api/v1/reports", "/api/v1/unclaimed"}
"""Addresses that are asked about a site or gateway without having it in their path."""
SECRETS = ("西岭照料中心", "Xiling care", '"west"', "/sites/west", "/alerts/500")


@pytest.mark.parametrize("role", ["town", "staff", "installer", "auditor", "platform"])
def test_to_each_role_every_route_answers_about_the_foreign_as_about_the_missing(home: House, foreign: int, role: str) -> None:
    ask_everything(home, foreign, role)


def test_what_queries_ask_for_holds_without_row_level_security_too(home: House, foreign: int) -> None:
    conn = home.town.county.conn
    walls = [t for (t,) in conn.execute("SELECT relname FROM pg_class WHERE relrowsecurity").fetchall()]
    for table in walls:
        conn.execute(f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY".encode())
    try:
        ask_everything(home, foreign, "staff")
    finally:
        for table in walls:
            conn.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY".encode())


def ask_everything(home: House, foreign: int, role: str) -> None:
    """Ask every route as someone of the east about what is the west's and about what there is not."""
    county, before = home.town.county, state(home.town)
    site, area = (home.town.east, None) if role in ("staff", "installer") else (None, "999001001")
    account = county.account(f"{role}-{now_us()}", role, site, area=area)
    token = county.token(account, "read", "act") if role == "platform" else ""
    with home.running.client("" if token else county.session(account), token=token) as client:
        for method, path, permission in GUARDED:
            if path == "/signout":
                continue  # theirs, and it would end this test
            answer = ask(client, method, path, "west", foreign)
            if role not in MAY[permission]:
                assert answer.status_code == 403, (method, path)
            elif method == "GET" and "{" not in path and path not in ABOUT_SITES:
                assert answer.status_code < 400, path
            else:
                nothing = ask(client, method, path, "nowhere", MISSING)
                assert answer.status_code == nothing.status_code < 500, (method, path, answer.text)
                if ("{" in path and "{what}" not in path) or path == "/events":
                    assert answer.status_code in (400, 403, 404, 422), (method, path)
                    alike = answer.text.replace(str(foreign), "N").replace("west", "C")
                    assert alike == nothing.text.replace(str(MISSING), "N").replace("nowhere", "C"), (method, path)
            for secret in SECRETS:
                assert secret not in answer.text.replace(path, ""), (method, path, secret)
    assert state(home.town) == before


def test_the_city_finds_what_is_foreign_to_others(foreign: int, admin: httpx.Client) -> None:
    found = 0
    for method, path, _ in GUARDED:
        if method == "GET" and "{" in path:
            found += ask(admin, method, path, "west", foreign).status_code == 200
    about = [path for method, path, _ in GUARDED if method == "GET" and "{" in path]
    assert found >= len(about) * 0.8, "the test above asks for too much that nobody finds"


def test_no_stream_is_opened_on_what_is_not_theirs(east_staff: httpx.Client, town: Town) -> None:
    west = [f"{kind}:{town.west}" for kind in ("site", "pending", "banner")]
    for topic in [*west, "site:0", "site:x", "everything", "", "alert:"]:
        assert east_staff.get("/events", params={"topics": topic}).status_code == 404, topic


def test_an_admin_sees_both_sites_and_staff_their_own(admin: httpx.Client, east_staff: httpx.Client) -> None:
    assert {s["code"] for s in admin.get("/api/v1/sites").json()["items"]} == {"east", "west"}
    assert {s["code"] for s in east_staff.get("/api/v1/sites").json()["items"]} == {"east"}


def test_unknown_devices_and_pushes_are_shown_to_admins_only(admin: httpx.Client, east_staff: httpx.Client) -> None:
    for path, words in (("/devices", "未登记设备"), ("/more", "推送")):
        assert words in admin.get(path).text
        assert words not in east_staff.get(path).text


def test_a_token_does_only_what_its_scopes_say(running: Running, town: Town) -> None:
    alert = town.county.alert(town.east)
    path = f"/api/v1/alerts/{alert}/acknowledge"
    with running.client(token=town.county.token(town.admin, "read")) as reader:
        assert reader.get("/api/v1/alerts").status_code == 200
        assert reader.post(path, json={"version": 1}).status_code == 403
    with running.client(token=town.county.token(town.admin, "act")) as actor:
        assert actor.get("/api/v1/alerts").status_code == 403
        assert actor.post(path, json={"version": 1}).json()["state"] == "acknowledged"


def test_a_token_ends_with_its_time_and_with_its_account(running: Running, town: Town) -> None:
    late = town.county.token(town.admin, "read", lives_us=-1)
    orphan = town.county.token(town.west_staff, "read")
    town.county.conn.execute("UPDATE account SET disabled = true WHERE id = %s", [town.west_staff])
    for token in (late, orphan):
        with running.client(token=token) as program:
            assert program.get("/api/v1/me").status_code == 401


def test_the_interface_is_described_for_those_who_may_read_it(admin: httpx.Client) -> None:
    described = admin.get("/api/v1/openapi.json").json()
    wanted = {path for _, path, _ in ROUTES if re.match(r"/api/v1/(?!openapi)", path)}
    assert set(described["paths"]) == wanted
    assert json.dumps(described).count("microseconds") >= 1
