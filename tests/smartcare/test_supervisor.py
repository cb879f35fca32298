"""A supervised child comes back when it dies, and stops with its supervisor."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from smartcare.supervisor import Program, Supervisor


@pytest.fixture
def child(tmp_path: Path) -> Program:
    return Program(argv=[sys.executable, "-c", "import time; time.sleep(60)"], env=dict(os.environ), log=tmp_path / "log")


def until(condition: Callable[[], bool], supervisor: Supervisor) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end
        supervisor.look()
        time.sleep(0.01)


def test_a_killed_child_is_started_again_and_said(child: Program) -> None:
    said: list[str] = []
    supervisor = Supervisor(say=lambda name, what: said.append(f"{name} {what}"))
    supervisor.start("sleeper", child)
    try:
        assert child.process is not None
        first = child.process.pid
        os.kill(first, signal.SIGKILL)
        until(lambda: child.process is not None and child.process.pid != first and child.process.poll() is None, supervisor)
        assert said[0].startswith("sleeper ended (signal 9)")
        assert said[1] == "sleeper started again"
    finally:
        supervisor.stop()


def test_a_child_that_keeps_dying_is_started_less_and_less_often(tmp_path: Path) -> None:
    dying = Program(argv=[sys.executable, "-c", "raise SystemExit(3)"], env=dict(os.environ), log=tmp_path / "log")
    said: list[str] = []
    supervisor = Supervisor(say=lambda name, what: said.append(what))
    supervisor.start("dying", dying)
    until(lambda: sum(w.startswith("ended (status 3)") for w in said) >= 2, supervisor)
    waits = [w for w in said if w.startswith("ended")]
    assert waits[0].endswith("restart in 0.5 s")
    assert waits[1].endswith("restart in 1 s")
    supervisor.stop()


def test_stopping_leaves_no_child(child: Program) -> None:
    supervisor = Supervisor(say=lambda name, what: None)
    supervisor.start("sleeper", child)
    assert child.process is not None
    pid = child.process.pid
    supervisor.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
