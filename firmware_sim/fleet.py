"""Towns of any size, generated from a seed: a centre with its points, a town, a city, a province.

One decision: a town is always the same mixture (two dozen sites, each with a gateway of its own), and a larger fleet is more
of them; Haining's twelve towns come first, under their own region codes, every other county is invented.
"""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from random import Random
from typing import Any

from firmware_sim.models import MODELS
from firmware_sim.town import DAYS, ZONE, Town, kind_of, secret

SIZES = {"centre": 6, "town": 24, "city": 288, "province": 25_000}
"""Sites."""
TOWN_SITES, SHARDS = 24, 64
HAINING = (
    ("330481001", "硖石街道", "xiashi"),
    ("330481002", "海洲街道", "haizhou"),
    ("330481003", "海昌街道", "haichang"),
    ("330481004", "马桥街道", "maqiao"),
    ("330481101", "许村镇", "xucun"),
    ("330481103", "长安镇", "changan"),
    ("330481105", "周王庙镇", "zhouwangmiao"),
    ("330481106", "丁桥镇", "dingqiao"),
    ("330481107", "斜桥镇", "xieqiao"),
    ("330481108", "黄湾镇", "huangwan"),
    ("330481110", "盐官镇", "yanguan"),
    ("330481112", "袁花镇", "yuanhua"),
)
_FIRST, _SECOND = "康清永桃潮桂河金南北东西", "乐荷福源声花溪桥湾塘园岸"
_KINDS = ("centre", "station", "station", "point", "point", "mutual_aid")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Kind:
    zh: str
    en: str
    capacity: int
    opens: str
    closes: str
    sundays: bool
    residents: int


_OF = {
    kind: _Kind(zh=zh, en=en, capacity=capacity, opens=opens, closes=closes, sundays=sundays, residents=residents)
    for kind, zh, en, capacity, opens, closes, sundays, residents in (
        ("centre", "居家养老服务照料中心", "Care Centre", 80, "07:30", "17:30", True, 24),
        ("station", "养老服务站", "Care Station", 40, "08:00", "17:00", False, 12),
        ("point", "睦邻点", "Neighbour Point", 25, "07:30", "17:00", True, 0),
        ("mutual_aid", "互助点", "Mutual-Aid Point", 15, "08:30", "16:30", False, 0),
    )
}
STAFF = 2
Sensor = tuple[str, str, str, str, str, str, str]
"""Place, its names, room, identity, class, and the model where it is not the usual one."""


