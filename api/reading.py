"""Reads what the page, the REST interface and the live stream show, never more than the reader's own part.

One decision: the reader's sites are a parameter of every query (None: all there are), so that what is foreign is not found
rather than forbidden, and no caller can forget to check. The database's row-level security stands behind it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec
from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row

from analytics.rules import GAP_US
from analytics.sight import Gap, View
from ingest.classes import CLASSES
from ingest.store.queries import Queries

Connection = AsyncConnection[Any]
Sites = list[int] | None
"""The sites that a reader may see; None: all there are."""
SQL = Queries("api")
DELIVERY = Queries("api", "delivery.sql")
T = TypeVar("T")
PENDING = 100
"""Most alerts the overview lists; the history has the rest."""
NAMED = 5
"""Most sites with trouble that are named; of more, how many."""
DOORS = 8
"""Most doors of a site whose day is shown."""
DOOR_ROWS = 5000
"""Most messages of a door that are looked at; of the time before them nothing is said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRow:
    """A site and its state. failing_since_us: its analyzer failed then and has not recovered."""

    id: int
    code: str
    name: str
    name_en: str
    kind: str
    zone: str
    capacity: int | None
    hours: dict[str, list[list[str]]]
    region_code: str
    region: str
    region_en: str
    shard: int
    state: str
    clock_us: int
    next_rule: str
    next_deadline_us: int | None
    today_in: int
    today_passages: int
    last_event_us: int | None
    detail: dict[str, Any]
    failing_since_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Troubled:
    """How many sites something is wrong with, the names of the first few, and since when (0: it is not said)."""

    sites: int
    names: list[tuple[str, str]]
    since_us: int
    zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestRow:
    """A site where something happened lately; `detail` is its status's."""

    id: int
    code: str
    name: str
    name_en: str
    zone: str
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRow:
    """An alert with the names of its site; a gateway's may have none."""

    id: int
    rule: str
    subject_kind: str
    subject: int
    site: int | None
    site_code: str | None
    site_name: str | None
    site_name_en: str | None
    region: str | None
    region_en: str | None
    zone: str
    state: str
    severity: str
    begin_us: int
    detected_us: int
    end_us: int | None
    late: bool
    reason: dict[str, Any]
    evidence: list[list[int]]
    version: int
    assignee: str
    outcome: str | None
    note: str
    count: int
    recurs: int | None
    calm_us: int | None
    reach: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeRow:
    """One change of an alert."""

    version: int
    at_us: int
    who: str
    what: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class FollowedRow:
    """One change of any alert, for a program that follows; (xid, id) is its place in the order."""

    xid: int
    id: int
    alert: int
    version: int
    at_us: int
    who: str
    what: str
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceRow:
    """A stored event that an alert rests on."""

    t_us: int
    kind: int
    a: int
    b: int
    d_in: int
    d_out: int
    place: str
    place_en: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRow:
    """A device, where it is mounted, and when it and its gateway were last heard."""

    id: int
    identity: str
    class_: str
    name: str
    gateway: str
    place: str | None
    place_en: str | None
    site_code: str | None
    site_name: str | None
    site_name_en: str | None
    zone: str
    suspended: bool
    gateway_seen_us: int | None
    last_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class UnclaimedRow:
    """An unknown device of a known gateway."""

    gateway: str
    identity: str
    first_us: int
    last_us: int
    events: int
    kinds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HourRow:
    """People of a site in one hour."""

    hour_us: int
    people_in: int
    passages: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorRow:
    """A door contact and where it was mounted. alive_every_us: only where the device differs from its class."""

    name: str
    name_en: str
    device: int
    identity: str
    class_: str
    gateway: int
    alive_every_us: int | None
    from_us: int
    to_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorMessageRow:
    """Something a door contact said. heard_us: when the device was heard before. rows_read: how many rows this rests on."""

    t_us: int
    contact: bool
    is_open: bool
    edge: bool
    heard_us: int | None
    rows_read: int


