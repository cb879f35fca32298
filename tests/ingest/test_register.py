"""The register: files in, per-row errors out, devices claimed, swapped and moved."""

import itertools
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ingest import declaration, register, snapshot
from ingest.declaration import RegisterError
from ingest.register import Counts
from tests.ingest.conftest import HOURS, ids, town_rows

NOW_US = 1_790_000_000_000_000
Conn = psycopg.Connection[Any]


def faults(conn: Conn, raw: dict[str, Any]) -> list[str]:
    """Load `raw`, which must be refused, and return the faults as text."""
    with pytest.raises(RegisterError) as caught:
        register.load(conn, raw, NOW_US)
    return [str(e) for e in caught.value.errors]


def test_the_same_file_twice_changes_nothing(conn: Conn) -> None:
    first = register.load(conn, town_rows(), NOW_US)
    version = snapshot.version(conn)
    second = register.load(conn, town_rows(), NOW_US + 1)
    assert first["devices"] == Counts(created=4)
    assert first["persons"] == Counts(created=1)
    assert {name: c.unchanged for name, c in second.items()} == {
        "regions": 1,
        "gateways": 2,
        "sites": 2,
        "places": 4,
        "devices": 4,
        "persons": 1,
    }
    assert not any(c.created or c.changed for c in second.values())
    assert snapshot.version(conn) == version == 1


def test_a_changed_row_is_changed_and_raises_the_version_with_a_notice(conn: Conn, dsn: str) -> None:
    register.load(conn, town_rows(), NOW_US)
    with psycopg.connect(dsn, autocommit=True) as listener:
        listener.execute("LISTEN smartcare_register")
        raw = town_rows()
        raw["sites"][0]["capacity"] = "80"
        raw["persons"][0]["links"] = []
        counts = register.load(conn, raw, NOW_US)
        notice = next(listener.notifies(timeout=10))
    assert (counts["sites"], counts["persons"]) == (Counts(changed=1, unchanged=1), Counts(changed=1))
    assert notice.payload == "2"
    assert conn.execute("SELECT capacity FROM site WHERE code = 'HC01'").fetchone() == (80,)
    assert conn.execute("SELECT count(*) FROM person_link").fetchone() == (0,)


def test_a_dry_run_says_what_would_happen_and_writes_nothing(conn: Conn) -> None:
    counts = register.load(conn, town_rows(), NOW_US, dry_run=True)
    assert counts["sites"] == Counts(created=2)
    assert conn.execute("SELECT count(*) FROM site").fetchone() == (0,)
    assert snapshot.version(conn) == 0


def test_every_fault_is_named_with_row_field_what_came_and_what_was_expected(conn: Conn) -> None:
    raw = town_rows()
    raw["regions"].append({"code": "33048", "name": "短"})
    raw["sites"][0]["zone"] = "Asia/Haining"
    raw["sites"][1]["hours"] = {"mon": [["08:00", "12:00"], ["11:30", "17:00"]]}
    raw["places"][0]["colour"] = "red"
    raw["devices"][1]["class"] = "camera"
    del raw["gateways"][1]["shard"]
    found = faults(conn, raw)
    assert "regions row 2, code: got \"33048\", expected match pattern '^\\d{12}$'" in found
    assert 'sites row 1, zone: got "Asia/Haining", expected an IANA zone such as Asia/Shanghai' in found
    assert any(f.startswith("sites row 2, hours: got") and "do not overlap; those of mon and mon do" in f for f in found)
    assert 'places row 1, colour: got "red", expected no such field' in found
    assert any(f.startswith('devices row 2, class: got "camera", expected one of zigbee_contact') for f in found)
    assert "gateways row 2, shard: got nothing, expected a value" in found
    assert conn.execute("SELECT count(*) FROM region").fetchone() == (0,)


@pytest.mark.parametrize(
    ("hours", "good"),
    [
        ({"mon": [["22:00", "06:00"]], "tue": [["06:00", "24:00"]], "wed": [["00:00", "24:00"]]}, True),
        ({"mon": [["22:00", "06:00"]], "tue": [["05:00", "12:00"]]}, False),
        ({"sun": [["20:00", "03:00"]], "mon": [["02:00", "12:00"]]}, False),
        ({"mon": [["24:00", "12:00"]]}, False),
        ({"mon": [["8:00", "12:00"]]}, False),
        ({"monday": [["08:00", "12:00"]]}, False),
        ({"holiday": [["09:00", "12:00"], ["13:00", "15:00"]], "workday": []}, True),
        ({"holiday": [["09:00", "12:00"], ["11:00", "15:00"]]}, False),
        ({"workday": [["9:00", "12:00"]]}, False),
    ],
)
def test_hours_may_run_over_midnight_but_not_overlap(conn: Conn, hours: dict[str, Any], good: bool) -> None:
    raw = town_rows()
    raw["sites"][1]["hours"] = hours
    if good:
        register.load(conn, raw, NOW_US)
    else:
        assert [f.split(":")[0] for f in faults(conn, raw)] == ["sites row 2, hours"]


