"""The register as the worker sees it: one snapshot to judge frames by, one value per shard for the analyzer.

One decision: a snapshot is read whole in one transaction and replaced, never patched, so that its parts always agree.
"""

import hashlib
from collections import defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.rows import dict_row

from gateway.clock import SECOND_US
from gateway.wire import PersonLink
from ingest import daybook
from ingest.classes import CLASSES
from ingest.inputs import DeviceInput, GatewayInput, Inputs, PersonInput, PlaceInput, SiteInput, encode
from ingest.store.queries import Queries

QUERIES = Queries("ingest")


@dataclass(frozen=True, slots=True, kw_only=True)
class Gateway:
    """A gateway of the register."""

    id: int
    code: str
    shard: int
    suspended: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Consent:
    """A person's id, and when their consent holds: [from_us, to_us)."""

    id: int
    from_us: int
    to_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The register at one version.

    devices: (gateway id, identity) → device id. mountings: device id → [(from_us, to_us, place)], by time. persons: token
    → consent. links: gateway id → [(identity, local id, token)].
    """

    version: int = -1
    gateways: dict[str, Gateway] = field(default_factory=dict)
    devices: dict[tuple[int, str], int] = field(default_factory=dict)
    mountings: dict[int, list[tuple[int, int, int]]] = field(default_factory=dict)
    persons: dict[bytes, Consent] = field(default_factory=dict)
    links: dict[int, list[tuple[str, str, bytes]]] = field(default_factory=dict)

    def config(self, gateway: int, now_us: int) -> tuple[int, list[PersonLink]]:
        """Return what a gateway may know of people now, with its version: 0 for nobody, else a 31-bit hash of the links."""
        persons = [
            PersonLink(device=identity, local_id=local_id, token=token.hex())
            for identity, local_id, token in self.links.get(gateway, [])
            if self.persons[token].from_us <= now_us < self.persons[token].to_us
        ]
        if not persons:
            return 0, []
        digest = hashlib.sha256("\n".join(f"{p.device}\t{p.local_id}\t{p.token}" for p in persons).encode()).digest()
        return int.from_bytes(digest[:4]) >> 1 or 1, persons


def version(conn: psycopg.Connection[Any]) -> int:
    """Return the register's present version."""
    row = conn.execute(QUERIES["register_version"]).fetchone()
    assert row is not None
    return int(row[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The register at one moment: for the worker, and for the analyzer of each shard, with its encoded form."""

    snapshot: Snapshot
    inputs: dict[int, tuple[Inputs, bytes]]


def read(conn: psycopg.Connection[Any], shards: Collection[int], country: str = daybook.COUNTRY) -> Reading:
    """Read the register in one transaction. country: of the public holidays."""
    with conn.transaction():
        conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        conn.execute("SET LOCAL idle_in_transaction_session_timeout = '2min'")  # a province takes a while between two queries
        snapshot = _snapshot(conn)
        inputs = compile_inputs(conn, shards, snapshot.version, country) if shards else {}
    return Reading(snapshot=snapshot, inputs={shard: (found, encode(found)) for shard, found in inputs.items()})


def _snapshot(conn: psycopg.Connection[Any]) -> Snapshot:
    at = version(conn)
    mountings, links = defaultdict(list), defaultdict(list)
    for device, from_us, to_us, place in conn.execute(QUERIES["snapshot_mountings"]).fetchall():
        mountings[device].append((from_us, to_us, place))
    for gateway, identity, local_id, token in conn.execute(QUERIES["snapshot_links"]).fetchall():
        links[gateway].append((identity, local_id, bytes(token)))
    gateways = conn.execute(QUERIES["snapshot_gateways"]).fetchall()
    return Snapshot(
        version=at,
        gateways={code: Gateway(id=i, code=code, shard=shard, suspended=off) for i, code, shard, off in gateways},
        devices={(g, identity): i for i, g, identity in conn.execute(QUERIES["snapshot_devices"]).fetchall()},
        mountings=dict(mountings),
        persons={
            bytes(token): Consent(id=i, from_us=from_us, to_us=to_us)
            for token, i, from_us, to_us in conn.execute(QUERIES["snapshot_persons"]).fetchall()
        },
        links=dict(links),
    )


def compile_inputs(
    conn: psycopg.Connection[Any], shards: Collection[int], version: int, country: str = daybook.COUNTRY
) -> dict[int, Inputs]:
    """Compile what the analyzer may know of each shard, from the register tables as they are now. country: of the holidays."""
    days = daybook.days(conn, country)
    closed, absent, modes = defaultdict(list), defaultdict(list), defaultdict(list)
    with conn.cursor(row_factory=dict_row) as cur:

        def rows(name: str) -> Iterator[tuple[int, dict[str, Any]]]:
            for row in cur.execute(QUERIES[f"inputs_{name}"], {"shards": list(shards)}):
                yield row.pop("shard"), row

        for _, c in rows("closures"):
            closed[c["site"]].append((c["from_us"], c["to_us"]))
        for _, a in rows("absences"):
            absent[a["person"]].append((a["from_us"], a["to_us"]))
        for _, m in rows("modes"):
            modes[m["site"]].append((m["from_us"], m["to_us"], m["mode"]))
        found = {shard: Inputs(version=version, sites=[], places=[], devices=[], gateways=[], days=days) for shard in shards}
        for shard, s in rows("sites"):
            found[shard].sites.append(SiteInput(**_hours(s), closed=closed[s["id"]], modes=modes[s["id"]]))
        for shard, p in rows("places"):
            found[shard].places.append(PlaceInput(**p))
        for shard, d in rows("devices"):
            found[shard].devices.append(_device(d))
        for shard, g in rows("gateways"):
            found[shard].gateways.append(GatewayInput(**g))
        for shard, p in rows("persons"):
            found[shard].persons.append(PersonInput(**p, absences=absent[p["id"]]))
    return found


def _hours(site: dict[str, Any]) -> dict[str, Any]:
    return site | {"hours": {day: [(start, end) for start, end in windows] for day, windows in site["hours"].items()}}


def _device(d: dict[str, Any]) -> DeviceInput:
    its_class, own = CLASSES[d["class"]], d["alive_every_s"]
    return DeviceInput(
        id=d["id"],
        gateway=d["gateway"],
        identity=d["identity"],
        device_class=its_class.name,
        family=its_class.family,
        name=d["name"],
        place=d["place"],
        mounted_us=d["mounted_us"],
        alive_every_us=its_class.alive_every_us if own is None else own * SECOND_US,
    )
