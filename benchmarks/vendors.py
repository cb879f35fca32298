"""What the devices of a hosted gateway say: half counters, three doors in ten, two terminals in ten, no pictures.

One decision: each message makes a known number of events, so that what the gateway has sent up tells how many messages it has
done; MQTT messages are kept as whole packets and HTTP requests as whole bytes, because the load shares the machine.

    of ten: 3 VS133 on ChirpStack, 1 VS133 and 1 Hikvision camera by HTTP │ 2 Zigbee doors, 1 WS301 on ChirpStack
            1 mqtt/face by MQTT, 1 Hikvision terminal by HTTP
"""

import base64
import json
import struct
from dataclasses import dataclass
from datetime import UTC, datetime

from benchmarks.town import publish

SITES = 100
PUSHED = {"milesight": 3, "hikcount": 4, "hikaccess": 9}
"""Families that post, with their place among ten messages."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """A message: an MQTT packet, or with `http` a request. events: what the gateway makes of it."""

    data: bytes
    events: int
    http: bool = False


def name(family: str, site: int) -> str:
    """Return the name of a site's device that posts."""
    return f"24E1C0FFEE{site:06}" if family == "milesight" else f"{family}-{site}"


def message(n: int, now_us: int, paths: dict[tuple[str, str], str]) -> Said:
    """Return message number n. paths: (family, name) → path of its address."""
    site, turn = n // 10 % SITES, n // (10 * SITES) + 1
    when = datetime.fromtimestamp(now_us // 1_000_000, UTC)
    match n % 10:
        case 0 | 1 | 2 as line:
            data = struct.pack("<BBIBBIBBHH", 3, 0xD2, 3 * turn, 4, 0xD2, 2 * turn, 5, 0xCC, 3, 2)
            return Said(data=_lorawan(f"24e1c0ffee0{line}{site:04x}", "VS133", turn, when, data), events=2)
        case 7:
            data = bytes([0x01, 0x75, 90, 0x03, 0x00, turn % 2])
            return Said(data=_lorawan(f"24e1c0ffee07{site:04x}", "WS301", turn, when, data), events=1 + (turn == 1))
        case 5 | 6 as door:
            said = {"battery": 87, "contact": turn % 2 == 0, "linkquality": 131, "voltage": 2935, "battery_low": False}
            topic = f"zigbee2mqtt/site-{site}/door-{door}"
            return Said(data=publish(topic, _json(said | {"last_seen": _iso(when, turn)})), events=1 + 2 * (turn == 1))
        case 8:
            return Said(data=publish(f"mqtt/face/{2000000 + site}/Rec", _face(site, turn, when)), events=1)
        case 3:
            return Said(
                data=_post(paths["milesight", name("milesight", site)], _milesight(site, turn, when)), events=2, http=True
            )
        case 4:
            path = paths["hikcount", name("hikcount", site)]
            return Said(data=_post(path, _camera(turn, when), "application/xml"), events=1, http=True)
        case _:
            return Said(data=_post(paths["hikaccess", name("hikaccess", site)], _terminal(turn, when)), events=1, http=True)


def _lorawan(eui: str, model: str, turn: int, when: datetime, data: bytes) -> bytes:
    said = {
        "deduplicationId": "3ac7e3c4-4401-4b8d-9386-a5c902f9202d",
        "time": f"{when:%Y-%m-%dT%H:%M:%S}.{turn % 1000:03d}123456+00:00",
        "deviceInfo": {
            "tenantId": "52f14cd4-c6f1-4fbd-8f87-4025e1d49242",
            "tenantName": "elder-care",
            "applicationId": "7c0a5f0e-5d5e-4f4a-9f0e-3a1d6a2b9c41",
            "applicationName": "elder-care",
            "deviceProfileId": "b2c9a1d0-4a43-4b9b-9d0f-1f2b0f7f6a11",
            "deviceProfileName": f"Milesight {model}",
            "deviceName": f"{model}-{eui[-4:]}",
            "devEui": eui,
            "deviceClassEnabled": "CLASS_A",
            "tags": {"model": model},
        },
        "devAddr": f"01{eui[-6:]}",
        "adr": True,
        "dr": 5,
        "fCnt": turn,
        "fPort": 85,
        "confirmed": False,
        "data": base64.b64encode(data).decode(),
        "rxInfo": [{"gatewayId": "0016c001f1a2b3c4", "uplinkId": 4217106255, "rssi": -71, "snr": 8.5, "context": "EFwMtA=="}],
        "txInfo": {
            "frequency": 471500000,
            "modulation": {"lora": {"bandwidth": 125000, "spreadingFactor": 7, "codeRate": "CR_4_5"}},
        },
    }
    return publish(f"application/7c0a5f0e-5d5e-4f4a-9f0e-3a1d6a2b9c41/device/{eui}/event/up", _json(said))


def _face(site: int, turn: int, when: datetime) -> bytes:
    info = {
        "facesluiceId": str(2000000 + site),
        "customId": "",
        "personId": str(turn % 40),
        "RecordID": str(turn),
        "VerifyStatus": "1",
        "PersonType": "0",
        "similarity1": "91.000000",
        "Sendintime": 1,
        "PushType": 0,
        "time": f"{when.astimezone():%Y-%m-%d %H:%M:%S}",
        "personName": "某人",
        "isNoMask": "1",
    }
    return _json({"operator": "RecPush", "info": info})


def _milesight(site: int, turn: int, when: datetime) -> bytes:
    serial = name("milesight", site)
    said = {
        "event": "periodic_report",
        "device_info": {"device_name": "People Counter", "device_sn": serial, "firmware_version": "V_133.1.0.6"},
        "line_total_data": [{"line": 1, "total": {"in_counted": 3 * turn, "out_counted": 2 * turn}}],
        "line_periodic_data": [{"line": 1, "total": {"in": 3, "out": 2}}],
        "time_info": {"end_time": f"{_iso(when, turn)[:-5]}+00:00", "time_zone": "UTC+0:00"},
    }
    return _json(said)


def _camera(turn: int, when: datetime) -> bytes:
    return (
        '<?xml version="1.0" encoding="UTF-8"?><EventNotificationAlert version="2.0" xmlns="http://www.hikvision.com/ver20/XMLSchema">'
        f"<ipAddress>192.0.2.64</ipAddress><portNo>80</portNo><channelID>1</channelID><dateTime>{_iso(when, turn)}</dateTime>"
        "<eventType>PeopleCounting</eventType><eventState>active</eventState><peopleCounting>"
        f"<statisticalMethods>realTime</statisticalMethods><RealTime><time>{_iso(when, turn)}</time></RealTime>"
        f"<enter>{3 * turn}</enter><exit>{2 * turn}</exit><regionsID>1</regionsID></peopleCounting></EventNotificationAlert>"
    ).encode()


def _terminal(turn: int, when: datetime) -> bytes:
    record = {
        "deviceName": "Access Controller",
        "majorEventType": 5,
        "subEventType": 75,
        "employeeNoString": f"E-{turn % 40}",
        "serialNo": turn,
        "currentEvent": True,
        "name": "某人",
        "attendanceStatus": "undefined",
    }
    said = {"ipAddress": "192.0.2.70", "dateTime": _iso(when, turn), "eventType": "AccessControllerEvent"}
    return _json(said | {"AccessControllerEvent": record})


def _post(path: str, body: bytes, kind: str = "application/json") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: gateway\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _json(said: object) -> bytes:
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()


def _iso(when: datetime, turn: int) -> str:
    return f"{when:%Y-%m-%dT%H:%M:%S}.{turn % 1000:03d}Z"
