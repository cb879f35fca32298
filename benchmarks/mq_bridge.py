"""The same events into the same table by mq-bridge (PyPI, Rust core), which neither orders, checks, answers nor analyses.

One decision: it gets what suits it best: the rows that we have just stored, a JSON object each, alone or fifty in an envelope of
its own kind, at QoS 0 without a session, written by COPY on two connections. A round in which it loses a row is no round.

    python -m benchmarks.run mq-bridge     needs the extra `bench`
"""

import json
import socket
import struct
import time
from dataclasses import dataclass
from importlib.util import find_spec
from statistics import median
from typing import Any

from benchmarks import load, town
from benchmarks.ingest_path import Rig, Say, carry, program, rig
from ingest.store.copying import EVENT
from smartcare.embedded import nats

TOPIC = "bench/events"
ROW_BYTES = 100
"""Less than a row takes on disk: until so much is there nobody counts."""
PATIENCE_S = 60.0
LOOK_S, STILL_S = 0.01, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Rounds, and frames of each gateway in one, with one event and with fifty: no more than the broker keeps for a reader."""

    rounds: int
    single_frames: int
    batch_frames: int


FULL = Size(rounds=5, single_frames=300, batch_frames=30)
SMOKE = Size(rounds=1, single_frames=20, batch_frames=4)


class NotInstalled(Exception):
    """The package is missing."""


def measure(size: Size, say: Say) -> dict[str, float]:
    """Return our rates, its rates and the medians of their ratios. Raises NotInstalled, load.LoadError."""
    if find_spec("mq_bridge") is None:
        raise NotInstalled("mq-bridge is not installed: pip install -c constraints.txt -e '.[bench]'")
    with rig() as r:
        return _against(r, "single", size.rounds, size.single_frames, 1, say) | _against(
            r, "batch", size.rounds, size.batch_frames, 50, say
        )


def _against(r: Rig, name: str, rounds: int, frames: int, events: int, say: Say) -> dict[str, float]:
    ours, theirs = [], []
    for n in range(1 + rounds):  # the first one warms up
        count, seconds, after = carry(r, frames, events)
        heard = _bridged(r, _messages(r, after, events), count, 5_000 if events > 1 else 2_000)
        say(f"{name} {n}: {count / seconds:,.0f} events/s stored in order and answered, {count / heard:,.0f} by mq-bridge")
        if n:
            ours.append(count / seconds)
            theirs.append(count / heard)
    return {
        f"ingest.mq_bridge_{name}_per_s": median(theirs),
        f"ingest.vs_mq_bridge_{name}": median(o / t for o, t in zip(ours, theirs, strict=True)),
    }


def _messages(r: Rig, after: int, events: int) -> list[bytes]:
    """Return what was stored after a position as messages of so many events: JSON, or an envelope of it."""
    names = list(EVENT.columns)
    query = f"SELECT {', '.join(names)} FROM event WHERE pos > %s ORDER BY pos, shard, ordinal"
    rows = [
        json.dumps(dict(zip(names, row, strict=True)), separators=(",", ":")).encode() for row in r.conn.execute(query, [after])
    ]
    if events == 1:
        return rows
    parts = (rows[n : n + events] for n in range(0, len(rows), events))
    return [struct.pack(">I", len(p)) + b"".join(struct.pack(">I", len(row)) + row for row in p) for p in parts]


def _route(r: Rig, batch: int, *, unpack: bool) -> dict[str, Any]:
    user, names = nats.DEVICE_BUS, list(EVENT.columns)
    into = f"INSERT INTO bare ({', '.join(names)}) VALUES ({', '.join(f'${{payload:{name}}}' for name in names)})"
    source: dict[str, Any] = {
        "mqtt": {
            "url": f"tcp://127.0.0.1:{r.broker.port}",
            "username": user,
            "password": r.broker.password(user),
            "topic": TOPIC,
            "qos": 0,
            "clean_session": True,
            "protocol": "v3",
            "client_id": "bridge",
            "queue_capacity": 100_000,
        }
    }
    if unpack:
        source["middlewares"] = [{"unpack": {"format": "benthos_binary"}}]
    table = {"url": r.dsn, "table": "bare", "insert_query": into, "bulk_copy": True, "min_connections": 2, "max_connections": 4}
    return {"input": source, "output": {"sqlx": table}, "batch_size": batch, "concurrency": 2}


def _bridged(r: Rig, messages: list[bytes], events: int, batch: int) -> float:
    """Return the seconds from the first message until all rows are in the table, which is emptied before."""
    route, user = json.dumps(_route(r, batch, unpack=len(messages) < events)), nats.DEVICE_BUS
    packets = b"".join(town.publish(TOPIC, message) for message in messages)
    with (
        program("benchmarks.bridge", route) as bridge,
        load.login(r.broker.port, "load", user, r.broker.password(user)) as sender,
    ):
        assert bridge.stdout is not None
        if bridge.stdout.readline() != b"ready\n":
            raise load.LoadError("mq-bridge did not start")
        _awake(r, sender, town.publish(TOPIC, messages[0]))
        began = time.perf_counter()
        sender.sendall(packets)
        while not _all(r, events):
            if time.perf_counter() - began > PATIENCE_S:
                raise load.LoadError(f"mq-bridge did not store all of {events} events within {PATIENCE_S:.0f} s")
            time.sleep(LOOK_S)
        return time.perf_counter() - began


def _awake(r: Rig, sender: socket.socket, packet: bytes) -> None:
    """Wait until a message comes through, and empty the table again. Raises load.LoadError."""
    end = time.perf_counter() + PATIENCE_S
    while r.conn.execute("SELECT FROM bare LIMIT 1").fetchone() is None:
        if time.perf_counter() > end:
            raise load.LoadError(f"mq-bridge stored nothing within {PATIENCE_S:.0f} s")
        sender.sendall(packet)
        time.sleep(STILL_S)
    time.sleep(STILL_S)  # what was sent before that is through too
    r.conn.execute("TRUNCATE bare")


def _all(r: Rig, events: int) -> bool:
    """Tell whether so many rows are there."""
    size = "SELECT sum(pg_relation_size(relid)) FROM pg_partition_tree('bare')"
    if r.conn.execute(size).fetchall()[0][0] < events * ROW_BYTES:
        return False
    return r.conn.execute("SELECT count(*) FROM bare").fetchall() == [(events,)]
