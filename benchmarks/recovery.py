"""How long nothing is analysed after `kill -9` of the worker: under load, with 100,000 devices, checkpoints half a minute apart.

One decision: the supervisor that a deployment has starts the worker again; what is counted ends with the first new T2, and again
when every shard that was under load has one, since the last of them waits longest.
"""

import os
import random
import selectors
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from benchmarks import load, town
from benchmarks.ingest_path import Say
from gateway.clock import now_us
from ingest.store.schema import migrate
from smartcare.embedded import nats, postgres, process
from smartcare.supervisor import Program, Supervisor

DEVICES = 100_000
EVENTS, EVERY_S = 10, 0.2
"""Events of a frame, and seconds between the frames of each gateway."""
QUIET_S = (20.0, 40.0)
"""Seconds of load before a kill: checkpoints are half a minute apart."""
PATIENCE_S = 120.0

REGISTER = """
INSERT INTO site (code, name, kind, region, hours, shard)
SELECT 'more-' || n, 'more-' || n, 'point', (SELECT min(code) FROM region), '{}', n % 64
FROM generate_series(1, %(devices)s / 10) n;
INSERT INTO gateway (code, shard) SELECT 'more-' || n, n % 64 FROM generate_series(1, %(devices)s / 10) n;
INSERT INTO place (site, code, name, room)
SELECT s.id, 'p' || k, 'p' || k, 'hall' FROM site s, generate_series(1, 10) k WHERE s.code LIKE 'more-%';
INSERT INTO device (gateway, identity, class)
SELECT g.id, 'lora/' || p.id, 'lora_counter' FROM place p JOIN site s ON s.id = p.site JOIN gateway g ON g.code = s.code
WHERE s.code LIKE 'more-%';
INSERT INTO mounting (device, place, from_us) SELECT id, substr(identity, 6)::integer, 0 FROM device
WHERE gateway IN (SELECT id FROM gateway WHERE code LIKE 'more-%');
UPDATE register_version SET version = version + 1;
"""


def measure(rounds: int, say: Say) -> dict[str, float]:
    """Return medians of `rounds` kills, in seconds; one round is a trial with few devices."""
    devices, quiet_s = (DEVICES, QUIET_S) if rounds > 1 else (1_000, (2.0, 3.0))
    with _loaded(devices) as loaded:
        took = [loaded.kill(random.uniform(*quiet_s), say) for _ in range(rounds)]
    first, last = zip(*took, strict=True)
    return {
        "recovery.worker_kill9_s": median(first),
        "recovery.worker_kill9_worst_s": max(first),
        "recovery.worker_kill9_all_s": median(last),
    }


@dataclass(slots=True, kw_only=True)
class Loaded:
    """A supervised worker, and gateways on every shard of the town that keep talking."""

    conn: psycopg.Connection[Any]
    supervisor: Supervisor
    gateways: dict[load.Connection, town.Gateway]
    selector: selectors.DefaultSelector
    sent: float = 0.0

    def kill(self, after_s: float, say: Say) -> tuple[float, float]:
        """Kill the worker after so many seconds of load. Returns the seconds until some shard, and all, had a new T2."""
        self.until(lambda: False, after_s)
        (worker,) = self.supervisor.watched
        assert worker.child.process is not None
        os.kill(worker.child.process.pid, signal.SIGKILL)
        killed = time.perf_counter()
        worker.child.process.wait()
        before, took = self.analysed(), list[float]()
        for wanted in (1, len(before)):
            if not self.until(partial(self.renewed, before, wanted), PATIENCE_S):
                raise load.LoadError(f"some shard was not analysed within {PATIENCE_S:.0f} s after the kill")
            took.append(time.perf_counter() - killed)
        say(f"recovery: {took[0]:.2f} s until the first new T2, {took[1]:.2f} s until every shard had one")
        return took[0], took[1]

    def analysed(self) -> dict[int, int]:
        """Return the last T2 of the town's shards."""
        return dict(self.conn.execute("SELECT id, analysed FROM shard WHERE id < %s", [town.SHARDS]).fetchall())

    def renewed(self, before: dict[int, int], shards: int) -> bool:
        """Tell whether so many shards have a T2 that is newer than `before`."""
        return len(self.analysed().items() - before.items()) >= shards

    def until(self, true: Callable[[], bool], seconds: float) -> bool:
        """Let the gateways talk until something is true; tells whether it was, in so many seconds."""
        end = time.perf_counter() + seconds
        while not (found := true()) and time.perf_counter() < end:
            self.supervisor.look()
            if time.perf_counter() - self.sent > EVERY_S:
                self.sent = time.perf_counter()
                for c, g in self.gateways.items():
                    c.socket.sendall(town.packets(g, c.seq + 1, 1, EVENTS, now_us())[0])
            for ready, _ in self.selector.select(0.02):
                ready.data.receive()
        return found


@contextmanager
def _loaded(devices: int) -> Iterator[Loaded]:
    """Start the servers and the worker, register the devices, log one gateway of each shard in."""
    supervisor = Supervisor(say=lambda name, what: None)
    with tempfile.TemporaryDirectory(prefix="smartcare-bench-") as name, selectors.DefaultSelector() as selector:
        folder = Path(name)
        folder.chmod(0o755)
        server, broker = postgres.Server(folder / "postgres"), nats.Broker(folder / "nats")
        mine = {g.shard: g for g in town.gateways()}.values()
        for g in mine:
            broker.add_gateway(g.code, g.shard)
        try:
            with server, broker, psycopg.connect(server.dsn(), autocommit=True) as conn:
                migrate(conn, now_us())
                town.register(conn)
                conn.execute(REGISTER.replace("%(devices)s", str(devices)).encode())
                env = {k: v for k, v in os.environ.items() if not k.startswith("SMARTCARE_")}
                env |= {
                    "DATABASE_URL": server.dsn(),
                    "MQTT_URL": broker.url(nats.WORKER),
                    "SMARTCARE_STATE": str(folder / "none"),
                }
                argv = [sys.executable, "-m", "smartcare", "worker"]
                supervisor.start("worker", Program(argv=argv, env=env, log=folder / "worker.log"))
                gateways = {load.Connection(g, broker.port, broker.password(g.code)): g for g in mine}
                for c in gateways:
                    selector.register(c.socket, selectors.EVENT_READ, c)
                loaded = Loaded(conn=conn, supervisor=supervisor, gateways=gateways, selector=selector)
                if not loaded.until(lambda: min(loaded.analysed().values()) > 0, PATIENCE_S):
                    raise load.LoadError(f"the worker did not begin:\n{process.tail(folder / 'worker.log')}")
                yield loaded
                for c in gateways:
                    c.socket.close()
                supervisor.stop()
        finally:
            supervisor.stop()
            server.remove()
