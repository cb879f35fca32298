"""The pictures of the console in docs/images, taken anew: `python -m tests.api.pictures`.

One decision: they show a made-up town whose numbers agree with each other, and not a test's leftovers; what is in them changes
with the hour of the day at which they are taken.
"""

import io
import math
import tempfile
from pathlib import Path

import psycopg
from PIL import Image
from playwright.sync_api import Browser, expect

from gateway.clock import DAY_US, HOUR_US, MINUTE_US, now_us
from ingest.shards import SPACE
from ingest.store.schema import migrate
from smartcare.embedded import postgres
from tests.api.everything import ZONE, open_yesterday, today
from tests.api.house import House, house
from tests.programs import chromium

IMAGES = Path(__file__).parents[2] / "docs" / "images"
PATHS = {
    "overview": "/?site=east",
    "site": "/sites/east",
    "alerts": "/alerts",
    "calendar": "/sites/east/calendar",
    "register": "/register",
    "rules": "/sites/east/rules",
    "people": "/people",
    "check-in": "/sites/east/check-in",
    "devices": "/devices",
    "labels": "/sites/east/labels",
    "regions": "/regions?under=330481",
    "reports": "/reports?site=east&period={month}",
}
TOWNS = (("330481103000", "石湖镇", "Shihu"), ("330481104000", "白鹭镇", "Bailu"), ("330481105000", "临江街道", "Linjiang"))
SITES = ("长寿坊照料中心", "银杏路养老服务站", "柳堤睦邻点", "松鹤苑照料中心", "荷花池养老服务站", "古槐互助点", "清河照料中心")


def main() -> None:
    """Take every picture."""
    with tempfile.TemporaryDirectory() as folder, postgres.Server(Path(folder) / "postgres") as server:
        with psycopg.connect(server.dsn("postgres"), autocommit=True) as conn:
            conn.execute("CREATE DATABASE template_smartcare")
        with psycopg.connect(server.dsn("template_smartcare"), autocommit=True) as conn:
            migrate(conn, now_us())
        with house(server, "pictures", Path(folder)) as home, chromium() as browser:
            furnish(home)
            take(home, browser)


def furnish(home: House) -> None:
    """Nine sites of four towns: three with alerts, one of them taken over; people, closures, a device that waits."""
    county, town, now = home.town.county, home.town, now_us()
    conn = county.conn
    conn.execute("INSERT INTO region VALUES ('330481000000', '海宁市', 'Haining')")
    conn.execute("INSERT INTO region VALUES ('330481101000', '云溪街道', 'Yunxi')")
    conn.execute("UPDATE site SET region = '330481101000'")
    conn.execute("DELETE FROM region WHERE code LIKE '999%'")
    for code, name, name_en in TOWNS:
        conn.execute("INSERT INTO region VALUES (%s, %s, %s)", [code, name, name_en])
    sites = [
        county.site(f"site-{n}", name, "", TOWNS[n % 3][0], rule="no_activity", people=20 + 7 * n, shard=n + 3)
        for n, name in enumerate(SITES)
    ]
    for site in (*sites, town.east, town.west):
        count(home, site)
    conn.execute("INSERT INTO gateway (code, shard) VALUES ('yunxi-01', 1)")
    conn.execute("INSERT INTO unclaimed SELECT id, 'lora/24e124b61c51d75a', %s, %s, 12, 1036 FROM gateway", [now - HOUR_US, now])
    midnight = now - (now + 8 * HOUR_US) % DAY_US
    opens = midnight + (8 * HOUR_US if now > midnight + 9 * HOUR_US else -16 * HOUR_US)
    shut = {"code": "not_opened", "opens_us": opens, "grace_min": 30, "sensors": 3}
    county.alert(sites[0], reason=shut, age_us=now - opens - 30 * MINUTE_US)
    quiet = {"code": "no_activity", "since_us": now - 150 * MINUTE_US, "limit_min": 120, "sensors": 3, "days": 4}
    county.alert(sites[2], "no_activity", severity="major", reason=quiet)
    door = {"place": "前门", "place_en": "Front door", "open_since_us": now - 21 * HOUR_US}
    left = {"code": "left_open", "closes_us": now - 20 * HOUR_US, "after_min": 30} | door
    taken = county.alert(sites[4], "left_open", severity="minor", reason=left)
    conn.execute("UPDATE alert SET state = 'acknowledged', version = 2, assignee = '周敏' WHERE id = %s", [taken])
    for site, state in ((sites[0], "alert"), (sites[2], "alert"), (sites[4], "attention")):
        conn.execute("UPDATE site_status SET state = %s WHERE site = %s", [state, site])
    open_yesterday(town)
    conn.execute("UPDATE alert SET state = 'resolved', outcome = 'real' WHERE site = %s", [town.east])
    people(home)
    keep_door(home, midnight)
    home.east.post("/sites/east/entries", data={"mode": "closed", "from": today(5), "to": today(6), "reason": "检修"})
    home.east.post("/sites/east/entries", data={"mode": "visit", "from": today(2), "to": today(2), "reason": "区里来参观"})
    home.admin.post("/sites/east/rules", data={"rule": "battery_low", "percent": "15", "do": "save"})