def test_rows_that_point_nowhere_are_refused(conn: Conn) -> None:
    raw = town_rows()
    raw["sites"][1]["parent"] = "HC09"
    raw["devices"][0]["place"] = "HC01/roof"
    raw["devices"][3]["gateway"] = "gw-x"
    raw["persons"][0]["links"][0]["device"] = "z2m/前门"
    found = faults(conn, raw)
    assert [f.split(":")[0] for f in found] == [
        "sites row 2, parent",
        "devices row 1, place",
        "devices row 4, gateway",
        "persons row 1, links.0",
    ]


def test_faces_are_refused_in_private_rooms_and_without_an_assessment(conn: Conn) -> None:
    raw = town_rows()
    raw["devices"][2] |= {"place": "HC01/nap", "assessment": ""}
    found = faults(conn, raw)
    assert [f.split(":")[0] for f in found] == ["devices row 3, assessment", "devices row 3, place"]
    register.load(conn, town_rows(), NOW_US)
    change = {"places": [town_rows()["places"][1] | {"room": "toilet"}]}
    assert [f.split(":")[0] for f in faults(conn, change)] == ["places row 1, place"]


def test_no_terminal_with_a_camera_gets_into_a_private_room_under_any_class(conn: Conn) -> None:
    for family, room in itertools.product(("face", "hikaccess", "zk", "dahua"), ("bathroom", "toilet", "changing", "rest")):
        raw = town_rows()
        raw["places"][2]["room"] = room
        raw["persons"] = []
        faces = {"identity": f"{family}/5500001", "place": "HC01/nap"}
        raw["devices"][2] |= faces | {"class": "face_terminal" if family == "face" else "access_terminal"}
        assert [f.split(":")[0] for f in faults(conn, raw)] == ["devices row 3, place"]
        raw["devices"][2] |= faces | {"class": "zigbee_contact", "assessment": ""}
        assert [f.split(":")[0] for f in faults(conn, raw)] == ["devices row 3, class"]


def test_an_unclaimed_terminal_is_claimed_with_an_assessment_for_a_room_that_is_not_private_only(
    conn: Conn, town: dict[str, int]
) -> None:
    conn.execute("INSERT INTO unclaimed VALUES (%s, 'hikaccess/side', 1, 2, 3, 2)", [town["gw:gw-hc01"]])

    def claimed(device_class: str, place: str, assessment: str) -> str:
        try:
            register.claim(conn, "gw-hc01", "hikaccess/side", device_class, place, NOW_US, assessment=assessment)
        except RegisterError as e:
            return e.errors[0].field
        return ""

    assert claimed("access_terminal", "HC01/door", "") == "assessment"
    assert claimed("access_terminal", "HC01/nap", "PIA-2026-07") == "place"
    assert claimed("lora_contact", "HC01/door", "") == "class"
    assert claimed("access_terminal", "HC01/door", "PIA-2026-07") == ""


def test_all_gateways_of_a_site_share_its_shard_and_a_shard_never_changes(conn: Conn) -> None:
    raw = town_rows()
    raw["devices"][3]["place"] = "HC01/door"
    assert faults(conn, raw) == ["devices row 4, gateway: got gw-hc02 on shard 4, expected shard 3, as all of site HC01"]
    register.load(conn, town_rows(), NOW_US)
    assert dict(conn.execute("SELECT code, shard FROM site").fetchall()) == {"HC01": 3, "HC02": 4}
    assert faults(conn, {"gateways": [{"code": "gw-hc01", "shard": "9"}]}) == [
        "gateways row 1, shard: got 9, expected 3: a gateway's shard is fixed when it is made"
    ]


def test_an_unclaimed_device_becomes_a_device_once(conn: Conn, town: dict[str, int]) -> None:
    conn.execute("INSERT INTO unclaimed VALUES (%s, 'z2m/后门', 1, 2, 3, 2)", [town["gw:gw-hc01"]])
    register.claim(conn, "gw-hc01", "z2m/后门", "zigbee_contact", "HC01/door", NOW_US)
    assert conn.execute("SELECT count(*) FROM unclaimed").fetchone() == (0,)
    device = ids(conn)["dev:gw-hc01 z2m/后门"]
    assert conn.execute("SELECT place, from_us FROM mounting WHERE device = %s", [device]).fetchall() == [
        (town["place:HC01/door"], 0)
    ]
    with pytest.raises(RegisterError, match="an unclaimed device of this gateway"):
        register.claim(conn, "gw-hc01", "z2m/后门", "zigbee_contact", "HC01/door", NOW_US)


def test_a_sensor_swap_keeps_the_place(conn: Conn, town: dict[str, int]) -> None:
    old, new = {"gateway": "gw-hc01", "identity": "z2m/前门", "class": "zigbee_contact"}, "z2m/前门2"
    register.load(conn, {"devices": [old, old | {"identity": new, "place": "HC01/door"}]}, NOW_US)
    spans = conn.execute(
        "SELECT d.identity, m.place, m.from_us, m.to_us FROM mounting m JOIN device d ON d.id = m.device"
        " WHERE d.identity LIKE 'z2m/前门%%' AND d.gateway = %s ORDER BY m.id",
        [town["gw:gw-hc01"]],
    ).fetchall()
    door = town["place:HC01/door"]
    assert spans == [("z2m/前门", door, 0, NOW_US), (new, door, 0, None)]


