"""Signing in: links, passwords, throttling, sessions and their limits, and the walls in front."""

import re
from collections.abc import AsyncIterator

import argon2
import httpx
import psycopg
import pytest

from api import accounts
from api.app import ApiSettings, create_app
from api.throttle import Throttle
from gateway.clock import DAY_US, HOUR_US, MINUTE_US, now_us
from tests.api.conftest import Running, Town


@pytest.fixture
async def conn(dsn: str) -> AsyncIterator[psycopg.AsyncConnection[tuple[object, ...]]]:
    """A connection for the account functions."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as found:
        yield found


async def link(conn: accounts.Connection, running: Running, account: int, at_us: int) -> str:
    """The path of a fresh sign-in link."""
    url = await accounts.make_signin_link(conn, account, running.url, at_us)
    assert url.startswith(running.url + "/signin/")
    return url.removeprefix(running.url)


async def test_a_link_is_used_up_by_its_button_once_and_never_by_looking(
    running: Running, town: Town, conn: accounts.Connection
) -> None:
    path = await link(conn, running, town.admin, now_us())
    with running.client() as person, running.client() as thief:
        for _ in range(3):
            page = person.get(path)
            assert page.status_code == 200
            assert f'action="{path}"' in page.text
            assert "set-cookie" not in page.headers
        answer = person.post(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/")
        assert person.get("/api/v1/me").json()["name"] == "root"
        assert thief.post(path).status_code == 410
        assert thief.get("/api/v1/me").status_code == 401
        assert person.get(path).status_code == 410


async def test_a_link_lives_ten_minutes(running: Running, town: Town, conn: accounts.Connection) -> None:
    fresh = await link(conn, running, town.admin, now_us() - 9 * MINUTE_US)
    stale = await link(conn, running, town.admin, now_us() - 10 * MINUTE_US)
    with running.client() as person:
        assert (person.get(stale).status_code, person.post(stale).status_code) == (410, 410)
        assert person.get("/api/v1/me").status_code == 401
        assert person.post(fresh).status_code == 303


async def test_a_link_of_a_disabled_account_is_dead(running: Running, town: Town, conn: accounts.Connection) -> None:
    path = await link(conn, running, town.east_staff, now_us())
    await conn.execute("UPDATE account SET disabled = true")
    with running.client() as person:
        assert person.post(path).status_code == 410


async def test_the_database_never_holds_what_signs_in(running: Running, town: Town, conn: accounts.Connection) -> None:
    path = await link(conn, running, town.admin, now_us())
    with running.client() as person:
        person.post(path)
        cookie = person.cookies["session"]
    token = await accounts.make_token(conn, town.admin, "export", ["read"], now_us() + DAY_US, now_us())
    for table in ("signin_link", "session", "api_token"):
        rows = str(await (await conn.execute(f"SELECT t::text FROM {table} t")).fetchall())
        for secret in (path.removeprefix("/signin/"), cookie, token):
            assert secret not in rows
            assert secret.encode().hex() not in rows


async def test_a_password_signs_in_and_a_new_one_signs_out_everywhere(
    running: Running, town: Town, conn: accounts.Connection
) -> None:
    await accounts.set_password(conn, town.east_staff, "柳暗花明又一村")
    with running.client() as person:
        assert person.post("/signin", data={"name": "east-staff", "password": "柳暗花明又一村"}).status_code == 303
        assert person.get("/api/v1/me").json()["role"] == "staff"
        await accounts.set_password(conn, town.east_staff, "another one entirely")
        assert person.get("/api/v1/me").status_code == 401


async def test_wrong_unknown_and_passwordless_accounts_answer_alike(
    running: Running, town: Town, conn: accounts.Connection
) -> None:
    await accounts.set_password(conn, town.admin, "right")
    with running.client() as person:
        attempts = [("root", "wrong"), ("nobody", "wrong"), ("east-staff", ""), ("root", "right" + "x" * 2000)]
        answers = [person.post("/signin", data={"name": n, "password": p}) for n, p in attempts]
        assert {a.status_code for a in answers} == {401}
        assert len({re.sub(r'data-now="\d+"', "", a.text) for a in answers}) == 1
        assert person.get("/api/v1/me").status_code == 401


async def test_guessing_is_throttled_per_account_even_when_the_guess_is_right(
    running: Running, town: Town, conn: accounts.Connection
) -> None:
    await accounts.set_password(conn, town.admin, "right")
    with running.client() as guesser:
        for _ in range(5):
            assert guesser.post("/signin", data={"name": "root", "password": "wrong"}).status_code == 401
        answer = guesser.post("/signin", data={"name": "root", "password": "right"})
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) > 500


def test_guessing_is_throttled_per_address_over_many_names(running: Running, town: Town) -> None:
    with running.client() as guesser:
        codes = [guesser.post("/signin", data={"name": f"n{n}", "password": "x"}).status_code for n in range(21)]
    assert codes == [401] * 20 + [429]


def test_the_throttle_opens_again_and_stays_small() -> None:
    throttle = Throttle(2)
    assert [throttle.attempt("a", t * MINUTE_US) for t in (0, 4, 5)] == [0, 0, 300]
    assert throttle.attempt("a", 10 * MINUTE_US) == 0
    assert throttle.attempt("a", 10 * MINUTE_US) == 240
    for n in range(20_000):
        throttle.attempt(f"k{n}", 0)
    assert len(throttle._attempts) <= 10_000


def test_signing_out_ends_the_session_itself(running: Running, town: Town) -> None:
    cookie = town.county.session(town.admin)
    with running.client(cookie) as person, running.client(cookie) as copy:
        assert copy.get("/api/v1/me").status_code == 200
        assert person.post("/signout").status_code == 303
        assert copy.get("/api/v1/me").status_code == 401


@pytest.mark.parametrize(
    "end",
    [
        f"UPDATE session SET seen_us = seen_us - {12 * HOUR_US}",
        f"UPDATE session SET expires_us = created_us, created_us = created_us - {7 * DAY_US}",
        "UPDATE account SET disabled = true",
        "DELETE FROM session",
    ],
)
def test_a_session_ends_by_idleness_age_and_disabling(running: Running, town: Town, end: str) -> None:
    with running.client(town.county.session(town.admin)) as person:
        assert person.get("/api/v1/me").status_code == 200
        town.county.conn.execute(end)
        assert person.get("/api/v1/me").status_code == 401


def test_using_a_session_keeps_it_from_idling_out(running: Running, town: Town) -> None:
    with running.client(town.county.session(town.admin)) as person:
        town.county.conn.execute("UPDATE session SET seen_us = seen_us - %s", [11 * HOUR_US])
        assert person.get("/api/v1/me").status_code == 200
        row = town.county.conn.execute("SELECT seen_us FROM session").fetchone()
    assert row
    assert row[0] > now_us() - MINUTE_US


async def test_the_cookie_is_out_of_reach_and_bound_to_https_where_there_is_https(
    running: Running, town: Town, dsn: str, conn: accounts.Connection
) -> None:
    with running.client() as person:
        plain = person.post(await link(conn, running, town.admin, now_us())).headers["set-cookie"].lower()
    assert plain.startswith("session=")
    assert "httponly" in plain
    assert "samesite=lax" in plain
    settings = ApiSettings(
        database_url=dsn, public_url="https://care.example", allowed_hosts=["care.example"], secure_cookies=True
    )
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        headers = {"origin": "https://care.example"}
        url = await accounts.make_signin_link(conn, town.admin, settings.public_url, now_us())
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), headers=headers) as person_by_https:
            cookie = (await person_by_https.post(url)).headers["set-cookie"]
            assert cookie.startswith("__Host-session=")
            assert "Secure" in cookie
            assert "Path=/" in cookie
            assert "domain" not in cookie.lower()
            assert (await person_by_https.get("https://care.example/api/v1/me")).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site", "origin": "SELF"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
        ({"origin": "SELF"}, 200),
    ],
)
def test_an_unsafe_request_must_come_from_the_page_itself(
    running: Running, town: Town, headers: dict[str, str], status: int
) -> None:
    alert = town.county.alert(town.east)
    headers = {k: v.replace("SELF", running.url) for k, v in headers.items()}
    cookie = {"session": town.county.session(town.admin)}
    with httpx.Client(base_url=running.url, cookies=cookie) as client:
        answer = client.post(f"/api/v1/alerts/{alert}/acknowledge", json={"version": 1}, headers=headers)
    assert answer.status_code == status
    assert town.county.version(alert) == (2 if status == 200 else 1)


def test_a_bearer_header_does_not_let_a_cookie_in_from_another_site(running: Running, town: Town) -> None:
    alert = town.county.alert(town.east)
    cookie = {"session": town.county.session(town.admin)}
    with httpx.Client(base_url=running.url, cookies=cookie, headers={"authorization": "Bearer x"}) as client:
        assert client.post(f"/api/v1/alerts/{alert}/acknowledge", json={"version": 1}).status_code == 401


def test_every_answer_forbids_what_the_page_does_not_need(running: Running, admin: httpx.Client) -> None:
    for path in ("/", "/signin", "/api/v1/sites", "/nowhere", "/livez"):
        headers = admin.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "server" not in headers
        assert headers["cache-control"] == "no-store"


def test_pages_have_no_inline_script_or_style_and_nothing_from_outside(admin: httpx.Client, town: Town) -> None:
    alert = town.county.alert(town.east)
    for path in ("/", "/sites", "/sites/east", "/alerts", f"/alerts/{alert}", "/devices", "/more", "/signin"):
        text = admin.get(path).text
        assert not re.search(r"<style|style=|\son\w+=|javascript:", text), path
        assert not re.search(r"<script(?![^>]*\ssrc=)", text), path
        assert not re.search(r'(?:src|href|action)="(?:https?:)?//', text), path


def test_static_files_are_kept_for_good_under_their_hash(admin: httpx.Client) -> None:
    found = re.findall(r'(?:src|href)="(/static/[^"#]+)', admin.get("/").text)
    assert len(set(found)) >= 3
    for path in found:
        answer = admin.get(path)
        assert "immutable" in answer.headers["cache-control"]
        assert admin.get(path.replace("/static/", "/static/0")).status_code == 404


def test_a_foreign_host_name_is_not_answered(running: Running) -> None:
    with running.client() as client:
        assert client.get("/signin", headers={"host": "evil.example"}).status_code == 400


def test_a_body_beyond_the_limit_is_refused_whether_announced_or_not(running: Running, admin: httpx.Client) -> None:
    big = b"x" * (64 * 1024 + 1)
    assert admin.post("/signin", content=big).status_code == 413
    assert admin.post("/signin", content=iter([big])).status_code == 413


def test_a_name_cannot_forge_lines_in_the_log(running: Running, town: Town, caplog: pytest.LogCaptureFixture) -> None:
    with running.client() as person:
        person.post("/signin", data={"name": "x\nsigned in 'root'\x1b[31m", "password": "y"})
    lines = [r.getMessage() for r in caplog.records if r.name == "api.signin"]
    assert lines
    assert all("\n" not in line and "\x1b" not in line for line in lines)


def test_preferences_lead_back_to_this_site_only(running: Running) -> None:
    with running.client() as person:
        for back in ("//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)"):
            answer = person.post("/preferences", data={"lang": "en", "back": back})
            assert answer.headers["location"] == "/"
        assert "Sign in" in person.get("/signin").text


def test_who_signed_in_who_was_refused_and_who_left_is_in_the_audit_log(running: Running, town: Town, dsn: str) -> None:
    with running.client() as person, psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute(
            "UPDATE account SET password = %s WHERE name = 'root'", [argon2.PasswordHasher(1, 8, 1).hash("a secret of hers")]
        )
        for name, password in (("root", "wrong"), ("typed my password here", "x"), ("root", "a secret of hers")):
            person.post("/signin", data={"name": name, "password": password})
        person.post("/signin/nothing", data={"x": ""})
        person.post("/signout", data={"x": ""})
        log = conn.execute("SELECT account, who, action, subject, detail::json ->> 'cause' FROM audit ORDER BY id").fetchall()
    assert log == [
        (town.admin, "root", "session.refused", "account/root", "wrong"),
        (None, "?", "session.refused", "account/?", "wrong"),
        (town.admin, "root", "session.started", "account/root", None),
        (None, "?", "session.refused", "account/?", "dead link"),
        (town.admin, "root", "session.ended", "account/root", None),
    ]


def test_what_someone_may_not_do_is_in_the_audit_log_so_often_and_no_oftener(
    east_staff: httpx.Client, running: Running, dsn: str
) -> None:
    for _ in range(running.console.noted.limit + 3):
        assert east_staff.get("/api/v1/audit").status_code == 403
    with psycopg.connect(dsn) as conn:
        log = conn.execute("SELECT who, action, detail, count(*) FROM audit GROUP BY 1, 2, 3").fetchall()
    said = '{"cause":"not-allowed","method":"GET","path":"/api/v1/audit"}'
    assert log == [("east-staff", "access.denied", said, running.console.noted.limit)]
