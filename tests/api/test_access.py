"""Every route is denied to whoever it is not for; generated from the application's own routes."""

import json
import re

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute

from api.access import declared, require_declared
from api.app import ApiSettings, create_app
from api.errors import UndeclaredPermission
from gateway.clock import HOUR_US, now_us
from tests.api.conftest import Running, Town

ROUTES = [
    (min(r.methods or {"GET"}), r.path, declared(r)[0])
    for r in create_app(ApiSettings(database_url="", public_url="http://x")).routes
    if isinstance(r, APIRoute)
]
GUARDED = [route for route in ROUTES if route[2] != "anyone"]
SPAN: dict[str, object] = {"from_us": now_us(), "to_us": now_us() + HOUR_US, "reason": "x"}
SHIFT: dict[str, object] = {"contact": "x", "site": "east", "from_us": now_us()}
BODIES: dict[str, dict[str, object]] = {
    "/alerts/{number}/acknowledge": {"version": 1},
    "/alerts/{number}/assign": {"version": 1, "assignee": "root"},
    "/alerts/{number}/comments": {"text": "x"},
    "/alerts/{number}/resolve": {"version": 1, "outcome": "real", "note": ""},
    "/contacts": {"name": "x", "endpoint": "x"},
    "/endpoints/{name}/reconcile": {"webhook_ids": []},
    "/roster/contacts": {"name": "x", "endpoint": "x"},
    "/roster/shifts": {"contact": "x", "place": "site:east"},
    "/shifts": SHIFT,
    "/silences": {"reason": "x", "rule": "left_open", "to_us": now_us() + HOUR_US},
    "/sites/{code}/closures": SPAN,
    "/sites/{code}/modes": SPAN | {"mode": "drill"},
    "/visits/{number}": {"result": "well", "note": ""},
}
"""A body that each address takes, by its path without /api/v1; all others take none."""
OPEN = {"/signin", "/signin/{secret}", "/static/{digest}/{name}", "/healthz", "/livez", "/preferences"}


def ask(client: httpx.Client, method: str, route: str, code: str, number: int, topic: str = "") -> httpx.Response:
    """Ask for a route about a site, or an alert, visit or whatever else has that number, with a body it would take."""
    path = route.replace("{code}", code).replace("{name}", code).replace("{number}", str(number))
    if method == "GET":
        return client.get(path, params={"/events": {"topics": topic}, "/api/v1/visit-rate": {"month": "2026-11"}}.get(path))
    if route.startswith("/api/"):
        return client.post(path, json=BODIES.get(route.removeprefix("/api/v1"), {}))
    fields = BODIES.get(route, {}) | ({"kind": "silence", "hours": 1} if route == "/silences" else {})
    return client.post(path, data={k: str(v) for k, v in fields.items()} or {"nothing": ""})


def test_every_body_is_one_that_its_address_takes(running: Running, town: Town) -> None:
    with running.client(town.county.session(town.admin)) as admin:
        for method, path, _ in GUARDED:
            if method == "POST" and path != "/signout":
                answer = ask(admin, method, path, "east", 10**9)
                assert answer.status_code in (200, 201, 303, 404), (path, answer.text)


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
        for method, path, _ in routes:
            for client in (stranger, forger, program):
                answer = ask(client, method, path, "east", alert, "alerts")
                assert (answer.status_code, answer.json()["type"]) == (401, "urn:smartcare:problem:not-signed-in"), path
    assert town.county.version(alert) == 1


def test_a_stranger_in_a_browser_is_led_to_the_sign_in_page(running: Running, town: Town) -> None:
    with running.client(accept="text/html") as stranger:
        answer = stranger.get("/")
    assert (answer.status_code, answer.headers["location"]) == (303, "/signin")


def western(town: Town) -> int:
    """An alert of the western site, a visit task and a silence, all of one number; returns that."""
    conn, number = town.county.conn, town.county.alert(town.west)
    conn.execute(
        "INSERT INTO visit_task (id, alert, person, site, created_us, due_us) OVERRIDING SYSTEM VALUE "
        "VALUES (%s, %s, 1, %s, 0, 0)",
        [number, number, town.west],
    )
    conn.execute(
        "INSERT INTO silence (id, kind, site, from_us, to_us, author, reason, created_us) OVERRIDING SYSTEM VALUE "
        "VALUES (%s, 'silence', %s, 0, %s, 'root', 'x', 0)",
        [number, town.west, now_us() + HOUR_US],
    )
    return number


def test_staff_of_another_site_cannot_tell_that_a_site_or_alert_exists(
    running: Running, town: Town, routes: list[tuple[str, str, str]]
) -> None:
    town.county.conn.execute("ALTER TABLE alert ALTER id RESTART 500")  # not the number of anything they make on the way
    foreign, missing = western(town), 10**9
    cookie = town.county.session(town.east_staff)
    with running.client(cookie) as staff:
        for method, path, permission in routes:
            if path == "/signout":
                continue  # theirs, and it would end this test
            answer = ask(staff, method, path, "west", foreign, f"alert:{foreign}")
            if permission in ("administrator", "operator", "scraper"):
                assert answer.status_code == 403, path
            elif "{" in path or path == "/events":
                nothing = ask(staff, method, path, "nowhere", missing, f"alert:{missing}")
                assert answer.status_code == nothing.status_code == 404, path
                same = (answer.text.replace(str(foreign), "N"), nothing.text.replace(str(missing), "N"))
                assert same[0].replace("west", "nowhere") == same[1], path
            else:
                assert answer.status_code in (200, 303), path
                for secret in ("西岭照料中心", "Xiling", '"west"', f"/alerts/{foreign}"):
                    assert secret not in answer.text, path
    assert town.county.version(foreign) == 1
    untouched = "SELECT (SELECT state FROM visit_task), (SELECT to_us > %s FROM silence WHERE id = %s)"
    assert town.county.conn.execute(untouched, [now_us(), foreign]).fetchone() == ("open", True)


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
