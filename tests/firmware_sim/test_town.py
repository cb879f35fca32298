"""The demonstration town: a register that can be imported, and a site that has just closed at any time of day."""

from datetime import UTC, datetime, timedelta

import pytest
import yaml

from firmware_sim.habits import last_closing, open_until
from firmware_sim.town import ZONE, Town, build_town
from gateway.clock import DAY_US, MINUTE_US
from gateway.wire import MAX_DEVICE_BYTES
from ingest.declaration import check

MONDAY_US = 1_789_948_800_000_000  # 2026-09-21T00:00:00Z, 08:00 in Shanghai


def test_the_register_has_no_fault() -> None:
    for sites in (1, 2, 8, 19):
        declaration, errors = check(build_town(1, sites, MONDAY_US).register())
        assert errors == []
        assert len(declaration.sites) == sites


def test_the_register_survives_being_written_to_a_file() -> None:
    town = build_town(1, 8, MONDAY_US)
    again = Town(seed=1, document=yaml.safe_load(yaml.safe_dump(town.register(), allow_unicode=True)), held_open=town.held_open)
    assert again.sites() == town.sites()


def test_everything_in_the_register_refers_to_something_in_it() -> None:
    r = build_town(3, 19, MONDAY_US).register()
    places = {f"{p['site']}/{p['code']}" for p in r["places"]}
    assert {d["place"] for d in r["devices"]} == places
    assert {s["region"] for s in r["sites"]} <= {x["code"] for x in r["regions"]}
    assert {s["parent"] for s in r["sites"] if "parent" in s} <= {s["code"] for s in r["sites"]}
    identities = [d["identity"] for d in r["devices"]]
    assert len(set(identities)) == len(identities)
    assert all(len(i.encode()) <= MAX_DEVICE_BYTES and " " not in i for i in identities)
    assert {link["device"] for p in r["persons"] for link in p["links"]} <= set(identities)
    assert len({p["token"] for p in r["persons"]}) == len(r["persons"])
    assert all(d["assessment"] for d in r["devices"] if d["class"] == "face_terminal")


@pytest.mark.parametrize("minute", range(0, 24 * 60, 17))
def test_at_any_time_of_day_one_site_has_closed_45_to_50_minutes_ago_and_two_never_close(minute: int) -> None:
    now_us = MONDAY_US + minute * MINUTE_US + 12_345_678
    town = build_town(1, 8, now_us)
    (held,) = [site for site in town.sites() if site.held_open]
    closed_us = last_closing(held, now_us)
    assert 45 * MINUTE_US <= now_us - closed_us < 50 * MINUTE_US + 60_000_000
    assert open_until(held, now_us) is None
    assert open_until(held, closed_us - 1) == closed_us
    always = [s for s in town.sites() if all(open_until(s, now_us + h * DAY_US // 24) is not None for h in range(24))]
    assert len(always) == 2


def test_the_devices_do_not_depend_on_the_time_of_day() -> None:
    early, late = build_town(1, 8, MONDAY_US), build_town(1, 8, MONDAY_US + DAY_US // 2)
    assert early.register()["devices"] == late.register()["devices"]
    assert early.held_open == late.held_open
    assert build_town(2, 8, MONDAY_US).register()["devices"] != early.register()["devices"]


def test_the_zone_is_the_one_that_midnight_is_counted_in() -> None:
    assert {site.zone for site in build_town(1, 8, MONDAY_US).sites()} == {ZONE}
    assert datetime.fromtimestamp(MONDAY_US / 1e6, UTC) + timedelta(hours=8) == datetime(2026, 9, 21, 8, tzinfo=UTC)
