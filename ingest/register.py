"""Brings the register in line with what a file says, and turns unknown devices into known ones.

One decision: the state that would result is computed and checked in memory first, and only differences are written; so
the same file twice changes nothing, and a dry run is the same run without its COMMIT.
"""

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from ingest.classes import CLASSES, PRIVATE_ROOMS, SEES_FACES
from ingest.declaration import Declaration, DeviceRow, RegisterError, RowError, check, micros
from ingest.store.queries import Queries

QUERIES = Queries("ingest")
NOTHING_ELSE = "no other row with the same key"
FACE_FAMILIES = frozenset({"face", "hikaccess", "zk", "dahua"})
"""Families of terminals with a camera for faces: no other class would keep them out of private rooms."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """What became of the rows of one table."""

    created: int = 0
    changed: int = 0
    unchanged: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Device:
    """A device as it would be. row: its number in the file, None where the file does not mention it."""

    device_class: str
    place: str | None
    assessment: str
    row: int | None


def load(conn: psycopg.Connection[Any], raw: dict[str, Any], now_us: int, *, dry_run: bool = False) -> dict[str, Counts]:
    """Check all of `raw` (table → rows, as `declaration.read` gives it), then write what differs, in one transaction.

    Returns the counts per table. Raises RegisterError with every fault; nothing is written then, nor in a dry run.
    """
    declared, errors = check(raw)
    with conn.transaction(force_rollback=dry_run), conn.cursor(row_factory=dict_row) as cur:
        cur.execute("SELECT version FROM register_version FOR UPDATE")
        merged = _Merged(declared, _Present(cur))
        if errors or merged.errors:
            raise RegisterError(errors + merged.errors)
        counts = _Writer(cur, merged, now_us).write()
        if any(c.created or c.changed for c in counts.values()):
            raise_version(conn)
    return counts


def raise_version(conn: psycopg.Connection[Any]) -> None:
    """Tell the workers that the register changed; call it in the transaction that changes it."""
    conn.execute(QUERIES["raise_version"])


def suspend(conn: psycopg.Connection[Any], gateway: str, *, suspended: bool) -> None:
    """Refuse a gateway (its code) from now on, or hear it again. Raises RegisterError where there is none."""
    with conn.transaction():
        if conn.execute(QUERIES["suspend_gateway"], {"gateway": gateway, "suspended": suspended}).rowcount != 1:
            expected = "a gateway of the register"
            raise RegisterError([RowError(table="gateways", row=1, field="code", came=gateway, expected=expected)])
        raise_version(conn)


def claim(
    conn: psycopg.Connection[Any],
    gateway: str,
    identity: str,
    device_class: str,
    place: str,
    now_us: int,
    *,
    assessment: str = "",
) -> None:
    """Turn an unclaimed device of `gateway` (its code) into a device at `place` ("<site code>/<place code>").

    Raises RegisterError where there is no such unclaimed device or the place will not have it.
    """
    row = {"gateway": gateway, "identity": identity, "class": device_class, "place": place, "assessment": assessment}
    with conn.transaction():
        if not conn.execute(QUERIES["is_unclaimed"], {"gateway": gateway, "identity": identity}).fetchone():
            came, expected = f"{gateway} {identity}", "an unclaimed device of this gateway"
            raise RegisterError([RowError(table="devices", row=1, field="identity", came=came, expected=expected)])
        load(conn, {"devices": [row]}, now_us)


class _Present:
    """What the store has, by the keys that files use."""

    def __init__(self, cur: psycopg.Cursor[dict[str, Any]]) -> None:
        def by(name: str, *key: str) -> dict[Any, dict[str, Any]]:
            rows = cur.execute(QUERIES[f"present_{name}"]).fetchall()
            return {tuple(r[k] for k in key) if len(key) > 1 else r[key[0]]: r for r in rows}

        self.regions = by("regions", "code")
        self.sites = by("sites", "code")
        self.places = by("places", "path")
        self.gateways = by("gateways", "code")
        self.devices = by("devices", "gateway", "identity")
        self.persons = by("persons", "token")
        self.links = by("links", "gateway", "device", "local_id")


class _Merged:
    """The register as it would be, and what is wrong with it."""

    def __init__(self, declared: Declaration, present: _Present) -> None:
        self.errors: list[RowError] = []
        self.declared, self.present = declared, present
        self.shards = {code: g["shard"] for code, g in present.gateways.items()}
        self.rooms = {path: p["room"] for path, p in present.places.items()}
        self.parents = {code: s["parent"] for code, s in present.sites.items()}
        self.devices = {
            key: _Device(device_class=d["class"], place=d["place"], assessment=d["assessment"], row=None)
            for key, d in present.devices.items()
        }
        self._merge()
        self._check_references()
        self._check_devices()
        self._check_persons()
        self.site_shards = self._site_shards()

    def fault(self, table: str, row: int, field: str, came: object, expected: str) -> None:
        """Note one fault, but not that a row points to one that was refused."""
        if str(came) in self.declared.refused:
            return
        self.errors.append(RowError(table=table, row=row, field=field, came=str(came), expected=expected))

    def _merge(self) -> None:
        d = self.declared
        self._unique("regions", [(n, r.code) for n, r in d.regions])
        self._unique("sites", [(n, s.code) for n, s in d.sites])
        self._unique("places", [(n, f"{p.site}/{p.code}") for n, p in d.places])
        self._unique("gateways", [(n, g.code) for n, g in d.gateways])
        self._unique("devices", [(n, f"{v.gateway} {v.identity}") for n, v in d.devices])
        self._unique("persons", [(n, p.token) for n, p in d.persons])
        for n, g in d.gateways:
            if self.shards.setdefault(g.code, g.shard) != g.shard:
                self.fault("gateways", n, "shard", g.shard, f"{self.shards[g.code]}: a gateway's shard is fixed when it is made")
        self.rooms |= {f"{p.site}/{p.code}": p.room for _, p in d.places}
        self.parents |= {s.code: s.parent for _, s in d.sites}
        for n, v in d.devices:
            merged = _Device(device_class=v.device_class, place=v.place, assessment=v.assessment, row=n)
            self.devices[v.gateway, v.identity] = merged

    def _unique(self, table: str, keys: list[tuple[int, str]]) -> None:
        seen: set[str] = set()
        for number, key in keys:
            if key in seen:
                self.fault(table, number, "key", key, NOTHING_ELSE)
            seen.add(key)

    def _check_references(self) -> None:
        regions = self.present.regions.keys() | {r.code for _, r in self.declared.regions}
        for n, s in self.declared.sites:
            if s.region not in regions:
                self.fault("sites", n, "region", s.region, "a region of the register")
            if s.parent is not None and (s.parent not in self.parents or s.code in self.ancestors(s.code)):
                self.fault("sites", n, "parent", s.parent, "another site of the register that is not below this one")
        for n, p in self.declared.places:
            if p.site not in self.parents:
                self.fault("places", n, "site", p.site, "a site of the register")

    def ancestors(self, code: str) -> list[str]:
        """Return the codes of the sites above `code`, nearest first; its own where the parents run in a circle."""
        above: list[str] = []
        parent = self.parents.get(code)
        while parent is not None and parent not in above:
            above.append(parent)
            parent = self.parents.get(parent)
        return above

    def _check_devices(self) -> None:
        changed_places = {f"{p.site}/{p.code}": n for n, p in self.declared.places}
        for (gateway, identity), d in self.devices.items():
            table, row = ("devices", d.row) if d.row else ("places", changed_places.get(d.place or "", 0))
            if not row:
                continue  # neither the device nor its place is in the file
            if gateway not in self.shards:
                self.fault(table, row, "gateway", gateway, "a gateway of the register")
            if d.place is not None and d.place not in self.rooms:
                self.fault(table, row, "place", d.place, 'a place of the register, "<site code>/<place code>"')
            if identity.partition("/")[0] in FACE_FAMILIES and d.device_class not in SEES_FACES:
                self.fault(table, row, "class", d.device_class, f"{' or '.join(sorted(SEES_FACES))}: {identity} sees faces")
            if d.device_class in SEES_FACES:
                if not d.assessment:
                    self.fault(table, row, "assessment", "nothing", f"the impact assessment's reference: {identity} sees faces")
                if self.rooms.get(d.place or "") in PRIVATE_ROOMS:
                    room = self.rooms[d.place or ""]
                    self.fault(table, row, "place", f"{d.place} ({room})", f"a room that is not private: {identity} sees faces")

    def _check_persons(self) -> None:
        holders = {key: link["token"] for key, link in self.present.links.items()}
        replaced = {p.token for _, p in self.declared.persons}
        holders = {key: token for key, token in holders.items() if token not in replaced}
        for n, p in self.declared.persons:
            if p.site not in self.parents:
                self.fault("persons", n, "site", p.site, "a site of the register")
            if self.present.persons.get(p.token, {}).get("consent_to_us") is not None:
                self.fault("persons", n, "token", p.token, "a new token: this one's consent was withdrawn")
            for i, link in enumerate(p.links):
                device = self.devices.get((link.gateway, link.device))
                if device is None or CLASSES[device.device_class].family != "terminal":
                    self.fault("persons", n, f"links.{i}", f"{link.gateway} {link.device}", "a terminal of the register")
                if holders.setdefault((link.gateway, link.device, link.local_id), p.token) != p.token:
                    self.fault("persons", n, f"links.{i}.local_id", link.local_id, "a number that no other person has there")

    def _site_shards(self) -> dict[str, int]:
        """A site lives on the shard of its gateways; one without gateways on its parent's, else where it was, else on 0."""
        found: dict[str, int] = {}
        for (gateway, _), d in sorted(self.devices.items(), key=lambda item: item[1].row or 0):
            if d.place is None or gateway not in self.shards:
                continue
            site, shard = d.place.split("/", 1)[0], self.shards[gateway]
            if found.setdefault(site, shard) != shard and d.row:
                self.fault(
                    "devices", d.row, "gateway", f"{gateway} on shard {shard}", f"shard {found[site]}, as all of site {site}"
                )
        for code in self.parents:
            known = [found[c] for c in self.ancestors(code) if c in found]
            before = self.present.sites.get(code)
            found.setdefault(code, before["shard"] if before else next(iter(known), 0))
        return found


