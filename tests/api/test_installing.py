"""An installer: claims by the number on the device, swaps, and walks through a site while the page ticks off."""

from collections.abc import Iterator

import httpx
import pytest

from gateway.clock import MINUTE_US, now_us
from gateway.events import Flag, Kind
from tests.api.conftest import Running, Town
from tests.api.test_live import events

EUI = "24E124A1B2C3D4E5"


@pytest.fixture
def installer(running: Running, town: Town) -> Iterator[httpx.Client]:
    """Who installs at the eastern site, with two gateways: one that serves the site, one that nobody has used yet."""
    conn = town.county.conn
    conn.execute("INSERT INTO gateway (code, shard) VALUES ('gw-east', 1), ('gw-fresh', 1), ('gw-west', 2)")
    for gateway, place in (("gw-east", town.county.place(town.east)), ("gw-west", town.county.place(town.west))):
        conn.execute(
            "WITH d AS (INSERT INTO device (gateway, identity, class)"
            " SELECT id, 'z2m/door', 'zigbee_contact' FROM gateway WHERE code = %s RETURNING id)"
            " INSERT INTO mounting (device, place, from_us) SELECT id, %s, 0 FROM d",
            [gateway, place],
        )
        hear(town, gateway, "z2m/0x00158d0001abcdef", 1 << Kind.CONTACT)
    with running.client(town.county.session(town.county.account("fitter", "installer", town.east))) as client:
        yield client


def hear(town: Town, gateway: str, identity: str, kinds: int) -> None:
    """A gateway hears a device that nobody has entered."""
    query = "INSERT INTO unclaimed SELECT id, %s, %s, %s, 3, %s FROM gateway WHERE code = %s"
    town.county.conn.execute(query, [identity, now_us(), now_us(), kinds, gateway])


def mounted(town: Town) -> list[tuple[str, str, str]]:
    """What is mounted now: gateway, identity, place."""
    return town.county.conn.execute(
        "SELECT g.code, d.identity, s.code || '/' || p.code FROM mounting m JOIN device d ON d.id = m.device"
        " JOIN gateway g ON g.id = d.gateway JOIN place p ON p.id = m.place JOIN site s ON s.id = p.site"
        " WHERE m.to_us IS NULL ORDER BY 1, 2"
    ).fetchall()


def audited(town: Town) -> list[tuple[str, str, str]]:
    return town.county.conn.execute("SELECT who, action, subject FROM audit ORDER BY id").fetchall()


def test_the_first_device_of_a_fresh_gateway_is_claimed_by_the_qr_code_on_it(installer: httpx.Client, town: Town) -> None:
    hear(town, "gw-fresh", f"lora/{EUI.lower()}", 1 << Kind.COUNT_TOTAL)
    for code in (EUI, f"LW:D0:24E124C0002A0001:{EUI}:0101F0FE", f"SN:6710B12345670012;DevEUI:{EUI}"):
        (found,) = installer.get("/api/v1/unclaimed", params={"number": code}).json()
        assert (found["gateway"], found["likely_class"]) == ("gw-fresh", "lora_counter")
    claim = {"gateway": "gw-fresh", "identity": found["identity"], "device_class": "lora_counter", "place": "east/p1"}
    assert installer.post("/api/v1/claims", json=claim).status_code == 201
    assert installer.post("/api/v1/claims", json=claim).status_code == 404  # it is known by now
    assert ("gw-fresh", f"lora/{EUI.lower()}", "east/p1") in mounted(town)
    assert audited(town) == [("fitter", "device.claimed", "site/east")]


