"""The log of what people changed, and its proof.

    row n: hash n = sha-256(hash n-1 · id · time · account · who · area · action · subject · detail)

One decision: a row is written by a function of the database in the transaction of the change itself, under a lock on the chain's
head, so that there is no change without its row, and the application needs no right to alter or delete any.
"""

from typing import Any

import msgspec
from psycopg import AsyncConnection

from api.accounts import Principal
from gateway.clock import now_us
from ingest.store.queries import Queries

Connection = AsyncConnection[Any]
SQL = Queries("api", "audit.sql")


async def write(
    conn: Connection, who: Principal | None, *, action: str, subject: str, detail: dict[str, Any] | None = None
) -> int:
    """Note what `who` did, in the caller's transaction, and return the row's number. who: None for the command line.

    action: "site.closed". subject: "site/east", with the code of a site. detail: JSON values, no names of residents.
    """
    values = {
        "at_us": now_us(),
        "account": None if who is None else who.account,
        "who": "command line" if who is None else who.name,
        "area": "",
        "action": action,
        "subject": subject,
        "detail": msgspec.json.encode(detail or {}, order="deterministic").decode(),
    }
    row = await (await conn.execute(SQL["append"], values)).fetchone()
    assert row is not None
    return int(row[0])