def build_fleet(name: str, seed: int, sites: int | None = None, models: Mapping[str, str] | None = None) -> Town:
    """Build a fleet, or its first `sites` sites.

    models: "door", "counter", "terminal" → a model of its own for all of them. Raises KeyError for a name that is not in `SIZES`,
    or a model that there is not.
    """
    wanted = SIZES[name] if sites is None else sites
    stands: dict[str, str] = {}
    document: dict[str, list[dict[str, Any]]] = {
        table: [] for table in ("regions", "sites", "places", "gateways", "devices", "persons")
    }
    document["regions"].append({"code": "330481000000", "name": "海宁市", "name_en": "Haining"})
    for n, (region, town, pinyin) in enumerate(islice(_towns(), -(-wanted // TOWN_SITES))):
        document["regions"].append({"code": f"{region}000", "name": town, "name_en": pinyin.capitalize()})
        for i in range(min(TOWN_SITES, wanted - n * TOWN_SITES)):
            stands |= _add_site(document, seed, n, i, (f"{region}000", town, pinyin), models or {})
    return Town(seed=seed, document=document, models=stands)


def write_register(town: Town, folder: Path) -> None:
    """Write the register as a folder of CSV files, which can be read quickly however large it is."""
    folder.mkdir(parents=True, exist_ok=True)
    for table, rows in town.register().items():
        names = list(dict.fromkeys(name for row in rows for name in row))
        with (folder / f"{table}.csv").open("w", encoding="utf-8", newline="") as f:
            writer = csv.DictWriter(f, names)
            writer.writeheader()
            writer.writerows(_cells(row) for row in rows)


def _cells(row: Mapping[str, Any]) -> dict[str, Any]:
    return {k: json.dumps(v, ensure_ascii=False) if isinstance(v, dict | list | tuple) else v for k, v in row.items()}


def _towns() -> Iterator[tuple[str, str, str]]:
    yield from HAINING
    for city in range(1, 12):
        for county in range(1, 10):
            for town in range(1, 13):
                code = f"33{city:02}{county:02}{100 + town}"
                yield code, f"模拟{city:02}{county:02}第{town}镇", f"c{city:02}{county:02}-t{town:02}"


def _add_site(
    document: dict[str, list[dict[str, Any]]],
    seed: int,
    n: int,
    i: int,
    town: tuple[str, str, str],
    models: Mapping[str, str],
) -> dict[str, str]:
    """Add a site with what is mounted there; returns identity → model, of those that are not the usual ones."""
    region, _, pinyin = town
    kind, code = _KINDS[i % len(_KINDS)], f"{pinyin}-{i + 1:02}"
    of, rng = _OF[kind], Random(f"{seed}/{code}/site")  # noqa: S311 - repeatable by intention
    short = _FIRST[rng.randrange(12)] + _SECOND[i % 12]
    hours: list[str] = [of.opens, of.closes]
    if i == 0:
        hours = ["00:00", "24:00"]  # one centre of a town has beds
    site: dict[str, Any] = {"code": code, "name": f"{short}{of.zh}", "name_en": f"{code} {of.en}", "kind": kind}
    if i % len(_KINDS):
        site["parent"] = f"{pinyin}-{i // len(_KINDS) * len(_KINDS) + 1:02}"
    open_days = DAYS if of.sundays or i == 0 else DAYS[:6]
    site |= {"region": region, "zone": ZONE, "capacity": of.capacity, "hours": {day: [hours] for day in open_days}}
    document["sites"].append(site)
    gateway = f"gw-{code}"
    document["gateways"].append({"code": gateway, "shard": n % SHARDS})
    sensors = [_as(models, seed, code, sensor) for sensor in _usual(seed, n, i, code)]
    for place, zh, en, room, identity, device_class, _ in sensors:
        document["places"].append({"site": code, "code": place, "name": zh, "name_en": en, "room": room})
        device = {"gateway": gateway, "identity": identity, "class": device_class, "place": f"{code}/{place}"}
        if device_class.endswith("terminal"):
            device["assessment"] = f"PIA-{code}"
        document["devices"].append(device)
    for p in range(STAFF + of.residents if of.residents else 0):
        link = {"gateway": gateway, "device": sensors[-1][4], "local_id": str(p + 1)}
        document["persons"].append(
            {
                "token": secret(seed, code, "person", p)[:32],
                "site": code,
                "role": "staff" if p < STAFF else "resident",
                "consent_from": "2025-01-06T00:00:00+08:00",
                "links": [link],
            }
        )
    return {identity: model for _, _, _, _, identity, _, model in sensors if model}


def _usual(seed: int, n: int, i: int, code: str) -> Iterator[Sensor]:
    """Yield what is mounted at the i-th site of the n-th town where nothing else is asked for."""
    kind = _KINDS[i % len(_KINDS)]
    yield "front", "前门", "Front door", "entrance", f"z2m/{code}-front", "zigbee_contact", ""
    if kind != "mutual_aid":
        yield "hall", "大厅", "Hall", "hall", f"lora/24e124{secret(seed, code, 'eui')[:10]}", "lora_counter", ""
    if _OF[kind].residents:
        number = 1_000_000 + int(secret(seed, code, "face")[:8], 16) % 9_000_000
        yield "canteen", "餐厅", "Canteen", "canteen", f"face/{number}-{n}-{i}", "face_terminal", ""


def _as(models: Mapping[str, str], seed: int, code: str, sensor: Sensor) -> Sensor:
    """Return a sensor as the model that is asked for."""
    place, zh, en, room, _, device_class, _ = sensor
    name = models.get(kind_of(device_class), "")
    if not name:
        return sensor
    model = MODELS[name]
    return place, zh, en, room, model.named(code, secret(seed, code, place)), model.device_class, name
