"""People of a site today by hour, over what is usual on such days: where each bar and the band lie, in per cent, and in words.

One decision: an hour outside the band is marked by a shape above or below its bar and in its words, never by colour alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from api.reading import HourRow, SiteRow
from api.usual import NOTHING, Usual, mark
from api.web.i18n import Say
from gateway.clock import HOUR_US


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One hour: place and height in per cent, and what it says. mark: "high", "low" or "". usual: "3–8", "" unknown."""

    left: float
    height: float
    words: str
    hour: str
    people: int
    mark: str
    usual: str
    over: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """People of a site today by hour. now: place of the present in per cent. band: an SVG path, "" unknown."""

    bars: list[Bar]
    total: str
    top: int
    now: float
    band: str
    at: int
    days: int


def flow(row: SiteRow, hours: Sequence[HourRow], usual: Usual, start_us: int, shown: tuple[int, int], say: Say) -> Flow | None:
    """Lay out today's people by hour in the hours shown; None where nobody came and nobody is expected."""
    counted = {(h.hour_us - start_us) // HOUR_US: h.people_in or h.passages for h in hours if h.people_in or h.passages}
    if not counted and usual == NOTHING:
        return None
    first, last = shown
    width = 100 / (last - first)
    top = _ceiling(max([*counted.values(), *(high for _, high in usual.hours.values()), 1]))
    now = (say.now_us - start_us) / HOUR_US
    bars = [_bar(n, counted.get(n, 0), usual, (n - first) * width, top, row, start_us, say) for n in range(first, last)]
    odd = sum(bool(b.mark) for b in bars)
    total = say("site.flow_total", time=say.clock(say.now_us, row.zone), people=sum(counted.values()))
    return Flow(
        bars=bars,
        total=total + (say("site.flow_odd", count=odd) if odd else ""),
        top=top,
        now=round(min(100.0, max(0.0, (now - first) * width)), 3),
        band=_band(usual, first, last, top),
        at=max(0, min(int(now), last - 1) - first),
        days=usual.days,
    )


def _bar(n: int, people: int, usual: Usual, left: float, top: int, row: SiteRow, start_us: int, say: Say) -> Bar:
    end_us = start_us + (n + 1) * HOUR_US
    over = say.now_us >= end_us and row.clock_us >= end_us
    low, high = usual.hours.get(n, (0, 0))
    found = mark(people, low, high, over=over) if n in usual.hours else ""
    hour, until = f"{n % 24:02}:00", f"{(n + 1) % 24:02}:00"
    words = say("site.flow_bar", from_=hour, to=until, people=people)
    if n in usual.hours:
        words += say("site.flow_usual", low=low, high=high)
        words += say("site.flow_" + (found or "normal")) if over or found else ""
    return Bar(
        left=round(left, 3),
        height=round(people * 100 / top, 2),
        words=words,
        hour=f"{hour}–{until}",
        people=people,
        mark=found,
        usual=f"{low}–{high}" if n in usual.hours else "",
        over=over,
    )


def _band(usual: Usual, first: int, last: int, top: int) -> str:
    """An outline in steps: along the upper edge from left to right, back along the lower one."""
    if not usual.hours:
        return ""
    width = 100 / (last - first)
    upper, lower = [], []
    for n in range(first, last):
        low, high = usual.hours.get(n % 24, (0, 0))
        a, b = round((n - first) * width, 3), round((n - first + 1) * width, 3)
        upper.append(f"{a},{round(100 - high * 100 / top, 2)} {b},{round(100 - high * 100 / top, 2)}")
        lower.append(f"{b},{round(100 - low * 100 / top, 2)} {a},{round(100 - low * 100 / top, 2)}")
    return " ".join(upper + lower[::-1])


def _ceiling(value: int) -> int:
    step = next(s for s in (5, 10, 20, 50, 100, 200, 500, 1000, 10**9) if value <= 4 * s)
    return max(step, -(-value // step) * step)
