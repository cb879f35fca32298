"""`smartcare calendar`, `close` and `mode` on a real database, as a person would type them."""

from pathlib import Path

import psycopg
import pytest

from gateway.clock import now_us
from ingest import register, snapshot
from ingest.inputs import SiteInput
from smartcare.cli import main

HOURS = {day: [["08:00", "17:00"]] for day in ("mon", "tue", "wed", "thu", "fri")}
TOWN = {
    "regions": [{"code": "330481001000", "name": "硖石街道"}],
    "sites": [{"code": "HC01", "name": "中心", "kind": "centre", "region": "330481001000", "hours": HOURS}],
}


@pytest.fixture
def run(dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> "Typed":
    monkeypatch.setenv("DATABASE_URL", dsn)
    monkeypatch.setenv("SMARTCARE_STATE", str(tmp_path))
    with psycopg.connect(dsn, autocommit=True) as conn:
        register.load(conn, TOWN, now_us())
    return Typed(dsn)


class Typed:
    """Runs a command and returns its status."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn

    def __call__(self, line: str) -> int:
        with pytest.raises(SystemExit) as stopped:
            main(line.split())
        return int(str(stopped.value.code))

    def site(self) -> SiteInput:
        """What the analyzer would be told."""
        with psycopg.connect(self.dsn) as conn:
            return snapshot.compile_inputs(conn, [0], 1)[0].sites[0]


def test_a_closure_and_a_drill_are_entered_and_taken_back(run: Typed) -> None:
    assert run("close HC01 --from 2026-05-01 --to 2026-05-01 --reason 检修") == 0
    assert run("mode HC01 drill --from 2026-05-06T09:00 --to 2026-05-06T10:00 --reason 演练") == 0
    site = run.site()
    assert [b - a for a, b in site.closed] == [24 * 3_600_000_000]
    assert [(b - a, mode) for a, b, mode in site.modes] == [(3_600_000_000, "drill")]
    assert run("close HC01 --from 2026-05-01 --to 2026-05-01 --reason 不关了 --cancel") == 0
    assert run.site().closed == []


def test_a_site_that_is_not_there_is_a_sentence_and_a_status(run: Typed, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("close HC99 --from 2026-05-01 --to 2026-05-01 --reason x") == 1
    assert "there is no site 'HC99'" in capsys.readouterr().err


def test_days_are_listed_with_who_says_so(run: Typed, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("calendar set 2026-10-11 workday --name 调休") == 0
    assert run("calendar list --year 2026") == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("2026-10-01  holiday") and line.endswith("[library]") for line in lines)
    assert any(line.startswith("2026-10-11  workday 调休") and "library" not in line for line in lines)
