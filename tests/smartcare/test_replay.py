"""Trying rules on what was stored: a real database, the real log, the command's own tables."""

import argparse
import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from analytics.findings import Phase, Rule
from analytics.replay import RuleSetError
from smartcare import replay
from tests.analytics.log import Log
from tests.analytics.log import register as enter
from tests.scenarios.day import DOOR, SHARD, Day, inputs

REGISTER = inputs(rules={"left_open": {"after_min": 45}})


@pytest.fixture
def conn(dsn: str) -> Any:
    """A database with one site on record: opened late at night, and a door left open after closing."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        enter(conn, REGISTER, SHARD)
        day = Day(REGISTER, since="05:00").at("07:55").opens().at("16:50").opens().alive_until("18:20", DOOR)
        day.closes().alive_until("21:00", DOOR).opens().closes().alive_until("22:00", DOOR)
        assert [f.rule for f in day.found if f.phase is Phase.BEGIN][-2:] == [Rule.LEFT_OPEN, Rule.OPENED_AFTER_HOURS]
        log = Log(conn, SHARD)
        for batch in day.batches:
            log.store(batch)
        yield conn


def arguments(**changes: Any) -> argparse.Namespace:
    """What the command line gives."""
    given = {"since": "2026-03-03", "to": "2026-03-04", "rules": None, "against": None, "zone": "Asia/Shanghai", "list": 20}
    return argparse.Namespace(**(given | {"json": None} | changes))


def raised(path: Path, which: str = "rules") -> list[str]:
    """The rules of a written file."""
    return [alert["rule"] for alert in json.loads(path.read_text())[which]]


def test_the_registers_own_rules_raise_what_was_raised(conn: psycopg.Connection[Any], tmp_path: Path) -> None:
    text = replay.run(conn, arguments(json=tmp_path / "out.json"))
    assert raised(tmp_path / "out.json") == raised(tmp_path / "out.json", "against")
    assert raised(tmp_path / "out.json")[-2:] == ["left_open", "opened_after_hours"]
    assert "关门后门未关 left_open" in text
    assert "+0" in text


def test_a_rule_file_is_compared_with_what_the_register_says(conn: psycopg.Connection[Any], tmp_path: Path) -> None:
    rules = tmp_path / "rules.yaml"
    rules.write_text("default: {left_open: {after_min: 120}}\nsites: {HN-07: {opened_after_hours: {after_min: 300}}}\n")
    text = replay.run(conn, arguments(rules=rules, json=tmp_path / "out.json"))
    gone = set(raised(tmp_path / "out.json", "against")) - set(raised(tmp_path / "out.json"))
    assert gone == {"left_open", "opened_after_hours"}
    assert "只有 登记的规则 register 告警" in text
    assert "大门仍开着" in text


def test_what_lies_outside_the_span_is_not_told(conn: psycopg.Connection[Any], tmp_path: Path) -> None:
    replay.run(conn, arguments(since="2026-03-03T20:00", json=tmp_path / "out.json"))
    assert raised(tmp_path / "out.json") == ["opened_after_hours"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("default: {left_opn: {after_min: 1}}", "there is no rule 'left_opn'; expected one of not_opened"),
        ("default: {left_open: {minutes: 1}}", "left_open has no setting minutes; expected after_min, fresh_min"),
        ("default: {left_open: {after_min: soon}}", "is no rule file"),
        ("[1", "is no rule file"),
    ],
)
def test_a_rule_file_with_a_mistake_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "rules.yaml").write_text(text)
    with pytest.raises(RuleSetError, match=message):
        replay.read_rules(tmp_path / "rules.yaml")


def test_a_span_that_is_none_is_refused(conn: psycopg.Connection[Any]) -> None:
    with pytest.raises(RuleSetError, match="is empty"):
        replay.run(conn, arguments(to="2026-03-03"))
    with pytest.raises(RuleSetError, match="is no date"):
        replay.run(conn, arguments(to="tomorrow"))
