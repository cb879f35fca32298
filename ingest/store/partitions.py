"""The closed parts of the log: native partitions or TimescaleDB chunks, to be measured, compressed and dropped.

One decision: compressed rows lie shard by shard, and within a shard events lie device by device: next to its like a value costs
next to nothing (`python -m benchmarks.run store`; the order of the log takes a sixth more). Still, finding a row is slow there,
so only what T1 no longer asks for is compressed.
"""

from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from gateway.clock import DAY_US
from ingest.store.queries import Queries
from ingest.store.schema import has_timescale

QUERIES = Queries("ingest", "maintenance.sql")
ORDER: dict[str, LiteralString] = {"frame": "pos, first", "event": "device, kind, pos, ordinal", "passage": "pos, ordinal"}
"""The tables of the log that are partitioned by position, and how the compressed rows of a shard are ordered."""
LOCK_PATIENCE: LiteralString = "SET LOCAL lock_timeout = '2s'"  # longer, and T1 waits behind us

Conn = psycopg.Connection[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The rows of one table with positions in [from_us, to_us). name: its own table, with its schema."""

    table: str
    name: str
    from_us: int
    to_us: int
    compressed: bool


def parts(conn: Conn) -> list[Part]:
    """Return all parts, oldest first."""
    if has_timescale(conn):
        rows = conn.execute(QUERIES["chunks"], {"tables": list(ORDER)}).fetchall()
        return [Part(table=t, name=n, from_us=f, to_us=e, compressed=c) for t, n, f, e, c in rows]
    rows = conn.execute(QUERIES["native_partitions"]).fetchall()
    return [
        Part(table=t, name=n, from_us=day * DAY_US, to_us=(day + days) * DAY_US, compressed=False) for t, n, day, days in rows
    ]


def sizes(conn: Conn) -> dict[str, int]:
    """Return the bytes of every table of the schema with its indexes, parts and TOAST, by name."""
    plain = dict(conn.execute(QUERIES["plain_sizes"]).fetchall())
    return plain | (dict(conn.execute(QUERIES["hypertable_sizes"]).fetchall()) if has_timescale(conn) else {})


def drop(conn: Conn, part: Part) -> None:
    """Delete a part with all its rows. Raises psycopg.errors.LockNotAvailable after two seconds: try again later."""
    with conn.transaction():
        conn.execute(LOCK_PATIENCE)
        if has_timescale(conn):
            conn.execute(QUERIES["drop_chunk"], {"table": part.table, "from_us": part.from_us, "to_us": part.to_us})
        else:
            conn.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier(*part.name.split("."))))


def compress(conn: Conn, part: Part) -> None:
    """Compress a chunk of TimescaleDB, again if rows of it were changed. Raises psycopg.errors.LockNotAvailable."""
    with conn.transaction():
        conn.execute(LOCK_PATIENCE)
        if not conn.execute(QUERIES["is_compressible"], {"table": part.table}).fetchone():
            conn.execute(
                sql.SQL(
                    "ALTER TABLE {} SET (timescaledb.compress, timescaledb.compress_segmentby = 'shard',"
                    " timescaledb.compress_orderby = {})"
                ).format(sql.Identifier(part.table), ORDER[part.table])
            )
        conn.execute(QUERIES["compress_chunk"], {"chunk": part.name})
