"""A town with a site for each family of devices, to see every vendor's bytes go all the way.

One decision: a site has nothing but its family's device, so that what is known of the site has come from it alone.
"""

from collections.abc import Mapping
from typing import Any

from firmware_sim.town import DAYS, REGIONS, ZONE, Town, secret

GATEWAY, SHARD = "families-01", 7
FAMILIES = {
    "z2m": ("zigbee_contact", "Zigbee 门磁", "Zigbee door contact"),
    "ws301": ("lora_contact", "LoRaWAN 门磁", "LoRaWAN door contact"),
    "ha03": ("nbiot_contact", "NB-IoT 门磁", "NB-IoT door contact"),
    "vs133": ("lora_counter", "LoRaWAN 计数器", "LoRaWAN counter"),
    "milesight": ("network_counter", "Milesight 计数器", "Milesight counter"),
    "hikcount": ("network_counter", "海康客流相机", "Hikvision counting camera"),
    "mqttface": ("face_terminal", "人脸终端", "Face terminal"),
    "face": ("face_terminal", "人脸终端（HTTP）", "Face terminal over HTTP"),
    "hikaccess": ("access_terminal", "海康门禁", "Hikvision access terminal"),
    "dahua": ("access_terminal", "大华门禁", "Dahua access terminal"),
    "zk": ("access_terminal", "中控考勤", "ZKTeco terminal"),
}
"""Site code → device class, name. "face" is the terminal that posts, "mqttface" the one that speaks MQTT."""
POSTING = ("ha03", "milesight", "hikcount", "face", "hikaccess", "dahua", "zk")


def build_families(seed: int, hours: Mapping[str, Any] | None = None) -> Town:
    """Build the town. hours: of every site, by weekday; without them they never close."""
    document: dict[str, list[dict[str, Any]]] = {
        "regions": [{"code": code, "name": name, "name_en": en} for code, name, en in REGIONS[:2]],
        "sites": [],
        "places": [],
        "gateways": [{"code": GATEWAY, "shard": SHARD}],
        "devices": [],
        "persons": [],
    }
    open_always = {day: [["00:00", "24:00"]] for day in DAYS}
    for code, (device_class, name, en) in FAMILIES.items():
        site = {"code": code, "name": name, "name_en": en, "kind": "point", "region": REGIONS[1][0], "zone": ZONE}
        document["sites"].append(site | {"capacity": 40, "hours": dict(hours or open_always)})
        document["places"].append({"site": code, "code": "front", "name": "前门", "name_en": "Front door", "room": "entrance"})
        device = {"gateway": GATEWAY, "identity": identity(seed, code), "class": device_class, "name": name}
        document["devices"].append(device | {"place": f"{code}/front", "assessment": f"PIA-{code}"})
        if device_class in ("face_terminal", "access_terminal"):
            link = {"gateway": GATEWAY, "device": device["identity"], "local_id": "1"}
            person = {"token": secret(seed, code, "person")[:32], "site": code, "role": "resident"}
            document["persons"].append(person | {"consent_from": "2025-01-06T00:00:00+08:00", "links": [link]})
    return Town(seed=seed, document=document, posting=frozenset(identity(seed, code) for code in POSTING))


def identity(seed: int, code: str) -> str:
    """Return the identity of a site's device."""
    digits = secret(seed, code, "identity")
    number = str(1_000_000 + int(digits[:8], 16) % 9_000_000)
    return {
        "z2m": "z2m/families/前门",
        "ws301": f"lora/24e124{digits[:10]}",
        "vs133": f"lora/24e125{digits[:10]}",
        "ha03": f"ha03/86{number}{number[:6]}",
        "milesight": f"milesight/6771{digits[:12]}",
        "mqttface": f"face/{number}",
    }.get(code, f"{code}/{number}")
