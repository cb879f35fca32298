"""The devices of the campaign: doors that open at known times in sites that are closed, and a busy town beside them.

    python -m tests.faults.load --bus URL --ledger FILE --seed N --watched N --rate N

One decision: a watched door opens once, for a second, so that every opening in the ledger is an alert that there must be,
whatever the rules think of those that come back. Runs until SIGTERM; then open doors are closed, and nothing ends before
broker and gateway have acknowledged everything.
"""

import argparse
import asyncio
import heapq
import signal
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

from firmware_sim.bus import Bus
from firmware_sim.device import Connected, Device, Face, Input, Output, Pass, Report, Toggle, Told
from firmware_sim.face import FaceTerminal
from firmware_sim.ledger import Ledger
from firmware_sim.milesight import MilesightCounter
from firmware_sim.zigbee import BRIDGE_OFFLINE, BRIDGE_ONLINE, Zigbee2MqttDoor
from gateway.clock import SECOND_US, now_us
from tests.e2e.stack import closed_now

GATEWAY, SHARD, REGION = "gw-town", 11, "330481101000"
BUSY = 4
HOLD_S = 6.0
EVERY_S = 1.2
OPEN_S = 1.0
ALWAYS = {day: [["00:00", "24:00"]] for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")}
ZONE = "Asia/Shanghai"


def door(n: int) -> str:
    """Return the identity of a watched door."""
    return f"z2m/watched-{n}"


def register(watched: int) -> dict[str, Any]:
    """Return a register of sites that never close and of watched ones that are closed now."""
    document: dict[str, Any] = {
        "regions": [{"code": REGION, "name": "许村镇"}],
        "sites": [],
        "places": [],
        "gateways": [{"code": GATEWAY, "shard": SHARD}],
        "devices": [],
        "persons": [],
    }
    for n in range(BUSY):
        mounted = [(f"z2m/busy-{n}", "zigbee_contact"), (f"lora/24e12400000000{n:02x}", "lora_counter")]
        rules = {"stranger_spike": {"least": 1e6}}  # a third of those whom its terminal sees are strangers
        _add(document, f"busy-{n}", {"hours": ALWAYS, "rules": rules}, [*mounted, (f"face/{1000 + n}", "face_terminal")])
    for n in range(watched):
        rules = {"opened_after_hours": {"hold_min": HOLD_S / 60}}
        _add(document, f"watched-{n}", {"hours": closed_now(), "rules": rules}, [(door(n), "zigbee_contact")])
    return document


def _add(document: dict[str, Any], code: str, more: dict[str, Any], mounted: Sequence[tuple[str, str]]) -> None:
    document["sites"].append({"code": code, "name": code, "kind": "point", "region": REGION} | more)
    for i, (identity, kind) in enumerate(mounted):
        document["places"].append({"site": code, "code": f"p{i}", "name": f"位置{i}", "room": "entrance"})
        device = {"gateway": GATEWAY, "identity": identity, "class": kind, "name": identity, "place": f"{code}/p{i}"}
        document["devices"].append(device | ({"assessment": "PIA-1"} if kind == "face_terminal" else {}))


class Town:
    """All devices, and when each has something to do by itself."""

    def __init__(self, seed: int, watched: int) -> None:
        self.rng = Random(seed)
        self.doors: list[Device] = [Zigbee2MqttDoor(door(n).removeprefix("z2m/"), self.rng, qos=1) for n in range(watched)]
        self.busy: list[Device] = []
        for n in range(BUSY):
            self.busy += [
                Zigbee2MqttDoor(f"busy-{n}", self.rng, qos=1),
                MilesightCounter(f"24e12400000000{n:02x}", self.rng, self.rng.getrandbits(32), qos=1),
                FaceTerminal(str(1000 + n), seed, zone=ZONE, qos=1),
            ]
        self.named = {d.identity: d for d in self.busy}
        self.calls: list[tuple[int, str]] = []

    @property
    def terminals(self) -> list[FaceTerminal]:
        """The face terminals, which repeat themselves until they are acknowledged."""
        return [d for d in self.busy if isinstance(d, FaceTerminal)]

    def update(self, device: Device, now: int, *inputs: Input) -> list[tuple[Device, Output]]:
        """Let a device do something, and note when it wants to be asked again."""
        outputs, call_us = device.update(now, inputs)
        if call_us is not None and device.identity in self.named:
            heapq.heappush(self.calls, (max(call_us, now + SECOND_US // 10), device.identity))
        return [(device, output) for output in outputs]

    def due(self, now: int) -> list[tuple[Device, Output]]:
        """Ask those who wanted to be asked again."""
        said = []
        while self.calls and self.calls[0][0] <= now:
            said += self.update(self.named[heapq.heappop(self.calls)[1]], now)
        return said

    def poke(self, now: int) -> list[tuple[Device, Output]]:
        """Make one of the busy devices observe something."""
        device = self.rng.choice(self.busy)
        if isinstance(device, MilesightCounter):
            return self.update(device, now, Pass(inward=self.rng.random() < 0.5, until_us=now), Report())
        if isinstance(device, FaceTerminal):
            return self.update(device, now, Face(local_id=self.rng.choice(["1", "2", ""])))
        return self.update(device, now, Toggle())


class Stage:
    """The town on the bus, every observation in the ledger before it leaves."""

    def __init__(self, town: Town, bus: Bus, ledger: Ledger) -> None:
        self.town, self.bus, self.ledger = town, bus, ledger

    async def connect(self) -> None:
        """Bring all connections up and let the gateway greet the terminals."""
        self.bus.connect("z2m", will=BRIDGE_OFFLINE, birth=BRIDGE_ONLINE)
        self.bus.connect("lora")
        for terminal in self.town.terminals:
            number = terminal.identity.removeprefix("face/")
            self.bus.connect(terminal.link, will=terminal.will(), listen=[f"mqtt/face/{number}"])
        end = now_us() + 20 * SECOND_US
        while now_us() < end and not (self.bus.all_up and all(t.online for t in self.town.terminals)):
            await self.hear(now_us() + SECOND_US // 5)

    async def live(self, rate: float, stop: asyncio.Event) -> None:
        """Open one watched door after the other and poke the busy devices, until told to stop."""
        now = now_us()
        self.say([one for d in (*self.town.doors, *self.town.busy) for one in self.town.update(d, now)])
        closed, opened = list(reversed(self.town.doors)), list[tuple[int, Device]]()
        poke_us, open_us = now, now + round(EVERY_S * SECOND_US)
        while not stop.is_set() or opened:
            now = now_us()
            if now >= poke_us and not stop.is_set():
                self.say(self.town.poke(now))
                poke_us = max(poke_us + round(SECOND_US / rate), now - SECOND_US)
            if now >= open_us and closed and not stop.is_set():
                opened.append((now + round(OPEN_S * SECOND_US), closed[-1]))
                self.say(self.town.update(closed.pop(), now, Toggle()))
                open_us = now + round(EVERY_S * SECOND_US)
            while opened and opened[0][0] <= now:
                self.say(self.town.update(opened.pop(0)[1], now, Toggle()))
            await self.hear(min(poke_us, now + SECOND_US // 20))

    async def drain(self) -> None:
        """Wait until nothing is left that the broker or the gateway has not acknowledged."""
        while self.bus.unacknowledged or any(t.waiting for t in self.town.terminals):
            await self.hear(now_us() + SECOND_US // 5)

    async def hear(self, until_us: int) -> None:
        """Hand over what arrives, and let devices repeat themselves, until then."""
        heard: list[tuple[str, Connected | Told]] = []
        try:
            async with asyncio.timeout(max(0, until_us - now_us()) / SECOND_US):
                heard.append(await self.bus.heard.get())
        except TimeoutError:
            pass
        while not self.bus.heard.empty():
            heard.append(self.bus.heard.get_nowait())
        for link, what in heard:
            if link in self.town.named:
                self.say(self.town.update(self.town.named[link], now_us(), what))
        self.say(self.town.due(now_us()))

    def say(self, said: list[tuple[Device, Output]]) -> None:
        """Write down, then publish."""
        self.ledger.append([output.observation for _, output in said if output.observation])
        for device, output in said:
            self.bus.publish(device.link, output)


async def run(bus_url: str, ledger: Path, *, seed: int, watched: int, rate: float) -> None:
    """Make load until SIGTERM: `rate` observations a second of the busy town, and the watched doors."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    with Ledger(ledger) as book:
        stage = Stage(Town(seed, watched), Bus(bus_url), book)
        await stage.connect()
        await stage.live(rate, stop)
        await stage.drain()
        await asyncio.to_thread(stage.bus.close)


def main() -> None:
    """Run as told."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--bus", required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--watched", type=int, required=True)
    parser.add_argument("--rate", type=float, required=True)
    a = parser.parse_args()
    asyncio.run(run(a.bus, a.ledger, seed=a.seed, watched=a.watched, rate=a.rate))


if __name__ == "__main__":
    main()
