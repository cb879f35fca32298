"""What people enter in the console reaches the alerts that are open: from the form through the register, the real rules
and T2, to the page."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import httpx
import psycopg
import pytest

from analytics import visits
from analytics.alerts import apply_findings
from analytics.findings import Phase, Rule
from gateway.clock import SECOND_US, now_us
from ingest import snapshot
from tests.analytics.log import register
from tests.api.house import served
from tests.api.seed import County
from tests.scenarios.day import DOOR, SHARD, SITE, ZONE, Day, inputs
from tests.scenarios.test_resident_absent import WANG, never, regular, weeks

Conn = psycopg.AsyncConnection[tuple[object, ...]]


@pytest.fixture
def county(dsn: str) -> Iterator[County]:
    """The tables, as their owner."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        yield County(conn)


@pytest.fixture
async def t2(dsn: str) -> AsyncIterator[Conn]:
    """The connection of T2."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        yield conn


@pytest.fixture
def root(dsn: str, tmp_path: Path, county: County) -> Iterator[httpx.Client]:
    """An administrator at the page."""
    with served(dsn, tmp_path) as running, running.client(county.session(county.account("root", "city"))) as client:
        yield client


def known(county: County, day: Day) -> None:
    """Put a scenario's register into the tables; its classes are families."""
    register(county.conn, day.register, SHARD)
    for family, name in (("door", "zigbee_contact"), ("terminal", "face_terminal")):
        county.conn.execute("UPDATE device SET class = %s WHERE class = %s", [name, family])


def hear(county: County, day: Day) -> None:
    """Tell the rules what the register says now."""
    day.registers(snapshot.compile_inputs(county.conn, [SHARD], 2)[SHARD])


async def tell(t2: Conn, day: Day) -> None:
    """T2 of what the rules have found since the last call."""
    found, day.found = day.found, []
    async with t2.transaction():
        await apply_findings(t2, found, now_us())
        await visits.follow(t2, found, now_us())


async def test_closing_a_site_today_on_its_page_takes_back_that_it_did_not_open(
    t2: Conn, county: County, root: httpx.Client
) -> None:
    today = f"{datetime.fromtimestamp(now_us() // SECOND_US, ZoneInfo(ZONE)):%Y-%m-%d}"
    hours = {key: [("08:00", "17:00")] for key in ("mon", "tue", "wed", "thu", "fri", "sat", "sun", "holiday", "workday")}
    day = Day(inputs(hours=hours), date=today).alive_until("08:40", DOOR)
    known(county, day)
    await tell(t2, day)
    alerts = "SELECT id, rule, state FROM alert"
    ((alert, rule, state),) = county.conn.execute(alerts).fetchall()
    assert (rule, state) == (Rule.NOT_OPENED, "open")
    assert (await asyncio.to_thread(root.post, "/sites/HN-07/close", data={"reason": "works"})).status_code == 303
    hear(county, day)
    await tell(t2, day)
    assert county.conn.execute(alerts).fetchall() == [(alert, Rule.NOT_OPENED, "retracted")]
    page = (await asyncio.to_thread(root.get, f"/alerts/{alert}", headers={"accept": "text/html"})).text
    assert "已撤回" in page
    assert "停业" in page


async def test_withdrawing_consent_ends_the_alerts_about_a_person_and_their_visit(
    t2: Conn, county: County, root: httpx.Client
) -> None:
    day = regular()
    weeks(day, 26, 35, never)
    known(county, day)
    county.conn.execute(
        "INSERT INTO person (id, token, site, role, consent_from_us) OVERRIDING SYSTEM VALUE VALUES (%s, %s, %s, 'resident', 0)",
        [WANG, bytes(16), SITE],
    )
    await tell(t2, day)
    open_ones = "SELECT count(*) FROM alert WHERE subject_kind = 'person' AND subject = %s AND state IN ('open', 'acknowledged')"
    assert county.conn.execute(open_ones, [WANG]).fetchone() == (1,)
    assert [t.state for t in await visits.visits(t2)] == ["open"]
    assert (await asyncio.to_thread(root.post, f"/people/{WANG}/withdraw", data={"purpose": "absence"})).status_code == 303
    hear(county, day)
    (ended,) = [f for f in day.found if f.rule is Rule.RESIDENT_ABSENT]
    assert (ended.phase, ended.reason["ended"]) == (Phase.END, "left")
    await tell(t2, day)
    assert county.conn.execute(open_ones, [WANG]).fetchone() == (0,)
    assert [t.state for t in await visits.visits(t2)] == ["withdrawn"]
