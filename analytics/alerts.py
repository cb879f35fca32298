"""Findings and people change alerts; each change is a version, a row of history, and one push per endpoint.

One decision: every path goes through the same compare-and-set, whether a finding, a person or a repeat of either comes.
Calls run inside the caller's transaction, or in one of their own where the connection has none.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import dict_row, tuple_row
from psycopg.types.json import Jsonb

from analytics import reasons
from analytics.findings import Finding, Phase
from analytics.lifecycle import Action, Change, Refusal, State, action_of, decide
from ingest.store.queries import Queries

QUERIES = Queries("analytics")
ANALYZER = "analyzer"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Connection = AsyncConnection[Any]


class AlertError(Exception):
    """Base of what can go wrong with an alert."""


class UnknownAlert(AlertError):
    """There is no such alert."""

    def __init__(self, alert: int) -> None:
        super().__init__(f"there is no alert {alert}")
        self.alert = alert


class StaleVersion(AlertError):
    """Someone or something changed the alert first; `state` and `version` are what it has now."""

    def __init__(self, state: str, version: int, why: str) -> None:
        super().__init__(f"the alert is {state} at version {version} ({why}); look at it again before you act")
        self.state, self.version, self.why = state, version, why


async def apply_findings(conn: Connection, findings: Sequence[Finding], now_us: int) -> None:
    """Turn findings into alerts. What begins and ends in one call was over before it was known: late, and wakes no one."""
    async with conn.transaction():
        for steps in _by_episode(findings):
            first = steps[0]
            rest = steps[1:]
            if first.phase is Phase.BEGIN:
                over = next((f for f in rest if f.phase in (Phase.END, Phase.RETRACT)), None)
                if over is not None and over.phase is Phase.RETRACT:
                    if await _find(conn, first) is None:
                        continue  # raised and disproved at once: nobody was told, nothing to take back
                elif await _open(conn, first, over, now_us):
                    continue
                rest = [f for f in rest if f.phase is not Phase.BEGIN]
            else:
                rest = steps
            for finding in rest:
                await _follow(conn, finding, now_us)
        await colour(conn, {f.site for f in findings})


async def acknowledge(conn: Connection, alert_id: int, expected_version: int, who: str, now_us: int) -> None:
    """Take an alert over; stops escalation, not the alert. Raises UnknownAlert, StaleVersion."""
    await _act(conn, alert_id, expected_version, Action.ACKNOWLEDGE, who, now_us, assignee=who)


async def resolve(conn: Connection, alert_id: int, expected_version: int, who: str, outcome: str, note: str, now_us: int) -> None:
    """End an alert with an outcome (real, false_alarm, device_fault, drill). Raises UnknownAlert, StaleVersion."""
    await _act(conn, alert_id, expected_version, Action.RESOLVE, who, now_us, outcome=outcome, note=note, why=note)


async def colour(conn: Connection, sites: Iterable[int]) -> None:
    """Let the alerts of sites show in their status."""
    await conn.execute(QUERIES["colour_sites"], {"sites": sorted(sites)})
    await conn.execute(QUERIES["notify"])


def _by_episode(findings: Sequence[Finding]) -> list[list[Finding]]:
    groups: dict[tuple[str, str, int, int], list[Finding]] = {}
    for f in findings:
        groups.setdefault((f.rule, f.subject_kind, f.subject, f.episode), []).append(f)
    return list(groups.values())


async def _open(conn: Connection, finding: Finding, over: Finding | None, now_us: int) -> bool:
    """Store a new alert. Returns False where its episode is known: this step was applied before."""
    state = State.OPEN
    if over is not None:
        state = State.CLEARED
    values = _key(finding) | {
        "shard": finding.shard,
        "site": finding.site or None,
        "state": state,
        "severity": finding.severity,
        "begin_us": finding.at_us,
        "now_us": now_us,
        "end_us": over.at_us if over else None,
        "late": over is not None,
        "reason": Jsonb((over or finding).reason),
        "evidence": Jsonb(await _trace(conn, finding)),
    }
    row = await (await _tuples(conn, "open_alert", values)).fetchone()
    if row is None:
        return False
    why = str(over.reason.get("ended", "")) if over else ""
    await _tell(conn, row[0], 1, "opened" if over is None else state.value, ANALYZER, why, now_us)
    return True


async def _follow(conn: Connection, finding: Finding, now_us: int) -> None:
    found = await _find(conn, finding)
    if found is None:
        return  # its beginning was never ours: raised before the rule was watched
    alert, state, version = found
    action = action_of(finding.phase, str(finding.reason.get("ended")))
    change = decide(State(state), action)
    if isinstance(change, Refusal):
        return  # people were faster, or this step was applied before
    end_us = None if action is Action.UPDATE else finding.at_us
    why = str(finding.reason.get("ended", ""))
    await _change(
        conn,
        alert,
        version,
        change,
        ANALYZER,
        now_us,
        why,
        end_us=end_us,
        severity=finding.severity,
        reason=Jsonb(finding.reason),
    )


async def _act(
    conn: Connection, alert: int, version: int, action: Action, who: str, now_us: int, why: str = "", **values: Any
) -> None:
    async with conn.transaction():
        row = await (await _tuples(conn, "find_alert_by_id", {"id": alert})).fetchone()
        if row is None:
            raise UnknownAlert(alert)
        _, state, present = row
        if present != version:
            raise StaleVersion(state, present, f"expected version {version}")
        change = decide(State(state), action)
        if isinstance(change, Refusal):
            raise StaleVersion(state, present, change)
        await _change(conn, alert, version, change, who, now_us, why, **values)
        site = await (await _tuples(conn, "site_of", {"id": alert})).fetchone()
        await colour(conn, {site[0]} if site and site[0] else set())


async def _change(
    conn: Connection, alert: int, version: int, change: Change, who: str, now_us: int, why: str, **values: Any
) -> None:
    unset = dict.fromkeys(("end_us", "severity", "reason", "assignee", "outcome", "note"))
    parameters = unset | values | {"id": alert, "version": version, "state": change.state}
    row = await (await _tuples(conn, "change_alert", parameters)).fetchone()
    assert row is not None, f"alert {alert} was locked at version {version} and changed all the same"
    await _tell(conn, alert, row[0], change.what, who, why, now_us)


async def _find(conn: Connection, finding: Finding) -> tuple[int, str, int] | None:
    row: tuple[int, str, int] | None = await (await _tuples(conn, "find_alert", _key(finding))).fetchone()
    return row


def _key(finding: Finding) -> dict[str, Any]:
    return {"rule": finding.rule, "kind": finding.subject_kind, "subject": finding.subject, "episode": finding.episode}


async def _trace(conn: Connection, finding: Finding) -> list[list[int]]:
    """Name the events that a finding rests on by where they came from."""
    traced = []
    for pos, ordinal in finding.evidence:
        values = {"pos": pos, "ordinal": ordinal, "shard": finding.shard}
        row = await (await _tuples(conn, "trace_evidence", values)).fetchone()
        if row:
            traced.append(list(row))
    return traced


async def _tell(conn: Connection, alert: int, version: int, what: str, who: str, why: str, now_us: int) -> None:
    """Write the history and one push per endpoint; the newest snapshot replaces those not sent yet."""
    await conn.execute(
        QUERIES["log_change"], {"alert": alert, "version": version, "at_us": now_us, "who": who, "what": what, "why": why}
    )
    await conn.execute(QUERIES["supersede"], {"alert": alert, "version": version, "now_us": now_us})
    endpoints = await (await _tuples(conn, "enabled_endpoints", {})).fetchall()
    if not endpoints:
        return
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(QUERIES["snapshot"], {"id": alert})
        row = await cursor.fetchone()
    assert row is not None
    body = snapshot(row, what, now_us)
    for (endpoint,) in endpoints:
        await conn.execute(
            QUERIES["put_outbox"],
            {
                "alert": alert,
                "version": version,
                "endpoint": endpoint,
                "webhook_id": f"evt_{alert}_{version}_{endpoint}",
                "body": body,
                "now_us": now_us,
            },
        )


def snapshot(row: dict[str, Any], what: str, now_us: int) -> bytes:
    """Serialise what an endpoint is told, once: the bytes are stored, signed and sent as they are. No person data."""
    rule, reason, zone = row["rule"], row["reason"], row["zone"]
    data = {
        "alert_id": row["id"],
        "version": row["version"],
        "rule": rule,
        "rule_zh": reasons.rule_name(rule, "zh"),
        "rule_en": reasons.rule_name(rule, "en"),
        "state": row["state"],
        "severity": row["severity"],
        "site": {"code": row["site_code"], "name": row["site_name"], "region": row["site_region"]},
        "subject": {"kind": row["subject_kind"], "code": row["subject_code"], "name": row["subject_name"]},
        "begin": _time(row["begin_us"]),
        "detected": _time(row["detected_us"]),
        "end": _time(row["end_us"]),
        "late": row["late"],
        "reason_zh": reasons.render(rule, reason, "zh", zone),
        "reason_en": reasons.render(rule, reason, "en", zone),
        "ended_zh": reasons.ended(reason, "zh"),
        "ended_en": reasons.ended(reason, "en"),
        "outcome": row["outcome"],
        "note": row["note"],
    }
    return msgspec.json.encode({"type": f"alert.{what}", "timestamp": _time(now_us), "data": data})


def _time(t_us: int | None) -> str | None:
    return None if t_us is None else (EPOCH + timedelta(microseconds=t_us)).isoformat().replace("+00:00", "Z")


async def _tuples(conn: Connection, query: str, values: dict[str, Any]) -> Any:
    """Run a query with plain rows, whatever the caller's connection makes of rows."""
    cursor = conn.cursor(row_factory=tuple_row)
    return await cursor.execute(QUERIES[query], values)
