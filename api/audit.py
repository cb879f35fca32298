"""The log of what people changed, and its proof.

    row n: hash n = sha-256(hash n-1 · id · time · account · who · area · action · subject · detail)

One decision: a row is written by a function of the database in the transaction of the change itself, under a lock on the chain's
head, so that there is no change without its row, and the application needs no right to alter or delete any.
"""

import hashlib
from dataclasses import dataclass
from typing import Any

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import class_row

from api.accounts import Principal
from gateway.clock import now_us
from ingest.store.queries import Queries

Connection = AsyncConnection[Any]
SQL = Queries("api", "audit.sql")
FAULTS = 20
"""Most faults that are told; the first is where to look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One change. account: None for the command line. area: region code it concerns, "" the whole. detail: JSON."""

    id: int
    at_us: int
    account: int | None
    who: str
    area: str
    action: str
    subject: str
    detail: str
    hash: bytes


async def write(
    conn: Connection, who: Principal | None, *, action: str, subject: str, detail: dict[str, Any] | None = None
) -> int:
    """Note what `who` did, in the caller's transaction, and return the row's number. who: None for the command line.

    action: "site.closed". subject: "site/east", with the code of a site. detail: JSON values, no names of residents.
    """
    name, area = ("command line", "") if who is None else (who.name, who.area or "")
    account = None if who is None else who.account
    return await _append(conn, account, name, area, action=action, subject=subject, detail=detail or {})


async def knocked(conn: Connection, account: int | None, name: str, action: str, detail: dict[str, Any]) -> int:
    """Note that someone signed in or tried to. name: of the account, "" of none that there is: nobody's typing is kept."""
    return await _append(conn, account, name or "?", "", action=action, subject=f"account/{name or '?'}", detail=detail)


async def _append(
    conn: Connection, account: int | None, who: str, area: str, *, action: str, subject: str, detail: dict[str, Any]
) -> int:
    values = {"at_us": now_us(), "account": account, "who": who, "area": area, "action": action, "subject": subject}
    values["detail"] = msgspec.json.encode(detail, order="deterministic").decode()
    row = await (await conn.execute(SQL["append"], values)).fetchone()
    assert row is not None
    return int(row[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """What a check of the chain found. head: "number:hash" to note somewhere else. faults: in words, at most `FAULTS`."""

    rows: int
    head: str
    faults: list[str]


async def verify(conn: Connection, noted: str = "") -> Checked:
    """Compute the chain anew from its first row on, and compare it with what is stored, and with a head noted earlier."""
    faults: list[str] = []
    before, expected, stored = b"", 1, b""
    noted_number, _, noted_hash = noted.partition(":")
    async with conn.transaction(), conn.cursor("audit_rows", row_factory=class_row(Row)) as cursor:
        await cursor.execute(SQL["rows"])
        async for row in cursor:
            if row.id != expected:
                faults.append(f"rows {expected} to {row.id - 1} are missing")
            elif row.hash != hashed(before, row):
                faults.append(
                    f"row {row.id} ({row.at_us}, {row.who}, {row.action} {row.subject}) was altered, or put in afterwards"
                )
            if noted_number == str(row.id) and row.hash.hex() != noted_hash:
                faults.append(f"row {row.id} has another hash than was noted: the log was written anew")
            before, expected, stored = row.hash, row.id + 1, row.hash
    number, end = await head(conn)
    if number >= expected:
        faults.append(f"rows {expected} to {number} are missing at the end")
    elif (number, end) != (expected - 1, stored.hex()):
        faults.append(f"the head says row {number}, but the log ends with another row {expected - 1}")
    if noted_number.isdecimal() and int(noted_number) >= expected:
        faults.append(f"row {noted_number}, which was noted, is missing: the log was cut off at its end")
    return Checked(rows=expected - 1, head=f"{expected - 1}:{stored.hex()}", faults=faults[:FAULTS])


async def head(conn: Connection) -> tuple[int, str]:
    """Return the number and the hash (hex) of the last row: what to note somewhere else."""
    row = await (await conn.execute(SQL["head"])).fetchone()
    assert row is not None
    return int(row[0]), bytes(row[1]).hex()


def hashed(before: bytes, row: Row) -> bytes:
    """Return the hash of a row after the hash before it, as the database's audit_hash computes it."""
    account = "" if row.account is None else str(row.account)
    fields = (str(row.id), str(row.at_us), account, row.who, row.area, row.action, row.subject, row.detail)
    return hashlib.sha256(before + ",".join(f"{len(f.encode())}:{f}" for f in fields).encode()).digest()


async def rows(conn: Connection, who: Principal, *, below: int | None = None, subject: str = "", limit: int = 50) -> list[Row]:
    """Return what concerns the reader's part of the regions, newest first, below a number. subject: its beginning."""
    values = {"area": who.area, "sites": who.sites, "below": below, "subject": subject, "limit": limit}
    async with conn.cursor(row_factory=class_row(Row)) as cursor:
        await cursor.execute(SQL["page"], values)
        return await cursor.fetchall()
