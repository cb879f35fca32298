"""Tells people: comes for alerts whose timer is due, decides (notices.needs_notice), and puts messages into the outbox.

    alert changes ─┐
    time passes ───┴─► telling.due_us ─► claim a site ─► verdicts ─► notices (told or not, and why) + outbox rows ─► timers

One decision: everything about one site at one moment is one transaction: the alerts are locked, so that an acknowledgement
comes before it (and nothing is said) or after it (and withdraws what was not sent); notices, messages and timers are stored
together or not at all. Whoever dies in between has said nothing; the timers are due still, for this process or another.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import msgspec
import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from analytics import alerts, messages
from analytics.alerts import ANALYZER, Connection
from analytics.lifecycle import ACTIVE, Action, State, hold_us
from analytics.notices import ENDS, GRAVITY, GROUP_WAIT_US, LOOK_US, Case, Quiet, Told, Verdict, cause, needs_notice
from analytics.scene import SQL, Recipient, Scene, block, read_scene, rows
from gateway.clock import now_us

LOG = logging.getLogger(__name__)
CHANNEL = "smartcare"
POLL_S = 1.0
RESTART_S = 1.0
ROUNDS = 8
"""Times that one tick comes back to a site: telling one thing can make the next one due."""


async def tick(conn: Connection, now_us: int) -> None:
    """Do everything that is due. Several tellers, in any processes, share the work."""
    for _ in range(ROUNDS):
        sites = await rows(conn, "due_sites", {"now_us": now_us})
        for site in sites:
            await _supervise(conn, site["site"], now_us)
        if not sites:
            break


async def run(database_url: str, *, clock: Callable[[], int] = now_us) -> NoReturn:
    """Tell people until cancelled; a lost database is awaited."""
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as conn:
                await conn.execute(f"LISTEN {CHANNEL}")
                while True:
                    await tick(conn, clock())
                    async for _ in conn.notifies(timeout=POLL_S, stop_after=1):
                        pass
        except psycopg.OperationalError as lost:
            LOG.warning("the database is away, people are told when it is back: %s", lost)
        await asyncio.sleep(RESTART_S)


async def _supervise(conn: Connection, site: int, now_us: int) -> None:
    try:
        await _look(conn, site, now_us)
    except psycopg.OperationalError:
        raise
    except Exception:
        LOG.exception("nothing could be decided about the alerts of site %s; tried again in a minute", site)
        await conn.execute(SQL["put_off"], {"site": site, "now_us": now_us, "later_us": now_us + LOOK_US})


async def _look(conn: Connection, site: int, now_us: int) -> None:
    """Decide about everything that is due at one site, in one transaction."""
    async with conn.transaction():
        if not (await rows(conn, "claim_site", {"site": site}))[0]["pg_try_advisory_xact_lock"]:
            return
        found = await rows(conn, "cases", {"site": site, "until_us": now_us + GROUP_WAIT_US})
        if not found:
            return
        scene = await read_scene(conn, site, now_us)
        session = _Session(conn, scene, now_us)
        await session.settle([row for row in found if row["calm_us"] is not None])
        await session.decide([row for row in found if not row.get("settled")])
        await conn.execute(alerts.QUERIES["notify"])


class _Session:
    """One look at one site."""

    def __init__(self, conn: Connection, scene: Scene, now_us: int) -> None:
        self.conn, self.scene, self.now_us = conn, scene, now_us
        self.timers: list[dict[str, Any]] = []
        self.notes: list[dict[str, Any]] = []
        self.unreached: list[dict[str, Any]] = []

    async def settle(self, rows: Sequence[dict[str, Any]]) -> None:
        """Clear what has been calm for its hold time, by the site's own clock: what comes late is still awaited."""
        for row in rows:
            until = row["calm_us"] + hold_us(row["rule"])
            clock = self.now_us if self.scene.clock_us is None else min(self.scene.clock_us, self.now_us)
            if row["state"] in ACTIVE and until <= clock:
                await alerts.act(self.conn, row["id"], None, Action.CLEAR, ANALYZER, self.now_us, end_us=row["calm_us"])
                row["settled"] = True  # its timer is due again

    async def decide(self, rows: Sequence[dict[str, Any]]) -> None:
        """Pass a verdict on each alert and do what it says; what is told together becomes one message."""
        told: list[tuple[dict[str, Any], Case, Verdict, tuple[Recipient, ...]]] = []
        for row in rows:
            case = _case(row)
            verdict = needs_notice(case, block(row, self.scene), self.scene.manned, self.scene.rostered, self.now_us)
            if isinstance(verdict.reason, Told) and self._soon(verdict):
                to = await self._recipients(row, verdict)
                if to:
                    told.append((row, case, verdict, to))
                    continue
                verdict = _nobody(case, self.now_us)
            await self._stay_quiet(row, case, verdict)
        due = {_together(row, v, to) for row, _, v, to in told if v.due_us is not None and v.due_us <= self.now_us}
        for key in sorted(due):
            await self._tell([part for part in told if _together(part[0], part[2], part[3]) == key])
        for row, case, verdict, to in told:
            if _together(row, verdict, to) not in due:
                self._set_timer(row, case, verdict.due_us)
        await self._flush()

    async def _flush(self) -> None:
        async with self.conn.cursor() as cursor:
            await cursor.executemany(SQL["put_notice"], self.notes)
            await cursor.executemany(SQL["set_timer"], self.timers)
        for row in self.unreached:  # sets the timer again
            number = (await rows(self.conn, "how_many_told", {"alert": row["id"]}))[0]["count"]
            await alerts.say_nobody_reached(self.conn, row["id"], number, self.now_us)

    def _soon(self, verdict: Verdict) -> bool:
        gathered = GROUP_WAIT_US if verdict.reason in (Told.NEW, Told.CLEARED, Told.EXPIRED) else 0
        return verdict.due_us is not None and verdict.due_us <= self.now_us + gathered

    async def _recipients(self, row: dict[str, Any], verdict: Verdict) -> tuple[Recipient, ...]:
        if verdict.reason in ENDS:
            found = await rows(self.conn, "told_of", {"alert": row["id"], "now_us": self.now_us})
            return tuple(Recipient(**r) for r in found)
        if verdict.reason in (Told.NEW, Told.ESCALATED):
            return tuple(r for r in self.scene.on_duty if r.level == verdict.level)
        return tuple(r for r in self.scene.on_duty if r.level <= verdict.level)

    async def _stay_quiet(self, row: dict[str, Any], case: Case, verdict: Verdict) -> None:
        """Record why nobody is told, once, and set the timer."""
        if isinstance(verdict.reason, Told):  # later
            self._set_timer(row, case, verdict.due_us)
            return
        if verdict.reason is not Quiet.ALREADY_TOLD:
            last = await rows(self.conn, "last_decision", {"alert": row["id"]})
            if not last or (last[0]["reason"], last[0]["detail"]) != (verdict.reason, verdict.detail):
                self.notes.append(self._decision(row, verdict.reason, verdict.detail))
        over = case.over or case.state not in ACTIVE
        self._set_timer(row, replace(case, over=over), None if over else verdict.due_us)
        if verdict.reason is Quiet.UNREACHED:
            self.unreached.append(row)

    async def _tell(self, parts: Sequence[tuple[dict[str, Any], Case, Verdict, tuple[Recipient, ...]]]) -> None:
        """Put one message for each recipient into the outbox; it names every alert that it stands for."""
        parts = sorted(parts, key=lambda p: (-GRAVITY[p[0]["severity"]], p[0]["id"]))
        (lead, _, verdict, to), rest = parts[0], parts[1:]
        reason = Told(verdict.reason)
        decision = self._decision(lead, reason, {}, level=verdict.level)
        notice = int((await rows(self.conn, "put_notice", decision))[0]["id"])
        detail = {"alert": lead["id"], "as": reason}
        self.notes += [self._decision(p[0], Quiet.GROUPED, detail, level=verdict.level, under=notice) for p in rest]
        others = [(row["rule"], row["name"]) for row, _, _, _ in rest]
        body = await self._body(lead, reason, others, notice)
        for r in to:
            values = {"alert": lead["id"], "version": lead["version"], "notice": notice, "body": body, "now_us": self.now_us}
            values |= {"endpoint": r.endpoint, "contact": r.contact, "address": r.address}
            values["webhook_id"] = f"ntc_{notice}_{r.endpoint}_{r.contact or 0}"
            await self.conn.execute(SQL["put_message"], values)
        for row, case, v, _ in parts:
            after = _after_telling(case, v, self.now_us)
            then = needs_notice(after, None, self.scene.manned, self.scene.rostered, self.now_us)
            self._set_timer(row, after, then.due_us)

    async def _body(self, lead: dict[str, Any], reason: Told, others: Sequence[tuple[str, str]], notice: int) -> bytes:
        async with self.conn.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(alerts.QUERIES["snapshot"], {"id": lead["id"]})
            row = await cursor.fetchone()
        assert row is not None
        row["count"] = lead["count"]
        texts = {f"text_{lang}": messages.text(reason, row, others, lang) for lang in ("zh", "en")}
        data = alerts.facts(row) | {"notice": {"id": notice, "reason": reason, "alerts": 1 + len(others)} | texts}
        return msgspec.json.encode({"type": f"notice.{reason}", "timestamp": alerts.iso(self.now_us), "data": data})

    def _decision(
        self, row: dict[str, Any], reason: Told | Quiet, detail: dict[str, Any], *, level: int = 0, under: int | None = None
    ) -> dict[str, Any]:
        values = {"alert": row["id"], "version": row["version"], "now_us": self.now_us, "reason": reason, "level": level}
        return values | {"told": isinstance(reason, Told) or under is not None, "detail": Jsonb(detail), "under": under}

    def _set_timer(self, row: dict[str, Any], case: Case, due_us: int | None) -> None:
        if row["calm_us"] is not None and case.state in ACTIVE:
            end = max(row["calm_us"] + hold_us(row["rule"]), self.now_us + 1)
            if self.scene.clock_us is not None and self.scene.clock_us < row["calm_us"] + hold_us(row["rule"]):
                end = max(end, self.now_us + LOOK_US // 2)
            due_us = end if due_us is None else min(due_us, end)
        names = ("severity_told", "level", "told_us", "reminders", "inherited", "over")
        values = {name: getattr(case, name) for name in names} | {"due_us": due_us}
        if any(row[name] != value for name, value in values.items()):
            self.timers.append(values | {"alert": row["id"]})


def _after_telling(case: Case, verdict: Verdict, now_us: int) -> Case:
    reason = verdict.reason
    if reason in ENDS:
        return replace(case, over=True)
    graver = max((case.severity, case.severity_told or case.severity), key=lambda s: GRAVITY[s])  # type: ignore[index]
    reminders = case.reminders + (reason is Told.RE_NOTIFY)
    return replace(
        case, severity_told=graver, level=max(case.level, verdict.level), told_us=now_us, reminders=reminders, inherited=False
    )


def _nobody(case: Case, now_us: int) -> Verdict:
    """Return the verdict where there is something to say and nobody to say it to."""
    return Verdict(reason=Quiet.NOBODY, due_us=now_us + LOOK_US) if case.state in ACTIVE else Verdict(reason=Quiet.OVER)


def _together(row: dict[str, Any], verdict: Verdict, to: Iterable[Recipient]) -> tuple[Any, ...]:
    """What is told together: the same cause, for the same reason, to the same people."""
    people = tuple(sorted((r.endpoint, r.address) for r in to))
    return str(verdict.reason), verdict.level, cause(row["rule"]), people


def _case(row: dict[str, Any]) -> Case:
    names = (
        "rule",
        "severity",
        "late",
        "detected_us",
        "recurred_by",
        "severity_told",
        "level",
        "told_us",
        "acted_us",
        "reminders",
    )
    values = {name: row[name] for name in (*names, "inherited", "over")}
    return Case(
        state=State(row["state"]),
        calm=row["calm_us"] is not None,
        unreached=row["reach"] == "unreached",
        active_us=row["since_us"] or row["detected_us"],
        ended_us=row["end_us"],
        **values,
    )