async def _all(conn: Connection, row: type[T], query: str, **values: object) -> list[T]:
    async with conn.cursor(row_factory=class_row(row)) as cursor:
        await cursor.execute(SQL[query], values)
        return await cursor.fetchall()


async def sites(
    conn: Connection,
    own: Sites,
    code: str | None = None,
    *,
    states: Sequence[str] | None = None,
    word: str | None = None,
    limit: int | None = None,
    offset: int = 0,
) -> list[SiteRow]:
    """Return the sites, gravest state first: the one of that code, those in some states, or with a word in their names."""
    chosen: dict[str, object] = {"code": code, "states": None if states is None else list(states), "word": word or None}
    return await _all(conn, SiteRow, "sites", sites=own, limit=limit, offset=offset, **chosen)


async def troubled(conn: Connection, own: Sites, behind_us: int, shards: Mapping[str, Sequence[int]]) -> dict[str, Troubled]:
    """Return which sites are "failing" (not analysed), "blind", "behind" (their clock: behind_us or earlier), and by each name in
    `shards`, those of these shards; what concerns none is left out."""
    values: dict[str, object] = {"sites": own, "behind_us": behind_us, "limit": NAMED, "shards": []}
    async with conn.cursor(row_factory=dict_row) as cursor:
        counts = await (await cursor.execute(SQL["troubles"], values)).fetchone()
        assert counts is not None
        kinds = [kind for kind in ("failing", "blind", "behind") if counts[kind]] + [kind for kind, of in shards.items() if of]
        found = {}
        for kind in kinds:
            chosen = values | {"kind": kind, "shards": list(shards.get(kind, ()))}
            rows = await (await cursor.execute(SQL["troubled"], chosen)).fetchall()
            if rows:
                names = [(r["name"], r["name_en"]) for r in rows]
                since = counts.get(f"{kind}_us") or 0
                found[kind] = Troubled(sites=rows[0]["sites"], names=names, since_us=since, zone=rows[0]["zone"])
    return found


async def site_states(conn: Connection, own: Sites) -> dict[str, int]:
    """Return how many sites are in each state."""
    return dict(await (await conn.execute(SQL["site_states"], {"sites": own})).fetchall())


async def latest(conn: Connection, sites: Sites, limit: int) -> list[LatestRow]:
    """Return the sites where something happened last, newest first: the newest `limit` events are among theirs."""
    return await _all(conn, LatestRow, "latest", sites=sites, limit=limit)


async def alerts(
    conn: Connection,
    sites: Sites,
    *,
    states: Sequence[str] | None = None,
    of: str | None = None,
    region: str = "",
    from_us: int | None = None,
    to_us: int | None = None,
    below: int | None = None,
    limit: int = 50,
) -> list[AlertRow]:
    """Return alerts, newest first. of: code of a site; region: head of region codes; both times bound when they began.

    below: only ids smaller than this.
    """
    chosen = list(states) if states else None
    wanted = {"of": of, "region": region, "from_us": from_us, "to_us": to_us, "states": chosen, "below": below}
    return await _all(conn, AlertRow, "alerts", sites=sites, id=None, limit=limit, **wanted)


async def alert(conn: Connection, sites: Sites, number: int) -> AlertRow | None:
    """Return one alert, or None when there is none or it belongs to another site."""
    if not 0 < number < 2**63:
        return None
    anything = dict.fromkeys(("of", "from_us", "to_us", "states", "below"))
    rows = await _all(conn, AlertRow, "alerts", sites=sites, id=number, limit=1, region="", **anything)
    return rows[0] if rows else None


async def pending(conn: Connection, sites: Sites) -> list[AlertRow]:
    """Return the alerts that wait for someone: untaken first, the gravest first, at most `PENDING`."""
    return await _all(conn, AlertRow, "pending", sites=sites, limit=PENDING)


async def pending_mark(conn: Connection, sites: Sites) -> str:
    """Return a text that is another when anything about the alerts that wait has changed."""
    row = await (await conn.execute(SQL["pending_mark"], {"sites": sites})).fetchone()
    assert row is not None
    return str(row[0])


