"""Something of everything in a house, so that no page of the console is empty, and the list of all its pages.

One decision: what people typed is in letters that are neither Chinese nor two English words, so that a page read in one language
shows at once what was left in the other.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from psycopg.types.json import Jsonb

from gateway.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US, now_us
from tests.api.conftest import Town
from tests.api.house import House
from tests.api.test_visiting import task

ZONE = ZoneInfo("Asia/Shanghai")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pages:
    """Where everything is. outside: pages for whom nobody is signed in."""

    inside: tuple[str, ...]
    outside: tuple[str, ...]


def today(days: int = 0) -> str:
    """A date as forms have it."""
    return datetime.fromtimestamp((now_us() + days * DAY_US) // SECOND_US, UTC).strftime("%Y-%m-%d")


def furnish(home: House) -> Pages:
    """Fill a house and return its pages."""
    alert = happen(home.town)
    tell(home.town, alert)
    count(home.town)
    register(home)
    day = open_yesterday(home.town)
    month = day[:7]
    correction = {"day": day, "what": "served", "delta": "3", "reason": "OK", "period": month}
    assert home.admin.post("/reports/sites/east/corrections", data=correction).status_code == 303
    record = home.admin.post("/sites/east/acceptances", data={"days": "1"}).headers["location"]
    made = home.admin.post("/accounts", data={"name": "zhou", "role": "staff", "part": "site:east"})
    invitation = made.text.partition("/invitation/")[2].partition('"')[0].partition("<")[0]
    token = {"name": "sync", "scope_read": "1", "days": "30", "fields": "code"}
    home.admin.post(f"/accounts/{home.town.admin}/tokens", data=token)
    preview = home.admin.post("/sites/west/rules", data={"rule": "battery_low", "percent": "5", "do": "preview"})
    preview_ended(home, preview.headers["location"])
    return Pages(
        inside=(
            "/",
            "/sites",
            "/sites/east",
            "/sites/west",
            f"/alerts/{alert}",
            "/alerts",
            "/alerts?site=east&show=active",
            "/visits",
            "/people",
            "/people/1",
            "/sites/east/check-in",
            "/regions",
            "/regions?under=999001001",
            "/devices",
            "/install?number=24e124fffe0badcafe",
            "/sites/east/walk",
            "/sites/east/labels",
            "/sites/east/cards",
            "/sites/east/rules",
            preview.headers["location"],
            "/calendar",
            "/sites/east/calendar",
            "/roster",
            "/silences",
            "/endpoints",
            "/reports",
            f"/reports?period={month}",
            f"/reports?site=east&period={month}",
            f"/reports/sites/east/events?day={day}&what=opening",
            f"/reports/sites/east/attenders?period={month}",
            "/sites/east/acceptances",
            record,
            "/audit",
            "/accounts",
            "/password",
            "/register",
            "/sites/east/register",
            "/more",
            "/sites/nowhere",
        ),
        outside=("/signin", f"/invitation/{invitation}", "/invitation/used-up"),
    )


def preview_ended(home: House, path: str) -> None:
    """Wait until a preview has its result: until then its page comes again by itself."""
    until = time.monotonic() + 60
    while "refresh" in home.admin.get(path).text:
        assert time.monotonic() < until, "the preview does not end"
        time.sleep(0.1)


def happen(town: Town) -> int:
    """Alerts in every state, a shard in trouble, an unknown device, visits to make and made; returns an open alert."""
    county, now = town.county, now_us()
    conn = county.conn
    alert = county.alert(town.east)
    for severity in ("major", "minor"):
        taken = county.alert(town.west, "left_open", severity=severity)
        conn.execute("UPDATE alert SET state = 'acknowledged', version = 2, assignee = 'zhou' WHERE id = %s", [taken])
    past = county.alert(town.east, "no_activity", state="resolved")
    conn.execute("UPDATE alert SET outcome = 'real', note = 'OK' WHERE id = %s", [past])
    conn.execute("UPDATE shard SET failing_since_us = %s WHERE id = 1", [now])
    conn.execute("UPDATE site_status SET state = 'blind' WHERE site = %s", [town.west])
    conn.execute("INSERT INTO gateway (code, shard) VALUES ('gateway-of-the-eastern-bridge', 1)")
    conn.execute("INSERT INTO unclaimed SELECT id, 'lora/24e124fffe0badcafe', %s, %s, 12, 1036 FROM gateway", [now, now])
    task(town, town.east)
    done = task(town, town.west)
    conn.execute("UPDATE visit_task SET state = 'done', result = 'well', note = 'OK', done_us = %s WHERE id = %s", [now, done])
    device = county.contact(town.east, [(now - HOUR_US, now)], (now - 8 * MINUTE_US, 1, 0), (now - 2 * MINUTE_US, 0, 0))
    trouble = county.alert(town.east, "battery_low", severity="minor", state="acknowledged")
    conn.execute("UPDATE alert SET subject_kind = 'device', subject = %s WHERE id = %s", [device, trouble])
    return alert


def tell(town: Town, alert: int) -> None:
    """A roster, a silence, receivers of which one is down, and what was and was not told of an alert."""
    conn, now = town.county.conn, now_us()
    conn.execute(
        "INSERT INTO endpoint (name, url, secret, kind, open_until_us, failures) VALUES "
        "('duty', 'http://127.0.0.1:9/', '', 'feishu', %s, 5), ('city', 'https://p.example.cn/a', '', 'webhook', 0, 0)",
        [now + 5 * MINUTE_US],
    )
    conn.execute(
        "INSERT INTO contact (name, account, endpoint, address) SELECT 'Li', %s, min(id), '' FROM endpoint", [town.admin]
    )
    conn.execute("INSERT INTO shift (contact, site, from_us) SELECT id, %s, %s FROM contact", [town.east, now])
    conn.execute("INSERT INTO shift (contact, area, from_us, to_us) SELECT id, '999001001', %s, %s FROM contact", [now, now + 9])
    conn.execute(
        "INSERT INTO silence (kind, area, from_us, to_us, author, reason, created_us) "
        "VALUES ('maintenance', '999001001', %s, %s, 'root', 'OK', %s)",
        [now, now + 60 * MINUTE_US, now],
    )
    for reason, told, detail in (("maintenance", False, {"silence": 1}), ("new", True, {}), ("grouped", True, {"alert": alert})):
        conn.execute(
            "INSERT INTO notice (alert, version, at_us, told, reason, detail) VALUES (%s, 1, %s, %s, %s, %s)",
            [alert, now, told, reason, Jsonb(detail)],
        )
    for notice, error in ((2, "HTTP 500"), (None, "x" * 90)):
        conn.execute(
            "INSERT INTO outbox (alert, version, endpoint, notice, webhook_id, body, state, attempts, last_error, due_us, "
            "done_us) SELECT %s, 1, id, %s, %s, '', 'dead', 9, %s, 0, %s FROM endpoint ORDER BY id LIMIT 1",
            [alert, notice, f"w{notice}", error, now],
        )


def count(town: Town) -> None:
    """Eight weeks of people counted in the eastern hall, far more than usual this hour, and people inside."""
    conn, now = town.county.conn, now_us()
    hour, hall = now - now % HOUR_US, town.county.place(town.east, "p1")
    rows = [(hall, hour - n * DAY_US - b * HOUR_US, p) for n in range(1, 57) for b, p in ((0, 12), (1, 8 + n % 4), (2, 3))]
    with conn.cursor() as cursor:
        cursor.executemany("INSERT INTO rollup_hour (place, hour_us, people_in) VALUES (%s, %s, %s)", [*rows, (hall, hour, 41)])
    conn.execute('UPDATE site_status SET detail = detail || \'{"inside": 17, "inside_unsure": true}\'')


def register(home: House) -> None:
    """A resident who agreed, is away and checks in; a visit announced, a holiday, a rule that differs, a faulty import."""
    fields = {"site": "east", "role": "resident", "name": "Shen", "ref": "E-1", "version": "2026-1", "channel": "paper"}
    home.east.post("/people", data=fields | {"guardian": "Ming", "attendance": "1", "absence": "1"})
    home.east.post("/people/1/absences", data={"from": today(2), "to": today(9), "reason": "OK"})
    home.east.post("/sites/east/check-in", data={"ref": "E-1"})
    home.east.post("/sites/east/entries", data={"mode": "visit", "from": today(2), "to": today(2), "reason": "OK"})
    home.admin.post("/calendar/days", data={"date": today(3), "kind": "holiday", "name": "OK"})
    home.admin.post("/sites/east/rules", data={"rule": "battery_low", "percent": "15", "do": "save"})


def open_yesterday(town: Town) -> str:
    """Yesterday the eastern door was heard all day and opened at 08:20; twelve were served, one alert answered. Its date."""
    midnight = datetime.fromtimestamp(now_us() // SECOND_US, ZONE).replace(hour=0, minute=0, second=0, microsecond=0)
    day = midnight - timedelta(days=1)
    begin = int(day.timestamp()) * SECOND_US
    opened = begin + 8 * HOUR_US + 20 * MINUTE_US
    town.county.contact(town.east, [(begin - DAY_US, now_us())], (opened, 1, 0), (opened + 9 * HOUR_US, 0, 0))
    conn, place = town.county.conn, town.county.place(town.east)
    for hour in range(24):
        life = [opened, opened + MINUTE_US] if hour == 8 else [None, None]
        values = [place, begin + hour * HOUR_US, 5 if hour == 8 else 0, int(hour == 8), *life]
        conn.execute(
            "INSERT INTO rollup_hour (place, hour_us, people_in, openings, events, first_us, last_us)"
            " VALUES (%s, %s, %s, %s, 4, %s, %s)",
            values,
        )
    conn.execute("INSERT INTO rollup_site_service VALUES (%s, %s, 12, 2, 1, 9)", [town.east, begin + 10 * HOUR_US])
    alert = town.county.alert(town.east, age_us=now_us() - opened)
    town.county.change(alert, 2, "acknowledged", "root")
    return f"{day:%Y-%m-%d}"
