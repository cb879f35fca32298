"""A small town, a connection, and a clock that stands still."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from gateway.clock import now_us
from ingest import register

HOURS = {day: [["07:30", "17:00"]] for day in ("mon", "tue", "wed", "thu", "fri")}


def town_rows() -> dict[str, Any]:
    """Return a register: two sites on two shards, three families of sensors, one resident."""
    return {
        "regions": [{"code": "330481003000", "name": "海昌街道"}],
        "sites": [
            {
                "code": "HC01",
                "name": "海昌照料中心",
                "kind": "centre",
                "region": "330481003000",
                "hours": HOURS,
                "capacity": "60",
            },
            {"code": "HC02", "name": "双喜睦邻点", "kind": "point", "parent": "HC01", "region": "330481003000", "hours": HOURS},
        ],
        "places": [
            {"site": "HC01", "code": "door", "name": "前门", "room": "entrance"},
            {"site": "HC01", "code": "canteen", "name": "食堂", "room": "canteen"},
            {"site": "HC01", "code": "nap", "name": "休息室", "room": "rest"},
            {"site": "HC02", "code": "door", "name": "前门", "room": "entrance"},
        ],
        "gateways": [{"code": "gw-hc01", "shard": "3"}, {"code": "gw-hc02", "shard": "4"}],
        "devices": [
            {"gateway": "gw-hc01", "identity": "z2m/前门", "class": "zigbee_contact", "place": "HC01/door"},
            {"gateway": "gw-hc01", "identity": "lora/24e1c0ffee000001", "class": "lora_counter", "place": "HC01/door"},
            {
                "gateway": "gw-hc01",
                "identity": "face/5500001",
                "class": "face_terminal",
                "place": "HC01/canteen",
                "assessment": "PIA-2026-07",
            },
            {"gateway": "gw-hc02", "identity": "z2m/前门", "class": "zigbee_contact", "place": "HC02/door"},
        ],
        "persons": [
            {
                "token": "5e" * 16,
                "site": "HC01",
                "role": "resident",
                "consent_from": "2026-01-05T09:00:00+08:00",
                "links": [{"gateway": "gw-hc01", "device": "face/5500001", "local_id": "17"}],
            }
        ],
    }


@pytest.fixture
def conn(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    """An autocommit connection to this test's database."""
    with psycopg.connect(dsn, autocommit=True) as c:
        yield c


@pytest.fixture
def town(conn: psycopg.Connection[Any]) -> dict[str, int]:
    """The small town in this test's database: ids by "gw:<code>", "dev:<gateway> <identity>", "place:<site>/<place>"."""
    register.load(conn, town_rows(), now_us())
    return ids(conn)


def ids(conn: psycopg.Connection[Any]) -> dict[str, int]:
    """Return the register's ids by name."""
    found = conn.execute(
        "SELECT 'gw:' || code, id FROM gateway"
        " UNION ALL SELECT 'dev:' || g.code || ' ' || d.identity, d.id FROM device d JOIN gateway g ON g.id = d.gateway"
        " UNION ALL SELECT 'place:' || s.code || '/' || p.code, p.id FROM place p JOIN site s ON s.id = p.site"
        " UNION ALL SELECT 'site:' || code, id FROM site"
    ).fetchall()
    return dict(found)
