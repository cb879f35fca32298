"""The disclosure record: which fields left, to whom, when. Kept three years; no person's data and no values.

One decision: it is written before the bytes leave, so that nothing can have left without a record; an attempt that then fails
leaves a record of what may have been read.
"""

from collections.abc import Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

import psycopg
from psycopg.types.json import Jsonb

from api import mapping, robots
from api.endpoints import Endpoint, compose_event, paths
from gateway.clock import DAY_US
from ingest.store.queries import Queries

SQL = Queries("api", "delivery.sql")
KEPT_US = 3 * 366 * DAY_US
PURGED_AT_ONCE = 10_000


class Delivered(Protocol):
    """What a row of the outbox says of itself."""

    @property
    def webhook_id(self) -> str: ...
    @property
    def body(self) -> bytes: ...
    @property
    def alert(self) -> int | None: ...
    @property
    def period(self) -> int | None: ...
    @property
    def version(self) -> int: ...


async def record(conn: psycopg.AsyncConnection[Any], rows: Sequence[Delivered], to: Endpoint, size: int, now_us: int) -> None:
    """Write down what is about to leave in one call."""
    if not rows:
        return
    said = [
        {
            "about": f"alert {row.alert}" if row.period is None else f"data period {row.period}",
            "version": row.version,
            "webhook_id": row.webhook_id,
            "fields": sorted(fields(to, row.body)),
        }
        for row in rows
    ]
    receiver = urlsplit(to.url).netloc.rpartition("@")[2]
    values = {"at_us": now_us, "endpoint": to.name, "receiver": receiver, "rows": Jsonb(said), "bytes": size}
    await conn.execute(SQL["disclose"], values)


def fields(to: Endpoint, body: bytes) -> set[str]:
    """Return the fields of a canonical body that an endpoint is told: exactly where they can be told, else all it may read."""
    kept = paths(compose_event(to, body)["data"])
    if to.kind in robots.ROBOTS or to.kind == "email":
        return kept & robots.SAID
    read = mapping.reads(mapping.parse(to.mapping)) if to.mapping else None
    if read is None:
        return kept
    if to.kind == "sms":
        return kept & (read | robots.SAID)
    return kept & read


async def purge(conn: psycopg.AsyncConnection[Any], now_us: int) -> int:
    """Delete records older than three years, in steps that hold no lock for long. Returns how many; conn: in autocommit."""
    gone = 0
    while True:
        found = await conn.execute(SQL["purge_disclosures"], {"before_us": now_us - KEPT_US, "limit": PURGED_AT_ONCE})
        gone += found.rowcount
        if found.rowcount < PURGED_AT_ONCE:
            return gone
