"""A town's day as a discrete-event simulation: habits move people, people move devices, devices say things.

One decision: it always starts at local midnight and runs through the day without the world hearing it, so that totals,
frame counters and record numbers at a moment are the same however often the simulator was started.

    script ─▶ (time, device, input) ─▶ heap ─▶ device.update ─▶ outputs, next call ─▶ heap ─▶ what arrives, and when
"""

import heapq
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Protocol
from zoneinfo import ZoneInfo

from firmware_sim.device import Connected, Device, Face, Hold, Input, Output, Pass, Report, Toggle, Told
from firmware_sim.face import FaceTerminal
from firmware_sim.habits import Visit, last_closing, visits
from firmware_sim.milesight import MilesightCounter
from firmware_sim.models import Pace, devices
from firmware_sim.posting import PostingTerminal
from firmware_sim.town import ZONE, Site, Town
from firmware_sim.zigbee import Bridge, Zigbee2MqttDoor
from gateway.clock import HOUR_US, MINUTE_US, SECOND_US

PAST_REPEAT_US = 5 * MINUTE_US
LIVE_REPEAT_US = 20 * SECOND_US
REPORT_US = MINUTE_US
HEARTBEAT_US = MINUTE_US
HELD_BEFORE_CLOSING_US = 7 * MINUTE_US
ANSWER_US = SECOND_US // 5


