"""The command line's reports, acceptances and checks, against a real database."""

import json
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from openpyxl import load_workbook

from gateway.clock import DAY_US, now_us
from smartcare import cli
from tests.api.seed import County


@pytest.fixture
def seeded(dsn: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[County]:
    """A site with a door and some served; the command line finds the database."""
    monkeypatch.setenv("DATABASE_URL", dsn)
    monkeypatch.setenv("SMARTCARE_STATE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    with psycopg.connect(dsn, autocommit=True) as conn:
        county = County(conn)
        site = county.site("east", "东桥睦邻点", "Dongqiao point", county.region("云溪街道", "Yunxi"))
        county.contact(site, [(now_us() - 9 * DAY_US, now_us())])
        conn.execute("INSERT INTO rollup_site_service VALUES (%s, %s, 12, 2, 1, 9)", [site, 1_772_503_200_000_000])
        yield county


def smartcare(*argv: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main(argv)
    return int(ended.value.code or 0)


def test_a_report_is_written_confirmed_and_both_kinds_of_change_are_told(
    seeded: County, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "march.xlsx"
    assert smartcare("report", "--site", "east", "--period", "2026-03", "-o", str(file)) == 0
    assert smartcare("evidence", "verify", str(file)) == 0
    assert "文件未变 file unchanged" in capsys.readouterr().out
    book = load_workbook(file)
    book["汇总"]["B9"].value = 21
    book.save(tmp_path / "altered.xlsx")
    assert smartcare("evidence", "verify", str(tmp_path / "altered.xlsx")) == 1
    said = capsys.readouterr().out
    assert "FILE CHANGED: summary" in said
    assert "服务人次 · 实测: 文件 file 21, 库中 store 12" in said
    assert "store unchanged" in said
    seeded.conn.execute("UPDATE rollup_site_service SET served = 13")
    assert smartcare("evidence", "verify", str(file)) == 1
    said = capsys.readouterr().out
    assert "file unchanged" in said
    assert "STORE CHANGED: summary, days" in said
    assert smartcare("report", "--period", "2026-03", "--lang", "en") == 0
    assert "13" in capsys.readouterr().out
    assert smartcare("report", "--period", "march") == 1
    assert "2026-Q4" in capsys.readouterr().err


def test_an_acceptance_is_written_and_confirmed(seeded: County, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "accepted.json"
    assert smartcare("acceptance", "east", "--days", "2", "-o", str(file)) == 0
    assert "未通过 not passed: east" in capsys.readouterr().out
    assert smartcare("evidence", "verify", str(file)) == 0
    record = json.loads(file.read_text())
    record["record"]["passed"] = True
    file.write_text(json.dumps(record))
    assert smartcare("evidence", "verify", str(file)) == 1
    assert "FILE CHANGED: record" in capsys.readouterr().out
