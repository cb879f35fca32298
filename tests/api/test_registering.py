"""The register in the console: forms, workbooks, rules and their preview."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import httpx
import openpyxl
import psycopg
import pytest

from ingest import snapshot, spreadsheets
from smartcare.embedded import postgres
from tests.api.house import House, house

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@pytest.fixture(scope="module")
def home(postgres_server: postgres.Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """One application for the module."""
    with house(postgres_server, "registering", tmp_path_factory.mktemp("registering")) as found:
        yield found


def workbook(**sheets: Sequence[Sequence[object]]) -> bytes:
    """A workbook as an office writes it."""
    book = openpyxl.Workbook()
    book.remove(book.worksheets[0])
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(list(row))
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def send(client: httpx.Client, data: bytes, name: str = "town.xlsx", dry: str = "0") -> httpx.Response:
    """Upload a file as the page's form does."""
    return client.post("/register/import", data={"dry": dry}, files={"file": (name, data, XLSX)})


def one(home: House, query: str, *values: object) -> Any:
    """The only row of a query."""
    return home.town.county.conn.execute(query.encode(), values).fetchone()


SITE = ["code", "name", "kind", "region", "capacity", "mon", "tue", "holiday"]


def test_a_workbook_is_checked_then_imported_and_the_second_time_changes_nothing(home: House) -> None:
    data = workbook(
        regions=[["code", "name"], [999001077000, "新街道"]],
        sites=[SITE, ["book-1", "书苑", "point", 999001077000, 40.0, "08:00-11:30 13:00-17:00", "08:00–17:00", "-"]],
        places=[["site", "code", "name", "room"], ["book-1", "door", "大门", "entrance"]],
    )
    assert "检查通过" in send(home.admin, data, dry="1").text
    assert one(home, "SELECT count(*) FROM site WHERE code = 'book-1'") == (0,)
    before = snapshot.version(home.town.county.conn)
    assert "已导入" in send(home.admin, data).text
    hours, capacity = one(home, "SELECT hours, capacity FROM site WHERE code = 'book-1'")
    assert hours["mon"] == [["08:00", "11:30"], ["13:00", "17:00"]]
    assert (hours["tue"], hours["wed"], hours["holiday"], capacity) == ([["08:00", "17:00"]], [], [], 40)
    assert snapshot.version(home.town.county.conn) == before + 1
    assert send(home.admin, data).status_code == 200
    assert snapshot.version(home.town.county.conn) == before + 1


def test_every_fault_of_a_workbook_is_named_with_its_row_and_nothing_is_written(home: House) -> None:
    data = workbook(
        sites=[
            SITE,
            ["bad-1", "甲", "palace", 999001001000, 40, "25:00-26:00", "", ""],
            ["bad-2", "乙", "point", 5, -1, "", "", ""],
        ],
        places=[["site", "code", "name", "room"], ["nowhere", "door", "大门", "entrance"]],
    )
    answer = send(home.admin, data)
    assert answer.status_code == 422
    rows = re.findall(r"<th scope=\"row\">(.*?)</th><td[^>]*>(.*?)</td>", answer.text)
    assert {("站点 第 1 行", "kind"), ("站点 第 2 行", "capacity"), ("监测点 第 1 行", "site")} <= set(rows)
    assert any(where == "站点 第 1 行" and field.startswith("hours") for where, field in rows)
    assert one(home, "SELECT count(*) FROM site WHERE code LIKE 'bad-%%'") == (0,)


def test_a_csv_file_of_a_chinese_spreadsheet_program_is_read(home: House) -> None:
    text = "site,code,name,room\r\neast,yard,后院,other\r\n"
    assert send(home.admin, text.encode("gb18030"), "places.csv").status_code == 200
    assert one(home, "SELECT name FROM place WHERE code = 'yard'") == ("后院",)


@pytest.mark.parametrize(
    ("name", "data"),
    [("town.xlsx", b"PK no zip"), ("town.txt", b"a"), ("secrets.csv", b"a,b\n1,2"), ("places.csv", b"\xff\xff\xff")],
)
def test_what_is_no_register_file_is_refused_in_words(home: House, name: str, data: bytes) -> None:
    answer = send(home.admin, data, name)
    assert answer.status_code == 422
    assert "没有写入任何内容" in answer.text


def test_the_exported_workbook_imports_without_a_change_and_no_cell_is_a_formula(home: House) -> None:
    home.admin.post("/sites/west/places", data={"code": "evil", "name": "=1+1", "name_en": "", "room": "hall"})
    data = home.admin.get("/register.xlsx").content
    sheet = openpyxl.load_workbook(io.BytesIO(data))["places"]
    assert {cell.data_type for row in sheet.iter_rows() for cell in row if cell.value == "=1+1"} == {"s"}
    before = snapshot.version(home.town.county.conn)
    assert send(home.admin, data).status_code == 200
    assert snapshot.version(home.town.county.conn) == before
    assert {"sites", "places", "devices", "regions"} == spreadsheets.read("x.xlsx", data).keys()


