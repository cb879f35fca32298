"""What the worker does and takes as devices become more: 100, 1,000, 10,000, 100,000, with all rules on.

One decision: the load is the same each time, frames of fifty events from a hundred gateways at most, so that only the number of
devices differs; the clock stops when T2 has seen everything, not when T1 has.

    python -m benchmarks.run growth && python -m benchmarks.growth      measures, then draws docs/images/growth.svg
"""

import json
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from benchmarks import load, town
from benchmarks.ingest_path import IN_FLIGHT, Say
from gateway.clock import now_us
from ingest.store.schema import migrate
from smartcare.embedded import nats, postgres, process

EVENTS = 50
ASK_S = 1.0
PATIENCE_S = 300.0
PLOT, FIGURES = Path("docs/images/growth.svg"), Path("build/bench.json")
ALWAYS = json.dumps({day: [["00:00", "24:00"]] for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")})
"""Sites that never close, so that a busy hour is no alarm."""
REGISTER = """
INSERT INTO region VALUES ('330481100001', '周王庙镇');
INSERT INTO gateway (code, shard) SELECT 'bench-' || lpad(n::text, 3, '0'), n %% 16 FROM generate_series(0, %(gateways)s - 1) n;
INSERT INTO site (code, name, kind, region, hours, shard)
SELECT g.code || '-' || n, g.code || ' ' || n, 'point', '330481100001', %(hours)s, g.shard
FROM gateway g, generate_series(0, (%(devices)s - 1) / 10) n;
INSERT INTO place (site, code, name, room) SELECT s.id, 'p' || d, 'p' || d, 'hall' FROM site s, generate_series(0, 9) d;
INSERT INTO device (gateway, identity, class)
SELECT g.id, CASE d %% 2 WHEN 1 THEN 'z2m/door-' || d ELSE 'lora/24e1c0ffee0000' || CASE WHEN d < 16 THEN '0' ELSE '' END
             || to_hex(d) END,
       CASE d %% 2 WHEN 1 THEN 'zigbee_contact' ELSE 'lora_counter' END
FROM gateway g, generate_series(0, %(devices)s - 1) d ORDER BY g.id, d;
INSERT INTO mounting (device, place, from_us)
SELECT d.id, p.id, 0 FROM (SELECT id, gateway, row_number() OVER (PARTITION BY gateway ORDER BY id) - 1 AS d FROM device) d
JOIN gateway g ON g.id = d.gateway JOIN site s ON s.code = g.code || '-' || d.d / 10
JOIN place p ON p.site = s.id AND p.code = 'p' || d.d %% 10;
UPDATE register_version SET version = version + 1;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Numbers of devices, rounds with each, and frames of each gateway in one."""

    devices: tuple[int, ...]
    rounds: int
    frames: int


FULL = Size(devices=(100, 1_000, 10_000, 100_000), rounds=3, frames=40)
SMOKE = Size(devices=(100, 1_000), rounds=1, frames=4)


def measure(size: Size, say: Say) -> dict[str, float]:
    """Return events a second, and by the worker's processor, and the worker's memory, for each number of devices."""
    figures: dict[str, float] = {}
    for devices in size.devices:
        gateways = [g for g in town.gateways() if int(g.code[-3:]) < min(town.GATEWAYS, devices // 10)]
        with rig(gateways, devices) as (conn, connections, pid):
            rates, cpu = [], []
            for _ in range(1 + size.rounds):  # the first one warms up
                used, began = -cpu_s(pid), time.perf_counter()
                events = carry(conn, gateways, connections, size.frames, devices // len(gateways))
                rates.append(events / (time.perf_counter() - began))
                cpu.append(events / (used + cpu_s(pid)))
            found = {
                "events_per_s": median(rates[1:]),
                "events_per_cpu_s": median(cpu[1:]),
                "rss_mb": int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20,
            }
            say(f"growth: {devices:,} devices: " + ", ".join(f"{name} {value:,.0f}" for name, value in found.items()))
            figures |= {f"growth.{name}_{devices}": value for name, value in found.items()}
    return figures


def carry(
    conn: psycopg.Connection[Any],
    gateways: list[town.Gateway],
    connections: dict[str, load.Connection],
    frames: int,
    devices: int,
) -> int:
    """Send frames of every gateway until T2 has seen them. Returns the events. Raises load.LoadError."""
    at = now_us()
    packets = {g.code: town.packets(g, connections[g.code].seq + 1, frames, EVENTS, at, devices) for g in gateways}
    load.run(connections, packets, IN_FLIGHT)
    end = time.perf_counter() + PATIENCE_S
    while conn.execute("SELECT FROM shard WHERE analysed < pos LIMIT 1").fetchone():
        if time.perf_counter() > end:
            raise load.LoadError(f"T2 had not seen everything after {PATIENCE_S:.0f} s")
        time.sleep(0.01)
    return len(gateways) * frames * EVENTS


@contextmanager
def rig(gateways: list[town.Gateway], devices: int) -> Iterator[tuple[psycopg.Connection[Any], dict[str, load.Connection], int]]:
    """Start PostgreSQL, the broker and a worker, register the devices, and wait until every gateway is answered."""
    with tempfile.TemporaryDirectory(prefix="smartcare-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        server, broker = postgres.Server(folder / "postgres"), nats.Broker(folder / "nats")
        for g in gateways:
            broker.add_gateway(g.code, g.shard)
        try:
            with server, broker, psycopg.connect(server.dsn(), autocommit=True) as conn:
                migrate(conn, now_us())
                with psycopg.ClientCursor(conn) as cursor:
                    cursor.execute(
                        REGISTER.encode(), {"gateways": len(gateways), "devices": devices // len(gateways), "hours": ALWAYS}
                    )
                conn.execute("VACUUM ANALYZE")
                with worker(server.dsn(), broker.url(nats.WORKER), folder) as pid:
                    connections = {g.code: load.Connection(g, broker.port, broker.password(g.code)) for g in gateways}
                    _begin(gateways, connections, devices // len(gateways))
                    yield conn, connections, pid
                    for c in connections.values():
                        c.socket.close()
        finally:
            server.remove()


def _begin(gateways: list[town.Gateway], connections: dict[str, load.Connection], devices: int) -> None:
    """Ask with a first frame until every gateway has an answer. Raises load.LoadError."""
    end, asked = time.perf_counter() + PATIENCE_S, 0.0
    with selectors.DefaultSelector() as selector:
        for c in connections.values():
            selector.register(c.socket, selectors.EVENT_READ, c)
        while waiting := [g for g in gateways if not connections[g.code].seq]:
            if time.perf_counter() > end:
                raise load.LoadError(f"{len(waiting)} gateways had no answer in {PATIENCE_S:.0f} s")
            if time.perf_counter() - asked > ASK_S:
                asked = time.perf_counter()
                for g in waiting:
                    connections[g.code].socket.sendall(town.packets(g, 1, 1, EVENTS, now_us(), devices)[0])
            for key, _ in selector.select(0.1):
                key.data.receive()


def cpu_s(pid: int) -> float:
    """Return the seconds of the processor that a process has used."""
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


@contextmanager
def worker(dsn: str, url: str, folder: Path) -> Iterator[int]:
    """Run the worker as it is run in operation; gives its process id. What it wrote is added to a load.LoadError."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("SMARTCARE_")}
    env |= {"DATABASE_URL": dsn, "MQTT_URL": url, "SMARTCARE_STATE": str(folder / "none")}
    with (folder / "worker.log").open("wb") as log:
        child = subprocess.Popen([sys.executable, "-m", "smartcare", "worker"], env=env, stdout=log, stderr=log)
        try:
            yield child.pid
        except load.LoadError as e:
            raise load.LoadError(f"{e}\n{process.tail(folder / 'worker.log')}") from e
        finally:
            child.terminate()
            child.wait()


def draw() -> None:
    """Draw what build/bench.json has of us."""
    import_module("matplotlib").use("svg")  # the extra `bench` has it, and nothing else needs it
    pyplot = import_module("matplotlib.pyplot")
    figures = json.loads(FIGURES.read_text())
    devices = [n for n in FULL.devices if f"growth.rss_mb_{n}" in figures]
    pyplot.rcParams.update({"svg.hashsalt": "growth", "svg.fonttype": "none", "font.family": "sans-serif"})
    _, (left, right) = pyplot.subplots(1, 2, figsize=(8, 3), layout="constrained")
    for name, text in (("events_per_s", "by the clock"), ("events_per_cpu_s", "by the worker's processor")):
        left.plot(devices, [figures[f"growth.{name}_{n}"] for n in devices], marker="o", label=text)
    left.set(xscale="log", ylim=(0, None), xlabel="devices", title="events a second")
    left.legend()
    right.plot(devices, [figures[f"growth.rss_mb_{n}"] for n in devices], marker="o")
    right.set(xscale="log", ylim=(0, None), xlabel="devices", title="worker's memory (MB)")
    PLOT.parent.mkdir(exist_ok=True)
    pyplot.savefig(PLOT, metadata={"Date": None})


if __name__ == "__main__":
    draw()
