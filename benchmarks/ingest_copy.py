"""How much of a bare binary COPY is left once T1 has done everything it does to the same rows.

One decision: COPY gets every advantage. A round is one T1 of decoded frames (identities, places, differences, roll-ups,
cursors, partitions, index) and then one COPY of the rows it stored, already encoded, into a table without index or
partition; both end with a COMMIT on disk. Rounds alternate, so that what slows the machine down slows both.
"""

import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import psycopg

from gateway.clock import HOUR_US, SECOND_US, now_us
from gateway.events import Event, Kind
from gateway.wire import Header, decode_body, decode_header, encode_body, encode_frame
from ingest import snapshot
from ingest.batch import Accepted
from ingest.shards import Shards
from ingest.store.copying import EVENT
from ingest.store.schema import migrate
from ingest.t1 import T1, Work
from smartcare.embedded import postgres

GATEWAYS = 20
DEVICES = 8  # of each gateway; half doors, half counters
FRAMES = 10  # of each gateway in a round
EVENTS = 50  # of a frame
ROUNDS = 15
WARM_UP = 3
SHARD = 7


def measure() -> dict[str, float]:
    """Return medians: rows per second of T1 and of COPY, their ratio round by round, and decoding by itself."""
    with tempfile.TemporaryDirectory() as folder:
        server = postgres.Server(Path(folder) / "postgres")
        try:
            with server:
                return _measure(server.dsn())
        finally:
            server.remove()


def _measure(dsn: str) -> dict[str, float]:
    with psycopg.connect(dsn, autocommit=True) as conn, Shards(dsn, "benchmark") as shards:
        migrate(conn, now_us())
        gateways = _register(conn)
        conn.execute("CREATE TABLE bare (LIKE event)")
        known = snapshot.load(conn)
        shards.take([SHARD])
        t1 = T1(dsn, shards.owned)
        t1_s, copy_s, decode_s = [], [], []
        rows = len(gateways) * FRAMES * EVENTS
        for n in range(WARM_UP + ROUNDS):
            frames = [(g, data) for g in gateways for data in _frames(n)]
            began = time.perf_counter()
            accepted = [Accepted(gateway=g, header=decode_header(data), body=decode_body(data)) for g, data in frames]
            decoded = time.perf_counter()
            work = Work(frames=accepted, cursors={(a.gateway, a.header.stream): a.header.seq for a in accepted})
            (batch,) = t1.write({SHARD: work}, [], known, now_us())
            written = time.perf_counter()
            assert len(batch.rows) == rows
            stored = _stored(conn, batch.pos)
            copying = time.perf_counter()
            with conn.transaction(), conn.cursor().copy(EVENT.sql.replace("COPY event", "COPY bare")) as copy:
                copy.write(stored)
            copied = time.perf_counter()
            if n >= WARM_UP:
                decode_s.append(decoded - began)
                t1_s.append(written - decoded)
                copy_s.append(copied - copying)
        t1.close()
        assert conn.execute("SELECT (SELECT count(*) FROM bare) = (SELECT count(*) FROM event)").fetchone() == (True,)
    return {
        "ingest.t1_rows_per_s": rows / median(t1_s),
        "ingest.copy_rows_per_s": rows / median(copy_s),
        "ingest.vs_copy": median(c / t for c, t in zip(copy_s, t1_s, strict=True)),
        "ingest.decode_rows_per_s": rows / median(decode_s),
        "ingest.rows_per_round": rows,
        "ingest.rounds": ROUNDS,
    }


def _stored(conn: psycopg.Connection[Any], pos: int) -> bytes:
    """Read back what T1 has just stored, as the bytes of a COPY."""
    query = f"COPY (SELECT {', '.join(EVENT.columns)} FROM event WHERE pos = {pos}) TO STDOUT (FORMAT BINARY)"
    with conn.cursor().copy(query.encode()) as copy:
        return b"".join(bytes(part) for part in copy)


def _register(conn: psycopg.Connection[Any]) -> list[int]:
    conn.execute("INSERT INTO region VALUES ('330481100001', '周王庙镇')")
    ids = []
    for g in range(GATEWAYS):
        site = _one(
            conn,
            "INSERT INTO site (code, name, kind, region, hours, shard) VALUES (%s, %s, 'point', '330481100001', '{}', %s)",
            (f"S{g}", f"第{g}站", SHARD),
        )
        gateway = _one(conn, "INSERT INTO gateway (code, shard) VALUES (%s, %s)", (f"g{g}", SHARD))
        ids.append(gateway)
        for d in range(DEVICES):
            place = _one(
                conn, "INSERT INTO place (site, code, name, room) VALUES (%s, %s, %s, 'hall')", (site, f"p{d}", f"第{d}处")
            )
            kind = "zigbee_contact" if d % 2 else "lora_counter"
            values = (gateway, _identity(d), kind)
            device = _one(conn, "INSERT INTO device (gateway, identity, class) VALUES (%s, %s, %s)", values)
            _one(conn, "INSERT INTO mounting (device, place, from_us) VALUES (%s, %s, 0)", (device, place))
    return ids


def _one(conn: psycopg.Connection[Any], insert: str, values: tuple[object, ...]) -> int:
    row = conn.execute(f"{insert} RETURNING id".encode(), values).fetchone()
    assert row is not None
    return int(row[0])


def _identity(d: int) -> str:
    return f"z2m/door-{d}" if d % 2 else f"lora/00000000000000{d:02x}"


def _frames(n: int) -> list[bytes]:
    """Return a gateway's frames of round n: doors that open and close, running totals that grow."""
    start_us = now_us() - HOUR_US
    frames = []
    for f in range(FRAMES):
        events = []
        for i in range(EVENTS):
            d, k = i % DEVICES, (n * FRAMES + f) * EVENTS + i
            t_us = start_us + k * SECOND_US // 20
            door = d % 2
            kind, aux, a, b = (Kind.CONTACT, 0, k // DEVICES % 2, 0) if door else (Kind.COUNT_TOTAL, 1, k, k // 2)
            events.append(Event(device=_identity(d), kind=kind, aux=aux, a=a, b=b, t_us=t_us, received_us=t_us + 1000))
        seq = n * FRAMES + f + 1
        header = Header(stream=11, seq=seq, oldest=1, since_us=start_us, through_us=now_us())
        frames.append(encode_frame(header, encode_body(events)))
    return frames
