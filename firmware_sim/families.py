"""A town with a site for each model of device, to see every vendor's bytes go all the way.

One decision: a site has nothing but its model's device, so that what is known of the site has come from it alone.
"""

from collections.abc import Mapping
from typing import Any

from firmware_sim.models import MODELS
from firmware_sim.town import DAYS, REGIONS, ZONE, Town, secret

GATEWAY, SHARD = "families-01", 7


def build_families(seed: int, hours: Mapping[str, Any] | None = None) -> Town:
    """Build the town; a site has the name of its model. hours: of every site, by weekday; without them they never close."""
    document: dict[str, list[dict[str, Any]]] = {
        "regions": [{"code": code, "name": name, "name_en": en} for code, name, en in REGIONS[:2]],
        "sites": [],
        "places": [],
        "gateways": [{"code": GATEWAY, "shard": SHARD}],
        "devices": [],
        "persons": [],
    }
    open_always = {day: [["00:00", "24:00"]] for day in DAYS}
    for code, model in MODELS.items():
        site = {"code": code, "name": model.zh, "name_en": model.en, "kind": "point", "region": REGIONS[1][0], "zone": ZONE}
        document["sites"].append(site | {"capacity": 40, "hours": dict(hours or open_always)})
        document["places"].append({"site": code, "code": "front", "name": "前门", "name_en": "Front door", "room": "entrance"})
        device = {"gateway": GATEWAY, "identity": identity(seed, code), "class": model.device_class, "name": model.zh}
        document["devices"].append(device | {"place": f"{code}/front", "assessment": f"PIA-{code}"})
        if model.kind == "terminal":
            link = {"gateway": GATEWAY, "device": device["identity"], "local_id": "1"}
            person = {"token": secret(seed, code, "person")[:32], "site": code, "role": "resident"}
            document["persons"].append(person | {"consent_from": "2025-01-06T00:00:00+08:00", "links": [link]})
    return Town(seed=seed, document=document, models={identity(seed, code): code for code in MODELS})


def identity(seed: int, code: str) -> str:
    """Return the identity of a site's device."""
    return MODELS[code].named(code, secret(seed, code, "identity"))
