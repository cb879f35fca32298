"""The real thing between breakable links: two brokers, proxies, a busy town, an honest and a hostile receiver.

    devices ─ bus ─ gateway ═ proxy ═ broker ═ proxy ═ worker ═ proxy ═ PostgreSQL ─ api ─ platform, hostile receiver

One decision: disks that can be filled are tmpfs mounts in a mount namespace of the campaign's own, so that whatever ends the
campaign, nothing stays mounted.
"""

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from api import endpoints
from api.endpoints import Endpoint
from smartcare.embedded import nats, process
from smartcare.supervisor import Program
from tests.e2e.stack import Stack
from tests.faults import load, receiver
from tests.faults.proxy import Control

GATEWAY_BROKER, WORKER_BROKER, POSTGRES = "gateway-broker", "worker-broker", "worker-postgres"
POISON, POISON_SHARD = "gw-poison", 13
CLONE_NEWNS = 0x00020000
STALLED_S = 90.0
SPOOL_MB, POSTGRES_MB = 64, 1536


@dataclass
class Stage(Stack):
    """Everything in `folder`, which must be reachable for every user."""

    seed: int = 1
    watched_doors: int = 60
    herd: int = 10
    rate: float = 15
    disks: bool = False
    """Whether spool and cluster are on disks that can be filled."""
    site_bus: nats.Broker = field(init=False)
    bus_restarts: list[str] = field(default_factory=list)
    """After which faults the devices' bus delivered nothing until it was restarted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.site_bus = nats.Broker(self.folder / "bus")
        self.ports = {name: process.free_port() for name in (GATEWAY_BROKER, WORKER_BROKER, POSTGRES, "control", "hostile")}
        self.proxy = Control(self.ports["control"])
        self.observed = self.folder / "devices.jsonl"
        self.hostile = self.folder / "hostile.jsonl"
        self.devices: subprocess.Popen[bytes] | None = None
        self.postgres.settings |= {"max_wal_size": "256MB", "wal_recycle": "off", "wal_init_zero": "off"}

    # ------------------------------------------------------------------ start and end
    def _start_servers(self) -> None:
        self.disks = private_mounts()
        for name, size in (("spool", SPOOL_MB), ("postgres", POSTGRES_MB)):
            (self.folder / name).mkdir(mode=0o711, exist_ok=True)
            self.disks = self.disks and mount(self.folder / name, size)
        super()._start_servers()
        self.supervisor.start("bus", self.site_bus)
        links = {GATEWAY_BROKER: self.broker.port, WORKER_BROKER: self.broker.port, POSTGRES: self.postgres.port}
        self._env = {**os.environ}
        arguments = ["-m", "tests.faults.proxy", "--control", str(self.ports["control"])]
        self.program("proxy", *arguments, *[f"{name}={self.ports[name]}:{to}" for name, to in links.items()])
        self.until(lambda: process.accepts(self.ports["control"]), "the proxies accept")
        self._env = {**os.environ}
        at = ["--port", str(self.ports["hostile"]), "--ledger", str(self.hostile), "--calm", str(self.folder / "calm")]
        self.program("hostile", "-m", "tests.faults.receiver", *at, "--seed", str(self.seed))
        self.until(lambda: process.accepts(self.ports["hostile"]), "the hostile receiver accepts")

    def add_hostile(self) -> None:
        """Push alerts to the hostile receiver from now on."""
        with self.connect() as conn:
            for name in ("hostile", "gone"):
                url = f"http://127.0.0.1:{self.ports['hostile']}/{name}"
                endpoints.register(conn, Endpoint(name=name, url=url, secret=self.secret, success=receiver.RULE))

    def start_devices(self) -> None:
        """Let the devices live. They are no part of the system and nobody starts them again."""
        command = [sys.executable, "-m", "tests.faults.load", "--bus", self.bus_url, "--ledger", str(self.observed)]
        command += ["--seed", str(self.seed), "--watched", str(self.watched_doors), "--rate", str(self.rate)]
        self.devices = process.spawn(command, log=self.folder / "log" / "devices.log")

    def helper(self, name: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Start a program of the campaign that ends by itself; it ends with the campaign at the latest."""
        return process.spawn([sys.executable, *arguments], log=self.folder / "log" / f"{name}.log")

    def stop_devices(self) -> None:
        """Let the devices say what they have to say; returns when all is acknowledged."""
        assert self.devices is not None
        self.devices.send_signal(signal.SIGTERM)
        self.until(lambda: self.devices is None or self.devices.poll() is not None, "the devices are heard out", seconds=600)
        assert self.devices.returncode == 0, process.tail(self.folder / "log" / "devices.log")

    def stop(self) -> None:
        """Stop everything, stopped processes too."""
        if self.devices and self.devices.poll() is None:
            self.devices.kill()
            self.devices.wait()
        for w in self.supervisor.watched:
            self.signal_all(w.name, signal.SIGCONT)
        super().stop()
        for name in ("spool", "postgres"):
            subprocess.run(["umount", "-l", self.folder / name], check=False, capture_output=True)

    # ------------------------------------------------------------------ addresses
    @property
    def outgoing(self) -> list[str]:
        """The hostile receiver may be called."""
        return [f"127.0.0.1:{self.ports['hostile']}"]

    @property
    def bus_url(self) -> str:
        """The devices have a broker of their own, as at a site."""
        return self.site_bus.url(nats.DEVICE_BUS)

    @property
    def database_url(self) -> str:
        """Through the proxy."""
        return self.postgres.dsn().replace(f":{self.postgres.port}/", f":{self.ports[POSTGRES]}/")

    def uplink_url(self, user: str) -> str:
        """Through the proxy."""
        port = self.ports[WORKER_BROKER if user == nats.WORKER else GATEWAY_BROKER]
        return self.broker.url(user).replace(f":{self.broker.port}", f":{port}")

    def spool(self, code: str) -> Path:
        """On the disk that can be filled."""
        return self.folder / "spool" / f"{code}.sqlite"

    @property
    def gateways(self) -> list[dict[str, Any]]:
        """Only the town's gateway is a process of its own."""
        return [g for g in self.register["gateways"] if g["code"] == load.GATEWAY]

    # ------------------------------------------------------------------ breaking
    def look(self) -> None:
        """Restart what has died, at once: a campaign has no time for a supervisor's patience."""
        for w in self.supervisor.watched:
            w.failures = 0
        super().look()

    def wait(self, seconds: float) -> None:
        """Let time pass under supervision."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.look()

    def down(self, name: str, seconds: float) -> None:
        """`kill -9` a process and keep it from being started again for a while."""
        self.kill(name)
        watched = self.watched(name)
        assert watched.child.process is not None
        watched.child.process.wait()
        watched.due = time.monotonic() + seconds

    def runs(self, name: str) -> bool:
        """Tell whether a process runs."""
        child = self.watched(name).child.process
        return child is not None and child.poll() is None

    def signal_all(self, name: str, number: signal.Signals) -> None:
        """Signal a process and all its children, which for PostgreSQL are in groups of their own."""
        child = self.watched(name).child.process
        if child is None or child.poll() is not None:
            return
        for pid in (child.pid, *_children(child.pid)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def rearm(self, name: str, crash_at: str) -> None:
        """Let a program of ours crash at a named point once it is started again; "" for nowhere."""
        child = self.watched(name).child
        assert isinstance(child, Program)
        child.env.pop("SMARTCARE_CRASH_AT", None)
        if crash_at:
            child.env["SMARTCARE_CRASH_AT"] = crash_at

    def forget_suspects(self) -> None:
        """Let the next worker suspect no message of having killed the last."""
        with contextlib.suppress(psycopg.OperationalError), self.connect() as conn:
            conn.execute("DELETE FROM suspect")

    def restarts(self, name: str) -> int:
        """Return how often a process has ended."""
        return sum(said.startswith(f"{name}: ended") for said in self.said)

    def flows(self, what: str) -> None:
        """Wait until events are stored in a transaction that begins from now on.

        nats-server 2.15.1 may stop to deliver to a session whose client was killed again and again, until it is restarted
        itself; nothing is lost by that. Where it seems so the devices' bus is restarted, and that is counted.
        """
        now = time.time_ns() // 1000  # noqa: TID251 - the campaign's own clock
        query = "SELECT 1 FROM event WHERE pos > %s LIMIT 1"
        end = time.monotonic() + STALLED_S
        while not self.rows(query, now):
            if time.monotonic() > end:
                self.bus_restarts.append(what)
                self.kill("bus")
                break
            self.look()
        self.until(lambda: self.rows(query, now), f"events flow after {what}", seconds=300)

    # ------------------------------------------------------------------ what the ledgers say
    def told(self) -> list[dict[str, Any]]:
        """Return the devices' ledger."""
        return _lines(self.observed)

    def hostile_received(self) -> list[dict[str, Any]]:
        """Return the hostile receiver's ledger."""
        return _lines(self.hostile)

    def platform_received(self) -> Iterable[dict[str, Any]]:
        """Return the honest platform's ledger in the hostile one's words."""
        for entry in self.received():
            yield entry | {"taken": entry["verified"] and entry["answered"] == 200}


