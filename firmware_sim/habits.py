"""When people come and go: visits by the hour of the day, within the hours of the site.

One decision: the visits of an hour depend on the seed, the site and that hour alone, so that a simulator which starts
again tells the same past.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from firmware_sim.town import DAYS, Site
from gateway.clock import HOUR_US, MINUTE_US, SECOND_US

_BY_HOUR = (2, 1, 1, 1, 2, 5, 10, 22, 34, 30, 28, 38, 24, 18, 22, 24, 20, 14, 10, 8, 6, 5, 4, 3)  # visits an hour at a centre
_SCALE = {"centre": 1.0, "station": 0.8, "point": 0.5, "mutual_aid": 0.4}
QUIET_BEFORE_CLOSING_US = 10 * MINUTE_US
"""Nobody comes in the last minutes: the one who holds the door open at the demonstration's site is alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Somebody comes and goes. local_id: as the terminal knows them; "" a stranger to it; None passes it by.

    refused: the terminal knows them and lets them not in. seen_us: they look into the terminal once more, then.
    staff: they come whatever the day is like.
    """

    arrive_us: int
    leave_us: int
    local_id: str | None
    refused: bool = False
    seen_us: int | None = None
    staff: bool = False


def visits(seed: int, site: Site, hour_us: int) -> list[Visit]:
    """Return the visits that begin in the UTC hour from `hour_us`, by arrival."""
    rng = Random(f"{seed}/{site.code}/{hour_us}")  # noqa: S311 - repeatable by intention
    local = datetime.fromtimestamp(hour_us // SECOND_US, UTC).astimezone(ZoneInfo(site.zone))
    per_us = _BY_HOUR[local.hour] * _SCALE[site.kind] / HOUR_US
    found: list[Visit] = []
    at = hour_us + rng.expovariate(per_us)
    while at < hour_us + HOUR_US:
        stay, draw = rng.uniform(10, 150) * MINUTE_US, rng.random()
        local_id = rng.choice(site.persons) if site.persons and draw < 0.7 else "" if draw < 0.75 else None
        closes = open_until(site, int(at))
        if closes is not None and at < closes - QUIET_BEFORE_CLOSING_US:
            leave = min(at + stay, closes - QUIET_BEFORE_CLOSING_US)
            found.append(Visit(arrive_us=int(at), leave_us=int(leave), local_id=local_id))
        at += rng.expovariate(per_us)
    return found


def open_until(site: Site, at_us: int) -> int | None:
    """Return when the site closes next if it is open at `at_us`, else None. Open round the clock: midnight, again and again."""
    zone = ZoneInfo(site.zone)
    local = datetime.fromtimestamp(at_us // SECOND_US, UTC).astimezone(zone)
    for back in (0, 1):  # yesterday's window may run over midnight
        day = (local - timedelta(days=back)).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        for start, end in site.hours[DAYS[day.weekday()]]:
            opens, closes = (_at(day, text, zone) for text in (start, end))
            if closes <= opens:
                closes = _at(day + timedelta(days=1), end, zone)
            if opens <= at_us < closes:
                return closes
    return None


def last_closing(site: Site, before_us: int) -> int:
    """Return the site's latest closing time at or before `before_us`. Raises ValueError where there is none in a week."""
    zone = ZoneInfo(site.zone)
    local = datetime.fromtimestamp(before_us // SECOND_US, UTC).astimezone(zone).replace(hour=0, minute=0, second=0, tzinfo=None)
    for back in range(8):
        day = local - timedelta(days=back)
        ends = [_at(day + timedelta(days=end <= start), end, zone) for start, end in site.hours[DAYS[day.weekday()]]]
        if found := [end for end in ends if end <= before_us]:
            return max(found)
    raise ValueError(f"site {site.code} does not close; give it hours")


def windows(site: Site, day: date) -> list[tuple[int, int]]:
    """Return when a site opens and closes on a local day: a holiday is as a Sunday, a worked Sunday as a Monday."""
    zone, midnight = ZoneInfo(site.zone), datetime(day.year, day.month, day.day)  # noqa: DTZ001 - local, placed by _at
    hours, kind = site.hours[DAYS[day.weekday()]], site.days.get(day.isoformat())
    if kind == "holiday":
        hours = site.hours["sun"]
    elif kind == "workday":
        hours = hours or site.hours["mon"]
    return [(_at(midnight, start, zone), _at(midnight + timedelta(days=end <= start), end, zone)) for start, end in hours]


def _at(day: datetime, text: str, zone: ZoneInfo) -> int:
    hours, minutes = int(text[:2]), int(text[3:])
    return int((day + timedelta(hours=hours, minutes=minutes)).replace(tzinfo=zone).timestamp()) * SECOND_US
