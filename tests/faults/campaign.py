"""A campaign of faults on real processes, its figures and its verdict.

One decision: phases only break things and wait until things flow again; nothing is judged before the end, when the devices
have been heard out, every receiver is calm and the outbox is empty: then three ledgers and the database must agree.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.faults.stage import POISON, Stage
from tests.faults.verdict import Observed, expected, judge_alerts, judge_deliveries, stored

STILL_S = 45.0
HOSTILE, GONE = "hostile", "gone"


@dataclass
class Campaign:
    """What the phases share. size: how much of everything, 0 smoke, 1 ordinary, 2 long."""

    stage: Stage
    rng: Random
    size: int
    say: Callable[[str], None]
    site_of: dict[str, str]
    figures: dict[str, Any] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)
    """What phases have found to be wrong, in words."""
    extra: Observed = field(default_factory=Counter)
    """What other senders than the town's devices have put into the store."""

    def of(self, smoke: Any, ordinary: Any, long: Any) -> Any:
        """Return the value for this campaign's size."""
        return (smoke, ordinary, long)[self.size]

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Say when a phase begins and how long it took."""
        began = time.monotonic()
        self.say(f"{name} …")
        yield
        self.say(f"{name}: {time.monotonic() - began:.0f} s")

    def skip(self, name: str, reason: str) -> None:
        """Note that something could not be done here."""
        self.skipped[name] = reason
        self.say(f"{name}: skipped: {reason}")

    def add(self, key: str, number: int = 1) -> None:
        """Count."""
        self.figures[key] = self.figures.get(key, 0) + number


def settle(c: Campaign) -> Observed:
    """Hear the devices out, calm the receivers, wait until nothing moves. Returns what must be stored."""
    stage = c.stage
    stage.stop_devices()
    wanted = expected(stage.told()) + c.extra
    stage.until(_caught_up(stage, wanted), "what the ledgers say is stored", seconds=900)
    stage.until(lambda: _analysed(stage), "the analyzer is at the end of the log", seconds=120)
    stage.until(lambda: _all_over(stage), "every watched site's alert has ended", seconds=60)
    (stage.folder / "calm").touch()
    with stage.connect() as conn:
        conn.execute("UPDATE endpoint SET enabled = true")
    stage.until(lambda: _delivered(stage), "the outbox is empty", seconds=240)
    return wanted


def judge(c: Campaign, wanted: Observed) -> list[str]:
    """Compare, fill in the figures, and return what is wrong in words."""
    stage, f = c.stage, c.figures
    have = stored(stage)
    lost, twice = wanted - have, have - wanted
    alerts = judge_alerts(stage, stage.told(), c.site_of)
    f |= {"events_sent": sum(wanted.values()), "events_lost": sum(lost.values()), "events_twice": sum(twice.values())}
    f |= {"alerts_expected": alerts.expected, "alerts_missing": len(alerts.missing) + len(alerts.unended)}
    f |= {"alerts_twice": len(alerts.twice), "alerts_false": len(alerts.false)}
    f |= {
        "deliveries_expected": 0,
        "deliveries_lost": 0,
        "deliveries_disordered": 0,
        "deliveries_superseded": 0,
        "dead_letters": 0,
    }
    wrong = [f"lost: {sorted(lost.elements())[:5]}"] * bool(lost) + [f"twice: {sorted(twice.elements())[:5]}"] * bool(twice)
    wrong += [f"alerts {what}: {found[:5]}" for what, found in _named(alerts) if found]
    received = {"platform": list(stage.platform_received())}
    for name in (HOSTILE, GONE):
        ending = f"_{stage.count('SELECT id FROM endpoint WHERE name = %s', name)}"
        received[name] = [entry for entry in stage.hostile_received() if entry["webhook_id"].endswith(ending)]
    for name, entries in received.items():
        d = judge_deliveries(stage, name, entries, owed=name != GONE)
        c.add("deliveries_expected", d.versions)
        c.add("deliveries_lost", len(d.lost) + len(d.changed))
        c.add("deliveries_disordered", len(d.disordered))
        c.add("deliveries_superseded", d.superseded)
        c.add("dead_letters", d.dead)
        for what, found in (("lost", d.lost), ("not in order", d.disordered), ("sent with another body", d.changed)):
            wrong += [f"deliveries to {name} {what}: {found[:5]}"] if found else []
    f["hostile_answers"] = dict(Counter(e["answered"] for e in stage.hostile_received()))
    named = stage.rows("SELECT g.code, l.stream, l.from_seq, l.to_seq FROM loss l JOIN gateway g ON g.id = l.gateway")
    f |= {"named_losses": len(named), "bus_restarts": stage.bus_restarts}
    wrong += [f"named losses though nothing was lost: {named[:5]}"] if named else []
    query = "SELECT q.reason, q.detail FROM quarantine q LEFT JOIN gateway g ON g.id = q.gateway WHERE g.code IS DISTINCT FROM %s"
    unmeant = stage.rows(query, POISON)
    wrong += [f"quarantined: {unmeant[:5]}"] if unmeant else []
    return wrong + c.wrong


def _named(alerts: Any) -> list[tuple[str, list[Any]]]:
    return [(name, getattr(alerts, name)) for name in ("missing", "twice", "false", "unended")]


def _caught_up(stage: Stage, wanted: Observed) -> Callable[[], bool]:
    """Tell whether there is as much in the store as there should be, or nothing has been added for a while."""
    last, since = -1, time.monotonic()

    def look() -> bool:
        nonlocal last, since
        now = sum(stored(stage).values())
        if now != last:
            last, since = now, time.monotonic()
        time.sleep(0.3)
        return now >= sum(wanted.values()) or time.monotonic() - since > STILL_S

    return look


def _analysed(stage: Stage) -> bool:
    time.sleep(0.2)
    return stage.count("SELECT count(*) FROM shard WHERE analysed < pos") == 0


def _all_over(stage: Stage) -> bool:
    time.sleep(0.2)
    query = "SELECT count(*) FROM alert WHERE rule = 'opened_after_hours' AND state IN ('open', 'acknowledged')"
    return stage.count(query) == 0


def _delivered(stage: Stage) -> bool:
    """Tell whether nothing waits; the hours that retries may wait are not waited."""
    with stage.connect() as conn:
        conn.execute("UPDATE outbox SET due_us = 0 WHERE state = 'pending' AND due_us > 0")
    time.sleep(0.3)
    return stage.count("SELECT count(*) FROM outbox WHERE state = 'pending'") == 0
