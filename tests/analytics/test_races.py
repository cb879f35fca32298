"""Acknowledging, clearing, retracting and escalating at once, and tellers that are killed: one defined result each time."""

import asyncio
import subprocess
import sys
from collections.abc import Coroutine
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test
from psycopg import AsyncConnection

from analytics.alerts import StaleVersion, acknowledge, apply_findings, resolve
from analytics.findings import Phase, Severity
from analytics.lifecycle import HOLD_US
from analytics.telling import tick
from tests.analytics.duty import CITY, MINUTE_US, SECOND_US, T0, TOWN, Duty, finding

ROOT = Path(__file__).parents[2]
URGENT = finding(severity=Severity.URGENT)
END = replace(URGENT, phase=Phase.END, at_us=T0 + MINUTE_US, reason=URGENT.reason | {"ended": "activity"})


def staffed(duty: Duty) -> None:
    duty.site()
    duty.person("李站长", site=1)
    duty.person("王镇长", area=TOWN)
    duty.person("赵科长", area=CITY)


async def test_a_teller_killed_at_every_step_of_every_level_tells_each_once(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as db:
        async with await AsyncConnection.connect(dsn, autocommit=True) as conn:
            duty = Duty(conn, db)
            staffed(duty)
            await apply_findings(conn, [URGENT], T0)
        times = [str(T0 + minutes * MINUTE_US) for minutes in (0, 5, 15, 30)]
        program = [sys.executable, "-m", "tests.analytics.mortal", dsn, *times]
        died = await asyncio.to_thread(
            subprocess.run, program, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120
        )
        assert died.returncode == 0, died.stderr
        assert int(died.stdout) > 40
        duty.deliver()
        assert duty.told(of=1) == [("李站长", "new"), ("王镇长", "escalated"), ("赵科长", "escalated")]
        assert duty.rows("SELECT rule, reach FROM alert ORDER BY id") == [("no_activity", "unreached"), ("nobody_reached", "")]
        assert duty.told(of=duty.alert()["id"]) == [("赵科长", "new")]
        assert duty.decisions() == ["new", "escalated", "escalated", "unreached", "new"]


async def both(*work: Coroutine[Any, Any, Any]) -> list[Exception | None]:
    """Run all at once; return what each raised."""

    async def kept(one: Coroutine[Any, Any, Any]) -> Exception | None:
        try:
            await one
        except StaleVersion as error:
            return error
        return None

    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(kept(one)) for one in work]
    return [task.result() for task in running]


@pytest.mark.parametrize("phase", [Phase.END, Phase.RETRACT])
async def test_taking_over_races_with_what_happens_to_the_alert(dsn: str, phase: Phase) -> None:
    """Taken over first, then ended; or ended, and taking over is refused. Never both ended and taken over afterwards."""
    with psycopg.connect(dsn, autocommit=True) as db:
        async with (
            await AsyncConnection.connect(dsn, autocommit=True) as one,
            await AsyncConnection.connect(dsn, autocommit=True) as two,
            await AsyncConnection.connect(dsn, autocommit=True) as three,
        ):
            duty = Duty(one, db)
            staffed(duty)
            for n in range(12):
                begin = replace(URGENT, subject=1, episode=T0 + n * 10**10, at_us=T0 + n * 10**10)
                await apply_findings(one, [begin], begin.at_us)
                alert, now = duty.alert()["id"], begin.at_us + 5 * MINUTE_US
                over = replace(END, phase=phase, episode=begin.episode, at_us=now)
                refused, _, _ = await both(
                    acknowledge(two, alert, 1, "李", now), apply_findings(one, [over], now), tick(three, now)
                )
                steps = [w for (w,) in duty.rows("SELECT what FROM alert_change WHERE alert = %s ORDER BY id", alert)]
                end = "cleared" if phase is Phase.END else "retracted"
                assert steps == (["opened", end] if refused else ["opened", "acknowledged", end])
                assert duty.one("SELECT state FROM alert WHERE id = %s", alert) == end
                waiting = "SELECT count(*) FROM outbox WHERE alert = %s AND state = 'pending'"
                assert duty.one(waiting, alert) == 0, "something would leave after the alert was taken over"