class _Writer:
    """Writes what differs. Parents come before their children."""

    def __init__(self, cur: psycopg.Cursor[dict[str, Any]], merged: _Merged, now_us: int) -> None:
        self.cur, self.merged, self.now_us = cur, merged, now_us
        self.declared, self.present = merged.declared, merged.present

    def write(self) -> dict[str, Counts]:
        """Write all tables in the order of their references."""
        d, shards = self.declared, self.merged.site_shards
        counts = {
            "regions": self._upsert("region", self.present.regions, {r.code: r.model_dump() for _, r in d.regions}),
            "gateways": self._upsert("gateway", self.present.gateways, {g.code: g.model_dump() for _, g in d.gateways}),
        }
        sites = sorted((s for _, s in d.sites), key=lambda s: len(self.merged.ancestors(s.code)))
        counts["sites"] = self._upsert(
            "site", self.present.sites, {s.code: s.model_dump(mode="json") | {"shard": shards[s.code]} for s in sites}
        )
        for code, shard in shards.items():
            self.cur.execute(QUERIES["move_site"], {"code": code, "shard": shard})
        places = {f"{p.site}/{p.code}": p.model_dump() for _, p in d.places}
        counts["places"] = self._upsert("place", self.present.places, places)
        devices = {(v.gateway, v.identity): _device_values(v) for _, v in d.devices}
        counts["devices"] = self._upsert("device", self.present.devices, devices)
        self._mount()
        persons = {
            p.token: {"token": p.token, "site": p.site, "role": p.role, "consent_from_us": micros(p.consent_from)}
            | {"links": sorted((link.gateway, link.device, link.local_id) for link in p.links)}
            for _, p in d.persons
        }
        for token, person in self.present.persons.items():
            person["links"] = sorted(key for key, link in self.present.links.items() if link["token"] == token)
        counts["persons"] = self._upsert("person", self.present.persons, persons)
        return counts

    def _upsert(self, name: str, present: dict[Any, dict[str, Any]], wanted: dict[Any, dict[str, Any]]) -> Counts:
        created = changed = 0
        for key, values in wanted.items():
            before = present.get(key)
            if before is not None and all(before[field] == value for field, value in values.items()):
                continue
            created, changed = created + (before is None), changed + (before is not None)
            parameters = {k: Jsonb(v) if isinstance(v, dict) else v for k, v in values.items()}
            self.cur.execute(QUERIES[f"put_{name}"], parameters)
            if name == "person":
                self._link(values["token"], values["links"])
        return Counts(created=created, changed=changed, unchanged=len(wanted) - created - changed)

    def _link(self, token: str, links: list[tuple[str, str, str]]) -> None:
        self.cur.execute(QUERIES["unlink_person"], {"token": token})
        for gateway, device, local_id in links:
            values = {"token": token, "gateway": gateway, "device": device, "local_id": local_id}
            self.cur.execute(QUERIES["link_person"], values)

    def _mount(self) -> None:
        for _, v in self.declared.devices:
            before = self.present.devices.get((v.gateway, v.identity))
            if before is not None and before["place"] == v.place:
                continue
            values = {"gateway": v.gateway, "identity": v.identity, "place": v.place, "now_us": self.now_us}
            self.cur.execute(QUERIES["unmount"], values)
            self.cur.execute(QUERIES["mount"], values)


def _device_values(v: DeviceRow) -> dict[str, Any]:
    return v.model_dump(by_alias=True)