def test_a_town_changes_its_own_sites_and_nothing_else(home: House) -> None:
    county = home.town.county
    county.site("far", "远站", "Far site", county.region("外镇", "Other town"))
    mine, foreign = ({"code": "side", "name": name, "name_en": "", "room": "hall"} for name in ("侧厅", "别人的"))
    assert home.supervisor.post("/sites/east/places", data=mine).status_code == 303
    assert home.supervisor.post("/sites/far/places", data=foreign).status_code == 404
    assert home.east.post("/sites/east/places", data=mine).status_code == 403
    assert one(home, "SELECT name FROM place WHERE code = 'side'") == ("侧厅",)
    refused: tuple[Mapping[str, Sequence[Sequence[object]]], ...] = (
        {"places": [["site", "code", "name", "room"], ["far", "side", "越权", "hall"]]},
        {"regions": [["code", "name"], ["999001001000", "改名"]]},
        {"sites": [SITE, ["far", "改名", "point", "999001001000", 1, "", "", ""]]},
        {"sites": [SITE, ["east", "搬走", "point", "999001002000", 1, "", "", ""]]},
    )
    for sheets in refused:
        assert send(home.supervisor, workbook(**sheets)).status_code == 422, sheets
    assert one(home, "SELECT count(*) FROM place WHERE name = '越权'") == (0,)
    assert one(home, "SELECT name FROM site WHERE code = 'far'") == ("远站",)
    assert home.supervisor.post("/register/regions", data={"code": "999001001000", "name": "改名"}).status_code == 403
    assert "far" not in home.supervisor.get("/register").text
    new = ["town-new", "新站", "point", "999001001000", 1, "", "", ""]
    assert send(home.supervisor, workbook(sites=[SITE, new])).status_code == 200
    assert home.supervisor.get("/sites/town-new/register").status_code == 200


def test_hours_are_edited_as_text_and_a_refused_text_is_explained(home: House) -> None:
    assert (
        home.supervisor.post(
            "/sites/east/hours", data={"mon": "09:00-12:00，14:00-17:00", "sat": "-", "workday": "09:00-12:00"}
        ).status_code
        == 303
    )
    (hours,) = one(home, "SELECT hours FROM site WHERE code = 'east'")
    assert hours["mon"] == [["09:00", "12:00"], ["14:00", "17:00"]]
    assert (hours["sat"], hours["workday"], "holiday" in hours) == ([], [["09:00", "12:00"]], False)
    answer = home.supervisor.post("/sites/east/hours", data={"mon": "09:00-12:00 11:00-13:00"})
    assert (answer.status_code, "overlap" in answer.text) == (422, True)


def test_a_sensor_that_may_be_silent_for_longer_than_a_rule_allows_is_named(home: House) -> None:
    home.town.county.contact(home.town.west, [])
    page = home.admin.get("/sites/west/register").text
    assert "未开门：期限 2 小时 30 分，此传感器可 3 小时 不出声" in page
    assert "长时间无人：" not in page
    fields = {"gateway": "g1", "identity": "z2m/front", "class": "zigbee_contact", "name": "前门", "place": "west/p0"}
    assert home.admin.post("/sites/west/devices", data=fields | {"alive_every_min": "70"}).status_code == 303
    assert "不出声" not in home.admin.get("/sites/west/register").text
    assert home.admin.post("/sites/west/devices", data=fields | {"alive_every_min": "1500"}).status_code == 303
    assert home.admin.get("/sites/west/register").text.count("不出声") == 2
    assert home.supervisor.post("/sites/east/devices", data=fields).status_code == 404


def test_only_what_differs_from_the_defaults_is_stored_of_a_rule(home: House) -> None:
    def rules() -> Any:
        return one(home, "SELECT rules FROM site WHERE code = 'west'")[0]

    fields = {"rule": "not_opened", "grace_min": "45", "before_min": "120"}
    assert home.supervisor.post("/sites/west/rules", data=fields | {"do": "save"}).status_code == 303
    assert rules() == {"not_opened": {"grace_min": 45.0}}
    assert "已调整" in home.west.get("/sites/west/rules").text
    for wrong in ({"grace_min": "soon"}, {"grace_min": "-1"}, {"grace_min": "nan"}, {"rule": "nothing"}, {"before_min": ""}):
        assert home.supervisor.post("/sites/west/rules", data=fields | {"do": "save"} | wrong).status_code == 400, wrong
    assert home.supervisor.post("/sites/west/rules", data=fields | {"do": "reset"}).status_code == 303
    assert rules() == {}
    assert home.west.post("/sites/west/rules", data=fields | {"do": "save"}).status_code == 403


def test_changes_are_in_the_audit_log_under_their_site(home: House) -> None:
    home.supervisor.post("/sites/west/rules", data={"rule": "battery_low", "percent": "10", "do": "save"})
    with psycopg.connect(home.dsn) as conn:
        row = conn.execute("SELECT who, action, subject, detail FROM audit ORDER BY id DESC LIMIT 1").fetchone()
    assert row
    assert row[:3] == ("supervisor", "register.changed", "site/west")
    assert '"battery_low"' in row[3]
