"""When a site is open: hours per weekday, windows over midnight, public holidays, closures, in the site's own zone.

One decision: hours are turned into absolute intervals first and everything else is arithmetic on microseconds, so that a
night with 23 or 25 hours is nobody's special case.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.clock import SECOND_US
from gateway.events import MAX_TIME_US, MIN_TIME_US

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SATURDAY, HOLIDAY = 5, 7
KNOWN_DAYS = 4
SPAN_DAYS = 9
"""How far around a time windows are laid out; more than a week, so that one open longer than that never closes."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Open during [opens_us, closes_us). MIN_TIME_US: open since ever. MAX_TIME_US: never closes.

    first: no other window opened earlier on this window's local day.
    """

    opens_us: int
    closes_us: int
    first: bool


class Calendar:
    """The hours of one site. Local times that a clock change skips happen when the clock has jumped; of times that it
    repeats, the first opens and the last closes."""

    def __init__(
        self,
        zone: str,
        hours: Mapping[str, Sequence[tuple[str, str]]],
        closed: Sequence[tuple[int, int]] = (),
        *,
        days: Mapping[str, str] | None = None,
        modes: Sequence[tuple[int, int, str]] = (),
    ) -> None:
        """closed: closures [from_us, to_us). days: "YYYY-MM-DD" → "holiday" or "workday" (a weekend day that is worked).
        modes: (from_us, to_us, "visit" or "drill")."""
        self._zone = ZoneInfo(zone)
        self._hours = {day: [(_minutes(a), _minutes(b)) for a, b in windows] for day, windows in hours.items()}
        self._closed, self._days, self._modes = sorted(closed), days or {}, modes
        self.has_hours = any(self._hours.values())
        self._known: dict[date, tuple[tuple[int, int], list[Window], int]] = {}
        self._day, self._type = (0, 0), 0
        self._windows: list[Window] = []

    def around(self, t_us: int) -> list[Window]:
        """Return the windows from `SPAN_DAYS` before to `SPAN_DAYS` after, in order, apart from each other."""
        self.day_of(t_us)
        return self._windows

    def at(self, t_us: int) -> Window | None:
        """Return the window that `t_us` lies in."""
        return next((w for w in self.around(t_us) if w.opens_us <= t_us < w.closes_us), None)

    def next_opening(self, t_us: int) -> int | None:
        """Return the first opening after `t_us`."""
        return next((w.opens_us for w in self.around(t_us) if w.opens_us > t_us), None)

    def day_of(self, t_us: int) -> tuple[int, int]:
        """Return the local day of `t_us` as [from, to), 23 to 25 hours apart."""
        if not self._day[0] <= t_us < self._day[1]:
            day = self._local(t_us).date()
            if day not in self._known:
                if len(self._known) >= KNOWN_DAYS:
                    self._known.clear()
                bounds = self._instant(day, 0, last=False), self._instant(day + timedelta(days=1), 0, last=False)
                self._known[day] = bounds, self._lay_out(day), self._type_of(day)
            self._day, self._windows, self._type = self._known[day]
        return self._day

    def day_type(self, t_us: int) -> int:
        """Return 0-6 for Monday to Sunday, HOLIDAY for a public holiday; a weekend day that is worked counts as a Monday."""
        self.day_of(t_us)
        return self._type

    def quarter(self, from_us: int, to_us: int) -> tuple[int, int, bool, bool]:
        """Describe a quarter of an hour: day type, local quarter of the day (0-95), open throughout, excused.

        Excused: in a closure, a visit or a drill, from which nothing is learned and nobody accused.
        """
        local = self._local(from_us)
        is_open = any(w.opens_us <= from_us and to_us <= w.closes_us for w in self.around(from_us)) or not self.has_hours
        return self.day_type(from_us), local.hour * 4 + local.minute // 15, is_open, self.excused(from_us, to_us)

    def excused(self, from_us: int, to_us: int) -> bool:
        """Tell whether a closure, visit or drill touches [from_us, to_us)."""
        return any(a < to_us and b > from_us for a, b in self._closed) or self.mode(from_us, to_us) is not None

    def is_last(self, window: Window) -> bool:
        """Tell whether no window follows on the same day."""
        following = next((w for w in self.around(window.closes_us) if w.opens_us >= window.closes_us), None)
        return following is None or following.first

    def opens_on(self, day: int) -> bool:
        """Tell whether the site is to be open at some time of a day, numbered from 1970-01-01."""
        on = date(1970, 1, 1) + timedelta(days=day)
        begin, end = (self._instant(d, 0, last=False) for d in (on, on + timedelta(days=1)))
        return bool(self._hours_of(on)) and not self.excused(begin, end)

    def mode(self, from_us: int, to_us: int) -> str | None:
        """Return "visit" or "drill" where one holds within [from_us, to_us)."""
        return next((mode for a, b, mode in self._modes if a < to_us and b > from_us), None)

    def _type_of(self, day: date) -> int:
        kind = self._days.get(day.isoformat())
        return HOLIDAY if kind == "holiday" else 0 if kind == "workday" and day.weekday() >= SATURDAY else day.weekday()

    def _hours_of(self, day: date) -> list[tuple[int, int]]:
        """A public holiday has the hours under "holiday", else Sunday's; a worked weekend day those under "workday", else its
        own, else Monday's."""
        own = self._hours.get(WEEKDAYS[day.weekday()], [])
        kind = self._days.get(day.isoformat())
        if kind == "holiday":
            return self._hours.get("holiday", self._hours.get("sun", []))
        if kind == "workday" and day.weekday() >= SATURDAY:
            return self._hours.get("workday", own or self._hours.get("mon", []))
        return own

    def _local(self, t_us: int) -> datetime:
        return datetime.fromtimestamp(t_us // SECOND_US, self._zone)

    def _instant(self, day: date, minutes: int, *, last: bool) -> int:
        naive = datetime(day.year, day.month, day.day) + timedelta(minutes=minutes)  # noqa: DTZ001 - the zone follows
        at = [(naive.replace(tzinfo=self._zone, fold=fold).astimezone(UTC) - EPOCH) // timedelta(seconds=1) for fold in (0, 1)]
        return (max(at) if last else at[0]) * SECOND_US

    def _lay_out(self, day: date) -> list[Window]:
        begin, end = day - timedelta(days=SPAN_DAYS), day + timedelta(days=SPAN_DAYS)
        spans: list[tuple[int, int]] = []
        for n in range((end - begin).days + 1):
            d = begin + timedelta(days=n)
            for a, b in self._hours_of(d):
                closes = b if b > a else b + 24 * 60
                spans.append((self._instant(d, a, last=False), self._instant(d, closes, last=True)))
        edge_from = self._instant(begin + timedelta(days=1), 0, last=False)
        edge_to = self._instant(end, 0, last=False)
        spans = [(a, b) for a, b in _join(spans) if b > edge_from and a < edge_to]
        spans = [(MIN_TIME_US if a < edge_from < b else a, MAX_TIME_US if a < edge_to < b else b) for a, b in spans]
        spans = _without(spans, self._closed)
        windows, seen = [], set()
        for a, b in spans:
            opened = self._local(a).date()
            windows.append(Window(opens_us=a, closes_us=b, first=opened not in seen))
            seen.add(opened)
        return windows


def _minutes(text: str) -> int:
    hours, minutes = text.split(":")
    return int(hours) * 60 + int(minutes)


def _join(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for a, b in sorted(span for span in spans if span[0] < span[1]):  # a clock change may swallow one whole
        if joined and a <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(b, joined[-1][1])
        else:
            joined.append((a, b))
    return joined


def _without(spans: list[tuple[int, int]], holes: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    for c, d in holes:
        spans = [piece for a, b in spans for piece in ((a, min(b, c)), (max(a, d), b)) if piece[0] < piece[1]]
    return spans
