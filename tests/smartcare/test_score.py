"""`smartcare score`: stored alerts under the names that a simulator's ledger uses, and a table of both."""

import json
from pathlib import Path

import psycopg
import pytest

from analytics.scoring import Alert, Truth
from firmware_sim.fleet import build_fleet
from gateway.clock import HOUR_US, now_us
from ingest import register
from smartcare.cli import main
from smartcare.score import ScoreError, read_truth, report, stored_alerts

T = 1_789_948_800_000_000
TRUTH = {"incident": "stuck", "rule": "stuck", "subjects": ["d"], "sites": ["s"], "begin_us": T, "end_us": T + HOUR_US}
ALERT = {"rule": "stuck", "subject": "d", "site": "s", "since_us": T, "begin_us": T + HOUR_US // 2}


def write(path: Path, *lines: object) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_the_command_prints_a_table_and_writes_the_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, alerts = write(tmp_path / "truth", TRUTH), write(tmp_path / "alerts", ALERT)
    with pytest.raises(SystemExit) as ended:
        main(["score", "--truth", str(truth), "--alerts", str(alerts), "--json", str(tmp_path / "out")])
    assert ended.value.code == 0
    printed = capsys.readouterr().out
    assert "stuck" in printed
    assert "100%" in printed
    assert "30 min" in printed
    stuck = json.loads((tmp_path / "out").read_text())["rules"]["stuck"]
    assert (stuck["precision"], stuck["recall"], stuck["delay_s"]) == (1.0, 1.0, 1800.0)


def test_a_line_that_is_no_truth_is_named(tmp_path: Path) -> None:
    with pytest.raises(ScoreError, match="line 2"):
        read_truth(write(tmp_path / "truth", TRUTH, {"rule": "stuck"}))


def test_incidents_that_should_raise_nothing_have_a_table_of_their_own() -> None:
    quiet = Truth(incident="reorder", rule=None, subjects=["s"], sites=["s"], begin_us=T, end_us=T + HOUR_US)
    false = Alert(rule="stuck", subject="d", site="s", since_us=T, begin_us=T)
    assert "reorder" in report([quiet], [false])


def test_stored_alerts_are_named_as_the_ledger_names_them_and_what_was_taken_back_is_none(dsn: str) -> None:
    town = build_fleet("centre", 1, 2)
    with psycopg.connect(dsn, autocommit=True) as conn:
        register.load(conn, town.register(), now_us())
        put = (
            "INSERT INTO alert (shard, rule, subject_kind, subject, site, episode, state, severity, begin_us, detected_us,"
            " reason) SELECT 0, 'stuck', %s, x.id, (SELECT min(id) FROM site), %s, %s, 'minor', %s, 0, '{}'"
            " FROM @ x ORDER BY x.id LIMIT 1"
        )
        kinds = ("site", "place", "device", "gateway", "person")
        for n, kind in enumerate(kinds):
            conn.execute(put.replace("@", kind).encode(), [kind, T + n, "open", T + HOUR_US + n])
        conn.execute(put.replace("@", "site").encode(), ["site", T + 99, "retracted", T])
        found = stored_alerts(conn)
    assert [a.since_us - T for a in found] == [0, 1, 2, 3, 4]
    document = town.document
    codes = {s["code"] for s in document["sites"]}
    known = [
        codes,
        {d["place"] for d in document["devices"]},
        {d["identity"] for d in document["devices"]},
        {g["code"] for g in document["gateways"]},
        {p["token"] for p in document["persons"]},
    ]
    assert all(a.subject in names for a, names in zip(found, known, strict=True))
    assert {a.site for a in found} <= codes
