"""Messages for the group robots of 钉钉, 飞书 and 企业微信: what they say, how long they may be, how often they may come.

One decision: everything is sent as plain text. In markdown a name or a note could draw a picture from anywhere or mention a
whole company; in plain text it is a name or a note. The link leads to a page that asks who is reading.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from api.signers import Signer
from api.success import Rule, parse
from gateway.clock import MINUTE_US, SECOND_US

BEIJING = ZoneInfo("Asia/Shanghai")
TURN_US = 6 * SECOND_US
BURST = 9
"""Nine at once and one every 6 s: never more than 19 in any minute, of the 20 that the strictest robot takes. One is left for
messages that travel at different speeds."""
MERGE = 25
"""Most alerts in one message: each still has some 70 bytes for its name in the shortest of them."""
SPARE_US = (BURST - 1) * TURN_US
MAX_TEXT = 16_000
SEVERITIES = {"urgent": "紧急", "major": "重要", "minor": "一般"}
STATES = {
    "open": "待接手",
    "acknowledged": "处理中",
    "resolved": "已办结",
    "cleared": "已恢复",
    "retracted": "已撤回",
    "expired": "已过期",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Robot:
    """A make of robot. max_bytes: of the text, as JSON writes it. limited: its codes for "too many", with their waits."""

    signer: Signer
    max_bytes: int
    success: Rule
    code: str
    limited: Mapping[int, int]
    shape: tuple[str, str, str]
    """Names of the message's type, of its part, and of the text in that part."""


ROBOTS: Mapping[str, Robot] = {
    "dingtalk": Robot(
        signer=Signer.DINGTALK,
        max_bytes=18_000,  # of 20 000 for the whole body
        success=parse("$.errcode == 0"),
        code="errcode",
        limited={130101: 10 * MINUTE_US},  # it stays shut for ten minutes
        shape=("msgtype", "text", "content"),
    ),
    "feishu": Robot(
        signer=Signer.FEISHU,
        max_bytes=18_000,  # of 20 KB for the whole body
        success=parse("$.code == 0"),
        code="code",
        limited={9499: MINUTE_US, 11232: MINUTE_US},
        shape=("msg_type", "content", "text"),
    ),
    "wecom": Robot(
        signer=Signer.NONE,
        max_bytes=2048,
        success=parse("$.errcode == 0"),
        code="errcode",
        limited={45009: MINUTE_US},
        shape=("msgtype", "text", "content"),
    ),
}


SAID = frozenset(
    {"alert_id", "severity", "state", "rule_zh", "site.name", "subject.name", "reason_zh", "reason_en", "ended_zh", "begin"}
    | {"detected", "late", "notice.text_zh", "notice.text_en"}
)
"""The fields of an alert that a message to people can tell."""


def text(event: dict[str, Any], public_url: str, max_bytes: int = MAX_TEXT) -> str:
    """Return what a message to people says of one event, with the link to its page."""
    return _single(max_bytes, event["data"], public_url)


def message(robot: Robot, events: Sequence[dict[str, Any]], public_url: str) -> bytes:
    """Return the body, unsigned, that tells of these events (canonical bodies, decoded; 1 to `MERGE`)."""
    said = text(events[0], public_url, robot.max_bytes) if len(events) == 1 else _digest(robot, events, public_url)
    kind, part, name = robot.shape
    return msgspec.json.encode({kind: "text", part: {name: said}})


def hold_us(robot: Robot, body: bytes) -> int:
    """Return for how long an answer asks to be left alone because there were too many messages, else 0."""
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return 0
    code = answer.get(robot.code) if isinstance(answer, dict) else None
    return robot.limited.get(code, 0) if isinstance(code, int) else 0


def size(text: str) -> int:
    """Return the bytes that a text takes inside JSON; never fewer than in UTF-8."""
    return len(msgspec.json.encode(text)) - 2


def clip(text: str, limit: int) -> str:
    """Return the text, or as much of its beginning as fits into `limit` bytes with an ellipsis."""
    if size(text) <= limit:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if size(text[:middle] + "…") <= limit else (low, middle - 1)
    return text[:low] + "…" if low else ""


def _single(max_bytes: int, data: dict[str, Any], public_url: str) -> str:
    link = f"\n{public_url}/alerts/{data['alert_id']}" if public_url and "alert_id" in data else ""
    times = [f"{word} {_clock(data[key])}" for key, word in (("begin", "发生"), ("detected", "发现")) if data.get(key)]
    late = ["补报：发现时已结束 · over before it was known"] if data.get("late") else []
    said = [_name(data), data.get("reason_zh"), data.get("ended_zh"), " · ".join(times), *late, data.get("reason_en")]
    if notice := data.get("notice"):  # written for people already, in lines
        said = [line for name in ("text_zh", "text_en") for line in str(notice.get(name, "")).split("\n")]
    lines = [_safe(line) for line in said if line]
    return clip("\n".join(lines), max_bytes - size(link)) + link


def _digest(robot: Robot, events: Sequence[dict[str, Any]], public_url: str) -> str:
    head = f"【汇总】{len(events)} 条告警 · {len(events)} alerts"
    link = f"\n{public_url}/alerts" if public_url else ""
    each = (robot.max_bytes - size(head) - size(link)) // len(events)
    names = (clip("\n" + _safe(_name(event["data"])), each) for event in events)
    return head + "".join(names) + link


def _name(data: dict[str, Any]) -> str:
    severity, state = str(data.get("severity", "")), str(data.get("state", ""))
    site, number = data.get("site") or {}, f" #{data['alert_id']}" if "alert_id" in data else ""
    where = site.get("name") or (data.get("subject") or {}).get("name") or ""
    grade = f"【{SEVERITIES.get(severity, severity)}】" if severity else ""
    return f"{grade}{data.get('rule_zh', '告警')} · {where}（{STATES.get(state, state)}）{number}"


def _clock(time: str) -> str:
    return f"{datetime.fromisoformat(time).astimezone(BEIJING):%m-%d %H:%M}"


def _safe(text: str) -> str:
    """One line, and no `<at …>`, which 飞书 obeys even in plain text."""
    return " ".join(text.split()).replace("<", "＜")
