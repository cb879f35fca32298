"""Dead letters, looked at and sent again by an administrator.

One decision: sending again starts from the alert's stored snapshot under the same webhook-id, mapped as the endpoint is
configured now, for a mapping put right is the usual reason; where nothing was changed, the same bytes go once more.
"""

import logging
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, tuple_row

from api.accounts import Principal
from api.errors import NotFound
from ingest.store.queries import Queries

Connection = AsyncConnection[Any]
SQL = Queries("api", "delivery.sql")
READING = Queries("api")
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadRow:
    """A push that was given up, about an alert or a data period. enabled: its endpoint has not asked for no more."""

    id: int
    alert: int | None
    period: int | None
    version: int
    endpoint: str
    enabled: bool
    attempts: int
    last_status: int | None
    last_error: str
    done_us: int | None


async def listed(conn: Connection, *, below: int | None = None, limit: int = 200) -> list[DeadRow]:
    """Return the pushes that were given up, newest first, those below a cursor."""
    async with conn.cursor(row_factory=class_row(DeadRow)) as cursor:
        await cursor.execute(READING["dead_letters"], {"below": below, "limit": limit})
        return await cursor.fetchall()


async def send_again(conn: Connection, who: Principal, number: int, now_us: int) -> str:
    """Put a dead letter back and turn its endpoint on; return its state: "pending", or "superseded" by a newer version.

    Raises NotFound where there is no such dead letter, or for anyone who is no administrator.
    """
    row = None
    if who.role == "city" and 0 < number < 2**63:
        cursor = conn.cursor(row_factory=tuple_row)
        await cursor.execute(SQL["send_again"], {"id": number, "now_us": now_us})
        row = await cursor.fetchone()
    if row is None:
        raise NotFound(f"there is no dead letter {number}")
    log.info("%s sends dead letter %d again: %s", who.name, number, row[0])
    return str(row[0])
