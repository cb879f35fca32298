"""Words and times in Chinese and English. Times are shown in the site's own zone.

One decision: a text that is missing in either language stops the program from starting, not the page from showing.
"""

import datetime
import tomllib
from collections import Counter
from functools import lru_cache
from importlib import resources
from zoneinfo import ZoneInfo

from api.errors import MissingText
from gateway.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US

LANGUAGES = ("zh", "en")
MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]


def load() -> dict[str, dict[str, str]]:
    """Read `zh.toml` and `en.toml`, and `<part>.zh.toml` and so on beside them. Raises MissingText unless they agree."""
    texts: dict[str, dict[str, str]] = {}
    files = sorted((resources.files("api.web") / "locale").iterdir(), key=lambda file: file.name)
    for lang in LANGUAGES:
        parts = [
            tomllib.loads(f.read_text("utf-8")) for f in files if f.name == f"{lang}.toml" or f.name.endswith(f".{lang}.toml")
        ]
        named = [(f"{table}.{key}", text) for part in parts for table, entries in part.items() for key, text in entries.items()]
        texts[lang] = dict(named)
        if len(texts[lang]) < len(named):
            twice = sorted(key for key, times in Counter(key for key, _ in named).items() if times > 1)
            raise MissingText(f"texts in more than one file of {lang}: {', '.join(twice)}")
    odd = set(texts["zh"]) ^ set(texts["en"])
    if odd:
        raise MissingText(f"texts in only one of zh.toml and en.toml: {', '.join(sorted(odd))}")
    return texts


@lru_cache(maxsize=2)
def _texts(lang: str) -> dict[str, str]:
    return load()[lang]


class Say:
    """Speaks one language at one moment."""

    def __init__(self, lang: str, now_us: int) -> None:
        self.lang = lang
        self.now_us = now_us
        self._texts = _texts(lang)

    def __call__(self, key: str, **values: object) -> str:
        """Return a text with its values filled in. Raises MissingText."""
        try:
            return self._texts[key].format(**values)
        except KeyError as missing:
            raise MissingText(f"no text {key!r} for {self.lang}, or no value {missing} for it") from missing

    def word(self, table: str, key: str) -> str:
        """Return a text of data that may be newer than this page; unknown words are shown as they came."""
        return self._texts.get(f"{table}.{key}", key)

    def name(self, zh: str | None, en: str | None) -> str:
        """Return the name in this language, or the Chinese one where there is no English."""
        return (en or zh or "") if self.lang == "en" else (zh or en or "")

    def clock(self, time_us: int, zone: str) -> str:
        """Return "14:05" today, else with the day: "11月20日 14:05" or "20 Nov 14:05"."""
        then, now = _local(time_us, zone), _local(self.now_us, zone)
        text = f"{then:%H:%M}"
        if then.date() == now.date():
            return text
        day = f"{then.month}月{then.day}日" if self.lang == "zh" else f"{then.day} {MONTHS[then.month - 1]}"
        year = "" if then.year == now.year else (f"{then.year}年" if self.lang == "zh" else f" {then.year}")
        return f"{year}{day} {text}" if self.lang == "zh" else f"{day}{year} {text}"

    def seconds(self, time_us: int, zone: str) -> str:
        """Return "14:05:09" today, else with the day as `clock` does."""
        second = f":{_local(time_us, zone):%S}"
        return self.clock(time_us, zone) + second

    def span(self, length_us: int) -> str:
        """Return a length of time in its two largest units, down to the minute."""
        minutes = max(0, length_us) // MINUTE_US
        days, hours = minutes * MINUTE_US // DAY_US, minutes * MINUTE_US % DAY_US // HOUR_US
        if days:
            return self("span.days_hours", days=days, hours=hours) if hours else self("span.days", days=days)
        if hours:
            rest = minutes % 60
            return self("span.hours_minutes", hours=hours, minutes=rest) if rest else self("span.hours", hours=hours)
        return self("span.minutes", minutes=minutes) if minutes else self("span.moment")

    def short(self, length_us: int) -> str:
        """Return a length of time as `span` does, but one below a minute in seconds."""
        return self.span(length_us) if length_us >= MINUTE_US else self("span.seconds", seconds=length_us // SECOND_US)

    def ago(self, time_us: int | None) -> str:
        """Return how long ago, or that it never was."""
        return self("span.never") if time_us is None else self("span.ago", span=self.span(self.now_us - time_us))


def day_start_us(now_us: int, zone: str) -> int:
    """Return the local midnight before `now_us`."""
    midnight = _local(now_us, zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    return int(midnight.timestamp()) * 1_000_000


def _local(time_us: int, zone: str) -> datetime.datetime:
    return datetime.datetime.fromtimestamp(time_us // 1_000_000, ZoneInfo(zone))
