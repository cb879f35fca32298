"""`smartcare score`: how well the alerts match what a simulator says has happened, as a table and as JSON.

One decision: what the ledger names (codes, identities, tokens) is looked up here once; the matching knows no database.
"""

import io
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import psycopg
from psycopg.rows import dict_row
from rich.console import Console
from rich.table import Table

from analytics import reasons, scoring
from analytics.scoring import Alert, Quiet, Score, Truth
from ingest.store.queries import Queries

QUERIES = Queries("analytics")
T = TypeVar("T")
WIDTH = 110


class ScoreError(Exception):
    """A file cannot be read as what it should be."""


def read_truth(path: Path) -> list[Truth]:
    """Read a ledger. Raises ScoreError, OSError."""
    return _read(path, msgspec.json.Decoder(Truth))


def read_alerts(path: Path) -> list[Alert]:
    """Read alerts, one JSON object a line. Raises ScoreError, OSError."""
    return _read(path, msgspec.json.Decoder(Alert))


def stored_alerts(conn: psycopg.Connection[Any]) -> list[Alert]:
    """Return the alerts in the database, but for those that were taken back."""
    with conn.cursor(row_factory=dict_row) as cursor:
        return [msgspec.convert(row, Alert) for row in cursor.execute(QUERIES["scored_alerts"]).fetchall()]


def report(truths: Sequence[Truth], alerts: Sequence[Alert], to_json: Path | None = None) -> str:
    """Score and return the tables; writes the figures to `to_json`."""
    scores, quiet = scoring.score(truths, alerts)
    if to_json:
        to_json.write_text(json.dumps(_figures(scores, quiet), indent=1) + "\n")
    console = Console(file=io.StringIO(), width=WIDTH)
    console.print(_rules([s for s in scores if s.incidents or s.alerts]))
    if quiet:
        console.print(_quiet(quiet))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def _read(path: Path, decoder: msgspec.json.Decoder[T]) -> list[T]:
    found = []
    for n, line in enumerate(path.read_bytes().splitlines(), 1):
        try:
            found.append(decoder.decode(line))
        except msgspec.MsgspecError as e:
            raise ScoreError(f"{path} line {n}: {e}; expected a {decoder.type.__name__} as JSON") from None
    return found


def _rules(scores: Sequence[Score]) -> Table:
    table = Table("规则 rule")
    for head in ("事件 incidents", "查全 recall", "告警 alerts", "误报 false", "查准 precision", "延迟 delay"):
        table.add_column(head, justify="right")
    for s in scores:
        name = reasons.rule_name(s.rule, "zh")
        cells = [s.incidents, _share(s.recall), s.alerts, s.false, _share(s.precision), _minutes(s.delay_s)]
        table.add_row(f"{name} {s.rule}", *map(str, cells))
    return table


def _quiet(quiet: Sequence[Quiet]) -> Table:
    table = Table("不该报警 nothing to be raised")
    for head in ("事件 incidents", "受扰 disturbed"):
        table.add_column(head, justify="right")
    for q in quiet:
        table.add_row(q.incident, str(q.incidents), str(q.disturbed))
    return table


def _figures(scores: Sequence[Score], quiet: Sequence[Quiet]) -> dict[str, Any]:
    rules = {
        s.rule: {
            "incidents": s.incidents,
            "found": s.found,
            "alerts": s.alerts,
            "false": s.false,
            "precision": s.precision,
            "recall": s.recall,
            "delay_s": s.delay_s,
        }
        for s in scores
    }
    return {"rules": rules, "quiet": {q.incident: {"incidents": q.incidents, "disturbed": q.disturbed} for q in quiet}}


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.0%}"


def _minutes(seconds: float | None) -> str:
    return "–" if seconds is None else f"{seconds / 60:.0f} min"
