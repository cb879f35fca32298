"""What is to happen in a town besides habit: changed visits, faults, messages lost on the way, gateways that go away.

One decision: incidents only write into a plot, and a plot is a `Script` that the play follows; so live and virtual time,
and the truth about both, come from the same lines.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from enum import StrEnum
from random import Random

from firmware_sim.device import Connected, Input
from firmware_sim.habits import Visit
from firmware_sim.people import People, local_day
from firmware_sim.play import Said
from firmware_sim.town import Site
from firmware_sim.truth import Truth
from gateway.clock import HOUR_US, SECOND_US

Change = Callable[[Sequence[Visit]], Sequence[Visit]]


class Power(StrEnum):
    """What becomes of a gateway."""

    CUT_OFF = "cut_off"
    """It hears its devices and reaches nobody."""
    REACHES = "reaches"
    OFF = "off"
    ON = "on"


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """A gateway goes away or comes back."""

    at_us: int
    gateway: str
    power: Power


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What happens to messages of some devices on their way to the gateway, during [from_us, to_us).

    lost, doubled, delayed: shares of the messages. delay_s: at most.
    """

    identities: frozenset[str]
    from_us: int
    to_us: int
    lost: float = 0.0
    doubled: float = 0.0
    delayed: float = 0.0
    delay_s: float = 0.0


@dataclass(slots=True, kw_only=True)
class Plot:
    """A script. changes: site code → what becomes of its visits ("" of every site's), in order."""

    seed: int
    people: People
    changes: dict[str, list[Change]] = field(default_factory=dict)
    happenings: list[tuple[int, str, Input]] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    switches: list[Switch] = field(default_factory=list)
    truths: list[Truth] = field(default_factory=list)
    closures: list[tuple[str, int, int]] = field(default_factory=list)
    """(site, from_us, to_us), known to the register beforehand."""
    _rng: Random = field(init=False)
    _near: dict[str, tuple[date, Sequence[Visit]]] = field(default_factory=dict)
    """Each site's visits around the day that was asked for last."""

    def __post_init__(self) -> None:
        self._rng = Random(f"{self.seed}/line")  # noqa: S311 - repeatable by intention

    def change(self, site: str, change: Change) -> None:
        """Let a change apply to a site's visits."""
        self.changes.setdefault(site, []).append(change)

    def visits(self, site: Site, hour_us: int) -> list[Visit]:
        """Return the visits that begin in an hour, as changed."""
        day = local_day(hour_us, site.zone)
        known, visits = self._near.get(site.code, (None, ()))
        if known != day:
            visits = [v for d in (-1, 0, 1) for v in self.people.day(site, day + timedelta(days=d))]
            for change in (*self.changes.get("", ()), *self.changes.get(site.code, ())):
                visits = change(visits)
            self._near[site.code] = day, visits
        return [v for v in visits if hour_us <= v.arrive_us < hour_us + HOUR_US]

    def inputs(self) -> Iterable[tuple[int, str, Input]]:
        """Return what happens to devices."""
        return self.happenings

    def bridge(self, gateway: str, at_us: int, up: bool) -> None:
        """Let a gateway's zigbee2mqtt go or come back."""
        self.happenings.append((at_us, f"bridge/{gateway}", Connected(up=up)))

    def arrivals(self, said: Said) -> list[int]:
        """Return when copies of a message arrive."""
        identity, at_us = said.device.identity, said.at_us
        arrivals = [at_us]
        for line in self.lines:
            if line.from_us <= at_us < line.to_us and identity in line.identities:
                if self._rng.random() < line.lost:
                    return []
                if self._rng.random() < line.delayed:
                    arrivals[0] += round(self._rng.uniform(1, line.delay_s) * SECOND_US)
                if self._rng.random() < line.doubled:
                    arrivals.append(arrivals[0] + round(self._rng.uniform(0, 30) * SECOND_US))
        return arrivals
