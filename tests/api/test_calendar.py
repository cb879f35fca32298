"""Closing a site today, opening it again, and the calendar pages."""

from datetime import datetime
from zoneinfo import ZoneInfo

import httpx
import psycopg

from gateway.clock import DAY_US, now_us
from ingest import snapshot
from ingest.inputs import SiteInput

ZONE = ZoneInfo("Asia/Shanghai")


def told(dsn: str) -> SiteInput:
    """What the analyzer would be told of the eastern site."""
    with psycopg.connect(dsn) as conn:
        return snapshot.compile_inputs(conn, [1], 1)[1].sites[0]


def local(time_us: int) -> str:
    """A time as the site's clock shows it."""
    return datetime.fromtimestamp(time_us // 1_000_000, ZONE).strftime("%Y-%m-%d %H:%M")


def today(days: int = 0) -> str:
    """The local date, some days on."""
    return local(now_us() + days * DAY_US)[:10]


def form(client: httpx.Client, path: str, **fields: str) -> int:
    """Send a form as a page does; returns the status."""
    return client.post(path, data=fields).status_code


def test_closing_today_covers_the_whole_local_day_and_opening_again_takes_it_back(east_staff: httpx.Client, dsn: str) -> None:
    assert form(east_staff, "/sites/east/close", reason="works") == 303
    [(begin, end)] = told(dsn).closed
    assert (local(begin), local(end)) == (f"{today()} 00:00", f"{today(1)} 00:00")
    page = east_staff.get("/sites/east").text
    assert "今日停业" in page
    assert "检修施工 · east-staff" in page
    assert form(east_staff, "/sites/east/reopen") == 303
    assert told(dsn).closed == []
    assert form(east_staff, "/sites/east/reopen") == 404


def test_opening_again_early_keeps_the_days_that_were_closed(admin: httpx.Client, dsn: str) -> None:
    fields = {"mode": "closed", "from": today(-2), "to": today(3), "reason": "装修"}
    assert form(admin, "/sites/east/entries", **fields) == 303
    assert form(admin, "/sites/east/reopen") == 303
    [(begin, end)] = told(dsn).closed
    assert (local(begin), local(end)) == (f"{today(-2)} 00:00", f"{today()} 00:00")


def test_every_step_is_in_the_audit_log_with_its_author(east_staff: httpx.Client, dsn: str) -> None:
    form(east_staff, "/sites/east/close", note="水管爆了")
    form(east_staff, "/sites/east/reopen")
    with psycopg.connect(dsn) as conn:
        rows = conn.execute("SELECT who, action, subject, detail FROM audit ORDER BY id").fetchall()
    assert [row[:3] for row in rows] == [
        ("east-staff", "site.closed.entered", "site/east"),
        ("east-staff", "site.closed.cancelled", "site/east"),
    ]
    assert "水管爆了" in rows[0][3]


def test_a_visit_is_entered_shown_and_taken_back(east_staff: httpx.Client, dsn: str) -> None:
    assert form(east_staff, "/sites/east/entries", mode="visit", **{"from": today(), "to": today()}, reason="参观") == 303
    [(begin, end, mode)] = told(dsn).modes
    assert mode == "visit"
    page = east_staff.get("/sites/east/calendar").text
    assert f'value="{begin}"' in page
    assert form(east_staff, "/sites/east/entries/cancel", mode="visit", from_us=str(begin), to_us=str(end)) == 303
    assert told(dsn).modes == []
    assert form(east_staff, "/sites/east/entries/cancel", mode="visit", from_us=str(begin), to_us=str(end)) == 404


def test_another_site_cannot_be_closed_nor_its_calendar_seen(east_staff: httpx.Client) -> None:
    assert form(east_staff, "/sites/west/close", reason="works") == 404
    assert form(east_staff, "/sites/west/reopen") == 404
    assert east_staff.get("/sites/west/calendar").status_code == 404


def test_what_makes_no_sense_is_refused(admin: httpx.Client, dsn: str) -> None:
    fields = {"mode": "closed", "from": today(), "to": today(), "reason": "x"}
    for wrong in ({"to": today(-1)}, {"from": "soon"}, {"reason": " "}, {"mode": "party"}, {"to": "2090-01-01"}):
        assert form(admin, "/sites/east/entries", **(fields | wrong)) == 400, wrong
    assert form(admin, "/sites/east/close", reason="") == 400
    assert admin.get("/sites/east/calendar?month=now").status_code == 400
    assert told(dsn).closed == []


def test_a_month_shows_holidays_worked_weekends_and_closures(admin: httpx.Client) -> None:
    form(admin, "/sites/east/entries", mode="closed", **{"from": "2026-10-09", "to": "2026-10-09"}, reason="检修")
    page = admin.get("/sites/east/calendar?month=2026-10").text
    first, ninth, tenth = (page.partition(f'datetime="2026-10-{day}"')[2].partition("</li>\n")[0] for day in ("01", "09", "10"))
    assert "mark holiday" in first
    assert "停业" in ninth
    assert "不开放" in ninth
    assert "mark workday" in tenth
    assert "08:30–17:30" in tenth


def test_a_day_is_changed_for_everyone_by_an_operator_only(admin: httpx.Client, east_staff: httpx.Client, dsn: str) -> None:
    fields = {"date": "2026-12-05", "kind": "workday", "name": "补班"}
    assert form(east_staff, "/calendar/days", **fields) == 403
    assert form(admin, "/calendar/days", **fields) == 303
    assert "补班" in east_staff.get("/calendar?year=2026").text
    with psycopg.connect(dsn) as conn:
        assert snapshot.compile_inputs(conn, [1], 1)[1].days["2026-12-05"] == "workday"
    assert form(admin, "/calendar/days", date="2026-12-03", kind="workday") == 400
    assert admin.get("/calendar?year=1999").status_code == 400
