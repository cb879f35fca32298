"""Visit tasks on the page and over REST: everyone sees their own site's, and each is recorded once."""

import httpx

from gateway.clock import HOUR_US, now_us
from tests.api.conftest import Town

REASON = {"code": "absent_visit", "days": 5, "longest": 2, "visits": 90, "every": 1.1, "per_year": 0.2}


def task(town: Town, site: int, person: int = 7) -> int:
    """An absence with its open task."""
    alert = town.county.alert(site, "resident_absent", severity="major", reason=REASON)
    values = [alert, person, site, now_us(), now_us() + HOUR_US]
    row = town.county.conn.execute(
        "INSERT INTO visit_task (alert, person, site, created_us, due_us) VALUES (%s, %s, %s, %s, %s) RETURNING id", values
    ).fetchone()
    assert row
    return int(row[0])


def test_staff_see_and_record_the_visits_of_their_own_site_only(east_staff: httpx.Client, town: Town) -> None:
    own, other = task(town, town.east), task(town, town.west)
    (shown,) = east_staff.get("/api/v1/visits").json()["items"]
    assert (shown["id"], shown["person"], shown["state"]) == (own, 7, "open")
    assert "5 个开放日未到" in shown["text"]["zh"]
    assert "5 opening days" in shown["text"]["en"]
    assert east_staff.post(f"/api/v1/visits/{other}", json={"result": "well"}).status_code == 404
    done = east_staff.post(f"/api/v1/visits/{own}", json={"result": "well", "note": "在家休息"}).json()
    assert (done["state"], done["result"], done["who"], done["note"]) == ("done", "well", "east-staff", "在家休息")
    assert east_staff.get("/api/v1/visits", params={"state": "open"}).json()["items"] == []


def test_the_slower_of_two_is_told(admin: httpx.Client, town: Town) -> None:
    number = task(town, town.east)
    assert admin.post(f"/api/v1/visits/{number}", json={"result": "away"}).status_code == 200
    late = admin.post(f"/api/v1/visits/{number}", json={"result": "well"})
    assert (late.status_code, late.json()["state"]) == (409, "done")
    form = admin.post(f"/visits/{number}", data={"result": "well"})
    assert form.status_code == 409
    assert "刚刚已完成" in form.text


def test_a_result_that_is_none_changes_nothing(admin: httpx.Client, town: Town) -> None:
    number = task(town, town.east)
    for body in ({}, {"result": "seen"}, {"result": "well", "note": "x" * 2001}, {"result": "well", "extra": 1}):
        assert admin.post(f"/api/v1/visits/{number}", json=body).status_code == 422
    assert admin.post(f"/visits/{number}", data={"result": "fine"}).status_code == 400
    assert admin.post(f"/visits/{2**63}", data={"result": "well"}).status_code in (400, 404, 422)
    assert [v["state"] for v in admin.get("/api/v1/visits").json()["items"]] == ["open"]


def test_the_page_lists_tasks_with_a_form_that_works_without_javascript(admin: httpx.Client, town: Town) -> None:
    number = task(town, town.east)
    page = admin.get("/visits").text
    assert "5 个开放日未到" in page
    assert f'action="/visits/{number}"' in page
    sent = admin.post(f"/visits/{number}", data={"result": "in_hospital", "note": "<b>市二医院</b>"})
    assert (sent.status_code, sent.headers["location"]) == (303, "/visits")
    page = admin.get("/visits").text
    assert "没有待办的探访" in page
    assert "住院" in page
    assert "&lt;b&gt;市二医院" in page
    admin.cookies.set("lang", "en")
    assert "Nobody needs a visit" in admin.get("/visits").text


def test_the_visit_rate_of_a_region_sums_up_its_sites(admin: httpx.Client, east_staff: httpx.Client, town: Town) -> None:
    conn = town.county.conn
    for n, site in enumerate((town.east, town.east, town.west)):
        conn.execute(
            "INSERT INTO person (token, site, role, consent_from_us) VALUES (%s, %s, 'resident', 0)", [bytes([n]) * 16, site]
        )
    conn.execute("INSERT INTO person_day SELECT id, site, '2026-09-09', 1, 0, 0 FROM person ORDER BY id LIMIT 1")
    everyone = admin.get("/api/v1/visit-rate", params={"month": "2026-09"}).json()
    assert (everyone["residents"], everyone["reached"]) == (3, 1)
    own = east_staff.get("/api/v1/visit-rate", params={"month": "2026-09"}).json()
    assert (own["rate"], [s["site_code"] for s in own["sites"]]) == (0.5, ["east"])
    none = admin.get("/api/v1/visit-rate", params={"month": "2026-09", "region": "123456"}).json()
    assert (none["rate"], none["sites"]) == (None, [])
    for wrong in ({}, {"month": "x"}, {"month": "2026-09", "region": "%"}):
        assert admin.get("/api/v1/visit-rate", params=wrong).status_code in (400, 422)


def test_the_page_shows_this_months_rate(admin: httpx.Client, town: Town) -> None:
    conn = town.county.conn
    conn.execute("INSERT INTO person (token, site, role, consent_from_us) VALUES (%s, %s, 'resident', 0)", [bytes(16), town.east])
    conn.execute("INSERT INTO person_day SELECT id, site, (now() AT TIME ZONE 'Asia/Shanghai')::date, 1, 0, 0 FROM person")
    assert "1/1（100%）" in admin.get("/visits").text
