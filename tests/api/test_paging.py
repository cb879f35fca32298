"""Pages by cursor, filters by part and time, figures for integrators, and how often a program may ask."""

import httpx
import pytest

from api.fields import only
from api.throttle import Rate
from gateway.clock import DAY_US, HOUR_US, SECOND_US, now_us
from tests.api.conftest import Running, Town


def test_a_program_reads_everything_once_page_by_page(admin: httpx.Client, town: Town) -> None:
    for n in range(5):
        town.county.alert(town.east if n % 2 else town.west)
    for path, key, expected in (("/api/v1/sites", "code", 2), ("/api/v1/alerts", "id", 5)):
        found, cursor = [], None
        while True:
            page = admin.get(path, params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
            found += [item[key] for item in page["items"]]
            cursor = page["cursor"]
            if cursor is None:
                break
        assert len(found) == len(set(found)) == expected
    assert admin.get("/api/v1/sites", params={"cursor": "x"}).status_code == 422


def test_a_part_and_a_span_narrow_what_is_read(admin: httpx.Client, town: Town) -> None:
    region = town.county.region("西岭街道", "Xiling")
    town.county.conn.execute("UPDATE site SET region = %s WHERE id = %s", [region, town.west])
    west, _ = town.county.alert(town.west), town.county.alert(town.east, age_us=3 * DAY_US)
    for path in ("/api/v1/sites", "/api/v1/devices"):
        codes = [i.get("code") or i["site_code"] for i in admin.get(path, params={"region": region[:9]}).json()["items"]]
        assert set(codes) <= {"west"}
    found = admin.get("/api/v1/alerts", params={"region": region[:9]}).json()["items"]
    assert [a["id"] for a in found] == [west]
    found = admin.get("/api/v1/alerts", params={"from_us": now_us() - DAY_US, "to_us": now_us()}).json()["items"]
    assert [a["id"] for a in found] == [west]
    assert admin.get("/api/v1/sites", params={"region": "33x"}).status_code == 422


def test_figures_devices_and_status_are_those_of_the_readers_part(
    admin: httpx.Client, east_staff: httpx.Client, town: Town
) -> None:
    now = now_us()
    hour = now // HOUR_US * HOUR_US
    town.county.conn.execute(
        "INSERT INTO rollup_hour (place, hour_us, people_in, passages) VALUES (%s, %s, 7, 3)",
        [town.county.place(town.east), hour],
    )
    town.county.contact(town.east, [(now - HOUR_US, now)], (now - SECOND_US, 1, 0))
    span = {"from_us": hour - HOUR_US, "to_us": hour + HOUR_US}
    both = admin.get("/api/v1/figures/counts", params=span).json()["items"]
    own = east_staff.get("/api/v1/figures/counts", params=span).json()["items"]
    assert [(f["site"]["code"], f["figures"]["in"]) for f in both] == [("east", 7), ("west", 0)]
    assert own == both[:1]
    assert east_staff.get("/api/v1/figures/counts", params={"from_us": 1, "to_us": 2}).status_code == 400
    devices = east_staff.get("/api/v1/devices").json()["items"]
    assert [(d["site_code"], d["place"], d["state"]) for d in devices] == [("east", "p0", "online")]
    assert east_staff.get("/api/v1/status").json()["lost_gateways"] == []


def test_whoever_asks_too_often_is_told_when_to_come_back(running: Running, town: Town) -> None:
    with running.client(token=town.county.token(town.admin, "read")) as eager:
        answers = [eager.get("/api/v1/me") for _ in range(400)]
        refused = [a for a in answers if a.status_code == 429]
        assert len(answers) - len(refused) >= 100
        assert refused
        assert {a.headers["retry-after"] for a in refused} == {"1"}
        assert refused[0].json()["type"] == "urn:smartcare:problem:too-many"
    with running.client(token=town.county.token(town.admin, "read")) as another:
        assert another.get("/api/v1/me").status_code == 200


def test_a_bucket_holds_its_burst_and_fills_with_time() -> None:
    rate = Rate(10, 3)
    assert [rate.take(b"a", 0) for _ in range(5)] == [0, 0, 0, 1, 1]
    assert rate.take(b"b", 0) == 0
    assert [rate.take(b"a", SECOND_US // 10) for _ in range(2)] == [0, 1]
    assert [rate.take(b"a", 100 * SECOND_US) for _ in range(4)] == [0, 0, 0, 1]


@pytest.mark.parametrize(
    ("said", "left"),
    [
        ({"items": [{"code": "a", "name": "b", "detail": {"code": 1}}], "cursor": "7"},
         {"items": [{"code": "a", "detail": {"code": 1}}], "cursor": "7"}),
        ({"items": [], "cursor": None}, {"items": [], "cursor": None}),
        ({"name": "x", "site": {"name": "y"}}, {}),
        ([{"code": 1}, {"name": 2}, 3], [{"code": 1}, {}, None]),
        ("code", None),
    ],
)  # fmt: skip
def test_an_allow_list_lets_nothing_else_out(said: object, left: object) -> None:
    assert only(said, frozenset({"code"})) == left


def test_a_token_of_some_fields_gets_no_page_no_stream_and_no_table(running: Running, town: Town) -> None:
    token = town.county.token(town.admin, "read", "act")
    town.county.conn.execute("UPDATE api_token SET fields = '{code}'")
    with running.client(token=token) as program:
        assert program.get("/api/v1/me").json() == {}
        for path in ("/", "/devices", "/api/v1/reports/export?period=2026-11&format=csv"):
            assert program.get(path).status_code in (403, 422), path
        assert program.get("/events", params={"topics": "alerts"}).status_code == 403
        assert program.get("/api/v1/alerts/1").json()["type"] == "urn:smartcare:problem:not-found"
