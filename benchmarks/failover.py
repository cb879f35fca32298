"""How long a killed worker's shards stand still: two workers, one of them killed, until every shard has a new T1.

One decision: the gateways ask again every half second, as impatient as real ones right after a loss, so that what is measured
is the time in which nobody would have answered.
"""

import selectors
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import load, town
from benchmarks.ingest_path import Say, program
from gateway.clock import now_us
from ingest.shards import ALL
from ingest.store.schema import migrate
from smartcare.embedded import nats, postgres

ASK_S = 0.5
PATIENCE_S = 60.0


@dataclass(slots=True, kw_only=True)
class Rig:
    """What runs: servers, and one gateway on each of the town's shards."""

    conn: psycopg.Connection[Any]
    dsn: str
    url: str
    gateways: dict[load.Connection, town.Gateway]
    selector: selectors.DefaultSelector
    asked: float = 0.0

    def until(self, true: Callable[[], bool], what: str) -> float:
        """Let the gateways talk until something is true. Returns the seconds it took. Raises load.LoadError."""
        began = time.perf_counter()
        while not true():
            if time.perf_counter() - began > PATIENCE_S:
                raise load.LoadError(f"not within {PATIENCE_S:.0f} s: {what}")
            self._talk()
        return time.perf_counter() - began

    def _talk(self) -> None:
        if time.perf_counter() - self.asked > ASK_S:
            self.asked = time.perf_counter()
            for c, g in self.gateways.items():
                c.socket.sendall(town.packets(g, c.seq + 1, 1, 10, now_us())[0])
        for ready, _ in self.selector.select(0.02):
            ready.data.receive()

    def shards(self) -> dict[int, tuple[str, int]]:
        """Return owner and last position of the town's shards."""
        rows = self.conn.execute("SELECT id, owner, pos FROM shard WHERE id < %s", [town.SHARDS]).fetchall()
        return {shard: (owner, pos) for shard, owner, pos in rows}

    def owns_half(self, pid: int) -> bool:
        """Tell whether a worker has half of all shards."""
        return self.conn.execute("SELECT count(*) FROM shard WHERE owner = %s", [f"benchmark-{pid}"]).fetchone() == (
            len(ALL) // 2,
        )

    def owned_by(self, pid: int) -> set[int]:
        """Return the town's shards of one worker."""
        return {s for s, (owner, _) in self.shards().items() if owner == f"benchmark-{pid}"}


def measure(rounds: int, say: Say) -> dict[str, float]:
    """Return the longest of `rounds` failovers after `kill -9`, and of as many after SIGTERM (seconds)."""
    worst = {"workers.failover_s": 0.0, "workers.drain_s": 0.0}
    with _rig() as r, ExitStack() as running:
        stays = running.enter_context(program("benchmarks.worker", r.dsn, r.url))
        for _ in range(rounds):
            for name, how in (("workers.failover_s", signal.SIGKILL), ("workers.drain_s", signal.SIGTERM)):
                seconds = _end_one(r, stays, how)
                say(f"{how.name}: {seconds:.2f} s until every shard had a new T1")
                worst[name] = max(worst[name], seconds)
    return worst


def _end_one(r: Rig, stays: subprocess.Popen[bytes], how: signal.Signals) -> float:
    """Add a second worker, let it have its share, and end it. Returns the seconds until its last shard was written again."""
    with program("benchmarks.worker", r.dsn, r.url) as goes:
        r.until(lambda: r.owns_half(goes.pid) and r.owns_half(stays.pid), "the two share the shards")
        before = r.shards()
        r.until(lambda: all(r.shards()[s][1] > pos for s, (_, pos) in before.items()), "both write")
        mine = r.owned_by(goes.pid)
        goes.send_signal(how)
        ended = time.perf_counter()
        goes.wait()
        before = r.shards()

        def written() -> bool:
            now, heir = r.shards(), f"benchmark-{stays.pid}"
            return all(now[s][0] == heir and now[s][1] > before[s][1] for s in mine)

        r.until(written, "the other has taken over")
        return time.perf_counter() - ended


@contextmanager
def _rig() -> Iterator[Rig]:
    """Start the servers, and log one gateway of each shard in."""
    with tempfile.TemporaryDirectory(prefix="smartcare-bench-") as folder, selectors.DefaultSelector() as selector:
        Path(folder).chmod(0o755)
        server, broker = postgres.Server(Path(folder) / "postgres"), nats.Broker(Path(folder) / "nats")
        mine = {g.shard: g for g in town.gateways()}.values()
        for g in mine:
            broker.add_gateway(g.code, g.shard)
        try:
            with server, broker, psycopg.connect(server.dsn(), autocommit=True) as conn:
                migrate(conn, now_us())
                town.register(conn)
                gateways = {load.Connection(g, broker.port, broker.password(g.code)): g for g in mine}
                for c in gateways:
                    selector.register(c.socket, selectors.EVENT_READ, c)
                yield Rig(conn=conn, dsn=server.dsn(), url=broker.url(nats.WORKER), gateways=gateways, selector=selector)
                for c in gateways:
                    c.socket.close()
        finally:
            server.remove()
