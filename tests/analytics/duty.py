"""A small town on a real database: sites, people on duty with a robot each, findings, and time that only a test moves."""

from typing import Any

import msgspec
import psycopg
from psycopg import AsyncConnection
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from analytics.alerts import apply_findings
from analytics.findings import Finding, Phase, Rule, Severity, SubjectKind
from analytics.telling import tick
from gateway.clock import DAY_US, MINUTE_US, SECOND_US

T0 = 1_772_500_000_000_000  # Tuesday 2026-03-03 09:06:40 in Shanghai
ALWAYS = {day: [["00:00", "00:00"]] for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")}
TOWN, CITY = "330481001", "330481"


def finding(phase: Phase = Phase.BEGIN, **changes: Any) -> Finding:
    """A step of somebody's silence at site 1."""
    values: dict[str, Any] = {
        "shard": 3,
        "rule": Rule.NO_ACTIVITY,
        "subject_kind": SubjectKind.SITE,
        "subject": 1,
        "site": 1,
        "episode": T0,
        "phase": phase,
        "at_us": T0,
        "severity": Severity.MAJOR,
        "reason": {"code": "no_activity", "since_us": T0, "limit_min": 120, "sensors": 2},
    }
    return Finding(**(values | changes))


def device(number: int, site: int, phase: Phase = Phase.BEGIN, **changes: Any) -> Finding:
    """A step of a device's silence."""
    reason = {"code": "link_offline", "since_us": T0, "place": f"门{number}", "place_en": f"door {number}", "device": "门磁"}
    values = {"rule": Rule.DEVICE_OFFLINE, "subject_kind": SubjectKind.DEVICE, "severity": Severity.MINOR, "reason": reason}
    return finding(phase, **(values | {"subject": number, "site": site} | changes))


class Duty:
    """The database and its clock."""

    def __init__(self, conn: AsyncConnection[Any], db: psycopg.Connection[Any]) -> None:
        self.conn, self.db, self.now = conn, db, T0
        db.execute("INSERT INTO region (code, name) VALUES ('330481001000', '硖石街道')")

    def site(self, number: int = 1, hours: dict[str, Any] | None = None) -> None:
        """A site; open always unless told otherwise."""
        self.db.execute(
            "INSERT INTO site (id, code, name, kind, region, hours, shard) OVERRIDING SYSTEM VALUE "
            "VALUES (%s, %s, %s, 'centre', '330481001000', %s, 3)",
            [number, f"s{number}", f"照料中心{number}", Jsonb(ALWAYS if hours is None else hours)],
        )

    def person(
        self, name: str, *, site: int | None = None, area: str | None = None, from_us: int = 0, to_us: int | None = None
    ) -> int:
        """Someone on duty with a robot of their own; returns the robot."""
        robot = self.one(
            "INSERT INTO endpoint (name, url, secret, kind) VALUES (%s, 'http://127.0.0.1:9/', '', 'wecom') RETURNING id", name
        )
        contact = self.one("INSERT INTO contact (name, endpoint) VALUES (%s, %s) RETURNING id", name, robot)
        values = [contact, site, area, from_us, to_us]
        self.db.execute("INSERT INTO shift (contact, site, area, from_us, to_us) VALUES (%s, %s, %s, %s, %s)", values)
        return int(robot)

    def one(self, query: str, *values: Any) -> Any:
        """Return the first column of the only row."""
        row = self.db.execute(query.encode(), values).fetchone()
        assert row is not None
        return row[0]

    def rows(self, query: str, *values: Any) -> list[Any]:
        """Return rows."""
        return self.db.execute(query.encode(), values).fetchall()

    async def find(self, *findings: Finding) -> None:
        """Apply findings and let people be told."""
        await apply_findings(self.conn, findings, self.now)
        await self.tick()

    async def tick(self) -> None:
        """Tell whatever is due, and let it arrive at once."""
        await tick(self.conn, self.now)
        self.deliver()

    def deliver(self) -> None:
        """Everything in the outbox reaches whom it is for."""
        self.db.execute("UPDATE outbox SET state = 'delivered', done_us = %s WHERE state = 'pending'", [self.now])

    async def wait(self, us: int) -> None:
        """Let time pass, from due time to due time."""
        until = self.now + us
        while True:
            due = self.one("SELECT min(due_us) FROM telling")
            if due is None or due > until:
                break
            self.now = max(due, self.now)
            await self.tick()
            if self.one("SELECT min(due_us) FROM telling") == due:
                break  # nobody could do it now
        self.now = until
        await self.tick()

    def told(self, *, of: int | None = None) -> list[tuple[str, str]]:
        """Return (who, why) in the order of the outbox."""
        return self.rows(
            "SELECT e.name, n.reason FROM outbox o JOIN notice n ON n.id = o.notice JOIN endpoint e ON e.id = o.endpoint "
            "WHERE o.state = 'delivered' AND (%s::bigint IS NULL OR n.alert = %s) ORDER BY o.id",
            of,
            of,
        )

    def decisions(self) -> list[str]:
        """Return every decision's reason, in order."""
        return [reason for (reason,) in self.rows("SELECT reason FROM notice ORDER BY id")]

    def messages(self) -> list[str]:
        """Return the Chinese texts in the order of the outbox."""
        bodies = self.rows("SELECT body FROM outbox WHERE notice IS NOT NULL ORDER BY id")
        return [msgspec.json.decode(body)["data"]["notice"]["text_zh"] for (body,) in bodies]

    def alert(self) -> dict[str, Any]:
        """Return the newest alert."""
        with self.db.cursor(row_factory=dict_row) as cursor:
            row = cursor.execute("SELECT * FROM alert ORDER BY id DESC LIMIT 1").fetchone()
        assert row is not None
        return row


__all__ = ["ALWAYS", "CITY", "DAY_US", "MINUTE_US", "SECOND_US", "T0", "TOWN", "Duty", "device", "finding"]
