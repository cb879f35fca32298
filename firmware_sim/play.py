"""A town's day as a discrete-event simulation: habits move people, people move devices, devices say things.

One decision: it always starts at local midnight and runs through the day without the world hearing it, so that totals,
frame counters and record numbers at a moment are the same however often the simulator was started.

    visits ─▶ (time, device, input) ─▶ heap ─▶ device.update ─▶ outputs, next call ─▶ heap
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from zoneinfo import ZoneInfo

from firmware_sim.device import Connected, Device, Face, Hold, Input, Output, Pass, Report, Toggle, Told
from firmware_sim.face import FaceTerminal
from firmware_sim.habits import last_closing, visits
from firmware_sim.milesight import MilesightCounter
from firmware_sim.town import ZONE, Site, Town, secret
from firmware_sim.zigbee import Zigbee2MqttDoor
from gateway.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US

PAST_REPEAT_US = 5 * MINUTE_US
LIVE_REPEAT_US = 20 * SECOND_US
REPORT_US = MINUTE_US
HELD_BEFORE_CLOSING_US = 7 * MINUTE_US


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """An output with the device that said it, and when."""

    at_us: int
    device: Device
    output: Output


class Play:
    """The devices of a town and what is about to happen. habits False: on from `from_us`, nothing happens but by `poke`."""

    def __init__(self, town: Town, now_us: int, *, from_us: int, qos: int = 0, habits: bool = True) -> None:
        self.town, self.from_us = town, from_us
        self._sites = town.sites()
        self._rng = Random(f"{town.seed}/poke")  # noqa: S311 - repeatable by intention
        self._queue: list[tuple[int, int, Device | Site, Input | None]] = []
        self._serial = 0
        self._calls: dict[str, int | None] = {}
        start_us = _midnight(from_us) if habits else from_us
        self.devices = [device for site in self._sites for device in _devices(town, site, start_us, qos, habits)]
        self._named = {device.identity: device for device in self.devices}
        for device in self.devices:
            self._push(start_us, device, None)
        for site in self._sites if habits else ():
            self._push(start_us // HOUR_US * HOUR_US, site, None)
            if site.held_open:
                self._hold(site, now_us)

    @property
    def terminals(self) -> list[FaceTerminal]:
        """Return the face terminals."""
        return [device for device in self.devices if isinstance(device, FaceTerminal)]

    def advance(self, now_us: int) -> list[Said]:
        """Let everything happen until `now_us`; returns what was said since `from_us`, in order."""
        said: list[Said] = []
        while self._queue and self._queue[0][0] <= now_us:
            at_us, _, who, what = heapq.heappop(self._queue)
            if isinstance(who, Site):
                self._hour(who, at_us)
            elif what is not None or self._calls.get(who.identity) == at_us:
                said += self._update(who, at_us, [what] if what is not None else [])
        return [one for one in said if one.at_us >= self.from_us]

    def go_live(self, now_us: int) -> None:
        """Repeat door states at the lively pace, staggered, and forget what terminals took before `from_us`."""
        doors = [device for device in self.devices if isinstance(device, Zigbee2MqttDoor) and device.repeat_us is not None]
        for i, door in enumerate(doors):
            door.repeat_us = LIVE_REPEAT_US
            self._push(now_us + i * LIVE_REPEAT_US // len(doors), door, None)
        for terminal in self.terminals:
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
        return [Said(at_us=at_us, device=device, output=output) for output in outputs]

    def _push(self, at_us: int, who: Device | Site, what: Input | None) -> None:
        self._serial += 1
        if what is None and not isinstance(who, Site):
            self._calls[who.identity] = at_us
        heapq.heappush(self._queue, (at_us, self._serial, who, what))

    def _hour(self, site: Site, hour_us: int) -> None:
        self._push(hour_us + HOUR_US, site, None)
        rng = Random(f"{self.town.seed}/{site.code}/{hour_us}/paths")  # noqa: S311
        for visit in visits(self.town.seed, site, hour_us):
            self._walk(site, visit.arrive_us, True, rng)
            self._walk(site, visit.leave_us, False, rng)
            for device in self._of(site):
                if isinstance(device, FaceTerminal) and visit.local_id is not None:
                    self._push(visit.arrive_us + rng.randint(8, 20) * SECOND_US, device, Face(local_id=visit.local_id))

    def _walk(self, site: Site, at_us: int, inward: bool, rng: Random) -> None:
        through = Pass(inward=inward, until_us=at_us + rng.randint(3, 8) * SECOND_US)
        for device in self._of(site):
            if isinstance(device, Zigbee2MqttDoor):
                self._push(at_us, device, through)
            elif isinstance(device, MilesightCounter):
                self._push(at_us + 2 * SECOND_US, device, through)

    def _hold(self, site: Site, now_us: int) -> None:
        for device in self._of(site):
            if isinstance(device, Zigbee2MqttDoor):
                self._push(last_closing(site, now_us) - HELD_BEFORE_CLOSING_US, device, Hold())

    def _of(self, site: Site) -> Iterator[Device]:
        return (self._named[identity] for identity in site.devices if identity in self._named)


def _midnight(at_us: int) -> int:
    local = datetime.fromtimestamp(at_us // SECOND_US, UTC).astimezone(ZoneInfo(ZONE))
    return int(local.replace(hour=0, minute=0, second=0).timestamp()) * SECOND_US


def _devices(town: Town, site: Site, start_us: int, qos: int, habits: bool) -> Iterator[Device]:
    day = start_us // DAY_US
    for identity in site.devices:
        family, name = identity.split("/", 1)
        rng = Random(f"{town.seed}/{identity}/{day}")  # noqa: S311 - repeatable by intention
        if family == "z2m":
            yield Zigbee2MqttDoor(name, rng, qos=qos, repeat_us=PAST_REPEAT_US if habits else None)
        elif family == "lora":
            session = int(secret(town.seed, identity, start_us)[:8], 16)
            yield MilesightCounter(name, rng, session, qos=qos, report_us=REPORT_US if habits else None)
        elif family == "face":
            yield FaceTerminal(name, town.seed, zone=site.zone, first=day * 100_000, qos=qos)