def test_a_moved_sensor_leaves_its_place_now_and_is_at_the_other_from_now(conn: Conn, town: dict[str, int]) -> None:
    row = town_rows()["devices"][1] | {"place": "HC01/canteen"}
    assert register.load(conn, {"devices": [row]}, NOW_US)["devices"] == Counts(changed=1)
    spans = snapshot.read(conn, ()).snapshot.mountings[town["dev:gw-hc01 lora/24e1c0ffee000001"]]
    assert spans == [(0, NOW_US, town["place:HC01/door"]), (NOW_US, 2**63 - 1, town["place:HC01/canteen"])]


def test_a_withdrawn_consent_is_not_revived_by_a_file(conn: Conn, town: dict[str, int]) -> None:
    del town
    conn.execute("UPDATE person SET consent_to_us = 5")
    assert [f.split(":")[0] for f in faults(conn, town_rows())] == ["persons row 1, token"]


YAML = """
regions: [{code: 330481003000, name: 海昌街道}]
sites:
  - {code: S1, name: 中心, kind: centre, region: 330481003000, hours: {mon: [[08:00, 17:00]]},
     rules: {left_open: {after_min: 30}}}
"""


def test_yaml_means_what_its_author_typed(conn: Conn, tmp_path: Path) -> None:
    file = tmp_path / "register.yaml"
    file.write_text(YAML)
    register.load(conn, declaration.read(file), NOW_US)
    stored = conn.execute("SELECT region, hours -> 'mon', rules FROM site").fetchall()
    assert stored == [("330481003000", [["08:00", "17:00"]], {"left_open": {"after_min": 30.0}})]


def test_csv_files_are_one_table_each(conn: Conn, tmp_path: Path) -> None:
    (tmp_path / "regions.csv").write_text("﻿code,name,name_en\n330481003000,海昌街道,\n", encoding="utf-8")
    (tmp_path / "sites.csv").write_text(
        "code,name,kind,region,capacity,hours\n"
        'S1,中心,centre,330481003000,,"{""mon"": [[""08:00"", ""17:00""]]}"\n'
        "S2,站,station,330481003000,30,{}\n"
    )
    assert register.load(conn, declaration.read(tmp_path), NOW_US)["sites"] == Counts(created=2)
    (tmp_path / "sites.csv").write_text("code,name,kind,region,capacity,hours\nS3,点,point,330481003000,many,[\n")
    found = faults(conn, declaration.read(tmp_path))
    assert [f.split(":")[0] for f in found] == ["sites row 1, capacity", "sites row 1, hours"]


def test_inputs_hold_one_shard_with_its_closures_in_force(conn: Conn, town: dict[str, int]) -> None:
    closure = "INSERT INTO closure (site, from_us, to_us, reason, author, at_us, cancelled) VALUES (%s, %s, %s, '', '', 0, %s)"
    for from_us, cancelled in ((10, False), (20, False), (20, True)):
        conn.execute(closure, [town["site:HC01"], from_us, from_us + 5, cancelled])
    inputs = snapshot.compile_inputs(conn, [3], 7)[3]
    assert [(s.code, s.closed) for s in inputs.sites] == [("HC01", [(10, 15)])]
    assert inputs.sites[0].hours["mon"] == [("07:30", "17:00")]
    assert inputs.sites[0].hours["sun"] == []
    assert [p.code for p in inputs.places] == ["door", "canteen", "nap"]
    assert {d.identity: (d.family, d.alive_every_us // 60_000_000) for d in inputs.devices} == {
        "z2m/前门": ("door", 180),
        "lora/24e1c0ffee000001": ("counter", 30),
        "face/5500001": ("terminal", 5),
    }
    assert (inputs.version, [g.code for g in inputs.gateways]) == (7, ["gw-hc01"])
    assert set(HOURS) < set(inputs.sites[0].hours)


def test_a_gateway_is_told_of_consenting_people_only_and_the_version_says_so(conn: Conn, town: dict[str, int]) -> None:
    gateway = town["gw:gw-hc01"]
    version, persons = snapshot.read(conn, ()).snapshot.config(gateway, NOW_US)
    assert [(p.device, p.local_id, p.token) for p in persons] == [("face/5500001", "17", "5e" * 16)]
    assert 0 < version < 2**31
    assert snapshot.read(conn, ()).snapshot.config(gateway, NOW_US) == (version, persons)
    assert snapshot.read(conn, ()).snapshot.config(gateway, 1_000_000) == (0, [])
    conn.execute("UPDATE person SET consent_to_us = %s", [NOW_US])
    assert snapshot.read(conn, ()).snapshot.config(gateway, NOW_US) == (0, [])
