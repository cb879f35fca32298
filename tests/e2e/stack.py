"""The real thing on free ports: every process of a deployment, supervised as `smartcare up` does, killable by name."""

import itertools
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar
from zoneinfo import ZoneInfo

import paho.mqtt.client as mqtt
import psycopg
from paho.mqtt.enums import CallbackAPIVersion

from api.delivery import register_endpoint
from api.signing import generate_secret
from gateway.clock import now_us
from ingest.register import load
from ingest.store.schema import migrate
from smartcare import accounts
from smartcare.embedded import nats, postgres, process
from smartcare.supervisor import Program, Supervisor, Watched
from tests.e2e.brokers import Mosquitto

T = TypeVar("T")
ZONE = ZoneInfo("Asia/Shanghai")
GATEWAY, SHARD = "gw-e2e", 7


def elsewhere(work: Callable[..., T], *arguments: Any) -> T:
    """Run in a thread of its own: Playwright's loop occupies the test's."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work, *arguments).result()


def closed_now() -> dict[str, list[list[str]]]:
    """Return hours of one hour a day that is six hours away from now, whatever the time of day."""
    opening = datetime.now(tz=UTC).astimezone(ZONE) + timedelta(hours=6)  # noqa: TID251 - the test's own clock
    hours = [[f"{opening:%H}:00", f"{opening + timedelta(hours=1):%H}:00"]]
    return dict.fromkeys(("mon", "tue", "wed", "thu", "fri", "sat", "sun"), hours)


def small_register(sites: int) -> dict[str, Any]:
    """Return a register of `sites` sites that are closed now, each with one Zigbee door "door-<n>"."""
    numbers = range(1, sites + 1)
    return {
        "regions": [{"code": "330481101000", "name": "许村镇", "name_en": "Xucun"}],
        "sites": [
            {
                "code": f"e2e-{n}",
                "name": f"试点{n}号照料中心",
                "name_en": f"Trial centre {n}",
                "kind": "centre",
                "region": "330481101000",
                "zone": "Asia/Shanghai",
                "capacity": 40,
                "hours": closed_now(),
            }
            for n in numbers
        ],
        "places": [
            {"site": f"e2e-{n}", "code": "door", "name": "大门", "name_en": "Front door", "room": "entrance"} for n in numbers
        ],
        "gateways": [{"code": GATEWAY, "shard": SHARD}],
        "devices": [
            {
                "gateway": GATEWAY,
                "identity": f"z2m/door-{n}",
                "class": "zigbee_contact",
                "name": "门磁",
                "place": f"e2e-{n}/door",
            }
            for n in numbers
        ],
        "persons": [],
    }


@dataclass
class Stack:
    """Processes in `folder`. `broker` is "nats" or "mosquitto"; `worker` may replace the worker's command line."""

    folder: Path
    broker_name: str
    register: dict[str, Any]
    worker: list[str] | None = None
    more_env: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.supervisor = Supervisor(say=lambda name, what: self.said.append(f"{name}: {what}"))
        self.postgres = postgres.Server(self.folder / "postgres")
        self.broker: nats.Broker | Mosquitto
        self.broker = nats.Broker(self.folder / "broker") if self.broker_name == "nats" else Mosquitto(self.folder / "broker")
        self.ledger = self.folder / "platform.jsonl"
        self.secret = generate_secret()
        self.url = ""
        self._env: dict[str, str] = {}

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop everything and remove the database."""
        self.supervisor.stop()
        self.postgres.remove()

    def _start(self) -> None:
        (self.folder / "log").mkdir()
        self._start_servers()
        port, platform_port = process.free_port(), process.free_port()
        self.url = f"http://127.0.0.1:{port}"
        with self.connect() as conn:
            migrate(conn, now_us())
            load(conn, self.register, now_us())
            register_endpoint(conn, name="platform", url=f"http://127.0.0.1:{platform_port}/alerts", secret=self.secret)
        elsewhere(accounts.add_missing, self.postgres.dsn(), "admin")
        self._env = {
            **{k: v for k, v in os.environ.items() if not k.startswith("SMARTCARE_")},
            "DATABASE_URL": self.database_url,
            "MQTT_URL": self.uplink_url(nats.WORKER),
            "PYTHONUNBUFFERED": "1",
            "SMARTCARE_BUS_URL": self.bus_url,
            "SMARTCARE_PORT": str(port),
            "SMARTCARE_STATE": str(self.folder / "none"),
            "SMARTCARE_OUTGOING": json.dumps([f"127.0.0.1:{platform_port}", *self.outgoing]),
            "SMARTCARE_PLATFORM_SECRET": self.secret,
            **self.more_env,
        }
        self.program("platform", "platform", "--port", str(platform_port), "--ledger", str(self.ledger))
        self.program("worker", *(self.worker or ["worker"]))
        self.program("api", "api")
        for g in self.gateways:
            self._env["SMARTCARE_UPLINK_URL"] = self.uplink_url(g["code"])
            arguments = ["gateway", "run", "--code", g["code"], "--shard", str(g["shard"]), "--spool", str(self.spool(g["code"]))]
            self.program("gateway", *arguments, "--heartbeat-s", "2", "--jitter-s", "0.5")
        self.until(lambda: process.accepts(port) and process.accepts(platform_port), "the page and the platform accept")
        self.until(lambda: self.count("SELECT count(*) FROM coverage") > 0, "the gateway's first heartbeat is stored")

    def _start_servers(self) -> None:
        self.supervisor.start("postgres", self.postgres)
        for gateway in self.register["gateways"]:
            self.broker.add_gateway(gateway["code"], gateway["shard"])
        self.supervisor.start("broker", self.broker)

    @property
    def gateways(self) -> list[dict[str, Any]]:
        """The gateways of the register that run as processes."""
        gateways: list[dict[str, Any]] = self.register["gateways"]
        return gateways

    @property
    def outgoing(self) -> list[str]:
        """Where deliveries may go besides the platform."""
        return []

    @property
    def database_url(self) -> str:
        """Address of the database as worker and API are told it."""
        return self.postgres.dsn()

    def uplink_url(self, user: str) -> str:
        """Address of the uplink's broker as `user` is told it."""
        return self.broker.url(user)

    def spool(self, code: str) -> Path:
        """Where a gateway's spool is."""
        return self.folder / f"{code}.sqlite"

    @property
    def bus_url(self) -> str:
        """Address of the devices' bus."""
        return self.broker.url(nats.DEVICE_BUS)

    def program(self, name: str, *arguments: str) -> None:
        """Start one of our commands (or, with a path first, a script; with "-m", a module) under supervision."""
        ours = [] if arguments[0] == "-m" or arguments[0].endswith(".py") else ["-m", "smartcare"]
        start = [sys.executable, *ours, *arguments]
        self.supervisor.start(name, Program(argv=start, env=dict(self._env), log=self.folder / "log" / f"{name}.log"))

    def connect(self) -> psycopg.Connection[Any]:
        """Connect to the database; autocommit."""
        return psycopg.connect(self.postgres.dsn(), autocommit=True)

    def rows(self, query: str, *values: Any) -> list[Any]:
        """Run a query; while the database is away, keep trying for a minute."""
        end = time.monotonic() + 60
        while True:
            try:
                with self.connect() as conn:
                    return conn.execute(query.encode(), values).fetchall()
            except psycopg.OperationalError:
                if time.monotonic() > end:
                    raise
                self.look()

    def count(self, query: str, *values: Any) -> int:
        """Run a query that returns one number."""
        return int(self.rows(query, *values)[0][0] or 0)

    def look(self) -> None:
        """Let the supervisor restart what has died, then yield the processor for a moment."""
        self.supervisor.look()
        time.sleep(0.02)

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 60) -> Any:
        """Wait for a condition under supervision; fail with the logs when it does not come true."""
        end = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > end:
                logs = "\n".join(f"--- {p.name}\n{process.tail(p, 25)}" for p in sorted((self.folder / "log").iterdir()))
                raise AssertionError(f"not within {seconds} s: {what}\n{self.said[-10:]}\n{logs}")
            self.look()
        return found

    def kill(self, name: str) -> None:
        """`kill -9` a process by its name; the supervisor starts it again."""
        child = self.watched(name).child
        assert child.process is not None
        os.kill(child.process.pid, signal.SIGKILL)

    def watched(self, name: str) -> Watched:
        """Return a process with what its restarts have been like."""
        (found,) = [w for w in self.supervisor.watched if w.name == name]
        return found

    def received(self) -> list[dict[str, Any]]:
        """Return what the platform's ledger holds."""
        if not self.ledger.exists():
            return []
        return [json.loads(line) for line in self.ledger.read_text().splitlines() if line.endswith("}")]

    def signin_link(self) -> str:
        """Return a fresh sign-in link of the administrator."""
        return elsewhere(accounts.link, self.postgres.dsn(), "admin", self.url)


class Bus:
    """A device's connection to the bus, for tests that publish single payloads."""

    numbers = itertools.count()

    def __init__(self, url: str) -> None:
        user, rest = url.removeprefix("mqtt://").split(":", 1)
        password, address = rest.rsplit("@", 1)
        host, port = address.split(":")
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"bus-{os.getpid()}-{next(self.numbers)}")
        self.client.username_pw_set(user, password)
        self.client.connect(host, int(port))
        self.client.loop_start()

    def publish(self, topic: str, payload: dict[str, Any], qos: int = 1) -> int:
        """Publish and wait until the broker has it. Returns the time of publishing in microseconds."""
        at = now_us()
        self.client.publish(topic, json.dumps(payload), qos=qos).wait_for_publish(10)
        return at

    def close(self) -> None:
        """Disconnect."""
        self.client.disconnect()
        self.client.loop_stop()
