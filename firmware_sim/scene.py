"""Where and when an incident happens, and what it may draw on.

One decision: what happens is written into the plot through the scene alone, so that an incident is a few lines of what
happens in the world; one that cannot happen there says so before it has written anything.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from firmware_sim.device import Fault, Input, Trouble
from firmware_sim.habits import Visit, windows
from firmware_sim.people import ROUND_THE_CLOCK_US, local_us
from firmware_sim.plot import Plot
from firmware_sim.town import Site, kind_of
from firmware_sim.truth import Truth
from gateway.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US

Span = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """Where an incident happens, and what it may draw on. span: when."""

    plot: Plot
    site: Site
    span: Span
    rng: Random
    person: str = ""
    """Local id of the resident it is about, where it is about one."""

    def device(self, kind: str) -> str:
        """Return the site's "door", "counter" or "terminal". Raises Unsuitable."""
        for identity, device_class in zip(self.site.devices, self.site.classes, strict=True):
            if kind_of(device_class) == kind:
                return identity
        raise Unsuitable(f"{self.site.code} has no {kind}")

    def place(self, identity: str) -> str:
        """Return the place that a device is mounted at."""
        return self.site.places[self.site.devices.index(identity)]

    def say(self, rule: str | None, *subjects: str, also: Sequence[str] = (), span: Span | None = None) -> None:
        """Put down the truth; the subject is the site where none is named."""
        begin_us, end_us = span or self.span
        truth = Truth(
            incident="",
            rule=rule,
            subjects=subjects or (self.site.code,),
            sites=(self.site.code,),
            begin_us=begin_us,
            end_us=end_us,
            also=tuple(also),
        )
        self.plot.truths.append(truth)

    def in_use(self, closed: int) -> None:
        """Ask that the site is closed on at most so many of the incident's whole days: nobody misses what nobody uses.

        Raises Unsuitable.
        """
        first, last = (datetime.fromtimestamp(t // SECOND_US, ZoneInfo(self.site.zone)).date() for t in self.span)
        found = sum(not windows(self.site, first + timedelta(days=n)) for n in range(1, (last - first).days))
        if found > closed:
            raise Unsuitable(f"{self.site.code} is closed on {found} of the days from {first} to {last}, too many to notice")

    def do(self, at_us: int, identity: str, what: Input) -> None:
        """Let something happen to a device."""
        self.plot.happenings.append((at_us, identity, what))

    def fault(self, identity: str, trouble: Trouble, value: float = 1, back: float = 0) -> None:
        """Let a device be faulty for the incident's time."""
        self.do(self.span[0], identity, Fault(trouble=trouble, value=value))
        self.do(self.span[1], identity, Fault(trouble=trouble, value=back))

    def come(self, visits: Sequence[Visit]) -> None:
        """Let more people come."""
        self.plot.change(self.site.code, lambda usual: [*usual, *visits])


class Unsuitable(Exception):
    """The incident cannot happen there, or not that day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """What can happen. span: when it is likely on a day. Both raise Unsuitable."""

    happen: Callable[[Scene], None]
    span: Callable[[Site, date, Random], Span]
    rule: str | None
    everywhere: bool = False
    """Happens to every site at once."""


def opening(site: Site, day: date) -> Span:
    """Return when a site opens and closes. Raises Unsuitable where it does not open, or does not close."""
    found = windows(site, day)
    if not found:
        raise Unsuitable(f"{site.code} is closed on {day}")
    if found[0][1] - found[0][0] >= ROUND_THE_CLOCK_US:
        raise Unsuitable(f"{site.code} does not close")
    return found[0]


def by_day(first_h: float, last_h: float, *lasts_h: float) -> Callable[[Site, date, Random], Span]:
    """Begin so many hours after opening, at least and at most; last so long, at least and at most."""

    def span(site: Site, day: date, rng: Random) -> Span:
        opens_us = windows(site, day)[0][0] if windows(site, day) else local_us(day, 8 * 60, site.zone)
        begin = opens_us + round(rng.uniform(first_h, last_h) * HOUR_US)
        return begin, begin + round(rng.uniform(lasts_h[0], lasts_h[-1]) * HOUR_US)

    return span


def open_by_day(first_h: float, last_h: float, *lasts_h: float) -> Callable[[Site, date, Random], Span]:
    """Likewise, at sites that close."""

    def span(site: Site, day: date, rng: Random) -> Span:
        opening(site, day)
        return by_day(first_h, last_h, *lasts_h)(site, day, rng)

    return span


def all_open(site: Site, day: date, rng: Random) -> Span:
    """All the time that the site is open."""
    return opening(site, day)


def before_closing(site: Site, day: date, rng: Random) -> Span:
    """The last hours of the opening time."""
    closes_us = opening(site, day)[1]
    return closes_us - round(rng.uniform(2.5, 4) * HOUR_US), closes_us


def after_closing(first_min: float, last_min: float) -> Callable[[Site, date, Random], Span]:
    """From closing on, so many minutes, at least and at most."""

    def span(site: Site, day: date, rng: Random) -> Span:
        closes_us = opening(site, day)[1]
        return closes_us, closes_us + round(rng.uniform(first_min, last_min) * MINUTE_US)

    return span


def until_morning(site: Site, day: date, rng: Random) -> Span:
    """From closing until shortly before the next day's opening time."""
    opens_us, closes_us = opening(site, day)
    return closes_us, opens_us + DAY_US - round(rng.uniform(40, 60) * MINUTE_US)


def night(site: Site, day: date, rng: Random) -> Span:
    """Half an hour in the small hours."""
    opening(site, day)
    begin = local_us(day, rng.uniform(60, 240), site.zone)
    return begin, begin + round(rng.uniform(10, 40) * MINUTE_US)
