"""Connections that see no more than someone's part: the application's end of row-level security.

    within(part): BEGIN; role smartcare_api; app.whole, app.area, app.sites, app.persons ... COMMIT: all of it is over

One decision: what a transaction may see is said in its first statement and ends with it, so that the next borrower of a pooled
connection begins with nothing. See ingest/store/access.sql for what the database makes of it.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from api.accounts import WHOLE, Part

Pool = AsyncConnectionPool[AsyncConnection[Any]]
SCOPE = """SELECT set_config('role', 'smartcare_api', true), set_config('app.whole', %(whole)s, true),
    set_config('app.area', %(area)s, true), set_config('app.sites', %(sites)s, true),
    set_config('app.persons', %(persons)s, true)"""


def make_pool(database_url: str, size: int) -> Pool:
    """Return a pool that is not open yet; a connection that comes back forgets whatever was set on it."""
    return AsyncConnectionPool(
        database_url,
        min_size=1,
        max_size=size,
        num_workers=size,
        timeout=5,
        open=False,
        check=is_open,
        reset=forget,
    )


async def is_open(conn: AsyncConnection[Any]) -> None:
    """Raise OperationalError if the server has hung up; this asks nothing and waits for nothing."""
    for _ in range(2):  # its last words, then the end
        conn.pgconn.consume_input()


async def forget(conn: AsyncConnection[Any]) -> None:
    """Leave nothing of the last borrower in a session."""
    if conn.info.transaction_status is psycopg.pq.TransactionStatus.IDLE:
        await conn.set_autocommit(True)
        await conn.execute("RESET ROLE; RESET ALL")
        await conn.set_autocommit(False)


ALL = """SELECT set_config('role', 'smartcare_api', false), set_config('app.whole', 'on', false),
    set_config('app.persons', 'on', false)"""
"""First statement of a connection of the process's own that sees everything, as the live hub must."""


@asynccontextmanager
async def within(pool: Pool, part: Part = WHOLE, area: str | None = None) -> AsyncIterator[AsyncConnection[Any]]:
    """Lend a connection in one transaction that sees this part; it commits at the end, or rolls back with an error.

    area: also the sites that are added to it meanwhile.
    """
    async with pool.connection() as conn, conn.transaction():
        values = {
            "whole": "on" if part.sites is None else "off",
            "area": area or "",
            "sites": "{" + ",".join(map(str, part.sites or ())) + "}",
            "persons": "on" if part.persons else "off",
        }
        await conn.execute(SCOPE, values)
        yield conn
