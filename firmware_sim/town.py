"""A town to demonstrate and test with: sites, places, devices and persons, invented, under Haining's region codes.

One decision: a town is its register document, and nothing about it depends on the time of day but the hours of one site,
which has closed three quarters of an hour ago with its door held open: there is always something to see.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

ZONE = "Asia/Shanghai"
GATEWAY, SHARD = "xucun-01", 11
DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
REGIONS = (
    ("330481000000", "海宁市", "Haining"),
    ("330481101000", "许村镇", "Xucun"),
    ("330481103000", "长安镇", "Chang'an"),
    ("330481110000", "盐官镇", "Yanguan"),
)
_SITES = (  # code, short name, name, English, kind, parent, region, capacity, opens, closes
    ("xucun-kangle", "康乐", "康乐居家养老服务照料中心", "Kangle Care Centre", "centre", None, 1, 80, "00:00", "24:00"),
    ("xucun-hexi", "河西", "河西养老服务站", "Hexi Care Station", "station", 0, 1, 40, "08:00", "17:00"),
    ("xucun-guihua", "桂花", "桂花睦邻点", "Guihua Neighbour Point", "point", 0, 1, 20, "07:30", "17:30"),
    ("changan-qinghe", "清河", "清河居家养老服务照料中心", "Qinghe Care Centre", "centre", None, 2, 60, "07:30", "17:30"),
    ("changan-yongfu", "永福", "永福日夜照料站", "Yongfu Day and Night Station", "station", 3, 2, 30, "00:00", "24:00"),
    ("changan-taoyuan", "桃源", "桃源睦邻点", "Taoyuan Neighbour Point", "point", 3, 2, 20, "08:00", "16:30"),
    ("yanguan-chaosheng", "潮声", "潮声养老服务站", "Chaosheng Care Station", "station", None, 3, 40, "07:00", "17:00"),
    ("yanguan-laodi", "老堤", "老堤互助点", "Laodi Mutual-Aid Point", "mutual_aid", 6, 3, 15, "08:30", "17:00"),
)
_HELD = 1  # the site whose door is held open


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A site as its devices see it.

    hours: weekday → windows of local time. days: date → "holiday" or "workday" (调休), where it is not as its weekday says.
    places: those that `devices` are mounted at. classes: of the devices.
    persons: local ids its terminal knows, and their tokens. gateway: of its devices, "" where it has none.
    """

    code: str
    kind: str
    zone: str
    capacity: int
    gateway: str
    hours: Mapping[str, tuple[tuple[str, str], ...]]
    days: Mapping[str, str]
    devices: tuple[str, ...]
    places: tuple[str, ...]
    classes: tuple[str, ...]
    persons: tuple[str, ...]
    tokens: tuple[str, ...]
    held_open: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    """The register document and the seed of everything that happens."""

    seed: int
    document: Mapping[str, Any]
    days: Mapping[str, str] = field(default_factory=dict)
    """Date → "holiday" or "workday", where it is not as its weekday says."""
    models: Mapping[str, str] = field(default_factory=dict)
    """Identity → model, where it is not the usual one of its family and class."""
    held_open: str | None = None
    """Code of the site whose door is held open past closing."""

    def register(self) -> dict[str, Any]:
        """Return the register document: regions, sites, places, gateways, devices, persons."""
        return dict(self.document)

    def sites(self) -> tuple[Site, ...]:
        """Return the sites with what is mounted there."""
        mounted: dict[str, list[Mapping[str, Any]]] = {row["code"]: [] for row in self.document["sites"]}
        known: dict[str, list[tuple[str, str]]] = {}
        for d in self.document["devices"]:
            mounted.get((d.get("place") or "").split("/")[0], []).append(d)
        for p in self.document["persons"]:
            for link in p["links"]:
                known.setdefault(link["device"], []).append((link["local_id"], p["token"]))
        return tuple(self._site(row, mounted[row["code"]], known) for row in self.document["sites"])

    def _site(
        self, row: Mapping[str, Any], mounted: Sequence[Mapping[str, Any]], known: Mapping[str, Sequence[tuple[str, str]]]
    ) -> Site:
        persons = [person for d in mounted for person in known.get(d["identity"], ())]
        return Site(
            code=row["code"],
            kind=row["kind"],
            zone=row["zone"],
            capacity=int(row.get("capacity") or 0),
            gateway=mounted[0]["gateway"] if mounted else "",
            hours={day: tuple((a, b) for a, b in row["hours"].get(day, ())) for day in DAYS},
            days=self.days,
            devices=tuple(d["identity"] for d in mounted),
            places=tuple(d["place"] for d in mounted),
            classes=tuple(d["class"] for d in mounted),
            persons=tuple(local_id for local_id, _ in persons),
            tokens=tuple(token for _, token in persons),
            held_open=row["code"] == self.held_open,
        )


