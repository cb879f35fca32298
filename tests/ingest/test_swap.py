"""Swapping a sensor or a gateway: the place's counts go on, and nothing is counted twice."""

from typing import Any

import psycopg
import pytest

from ingest import register, snapshot
from ingest.declaration import RegisterError
from ingest.swap import swap_device, swap_gateway
from tests.ingest.conftest import ids
from tests.ingest.frames import COUNTER, DOOR, MINUTE_US, NOW_US, Sender, contact, counts, passage, store, total

Conn = psycopg.Connection[Any]
NEW = "gw-new"


def unclaimed(conn: Conn, gateway: int, identity: str) -> None:
    conn.execute("INSERT INTO unclaimed VALUES (%s, %s, 1, 2, 3, 2)", [gateway, identity])


def test_a_new_sensor_goes_on_with_the_counts_of_the_place(conn: Conn, dsn: str, town: dict[str, int]) -> None:
    door, sender = town["place:HC01/door"], Sender()
    with store(dsn) as s:
        s.take(sender.frame(contact(NOW_US - 5 * MINUTE_US, 1), contact(NOW_US - 4 * MINUTE_US, 0)))
        before = counts(conn, door)
        unclaimed(conn, town["gw:gw-hc01"], "z2m/新前门")
        assert swap_device(conn, "gw-hc01", DOOR, "z2m/新前门", NOW_US) == "HC01/door"
    with store(dsn) as s:
        s.take(sender.frame(contact(NOW_US + MINUTE_US, 1, "z2m/新前门"), contact(NOW_US + 2 * MINUTE_US, 1)), now_us=NOW_US + 1)
    after = counts(conn, door)
    assert after["openings"] == before["openings"] + 1  # the old one lies in a drawer: it counts for no place
    places = conn.execute("SELECT place FROM event ORDER BY pos, ordinal").fetchall()
    assert [p for (p,) in places] == [door, door, door, 0]
    assert conn.execute("SELECT count(*) FROM unclaimed").fetchone() == (0,)


def test_a_sensor_is_only_swapped_for_one_that_is_heard_and_free(conn: Conn, town: dict[str, int]) -> None:
    version = snapshot.version(conn)
    for old, new in ((DOOR, "z2m/nowhere"), (DOOR, COUNTER), ("z2m/nowhere", DOOR)):
        with pytest.raises(RegisterError):
            swap_device(conn, "gw-hc01", old, new, NOW_US)
    unclaimed(conn, town["gw:gw-hc01"], "face/9")
    with pytest.raises(RegisterError, match="assessment"):
        swap_device(conn, "gw-hc01", DOOR, "face/9", NOW_US, device_class="face_terminal")
    assert snapshot.version(conn) == version


def test_a_new_gateway_goes_on_where_the_old_one_ended(conn: Conn, dsn: str, town: dict[str, int]) -> None:
    register.load(conn, {"gateways": [{"code": NEW, "shard": 3}]}, NOW_US)
    unclaimed(conn, ids(conn)[f"gw:{NEW}"], COUNTER)
    old, new = Sender(), Sender(NEW, stream=0xB2)
    door, canteen = town["place:HC01/door"], town["place:HC01/canteen"]
    with store(dsn) as s:
        s.take(
            old.frame(total(NOW_US - 9 * MINUTE_US, 100), total(NOW_US - 8 * MINUTE_US, 104), passage(NOW_US - 7 * MINUTE_US, 7))
        )
        before = counts(conn, door), counts(conn, canteen)
    assert swap_gateway(conn, "gw-hc01", NEW) == 3
    with store(dsn) as s:
        s.take(new.frame(total(NOW_US - MINUTE_US, 109), passage(NOW_US - 7 * MINUTE_US, 7), passage(NOW_US - MINUTE_US, 8)))
        refused = s.take(old.frame(total(NOW_US - 2 * MINUTE_US, 108)))
    after = counts(conn, door), counts(conn, canteen)
    assert after[0]["people_in"] == before[0]["people_in"] + 5  # those who passed while nobody listened too
    assert after[1]["passages"] == before[1]["passages"] + 1  # the record that the terminal said again counts once
    assert b"suspended" in refused[0].payload
    assert conn.execute("SELECT count(*) FROM unclaimed").fetchone() == (0,)
    assert ids(conn)[f"dev:{NEW} {DOOR}"] == town[f"dev:gw-hc01 {DOOR}"]


def test_a_gateway_of_another_shard_cannot_take_over(conn: Conn, town: dict[str, int]) -> None:
    for new, fault in (("gw-hc02", "shard"), ("gw-none", "two gateways"), ("gw-hc01", "two gateways")):
        with pytest.raises(RegisterError, match=fault):
            swap_gateway(conn, "gw-hc01", new)
    register.load(conn, {"gateways": [{"code": NEW, "shard": 3}]}, NOW_US)
    register.load(conn, {"devices": [{"gateway": NEW, "identity": DOOR, "class": "zigbee_contact"}]}, NOW_US)
    with pytest.raises(RegisterError, match="entered at"):
        swap_gateway(conn, "gw-hc01", NEW)
    assert town[f"dev:gw-hc01 {DOOR}"] == ids(conn)[f"dev:gw-hc01 {DOOR}"]
