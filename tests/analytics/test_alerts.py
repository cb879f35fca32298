"""Alerts on a real database: versions, history, pushes, and people who are faster or slower than findings."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgspec
import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from analytics.alerts import StaleVersion, UnknownAlert, acknowledge, apply_findings, resolve
from analytics.findings import Finding, Phase, Rule, Severity, SubjectKind
from analytics.runner import put_status
from analytics.status import SiteStatus
from tests.analytics.log import register
from tests.scenarios.day import COUNTER, DOOR, PLACE_OF, SHARD, SITE, inputs

T0 = 1_772_500_000_000_000
BEGIN = Finding(
    shard=SHARD,
    rule=Rule.NO_ACTIVITY,
    subject_kind=SubjectKind.SITE,
    subject=SITE,
    site=SITE,
    episode=T0,
    phase=Phase.BEGIN,
    at_us=T0 + 7_200_000_000,
    severity=Severity.MAJOR,
    reason={"code": "no_activity", "since_us": T0, "limit_min": 120, "sensors": 2},
)
END = replace(BEGIN, phase=Phase.END, at_us=BEGIN.at_us + 60_000_000, reason=BEGIN.reason | {"ended": "activity"})
CLOSING = replace(END, reason=BEGIN.reason | {"ended": "closing"})
RETRACT = replace(END, phase=Phase.RETRACT, reason=BEGIN.reason | {"ended": "activity_before"})
OPENED = SiteStatus(
    site=SITE,
    base="ok",
    clock_us=T0,
    next_rule="",
    next_deadline_us=None,
    today_in=0,
    today_passages=0,
    last_event_us=None,
    detail={"base": "ok"},
)


class Desk:
    """A database with one site and two endpoints, of which one is disabled."""

    def __init__(self, conn: AsyncConnection[Any], db: psycopg.Connection[Any]) -> None:
        self.conn, self.db, self.now = conn, db, T0

    async def find(self, *findings: Finding) -> None:
        """Apply findings, each call a second later."""
        self.now += 1_000_000
        await apply_findings(self.conn, findings, self.now)

    def alert(self, *columns: str) -> Any:
        """Return columns of the only alert."""
        (row,) = self.db.execute(f"SELECT {', '.join(columns)} FROM alert".encode()).fetchall()
        return row

    def rows(self, query: str) -> list[Any]:
        """Return rows."""
        return self.db.execute(query.encode()).fetchall()

    def colour(self) -> str:
        """Return the site's state on the page."""
        return str(self.rows("SELECT state FROM site_status")[0][0])


@pytest.fixture
async def desk(dsn: str) -> AsyncIterator[Desk]:
    with psycopg.connect(dsn, autocommit=True) as db:
        register(db, inputs({DOOR: 1, COUNTER: 1}), SHARD, endpoints=["city", "old"])
        db.execute("UPDATE endpoint SET enabled = false WHERE name = 'old'")
        async with await AsyncConnection.connect(dsn, autocommit=True) as conn:
            await put_status(conn, [OPENED])
            yield Desk(conn, db)


HISTORY = "SELECT version, what, who, why FROM alert_change ORDER BY id"


async def test_a_finding_and_its_end_are_two_versions_of_one_alert(desk: Desk) -> None:
    await desk.find(BEGIN)
    assert desk.alert("state", "version", "late", "begin_us", "detected_us") == ("open", 1, False, BEGIN.at_us, T0 + 1_000_000)
    assert desk.colour() == "alert"
    await desk.find(END)
    assert desk.alert("state", "version", "end_us") == ("cleared", 2, END.at_us)
    assert desk.rows(HISTORY) == [(1, "opened", "analyzer", ""), (2, "cleared", "analyzer", "activity")]
    assert desk.colour() == "ok"


async def test_the_same_findings_twice_change_nothing(desk: Desk) -> None:
    for findings in ((BEGIN,), (BEGIN,), (END,), (END,), (BEGIN, END)):
        await desk.find(*findings)
    assert desk.alert("state", "version") == ("cleared", 2)
    assert len(desk.rows(HISTORY)) == 2


async def test_a_new_episode_is_a_new_alert(desk: Desk) -> None:
    await desk.find(BEGIN, END)
    await desk.find(replace(BEGIN, episode=T0 + 1))
    assert desk.rows("SELECT state FROM alert ORDER BY id") == [("cleared",), ("open",)]


async def test_what_begins_and_ends_at_once_is_late_and_pushed_once(desk: Desk) -> None:
    await desk.find(BEGIN, END)
    assert desk.alert("state", "version", "late", "end_us") == ("cleared", 1, True, END.at_us)
    ((body,),) = desk.rows("SELECT body FROM outbox")
    assert msgspec.json.decode(body)["type"] == "alert.cleared"


async def test_what_begins_and_is_disproved_at_once_never_was(desk: Desk) -> None:
    await desk.find(BEGIN, RETRACT)
    assert desk.rows("SELECT id FROM alert") == []


async def test_late_evidence_retracts_and_whoever_was_told_is_told(desk: Desk) -> None:
    await desk.find(BEGIN)
    await desk.find(RETRACT)
    assert desk.alert("state") == ("retracted",)
    types = [msgspec.json.decode(b)["type"] for (b,) in desk.rows("SELECT body FROM outbox ORDER BY version")]
    assert types == ["alert.opened", "alert.retracted"]


