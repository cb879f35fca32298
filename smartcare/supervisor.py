"""Keeps a few processes running: starts them in order, restarts what ends, stops everything in seconds.

One decision: the supervisor is one thread that looks at its children; each child is tied to it by the kernel, so that
nothing is left behind however it ends.
"""

import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from smartcare.embedded import process

BACKOFF_S = (0.2, 0.5, 1, 2, 5, 10)
CALM_S = 30
"""A child that ran this long is restarted at once and starts its backoff anew."""


class Embedded(Protocol):
    """A server with a life of its own (postgres.Server, nats.Broker)."""

    process: subprocess.Popen[bytes] | None

    def start(self) -> None:
        """Start and wait until ready."""

    def stop(self) -> None:
        """Stop within a few seconds."""


@dataclass(slots=True)
class Program:
    """One of our own commands as a child: anything with Embedded's three names can be supervised."""

    argv: list[str]
    env: dict[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start; whether it is ready is for others to find out."""
        self.process = process.spawn(self.argv, log=self.log, env=self.env, on_parent_death=signal.SIGTERM)

    def stop(self) -> None:
        """Ask, and kill after two seconds."""
        if self.process:
            process.stop(self.process, signal.SIGTERM, 2)
            self.process = None


@dataclass(slots=True)
class Watched:
    """A child and what its restarts have been like."""

    name: str
    child: Embedded
    started: float
    failures: int = 0
    due: float | None = None


@dataclass(slots=True)
class Supervisor:
    """Children in the order of their start; `say(name, what)` is told of every end and restart."""

    say: Callable[[str, str], None]
    watched: list[Watched] = field(default_factory=list)

    def start(self, name: str, child: Embedded) -> None:
        """Start a child and keep it running from now on. Raises process.ServerError when it cannot be started at all."""
        child.start()
        self.watched.append(Watched(name=name, child=child, started=time.monotonic()))

    def look(self) -> None:
        """Look at every child once; restart those whose time has come."""
        now = time.monotonic()
        for w in self.watched:
            running = w.child.process
            if w.due is None and (running is None or running.poll() is not None):
                w.failures = 0 if now - w.started > CALM_S else w.failures + 1
                wait = BACKOFF_S[min(w.failures, len(BACKOFF_S) - 1)]
                w.due = now + wait
                self.say(w.name, f"ended ({_how(running)}), restart in {wait:g} s")
            elif w.due is not None and now >= w.due:
                w.due, w.started = None, now
                try:
                    w.child.start()
                    self.say(w.name, "started again")
                except process.ServerError as e:
                    self.say(w.name, str(e))

    def stop(self) -> None:
        """Stop all: our own programs at once and together, then the servers they use, last started first."""
        for w in self.watched:
            if isinstance(w.child, Program) and w.child.process and w.child.process.poll() is None:
                w.child.process.terminate()
        for w in reversed(self.watched):
            w.child.stop()


def _how(child: subprocess.Popen[bytes] | None) -> str:
    if child is None or child.returncode is None:
        return "never started"
    return f"signal {-child.returncode}" if child.returncode < 0 else f"status {child.returncode}"
