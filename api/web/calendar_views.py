"""How the page says calendars: a month of a site day by day, what is in force, and a week's opening hours as text fields."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from api import daybook
from api.daybook import Entry
from api.reading import SiteRow
from api.web.i18n import Say
from gateway.clock import DAY_US, HOUR_US
from ingest import spreadsheets
from ingest.daybook import Day
from ingest.declaration import DAYS


@dataclass(frozen=True, slots=True, kw_only=True)
class DayView:
    """A day of the month. marks: (sign, words) of what is not as usual. column: 1 Monday to 7 Sunday."""

    number: int
    date: str
    weekday: str
    column: int
    hours: str
    marks: list[tuple[str, str]]
    today: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryView:
    """A closure, visit or drill in words."""

    mode: str
    word: str
    span: str
    reason: str
    author: str
    from_us: int
    to_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpecialView:
    """A public holiday or worked weekend day."""

    date: str
    weekday: str
    kind: str
    word: str
    name: str
    source: str


def month(site: SiteRow, first: date, present: Sequence[Entry], special: Mapping[str, Day], say: Say) -> list[DayView]:
    """Say every day of the month that begins on `first`."""
    kinds = {key: day.kind for key, day in special.items() if day.kind != "normal"}
    calendar = daybook.calendar_of(site, list(present), kinds)
    today = calendar.day_of(say.now_us)[0]
    found, day = [], first
    while day.month == first.month:
        begin = daybook.moment(day.isoformat(), site.zone)
        noon = begin + 12 * HOUR_US
        windows = daybook.windows_of(calendar, noon)
        end = begin + DAY_US
        hours = "、".join(f"{_clock(w.opens_us, site, say)}–{_clock(w.closes_us, site, say)}" for w in windows)
        named = special.get(day.isoformat())
        marks = [] if named is None or named.kind == "normal" else [(named.kind, _name(named, say))]
        marks += [(e.mode, say("mode." + e.mode)) for e in present if e.from_us < end and e.to_us > begin]
        found.append(
            DayView(
                number=day.day,
                date=day.isoformat(),
                weekday=say("weekday." + DAYS[day.weekday()]),
                column=day.weekday() + 1,
                hours=hours or say("calendar.shut"),
                marks=marks,
                today=begin == today,
            )
        )
        day += timedelta(days=1)
    return found


def _name(d: Day, say: Say) -> str:
    """The library names days in the country's own language."""
    return d.name if d.name and (say.lang == "zh" or d.source != "library") else say("day_kind." + d.kind)


def _clock(time_us: int, site: SiteRow, say: Say) -> str:
    return say.clock(time_us, site.zone)[-5:]


def month_title(first: date, say: Say) -> str:
    """Say a month with its year."""
    return say("calendar.month", year=first.year, month=first.month)


def entry(e: Entry, zone: str, say: Say) -> EntryView:
    """Say a closure, visit or drill."""
    span = f"{say.clock(e.from_us, zone)} – {say.clock(e.to_us, zone)}"
    word = say("mode." + e.mode)
    return EntryView(mode=e.mode, word=word, span=span, reason=e.reason, author=e.author, from_us=e.from_us, to_us=e.to_us)


def special_day(d: Day, say: Say) -> SpecialView:
    """Say a day of the year's calendar."""
    weekday = say("weekday." + DAYS[date.fromisoformat(d.date).weekday()])
    name = d.name if say.lang == "zh" or d.source != "library" else ""
    source = say("calendar.library") if d.source == "library" else d.source
    return SpecialView(date=d.date, weekday=weekday, kind=d.kind, word=say("day_kind." + d.kind), name=name, source=source)


def hours_fields(hours: Mapping[str, Sequence[Sequence[str]]], say: Say) -> list[tuple[str, str, str]]:
    """Return (day, its word, its hours as text) for the form."""
    texts = spreadsheets.hours_fields(hours)
    return [
        (day, say("weekday." + day), texts.get(day, "").removeprefix("-") if day in DAYS else texts.get(day, ""))
        for day in spreadsheets.HOURS
    ]
