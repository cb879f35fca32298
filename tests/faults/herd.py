"""Gateways whose backend was away for hours, and which all come back in the same moment.

    python -m tests.faults.herd --broker HOST:PORT --secrets FILE --folder DIR --ledger FILE --events N

One decision: a spool, sender and link of the shipped gateway for each, filled with hours of events before the first one
connects; only the bus and the devices are left out. Ends when the backend has everything.
"""

import argparse
import asyncio
import json
import secrets
from pathlib import Path
from typing import Any

from firmware_sim.ledger import Ledger
from gateway.clock import MINUTE_US, SECOND_US, now_us
from gateway.credentials import Credentials
from gateway.events import Event, Flag, Kind
from gateway.link import Link
from gateway.spool import Spool
from gateway.uplink import Sender
from gateway.wire import Answer, Down
from smartcare.embedded import process
from tests.faults.campaign import Campaign
from tests.faults.stage import herd_code, herd_door, herd_shard

FRAME = 20
JITTER_US = 2 * SECOND_US


class Member:
    """One gateway of the herd."""

    def __init__(self, n: int, address: str, secret: str, folder: Path) -> None:
        self.n, self.done = n, asyncio.Event()
        self.spool = Spool(folder / f"{herd_code(n)}.sqlite")
        self.sender = Sender(budget_bytes=1 << 26, epoch=0, reconnect_jitter_us=JITTER_US)
        url = f"mqtt://{herd_code(n)}:{secret}@{address}"
        self.link = Link(
            url,
            herd_shard(n),
            herd_code(n),
            credentials=Credentials(url, folder / f"{herd_code(n)}.uplink.json"),
            sender=self.sender,
            spool=self.spool,
            clock=now_us,
            on_up=lambda: None,
            on_down=self._heard,
        )

    def fill(self, events: int, ledger: Ledger) -> None:
        """Spool a door that opened and closed every minute, until now."""
        start = now_us() - events * MINUTE_US
        stream = secrets.randbits(63)
        self.spool.begin_stream(stream, start - SECOND_US)
        self.sender.open(stream)
        for first in range(0, events, FRAME):
            group = [self._event(start + i * MINUTE_US, i) for i in range(first, min(first + FRAME, events))]
            ledger.append(
                {"kind": "contact", "identity": e.device, "t_us": e.t_us, "open": bool(e.a), "edge": True} for e in group
            )
            for size in self.spool.append(group, through_us=group[-1].t_us):
                self.sender.sealed(size)

    async def run(self) -> None:
        """Come back, and be done once the backend has everything."""
        async with asyncio.TaskGroup() as tasks:
            carrying = tasks.create_task(self.link.run(), name="faults.herd")
            await self.done.wait()
            carrying.cancel()

    def _event(self, t_us: int, i: int) -> Event:
        device, flags = herd_door(self.n), Flag.TIME_RECEIVED
        return Event(device=device, kind=Kind.CONTACT, t_us=t_us, received_us=t_us, a=(i + 1) % 2, flags=flags)

    def _heard(self, message: Down) -> None:
        if isinstance(message, Answer):
            self.sender.answer(message, now_us())
            if self.sender.queued_frames == 0:
                self.done.set()


async def run(members: list[Member]) -> None:
    """Let all come back at once."""
    async with asyncio.TaskGroup() as tasks:
        for member in members:
            tasks.create_task(member.run(), name="faults.herd.member")


def herd_comes_back(c: Campaign) -> None:
    """Hours of events of many gateways arrive at once, while the town goes on living."""
    stage, events = c.stage, c.of(200, 1200, 3000)
    (stage.folder / "herd").mkdir()
    keys = stage.folder / "herd" / "secrets.json"
    codes = [herd_code(n) for n in range(stage.herd)]
    keys.write_text(json.dumps({code: stage.broker.add_gateway(code, herd_shard(n)) for n, code in enumerate(codes)}))
    ledger = stage.folder / "herd.jsonl"
    with c.phase(f"{stage.herd} gateways come back with {events} events each"):
        command = ["-m", "tests.faults.herd", "--broker", f"127.0.0.1:{stage.broker.port}", "--secrets", str(keys)]
        command += ["--folder", str(stage.folder / "herd"), "--ledger", str(ledger), "--events", str(events)]
        child = stage.helper("herd", *command)
        stage.until(lambda: child.poll() is not None, "the backend has all that the herd brought", seconds=300)
        assert child.returncode == 0, process.tail(stage.folder / "log" / "herd.log")
    lines: list[dict[str, Any]] = [json.loads(line) for line in ledger.read_text().splitlines()]
    for one in lines:
        seen = (one["identity"], one["t_us"], int(one["open"]))
        c.extra.update([("state", *seen), ("edge", *seen)])
    c.figures["herd_events"] = len(lines)


def main() -> None:
    """Run as told."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--broker", required=True)
    parser.add_argument("--secrets", type=Path, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--events", type=int, required=True)
    a = parser.parse_args()

    async def work() -> None:
        keys: dict[str, str] = json.loads(a.secrets.read_text())
        members = [Member(n, a.broker, secret, a.folder) for n, secret in enumerate(keys.values())]
        with Ledger(a.ledger) as ledger:
            for member in members:
                member.fill(a.events, ledger)
        await run(members)

    asyncio.run(work())


if __name__ == "__main__":
    main()
