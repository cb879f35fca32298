"""Generated registers: without fault, whatever their size, and always the same."""

import csv
from pathlib import Path

import pytest

from firmware_sim.fleet import SIZES, TOWN_SITES, build_fleet, write_register
from ingest.declaration import check, read


@pytest.mark.parametrize("name", ["centre", "town", "city"])
def test_the_register_has_no_fault(name: str) -> None:
    declaration, errors = check(build_fleet(name, 1).register())
    assert errors == []
    assert len(declaration.sites) == SIZES[name]


def test_a_city_has_the_twelve_towns_of_haining() -> None:
    document = build_fleet("city", 1).document
    towns = {s["region"] for s in document["sites"]}
    assert len(towns) == 12
    assert all(t.startswith("330481") and t.endswith("000") and len(t) == 12 for t in towns)
    assert len(document["sites"]) == 12 * TOWN_SITES


def test_a_province_has_25000_sites_and_every_code_once() -> None:
    document = build_fleet("province", 1).document
    for table, key in (("regions", "code"), ("sites", "code"), ("gateways", "code"), ("devices", "identity")):
        names = [row[key] for row in document[table]]
        assert len(set(names)) == len(names)
    assert len(document["sites"]) == 25_000
    assert all(len(r["code"]) == 12 and r["code"].isdigit() for r in document["regions"])


def test_the_same_seed_gives_the_same_register_and_a_smaller_fleet_is_a_part_of_a_larger_one() -> None:
    assert build_fleet("town", 4).document == build_fleet("town", 4).document
    assert build_fleet("town", 4).document["devices"] != build_fleet("town", 5).document["devices"]
    assert build_fleet("city", 4).document["sites"][:TOWN_SITES] == build_fleet("town", 4).document["sites"]


def test_a_register_written_as_csv_is_read_as_the_same_register(tmp_path: Path) -> None:
    town = build_fleet("centre", 2)
    write_register(town, tmp_path)
    written, errors = check(read(tmp_path))
    assert errors == []
    assert written == check(town.register())[0]
    with (tmp_path / "sites.csv").open(encoding="utf-8") as f:
        assert len(list(csv.reader(f))) == 1 + SIZES["centre"]
