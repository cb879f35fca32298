"""Editing the register from the console: a row by a form, or a workbook.

One decision: both are rows for `ingest.register.load`, checked and written in the request's own transaction, so that a form, a
workbook and the command line refuse the same things in the same words, and the reader's scope holds for all of them.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from analytics.rules import compile_rules
from api import audit
from api.accounts import Principal
from gateway.clock import MINUTE_US, SECOND_US
from ingest import register
from ingest.classes import CLASSES
from ingest.declaration import RegisterError, RowError
from ingest.register import Counts
from ingest.store.queries import Queries

Connection = AsyncConnection[Any]
Raw = dict[str, list[dict[str, Any]]]
SQL = Queries("api", "register.sql")
EDITED = ("regions", "sites", "places", "devices")
"""Tables that the console edits; gateways bring secrets and persons bring consent, which have their own places."""
OURS = "something of your own part; an administrator may change the rest"


async def rows(conn: Connection, who: Principal, table: str, code: str | None = None) -> list[DictRow]:
    """Return the rows of a table that are the reader's, as `put` takes them. code: only those of one site."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SQL[table], {"sites": who.sites, "code": code})
        return await cursor.fetchall()


async def put(conn: Connection, who: Principal, raw: Raw, now_us: int, *, dry_run: bool = False) -> dict[str, Counts]:
    """Check all rows, write what differs, and note it in the audit log. conn: in the request's transaction.

    Raises RegisterError with every fault; nothing is written then, nor in a dry run.
    """
    if errors := await _foreign(conn, who, raw):
        raise RegisterError(errors)
    try:
        counts = await asyncio.to_thread(_load, conn, raw, now_us, dry_run)
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.NotNullViolation) as error:
        raise RegisterError([RowError(table="file", row=1, field="key", came="a key that is taken", expected=OURS)]) from error
    changed = {table: [c.created, c.changed] for table, c in counts.items() if c.created or c.changed}
    if changed and not dry_run:
        subject = "register"
        only = {str(row.get("code")) for row in raw.get("sites", [])} | {_site_of(t, r) for t in raw for r in raw[t]} - {""}
        if len(only) == 1:
            subject = f"site/{only.pop()}"
        detail: dict[str, Any] = {"written": changed}
        if sum(map(len, raw.values())) == 1:
            detail["row"] = next(row for found in raw.values() for row in found)
        await audit.write(conn, who, action="register.changed", subject=subject, detail=detail)
    return counts


def _load(conn: Connection, raw: Raw, now_us: int, dry_run: bool) -> dict[str, Counts]:
    with blocking(conn) as same:
        return register.load(same, raw, now_us, dry_run=dry_run)


@contextmanager
def blocking(conn: Connection) -> Iterator[psycopg.Connection[Any]]:
    """Lend the session and transaction of `conn` to code that blocks. In a thread; nobody may use `conn` meanwhile."""
    same: psycopg.Connection[Any] = psycopg.Connection(conn.pgconn)
    same._pool = None  # noqa: SLF001 - as of connections of a pool: whoever drops it need not close it
    same.prepare_threshold = None  # names of prepared statements are the session's, and `conn` gives them
    yield same


def warnings(device: DictRow, site: DictRow) -> list[tuple[str, int, int]]:
    """Return (rule, its limit, the sensor's permitted silence in microseconds) where the rule must wait for the sensor.

    Proven quiet needs a sign of life after it: where a sensor may be silent for longer than a rule's limit, it tells late.
    """
    if device["class"] not in CLASSES or CLASSES[device["class"]].family == "desk":
        return []
    own = device["alive_every_s"]
    silence = CLASSES[device["class"]].alive_every_us if own is None else int(own) * SECOND_US
    rules = compile_rules(site["rules"])
    always = not any(site["hours"].values())
    limits = {
        "not_opened": rules.not_opened.before_min + rules.not_opened.grace_min,
        "no_activity": rules.no_activity.most_always_min if always else rules.no_activity.most_min,
    }
    return [(rule, round(m * MINUTE_US), silence) for rule, m in limits.items() if silence > m * MINUTE_US]


async def _foreign(conn: Connection, who: Principal, raw: Raw) -> list[RowError]:
    """Return what is not the reader's to change; those who may change everything are not asked."""
    if who.sites is None:
        return []
    own = {row["code"] for row in await rows(conn, who, "sites")}
    gateways = {row["code"] for row in await rows(conn, who, "gateways_of")}
    mounted = {(row["gateway"], row["identity"]) for row in await rows(conn, who, "devices")}
    made = {str(r.get("code")) for r in raw.get("sites", []) if who.area and str(r.get("region")).startswith(who.area)}
    found = []
    for table, listed in raw.items():
        for number, row in enumerate(listed, 1):
            fine = table in ("sites", "places", "devices")
            if table == "sites":
                inside = not who.area or str(row.get("region")).startswith(who.area)
                fine = inside and str(row.get("code")) in own | made
            elif table == "places":
                fine = str(row.get("site")) in own | made
            elif table == "devices":
                place = str(row.get("place") or "").partition("/")[0]
                key = str(row.get("gateway")), str(row.get("identity"))
                fine = key in mounted or (place in own and key[0] in gateways)
                fine = fine and (not place or place in own | made)
            if not fine:
                came = str(row.get("code") or row.get("identity") or table)
                found.append(RowError(table=table, row=number, field="key", came=came, expected=OURS))
    return found


def _site_of(table: str, row: dict[str, Any]) -> str:
    if table == "places":
        return str(row.get("site"))
    return str(row.get("place") or "").partition("/")[0] if table == "devices" else ""
