"""Bodies as an endpoint is told of them; mappings are tried on them before they are taken."""

from collections.abc import Mapping

import msgspec

SAMPLE = msgspec.json.encode(
    {
        "type": "alert.opened",
        "timestamp": "2026-11-20T01:31:05Z",
        "data": {
            "alert_id": 1024,
            "version": 1,
            "rule": "not_opened",
            "rule_zh": "未按时开门",
            "rule_en": "Not opened",
            "state": "open",
            "severity": "urgent",
            "site": {"code": "sample", "name": "示例照料中心", "region": "999001001000"},
            "subject": {"kind": "site", "code": "sample", "name": "示例照料中心"},
            "begin": "2026-11-20T01:30:00Z",
            "detected": "2026-11-20T01:31:05Z",
            "end": None,
            "late": False,
            "reason_zh": "09:30 前未开门，3 个传感器均在线",
            "reason_en": "Not opened by 09:30 with 3 sensors watching",
            "ended_zh": "",
            "ended_en": "",
            "outcome": None,
            "note": "",
        },
    }
)
"""An alert as an endpoint is told of it; mappings are tried on it before they are taken."""

_DAY = {
    "period": "day",
    "version": 1,
    "date": "2026-11-20",
    "begin": "2026-11-19T16:00:00Z",
    "end": "2026-11-20T16:00:00Z",
    "site": {"code": "sample", "name": "示例照料中心", "region": "999001001000", "kind": "centre"},
}
_SEEN = {"minutes": 1440, "seen_minutes": 1440}
_LIFE = {"first": "2026-11-20T00:12:40Z", "last": "2026-11-20T09:31:02Z"}
_PEOPLE = {"in": 31, "out": 30, "passages": 12, "openings": 4}
_SLOT = {"begin": "2026-11-20T02:00:00Z", "served": 12, "anonymous": 3, "staff": 2}
_DEVICE = {
    "code": "z2m/front",
    "gateway": "gw-sample",
    "name": "",
    "class": "zigbee_contact",
    "place": "door",
    "state": "online",
    "last": "2026-11-20T09:31:02Z",
}


def _data(what: str, figures: Mapping[str, object]) -> bytes:
    data = {"what": what, **_DAY, **figures}
    return msgspec.json.encode({"type": f"data.{what}", "timestamp": "2026-11-20T16:05:00Z", "data": data})


DATA_SAMPLES = {
    "counts": _data(
        "counts", _SEEN | _PEOPLE | _LIFE | {"places": [{"code": "door", "name": "前门", "room": "entrance"} | _PEOPLE]}
    ),
    "opening": _data("opening", _SEEN | {"opened": True} | _LIFE | {"openings": 4}),
    "service": _data("service", _SEEN | {"served": 12, "anonymous": 3, "staff": 2, "slots": [_SLOT], "rule": "…"}),
    "devices": _data("devices", {"devices": [_DEVICE]}),
}
"""Data of a site's day, by what it is."""
