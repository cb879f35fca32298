"""`smartcare up` as a newcomer runs it: something to see within a minute, gone within five seconds, and it goes on."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from playwright.sync_api import Browser, expect

from smartcare.embedded import postgres

pytestmark = pytest.mark.e2e
LINK = re.compile(r"http://\S+/signin/\S+")


@contextmanager
def running(state: Path, without: str = "") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start `smartcare up`; yield it and its sign-in link; make sure that it is gone afterwards."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("SMARTCARE_") and k != without}
    with state.with_suffix(".out").open("w+") as out:
        command = [sys.executable, "-m", "smartcare", "up"]
        process = subprocess.Popen(command, env=clean | {"SMARTCARE_STATE": str(state)}, stdout=out, stderr=out, text=True)
        try:
            output = state.with_suffix(".out")
            link = until(lambda: process.poll() is None and LINK.search(output.read_text()), 60, output.read_text)
            yield process, link[0]
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                process.wait(20)


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state folder; its cluster is deleted afterwards, which for root lies elsewhere."""
    yield tmp_path / "state"
    postgres.Server(tmp_path / "state" / "postgres").remove()


def until(condition: Callable[[], Any], seconds: float, explain: Callable[[], object]) -> Any:
    """Wait for a condition, or fail with an explanation."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, explain()
        time.sleep(0.1)
    return found


def left_behind(state: Path) -> list[str]:
    """Return the command lines of processes that belong to this run."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            environment = (entry / "environ").read_bytes().decode(errors="replace")
        except OSError:
            continue
        if str(state) in command or f"SMARTCARE_STATE={state}" in environment:
            found.append(command)
    return [c for c in found if "pytest" not in c]


def database(state: Path) -> str:
    """Return the address of the run's database."""
    return str(json.loads((state / "run.json").read_text())["database_url"])


def test_up_shows_sites_events_and_an_alert_within_a_minute_and_stops_in_five_seconds(state: Path, browser: Browser) -> None:
    started = time.monotonic()
    with running(state) as (process, link):
        page = browser.new_page()
        page.goto(link)
        page.locator("main form button").click()
        expect(page.get_by_text("康乐居家养老服务照料中心").first).to_be_visible()
        expect(page.locator("li[id^=alert-]").first).to_be_visible(timeout=60_000)
        expect(page.locator("li[id^=alert-]").first).to_contain_text("仍开着")
        assert time.monotonic() - started < 60
        again = browser.new_context().new_page()
        again.goto(link)
        expect(again.locator("main form[action^='/signin/']")).to_have_count(0)  # the link is used up
        page.locator("li[id^=alert-] a").first.click()
        expect(page.locator("article")).to_contain_text("新告警，已通知 · 站点", timeout=60_000)
        expect(page.locator("article")).to_contain_text("值班（平台）已送达", timeout=60_000)
        with psycopg.connect(database(state)) as conn:
            ((events, newest),) = conn.execute("SELECT count(*), max(pos) FROM event").fetchall()
        assert events > 500
        page.close()
        asked = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(10) == 0
        assert time.monotonic() - asked < 5
    assert left_behind(state) == []
    with running(state) as (process, _):
        with psycopg.connect(database(state)) as conn:
            assert conn.execute("SELECT count(*) FROM event WHERE pos <= %s", [newest]).fetchone() == (events,)
        process.kill()
        process.wait()
        until(lambda: not left_behind(state), 20, lambda: left_behind(state))


def test_up_needs_no_home_and_says_who_uses_its_folder(state: Path) -> None:
    with running(state, without="HOME"):
        second = subprocess.run(
            [sys.executable, "-m", "smartcare", "up"],
            env=os.environ | {"SMARTCARE_STATE": str(state)},
            capture_output=True,
            text=True,
            timeout=60,
        )
    assert second.returncode == 1
    assert "another `smartcare up` runs there" in second.stderr
    assert "Traceback" not in second.stderr
