"""What group robots are sent: short enough, Chinese first, with a link, and harmless whatever names and notes say."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api import robots
from api.robots import MERGE, ROBOTS, SPARE_US, TURN_US, clip, hold_us, message
from api.samples import SAMPLE
from gateway.clock import MINUTE_US, SECOND_US

PAGE = "https://care.example.cn"
LIMITS = {"dingtalk": 20_000, "feishu": 20_000, "wecom": 2048}


def event(**data: Any) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(SAMPLE)
    return found | {"data": found["data"] | data}


def said(kind: str, body: bytes) -> str:
    """The text, found where the vendor documents it."""
    found = json.loads(body)
    if kind == "feishu":
        assert found["msg_type"] == "text"
        return str(found["content"]["text"])
    assert found["msgtype"] == "text"
    return str(found["text"]["content"])


@pytest.mark.parametrize("kind", ROBOTS)
def test_a_message_says_what_where_since_when_and_leads_to_the_alert(kind: str) -> None:
    text = said(kind, message(ROBOTS[kind], [event()], PAGE))
    assert text.split("\n") == [
        "【紧急】未按时开门 · 示例照料中心（待接手） #1024",
        "09:30 前未开门，3 个传感器均在线",
        "发生 11-20 09:30 · 发现 11-20 09:31",
        "Not opened by 09:30 with 3 sensors watching",
        f"{PAGE}/alerts/1024",
    ]


def test_what_was_over_before_it_was_known_says_so() -> None:
    assert "补报" in said("wecom", message(ROBOTS["wecom"], [event(late=True)], PAGE))


@pytest.mark.parametrize("kind", ROBOTS)
@given(events=st.lists(st.text(max_size=5000), min_size=1, max_size=MERGE))
def test_no_message_is_longer_than_its_robot_takes(kind: str, events: list[str]) -> None:
    body = message(ROBOTS[kind], [event(reason_zh=t, rule_zh=t, site={"name": t}) for t in events], PAGE)
    text = said(kind, body)
    assert len(text.encode() if kind == "wecom" else body) <= LIMITS[kind] - (0 if kind == "wecom" else 200)  # room to sign
    assert text.endswith(f"{PAGE}/alerts" if len(events) > 1 else f"{PAGE}/alerts/1024")


@pytest.mark.parametrize("kind", ROBOTS)
def test_a_digest_names_every_alert(kind: str) -> None:
    names = [f"站点{n:02}" for n in range(MERGE)]
    text = said(kind, message(ROBOTS[kind], [event(site={"name": name}, alert_id=n) for n, name in enumerate(names)], PAGE))
    assert f"【汇总】{MERGE} 条告警" in text
    assert [name for name in names if name not in text] == []


def test_names_and_notes_can_neither_mention_everyone_nor_break_a_line() -> None:
    hostile = '<at user_id="all">所有人</at>\n【紧急】假消息'
    text = said("feishu", message(ROBOTS["feishu"], [event(reason_zh=hostile, site={"name": hostile})], PAGE))
    assert "<at" not in text
    assert not any(line.startswith("【紧急】假") for line in text.split("\n"))


def test_an_alert_with_few_fields_left_is_still_told() -> None:
    text = said("wecom", message(ROBOTS["wecom"], [{"type": "alert.opened", "data": {"rule_zh": "未按时开门"}}], PAGE))
    assert text.startswith("未按时开门")
    assert "/alerts" not in text


@given(text=st.text(max_size=200), limit=st.integers(0, 300))
def test_a_clipped_text_is_the_longest_beginning_that_fits(text: str, limit: int) -> None:
    cut = clip(text, limit)
    assert robots.size(cut) <= limit
    if cut != text and cut:
        assert text.startswith(cut[:-1])
        assert robots.size(text[: len(cut)] + "…") > limit


@pytest.mark.parametrize(
    ("kind", "body", "minutes"),
    [
        ("dingtalk", b'{"errcode":130101,"errmsg":"send too fast"}', 10),
        ("dingtalk", b'{"errcode":310000}', 0),
        ("feishu", b'{"code":11232}', 1),
        ("feishu", b'{"code":9499}', 1),
        ("wecom", b'{"errcode":45009}', 1),
        ("wecom", b'{"errcode":"45009"}', 0),
        ("wecom", b"[]", 0),
        ("wecom", b"no", 0),
    ],
)
def test_a_robot_that_says_too_many_is_left_alone(kind: str, body: bytes, minutes: int) -> None:
    assert hold_us(ROBOTS[kind], body) == minutes * MINUTE_US


@pytest.mark.parametrize("idle_s", [0, 7, 600])
def test_no_minute_sees_twenty_messages_however_many_wait(idle_s: int) -> None:
    """The budget as the database keeps it: a turn is free while turn_us <= now + spare, and costs TURN_US."""
    turn, sent = 0, list[int]()
    for tick in range(3000):  # whoever always has something to say, every 0.1 s, with a silence in between
        now = tick * SECOND_US // 10 + (idle_s * SECOND_US if tick > 1000 else 0)
        if max(turn, now) <= now + SPARE_US:
            turn = max(turn, now) + TURN_US
            sent.append(now)
    busiest = max(sum(at <= other <= at + MINUTE_US for other in sent) for at in sent)
    assert busiest == 19