async def test_nothing_is_sent_after_an_acknowledgement_that_raced_with_an_escalation(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as db:
        async with (
            await AsyncConnection.connect(dsn, autocommit=True) as one,
            await AsyncConnection.connect(dsn, autocommit=True) as two,
            await AsyncConnection.connect(dsn, autocommit=True) as three,
        ):
            duty = Duty(one, db)
            staffed(duty)
            for n in range(12):
                begin = replace(URGENT, episode=T0 + n * 10**10, at_us=T0 + n * 10**10)
                await apply_findings(one, [begin], begin.at_us)
                await tick(one, begin.at_us)
                duty.deliver()
                alert, now = duty.alert()["id"], begin.at_us + 5 * MINUTE_US
                await both(tick(one, now), acknowledge(two, alert, 1, "李", now), tick(three, now))
                rows = duty.rows("SELECT state FROM outbox WHERE alert = %s ORDER BY id", alert)
                assert rows in ([("delivered",)], [("delivered",), ("superseded",)])
                await resolve(one, alert, 2, "李", "real", "", now)


async def test_a_thousand_triggers_of_one_episode_by_two_workers_are_one_alert(dsn: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as db:
        async with (
            await AsyncConnection.connect(dsn, autocommit=True) as one,
            await AsyncConnection.connect(dsn, autocommit=True) as two,
        ):
            duty = Duty(one, db)
            staffed(duty)

            async def trigger(conn: AsyncConnection[Any]) -> None:
                for _ in range(25):
                    await apply_findings(conn, [URGENT] * 20, T0)

            await both(trigger(one), trigger(two))
            await both(*(tick(conn, T0) for conn in (one, two)))
            assert duty.rows("SELECT state, version, count FROM alert") == [("open", 1, 1)]
            duty.deliver()
            assert duty.told() == [("李站长", "new")]


@dataclass
class Alert:
    """An alert as the rules in docs/alerts.md describe it."""

    state: str = "open"
    count: int = 1
    recurs: bool = False
    calm_us: int | None = None
    end_us: int = 0
    taken_us: int | None = None

    @property
    def active(self) -> bool:
        return self.state in ("open", "acknowledged")


class Life(RuleBasedStateMachine):
    """Findings, people and time on a real database, beside a model."""

    dsn = ""

    @initialize()
    def start(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.db = psycopg.connect(self.dsn, autocommit=True)
        tables = "region, site, contact, shift, endpoint, outbox, notice, telling, alert_change, alert"
        with self.db.transaction():
            self.db.execute("SET LOCAL session_replication_role = replica")  # also what is append-only, which is empty
            self.db.execute(f"TRUNCATE {tables} RESTART IDENTITY CASCADE".encode())
        self.conn = self.run(AsyncConnection.connect(self.dsn, autocommit=True))
        self.duty = Duty(self.conn, self.db)
        staffed(self.duty)
        self.alerts: list[Alert] = []
        self.held: Alert | None = None
        self.episode: int | None = None

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.run(self.conn.close())
            self.db.close()
            self.loop.close()

    def find(self, phase: Phase) -> None:
        assert self.episode is not None
        reason = URGENT.reason | ({} if phase is Phase.BEGIN else {"ended": "activity"})
        step = replace(URGENT, phase=phase, episode=self.episode, at_us=self.duty.now, reason=reason)
        self.run(self.duty.find(step))

    @precondition(lambda self: self.episode is None)
    @rule()
    def begins(self) -> None:
        self.duty.now += SECOND_US
        now = self.episode = self.duty.now
        calm = next((a for a in self.alerts if a.active and a.calm_us is not None), None)
        last = max((a for a in self.alerts if a.state == "cleared"), key=lambda a: a.end_us, default=None)
        if calm is not None:
            calm.count, calm.calm_us, self.held = calm.count + 1, None, calm
        else:
            self.held = Alert(recurs=last is not None and now - last.end_us <= HOLD_US)
            self.alerts.append(self.held)
        self.find(Phase.BEGIN)

    @precondition(lambda self: self.episode is not None)
    @rule(phase=st.sampled_from([Phase.END, Phase.RETRACT]))
    def is_over(self, phase: Phase) -> None:
        self.duty.now += SECOND_US
        alert, now = self.held, self.duty.now
        assert alert is not None
        if alert.active:
            if phase is Phase.RETRACT and alert.count > 1:
                alert.count, alert.calm_us = alert.count - 1, now
            elif phase is Phase.END and (alert.count > 1 or alert.recurs):
                alert.calm_us = now
            else:
                alert.state, alert.end_us = ("cleared" if phase is Phase.END else "retracted"), now
        self.find(phase)
        self.episode = None

    @precondition(lambda self: bool(self.alerts))
    @rule(act=st.sampled_from(["acknowledge", "resolve", "stale"]))
    def a_person_acts(self, act: str) -> None:
        number, alert = len(self.alerts), self.alerts[-1]
        number = self.duty.one("SELECT id FROM alert WHERE rule = 'no_activity' ORDER BY id DESC LIMIT 1")
        version = self.duty.one("SELECT version FROM alert WHERE id = %s", number)
        may = alert.active if act == "resolve" else alert.state == "open" and act != "stale"
        work = resolve(self.conn, number, version, "李", "real", "", self.duty.now)
        if act != "resolve":
            work.close()
            work = acknowledge(self.conn, number, version - (act == "stale"), "李", self.duty.now)
        if may:
            self.run(work)
            alert.state = "acknowledged" if act == "acknowledge" else "resolved"
            alert.taken_us = self.duty.now if alert.taken_us is None else alert.taken_us
        else:
            with pytest.raises(StaleVersion):
                self.run(work)

    @rule(minutes=st.sampled_from([1, 5, 9, 16, 40]))
    def time_passes(self, minutes: int) -> None:
        self.run(self.duty.wait(minutes * MINUTE_US))
        for alert in self.alerts:
            if alert.active and alert.calm_us is not None and alert.calm_us + HOLD_US <= self.duty.now:
                alert.state, alert.end_us, alert.calm_us = "cleared", alert.calm_us, None

    @invariant()
    def they_agree(self) -> None:
        if not hasattr(self, "duty"):
            return
        found = self.duty.rows("SELECT id, state, count, recurs IS NOT NULL FROM alert WHERE rule = 'no_activity' ORDER BY id")
        assert [row[1:] for row in found] == [(a.state, a.count, a.recurs) for a in self.alerts]
        for (number, *_), alert in zip(found, self.alerts, strict=True):
            if alert.taken_us is not None:
                query = "SELECT count(*) FROM notice WHERE alert = %s AND reason IN ('new', 'escalated') AND at_us > %s"
                assert self.duty.one(query, number, alert.taken_us) == 0, "someone was woken after it was taken over"


def test_the_life_of_alerts_is_that_of_the_model(dsn: str) -> None:
    quick = settings(max_examples=6, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(type("OnThis", (Life,), {"dsn": dsn}), settings=quick)
