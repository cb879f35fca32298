"""The time a report is about: a month, a quarter, a year, or any days, written in one word that also names files.

    2026-11    2026-Q4    2026    2026-11-03..2026-11-17

One decision: a report speaks of whole local days, the last one included, because that is how its readers say it.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from api.errors import BadRequest
from gateway.clock import SECOND_US

WRITTEN = re.compile(r"(\d{4})(?:-(?:(0[1-9]|1[0-2])|Q([1-4])))?")
FORM = "2026-11, 2026-Q4, 2026 or 2026-11-03..2026-11-17 (both days included)"
MAX_DAYS = 366
FIRST_YEAR, LAST_YEAR = 2000, 2099


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPeriod:
    """The local days first to last, both included. text: as it was written."""

    text: str
    first: date
    last: date

    @property
    def days(self) -> list[date]:
        """The days, in order."""
        return [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]

    def bounds(self, zone: str) -> list[int]:
        """Return the local midnights around the days: one more than there are days."""
        tz = ZoneInfo(zone)
        after = [*self.days, self.last + timedelta(days=1)]
        return [int(datetime(d.year, d.month, d.day, tzinfo=tz).timestamp()) * SECOND_US for d in after]

    def months(self) -> list[str]:
        """Return the calendar months that the days touch, as 2026-11."""
        return list(dict.fromkeys(f"{d:%Y-%m}" for d in self.days))


def parse(text: str) -> ReportPeriod:
    """Read a period. Raises BadRequest."""
    if found := WRITTEN.fullmatch(text):
        year, month, quarter = int(found[1]), found[2], found[3]
        if FIRST_YEAR <= year <= LAST_YEAR:
            first_month = int(month) if month else 3 * int(quarter) - 2 if quarter else 1
            months = 1 if month else 3 if quarter else 12
            return ReportPeriod(text=text, first=date(year, first_month, 1), last=_end(year, first_month + months))
    first, dots, last = text.partition("..")
    try:
        period = ReportPeriod(text=text, first=date.fromisoformat(first), last=date.fromisoformat(last if dots else "-"))
    except ValueError:
        raise BadRequest(f"a period is written {FORM}, not {text[:40]!r}") from None
    if not FIRST_YEAR <= period.first.year <= period.last.year <= LAST_YEAR or len(first) + len(last) != 20:
        raise BadRequest(f"a period is written {FORM}, from {FIRST_YEAR} to {LAST_YEAR}, not {text[:40]!r}")
    if not 0 <= (period.last - period.first).days < MAX_DAYS:
        raise BadRequest(f"a period has 1 to {MAX_DAYS} days; {text!r} does not")
    return period


def day(text: str) -> date:
    """Read a day, as 2026-11-03. Raises BadRequest."""
    try:
        if len(text) == 10:
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise BadRequest(f"a day is written 2026-11-03, not {text[:20]!r}")


def month_of(t_us: int, zone: str = "Asia/Shanghai") -> str:
    """Return the local month of a time, as 2026-11."""
    return f"{datetime.fromtimestamp(t_us // SECOND_US, ZoneInfo(zone)):%Y-%m}"


def _end(year: int, month: int) -> date:
    """Return the last day before a month; month 13 is the next January."""
    return date(year + (month - 1) // 12, (month - 1) % 12 + 1, 1) - timedelta(days=1)