def test_what_is_elsewhere_looks_as_if_it_were_not_there(installer: httpx.Client, east_staff: httpx.Client, town: Town) -> None:
    found = installer.get("/api/v1/unclaimed", params={"number": "0x00158d0001abcdef"}).json()
    assert [f["gateway"] for f in found] == ["gw-east"]  # the western gateway hears one too
    claim = {"gateway": "gw-east", "identity": found[0]["identity"], "device_class": "zigbee_contact", "place": "west/p0"}
    for body in (claim, claim | {"gateway": "gw-west", "place": "east/p0"}):
        assert installer.post("/api/v1/claims", json=body).status_code == 404
    swap = {"gateway": "gw-west", "old": "z2m/door", "new": found[0]["identity"], "new_gateway": "gw-east"}
    assert installer.post("/api/v1/swaps/device", json=swap).status_code == 404
    for body in (
        {"old": "gw-west", "new": "gw-fresh"},
        {"old": "gw-east", "new": "gw-west"},
        {"old": "gw-fresh", "new": "gw-east"},
    ):
        assert installer.post("/api/v1/swaps/gateway", json=body).status_code == 404
    assert installer.get("/sites/west/walk").status_code == 404
    assert east_staff.post("/api/v1/claims", json=claim | {"place": "east/p0"}).status_code == 403
    refused = installer.post("/api/v1/claims", json=claim | {"place": "east/p0", "device_class": "face_terminal"})
    assert refused.status_code == 422
    assert "assessment" in refused.json()["detail"]
    assert mounted(town) == [("gw-east", "z2m/door", "east/p0"), ("gw-west", "z2m/door", "west/p0")]
    assert audited(town) == [("east-staff", "access.denied", "account/east-staff")]


def test_a_form_swaps_a_sensor_and_another_the_whole_gateway(installer: httpx.Client, town: Town) -> None:
    page = installer.get("/install", params={"number": "0x00158D0001ABCDEF"}, headers={"accept": "text/html"}).text
    assert 'value="device:gw-east z2m/door"' in page
    assert "gw-west" not in page
    fields = {
        "gateway": "gw-east",
        "identity": "z2m/0x00158d0001abcdef",
        "at": "device:gw-east z2m/door",
        "class": "zigbee_contact",
    }
    answer = installer.post("/install", data=fields)
    assert (answer.status_code, answer.headers["location"]) == (303, "/sites/east/walk")
    assert mounted(town)[0] == ("gw-east", "z2m/0x00158d0001abcdef", "east/p0")
    page = installer.post("/install/gateway", data={"old": "gw-east", "new": "gw-fresh"}).text
    assert "2 台设备" in page  # the one in the drawer too
    assert mounted(town)[0] == ("gw-fresh", "z2m/0x00158d0001abcdef", "east/p0")
    assert [action for _, action, _ in audited(town)] == ["device.swapped", "gateway.swapped"]


def test_the_check_list_ticks_off_as_it_happens_and_is_kept_with_who_and_when(installer: httpx.Client, town: Town) -> None:
    conn, door = town.county.conn, town.county.place(town.east)
    (device,) = conn.execute("SELECT device FROM mounting WHERE place = %s", [door]).fetchone() or (0,)
    assert installer.post("/sites/east/walk").status_code == 303
    assert installer.post("/sites/east/walk").status_code == 303  # it runs already
    with events(installer, f"walk:{town.east}") as stream:
        assert "0/1" in stream.until_caught_up()[f"walk:{town.east}"]
        now = now_us()
        for n, (a, flags, lag_s) in enumerate(((1, Flag.REPEAT, 0), (1, Flag.LATE, 0), (1, 0, -90), (1, 0, 0), (0, 0, 0))):
            # a state said again, one of the past, one before the start; then the door
            conn.execute(
                "INSERT INTO event VALUES (%s, %s, 0, %s, 0, 0, %s, %s, %s, %s, 0, 0, 1, 1, 0, %s)",
                [now + n, now + n, a, n, device, door, lag_s * 1000, int(flags)],
            )
        town.county.happened(town.east, town.county.event(now, door, Kind.CONTACT, a=1))
        conn.execute("NOTIFY smartcare")
        html = stream.fragment(f"walk:{town.east}", "1/1")
    assert "打开 1 次，关上 1 次" in html
    assert html.count("门打开") == 1
    assert installer.post("/sites/east/walk/end").status_code == 303
    assert installer.post("/sites/east/walk/end").status_code == 404
    query = "SELECT site, device, seen, author, ended_us - started_us FROM walk_test"
    ((site, tested, seen, author, took_us),) = conn.execute(query).fetchall()
    assert (site, tested, seen, author) == (town.east, device, {"openings": 1, "closings": 1}, "fitter")
    assert 0 < took_us < MINUTE_US
    page = installer.get("/sites/east/walk", headers={"accept": "text/html"}).text
    assert "打开 1 次" in page
    assert "重新走测" in page
    assert [action for _, action, _ in audited(town)] == ["walk_test.started", "walk_test.ended"]
