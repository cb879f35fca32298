"""Puts data periods into the outbox: each once when it has ended, again as a new version when its figures have changed.

    roll-ups changed since the last look ─┐
    periods that have ended ──────────────┴─► figures ─► digest as told? ─ no ─► next version ─► outbox ─► sender
    span asked for (backfill) ────────────┘

One decision: what changed is found by the transaction that changed it, below the oldest undecided one, so that no late commit
is passed over; and whether to tell is decided by comparing figures, so that looking twice sends nothing twice.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NoReturn

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from api import endpoints, figures, periods
from api.errors import BadRequest
from api.figures import SQL
from api.periods import GRACE_US, Period
from gateway.clock import DAY_US, MINUTE_US, now_us

LOOK_S = 60.0
RESTART_S = 1.0
STEP_US = DAY_US
"""Most that one look makes of periods that have ended: who subscribes from last year on is served day by day."""
HORIZON_US = 9 * DAY_US
"""Sensors' blindness is looked at again for so long; a device's own time is believed for seven days."""
AGAIN_US = 10 * MINUTE_US

Connection = AsyncConnection[Any]
log = logging.getLogger(__name__)


async def run(database_url: str, *, clock: Callable[[], int] = now_us) -> NoReturn:
    """Look every minute, until cancelled; a lost database is awaited."""
    while True:
        try:
            async with await AsyncConnection.connect(database_url, autocommit=True) as conn:
                while True:
                    while await look(conn, clock()):
                        pass
                    await asyncio.sleep(LOOK_S)
        except psycopg.OperationalError as lost:
            log.warning("the database is away, data periods go on when it is back: %s", lost)
        await asyncio.sleep(RESTART_S)


async def look(conn: Connection, now_us: int) -> bool:
    """Make what has ended and correct what has changed, in one transaction. Returns whether there is more to make at once."""
    async with conn.transaction():
        if not (await _one(conn, "lock"))["mine"]:
            return False
        subscriptions = {s["id"]: s for s in await _all(conn, "subscriptions", name=None)}
        edge = await _one(conn, "edge")
        sites = {s["id"]: s for s in await _all(conn, "sites")} if subscriptions else {}
        looking = {"horizon_us": HORIZON_US, "again_us": AGAIN_US, "now_us": now_us}
        changed: dict[tuple[int, Period], list[DictRow]] = defaultdict(list)
        for row in await _all(conn, "changed", **edge, **looking):
            if row["subscription"] in subscriptions:
                span = Period(from_us=row["from_us"], to_us=row["to_us"])
                changed[row["subscription"], span].append(sites[row["site"]])
        for (number, span), concerned in sorted(changed.items(), key=lambda item: item[0][1].from_us):
            await make(conn, subscriptions[number], span, concerned, now_us)
        more: list[bool] = [await _make_ended(conn, s, sites.values(), now_us) for s in subscriptions.values()]
        await conn.execute(SQL["advance"], {"edge": edge["edge"]})
    return any(more)


async def _make_ended(conn: Connection, subscription: DictRow, sites: Iterable[DictRow], now_us: int) -> bool:
    after_us, through_us = subscription["through_us"], now_us - GRACE_US
    until_us = min(through_us, after_us + STEP_US)
    if until_us <= after_us:
        return False
    for zone, here in by_zone(sites).items():
        for span in periods.ended(subscription["period"], zone, after_us, until_us):
            if span.from_us >= subscription["from_us"]:
                await make(conn, subscription, span, here, now_us)
    await conn.execute(SQL["made_through"], {"id": subscription["id"], "through_us": until_us})
    return bool(until_us < through_us)


async def make(conn: Connection, subscription: DictRow, span: Period, sites: list[DictRow], now_us: int) -> int:
    """Put into the outbox what the receiver has not been told of these sites in a period. Returns how many bodies."""
    what, name = subscription["what"], subscription["id"]
    if what == "devices" and now_us - span.to_us > STEP_US:
        return 0  # how devices were then is not known any more
    values = {"subscription": name, "from_us": span.from_us, "sites": [s["id"] for s in sites]}
    told = {row["site"]: row for row in await _all(conn, "told", **values)}
    found, made = await figures.read(conn, what, sites, span, now_us), 0
    for site in sites:
        said, whole = found[site["id"]]
        mark, before = periods.digest(said), told.get(site["id"])
        if before and (before["digest"] == mark or what == "devices"):
            await conn.execute(SQL["looked"], {"id": before["id"], "now_us": now_us, "whole": whole})
            continue
        period = {"subscription": name, "site": site["id"], "from_us": span.from_us, "to_us": span.to_us}
        row = await _one(conn, "put_period", **period, digest=mark, whole=whole, now_us=now_us)
        number = {"period": row["id"], "version": row["version"], "now_us": now_us}
        await conn.execute(SQL["supersede"], number)
        body = periods.body(what, subscription["period"], site["zone"], span, row["version"], said, now_us)
        webhook_id = f"dat_{row['id']}_{row['version']}_{subscription['endpoint']}"
        await conn.execute(
            SQL["put_outbox"], number | {"endpoint": subscription["endpoint"], "webhook_id": webhook_id, "body": body}
        )
        made += 1
    if made:
        await conn.execute("SELECT pg_notify('smartcare', '')")
    return made


async def backfill(
    conn: Connection, name: str, from_us: int, to_us: int, now_us: int, progress: Callable[[int, int], None]
) -> int:
    """Make every period of an endpoint's subscriptions that lies in [from_us, to_us) and has ended. Returns how many bodies.

    Each period is a transaction of its own; what was told already and has not changed is not sent again. progress: is told
    (done, of how many). Raises BadRequest where the endpoint subscribes to nothing.
    """
    subscriptions = [s for s in await _all(conn, "subscriptions", name=name) if s["what"] != "devices"]
    if not subscriptions:
        raise BadRequest(f"{name!r} subscribes to no data of the past; add some with `smartcare endpoint subscribe`")
    zones = by_zone(await _all(conn, "sites"))
    to_us = min(to_us, now_us - GRACE_US)
    work = [
        (span, s, here)
        for s in subscriptions
        for zone, here in zones.items()
        for span in periods.within(s["period"], zone, from_us, to_us)
    ]
    made = 0
    for n, (span, subscription, here) in enumerate(sorted(work, key=lambda w: w[0].from_us), 1):
        async with conn.transaction():
            await conn.execute(SQL["wait_lock"])
            made += await make(conn, subscription, span, here, now_us)
        progress(n, len(work))
    return made


def subscribe(
    conn: psycopg.Connection[Any],
    name: str,
    what: str,
    period: str,
    *,
    from_us: int,
    mapping: str = "",
    fields: Sequence[str] | None = None,
) -> int:
    """Send an endpoint this data of every site from a time on; again: change its mapping and fields. Returns its number.

    Raises NotFound, BadRequest, BadMapping.
    """
    to = replace(endpoints.known(conn, name), mapping=mapping, fields=None if fields is None else tuple(fields))
    endpoints.check_data(to, what, period)
    values = {"endpoint": to.id, "what": what, "period": period, "mapping": mapping, "from_us": from_us}
    row = conn.execute(SQL["subscribe"], values | {"fields": None if fields is None else list(fields)}).fetchone()
    assert row is not None
    return int(row[0])


def unsubscribe(conn: psycopg.Connection[Any], name: str, what: str, period: str | None) -> int:
    """Send an endpoint no more of this data; what waits is dropped. Returns how many subscriptions. Raises NotFound."""
    values = {"endpoint": endpoints.known(conn, name).id, "what": what, "period": period}
    return len(conn.execute(SQL["unsubscribe"], values).fetchall())


def by_zone(sites: Iterable[DictRow]) -> dict[str, list[DictRow]]:
    """Return sites by their zone."""
    found: dict[str, list[DictRow]] = defaultdict(list)
    for site in sites:
        found[site["zone"]].append(site)
    return found


async def _all(conn: Connection, query: str, **values: object) -> list[DictRow]:
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SQL[query], values)
        return await cursor.fetchall()


async def _one(conn: Connection, query: str, **values: object) -> DictRow:
    (row,) = await _all(conn, query, **values)
    return row
