"""Persons, consent and names in the console, and check-in by hand as far as the page goes."""

import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from analytics import alerts
from api.sealing import NoNames, Sealer
from gateway.clock import DAY_US, now_us
from ingest import snapshot
from smartcare.embedded import postgres
from tests.api.house import House, house

NAME = "沈桂芳"


@pytest.fixture(scope="module")
def home(postgres_server: postgres.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One application for the module."""
    with house(postgres_server, "people", tmp_path_factory.mktemp("people")) as found:
        yield found


def rows(home: House, query: str, *values: object) -> list[Any]:
    """What a query returns, as the owner of the tables."""
    return home.town.county.conn.execute(query.encode(), values).fetchall()


def enter(client: httpx.Client, site: str = "east", **changes: str) -> int:
    """Enter a person by the form; returns their number."""
    fields = {"site": site, "role": "resident", "name": NAME, "version": "2026-1", "channel": "paper", "guardian": "沈明"}
    fields |= {"attendance": "1", "recognition": "1", "absence": "1"} | changes
    answer = client.post("/people", data={k: v for k, v in fields.items() if v})
    assert answer.status_code == 303, answer.text
    return int(answer.headers["location"].rpartition("/")[2])


def audited(home: House, person: int) -> list[tuple[str, str]]:
    """Who did what about a person."""
    return rows(home, "SELECT who, action FROM audit WHERE subject = %s ORDER BY id", f"person/{person}")


def test_a_name_is_nowhere_in_the_database_and_each_reading_of_it_is_noted(home: House) -> None:
    person, _ = enter(home.east), enter(home.east)
    sealed = bytes(rows(home, "SELECT sealed FROM person_name WHERE person = %s", person)[0][0])
    assert NAME.encode() not in sealed
    assert NAME not in str(rows(home, "SELECT * FROM audit"))
    assert NAME not in home.east.get("/people").text
    assert NAME not in home.east.get(f"/people/{person}").text
    before = audited(home, person)
    page = home.east.post(f"/people/{person}/name", data={}).text
    assert NAME in page
    assert "监护人代签 沈明" in page
    assert NAME in home.east.post("/people/names", data={"site": "east"}).text
    assert audited(home, person) == [*before, ("east-staff", "person.name.read")]
    assert rows(home, "SELECT count(*) FROM audit WHERE action = 'person.name.read' AND who = 'east-staff'")[0][0] >= 2


def test_staff_read_names_for_a_task_only(home: House) -> None:
    county, person = home.town.county, enter(home.admin)
    asked = {"/people/names": {"site": "east", "after": str(person - 1)}, f"/people/{person}/name": {}}
    for path, data in asked.items():
        assert NAME not in home.east.post(path, data=data).text
        assert "沈明" not in home.east.post(path, data=data).text
        assert NAME in home.supervisor.post(path, data=data).text
    assert ("east-staff", "person.name.read") not in audited(home, person)
    task = "INSERT INTO visit_task (alert, person, site, created_us, due_us) VALUES (%s, %s, %s, 1, 2)"
    county.conn.execute(task.encode(), [county.alert(home.town.east, "resident_absent"), person, home.town.east])
    for path, data in asked.items():
        assert NAME in home.east.post(path, data=data).text
    county.conn.execute("UPDATE visit_task SET state = 'withdrawn', done_us = 1 WHERE person = %s", [person])
    assert NAME not in home.east.post(f"/people/{person}/name", data={}).text


async def test_an_alert_about_someone_leaves_for_a_platform_only_with_their_consent_to_that(home: House) -> None:
    county, person = home.town.county, enter(home.east)
    county.conn.execute("INSERT INTO endpoint (name, url, secret) VALUES ('province', 'http://x', 'whsec_x')")
    alert = county.alert(home.town.east, "resident_absent")
    county.conn.execute("UPDATE alert SET subject_kind = 'person', subject = %s WHERE id = %s", [person, alert])

    def queued() -> list[Any]:
        return rows(home, "SELECT version, state FROM outbox WHERE alert = %s ORDER BY version", alert)

    async with await psycopg.AsyncConnection.connect(home.dsn, autocommit=True) as conn:
        await alerts.acknowledge(conn, alert, 1, "root", now_us())
        assert queued() == []
        given = {"purpose": "platform", "version": "2026-1", "channel": "paper", "guardian": ""}
        assert home.east.post(f"/people/{person}/consent", data=given).status_code == 303
        await alerts.resolve(conn, alert, 2, "root", "real", "", now_us())
    assert queued() == [(3, "pending")]
    assert home.east.post(f"/people/{person}/withdraw", data={"purpose": "platform"}).status_code == 303
    assert queued() == [(3, "superseded")]
    county.conn.execute("UPDATE endpoint SET enabled = false WHERE name = 'province'")


def test_another_sites_person_does_not_exist(home: House) -> None:
    person = enter(home.west, "west")
    for path in (f"/people/{person}", f"/people/{person}/export.zip"):
        assert home.east.get(path).status_code == 404
    for path, data in (
        (f"/people/{person}/name", {}),
        (f"/people/{person}", {"role": "staff"}),
        (f"/people/{person}/withdraw", {"purpose": "attendance"}),
        (f"/people/{person}/consent", {"purpose": "absence"}),
        (f"/people/{person}/absences", {"from": "2026-01-01", "to": "2026-01-02", "reason": "x"}),
        (f"/people/{person}/links", {"device": "1", "local_id": "1"}),
    ):
        assert home.east.post(path, data=data).status_code == 404, path
    assert home.east.post("/people", data={"site": "west", "role": "resident", "name": "x", "attendance": "1"}).status_code == 404
    assert f"/people/{person}" not in home.east.get("/people").text
    assert f"/people/{person}" in home.supervisor.get("/people").text


def test_withdrawing_recognition_unlinks_faces_and_keeps_the_rest(home: House) -> None:
    county = home.town.county
    person = enter(home.east)
    made = county.conn.execute(
        "WITH g AS (INSERT INTO gateway (code, shard) VALUES ('gw-faces', 1) RETURNING id), "
        "d AS (INSERT INTO device (gateway, identity, class, assessment) SELECT id, 'face/7', 'face_terminal', 'PIA-1' FROM g "
        "RETURNING id) INSERT INTO mounting (device, place, from_us) SELECT id, %s, 0 FROM d RETURNING device",
        [county.place(home.town.east, "p2")],
    ).fetchone()
    assert made
    device = str(made[0])
    assert home.east.post(f"/people/{person}/links", data={"device": device, "local_id": "117"}).status_code == 303
    other = enter(home.east)
    assert home.east.post(f"/people/{other}/links", data={"device": device, "local_id": "117"}).status_code == 400
    assert home.east.post(f"/people/{person}/withdraw", data={"purpose": "recognition"}).status_code == 303
    assert rows(home, "SELECT 1 FROM person_link WHERE person = %s", person) == []
    assert home.east.post(f"/people/{person}/links", data={"device": device, "local_id": "117"}).status_code == 400
    assert home.east.get(f"/people/{person}").status_code == 200
    again = {"purpose": "recognition", "version": "2026-2", "channel": "counter"}
    assert home.east.post(f"/people/{person}/consent", data=again).status_code == 303
    assert home.east.post(f"/people/{person}/consent", data=again).status_code == 400
    history = rows(
        home,
        "SELECT version, channel, withdrawn_us IS NULL FROM consent WHERE person = %s AND purpose = 'recognition' ORDER BY id",
        person,
    )
    assert history == [("2026-1", "paper", False), ("2026-2", "counter", True)]


def test_nobody_is_missed_who_does_not_want_to_be(home: House) -> None:
    def missed() -> set[int]:
        with psycopg.connect(home.dsn) as conn:
            return {p.id for p in snapshot.compile_inputs(conn, [1], 1)[1].persons}

    person = enter(home.east)
    silent = enter(home.east, absence="")
    assert person in missed()
    assert silent not in missed()
    home.east.post(f"/people/{person}/withdraw", data={"purpose": "absence"})
    assert person not in missed()


def test_without_consent_to_attendance_nothing_about_the_person_stays(home: House) -> None:
    county, conn = home.town.county, home.town.county.conn
    person, now = enter(home.east, ref="A-1"), now_us()
    token = rows(home, "SELECT token FROM person WHERE id = %s", person)[0][0]
    conn.execute(
        "INSERT INTO passage VALUES (%s, %s, 0, 0, 1, 1, %s, %s, 0, 1, 2, 1, 1, 0)",
        [now, now, county.place(home.town.east), person],
    )
    conn.execute("INSERT INTO person_day VALUES (%s, %s, '2026-01-05', 1, 1, 1)", [person, home.town.east])
    alert = county.alert(home.town.east, "resident_absent")
    conn.execute("UPDATE alert SET subject_kind = 'person', subject = %s WHERE id = %s", [person, alert])
    conn.execute(
        "INSERT INTO visit_task (alert, person, site, created_us, due_us) VALUES (%s, %s, %s, 1, 2)",
        [alert, person, home.town.east],
    )
    conn.execute("INSERT INTO endpoint (name, url, secret) VALUES ('city', 'https://p.example.cn/', 'x')")
    conn.execute(
        "INSERT INTO outbox (alert, version, endpoint, webhook_id, body, due_us) "
        "SELECT %s, 1, id, 'w', '', 0 FROM endpoint WHERE name = 'city'",
        [alert],
    )
    home.east.post(f"/people/{person}/absences", data={"from": "2026-01-01", "to": "2026-01-03", "reason": "探亲"})
    home.east.post("/sites/east/check-in", data={"ref": "A-1"})
    assert home.east.post(f"/people/{person}/withdraw", data={"purpose": "attendance"}).headers["location"] == "/people"
    for table, column in (
        ("person_name", "person"),
        ("consent", "person"),
        ("planned_absence", "person"),
        ("check_in", "person"),
        ("person", "id"),
    ):
        assert rows(home, f"SELECT 1 FROM {table} WHERE {column} = %s", person) == [], table
    for table in ("person_day", "visit_task", "passage"):
        assert rows(home, f"SELECT 1 FROM {table} WHERE person = %s", person) == [], table
    assert rows(home, "SELECT count(*) FROM passage WHERE person = 0")[0][0] >= 1
    assert rows(home, "SELECT state FROM outbox WHERE alert = %s", alert) == [("superseded",)]
    assert rows(home, "SELECT 1 FROM person WHERE token = %s", token) == []
    assert ("east-staff", "consent.withdrawn") in audited(home, person)
    assert home.east.get(f"/people/{person}").status_code == 404


def test_the_export_holds_everything_that_is_kept_of_a_person(home: House) -> None:
    person = enter(home.east, ref="A-2")
    home.east.post(f"/people/{person}/absences", data={"from": "2026-02-01", "to": "2026-02-03", "reason": "住院"})
    answer = home.east.get(f"/people/{person}/export.zip")
    with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
        found = json.loads(packed.read(f"person-{person}.json"))
    assert (found["name"], found["ref"], found["site"]) == (NAME, "A-2", "east")
    assert {c["purpose"] for c in found["consents"]} == {"attendance", "recognition", "absence"}
    assert {c["guardian"] for c in found["consents"]} == {"沈明"}
    assert [a["reason"] for a in found["absences"]] == ["住院"]
    assert {"links", "days", "visits", "passages"} <= found.keys()
    assert ("east-staff", "person.name.read") in audited(home, person)


def test_an_absence_is_announced_and_taken_back(home: House) -> None:
    person = enter(home.east)
    home.east.post(f"/people/{person}/absences", data={"from": "2026-03-01", "to": "2026-03-02", "reason": "旅游"})

    def absences() -> list[tuple[int, int]]:
        with psycopg.connect(home.dsn) as conn:
            return next(p.absences for p in snapshot.compile_inputs(conn, [1], 1)[1].persons if p.id == person)

    [(from_us, to_us)] = absences()
    assert to_us - from_us == 2 * DAY_US
    undo = {"do": "cancel", "from_us": str(from_us), "to_us": str(to_us), "reason": "旅游"}
    assert home.east.post(f"/people/{person}/absences", data=undo).status_code == 303
    assert absences() == []
    assert (
        home.east.post(f"/people/{person}/absences", data={"from": "2026-03-03", "to": "2026-03-01", "reason": "x"}).status_code
        == 400
    )


def test_checking_in_by_card_by_tap_and_anonymously(home: House) -> None:
    person = enter(home.west, "west", ref="W-7")
    assert home.west.post("/sites/west/check-in", data={"ref": "W-7"}).headers["location"].endswith("done=yes")
    assert home.west.post("/sites/west/check-in", data={"person": str(person)}).status_code == 303
    assert home.west.post("/sites/west/check-in", data={"person": ""}).status_code == 303
    assert home.west.post("/sites/west/check-in", data={"ref": "nobody"}).headers["location"].endswith("done=unknown")
    entered = rows(home, "SELECT seq, person, method FROM check_in WHERE device = 'desk/west' ORDER BY seq")
    assert entered == [(1, person, 2), (2, person, 4), (3, None, 4)]
    page = home.west.get("/sites/west/check-in?done=yes").text
    assert "与通行记录同样计入" in page
    assert len(re.findall(r"<li><time>", page)) == 3
    assert home.east.post("/sites/west/check-in", data={"ref": "W-7"}).status_code == 404
    assert home.east.post("/sites/east/check-in", data={"person": str(person)}).status_code == 404


def test_a_file_of_people_is_checked_imported_and_changes_nothing_the_second_time(home: House) -> None:
    head = "site,ref,role,name,version,channel,guardian,attendance,recognition,absence"

    def send(*lines: str, dry: str = "0") -> httpx.Response:
        file = "\r\n".join((head, *lines)).encode()
        return home.east.post("/people/import", data={"dry": dry}, files={"file": ("people.csv", file, "text/csv")})

    first, second = "east,F-1,resident,汪阿婆,2026-1,paper,汪强,是,否,是", "east,F-2,staff,小李,2026-1,counter,,yes,,"
    assert "新增 2 人" in send(first, second, dry="1").text
    assert rows(home, "SELECT 1 FROM person WHERE ref LIKE 'F-%%'") == []
    assert "新增 2 人" in send(first, second).text
    assert "2 人不变" in send(first, second).text
    assert "更改 1 人" in send(first.replace("否", "是"), second).text
    [(person,)] = rows(home, "SELECT id FROM person WHERE ref = 'F-1'")
    assert "汪阿婆" in home.east.post(f"/people/{person}/name", data={}).text
    assert {p for (p,) in rows(home, "SELECT purpose FROM consent WHERE person = %s", person)} == {
        "attendance",
        "recognition",
        "absence",
    }
    wrong = send(
        first, first, "west,F-3,resident,x,1,paper,,是,,", "east,F-4,king,x,1,paper,,maybe,,", "east,F-5,staff,x,1,paper,,否,,"
    )
    assert wrong.status_code == 422
    found = set(re.findall(r'<th scope="row">(.*?)</th><td[^>]*>(.*?)</td>', wrong.text))
    assert {
        (f"人员 第 {n} 行", f)
        for n, f in ((1, "ref"), (2, "ref"), (3, "site"), (4, "role"), (4, "attendance"), (5, "attendance"))
    } <= found
    assert rows(home, "SELECT 1 FROM person WHERE ref IN ('F-3', 'F-4', 'F-5')") == []


def test_two_at_a_site_cannot_have_the_same_card(home: House) -> None:
    enter(home.east, ref="DOUBLE")
    fields = {
        "site": "east",
        "role": "resident",
        "name": "x",
        "ref": "DOUBLE",
        "attendance": "1",
        "version": "1",
        "channel": "paper",
    }
    assert home.east.post("/people", data=fields).status_code == 400
    assert home.east.post("/people", data=fields | {"ref": "", "attendance": ""}).status_code == 400


def test_a_sealed_name_opens_for_its_own_person_and_key_only(tmp_path: Path) -> None:
    sealer = Sealer(tmp_path / "a.key")
    sealed = sealer.seal(7, NAME)
    assert Sealer(tmp_path / "a.key").open(7, sealed) == NAME
    assert (tmp_path / "a.key").stat().st_mode & 0o777 == 0o600
    assert sealer.seal(7, NAME) != sealed
    for other, person, body in (
        (sealer, 8, sealed),
        (Sealer(tmp_path / "b.key"), 7, sealed),
        (sealer, 7, sealed[:-1] + b"x"),
        (Sealer(None), 7, sealed),
    ):
        with pytest.raises(NoNames):
            other.open(person, body)
