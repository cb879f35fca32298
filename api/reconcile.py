"""Compares what we say was delivered with what the receiver says it has, by webhook-id.

One decision: three lists and two counts, nothing is repaired here: what is missing there is sent again as a dead letter would
be, by a person who has seen the list.
"""

import csv
import io
import json
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import tuple_row

from api.errors import BadRequest
from ingest.store.queries import Queries

SQL = Queries("api", "delivery.sql")
NAMES = ("webhook_id", "webhook-id", "webhookId", "id")
"""Under what a receiver may name it, the first that is there."""
Connection = AsyncConnection[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """both: how many are delivered here and known there. missing_there: delivered, says we; the receiver does not have it.
    unconfirmed_here: the receiver has it, and we have no answer that says so. unknown_here: never ours, or of another span."""

    both: int
    missing_there: list[str]
    unconfirmed_here: list[str]
    unknown_here: list[str]


def read(text: str) -> set[str]:
    """Return the webhook-ids of a receiver's list: JSON (strings or objects), JSON lines, CSV with a header, or one id a line.

    An object whose "verified" is false was refused by the receiver and does not count. Raises BadRequest.
    """
    text = text.strip().removeprefix("\ufeff")
    if text[:1] in ("[", "{"):
        try:
            found: Any = json.loads(text)
        except ValueError:
            found = [_line(line) for line in text.splitlines() if line.strip()]
        items = found if isinstance(found, list) else found.get("webhook_ids", found.get("items", [found]))
        return {name for item in items if (name := _name(item))}
    rows = list(csv.reader(io.StringIO(text)))
    if rows and (column := next((rows[0].index(n) for n in NAMES if n in rows[0]), None)) is not None:
        return {row[column] for row in rows[1:] if len(row) > column and row[column]}
    return {row[0].strip() for row in rows if row and row[0].strip()}


async def reconcile(conn: Connection, endpoint: int, theirs: set[str], from_us: int, to_us: int) -> Report:
    """Compare with the rows of an endpoint that were delivered, or given up, in [from_us, to_us), and those still waiting."""
    cursor = conn.cursor(row_factory=tuple_row)
    await cursor.execute(
        SQL["delivered_between"], {"endpoint": endpoint, "from_us": from_us, "to_us": to_us, "ids": sorted(theirs)}
    )
    ours: dict[str, bool] = {}
    here: set[str] = set()
    for webhook_id, delivered, in_span in await cursor.fetchall():
        here.add(webhook_id)
        if delivered and in_span:
            ours[webhook_id] = True
        elif not delivered and webhook_id in theirs:
            ours[webhook_id] = False
    return Report(
        both=sum(delivered and name in theirs for name, delivered in ours.items()),
        missing_there=sorted(name for name, delivered in ours.items() if delivered and name not in theirs),
        unconfirmed_here=sorted(name for name, delivered in ours.items() if not delivered),
        unknown_here=sorted(theirs - here),
    )


def _line(line: str) -> Any:
    try:
        return json.loads(line)
    except ValueError:
        raise BadRequest(f"the receiver's list is neither JSON nor JSON lines; this line is none: {line[:80]!r}") from None


def _name(item: Any) -> str:
    if isinstance(item, str):
        return item
    if not isinstance(item, dict) or item.get("verified") is False:
        return ""
    return next((str(item[name]) for name in NAMES if item.get(name)), "")