def build_town(seed: int, sites: int, now_us: int) -> Town:
    """Build a town of `sites` sites. The same seed and number give the same devices at any time."""
    document: dict[str, list[dict[str, Any]]] = {
        "regions": [{"code": code, "name": name, "name_en": en} for code, name, en in REGIONS],
        "sites": [],
        "places": [],
        "gateways": [{"code": GATEWAY, "shard": SHARD}],
        "devices": [],
        "persons": [],
    }
    held = min(_HELD, sites - 1)
    for i in range(sites):
        _add_site(document, seed, i, _just_closed(now_us) if i == held else None)
    return Town(seed=seed, document=document, held_open=document["sites"][held]["code"] if sites else None)


def kind_of(device_class: str) -> str:
    """Return "door", "counter" or "terminal"."""
    word = device_class.rpartition("_")[2]
    return "door" if word == "contact" else word


def secret(seed: int, *words: object) -> str:
    """Return 64 hexadecimal digits that depend on nothing but the seed and the words."""
    return hashlib.sha256("/".join(map(str, (seed, *words))).encode()).hexdigest()


def _just_closed(now_us: int) -> tuple[str, str]:
    """Opening and closing time of a site that has closed 45 to 50 minutes ago, over midnight if need be."""
    local = datetime.fromtimestamp(now_us // 1_000_000, UTC).astimezone(ZoneInfo(ZONE)) - timedelta(minutes=45)
    closes = local.replace(minute=local.minute // 5 * 5, second=0)
    return (closes - timedelta(hours=10)).strftime("%H:%M"), closes.strftime("%H:%M")


def _add_site(document: dict[str, list[dict[str, Any]]], seed: int, i: int, hours: tuple[str, str] | None) -> None:
    code, short, name, en, kind, parent, region, capacity, opens, closes = _SITES[i % len(_SITES)]
    lap = i // len(_SITES)
    if lap:
        code, short, name, en = f"{code}-{lap + 1}", f"{short}{lap + 1}", f"{name}（{lap + 1}）", f"{en} {lap + 1}"
    site: dict[str, Any] = {"code": code, "name": name, "name_en": en, "kind": kind}
    if parent is not None:
        site["parent"] = document["sites"][lap * len(_SITES) + parent]["code"]
    window = list(hours or (opens, closes))
    site |= {"region": REGIONS[region][0], "zone": ZONE, "capacity": capacity, "hours": {day: [window] for day in DAYS}}
    document["sites"].append(site)
    _add_place(document, code, "front", "前门", "Front door", "entrance", f"z2m/{short}/前门", "zigbee_contact", "前门门磁")
    if kind != "mutual_aid":
        eui = "24e124" + secret(seed, code, "eui")[:10]
        _add_place(document, code, "hall", "大厅", "Hall", "hall", f"lora/{eui}", "lora_counter", "大厅人流计数器")
    if kind in ("centre", "station"):
        terminal = f"face/{1_000_000 + int(secret(seed, code, 'face')[:8], 16) % 9_000_000}"
        _add_place(document, code, "canteen", "餐厅", "Canteen", "canteen", terminal, "face_terminal", "餐厅人脸终端")
        document["devices"][-1]["assessment"] = f"PIA-{code}"
        _add_persons(document, seed, code, terminal)


def _add_place(
    document: dict[str, list[dict[str, Any]]],
    site: str,
    code: str,
    name: str,
    en: str,
    room: str,
    identity: str,
    device_class: str,
    device_name: str,
) -> None:
    document["places"].append({"site": site, "code": code, "name": name, "name_en": en, "room": room})
    device = {"gateway": GATEWAY, "identity": identity, "class": device_class, "name": device_name}
    document["devices"].append(device | {"place": f"{site}/{code}"})


def _add_persons(document: dict[str, list[dict[str, Any]]], seed: int, site: str, terminal: str) -> None:
    for n, role in enumerate(("resident", "resident", "resident", "resident", "volunteer", "staff"), 1):
        document["persons"].append(
            {
                "token": secret(seed, site, "person", n)[:32],
                "site": site,
                "role": role,
                "consent_from": "2025-01-06T00:00:00+08:00",
                "links": [{"gateway": GATEWAY, "device": terminal, "local_id": str(n)}],
            }
        )
