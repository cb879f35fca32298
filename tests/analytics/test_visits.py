"""Visit tasks follow findings and are completed once; the monthly visit rate counts each resident once."""

from collections.abc import AsyncIterator
from datetime import date
from typing import Any

import psycopg
import pytest
from psycopg.types.json import Jsonb

from analytics import visits
from analytics.alerts import apply_findings
from analytics.findings import Finding, Phase, Rule, Severity, SubjectKind
from analytics.visits import Result
from gateway.clock import DAY_US, HOUR_US

NOW_US = 1_790_000_000_000_000  # 2026-09-21 in Shanghai
WANG = 1
Conn = psycopg.AsyncConnection[Any]


@pytest.fixture
async def conn(dsn: str) -> AsyncIterator[Conn]:
    """Two sites of two townships with residents 1-3 and 4, and staff 5."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as c:
        for site, region in ((1, "330481001001"), (2, "330481002001")):
            await c.execute("INSERT INTO region (code, name) VALUES (%s, %s)", [region, f"镇{site}"])
            await c.execute(
                "INSERT INTO site (id, code, name, kind, region, hours, shard) OVERRIDING SYSTEM VALUE "
                "VALUES (%s, %s, '中心', 'centre', %s, %s, 1)",
                [site, f"s{site}", region, Jsonb({})],
            )
        for person, site, role in (
            (1, 1, "resident"),
            (2, 1, "resident"),
            (3, 1, "resident"),
            (4, 2, "resident"),
            (5, 2, "staff"),
        ):
            await c.execute(
                "INSERT INTO person (id, token, site, role, consent_from_us) OVERRIDING SYSTEM VALUE VALUES (%s, %s, %s, %s, 0)",
                [person, bytes([person]) * 16, site, role],
            )
        yield c


def finding(phase: Phase, severity: Severity = Severity.MAJOR, ended: str = "", episode: int = NOW_US - 9 * DAY_US) -> Finding:
    """A step of resident 1's absence."""
    reason: dict[str, Any] = {"code": "absent_visit", "days": 5, "longest": 2, "visits": 90, "every": 1.1, "per_year": 0.2}
    return Finding(
        shard=1,
        rule=Rule.RESIDENT_ABSENT,
        subject_kind=SubjectKind.PERSON,
        subject=WANG,
        site=1,
        episode=episode,
        phase=phase,
        at_us=NOW_US,
        severity=severity,
        reason=reason | ({"ended": ended} if ended else {}),
    )


async def say(conn: Conn, *findings: Finding, at_us: int = NOW_US) -> None:
    """T2 of these findings."""
    async with conn.transaction():
        await apply_findings(conn, findings, at_us)
        await visits.follow(conn, findings, at_us)


async def tasks(conn: Conn) -> list[tuple[str, str | None, str]]:
    """Return state, result and who of all tasks."""
    return [(t.state, t.result, t.who) for t in await visits.visits(conn)]


async def alert_state(conn: Conn) -> str:
    """Return the state of the newest alert."""
    row = await (await conn.execute("SELECT state FROM alert ORDER BY id DESC LIMIT 1")).fetchone()
    assert row is not None
    return str(row[0])


async def test_an_absence_that_becomes_major_makes_one_task_and_urgency_brings_it_forward(conn: Conn) -> None:
    await say(conn, finding(Phase.BEGIN, Severity.MINOR))
    assert await tasks(conn) == []
    await say(conn, finding(Phase.CONTINUE), at_us=NOW_US + 1)
    (task,) = await visits.visits(conn, state="open")
    assert (task.person, task.site_code, task.due_us) == (WANG, "s1", NOW_US + 1 + DAY_US)
    await say(conn, finding(Phase.CONTINUE), at_us=NOW_US + HOUR_US)
    await say(conn, finding(Phase.CONTINUE, Severity.URGENT), at_us=NOW_US + HOUR_US)
    (again,) = await visits.visits(conn)
    assert (again.id, again.due_us) == (task.id, NOW_US + 5 * HOUR_US)


@pytest.mark.parametrize(
    ("phase", "ended", "state", "result"),
    [
        (Phase.END, "seen", "done", "seen"),
        (Phase.END, "left", "withdrawn", None),
        (Phase.RETRACT, "seen_before", "withdrawn", None),
        (Phase.RETRACT, "explained", "withdrawn", None),
    ],
)
async def test_a_task_ends_with_its_absence(conn: Conn, phase: Phase, ended: str, state: str, result: str | None) -> None:
    await say(conn, finding(Phase.BEGIN))
    await say(conn, finding(phase, ended=ended))
    assert await tasks(conn) == [(state, result, "analyzer")]
    await say(conn, finding(phase, ended=ended))
    assert await tasks(conn) == [(state, result, "analyzer")]


