"""Findings and people change alerts; each change is a version, a row of history, and one push per platform.

One decision: every path goes through the same compare-and-set, whether a finding, a person, a timer or a repeat of any comes.
Whoever changes an alert holds its row; so an acknowledgement that races with a clear, a retraction or an escalation comes
either before it or after it, and the pure rules (lifecycle, recurrence) say what the second finds. People are not told here:
a change only sets the alert's timer (`telling`). Calls run inside the caller's transaction, or in one of their own where the
connection has none.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import dict_row, tuple_row
from psycopg.types.json import Jsonb

from analytics import reasons
from analytics.evidence import span
from analytics.findings import Finding, Rule
from analytics.lifecycle import ACTIVE, Action, Change, Refusal, State, decide
from analytics.recurrence import Draft, follow
from ingest.store.queries import Queries

QUERIES = Queries("analytics")
ANALYZER = "analyzer"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
Connection = AsyncConnection[Any]
TRACED = 50
"""At most so many events of a span, the newest, are named as what a finding rests on."""
UNTOLD = frozenset({Action.ASSIGN, Action.COMMENT})
"""What a platform is not told of: its snapshot stays the same."""


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
        for steps in _by_subject(findings):
            drafts = await _known(conn, steps)
            for step in steps:
                follow(drafts, step)
            for draft in drafts:
                if draft.what and not draft.dropped:
                    await _save(conn, draft, now_us)
        await colour(conn, {f.site for f in findings})


async def acknowledge(conn: Connection, alert_id: int, expected_version: int, who: str, now_us: int) -> None:
    """Take an alert over; stops escalation, not the alert. Raises UnknownAlert, StaleVersion."""
    await act(conn, alert_id, expected_version, Action.ACKNOWLEDGE, who, now_us, assignee=who, reach="")


async def resolve(conn: Connection, alert_id: int, expected_version: int, who: str, outcome: str, note: str, now_us: int) -> None:
    """End an alert with an outcome (real, false_alarm, device_fault, drill). Raises UnknownAlert, StaleVersion."""
    await act(conn, alert_id, expected_version, Action.RESOLVE, who, now_us, why=note, outcome=outcome, note=note, reach="")


async def assign(conn: Connection, alert_id: int, expected_version: int, who: str, assignee: str, now_us: int) -> None:
    """Give an alert to someone, who has still to acknowledge it if nobody has. Raises UnknownAlert, StaleVersion."""
    await act(conn, alert_id, expected_version, Action.ASSIGN, who, now_us, why=assignee, assignee=assignee)


async def comment(conn: Connection, alert_id: int, who: str, text: str, now_us: int) -> None:
    """Say something about an alert that is going on, whatever its version. Raises UnknownAlert, StaleVersion."""
    await act(conn, alert_id, None, Action.COMMENT, who, now_us, why=text)


async def act(
    conn: Connection, alert: int, version: int | None, action: Action, who: str, now_us: int, why: str = "", **values: Any
) -> None:
    """Change one alert as a person or a timer asks. version: the one they looked at, None for any.

    Raises UnknownAlert, StaleVersion.
    """
    async with conn.transaction():
        row = await (await _tuples(conn, "find_alert_by_id", {"id": alert})).fetchone()
        if row is None:
            raise UnknownAlert(alert)
        _, state, present, site = row
        if version is not None and present != version:
            raise StaleVersion(state, present, f"expected version {version}")
        change = decide(State(state), action)
        if isinstance(change, Refusal):
            raise StaleVersion(state, present, change)
        unset = dict.fromkeys(("end_us", "assignee", "outcome", "note", "reach"))
        parameters = unset | values | {"id": alert, "version": present, "state": change.state}
        changed = await (await _tuples(conn, "change_alert", parameters)).fetchone()
        assert changed is not None, f"alert {alert} was locked at version {present} and changed all the same"
        await _after(conn, alert, changed[0], change, who, why, now_us, push=action not in UNTOLD)
        await colour(conn, {site} if site else set())


async def say_nobody_reached(conn: Connection, alert: int, told: int, now_us: int) -> None:
    """Nobody took an alert over though every level was told: say so on it, and raise an alert of its own about that.

    The caller holds the alert's row. told: how many people were told.
    """
    await act(conn, alert, None, Action.UNREACHED, ANALYZER, now_us, reach="unreached")
    row = await (await _tuples(conn, "open_nobody_reached", {"id": alert, "told": told, "now_us": now_us})).fetchone()
    if row is not None:
        await _tell(conn, row[0], 1, "opened", ANALYZER, "", now_us, push=True, acted=False)


async def colour(conn: Connection, sites: Iterable[int]) -> None:
    """Let the alerts of sites show in their status."""
    await conn.execute(QUERIES["colour_sites"], {"sites": sorted(sites)})
    await conn.execute(QUERIES["notify"])


def _by_subject(findings: Sequence[Finding]) -> list[list[Finding]]:
    groups: dict[tuple[str, str, int], list[Finding]] = {}
    for f in findings:
        groups.setdefault((f.rule, f.subject_kind, f.subject), []).append(f)
    return list(groups.values())


async def _known(conn: Connection, steps: Sequence[Finding]) -> list[Draft]:
    """Lock and return the alerts of one (rule, subject) that its findings can concern, oldest first."""
    first = steps[0]
    key = {"rule": first.rule, "kind": first.subject_kind, "subject": first.subject}
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(QUERIES["alerts_of_subject"], key | {"episodes": [f.episode for f in steps]})
        rows = await cursor.fetchall()
    return [Draft(**(row | {"state": State(row["state"])})) for row in rows]


async def _save(conn: Connection, draft: Draft, now_us: int) -> None:
    values = {name: getattr(draft, name) for name in ("last_episode", "count", "calm_us", "since_us", "end_us", "severity")}
    values |= {"state": draft.state, "reason": Jsonb(draft.reason), "now_us": now_us}
    if draft.id is not None:
        row = await (await _tuples(conn, "save_alert", values | {"id": draft.id, "version": draft.version})).fetchone()
        assert row is not None, f"alert {draft.id} was locked at version {draft.version} and changed all the same"
        draft.version = row[0]
    else:
        finding = draft.first
        assert finding is not None
        late = draft.state not in ACTIVE
        values |= {"rule": finding.rule, "kind": finding.subject_kind, "subject": finding.subject, "episode": finding.episode}
        values |= {"shard": finding.shard, "site": finding.site or None, "begin_us": finding.at_us, "late": late}
        values["recurs"] = draft.recurs.id if isinstance(draft.recurs, Draft) else draft.recurs
        row = await (await _tuples(conn, "open_alert", values | {"evidence": Jsonb(await _trace(conn, finding))})).fetchone()
        if row is None:
            return  # another worker opened it at the same moment
        draft.id = row[0]
        if values["recurs"] is not None:
            await conn.execute(QUERIES["inherit_telling"], {"alert": draft.id, "recurs": values["recurs"]})
    await _after(
        conn, draft.id, draft.version, Change(state=draft.state, what=draft.what), ANALYZER, draft.why, now_us, push=True
    )


async def _trace(conn: Connection, finding: Finding) -> list[list[int]]:
    """Name the events that a finding rests on by where they came from."""
    traced = []
    for pos, ordinal in finding.evidence:
        values = {"pos": pos, "ordinal": ordinal, "shard": finding.shard}
        row = await (await _tuples(conn, "trace_evidence", values)).fetchone()
        if row:
            traced.append(list(row))
    if about := span(finding):
        wanted = asdict(about) | {"shard": finding.shard, "most": TRACED}
        traced += [list(row) for row in await (await _tuples(conn, "trace_span", wanted)).fetchall()]
    return traced


async def _after(
    conn: Connection, alert: int, version: int, change: Change, who: str, why: str, now_us: int, *, push: bool
) -> None:
    """Let follow what follows from a change: history, pushes, and what need no longer be said."""
    if change.state is not State.OPEN:
        await conn.execute(QUERIES["withdraw"], {"alert": alert, "now_us": now_us})
        await _reached(conn, alert, change.state, now_us)
    await _tell(conn, alert, version, change.what, who, why, now_us, push=push, acted=who != ANALYZER)


async def _reached(conn: Connection, alert: int, state: State, now_us: int) -> None:
    """Clear what was raised because nobody could be reached about an alert."""
    row = await (await _tuples(conn, "nobody_reached_about", {"alert": alert, "rule": Rule.NOBODY_REACHED})).fetchone()
    if row is not None:
        why = "taken" if state in (State.ACKNOWLEDGED, State.RESOLVED) else "passed"
        await act(conn, row[0], None, Action.CLEAR, ANALYZER, now_us, why=why, end_us=now_us)


async def _tell(
    conn: Connection, alert: int, version: int, what: str, who: str, why: str, now_us: int, *, push: bool, acted: bool
) -> None:
    """Write the history, set the timer and push to each platform; the newest snapshot replaces those not sent yet."""
    await conn.execute(
        QUERIES["log_change"], {"alert": alert, "version": version, "at_us": now_us, "who": who, "what": what, "why": why}
    )
    await conn.execute(QUERIES["look_again"], {"alert": alert, "now_us": now_us, "acted": acted})
    if not push:
        return
    if version > 1:
        await conn.execute(QUERIES["supersede"], {"alert": alert, "version": version, "now_us": now_us})
    endpoints = await (await _tuples(conn, "enabled_endpoints", {"alert": alert})).fetchall()
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
    return msgspec.json.encode({"type": f"alert.{what}", "timestamp": iso(now_us), "data": facts(row)})


def facts(row: dict[str, Any]) -> dict[str, Any]:
    """Return what may be said of an alert (a row of the query `snapshot`) outside. No person data."""
    rule, reason, zone = row["rule"], row["reason"], row["zone"]
    return {
        "alert_id": row["id"],
        "version": row["version"],
        "rule": rule,
        "rule_zh": reasons.rule_name(rule, "zh"),
        "rule_en": reasons.rule_name(rule, "en"),
        "state": row["state"],
        "severity": row["severity"],
        "site": {"code": row["site_code"], "name": row["site_name"], "region": row["site_region"]},
        "subject": {"kind": row["subject_kind"], "code": row["subject_code"], "name": row["subject_name"]},
        "begin": iso(row["begin_us"]),
        "detected": iso(row["detected_us"]),
        "end": iso(row["end_us"]),
        "late": row["late"],
        "reason_zh": reasons.render(rule, reason, "zh", zone),
        "reason_en": reasons.render(rule, reason, "en", zone),
        "ended_zh": reasons.ended(reason, "zh"),
        "ended_en": reasons.ended(reason, "en"),
        "outcome": row["outcome"],
        "note": row["note"],
    }


def iso(t_us: int | None) -> str | None:
    """Write a time as platforms read it (RFC 3339, UTC)."""
    return None if t_us is None else (EPOCH + timedelta(microseconds=t_us)).isoformat().replace("+00:00", "Z")


async def _tuples(conn: Connection, query: str, values: dict[str, Any]) -> Any:
    """Run a query with plain rows, whatever the caller's connection makes of rows."""
    cursor = conn.cursor(row_factory=tuple_row)
    return await cursor.execute(QUERIES[query], values)