LIVELY = Pace(door_us=PAST_REPEAT_US, counter_us=REPORT_US, terminal_us=HEARTBEAT_US)
"""For people who look on."""
PLAIN = Pace(door_us=HOUR_US, counter_us=10 * MINUTE_US, terminal_us=4 * MINUTE_US)
"""As installed, where traffic costs money."""
SILENT = Pace(door_us=None, counter_us=None, terminal_us=HEARTBEAT_US)


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An output with the device that said it, and when it arrives."""

    at_us: int
    device: Device
    output: Output


class Script(Protocol):
    """Who comes, what befalls the devices, and what becomes of their messages on the way."""

    def visits(self, site: Site, hour_us: int) -> Sequence[Visit]:
        """Return the visits that begin in the UTC hour from `hour_us`."""

    def inputs(self) -> Iterable[tuple[int, str, Input]]:
        """Return what happens to devices besides visits: (when, identity, what)."""

    def arrivals(self, said: Said) -> Sequence[int]:
        """Return when copies of a message arrive at the gateway: usually once, at once."""


class Demonstration:
    """Visits by the hour of the day, and one door that is held open."""

    def __init__(self, town: Town, now_us: int) -> None:
        self._town, self._now_us = town, now_us

    def visits(self, site: Site, hour_us: int) -> Sequence[Visit]:
        """Return the visits of an hour."""
        return visits(self._town.seed, site, hour_us)

    def inputs(self) -> Iterable[tuple[int, str, Input]]:
        """Hold the door that is held open."""
        for site in self._town.sites():
            for identity in site.devices if site.held_open else ():
                if identity.startswith("z2m/"):
                    yield last_closing(site, self._now_us) - HELD_BEFORE_CLOSING_US, identity, Hold()

    def arrivals(self, said: Said) -> Sequence[int]:
        """Nothing is lost."""
        return (said.at_us,)


class Play:
    """The devices of a town and what is about to happen.

    script None: on from `from_us`, nothing happens but by `poke`. answers: nobody listens, so terminals are answered here.
    """

    def __init__(
        self, town: Town, script: Script | None, *, from_us: int, qos: int = 0, pace: Pace = LIVELY, answers: bool = False
    ) -> None:
        self.town, self.from_us, self._script, self._answers = town, from_us, script, answers
        self._sites = town.sites()
        self._rng = Random(f"{town.seed}/poke")  # noqa: S311 - repeatable by intention
        self._queue: list[tuple[int, int, Device | Site | Said, Input | None]] = []
        self._serial = 0
        self._calls: dict[str, int | None] = {}
        start_us = _midnight(from_us) if script else from_us
        self.devices = [d for site in self._sites for d in devices(town, site, start_us, qos, pace if script else SILENT)]
        self._named = {device.identity: device for device in self.devices}
        self._named |= {b.identity: b for b in (Bridge(g["code"]) for g in town.document["gateways"])}
        self._at = {site.code: [self._named[i] for i in site.devices if i in self._named] for site in self._sites}
        for device in self.devices:
            self._push(start_us, device, None)
        if script:
            self._begin(script, start_us)

    def _begin(self, script: Script, start_us: int) -> None:
        for site in self._sites:
            self._push(start_us // HOUR_US * HOUR_US, site, None)
        for at_us, identity, what in script.inputs():
            self._push(at_us, self._named[identity], what)
        for terminal in self.terminals if self._answers else ():
            self._push(start_us, terminal, Connected(up=True))

    @property
    def faces(self) -> list[FaceTerminal]:
        """Return the terminals."""
        return [device for device in self.devices if isinstance(device, FaceTerminal)]

    @property
    def terminals(self) -> list[FaceTerminal]:
        """Return the terminals that have a connection of their own to the bus."""
        return [device for device in self.faces if not isinstance(device, PostingTerminal)]

    def advance(self, now_us: int) -> list[Said]:
        """Let everything happen until `now_us`; returns what was said since `from_us`, in order."""
        said: list[Said] = []
        while self._queue and self._queue[0][0] <= now_us:
            at_us, _, who, what = heapq.heappop(self._queue)
            if isinstance(who, Site):
                self._hour(who, at_us)
            elif isinstance(who, Said):
                said.append(who)
            elif what is not None or self._calls.get(who.identity) == at_us:
                said += self._update(who, at_us, [what] if what is not None else [])
        return [one for one in said if one.at_us >= self.from_us]

    def go_live(self, now_us: int) -> None:
        """Repeat door states at the lively pace, staggered, and forget what terminals took before `from_us`."""
        doors = [device for device in self.devices if isinstance(device, Zigbee2MqttDoor) and device.repeat_us is not None]
        for i, door in enumerate(doors):
            door.repeat_us = LIVE_REPEAT_US
            self._push(now_us + i * LIVE_REPEAT_US // len(doors), door, None)
        for terminal in self.faces:
            terminal.forget_before(self.from_us)

    def tell(self, link: str, what: Connected | Told, now_us: int) -> list[Said]:
        """Hand a message or the state of its connection to the device that has the connection for itself."""
        device = self._named.get(link)
        return self._update(device, now_us, [what]) if device else []

    def poke(self, now_us: int) -> list[Said]:
        """Make one device, chosen by the seed, observe something now."""
        device = self._rng.choice(self.devices)
        inputs: Sequence[Input] = [Toggle()]
        if isinstance(device, MilesightCounter):
            inputs = [Pass(inward=self._rng.random() < 0.5, until_us=now_us), Report()]
        elif isinstance(device, FaceTerminal):
            inputs = [Face(local_id=self._rng.choice(["1", "2", "3", ""]))]
        return self._update(device, now_us, inputs)

    def next_us(self) -> int | None:
        """Return when the next thing happens."""
        return self._queue[0][0] if self._queue else None

    def _update(self, device: Device, at_us: int, inputs: Sequence[Input]) -> list[Said]:
        outputs, call_us = device.update(at_us, inputs)
        self._calls[device.identity] = call_us
        if call_us is not None:
            self._push(max(call_us, at_us), device, None)
            self._calls[device.identity] = max(call_us, at_us)
        said = [Said(at_us=at_us, device=device, output=output) for output in outputs]
        if self._answers and isinstance(device, FaceTerminal):
            for output in outputs:
                if answer := device.answer(output):
                    self._push(at_us + ANSWER_US, device, answer)
        return [arrived for one in said for arrived in self._arrived(one)] if self._script else said

    def _arrived(self, said: Said) -> Iterator[Said]:
        """Return what arrives at once; what comes later waits its turn."""
        assert self._script is not None
        for at_us in self._script.arrivals(said):
            if at_us <= said.at_us:
                yield said
            else:
                self._push(at_us, Said(at_us=at_us, device=said.device, output=said.output), None)

    def _push(self, at_us: int, who: Device | Site | Said, what: Input | None) -> None:
        self._serial += 1
        if what is None and not isinstance(who, Site | Said):
            self._calls[who.identity] = at_us
        heapq.heappush(self._queue, (at_us, self._serial, who, what))

    def _hour(self, site: Site, hour_us: int) -> None:
        assert self._script is not None
        self._push(hour_us + HOUR_US, site, None)
        rng = Random(f"{self.town.seed}/{site.code}/{hour_us}/paths")  # noqa: S311
        for visit in self._script.visits(site, hour_us):
            self._walk(site, visit.arrive_us, True, rng)
            self._walk(site, visit.leave_us, False, rng)
            for device in self._at[site.code]:
                if isinstance(device, FaceTerminal) and visit.local_id is not None:
                    face = Face(local_id=visit.local_id, refused=visit.refused)
                    self._push(visit.arrive_us + rng.randint(8, 20) * SECOND_US, device, face)
                    if visit.seen_us is not None:
                        self._push(visit.seen_us, device, face)

    def _walk(self, site: Site, at_us: int, inward: bool, rng: Random) -> None:
        through = Pass(inward=inward, until_us=at_us + rng.randint(3, 8) * SECOND_US)
        for device in self._at[site.code]:
            if isinstance(device, Zigbee2MqttDoor):
                self._push(at_us, device, through)
            elif isinstance(device, MilesightCounter):
                self._push(at_us + 2 * SECOND_US, device, through)


def _midnight(at_us: int) -> int:
    local = datetime.fromtimestamp(at_us // SECOND_US, UTC).astimezone(ZoneInfo(ZONE))
    return int(local.replace(hour=0, minute=0, second=0).timestamp()) * SECOND_US
