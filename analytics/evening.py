"""closed_early: everybody has left well before closing, though at this site that is not the habit.

One decision: what is learned of a day is what the rule would judge, the longest silence at any quarter of an hour of the last
`early_min` before closing and at closing itself. The silences of n days with mean m predict the next one: longer than s with the
probability (1 + s / (n m))^-n (Lomax: exponential, its rate known as well as n days tell; the longest of several has a lighter
tail); too long is what that allows once in `per_month` of opening days.
"""

from typing import Any

import numpy as np

from analytics.calendars import Window
from analytics.findings import Rule, Severity, SubjectKind
from analytics.rules import minutes
from analytics.sensors import Sensors
from analytics.state import NEVER, Memory, Record, Table
from analytics.town import Site
from gateway.events import MAX_TIME_US

EVENING = Table(
    name="evening",
    kind=SubjectKind.SITE,
    dtype=np.dtype(
        [
            ("id", "i4"),
            ("judged", "i8"),  # begin of the silence that was judged last
            ("fired", "u1"),  # today: 1 too long a silence, 2 and proven, 3 and told
            ("days", "f4", (3,)),  # learned: Monday to Friday, weekends, public holidays
            ("busy", "f4", (3,)),  # of these, with people until near closing
            ("silent", "f4", (3,)),  # minutes of the longest silence near closing, of all of these days
            ("silence", "f4"),  # the same of today, -1 not looked yet
        ]
    ),
    blank={"silence": -1},
)
TABLES = (EVENING,)

KEPT = 60.0
"""Days after which what was learned is slowly forgotten."""
OPENING_DAYS = 22.0
"""Of a month."""
LEAST_MIN = 5.0
"""No mean silence is taken to be shorter."""
KIND = (0, 0, 0, 0, 0, 1, 1, 2)
"""By day type: nobody can say of a public holiday what a weekend is like."""
LOOKS = 4
"""So many times it looks within `early_min` before closing, and once more at closing."""
TOLD = 0.25
"""What a day counts of which we just said that it is unusual: a new habit is believed after some weeks, not after some days."""


def habit(memory: Memory, site: Site, t_us: int) -> tuple[float, float]:
    """Return of how many days of this kind something is known, and on how many of them people stayed until near closing."""
    e, kind = memory.tables[EVENING.name][site.row], _kind(site, t_us)
    return float(e["days"][kind]), float(e["busy"][kind])


def unusual_us(memory: Memory, site: Site, t_us: int) -> int | None:
    """Return the least silence before closing that is unusual here; None while too few days are known."""
    settings, e, kind = site.rules.closed_early, memory.tables[EVENING.name][site.row], _kind(site, t_us)
    n = float(e["days"][kind])
    if n < settings.days:
        return None
    if n == 0:  # asked to judge from the first day on
        return minutes(settings.early_min)
    mean, rare = max(float(e["silent"][kind]) / n, LEAST_MIN), min(settings.per_month / OPENING_DAYS, 1.0)
    return minutes(max(settings.early_min, n * mean * (rare ** (-1 / n) - 1)))


def looks(site: Site, opens: int, closes: int) -> list[int]:
    """Return when to look at the silence of a window."""
    early = minutes(site.rules.closed_early.early_min)
    return [max(opens, closes - early + early * n // LOOKS) for n in range(LOOKS + 1)]


def deadline(memory: Memory, site: Site, clock: int) -> int:
    """Return when the present silence reaches the last minutes before closing and is long enough; NEVER if it will not."""
    calendar = site.calendar
    window = calendar.at(clock) if calendar.has_hours and site.sensors else None
    if window is None or window.closes_us == MAX_TIME_US or not calendar.is_last(window) or _cut(site, window):
        return NEVER
    state = memory.sites[site.row]
    if state["last_act"] < window.opens_us - minutes(site.rules.not_opened.before_min):
        return NEVER  # nobody came at all
    quiet = minutes(site.rules.closed_early.early_min)
    base = max(window.opens_us, int(state["last_act"]), int(state["started"]))
    due = max(base + (unusual_us(memory, site, window.opens_us) or quiet), window.closes_us - quiet)
    return NEVER if due >= window.closes_us or base == memory.tables[EVENING.name]["judged"][site.row] else due


class Evening(Sensors):
    """The rule, event by event."""

    def _early_due(self) -> int:
        return deadline(self.memory, self.site, int(self.state["clock"]))

    def _early(self, now: int) -> Record | None:
        """Judge the silence at its deadline `now`. Returns what is to be raised when it is proven."""
        e, window = self._evening, self.site.calendar.at(now)
        assert window is not None, f"the deadline {now} of site {self.id} lies outside its hours"
        e["judged"] = base = max(window.opens_us, int(self.state["last_act"]), int(self.state["started"]))
        proven = all(self._sees_quiet(d, base, now) for d in self.site.sensors)
        days, busy = habit(self.memory, self.site, window.opens_us)
        told = unusual_us(self.memory, self.site, window.opens_us) is not None
        e["fired"] = max(int(e["fired"]), 3 if told and proven else 2 if proven else 1)
        if not told:
            return None
        return Record(
            rule=Rule.CLOSED_EARLY,
            kind=SubjectKind.SITE,
            subject=self.id,
            site=self.id,
            episode=base,
            since_us=base,
            deadline_us=now,
            until_us=window.closes_us,
            severity=Severity.MAJOR,
            reason={
                "code": "closed_early",
                "since_us": base,
                "closes_us": window.closes_us,
                "quiet_min": (now - base) // minutes(1),
                "early_min": self.site.rules.closed_early.early_min,
                "days": round(days),
                "busy": round(busy),
                "sensors": len(self.site.sensors),
            },
        )

    def _look_at_evening(self, window: Window, now: int) -> None:
        """Take note of how long nobody has been seen."""
        silence = (now - max(window.opens_us, int(self.state["last_act"]))) / minutes(1)
        self._evening["silence"] = max(float(self._evening["silence"]), silence)

    def _learn_evening(self, window: Window) -> None:
        """Learn from a day whose last window closes now."""
        e = self._evening
        fired, e["fired"] = int(e["fired"]), 0
        silence, e["silence"] = float(e["silence"]), -1
        came = self.state["last_act"] >= window.opens_us - minutes(self.site.rules.not_opened.before_min)
        seen = self.state["started"] <= window.opens_us and fired != 1
        odd = _cut(self.site, window) or self.site.calendar.excused(window.opens_us, window.closes_us)
        if not came or not seen or odd or silence < 0 or not self.site.calendar.is_last(window):
            return
        kind, weight = _kind(self.site, window.opens_us), TOLD if fired == 3 else 1.0
        keep = min(1.0, (KEPT - weight) / max(float(e["days"][kind]), 1.0))
        e["days"][kind] = e["days"][kind] * keep + weight
        e["busy"][kind] = e["busy"][kind] * keep + weight * (fired == 0)
        e["silent"][kind] = e["silent"][kind] * keep + weight * silence

    @property
    def _evening(self) -> Any:
        return self.memory.tables[EVENING.name][self.site.row]


def _kind(site: Site, t_us: int) -> int:
    return KIND[site.calendar.day_type(t_us)]


def _cut(site: Site, window: Window) -> bool:
    """Tell whether a closure, not the hours, ends a window."""
    return any(a <= window.closes_us < b for a, b in site.input.closed)
