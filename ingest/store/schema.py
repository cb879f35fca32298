"""Brings a database to the present schema: numbered SQL files, forward only, under an advisory lock.

One decision: TimescaleDB and plain PostgreSQL share every line of SQL; a line `-- @partition <table> <days>` becomes a
hypertable on the one and native range partitions on the other, and this module is the only one that knows the difference.
"""

import hashlib
import re
from importlib import resources
from typing import Any

import psycopg
from psycopg import sql

from gateway.clock import DAY_US
from ingest.errors import IngestError

ACCESS = "access.sql"
"""Row-level security: not a step but a state, brought about again whenever it or the schema has changed."""
API_ROLE = "smartcare_api"
LOCK = 0x5CA12E  # advisory lock of migrations
PARTITION = re.compile(r"^-- @partition (\w+) (\d+)$", re.M)
AHEAD = 3  # partitions kept ready beyond the present one


class SchemaError(IngestError):
    """The database cannot be brought to the present schema."""


def migrate(conn: psycopg.Connection[Any], now_us: int) -> list[str]:
    """Apply what is missing, each file in a transaction of its own. Returns the names applied. Raises SchemaError."""
    if conn.info.server_version < 150000:
        raise SchemaError(f"PostgreSQL 15 or newer is needed, this server is {conn.info.server_version // 10000}")
    applied = []
    with conn.transaction():
        conn.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
        conn.execute("CREATE TABLE IF NOT EXISTS migration (name text PRIMARY KEY, digest text NOT NULL, at_us bigint NOT NULL)")
        done = dict(conn.execute("SELECT name, digest FROM migration").fetchall())
        timescale = has_timescale(conn)
        for name, text in migrations():
            digest = hashlib.sha256(text.encode()).hexdigest()
            if name in done:
                if done[name] != digest:
                    raise SchemaError(f"migration {name} was changed after it was applied; write a new one instead")
                continue
            for piece, table, days in _pieces(text):
                conn.execute(piece.encode())
                if table:
                    _partition(conn, table, days, now_us, timescale)
            conn.execute("INSERT INTO migration VALUES (%s, %s, %s)", [name, digest, now_us])
            applied.append(name)
        text = (resources.files("ingest.store") / ACCESS).read_text()
        digest = hashlib.sha256(text.encode()).hexdigest()
        if applied or done.get(ACCESS) != digest or not _has_access(conn):
            conn.execute(text.encode())
            conn.execute("DELETE FROM migration WHERE name = %s", [ACCESS])
            conn.execute("INSERT INTO migration VALUES (%s, %s, %s)", [ACCESS, digest, now_us])
    return applied


def _has_access(conn: psycopg.Connection[Any]) -> bool:
    """Tell whether the API's role and its rights are there: a restored database comes without them."""
    role = conn.execute("SELECT FROM pg_roles WHERE rolname = %s", [API_ROLE]).fetchone()
    if role is None:
        return False
    row = conn.execute("SELECT has_table_privilege(%s, 'site', 'SELECT')", [API_ROLE]).fetchone()
    return row is not None and bool(row[0])


def migrations() -> list[tuple[str, str]]:
    """Return (name, text) of every numbered file, in order."""
    folder = resources.files("ingest.store") / "migrations"
    return [(f.name, f.read_text()) for f in sorted(folder.iterdir(), key=lambda f: f.name) if f.name.endswith(".sql")]


def has_timescale(conn: psycopg.Connection[Any]) -> bool:
    """Tell whether TimescaleDB is installed in this database; it is never installed behind the operator's back."""
    return conn.execute("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'").fetchone() is not None


def _pieces(text: str) -> list[tuple[str, str, int]]:
    pieces, at = [], 0
    for mark in PARTITION.finditer(text):
        pieces.append((text[at : mark.start()], mark[1], int(mark[2])))
        at = mark.end()
    return [*pieces, (text[at:], "", 0)]


def _partition(conn: psycopg.Connection[Any], table: str, days: int, now_us: int, timescale: bool) -> None:
    if timescale:
        conn.execute(
            "SELECT create_hypertable(%s::regclass, 'pos', chunk_time_interval => %s::bigint, create_default_indexes => false)",
            [table, days * DAY_US],
        )
        return
    plain, name = sql.Identifier(table), sql.Identifier(f"{table}_plain")
    conn.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(plain, name))
    conn.execute(sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING ALL) PARTITION BY RANGE (pos)").format(plain, name))
    conn.execute(sql.SQL("DROP TABLE {}").format(name))
    conn.execute(
        "INSERT INTO native_partition (name, days) VALUES (%s, %s)",
        [table, days],
    )
    ensure_partitions(conn, now_us)


def ensure_partitions(conn: psycopg.Connection[Any], now_us: int) -> None:
    """Create the native partitions around now; nothing to do on TimescaleDB. Safe to repeat and to race.

    Each in a transaction of its own: a new partition locks its table, and whoever holds two locks can meet T1 halfway.
    """
    for table, days in conn.execute("SELECT name, days FROM native_partition").fetchall():
        width = days * DAY_US
        first = now_us // width - 1
        for n in range(first, first + AHEAD + 2):
            name = f"{table}_{n * days}"
            with conn.transaction():
                conn.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])
                row = conn.execute("SELECT to_regclass(%s)", [name]).fetchone()
                if row and row[0] is None:
                    conn.execute(
                        sql.SQL("CREATE TABLE {} PARTITION OF {} FOR VALUES FROM ({}) TO ({})").format(
                            sql.Identifier(name), sql.Identifier(table), n * width, (n + 1) * width
                        )
                    )
