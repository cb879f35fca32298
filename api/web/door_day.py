"""A door today, as far as its contact and its gateway prove it, and how the page says it.

One decision: what the gateway could see is asked of the analyzer's own `View`, so that the page and the rules call the same
times blind.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from analytics.rules import GAP_US
from analytics.sight import View
from api import reading
from api.reading import DoorMessageRow, DoorRow
from api.web.charts.doors import Mark, Message, Period, State, marks, periods
from api.web.i18n import Say
from gateway.clock import HOUR_US

DOOR_PERIODS = 60
"""Rows of a door's day that the page lists."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorPeriod:
    """A row of a door's day."""

    time: str
    state: str
    word: str
    length: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorView:
    """A door today. marks and now: in per cent of the hours shown. more: earlier rows are left out."""

    key: str
    name: str
    summary: str
    marks: list[Mark]
    hours: list[str]
    now: float
    rows: list[DoorPeriod]
    more: bool


def door_day(door: DoorRow, rows: Sequence[DoorMessageRow], view: View, from_us: int, to_us: int) -> list[Period]:
    """Return how a door was in [from_us, to_us), as far as its contact and its gateway prove it."""
    start, end = max(from_us, door.from_us), min(to_us, door.to_us or to_us)
    limit, heard = reading.alive_us(door), rows[-1].t_us if rows else start
    gaps = [g for g in view.uncovered(door.identity, start, end) if g[1] - g[0] > GAP_US]
    gaps += [(r.heard_us, r.t_us) for r in rows if r.heard_us is not None and r.t_us - r.heard_us > limit]
    if end - heard > limit:
        gaps.append((heard, end))
    if rows and rows[0].rows_read >= reading.DOOR_ROWS:
        gaps.append((start, next((r.t_us for r in rows if r.t_us >= start and r.rows_read), start)))
    said = [Message(t_us=r.t_us, is_open=r.is_open, edge=r.edge) for r in rows if r.contact]
    return periods(said, gaps, start, end) if start < end else []


def door_view(row: DoorRow, day: Sequence[Period], start_us: int, shown: tuple[int, int], zone: str, say: Say) -> DoorView:
    """Lay out a door's day in the hours shown, and the same as rows, newest first."""
    first, last = (start_us + n * HOUR_US for n in shown)
    name = say.name(row.name, row.name_en)
    opened = sum(p.state is State.OPEN for p in day)
    now = say("door." + day[-1].state) if day else say("door.unknown")
    rows = [
        DoorPeriod(
            time=f"{say.seconds(p.from_us, zone)}–{say.seconds(p.to_us, zone) if p.to_us < say.now_us else say('site.now')}",
            state=p.state,
            word=say("door." + p.state),
            length=say.short(p.to_us - p.from_us),
        )
        for p in reversed(day)
    ]
    return DoorView(
        key=f"{row.device}-{row.from_us}",
        name=name,
        summary=say("door.summary", count=opened, now=now),
        marks=marks(day, first, last),
        hours=[f"{n % 24:02}" for n in range(*shown)],
        now=round(min(100.0, max(0.0, (say.now_us - first) * 100 / (last - first))), 3),
        rows=rows[:DOOR_PERIODS],
        more=len(rows) > DOOR_PERIODS,
    )
