"""The alerts' history narrowed down, and how devices stand: what the register, the log and open alerts say of each.

One decision: a device is called offline only where its gateway was there to hear it, as the data for platforms has it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row

from api.figures import GATEWAY_SILENT_US
from api.reading import AlertRow, DeviceRow, Sites
from gateway.clock import SECOND_US
from ingest.classes import CLASSES
from ingest.store.queries import Queries

Connection = AsyncConnection[Any]
SQL = Queries("api", "history.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is looked for; None: anything. of: code of a site. [from_us, to_us): when the alert began."""

    states: Sequence[str] | None = None
    of: str | None = None
    rule: str | None = None
    severity: str | None = None
    from_us: int | None = None
    to_us: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How a device stands. state: "online", "offline" or "unknown". troubles: (alert, rule, severity) that are open."""

    state: str
    device_class: str
    troubles: list[tuple[int, str, str]]


async def alerts(conn: Connection, sites: Sites, wanted: Wanted, below: int | None, limit: int) -> list[AlertRow]:
    """Return alerts, newest first, with ids smaller than `below`."""
    states = list(wanted.states) if wanted.states else None
    values = {name: getattr(wanted, name) for name in Wanted.__slots__} | {"states": states}
    async with conn.cursor(row_factory=class_row(AlertRow)) as cursor:
        await cursor.execute(SQL["history"], values | {"sites": sites, "below": below, "limit": limit})
        return await cursor.fetchall()


async def health(conn: Connection, sites: Sites, devices: Sequence[DeviceRow], now_us: int) -> dict[int, Health]:
    """Return how each of these devices stands, by id."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SQL["device_troubles"], {"sites": sites})
        troubles: dict[int, list[tuple[int, str, str]]] = {}
        for row in await cursor.fetchall():
            troubles.setdefault(row["device"], []).append((row["alert"], row["rule"], row["severity"]))
        await cursor.execute(SQL["device_own_limits"])
        own = {row["id"]: row["alive_every_s"] * SECOND_US for row in await cursor.fetchall()}
    return {
        d.id: Health(state=_state(d, own.get(d.id), now_us), device_class=d.class_, troubles=troubles.get(d.id, []))
        for d in devices
    }


def _state(d: DeviceRow, own_us: int | None, now_us: int) -> str:
    known = CLASSES.get(d.class_)
    if known is not None and known.family == "desk":
        return "online"  # it lives as long as we do
    alive_us = own_us or (known.alive_every_us if known else 0)
    if d.last_us is not None and d.last_us > now_us - alive_us:
        return "online"
    heard = d.gateway_seen_us is not None and d.gateway_seen_us > now_us - GATEWAY_SILENT_US
    return "offline" if heard else "unknown"
