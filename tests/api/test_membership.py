"""Accounts on the page: invited, reset, disabled; passwords; and what of it the audit log says."""

import asyncio
import re
import threading
import time
from collections.abc import Iterator

import httpx
import psycopg
import pytest

from api import audit
from api.accounts import make_invitation
from gateway.clock import DAY_US, now_us
from smartcare.embedded import postgres
from tests.api.conftest import Running, Town
from tests.api.house import House, house

LINK = re.compile(r"http://[^<\"]+/invitation/[\w-]+")
NEW = "many-words-make-a-password"


@pytest.fixture(scope="module")
def home(postgres_server: postgres.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One application for the module; each test makes its own people."""
    with house(postgres_server, "membership", tmp_path_factory.mktemp("membership")) as found:
        yield found


@pytest.fixture
def running(home: House) -> Running:
    """The application."""
    return home.running


@pytest.fixture
def town(home: House) -> Iterator[Town]:
    """Two sites and their staff; whoever a test made or changed is as before afterwards."""
    yield home.town
    conn = home.town.county.conn
    conn.execute("DELETE FROM account WHERE id > 4")
    conn.execute("UPDATE account SET disabled = false, role = 'staff', area = NULL WHERE id IN (2, 3)")
    conn.execute("DELETE FROM account_site WHERE account IN (2, 3)")
    conn.execute("INSERT INTO account_site VALUES (2, %s), (3, %s)", [home.town.east, home.town.west])


@pytest.fixture
def admin(home: House, town: Town) -> httpx.Client:
    """A city administrator."""
    return home.admin


def invited(admin: httpx.Client, **fields: str) -> httpx.Response:
    """Add someone on the page."""
    return admin.post("/accounts", data={"name": "li", "role": "staff", "part": "site:east"} | fields)


def accept(running: Running, link: str, password: str = NEW) -> httpx.Response:
    """Follow an invitation and set a password."""
    with running.client() as fresh:
        return fresh.post(link, data={"new": password, "again": password})


def test_an_invitation_asks_for_a_password_works_once_and_signs_in(running: Running, admin: httpx.Client, town: Town) -> None:
    (link,) = LINK.findall(invited(admin).text)
    with running.client() as looking:
        assert looking.get(link).status_code == 200  # looking uses nothing up
        assert looking.post(link, data={"new": NEW, "again": NEW + "x"}).status_code == 400
        assert looking.post(link, data={"new": "short", "again": "short"}).status_code == 400
    first = accept(running, link)
    assert first.status_code == 303
    with running.client(first.cookies["session"]) as li:
        assert li.get("/api/v1/me").json()["role"] == "staff"
        assert [s["code"] for s in li.get("/api/v1/sites").json()["items"]] == ["east"]
    assert accept(running, link).status_code == 410
    with running.client() as again:
        assert again.post("/signin", data={"name": "li", "password": NEW}).status_code == 303


def test_an_invitation_is_void_after_three_days_and_after_a_newer_one(running: Running, town: Town, home: House) -> None:
    async def make(now: int) -> str:
        async with await psycopg.AsyncConnection.connect(home.dsn, autocommit=True) as conn:
            return await make_invitation(conn, town.west_staff, running.url, now)

    old = asyncio.run(make(now_us() - 3 * DAY_US - 1))
    assert accept(running, old).status_code == 410
    first, second = asyncio.run(make(now_us())), asyncio.run(make(now_us()))
    assert accept(running, first).status_code == 410
    assert accept(running, second).status_code == 303


def test_a_reset_ends_sessions_and_password_and_only_the_link_helps(running: Running, admin: httpx.Client, town: Town) -> None:
    (link,) = LINK.findall(invited(admin).text)
    cookie = accept(running, link).cookies["session"]
    number = town.county.conn.execute("SELECT id FROM account WHERE name = 'li'").fetchone()
    assert number
    (again,) = LINK.findall(admin.post(f"/accounts/{number[0]}/reset", data={"x": ""}).text)
    with running.client(cookie) as li:
        assert li.get("/api/v1/me").status_code == 401
        assert li.post("/signin", data={"name": "li", "password": NEW}).status_code == 401
    assert accept(running, again, NEW + "2").status_code == 303


def test_an_own_password_needs_the_old_one_and_signs_out_elsewhere_only(
    running: Running, admin: httpx.Client, town: Town
) -> None:
    (link,) = LINK.findall(invited(admin).text)
    here = accept(running, link).cookies["session"]
    with running.client() as other:
        elsewhere = other.post("/signin", data={"name": "li", "password": NEW}).cookies["session"]
    with running.client(here) as li:
        wrong = {"old": "another", "new": NEW + "2", "again": NEW + "2"}
        assert li.post("/password", data=wrong).status_code == 400
        assert li.post("/password", data=wrong | {"old": NEW}).status_code == 303
        assert li.get("/api/v1/me").status_code == 200
    with running.client(elsewhere) as gone:
        assert gone.get("/api/v1/me").status_code == 401


def test_disabling_an_account_ends_its_cookie_and_its_open_stream_within_five_seconds(
    running: Running, admin: httpx.Client, town: Town
) -> None:
    opened, ended = threading.Event(), threading.Event()

    def listen() -> None:
        with running.client(town.county.session(town.east_staff)) as staff:
            with staff.stream("GET", "/events", params={"topics": "alerts"}, timeout=20) as answer:
                for line in answer.iter_lines():
                    if line == "event: caught-up":
                        opened.set()
            ended.set()

    thread = threading.Thread(target=listen)
    thread.start()
    try:
        assert opened.wait(10)
        cookie = town.county.session(town.east_staff)
        began = time.monotonic()
        assert admin.post(f"/accounts/{town.east_staff}/disable", data={"x": ""}).status_code == 303
        with running.client(cookie) as staff:
            assert staff.get("/api/v1/me").status_code == 401
        assert ended.wait(5), "the stream is still open"
        assert time.monotonic() - began < 5
    finally:
        thread.join(15)


def test_another_role_holds_at_once_and_asks_to_sign_in_again(running: Running, admin: httpx.Client, town: Town) -> None:
    cookie = town.county.session(town.east_staff)
    token = town.county.token(town.east_staff, "read")
    done = admin.post(f"/accounts/{town.east_staff}/assign", data={"role": "auditor", "part": "area:999001001"})
    assert done.status_code == 303
    with running.client(cookie) as old, running.client(token=token) as program:
        assert old.get("/api/v1/me").status_code == 401
        assert program.get("/api/v1/me").json()["role"] == "auditor"


@pytest.mark.parametrize(
    ("role", "part"),
    [("city", "site:east"), ("town", "site:east"), ("town", "all"), ("staff", "all"), ("staff", ""), ("staff", "site:none"),
     ("installer", "area:999001"), ("auditor", ""), ("platform", "area:99x"), ("root", "all")],
)  # fmt: skip
def test_a_role_with_a_part_that_does_not_fit_is_refused_and_nothing_is_made(
    admin: httpx.Client, town: Town, role: str, part: str
) -> None:
    assert invited(admin, role=role, part=part).status_code == 400
    assert town.county.conn.execute("SELECT FROM account WHERE name = 'li'").fetchone() is None


def test_administrators_cannot_lock_themselves_out_nor_be_made_by_a_token(
    running: Running, admin: httpx.Client, town: Town
) -> None:
    for action in ("disable", "reset", "assign"):
        assert admin.post(f"/accounts/{town.admin}/{action}", data={"role": "city"}).status_code == 400
    with running.client(token=town.county.token(town.admin, "read", "act", "metrics")) as program:
        assert invited(program).status_code == 403
        assert program.post("/password", data={"old": "", "new": NEW, "again": NEW}).status_code == 403


def test_a_token_from_the_page_lets_out_only_its_fields_and_ends_at_a_press(
    running: Running, admin: httpx.Client, town: Town
) -> None:
    path = f"/accounts/{town.west_staff}/tokens"
    shown = admin.post(path, data={"name": "county", "scope_read": "1", "fields": "code state", "days": "7"}).text
    token = re.search(r'<code class="secret">([\w-]+)</code>', shown)
    assert token
    with running.client(token=token[1]) as program:
        assert program.get("/api/v1/sites").json()["items"] == [{"code": "west", "state": "ok"}]
        assert admin.post(f"{path}/end", data={"name": "county"}).status_code == 303
        assert program.get("/api/v1/sites").status_code == 401


def test_each_change_is_a_row_of_the_audit_log_that_auditors_of_the_part_read(
    running: Running, admin: httpx.Client, town: Town
) -> None:
    west = town.county.region("西岭街道", "Xiling")
    town.county.conn.execute("UPDATE site SET region = %s WHERE id = %s", [west, town.west])
    invited(admin)
    admin.post(f"/accounts/{town.west_staff}/disable", data={"x": ""})
    admin.post("/sites/east/close", data={"reason": "other", "note": "停水"})
    page = admin.get("/audit").text
    for word in ("新增账号", "account/li", "停用账号", "account/west-staff", "登记停业", "site/east"):
        assert word in page, word
    auditor = town.county.account("audit-west", "auditor", area="999001002")
    east = town.county.account("audit-east", "auditor", area="999001001")
    for account, sees in ((auditor, False), (east, True)):
        with running.client(town.county.session(account)) as client:
            text = client.get("/audit").text
            assert ("site/east" in text) == sees
            assert "account/li" not in text
    with running.client(town.county.session(town.east_staff)) as staff:
        assert staff.get("/audit").status_code == 403


@pytest.fixture
async def chain(dsn: str) -> str:
    """A database with six rows in its audit log."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        for n in range(6):
            await audit.write(conn, None, action="site.closed", subject=f"site/s{n}", detail={"reason": "停水, no water", "n": n})
    return dsn


@pytest.mark.parametrize(
    ("tampering", "named"),
    [
        ("UPDATE audit SET who = '李四' WHERE id = 3", "row 3 "),
        ("UPDATE audit SET at_us = at_us + 1 WHERE id = 1", "row 1 "),
        ("UPDATE audit SET detail = '{}' WHERE id = 2", "row 2 "),
        ("DELETE FROM audit WHERE id = 4", "rows 4 to 4"),
        ("DELETE FROM audit WHERE id > 4", "rows 5 to 6 are missing at the end"),
        (
            "INSERT INTO audit SELECT 7, at_us, account, who, area, action, subject, detail, hash FROM audit WHERE id = 6",
            "row 7 ",
        ),
        ("UPDATE audit_head SET id = 5", "the head says row 5"),
    ],
)
async def test_tampering_with_the_audit_log_is_found_and_named(chain: str, tampering: str, named: str) -> None:
    async with await psycopg.AsyncConnection.connect(chain, autocommit=True) as conn:
        whole = await audit.verify(conn)
        assert (whole.rows, whole.faults) == (6, [])
        await conn.execute(tampering.encode())
        found = await audit.verify(conn, whole.head)
        assert found.faults
        assert named in found.faults[0]


async def test_a_log_written_anew_or_cut_off_is_found_by_a_head_noted_elsewhere(chain: str) -> None:
    async with await psycopg.AsyncConnection.connect(chain, autocommit=True) as conn:
        noted = (await audit.verify(conn)).head
        await conn.execute("DELETE FROM audit WHERE id > 4")
        await conn.execute("UPDATE audit_head SET (id, hash) = (SELECT id, hash FROM audit WHERE id = 4)")
        assert (await audit.verify(conn)).faults == []
        assert "cut off" in (await audit.verify(conn, noted)).faults[0]
