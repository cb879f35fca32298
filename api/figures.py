"""What is said of sites in a period, read from roll-ups: counts, opening, 服务人次, device status.

One decision: each kind is one query for any number of sites, so that the turn of an hour costs a province a few queries.
How long sensors were seeing is said beside every figure, for nought and not seen are not the same.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from api.periods import WHOLE_US, Period, iso
from gateway.clock import MINUTE_US
from ingest.classes import CLASSES
from ingest.store.queries import Queries

SQL = Queries("api", "data.sql")
GATEWAY_SILENT_US = 5 * MINUTE_US
RULE = "once per person and service slot, staff and volunteers apart; whoever is not known counts at every passage"
"""The counting rule of 服务人次, said with the figures."""

Connection = AsyncConnection[Any]
Figures = dict[str, Any]


async def read(
    conn: Connection, what: str, sites: Sequence[DictRow], span: Period, now_us: int
) -> dict[int, tuple[Figures, bool]]:
    """Return by site what is said of it, and whether sensors saw all of the period. sites: rows of the query "sites"."""
    values = {"sites": [s["id"] for s in sites], "from_us": span.from_us, "to_us": span.to_us}
    rows: dict[int, list[DictRow]] = defaultdict(list)
    for row in await _all(conn, "counts" if what == "opening" else what, values):
        rows[row["site"]].append(row)
    length_us, found = span.to_us - span.from_us, {}
    seen_us = {row["site"]: row["seen_us"] for row in await _all(conn, "seen", values)}
    for site in sites:
        number = site["id"]
        seen = seen_us.get(number, 0)
        whole = what == "devices" or number not in seen_us or length_us - seen <= WHOLE_US
        head: Figures = {"site": {name: site[name] for name in ("code", "name", "region", "kind")}}
        if what != "devices":
            head |= {"minutes": length_us // MINUTE_US, "seen_minutes": round(seen / MINUTE_US)}
        seen_all = number in seen_us and length_us - seen <= WHOLE_US
        found[number] = head | _figures(what, rows[number], seen_all, min(span.to_us, now_us)), whole
    return found


def _figures(what: str, rows: Sequence[DictRow], seen_all: bool, at_us: int) -> Figures:
    if what == "devices":
        return {"devices": [_device(row, at_us) for row in rows]}
    if what == "service":
        return _service(rows)
    first_us = min((r["first_us"] for r in rows if r["first_us"]), default=None)
    last_us = max((r["last_us"] for r in rows if r["last_us"]), default=None)
    life = {"first": iso(first_us), "last": iso(last_us)}
    if what == "opening":
        opened = True if first_us else False if seen_all else None
        return {"opened": opened} | life | {"openings": sum(r["openings"] for r in rows)}
    places = [{"code": r["code"], "name": r["name"], "room": r["room"]} | _people(r) for r in rows]
    total = {name: sum(p[name] for p in places) for name in ("in", "out", "passages", "openings")}
    return total | life | {"places": places}


def _people(row: DictRow) -> Figures:
    return {"in": row["people_in"], "out": row["people_out"], "passages": row["passages"], "openings": row["openings"]}


def _service(rows: Sequence[DictRow]) -> Figures:
    names = ("served", "anonymous", "staff")
    slots = [{"begin": iso(r["slot_us"])} | {name: r[name] for name in names} for r in rows]
    return {name: sum(r[name] for r in rows) for name in names} | {"slots": slots, "rule": RULE}


def _device(row: DictRow, at_us: int) -> Figures:
    """Say of a device whether it is online. Offline is said only where its gateway was there to hear it."""
    alive_us = row["alive_every_us"] or CLASSES[row["class_"]].alive_every_us
    last_us = row["last_us"]
    if last_us is not None and last_us > at_us - alive_us:
        state = "online"
    else:
        heard = row["gateway_us"] is not None and row["gateway_us"] > at_us - GATEWAY_SILENT_US
        state = "offline" if heard else "unknown"
    return {
        "code": row["identity"],
        "gateway": row["gateway"],
        "name": row["name"],
        "class": row["class_"],
        "place": row["place"],
        "state": state,
        "last": iso(last_us),
    }


async def _all(conn: Connection, query: str, values: dict[str, Any]) -> list[DictRow]:
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SQL[query], values)
        return await cursor.fetchall()
