"""Words and times."""

import re
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.daybook import MODES
from api.errors import MissingText
from api.web import i18n
from api.web.i18n import Say, day_start_us
from gateway.clock import DAY_US, HOUR_US, MINUTE_US

NOON = 1_790_049_600_000_000  # 2026-09-22 12:00 in Shanghai
ZONE = "Asia/Shanghai"


def test_both_languages_have_the_same_texts() -> None:
    texts = i18n.load()
    assert texts["zh"].keys() == texts["en"].keys()
    assert all(text.strip() for lang in texts.values() for text in lang.values())


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_a_text_that_does_not_exist_is_an_error(lang: str) -> None:
    with pytest.raises(MissingText, match=r"no text 'app\.nothing'"):
        Say(lang, NOON)("app.nothing")


@pytest.mark.parametrize(
    ("at_us", "zh", "en"),
    [
        (NOON, "12:00", "12:00"),
        (NOON - 12 * HOUR_US, "00:00", "00:00"),
        (NOON - 12 * HOUR_US - MINUTE_US, "9月21日 23:59", "21 Sep 23:59"),
        (NOON - 300 * DAY_US, "2025年11月26日 12:00", "26 Nov 2025 12:00"),
    ],
)
def test_a_time_names_its_day_unless_it_is_today(at_us: int, zh: str, en: str) -> None:
    assert Say("zh", NOON).clock(at_us, ZONE) == zh
    assert Say("en", NOON).clock(at_us, ZONE) == en


def test_a_time_is_shown_in_the_zone_of_its_site() -> None:
    assert Say("zh", NOON).clock(NOON, "Asia/Urumqi") == "10:00"


@pytest.mark.parametrize(
    ("minutes", "zh", "en"),
    [
        (0, "不到 1 分钟", "less than a minute"),
        (59, "59 分钟", "59 min"),
        (60, "1 小时", "1 h"),
        (371, "6 小时 11 分", "6 h 11 min"),
        (1440, "1 天", "1 d"),
        (1440 * 3 + 125, "3 天 2 小时", "3 d 2 h"),
    ],
)
def test_a_length_of_time_is_said_in_its_two_largest_units(minutes: int, zh: str, en: str) -> None:
    assert Say("zh", NOON).span(minutes * MINUTE_US) == zh
    assert Say("en", NOON).span(minutes * MINUTE_US) == en


@given(st.integers(0, 4_000_000_000), st.sampled_from(["Asia/Shanghai", "America/New_York", "Australia/Lord_Howe"]))
def test_a_day_starts_at_local_midnight_even_when_clocks_change(second: int, zone: str) -> None:
    start = day_start_us(second * 1_000_000, zone)
    assert 0 <= second * 1_000_000 - start < 26 * HOUR_US
    local = datetime.fromtimestamp(start // 1_000_000, ZoneInfo(zone))
    assert (local.hour, local.minute, local.second) == (0, 0, 0)
    assert local.date() == datetime.fromtimestamp(second, ZoneInfo(zone)).date()


def test_every_action_of_the_audit_log_has_words() -> None:
    root, texts = Path(__file__).parents[2], i18n.load()["zh"]
    sources = [path.read_text(encoding="utf-8") for folder in ("api", "smartcare") for path in (root / folder).rglob("*.py")]
    said = [line for source in sources for line in re.findall(r"action ?= ?(.*)", source)]
    actions = {name for line in said for name in re.findall(r'"(\w+\.[\w.]+)"', line)}
    assert actions >= {"account.disabled", "register.changed"}
    actions |= {f"site.{mode}.{what}" for mode in MODES for what in ("entered", "cancelled")}
    assert {a for a in actions if f"audit_action.{a}" not in texts} == set()