def keep_door(home: House, midnight: int) -> None:
    """The eastern door opens and closes today until a few minutes ago; somebody is on duty; the workers are there."""
    conn, town, now = home.town.county.conn, home.town, now_us()
    for (shard,) in conn.execute("SELECT DISTINCT shard FROM gateway").fetchall():
        conn.execute("SELECT pg_advisory_lock(%s, %s)", [SPACE, shard])
    (device, place) = conn.execute("SELECT device, place FROM mounting WHERE to_us IS NULL LIMIT 1").fetchone() or (0, 0)
    conn.execute("UPDATE device SET name = '前门门磁' WHERE id = %s", [device])
    steps = [midnight + n * 10 * MINUTE_US for n in (49, 52, 60, 64, 70, 72, 73, 78, 91, 101, 103)]
    for n, t_us in enumerate([t for t in steps if t < now - 10 * MINUTE_US] + [now - 6 * MINUTE_US]):
        conn.execute(
            "INSERT INTO event VALUES (%s, %s, 0, %s, 0, 0, %s, %s, %s, 0, 0, 0, 1, 1, 0, 0)",
            [now + n, t_us, (n + 1) % 2, n, device, place],
        )
    conn.execute("INSERT INTO endpoint (name, url, secret, kind) VALUES ('值班群', 'https://p.example.cn/', '', 'feishu')")
    conn.execute("INSERT INTO contact (name, endpoint, address) SELECT '李站长', id, '' FROM endpoint")
    conn.execute("INSERT INTO shift (contact, site, from_us) SELECT id, %s, %s FROM contact", [town.east, midnight])


def people(home: House) -> None:
    """Five people who agreed, one of them away for a week and one here today."""
    for n, role in enumerate(("resident", "resident", "resident", "volunteer", "staff"), 1):
        person = {"site": "east", "role": role, "name": "沈桂芳", "ref": f"E-{n}", "version": "2026-1", "channel": "paper"}
        home.east.post("/people", data=person | {"attendance": "1", "recognition": "1", "absence": "1" if n < 4 else ""})
    home.east.post("/people/1/absences", data={"from": today(2), "to": today(9), "reason": "住女儿家"})
    home.east.post("/sites/east/check-in", data={"ref": "E-2"})


def count(home: House, site: int) -> None:
    """Eight weeks in which people come in the morning and the afternoon, and today until now, busier at ten than usual."""
    county, now = home.town.county, now_us()
    hall, rows = county.place(site, "p1"), []
    this_hour = now - now % HOUR_US
    for back in range(56 * 24):
        hour = this_hour - back * HOUR_US
        clock = (hour // HOUR_US + 8) % 24
        level = 14 * math.exp(-((clock - 9.5) ** 2) / 4) + 9 * math.exp(-((clock - 15) ** 2) / 3)
        people = round(level * (1 + 0.25 * math.sin(site + back * 12.9898)))
        if site == home.town.east and back < 24 and clock == 10:
            people = 34
        if people:
            rows.append((hall, hour, people))
    with county.conn.cursor() as cursor:
        cursor.executemany("INSERT INTO rollup_hour (place, hour_us, people_in) VALUES (%s, %s, %s)", rows)
    midnight = now - (now + 8 * HOUR_US) % DAY_US
    come = sum(people for _, hour, people in rows if hour >= midnight)
    county.conn.execute(
        "UPDATE site_status SET today_in = %s, today_passages = %s, detail = detail || %s::jsonb WHERE site = %s",
        [come, come // 3, f'{{"inside": {min(23, come)}, "inside_unsure": true}}', site],
    )


def take(home: House, browser: Browser) -> None:
    """Write each page as seen on a desk, at three quarters of its size, and on a phone."""
    context = browser.new_context(base_url=home.running.url, locale="zh-CN", timezone_id=str(ZONE), reduced_motion="reduce")
    url, secret = home.running.url, home.town.county.session(home.town.admin)
    context.add_cookies([{"name": "session", "value": secret, "url": url}])
    page = context.new_page()
    for name, path in PATHS.items():
        for size, width, height in (("desktop", 1280, 1400), ("phone", 390, 844)):
            page.set_viewport_size({"width": width, "height": height})
            page.goto(path.format(month=today()[:7]))
            if page.locator("#link").count():
                expect(page.locator("#link")).to_have_attribute("data-state", "live")
            picture = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
            if size == "desktop":
                picture = picture.resize((960, 1050), Image.Resampling.LANCZOS)
            picture.quantize(200).save(IMAGES / f"{name}-{size}.png", optimize=True)
    context.close()


if __name__ == "__main__":
    main()
