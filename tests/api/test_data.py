"""Data periods on a real database, fed by T1: each once, corrected exactly when a figure has changed, by whatever came late."""

import json
import random
from collections.abc import AsyncIterator, Iterator
from typing import Any

import psycopg
import pytest
from starlette.requests import Request
from starlette.responses import Response

from api import data, periods
from api.endpoints import Endpoint, register
from api.periods import GRACE_US, Period
from api.signing import generate_secret
from gateway.clock import DAY_US, HOUR_US, MINUTE_US
from ingest import register as registers
from tests.api.outbox import Outbox, receiver, sending
from tests.api.serving import serving
from tests.ingest.conftest import town_rows
from tests.ingest.frames import Sender, contact, passage, store, total

SECRET = generate_secret()
BEGIN_US = 1_794_960_000_000_000  # a whole hour
DAY_BEGIN_US = periods.of("day", "Asia/Shanghai", BEGIN_US).to_us


@pytest.fixture
def conn(dsn: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(dsn, autocommit=True) as c:
        registers.load(c, town_rows(), BEGIN_US - 30 * DAY_US)
        yield c


@pytest.fixture
async def maker(dsn: str, conn: psycopg.Connection[Any]) -> AsyncIterator[psycopg.AsyncConnection[Any]]:
    del conn
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as c:
        yield c


def subscribe(conn: psycopg.Connection[Any], what: str, period: str, from_us: int = BEGIN_US, **more: Any) -> None:
    register(conn, Endpoint(name="city", url="http://127.0.0.1:9/data", secret=SECRET, alerts=False))
    data.subscribe(conn, "city", what, period, from_us=from_us, **more)


def bodies(conn: psycopg.Connection[Any], site: str = "HC01") -> list[tuple[str, dict[str, Any], str]]:
    """(webhook-id, data, state) of a site's bodies, in the order in which they were made."""
    rows = conn.execute("SELECT webhook_id, body, state FROM outbox WHERE period IS NOT NULL ORDER BY id").fetchall()
    found = [(webhook_id, json.loads(body)["data"], state) for webhook_id, body, state in rows]
    return [f for f in found if f[1]["site"]["code"] == site]


def newest(conn: psycopg.Connection[Any], site: str = "HC01") -> dict[str, dict[str, Any]]:
    """The last version of each of a site's periods, by its begin."""
    return {d["begin"]: d for _, d, _ in bodies(conn, site)}


async def settle(maker: psycopg.AsyncConnection[Any], now_us: int) -> None:
    while await data.look(maker, now_us):
        pass


async def test_an_hour_is_told_once_when_it_has_ended_and_again_when_late_data_changes_it(
    conn: psycopg.Connection[Any], maker: psycopg.AsyncConnection[Any], dsn: str
) -> None:
    subscribe(conn, "counts", "hour")
    at, sender = BEGIN_US + 20 * MINUTE_US, Sender(since_us=BEGIN_US)
    over = BEGIN_US + HOUR_US + GRACE_US
    with store(dsn) as s:
        s.take(sender.frame(contact(at, 1), total(at, 10, 3), through_us=at), now_us=at)
        s.take(sender.frame(total(at + MINUTE_US, 15, 4), through_us=at), now_us=at)
        await settle(maker, over - 1)
        assert bodies(conn) == []
        await settle(maker, over)
        await settle(maker, over)
        ((first_id, first, state),) = bodies(conn)
        assert (first["version"], first["in"], first["out"], first["openings"], state) == (1, 5, 1, 1, "pending")
        assert (first["begin"], first["date"]) == (periods.iso(BEGIN_US), "2026-11-18")
        assert [p["code"] for p in first["places"]] == ["canteen", "door", "nap"]
        assert first["first"] == periods.iso(at)
        s.take(sender.frame(total(at + 2 * MINUTE_US, 17, 4), through_us=over), now_us=over)
        await settle(maker, over + 1)
        s.take(sender.frame(contact(over + MINUTE_US, 1), through_us=over + MINUTE_US), now_us=over + MINUTE_US)
        await settle(maker, over + 2 * MINUTE_US)  # something of another hour
    old, new = bodies(conn)
    assert (old[2], new[2]) == ("superseded", "pending")
    assert (new[1]["version"], new[1]["in"], new[1]["begin"]) == (2, 7, first["begin"])
    name, number, version, endpoint = first_id.split("_")
    assert (version, new[0]) == ("1", f"{name}_{number}_2_{endpoint}")
    assert len(bodies(conn, "HC02")) == 1  # nothing changed there


async def test_a_change_that_commits_late_is_not_passed_over(
    conn: psycopg.Connection[Any], maker: psycopg.AsyncConnection[Any], dsn: str
) -> None:
    subscribe(conn, "counts", "hour")
    over = BEGIN_US + HOUR_US + GRACE_US
    await settle(maker, over)
    added = "INSERT INTO rollup_hour (place, hour_us, people_in) SELECT id, %s, 7 FROM place WHERE code = 'nap'"
    with psycopg.connect(dsn) as slow, psycopg.connect(dsn, autocommit=True) as quick:
        slow.execute(added, [BEGIN_US])  # not committed
        quick.execute("UPDATE site SET capacity = 61")  # a later transaction, decided before
        await settle(maker, over + 1)
        assert newest(conn)[str(periods.iso(BEGIN_US))]["in"] == 0
        slow.commit()
    await settle(maker, over + 2)
    assert newest(conn)[str(periods.iso(BEGIN_US))]["in"] == 7


@pytest.mark.parametrize("seed", range(3))
async def test_in_whatever_order_events_come_the_last_version_of_each_period_is_exact(
    conn: psycopg.Connection[Any], maker: psycopg.AsyncConnection[Any], dsn: str, seed: int
) -> None:
    subscribe(conn, "counts", "hour")
    chance = random.Random(seed)
    events = [(contact if chance.random() < 0.5 else passage)(BEGIN_US + chance.randrange(4 * HOUR_US), n) for n in range(40)]
    sender, now_us = Sender(since_us=BEGIN_US), BEGIN_US
    with store(dsn) as s:
        for start in range(0, 40, 4):
            now_us += 30 * MINUTE_US
            s.take(sender.frame(*events[start : start + 4], through_us=now_us), now_us=BEGIN_US + 4 * HOUR_US)
            await settle(maker, now_us)
    hours = [BEGIN_US + n * HOUR_US for n in range(4)]
    wanted = {
        str(periods.iso(hour)): (
            sum(e.kind == 4 for e in events if hour <= e.t_us < hour + HOUR_US),
            sum(e.kind == 1 and e.a == 1 for e in events if hour <= e.t_us < hour + HOUR_US),
        )
        for hour in hours
    }
    assert {begin: (d["passages"], d["openings"]) for begin, d in newest(conn).items()} == wanted
    told = [(d["begin"], json.dumps({k: v for k, v in d.items() if k != "version"})) for _, d, _ in bodies(conn)]
    assert all(a != b for a, b in zip(sorted(told), sorted(told)[1:], strict=False)), "the same was told twice"


async def test_a_day_without_a_sign_is_unknown_until_the_sensors_are_known_to_have_seen_all_of_it(
    conn: psycopg.Connection[Any], maker: psycopg.AsyncConnection[Any]
) -> None:
    subscribe(conn, "opening", "day", DAY_BEGIN_US)
    over = DAY_BEGIN_US + DAY_US + GRACE_US
    gateway = "(SELECT id FROM gateway WHERE code = 'gw-hc01')"
    half = DAY_BEGIN_US + DAY_US // 2
    conn.execute(f"INSERT INTO coverage VALUES ({gateway}, 1, %s, %s, 1, 3)", [DAY_BEGIN_US - HOUR_US, half])
    await settle(maker, over)
    (unknown,) = newest(conn).values()
    assert (unknown["opened"], unknown["seen_minutes"], unknown["minutes"]) == (None, 720, 1440)
    conn.execute(f"INSERT INTO coverage VALUES ({gateway}, 2, %s, %s, 2, 3)", [half, over])  # a backlog without events
    await settle(maker, over + 11 * MINUTE_US)
    (known,) = newest(conn).values()
    assert (known["opened"], known["seen_minutes"], known["version"]) == (False, 1440, 2)
    conn.execute(f"INSERT INTO blind VALUES ({gateway}, 'z2m', %s, %s, 'x', 3, 3)", [half, half + HOUR_US])
    await settle(maker, over + 3 * HOUR_US)
    assert len(bodies(conn)) == 2, "what was seen whole is not looked at again for sight alone"


async def test_service_is_told_by_day_and_slot_with_staff_apart(
    conn: psycopg.Connection[Any], maker: psycopg.AsyncConnection[Any]
) -> None:
    subscribe(conn, "service", "day", DAY_BEGIN_US)
    columns = "site, slot_us, served, anonymous, staff"
    row = f"INSERT INTO rollup_site_service ({columns}) SELECT site, %s, %s, %s, %s FROM place WHERE code = 'canteen'"
    conn.execute(row, [DAY_BEGIN_US + 10 * HOUR_US, 10, 4, 2])
    conn.execute(row, [DAY_BEGIN_US + 15 * HOUR_US, 2, 2, 0])
    conn.execute(row, [DAY_BEGIN_US + DAY_US, 50, 50, 0])  # the next day's
    await settle(maker, DAY_BEGIN_US + DAY_US + GRACE_US)
    (told,) = newest(conn).values()
    assert (told["served"], told["anonymous"], told["staff"]) == (12, 6, 2)
    assert [(s["begin"], s["served"]) for s in told["slots"]] == [
        (periods.iso(DAY_BEGIN_US + 10 * HOUR_US), 10),
        (periods.iso(DAY_BEGIN_US + 15 * HOUR_US), 2),
    ]


async def test_a_device_is_offline_only_where_its_gateway_was_there_to_hear_it(
    conn: psycopg.Connection[Any], maker: psycopg.AsyncConnection[Any], dsn: str
) -> None:
    subscribe(conn, "devices", "hour")
    end = BEGIN_US + HOUR_US
    with store(dsn) as s:
        s.take(Sender(since_us=BEGIN_US).frame(contact(end - MINUTE_US, 1), through_us=end), now_us=end)
    gateway = "(SELECT id FROM gateway WHERE code = 'gw-hc01')"
    conn.execute("DELETE FROM coverage")
    conn.execute(f"INSERT INTO coverage VALUES ({gateway}, 1, %s, %s, 1, 3)", [BEGIN_US, end])
    await settle(maker, end + GRACE_US)
    (east,) = newest(conn).values()
    (west,) = newest(conn, "HC02").values()
    assert {d["code"]: d["state"] for d in east["devices"]} == {
        "z2m/前门": "online",
        "lora/24e1c0ffee000001": "offline",
        "face/5500001": "offline",
    }
    assert [d["state"] for d in west["devices"]] == ["unknown"]


async def test_a_span_is_filled_back_once_and_says_how_far_it_is(
    conn: psycopg.Connection[Any], maker: psycopg.AsyncConnection[Any]
) -> None:
    now_us = BEGIN_US + 100 * DAY_US
    subscribe(conn, "counts", "hour", now_us)
    steps: list[tuple[int, int]] = []
    made = await data.backfill(maker, "city", BEGIN_US, BEGIN_US + 5 * HOUR_US, now_us, lambda *step: steps.append(step))
    assert (made, steps[-1], len(steps)) == (10, (5, 5), 5)
    begins = [d["begin"] for _, d, _ in bodies(conn)]
    assert begins == [periods.iso(BEGIN_US + n * HOUR_US) for n in range(5)]
    assert await data.backfill(maker, "city", BEGIN_US, BEGIN_US + 5 * HOUR_US, now_us, lambda *_: None) == 0
    conn.execute("INSERT INTO rollup_hour (place, hour_us, openings) SELECT min(id), %s, 2 FROM place", [BEGIN_US])
    await settle(maker, now_us)
    assert sum(d["openings"] == 2 and d["version"] == 2 for _, d, _ in bodies(conn)) == 1


async def test_who_subscribes_from_long_ago_is_served_in_steps_and_each_period_once(
    conn: psycopg.Connection[Any], maker: psycopg.AsyncConnection[Any]
) -> None:
    subscribe(conn, "opening", "day", DAY_BEGIN_US)
    now_us = DAY_BEGIN_US + 4 * DAY_US + GRACE_US
    looks = 0
    while await data.look(maker, now_us):
        looks += 1
    assert looks == 3
    assert [d["date"] for _, d, _ in bodies(conn)] == ["2026-11-19", "2026-11-20", "2026-11-21", "2026-11-22"]


def test_local_days_are_cut_where_the_zone_says_and_hours_at_the_clock_s() -> None:
    spring = list(periods.within("day", "America/New_York", 1_772_859_600_000_000, 1_772_859_600_000_000 + 3 * DAY_US))
    assert [(p.to_us - p.from_us) // HOUR_US for p in spring] == [24, 23, 24]
    hour = periods.of("hour", "Asia/Kolkata", BEGIN_US + 1)
    assert hour == Period(from_us=BEGIN_US, to_us=BEGIN_US + HOUR_US)


async def test_a_correction_reaches_the_platform_in_its_own_codes_and_fields_after_what_it_corrects(outbox: Outbox) -> None:
    came: list[tuple[str, dict[str, Any]]] = []

    async def take(request: Request) -> Response:
        came.append((request.headers["webhook-id"], json.loads(await request.body())))
        return Response()

    with serving(receiver(take)) as port:
        outbox.register(
            f"http://127.0.0.1:{port}/data",
            secret=SECRET,
            name="city",
            alerts=False,
            codes="site: {s1: P-007}\nregion: {'330481001002': 长安}",
        )
        mapping = 'body: {org: "=data.site.code", area: "=data.site.region", n: "=data.openings", v: "=data.version"}'
        with psycopg.connect(outbox.dsn, autocommit=True) as plain:
            fields = ("site", "version", "openings")
            data.subscribe(plain, "city", "opening", "day", from_us=DAY_BEGIN_US, mapping=mapping, fields=fields)
        place = outbox.one(
            "INSERT INTO place (site, code, name, room) VALUES (%s, 'd', '门', 'entrance') RETURNING id", outbox.site
        )
        now_us = DAY_BEGIN_US + DAY_US + GRACE_US
        async with await psycopg.AsyncConnection.connect(outbox.dsn, autocommit=True) as maker, sending(outbox, port):
            await data.look(maker, now_us)
            await outbox.until(outbox.one("SELECT id FROM outbox")["id"], state="delivered")
            added = "INSERT INTO rollup_hour (place, hour_us, openings) VALUES (%s, %s, 3)"
            outbox.conn.execute(added, [place["id"], DAY_BEGIN_US])
            await data.look(maker, now_us)
            last = outbox.one("SELECT max(id) AS id FROM outbox")["id"]
            await outbox.until(last, state="delivered")
    assert [body for _, body in came] == [
        {"org": "P-007", "area": "长安", "n": 0, "v": 1},
        {"org": "P-007", "area": "长安", "n": 3, "v": 2},
    ]
    assert [name for name, _ in came] == [
        r["webhook_id"] for r in outbox.conn.execute("SELECT webhook_id FROM outbox ORDER BY id")
    ]
    told = outbox.conn.execute("SELECT endpoint, receiver, fields, webhook_id FROM disclosure ORDER BY id").fetchall()
    assert [t["fields"] for t in told] == [["openings", "site.code", "site.region", "version"]] * 2
    assert (told[0]["endpoint"], told[0]["receiver"]) == ("city", f"127.0.0.1:{port}")
