"""`kill -9` of every process in turn while events flow: nothing is lost, nothing is stored or told twice."""

import itertools
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from firmware_sim.town import build_town
from gateway.clock import now_us
from gateway.events import Flag, Kind
from tests.e2e.stack import Stack, closed_now

pytestmark = pytest.mark.e2e
SEED, SITES = 3, 6
RATE, COUNT = 30, 1800
VICTIMS = ("worker", "broker", "gateway", "postgres")


def register() -> dict[str, Any]:
    """Return a town that is closed now, so that every opened door is an alert."""
    document = build_town(SEED, SITES, now_us()).register()
    document["sites"] = [site | {"hours": closed_now()} for site in document["sites"]]
    return document


def test_kill_9_of_every_process_in_turn_loses_and_doubles_nothing(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger.jsonl"
    with Stack(tmp_path, "nats", register()) as stack:
        command = [sys.executable, "-m", "firmware_sim", "--bus", stack.bus_url, "--seed", str(SEED), "--sites", str(SITES)]
        command += ["--ledger", str(ledger), "--rate", str(RATE), "--count", str(COUNT)]
        with (tmp_path / "log" / "sim.log").open("w") as log:
            sim = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        try:
            stack.until(lambda: stack.count("SELECT count(*) FROM event") > 20, "events flow")
            kills = 0
            for victim in itertools.islice(itertools.cycle(VICTIMS), 2 * len(VICTIMS)):
                assert sim.poll() is None, "the simulator ended before the last kill"
                stack.kill(victim)
                kills += 1
                restarted(stack, victim)
            assert kills == 2 * len(VICTIMS)
            stack.until(lambda: sim.poll() is not None, "the simulator has everything acknowledged", seconds=180)
        finally:
            sim.kill()
            sim.wait()
        assert sim.returncode == 0, (tmp_path / "log" / "sim.log").read_text()
        told = [json.loads(line) for line in ledger.read_text().splitlines()]
        wanted = expected(told)
        stack.until(caught_up(stack, wanted), "what the ledger says is stored", seconds=90)
        assert (stored(stack) - wanted, wanted - stored(stack)) == (Counter(), Counter())
        assert stack.rows("SELECT * FROM loss") == []
        assert stack.rows("SELECT reason, detail FROM quarantine") == []
        stack.until(lambda: settled(stack), "every alert has been pushed", seconds=90)
        check_the_platform(stack)


def restarted(stack: Stack, victim: str) -> None:
    """Wait until the victim is started again, and then for an event that is stored from now on."""
    stack.until(lambda: stack.said and stack.said[-1] == f"{victim}: started again", f"{victim} is started again")
    now = now_us()
    stack.until(lambda: stack.count("SELECT count(*) FROM event WHERE pos > %s", now) > 0, f"events flow after {victim}")


def expected(told: list[dict[str, Any]]) -> Counter[tuple[Any, ...]]:
    """Return what the store must hold, once each: door states, door edges, counter readings and passages of the ledger."""
    rows: list[tuple[Any, ...]] = []
    for one in told:
        if one["kind"] == "contact":
            rows.append(("state", one["identity"], one["t_us"], int(one["open"])))
            if one["edge"]:
                rows.append(("edge", one["identity"], one["t_us"], int(one["open"])))
        elif one["kind"] == "count":
            rows.append(("count", one["identity"], one["key"], one["in"], one["out"]))
        elif one["kind"] == "passage":
            rows.append(("passage", one["identity"], one["key"]))
    assert {r[0] for r in rows} == {"state", "edge", "count", "passage"}
    return Counter(rows)


def stored(stack: Stack) -> Counter[tuple[Any, ...]]:
    """Return the same from the database."""
    doors = stack.rows(
        "SELECT identity, t_us, a, flags FROM event JOIN device ON device.id = event.device WHERE kind = %s", Kind.CONTACT
    )
    counts = stack.rows(
        "SELECT identity, key, a, b FROM event JOIN device ON device.id = event.device WHERE kind = %s", Kind.COUNT_TOTAL
    )
    passages = stack.rows("SELECT identity, key FROM passage JOIN device ON device.id = passage.device")
    rows = [("state", *r[:3]) for r in doors] + [("edge", *r[:3]) for r in doors if not r[3] & Flag.REPEAT]
    return Counter(rows + [("count", *r) for r in counts] + [("passage", *r) for r in passages])


def caught_up(stack: Stack, wanted: Counter[tuple[Any, ...]]) -> Callable[[], bool]:
    """Return whether there is as much in the store as there should be, or nothing has been added for 20 s."""
    last, since = -1, time.monotonic()

    def look() -> bool:
        nonlocal last, since
        now = sum(stored(stack).values())
        if now != last:
            last, since = now, time.monotonic()
        time.sleep(0.2)
        return now >= sum(wanted.values()) or time.monotonic() - since > 20

    return look


def settled(stack: Stack) -> bool:
    """Tell whether the analyzer is at the end of the log and the outbox is empty."""
    behind = stack.count("SELECT count(*) FROM shard WHERE analysed < pos")
    waiting = stack.count("SELECT count(*) FROM outbox WHERE state = 'pending'")
    time.sleep(0.2)
    return behind == 0 and waiting == 0


def check_the_platform(stack: Stack) -> None:
    """Each (alert, version) under one webhook-id, verified; each delivered row in the ledger; nothing dead."""
    ids: dict[tuple[int, int], set[str]] = {}
    for entry in stack.received():
        assert entry["verified"], entry
        ids.setdefault((entry["alert_id"], entry["version"]), set()).add(entry["webhook_id"])
    assert all(len(found) == 1 for found in ids.values())
    rows = stack.rows("SELECT alert, version, state FROM outbox")
    assert {state for _, _, state in rows} <= {"delivered", "superseded"}
    assert {(alert, version) for alert, version, state in rows if state == "delivered"} <= set(ids)
    assert stack.count("SELECT count(*) FROM alert WHERE rule = 'opened_after_hours'") >= SITES
    episodes = stack.rows("SELECT rule, subject_kind, subject, episode FROM alert")
    assert len(episodes) == len(set(episodes))
