"""Who comes to a site on a day: residents with habits of their own, staff, visitors; the weather and holidays.

One decision: a day at a site depends on the seed, the site and the date alone, and so does every person's habit; whatever
happens elsewhere, or before, changes nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from firmware_sim.habits import Visit, windows
from firmware_sim.town import Site
from gateway.clock import HOUR_US, MINUTE_US, SECOND_US

EARLIEST_MIN, LATEST_MIN = 7 * 60 + 30, 17 * 60 + 30
"""Residents and visitors come by day, also where a site is open round the clock."""
ROUND_THE_CLOCK_US = 16 * HOUR_US
VISITORS_PER_H = {"centre": 4.0, "station": 3.0, "point": 2.5, "mutual_aid": 2.0}
_CURVE = (0.9, 1.5, 1.3, 1.2, 0.7, 0.6, 1.1, 1.2, 0.8, 0.5)  # visitors over the tenths of an opening day
RAIN, RAIN_KEEPS, HOLIDAY_KEEPS = 0.2, 0.75, 0.6
DAYS_KEPT = 4
STRANGERS = 0.08
"""Share of the visitors whom the terminal snaps because it does not know them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Habit:
    """One person's rhythm. chances: of coming, Monday to Sunday. come_min, stay_min: after opening, on average."""

    local_id: str
    role: str
    chances: tuple[float, ...]
    come_min: float
    stay_min: float
    dinner: bool
    """Comes for the noon meal (助餐), and is seen again at the canteen's terminal then."""


class People:
    """Everyone of a town. holidays: dates on which fewer come."""

    def __init__(self, seed: int, holidays: Sequence[date] = ()) -> None:
        self._seed, self._holidays = seed, frozenset(holidays)
        self._habits: dict[str, list[Habit]] = {}
        self._days: dict[str, dict[date, tuple[Visit, ...]]] = {}

    def habits(self, site: Site) -> list[Habit]:
        """Return the habits of the people that a site's terminal knows."""
        if site.code not in self._habits:
            rng = Random(f"{self._seed}/{site.code}/habits")  # noqa: S311 - repeatable by intention, here and below
            self._habits[site.code] = [_habit(rng, local_id, n, len(site.persons)) for n, local_id in enumerate(site.persons)]
        return self._habits[site.code]

    def day(self, site: Site, day: date) -> tuple[Visit, ...]:
        """Return a day's visits at a site, by arrival."""
        known = self._days.setdefault(site.code, {})
        if day not in known:
            if len(known) >= DAYS_KEPT:
                del known[min(known)]
            known[day] = self._visits(site, day)
        return known[day]

    def keeps(self, day: date) -> float:
        """Return the share of those who come in spite of the weather, and though it is a holiday."""
        rain = Random(f"{self._seed}/weather/{day}").random() < RAIN  # noqa: S311
        return (RAIN_KEEPS if rain else 1.0) * (HOLIDAY_KEEPS if day in self._holidays else 1.0)

    def _visits(self, site: Site, day: date) -> tuple[Visit, ...]:
        rng = Random(f"{self._seed}/{site.code}/{day}")  # noqa: S311
        found: list[Visit] = []
        for opens_us, closes_us in windows(site, day):
            span = _by_day(site, day, opens_us, closes_us)
            for habit in self.habits(site):
                found += _staff(rng, habit, opens_us, closes_us) if habit.role == "staff" else ()
                if habit.role == "resident" and rng.random() < habit.chances[day.weekday()] * self.keeps(day) ** 0.5:
                    found += _resident(rng, habit, span)
            if not any(h.role == "staff" for h in self.habits(site)):
                found += _staff(rng, _CARETAKER, opens_us, closes_us)
            found += self._visitors(rng, site, span, self.keeps(day))
            found += _rounds(rng, opens_us, closes_us) if closes_us - opens_us >= ROUND_THE_CLOCK_US else ()
        return tuple(sorted(found, key=lambda v: v.arrive_us))

    def _visitors(self, rng: Random, site: Site, span: tuple[int, int], keeps: float) -> list[Visit]:
        opens_us, closes_us = span
        tenth = (closes_us - opens_us) / 10
        found = []
        for i, weight in enumerate(_CURVE):
            per_us = VISITORS_PER_H[site.kind] * weight * keeps / HOUR_US
            at = opens_us + i * tenth + rng.expovariate(per_us)
            while at < opens_us + (i + 1) * tenth:
                local_id = "" if site.persons and rng.random() < STRANGERS else None
                leave = min(at + rng.uniform(5, 90) * MINUTE_US, closes_us - rng.uniform(1, 10) * MINUTE_US)
                if leave > at:
                    found.append(Visit(arrive_us=int(at), leave_us=int(leave), local_id=local_id))
                at += rng.expovariate(per_us)
        return found


