"""`smartcare replay`: what rules would have raised over stored history, and how another rule file compares.

One decision: both columns come from one pass over the log, so that they differ by the rules alone.
"""

import argparse
import io
import json
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import psycopg
import yaml
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from analytics import reasons
from analytics.replay import QUERIES, Raised, Replay, RuleSet, RuleSetError, check, shards
from gateway.clock import SECOND_US
from ingest.maintenance import log_from_us

WIDTH = 130


def read_rules(path: Path | None) -> RuleSet:
    """Read a rule file; None: no changes to the register's. Raises RuleSetError, OSError."""
    if path is None:
        return RuleSet()
    try:
        return check(msgspec.convert(yaml.safe_load(path.read_text()) or {}, RuleSet))
    except (msgspec.ValidationError, yaml.YAMLError) as e:
        expected = "expected default: {rule: {setting: number}} and sites: {CODE: …}"
        raise RuleSetError(f"{path} is no rule file ({e}); {expected}") from None


def run(conn: psycopg.Connection[Any], a: argparse.Namespace) -> str:
    """Replay with a progress bar and return the tables. Raises RuleSetError, ValueError."""
    from_us, to_us = _time(a.since, a.zone), _time(a.to, a.zone)
    if from_us >= to_us:
        raise RuleSetError(f"the span from {a.since} to {a.to} is empty; --to is its end, not included")
    replay = Replay([read_rules(a.against), read_rules(a.rules)])
    _go(conn, replay)
    before, after = ([r for r in replay.raised(n, from_us, to_us) if not r.retracted] for n in (0, 1))
    sites = {i: (code, name, zone) for i, code, name, zone in conn.execute(QUERIES["replayed_sites"]).fetchall()}
    if a.json:
        both = {"against": _plain(before, sites), "rules": _plain(after, sites)}
        a.json.write_text(json.dumps(both, ensure_ascii=False, indent=1))
    names = a.against.name if a.against else "登记的规则 register", a.rules.name if a.rules else "登记的规则 register"
    console = Console(file=io.StringIO(), width=WIDTH)
    if kept_us := log_from_us(conn):
        at = datetime.fromtimestamp(kept_us // SECOND_US, ZoneInfo(a.zone))
        console.print(
            f"日志保留自 the log is kept from {at:%Y-%m-%d %H:%M}: 更早的不再参与 what came before is not replayed",
            soft_wrap=True,
        )
    console.print(_counts(before, after, names))
    for title, only in ((names[0], _only(before, after)), (names[1], _only(after, before))):
        if only:
            console.print(_listed(f"只有 {title} 告警 · raised only by {title}", only, sites, a.list))
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def _go(conn: psycopg.Connection[Any], replay: Replay) -> None:
    with Progress(console=Console(stderr=True)) as progress:
        for shard, last in shards(conn):
            task = progress.add_task(f"片区 shard {shard}", total=None)
            began = None
            for pos in replay.run(conn, shard, last):
                began = pos if began is None else began
                progress.update(task, total=max(last - began, 1), completed=pos - began)


def _time(text: str, zone: str) -> int:
    try:
        return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()) * SECOND_US
    except ValueError:
        raise RuleSetError(f"{text!r} is no date; expected YYYY-MM-DD or YYYY-MM-DDTHH:MM") from None


def _counts(before: Sequence[Raised], after: Sequence[Raised], names: tuple[str, str]) -> Table:
    old, new = Counter(r.rule for r in before), Counter(r.rule for r in after)
    table = Table("规则 rule", title="会产生的告警 alerts that would have been raised")
    for head in (*names, "变化 change"):
        table.add_column(head, justify="right")
    for rule in sorted(old | new):
        table.add_row(f"{reasons.rule_name(rule, 'zh')} {rule}", str(old[rule]), str(new[rule]), f"{new[rule] - old[rule]:+d}")
    table.add_section()
    table.add_row("合计 all", str(len(before)), str(len(after)), f"{len(after) - len(before):+d}")
    return table


def _only(these: Sequence[Raised], those: Sequence[Raised]) -> list[Raised]:
    known = {(r.rule, r.subject_kind, r.subject, r.episode) for r in those}
    return [r for r in these if (r.rule, r.subject_kind, r.subject, r.episode) not in known]


def _listed(title: str, raised: Sequence[Raised], sites: dict[int, tuple[str, str, str]], most: int) -> Table:
    table = Table("时间 time", "站点 site", "规则 rule", "原因 reason", title=title)
    for r in raised[:most]:
        code, name, zone = sites.get(r.site, ("", "", "Asia/Shanghai"))
        at = datetime.fromtimestamp(r.at_us // SECOND_US, ZoneInfo(zone))
        rule = reasons.rule_name(r.rule, "zh")
        table.add_row(f"{at:%m-%d %H:%M}", f"{name} {code}", rule, reasons.render(r.rule, r.reason, "zh", zone))
    if len(raised) > most:
        table.add_row("…", f"另有 {len(raised) - most} 条 more", "", "")
    return table


def _plain(raised: Sequence[Raised], sites: dict[int, tuple[str, str, str]]) -> list[dict[str, Any]]:
    return [
        {
            "rule": r.rule,
            "subject_kind": r.subject_kind,
            "subject": r.subject,
            "site": sites.get(r.site, ("",))[0],
            "at_us": r.at_us,
            "end_us": r.end_us,
            "severity": r.severity,
            "reason": r.reason,
        }
        for r in raised
    ]
