"""From the broker to the answer, against what the machine can do at all: a bare COPY, a bare subscriber.

One decision: everything is the real thing in its own process, and what is compared runs in turn in the same run. A round
is one load of frames through nats-server and the worker until the last one is answered, then one binary COPY, already
encoded and in one transaction, of the very rows that were stored, into a table with the same columns, indexes and
partitions, which has grown by the same rows.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from benchmarks import load, town
from gateway.clock import DAY_US, now_us
from ingest.store.copying import EVENT
from ingest.store.schema import migrate
from smartcare.embedded import nats, postgres

IN_FLIGHT = 8000  # fewer than the worker's queue holds
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured: rounds, and frames of each gateway in one, with 50 events and with one."""

    rounds: int
    batch_frames: int
    single_frames: int


FULL = Size(rounds=7, batch_frames=60, single_frames=400)
SMOKE = Size(rounds=2, batch_frames=4, single_frames=20)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rig:
    """What runs while it is measured."""

    conn: psycopg.Connection[Any]
    dsn: str
    broker: nats.Broker
    connections: dict[str, load.Connection]


def measure(size: Size, say: Say) -> dict[str, float]:
    """Return medians over the rounds."""
    with rig() as r:
        figures = _against_copy(r, size, say) | _against_subscriber(r, size, say)
        stored = r.conn.execute("SELECT count(*) FROM event").fetchone()
        sent = town.GATEWAYS * (1 + size.rounds) * (50 * size.batch_frames + size.single_frames)
        assert stored == (sent,), f"{sent} events were answered, {stored} are stored"
    return figures


@contextmanager
def rig() -> Iterator[Rig]:
    """Start PostgreSQL, nats-server and a worker; end them."""
    with tempfile.TemporaryDirectory() as folder:
        server, broker = postgres.Server(Path(folder) / "postgres"), nats.Broker(Path(folder) / "nats")
        for g in town.gateways():
            broker.add_gateway(g.code, g.shard)
        try:
            with server, broker, psycopg.connect(server.dsn(), autocommit=True) as conn:
                migrate(conn, now_us())
                town.register(conn)
                twin(conn)
                url = broker.url(nats.WORKER)
                with program("benchmarks.worker", server.dsn(), url) as worker:
                    assert worker.stdout is not None
                    worker.stdout.readline()
                    connections = {g.code: load.Connection(g, broker.port, broker.password(g.code)) for g in town.gateways()}
                    yield Rig(conn=conn, dsn=server.dsn(), broker=broker, connections=connections)
                    for c in connections.values():
                        c.socket.close()
        finally:
            server.remove()


@contextmanager
def program(module: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a module of ours; end it."""
    process = subprocess.Popen([sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE)
    try:
        with process:
            yield process
            process.terminate()
    finally:
        process.kill()


def twin(conn: psycopg.Connection[Any]) -> None:
    """Make a table like `event`, with its indexes and partitions."""
    conn.execute("CREATE TABLE bare (LIKE event INCLUDING ALL) PARTITION BY RANGE (pos)")
    today = now_us() // DAY_US
    for day in range(today - 1, today + 3):
        conn.execute(f"CREATE TABLE bare_{day} PARTITION OF bare FOR VALUES FROM ({day * DAY_US}) TO ({(day + 1) * DAY_US})")


def _against_copy(r: Rig, size: Size, say: Say) -> dict[str, float]:
    ours, copy = [], []
    for n in range(1 + size.rounds):  # the first one warms up
        events, seconds, after = carry(r, size.batch_frames, 50)
        rows = stored_rows(r.conn, after)
        began = time.perf_counter()
        with r.conn.transaction(), r.conn.cursor().copy(EVENT.sql.replace("COPY event", "COPY bare")) as copying:
            copying.write(rows)
        copied = time.perf_counter() - began
        say(f"round {n}: {events / seconds:,.0f} events/s through broker and T1, {events / copied:,.0f} rows/s by COPY alone")
        if n:
            ours.append(events / seconds)
            copy.append(events / copied)
    return {
        "ingest.events_per_s": median(ours),
        "ingest.copy_rows_per_s": median(copy),
        "ingest.vs_copy": median(o / c for o, c in zip(ours, copy, strict=True)),
    }


def _against_subscriber(r: Rig, size: Size, say: Say) -> dict[str, float]:
    ours, bare = [], []
    for n in range(1 + size.rounds):
        frames, seconds, _ = carry(r, size.single_frames, 1)
        heard = _subscribe(r, size.single_frames)
        say(f"round {n}: {frames / seconds:,.0f} frames/s of one event stored and answered, {heard:,.0f} only received")
        if n:
            ours.append(frames / seconds)
            bare.append(heard)
    return {
        "ingest.frames_per_s": median(ours),
        "ingest.mqtt_messages_per_s": median(bare),
        "ingest.vs_mqtt": median(o / b for o, b in zip(ours, bare, strict=True)),
    }


def carry(r: Rig, frames: int, events: int) -> tuple[int, float, int]:
    """One load of all gateways. Returns the events, the seconds, and the log position before."""
    (after,) = r.conn.execute("SELECT max(pos) FROM shard").fetchall()[0]
    at = now_us()
    packets = {g.code: town.packets(g, r.connections[g.code].seq + 1, frames, events, at) for g in town.gateways()}
    return town.GATEWAYS * frames * events, load.run(r.connections, packets, IN_FLIGHT), after


def stored_rows(conn: psycopg.Connection[Any], after: int) -> bytes:
    """Read back what was stored, in the order in which it came, as the bytes of a COPY."""
    query = f"SELECT {', '.join(EVENT.columns)} FROM event WHERE pos > {after} ORDER BY pos, shard, ordinal"
    with conn.cursor().copy(f"COPY ({query}) TO STDOUT (FORMAT BINARY)".encode()) as copy:
        return b"".join(bytes(part) for part in copy)


def _subscribe(r: Rig, frames: int) -> float:
    """Return the messages per second of a subscriber that only counts, with frames like those that were just stored.

    In the broker's other account, where the worker does not hear them.
    """
    user, at = nats.DEVICE_BUS, now_us()
    packets = [p for g in town.gateways() for p in town.packets(g, 1, frames, 1, at)]
    with program("benchmarks.subscriber", r.broker.url(user), str(len(packets))) as subscriber:
        assert subscriber.stdout is not None
        subscriber.stdout.readline()
        with load.login(r.broker.port, user, user, r.broker.password(user)) as sender:
            sender.sendall(b"".join(packets))
            return len(packets) / float(subscriber.stdout.readline())