def herd_code(n: int) -> str:
    """Return the code of a gateway of the herd."""
    return f"herd-{n}"


def herd_door(n: int) -> str:
    """Return the identity of its only device."""
    return f"z2m/herd-{n}"


def herd_shard(n: int) -> int:
    """Return its shard."""
    return 20 + n % 8


def register(watched: int, herd: int) -> dict[str, Any]:
    """Return the register of the town, of the herd, whose doors hang nowhere, and of a gateway that sends nonsense."""
    document = load.register(watched)
    document["gateways"].append({"code": POISON, "shard": POISON_SHARD})
    for n in range(herd):
        document["gateways"].append({"code": herd_code(n), "shard": herd_shard(n)})
        device = {"gateway": herd_code(n), "identity": herd_door(n), "class": "zigbee_contact", "name": "门磁"}
        document["devices"].append(device)
    return document


def _children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1]) == parent:
                found.append(int(entry.name))
    return found


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def private_mounts() -> bool:
    """Take this process and its children into a mount namespace of their own; False where that is not allowed."""
    libc = ctypes.CDLL(None, use_errno=True)
    if os.geteuid() != 0 or not hasattr(libc, "unshare") or libc.unshare(CLONE_NEWNS) != 0:
        return False
    return subprocess.run(["mount", "--make-rprivate", "/"], check=False, capture_output=True).returncode == 0


def mount(folder: Path, megabytes: int) -> bool:
    """Mount a small disk there."""
    options = f"size={megabytes}m,mode=711"
    return subprocess.run(["mount", "-t", "tmpfs", "-o", options, "smartcare", folder], check=False).returncode == 0