async def changes(conn: Connection, number: int) -> list[ChangeRow]:
    """Return an alert's history, oldest first. The caller has checked that the reader may see the alert."""
    return await _all(conn, ChangeRow, "changes", alert=number)


async def follow(
    conn: Connection, sites: Sites, after: tuple[int, int], states: Sequence[str] | None, of: str | None, limit: int
) -> list[FollowedRow]:
    """Return decided changes after the cursor, oldest first: whoever continues at the last one misses no late commit."""
    chosen = list(states) if states else None
    values = {"xid": str(after[0]), "id": after[1], "sites": sites, "states": chosen, "of": of, "limit": limit}
    return await _all(conn, FollowedRow, "alert_changes_after", **values)


async def snapshot(conn: Connection) -> int:
    """Return the oldest transaction that is not decided yet."""
    row = await (await conn.execute(SQL["snapshot"])).fetchone()
    assert row is not None
    return int(row[0])


async def evidence(conn: Connection, found: AlertRow) -> list[EvidenceRow]:
    """Return the stored events an alert rests on, in time order."""
    body = msgspec.json.encode(found.evidence).decode()
    return await _all(conn, EvidenceRow, "evidence", evidence=body) if found.evidence else []


async def devices(conn: Connection, sites: Sites, code: str | None = None) -> list[DeviceRow]:
    """Return devices, those without a place first."""
    return await _all(conn, DeviceRow, "devices", sites=sites, code=code)


async def unclaimed(conn: Connection) -> list[UnclaimedRow]:
    """Return unknown devices, last heard first."""
    return await _all(conn, UnclaimedRow, "unclaimed")


async def footfall(conn: Connection, of: int, from_us: int, to_us: int) -> list[HourRow]:
    """Return a site's people by UTC hour in [from_us, to_us)."""
    return await _all(conn, HourRow, "footfall", of=of, from_us=from_us, to_us=to_us)


async def doors(conn: Connection, of: int, from_us: int, to_us: int) -> list[DoorRow]:
    """Return a site's door contacts between two times, at most `DOORS`."""
    classes = [c.name for c in CLASSES.values() if c.family == "door"]
    return await _all(conn, DoorRow, "doors", of=of, from_us=from_us, to_us=to_us, classes=classes, limit=DOORS)


async def door_messages(conn: Connection, door: DoorRow, from_us: int, to_us: int) -> list[DoorMessageRow]:
    """Return what changes a door's picture in [from_us, to_us), oldest first, out of its newest `DOOR_ROWS` rows."""
    values = {"device": door.device, "from_us": from_us, "to_us": to_us, "alive_us": alive_us(door), "gap_us": GAP_US}
    return await _all(conn, DoorMessageRow, "door_messages", limit=DOOR_ROWS, **values)


def alive_us(door: DoorRow) -> int:
    """Return the silence after which nothing is known of a door any more."""
    return door.alive_every_us or CLASSES[door.class_].alive_every_us


async def view_of(conn: Connection, gateway: int, from_us: int, to_us: int) -> View:
    """Return what a gateway could see between two times."""
    span = {"gateway": gateway, "from_us": from_us, "to_us": to_us}
    covered = await (await conn.execute(SQL["covered"], span)).fetchall()
    blind = await (await conn.execute(SQL["blinded"], span)).fetchall()
    gaps = [Gap(source=s, from_us=a, to_us=b, reason=why, counts=True) for s, a, b, why in blind]
    return View(spans=[list(c) for c in covered], gaps=gaps, through_us=max((c[1] for c in covered), default=0))


async def endpoints(conn: Connection) -> list[dict[str, Any]]:
    """Return every endpoint with how it stands: columns of the query "endpoints"."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(DELIVERY["endpoints"])
        return await cursor.fetchall()


async def push_counts(conn: Connection) -> dict[str, int]:
    """Return how many outbox rows are in each state."""
    return dict(await (await conn.execute(SQL["push_counts"])).fetchall())
