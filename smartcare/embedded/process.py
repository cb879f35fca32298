"""A server process that we own: it starts with a deadline, stops when told, and never outlives us.

One decision: the child is our direct child and asks the kernel to be ended when we die, so that a killed supervisor
leaves nothing behind. No pid files are trusted, only what /proc says.
"""

import contextlib
import ctypes
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

PR_SET_PDEATHSIG = 1
PORTS = range(20_000, 32_000)


class ServerError(Exception):
    """A server could not be started or did not become ready."""


def free_port() -> int:
    """Return a TCP port on loopback that was free a moment ago.

    Not one of those that the system gives to outgoing connections: one of them would take it before the server does.
    """
    while True:
        port = secrets.choice(PORTS)
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port


def die_with_parent(sig: signal.Signals) -> None:
    """In a child before exec: ask Linux for `sig` when the parent dies; elsewhere do nothing."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(sig))


def spawn(
    argv: list[str],
    *,
    log: Path,
    on_parent_death: signal.Signals = signal.SIGKILL,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    user: tuple[int, int] | None = None,
) -> subprocess.Popen[bytes]:
    """Start a child in a session of its own (so that Ctrl-C reaches only us), its output appended to `log`.

    user: (uid, gid) to become, for servers that refuse to run as root. Call it from the main thread: the kernel ties the
    parent's death to the thread that started the child.
    """

    def before_exec() -> None:
        if user:
            os.setgroups([])
            os.setgid(user[1])
            os.setuid(user[0])
        die_with_parent(on_parent_death)

    with log.open("ab") as out:
        return subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env=env,
            cwd=cwd,
            start_new_session=True,
            preexec_fn=before_exec,  # safe: nothing is threaded yet when servers start
        )


def wait_ready(process: subprocess.Popen[bytes], ready: Callable[[], bool], *, what: str, log: Path, seconds: float = 90) -> None:
    """Poll until `ready()`. Raises ServerError with the end of the log when the process ends or time is up."""
    end = time.monotonic() + seconds
    while not ready():
        if process.poll() is not None:
            raise ServerError(f"{what} ended with status {process.returncode} before it was ready:\n{tail(log)}")
        if time.monotonic() > end:
            raise ServerError(f"{what} was not ready after {seconds:.0f} s:\n{tail(log)}")
        time.sleep(0.02)


def stop(process: subprocess.Popen[bytes], sig: signal.Signals, seconds: float) -> None:
    """Ask, wait, then kill."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(sig)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)


def accepts(port: int) -> bool:
    """Tell whether something accepts TCP connections on this loopback port."""
    with socket.socket() as s:
        s.settimeout(0.2)
        return s.connect_ex(("127.0.0.1", port)) == 0


def listeners() -> dict[int, str]:
    """Return {port: address} of every TCP socket listening on this machine, from /proc (Linux)."""
    found = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[3] == "0A":
            address, port = fields[1].split(":")
            found[int(port, 16)] = socket.inet_ntoa(bytes.fromhex(address)[::-1])
    return found


def tail(log: Path, lines: int = 15) -> str:
    """Return the last lines of a log for an error message."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else "(no log)"


def running_in(folder: Path, program: str) -> Iterator[int]:
    """Yield pids of processes named `program` whose working directory is `folder` (Linux; elsewhere nothing)."""
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (entry / "comm").read_text().strip() == program and (entry / "cwd").readlink() == folder.resolve():
                yield int(entry.name)
