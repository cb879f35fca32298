"""Sites that close early, plainly: what is known of a site's evenings is a dict, looked at on the way to closing time."""

from typing import TYPE_CHECKING, Any

import numpy as np

from analytics.calendars import Window
from analytics.findings import Rule, SubjectKind
from analytics.rules import minutes
from analytics.state import NEVER
from gateway.events import MAX_TIME_US

if TYPE_CHECKING:
    from benchmarks.plain_book import Book

State = dict[str, Any]
ZERO = np.float32(0)


def new_evening() -> State:
    """Return an evening of which nothing is known: days and silences by kind of day, in the 32 bits that the engine has."""
    return {"judged": 0, "fired": 0, "days": [ZERO] * 3, "silent": [ZERO] * 3, "silence": -1.0}


def due(site: State) -> int:
    """Return when the present silence is long enough and near enough to closing; NEVER if it will not be."""
    clock, calendar, early = site["clock"], site["calendar"], minutes(site["rules"].closed_early.early_min)
    w = calendar.at(clock) if calendar.has_hours and site["sensors"] else None
    if w is None or w.closes_us == MAX_TIME_US or not calendar.is_last(w) or _cut(site, w) or not _came(site, w):
        return NEVER
    base = _base(site, w)
    at: int = max(base + (_limit(site, w) or early), w.closes_us - early)
    return NEVER if at >= w.closes_us or base == site["evening"]["judged"] else at


def looks(site: State, w: Window) -> list[int]:
    """Return when to look at the silence: four times in the last minutes, and at closing."""
    early = minutes(site["rules"].closed_early.early_min)
    return [max(w.opens_us, w.closes_us - early + early * n // 4) for n in range(5)]


def fire(book: "Book", site: State, now: int) -> None:
    """Judge a silence at its deadline."""
    e, w = site["evening"], site["calendar"].at(now)
    e["judged"] = base = _base(site, w)
    proven = all(book.sees_quiet(d, base, now) for d in site["sensors"])
    told = _limit(site, w) is not None
    e["fired"] = max(e["fired"], 3 if told and proven else 2 if proven else 1)
    if told:
        more = {"deadline": now, "until": w.closes_us}
        book.record(site, Rule.CLOSED_EARLY, SubjectKind.SITE, site["id"], "closed_early", base, **more)
        book.try_held(site)


def look(site: State, w: Window, now: int) -> None:
    """Take note of how long nobody has been seen."""
    silence = (now - max(w.opens_us, site["last_act"])) / minutes(1)
    site["evening"]["silence"] = single(max(site["evening"]["silence"], silence))


def learn(site: State, w: Window) -> None:
    """Learn from a day that closes now."""
    e, calendar = site["evening"], site["calendar"]
    fired, silence, e["fired"], e["silence"] = e["fired"], e["silence"], 0, -1.0
    seen = site["started"] <= w.opens_us and fired != 1
    odd = _cut(site, w) or calendar.excused(w.opens_us, w.closes_us)
    if not _came(site, w) or not seen or odd or silence < 0 or not calendar.is_last(w):
        return
    kind, weight = _kind(site, w), 0.25 if fired == 3 else 1.0
    keep = min(1.0, (60.0 - weight) / max(float(e["days"][kind]), 1.0))
    e["days"][kind] = e["days"][kind] * keep + weight
    e["silent"][kind] = e["silent"][kind] * keep + weight * silence


def single(x: float) -> float:
    """Round to 32 bits."""
    return float(np.float32(x))


def _limit(site: State, w: Window) -> int | None:
    """Return the least silence before closing that is unusual; None: too few days are known."""
    rules, e, kind = site["rules"].closed_early, site["evening"], _kind(site, w)
    n = float(e["days"][kind])
    if n < rules.days:
        return None
    if n == 0:
        return minutes(rules.early_min)
    mean, rare = max(float(e["silent"][kind]) / n, 5.0), min(rules.per_month / 22.0, 1.0)
    return minutes(max(rules.early_min, n * mean * (rare ** (-1 / n) - 1)))


def _base(site: State, w: Window) -> int:
    return int(max(w.opens_us, site["last_act"], site["started"]))


def _came(site: State, w: Window) -> bool:
    return bool(site["last_act"] >= w.opens_us - minutes(site["rules"].not_opened.before_min))


def _cut(site: State, w: Window) -> bool:
    return any(a <= w.closes_us < b for a, b in site["closed_spans"])


def _kind(site: State, w: Window) -> int:
    return (0, 0, 0, 0, 0, 1, 1, 2)[site["calendar"].day_type(w.opens_us)]
