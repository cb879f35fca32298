"""Reasons in words: every code has both languages, and nothing a reader meets is a placeholder."""

import re

import pytest

from analytics.findings import Rule
from analytics.reasons import ENDED, NAMES, TEXTS, ended, render, rule_name
from tests.scenarios.day import Day

DAY = Day()
AT = {
    name: DAY.time(text)
    for name, text in {
        "opens_us": "08:00",
        "closes_us": "17:00",
        "open_since_us": "16:20",
        "t_us": "02:40",
        "since_us": "06:10",
        "to_us": "06:40",
        "from_us": "05:40",
        "sign_us": "17:20",
    }.items()
}
FULL = AT | {
    "grace_min": 30.0,
    "after_min": 45.0,
    "limit_min": 120.0,
    "alive_min": 1080.0,
    "sensors": 2,
    "of": 3,
    "place": "前门",
    "place_en": "Front door",
    "device": "门磁",
    "d_in": 2,
    "d_out": 1,
    "gateway": "gw-9",
    "source": "z2m/",
    "places": ["前门", "食堂"],
    "alert": 12,
    "of_rule": Rule.NOT_OPENED,
    "told": 3,
    "people": 11,
    "capacity": 10,
    "came_in": 9,
    "went_out": 8,
    "quiet_min": 60,
    "days": 12,
    "busy": 11,
    "usual": 2.5,
    "usual_min": 45,
    "on_day": 1,
    "run": 70,
    "percent": 18,
    "edges": 400,
    "messages": 5,
    "counted": 3,
    "low": 22,
    "high": 41,
    "day_type": 1,
    "everywhere": True,
    "share": 95,
    "quarters": 8,
    "every": 1.5,
    "longest": 4,
    "per_year": 0.3,
}


@pytest.mark.parametrize("code", list(TEXTS))
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_every_code_is_a_sentence_with_its_numbers(code: str, lang: str) -> None:
    reason = {k: v for k, v in FULL.items() if k != "grace_min" or code == "not_opened"} | {"code": code}
    text = render("any", reason, lang, "Asia/Shanghai")
    assert text != rule_name("any", lang)
    assert re.search(r"\d", text)
    assert "{" not in text
    assert "None" not in text
    assert bool(re.search("[一-龥]", text.replace("前门", "").replace("食堂", "").replace("门磁", ""))) is (lang == "zh")


def test_times_are_the_sites_and_another_day_is_named() -> None:
    reason = {"code": "silent", "since_us": DAY.time("-1 06:10"), "alive_min": 0.5, "device": "d", "place": "p", "place_en": "p"}
    assert "22:10" in render(Rule.DEVICE_OFFLINE, reason, "zh", "UTC")
    left = FULL | {"code": "left_open", "open_since_us": DAY.time("-1 16:20")}
    left = {k: v for k, v in left.items() if k in ("code", "closes_us", "after_min", "open_since_us", "place", "place_en")}
    assert render(Rule.LEFT_OPEN, left, "zh", "Asia/Shanghai") == "17:00 关门后 45 分钟，前门仍开着（03-02 16:20 打开）"


@pytest.mark.parametrize("reason", [{}, {"code": "of_another_version"}, {"code": "left_open"}])
def test_what_it_cannot_say_is_the_rules_name(reason: dict[str, object]) -> None:
    assert render(Rule.LEFT_OPEN, reason, "zh", "Asia/Shanghai") == "关门后门未关"
    assert render(Rule.LEFT_OPEN, reason, "en", "Asia/Shanghai") == "Door left open"


def test_every_rule_and_every_end_has_words() -> None:
    assert set(NAMES) == set(Rule)
    assert all(ended({"ended": code}, lang) for code in ENDED for lang in ("zh", "en"))
    assert ended({}, "zh") == ""