async def test_what_was_over_before_it_was_known_sends_nobody(conn: Conn) -> None:
    await say(conn, finding(Phase.BEGIN), finding(Phase.END, ended="seen"))
    assert [state for state, _, _ in await tasks(conn)] in ([], ["done"])
    assert await visits.visits(conn, state="open") == []


async def test_a_visit_is_recorded_once_and_resolves_the_alert(conn: Conn) -> None:
    await say(conn, finding(Phase.BEGIN))
    (task,) = await visits.visits(conn)
    await visits.complete(conn, task.id, Result.IN_HOSPITAL, "市二医院", "李", NOW_US + 5)
    (done,) = await visits.visits(conn)
    assert (done.state, done.result, done.note, done.who, done.done_us) == ("done", "in_hospital", "市二医院", "李", NOW_US + 5)
    assert await alert_state(conn) == "resolved"
    with pytest.raises(visits.VisitOver) as caught:
        await visits.complete(conn, task.id, Result.WELL, "", "王", NOW_US + 6)
    assert caught.value.state == "done"
    await say(conn, finding(Phase.CONTINUE, Severity.URGENT), finding(Phase.END, ended="seen"))
    assert await tasks(conn) == [("done", "in_hospital", "李")]


async def test_who_was_not_found_is_still_absent(conn: Conn) -> None:
    await say(conn, finding(Phase.BEGIN))
    (task,) = await visits.visits(conn)
    await visits.complete(conn, task.id, Result.NOT_FOUND, "", "李", NOW_US)
    assert await alert_state(conn) == "open"


async def test_a_task_of_another_site_does_not_exist(conn: Conn) -> None:
    await say(conn, finding(Phase.BEGIN))
    (task,) = await visits.visits(conn)
    assert await visits.visits(conn, sites=[2]) == []
    for number, sites in ((task.id, [2]), (task.id + 1, None)):
        with pytest.raises(visits.UnknownVisit):
            await visits.complete(conn, number, Result.WELL, "", "王", NOW_US, sites=sites)
    assert await tasks(conn) == [("open", None, "")]


async def came(conn: Conn, person: int, *days: date, site: int = 1) -> None:
    """Days on which a person was seen."""
    for day in days:
        await conn.execute("INSERT INTO person_day VALUES (%s, %s, %s, 1, 0, 0)", [person, site, day])


async def test_the_visit_rate_counts_each_resident_once_by_home_site_and_region(conn: Conn) -> None:
    await came(conn, 1, date(2026, 9, 1), date(2026, 9, 30))
    await came(conn, 2, date(2026, 8, 31), date(2026, 10, 1))
    await came(conn, 4, date(2026, 9, 9), site=1)
    await came(conn, 5, date(2026, 9, 9))
    await say(conn, finding(Phase.BEGIN))
    (task,) = await visits.visits(conn)
    await visits.complete(conn, task.id, Result.WELL, "", "李", NOW_US)

    async def rate(month: str, **where: Any) -> list[tuple[str, int, int, int, int]]:
        found = await visits.visit_rate(conn, month, **where)
        return [(r.site_code, r.residents, r.seen, r.visited, r.reached) for r in found]

    assert await rate("2026-09") == [("s1", 3, 1, 1, 1), ("s2", 1, 1, 0, 1)]
    assert await rate("2026-10", region="330481001") == [("s1", 3, 1, 0, 1)]
    assert await rate("2026-12", sites=[2]) == [("s2", 1, 0, 0, 0)]
    await conn.execute("UPDATE person SET consent_to_us = 5 WHERE id = 3")
    await conn.execute("UPDATE visit_task SET person = 2")
    assert await rate("2026-09", region="330481001001") == [("s1", 2, 1, 1, 2)]
    await conn.execute("UPDATE visit_task SET result = 'not_found'")
    assert await rate("2026-09", region="330481001001") == [("s1", 2, 1, 0, 1)]


@pytest.mark.parametrize(
    ("month", "region"), [("2026-13", ""), ("2026-9", ""), ("九月", ""), ("2026-09", "33%"), ("2026-09", "x")]
)
async def test_a_month_or_region_that_is_none_is_refused(conn: Conn, month: str, region: str) -> None:
    with pytest.raises(ValueError, match="is"):
        await visits.visit_rate(conn, month, region=region)
