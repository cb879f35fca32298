"""What people are told, in Chinese and English: what, where, why, since when, and what else the message stands for.

One decision: a message is text without markup, one fact a line, and every name inside it is made one line first, so that no
name can pass for a line of ours.
"""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from analytics import reasons
from analytics.notices import ENDS, Told
from gateway.clock import HOUR_US, MINUTE_US, SECOND_US

LATE_US = 5 * MINUTE_US
"""What was detected longer after it happened is marked."""
NAMED = 8
"""Most names of what a message stands for; the alert's page has the rest."""
SEVERITIES = {"urgent": ("紧急", "Urgent"), "major": ("重要", "Major"), "minor": ("一般", "Minor")}
HEADS: dict[Told, tuple[str, str]] = {
    Told.NEW: ("", ""),
    Told.RISEN: ("【升级】", "Graver now: "),
    Told.ESCALATED: ("【无人接手，请处理】", "Nobody has taken this over: "),
    Told.RE_NOTIFY: ("【已接手，久未处理】", "Taken over, nothing done since: "),
    Told.CLEARED: ("【已恢复】", "Over: "),
    Told.EXPIRED: ("【已过时，始终无人接手】", "Past, and nobody took it over: "),
    Told.RETRACTED: ("【撤回】", "Taken back: "),
}
RETRACTED = ("后到的数据表明并无此事，请勿再处理", "Data that came late shows that it was not so; nothing needs to be done")


def text(reason: Told, row: dict[str, Any], others: Sequence[tuple[str, str]], lang: str) -> str:
    """Return the message about an alert (row of the query `snapshot`, with its count) and others: (rule, subject's name)."""
    en = lang != "zh"
    zone, why = ZoneInfo(row["zone"]), row["reason"]
    grade = SEVERITIES[row["severity"]][en]
    where = row["site_name"] or row["subject_name"] or ""
    head = f"[{grade}] " if en else f"【{grade}】"
    more = (f" and {len(others)} more" if en else f"等 {len(others) + 1} 项") if others else ""
    title = f"{HEADS[reason][en]}{head}{reasons.rule_name(row['rule'], lang)}{more} · {where}"
    lines = [title, reasons.render(row["rule"], why, lang, row["zone"])]
    if reason is Told.RETRACTED:
        lines.append(RETRACTED[en])
    elif reason in ENDS:
        lines.append(reasons.ended(why, lang))
    if row["count"] > 1:
        lines.append(f"Came back {row['count'] - 1} times" if en else f"反复出现 {row['count']} 次")
    lines += _others(others, lang)
    lines.append(_when(row, zone, en))
    return "\n".join(" ".join(line.split()) for line in lines if line)


def happened(begin_us: int, detected_us: int, lang: str) -> str:
    """Say how long something had been going on when it was detected; empty where that was soon."""
    late = detected_us - begin_us
    if late < LATE_US:
        return ""
    span = reasons.span(late // MINUTE_US if late < 2 * HOUR_US else late // HOUR_US * 60, lang != "zh")
    return f"happened {span} ago when it was detected" if lang != "zh" else f"{span}前发生，此时才得知"


def _when(row: dict[str, Any], zone: ZoneInfo, en: bool) -> str:
    begin = f"{datetime.fromtimestamp(row['begin_us'] // SECOND_US, zone):%m-%d %H:%M}"
    late = happened(row["begin_us"], row["detected_us"], "en" if en else "zh")
    return (f"Since {begin}" + (f" ({late})" if late else "")) if en else f"发生 {begin}" + (f"（{late}）" if late else "")


def _others(others: Sequence[tuple[str, str]], lang: str) -> list[str]:
    en = lang != "zh"
    lines = []
    for rule, count in Counter(rule for rule, _ in others).items():
        names = list(dict.fromkeys(name for of, name in others if of == rule and name))
        shown = (", " if en else "、").join(names[:NAMED])
        rest = (" …" if en else "等") if len(names) > NAMED else ""
        also = f"Also {reasons.rule_name(rule, lang)} × {count}" if en else f"另有{reasons.rule_name(rule, lang)} {count} 项"
        lines.append(f"{also}{': ' if en else '：'}{shown}{rest}" if shown else also)
    return lines