async def test_an_untaken_absence_expires_and_a_taken_one_clears(desk: Desk) -> None:
    await desk.find(BEGIN)
    await desk.find(CLOSING)
    assert desk.alert("state") == ("expired",)
    desk.db.execute("DELETE FROM telling; DELETE FROM outbox; DELETE FROM alert_change; DELETE FROM alert")
    await desk.find(BEGIN)
    await acknowledge(desk.conn, desk.alert("id")[0], 1, "李", desk.now)
    await desk.find(CLOSING)
    assert desk.alert("state") == ("cleared",)


async def test_acknowledging_does_not_end_it_and_resolving_does(desk: Desk) -> None:
    await desk.find(BEGIN)
    alert = desk.alert("id")[0]
    await acknowledge(desk.conn, alert, 1, "李", desk.now)
    assert desk.alert("state", "version", "assignee") == ("acknowledged", 2, "李")
    assert desk.colour() == "attention"
    await resolve(desk.conn, alert, 2, "李", "real", "电话确认", desk.now)
    assert desk.alert("state", "version", "outcome", "note") == ("resolved", 3, "real", "电话确认")
    assert desk.colour() == "ok"
    await desk.find(END)
    assert desk.alert("state", "version") == ("resolved", 3)
    assert [w for _, w, _, _ in desk.rows(HISTORY)] == ["opened", "acknowledged", "resolved"]


async def test_acting_on_an_older_version_is_refused_with_the_present_one(desk: Desk) -> None:
    await desk.find(BEGIN)
    alert = desk.alert("id")[0]
    await acknowledge(desk.conn, alert, 1, "李", desk.now)
    with pytest.raises(StaleVersion) as caught:
        await resolve(desk.conn, alert, 1, "王", "real", "", desk.now)
    assert (caught.value.state, caught.value.version) == ("acknowledged", 2)
    with pytest.raises(StaleVersion):
        await acknowledge(desk.conn, alert, 2, "王", desk.now)  # taken already
    with pytest.raises(UnknownAlert):
        await acknowledge(desk.conn, alert + 99, 1, "王", desk.now)


async def test_of_two_people_at_once_one_wins(desk: Desk, dsn: str) -> None:
    await desk.find(BEGIN)
    alert = desk.alert("id")[0]
    won: list[str] = []

    async def take(who: str) -> None:
        # The page's connections return rows as dicts.
        async with await AsyncConnection.connect(dsn, row_factory=dict_row) as conn:
            try:
                await acknowledge(conn, alert, 1, who, desk.now)
                won.append(who)
            except StaleVersion:
                pass

    async with asyncio.TaskGroup() as tasks:
        for n in range(8):
            tasks.create_task(take(f"员工{n}"))
    assert desk.alert("assignee", "version") == (won[0], 2)
    assert len(won) == 1


async def test_a_newer_version_replaces_what_was_not_sent_and_leaves_what_is_on_its_way(desk: Desk) -> None:
    await desk.find(BEGIN)
    alert = desk.alert("id")[0]
    await acknowledge(desk.conn, alert, 1, "李", desk.now)
    desk.db.execute("UPDATE outbox SET leased_until_us = %s WHERE version = 2", [desk.now + 60_000_000])
    await resolve(desk.conn, alert, 2, "李", "false_alarm", "", desk.now)
    states = desk.rows("SELECT version, state, webhook_id FROM outbox ORDER BY version")
    assert states == [
        (1, "superseded", f"evt_{alert}_1_1"),
        (2, "pending", f"evt_{alert}_2_1"),
        (3, "pending", f"evt_{alert}_3_1"),
    ]


async def test_the_pushed_snapshot_says_what_where_and_why_in_two_languages(desk: Desk) -> None:
    await desk.find(
        replace(
            BEGIN,
            rule=Rule.LEFT_OPEN,
            subject_kind=SubjectKind.PLACE,
            subject=PLACE_OF[DOOR],
            reason={
                "code": "left_open",
                "closes_us": T0,
                "after_min": 30,
                "open_since_us": T0 - 480_000_000,
                "place": "大门",
                "place_en": "Gate",
            },
        )
    )
    ((body,),) = desk.rows("SELECT body FROM outbox")
    data = msgspec.json.decode(body)["data"]
    assert data["site"] == {"code": "HN-07", "name": "河畔照料中心", "region": "330481001000"}
    assert data["subject"] == {"kind": "place", "code": f"p{DOOR}", "name": "大门"}
    assert data["reason_zh"] == "09:06 关门后 30 分钟，大门仍开着（08:58 打开）"
    assert data["reason_en"] == "Gate still open 30 min after closing at 09:06 (open since 08:58)"
    assert (data["rule_zh"], data["state"], data["severity"], data["begin"]) == (
        "关门后门未关",
        "open",
        "major",
        "2026-03-03T03:06:40Z",
    )
    assert len(body) < 20_000


async def test_a_gap_makes_the_site_blind_unless_something_graver_is_open(desk: Desk) -> None:
    gap = replace(BEGIN, rule=Rule.MONITORING_GAP, reason={"code": "lost"})
    await desk.find(gap)
    assert desk.colour() == "blind"
    await desk.find(BEGIN)
    assert desk.colour() == "alert"
    await desk.find(END)
    assert desk.colour() == "blind"
    await desk.find(replace(gap, phase=Phase.END), replace(BEGIN, rule=Rule.DEVICE_OFFLINE, severity=Severity.MINOR))
    assert desk.colour() == "attention"
