"""An installer's work: claiming devices by the number on them, swapping sensors and gateways, walking through a site.

One decision: what a person may do is settled here from the sites they hold, and only then is it written with sight of the whole
register, because a new gateway belongs to nobody's part until its first device is mounted.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row
from psycopg.types.json import Jsonb

from api import audit
from api.accounts import Principal
from api.errors import BadRequest, NotFound
from api.registering import blocking
from api.scope import Pool, within
from gateway.events import Kind
from ingest import register, swap
from ingest.store.queries import Queries

Connection = AsyncConnection[Any]
SQL = Queries("api", "installing.sql")
_WORD = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{3,63}")
CLASS_OF = {
    "z2m": "zigbee_contact",
    "face": "face_terminal",
    "ha03": "nbiot_contact",
    "milesight": "network_counter",
    "hikcount": "network_counter",
    "hikaccess": "access_terminal",
    "zk": "access_terminal",
    "dahua": "access_terminal",
}
"""The usual class of a family's devices; those on LoRaWAN are told apart by what they have said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """An unknown device that a gateway hears. kinds: bit per kind of event."""

    gateway: str
    identity: str
    kinds: int
    last_us: int
    events: int

    @property
    def likely_class(self) -> str:
        """The class that it probably is, "" where nothing tells."""
        family = self.identity.partition("/")[0]
        if family == "lora":
            return "lora_contact" if self.kinds >> Kind.CONTACT & 1 else "lora_counter"
        return CLASS_OF.get(family, "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Walked:
    """A device of a walk test, as it stands."""

    device: int
    started_us: int
    ended_us: int | None
    seen: dict[str, int]
    author: str
    identity: str
    class_: str
    name: str
    place: str | None
    place_en: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """Something a device saw. kind: of the event; a: as the event has it, of a passage its result."""

    device: int
    t_us: int
    kind: int
    a: int
    d_in: int
    d_out: int


@dataclass(slots=True, kw_only=True)
class Walk:
    """The newest walk test of a site. sightings: newest first, while it runs."""

    rows: list[Walked]
    sightings: list[Sighting] = field(default_factory=list)

    @property
    def running(self) -> bool:
        """Tell whether somebody is walking."""
        return any(r.ended_us is None for r in self.rows)


def numbers(text: str) -> list[str]:
    """Return what may be a device's number in what was typed or read from a QR code, in lower case, the longest first.

    Codes hold a number alone, "SN:…;DevEUI:…", "LW:D0:<JoinEUI>:<DevEUI>:…" (LoRa Alliance TR005), or a URL with it.
    """
    found = {text.strip().lower()} | {word.lower() for word in _WORD.findall(text)}
    return sorted((f for f in found if f), key=lambda f: (-len(f), f))[:20]


async def find(pool: Pool, who: Principal, text: str) -> list[Waiting]:
    """Return the unknown devices that a number may mean, where the reader may claim them."""
    async with within(pool) as conn:
        return await _claimable(conn, who, numbers(text))


async def _claimable(conn: Connection, who: Principal, wanted: list[str]) -> list[Waiting]:
    async with conn.cursor(row_factory=class_row(Waiting)) as cursor:
        await cursor.execute(SQL["claimable"], {"numbers": wanted, "sites": who.sites})
        return await cursor.fetchall()


async def waiting(conn: Connection, who: Principal) -> list[Waiting]:
    """Return the unknown devices near the reader's sites, the latest first."""
    async with conn.cursor(row_factory=class_row(Waiting)) as cursor:
        await cursor.execute(SQL["waiting"], {"sites": who.sites})
        return await cursor.fetchall()


async def claim(
    pool: Pool, who: Principal, gateway: str, identity: str, device_class: str, place: str, assessment: str, now_us: int
) -> None:
    """Mount an unknown device at a place ("<site>/<place>"). Raises NotFound, RegisterError."""
    async with within(pool) as conn:
        await _may_mount(conn, who, place)
        await _may_claim(conn, who, gateway, identity)
        await _blocking(
            conn,
            lambda same: register.claim(same, gateway, identity, device_class, place, now_us, assessment=assessment),
        )
        detail = {"gateway": gateway, "identity": identity, "class": device_class, "place": place}
        await audit.write(conn, who, action="device.claimed", subject=f"site/{place.partition('/')[0]}", detail=detail)


async def swap_device(
    pool: Pool, who: Principal, gateway: str, old: str, new: str, now_us: int, *, new_gateway: str = "", device_class: str = ""
) -> str:
    """Mount an unknown device in place of one of the reader's. Returns the place. Raises NotFound, RegisterError."""
    async with within(pool) as conn:
        await _may_claim(conn, who, new_gateway or gateway, new)

        def work(same: psycopg.Connection[Any]) -> str:
            return swap.swap_device(same, gateway, old, new, now_us, new_gateway=new_gateway, device_class=device_class)

        place = str(await _blocking(conn, work))
        await _may_mount(conn, who, place)  # before COMMIT
        detail = {"gateway": gateway, "old": old, "new": new, "new_gateway": new_gateway or gateway, "place": place}
        await audit.write(conn, who, action="device.swapped", subject=f"site/{place.partition('/')[0]}", detail=detail)
    return place


async def swap_gateway(pool: Pool, who: Principal, old: str, new: str) -> int:
    """Give all devices of a gateway to another one that serves nobody else. Returns how many. Raises NotFound, RegisterError."""
    async with within(pool) as conn, conn.cursor(row_factory=dict_row) as cursor:
        found = []
        for code in (old, new):
            await cursor.execute(SQL["foreign_devices"], {"gateway": code, "sites": who.sites})
            found.append(await cursor.fetchone())
        if any(row is None or row["foreign_ones"] for row in found) or not found[0] or not found[0]["devices"]:
            raise NotFound("there are no such two gateways, or they serve sites that are not yours")
        moved: int = await _blocking(conn, lambda same: swap.swap_gateway(same, old, new))
        await audit.write(conn, who, action="gateway.swapped", subject=f"gateway/{old}", detail={"new": new, "devices": moved})
    return moved


async def _may_mount(conn: Connection, who: Principal, place: str) -> None:
    site = place.partition("/")[0]
    row = await (await conn.execute("SELECT id FROM site WHERE code = %s", [site])).fetchone()
    if row is None or (who.sites is not None and row[0] not in who.sites):
        raise NotFound(f"there is no site {site!r}")


async def _may_claim(conn: Connection, who: Principal, gateway: str, identity: str) -> None:
    near = await _claimable(conn, who, [identity.partition("/")[2].lower()])
    if not any((w.gateway, w.identity) == (gateway, identity) for w in near):
        raise NotFound(f"gateway {gateway!r} hears no unknown device {identity!r}")


async def _blocking(conn: Connection, work: Callable[[psycopg.Connection[Any]], Any]) -> Any:
    def run() -> Any:
        with blocking(conn) as same:
            return work(same)

    return await asyncio.to_thread(run)


# ---------------------------------------------------------------------- walking
async def start_walk(conn: Connection, who: Principal, site: int, code: str, now_us: int) -> None:
    """Begin a walk test of the site, unless one is running. Raises BadRequest where nothing is mounted there."""
    begun = await conn.execute(SQL["start_walk"], {"site": site, "now_us": now_us, "author": who.name})
    if begun.rowcount:
        await audit.write(conn, who, action="walk_test.started", subject=f"site/{code}")
    elif not (await walk(conn, site)).running:
        raise BadRequest("no device is mounted at this site: claim one first")


async def end_walk(conn: Connection, who: Principal, site: int, code: str, now_us: int) -> None:
    """Keep what each device has seen, with who says so. Raises NotFound where nobody is walking."""
    found = await walk(conn, site)
    if not found.running:
        raise NotFound("no walk test is running at this site")
    for row in found.rows:
        seen = Jsonb(tally(found.sightings, row.device))
        values = {"site": site, "device": row.device, "now_us": now_us, "author": who.name, "seen": seen}
        await conn.execute(SQL["end_walk"], values)
    detail = {"seen": sum(bool(tally(found.sightings, r.device)) for r in found.rows), "devices": len(found.rows)}
    await audit.write(conn, who, action="walk_test.ended", subject=f"site/{code}", detail=detail)


async def walk(conn: Connection, site: int) -> Walk:
    """Return the site's newest walk test; without rows where there never was one."""
    async with conn.cursor(row_factory=class_row(Walked)) as cursor:
        await cursor.execute(SQL["walk"], {"site": site})
        found = Walk(rows=await cursor.fetchall())
    if found.running:
        devices, since = [r.device for r in found.rows], found.rows[0].started_us
        async with conn.cursor(row_factory=class_row(Sighting)) as cursor:
            await cursor.execute(SQL["walk_events"], {"devices": devices, "since_us": since})
            found.sightings = await cursor.fetchall()
    return found


def tally(sightings: list[Sighting], device: int) -> dict[str, int]:
    """Return what one device has seen: openings, closings, in, out, passages; only what is not nothing."""
    mine = [s for s in sightings if s.device == device]
    contacts = [s for s in mine if s.kind == Kind.CONTACT]
    counts = {
        "openings": sum(s.a == 1 for s in contacts),
        "closings": sum(s.a == 0 for s in contacts),
        "in": sum(s.d_in for s in mine),
        "out": sum(s.d_out for s in mine),
        "passages": sum(s.kind == Kind.PASSAGE for s in mine),
    }
    return {name: n for name, n in counts.items() if n}