def local_day(at_us: int, zone: str) -> date:
    """Return the local date of a time."""
    return datetime.fromtimestamp(at_us // SECOND_US, UTC).astimezone(ZoneInfo(zone)).date()


def local_us(day: date, minute: float, zone: str) -> int:
    """Return the time so many minutes after a local midnight, where no clock change comes between."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(zone))
    return int((midnight + timedelta(minutes=minute)).timestamp()) * SECOND_US


_CARETAKER = Habit(local_id="", role="staff", chances=(1.0,) * 7, come_min=0, stay_min=0, dinner=False)


def _habit(rng: Random, local_id: str, n: int, people: int) -> Habit:
    """Deal out rhythms: two of staff, then six daily, three some-days and one weekly attender out of ten."""
    if n < 2:
        return Habit(local_id=local_id, role="staff", chances=(1.0,) * 7, come_min=0, stay_min=0, dinner=False)
    kind = n % 10
    if kind < 6:
        chances = tuple(rng.uniform(0.9, 0.98) if d < 5 else rng.uniform(0.75, 0.95) for d in range(7))
    elif kind < 9:
        mine = rng.sample(range(7), 3)
        chances = tuple(0.88 if d in mine else 0.06 for d in range(7))
    else:
        mine = [rng.randrange(6)]
        chances = tuple(0.92 if d in mine else 0.02 for d in range(7))
    return Habit(
        local_id=local_id,
        role="resident",
        chances=chances,
        come_min=rng.uniform(10, 330),
        stay_min=rng.uniform(45, 240),
        dinner=rng.random() < 0.4,
    )


def _by_day(site: Site, day: date, opens_us: int, closes_us: int) -> tuple[int, int]:
    if closes_us - opens_us < ROUND_THE_CLOCK_US:
        return opens_us, closes_us
    return local_us(day, EARLIEST_MIN, site.zone), local_us(day, LATEST_MIN, site.zone)


def _staff(rng: Random, habit: Habit, opens_us: int, closes_us: int) -> list[Visit]:
    """Staff come before opening and leave after closing; round the clock they change three times a day."""
    if closes_us - opens_us >= ROUND_THE_CLOCK_US:
        shifts = [(opens_us + h * HOUR_US, opens_us + (h + 8) * HOUR_US) for h in (0, 8, 16)]
    else:
        shifts = [(opens_us, closes_us)]
    local_id = habit.local_id or None
    return [
        Visit(
            arrive_us=int(a - rng.uniform(3, 18) * MINUTE_US),
            leave_us=int(b + rng.uniform(2, 14) * MINUTE_US),
            local_id=local_id,
            staff=True,
        )
        for a, b in shifts
    ]


def _rounds(rng: Random, opens_us: int, closes_us: int) -> list[Visit]:
    """Where there are beds, someone walks through the house by night as by day (查房)."""
    found, at = [], opens_us + rng.uniform(10, 40) * MINUTE_US
    while at < closes_us:
        found.append(Visit(arrive_us=int(at), leave_us=int(at + rng.uniform(2, 6) * MINUTE_US), local_id=None, staff=True))
        at += rng.uniform(35, 80) * MINUTE_US
    return found


def _resident(rng: Random, habit: Habit, span: tuple[int, int]) -> list[Visit]:
    opens_us, closes_us = span
    arrive = opens_us + (habit.come_min + rng.gauss(0, 20)) * MINUTE_US
    arrive = max(opens_us + rng.uniform(1, 15) * MINUTE_US, arrive)
    leave = arrive + max(15.0, habit.stay_min + rng.gauss(0, 25)) * MINUTE_US
    noon = opens_us + (closes_us - opens_us) // 2 - rng.uniform(10, 40) * MINUTE_US
    if habit.dinner and arrive < noon:
        leave = max(leave, noon + rng.uniform(40, 70) * MINUTE_US)
    leave = min(leave, closes_us - rng.uniform(1, 12) * MINUTE_US)
    if leave <= arrive:
        return []
    seen_us = int(noon) if habit.dinner and arrive < noon < leave else None
    return [Visit(arrive_us=int(arrive), leave_us=int(leave), local_id=habit.local_id, seen_us=seen_us)]
