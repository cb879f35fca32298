"""Swapping what wears out, a sensor or a whole gateway, without a place losing its history.

One decision: profiles, roll-ups and rules belong to the place, so a new sensor is another device mounted there from now on. A new
gateway takes the devices over as they are: their ids stay, and with them running totals and the numbers of records that were
counted already, so that nothing is counted twice and nobody who passed meanwhile is lost.
"""

from typing import Any

import psycopg
from psycopg.rows import dict_row

from ingest import register
from ingest.declaration import RegisterError, RowError
from ingest.store.queries import Queries

QUERIES = Queries("ingest")


def swap_device(
    conn: psycopg.Connection[Any], gateway: str, old: str, new: str, now_us: int, *, new_gateway: str = "", device_class: str = ""
) -> str:
    """Mount identity `new` where `old` is mounted now, with what is known of the old one. Returns the place.

    new_gateway: where the new one is heard, "" the same. device_class: of the new one, "" as the old one's. Raises RegisterError.
    """
    heard_by = new_gateway or gateway
    with conn.transaction(), conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(QUERIES["mounted_device"], {"gateway": gateway, "identity": old}).fetchone()
        if row is None:
            raise _fault("identity", f"{gateway} {old}", "a device that is mounted at a place")
        if not cursor.execute(QUERIES["is_free"], {"gateway": heard_by, "identity": new}).fetchone():
            raise _fault("identity", f"{heard_by} {new}", "a device that is heard there and is mounted nowhere")
        taken_down = row | {"gateway": gateway, "identity": old, "place": None}
        mounted = row | {"gateway": heard_by, "identity": new, "class": device_class or row["class"]}
        register.load(conn, {"devices": [taken_down, mounted]}, now_us)
    return str(row["place"])


def swap_gateway(conn: psycopg.Connection[Any], old: str, new: str) -> int:
    """Give all devices of gateway `old` to gateway `new`, and suspend the old one. Returns how many.

    What the old one has not sent yet is refused from then on: where it still works, let it catch up first. Raises RegisterError.
    """
    with conn.transaction(), conn.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(QUERIES["two_gateways"], {"old": old, "new": new}).fetchone()
        if row is None or old == new:
            raise _fault("gateway", f"{old}, {new}", "two gateways of the register")
        if row["old_shard"] != row["new_shard"]:
            expected = (
                f"shard {row['old_shard']}, as all of its sites: `smartcare gateway add {new}-2 --shard {row['old_shard']}`"
            )
            raise _fault("gateway", f"{new} on shard {row['new_shard']}", expected)
        if row["both"]:
            raise _fault("identity", f"{row['both']} devices", f"no device that is entered at {old} and at {new}")
        moved = cursor.execute(QUERIES["hand_over_devices"], {"old": old, "new": new}).rowcount
        cursor.execute(QUERIES["claim_all_known"], {"code": new})
        register.suspend(conn, old, suspended=True)  # which also raises the register's version
    return moved


def _fault(field: str, came: str, expected: str) -> RegisterError:
    return RegisterError([RowError(table="devices", row=1, field=field, came=came, expected=expected)])
