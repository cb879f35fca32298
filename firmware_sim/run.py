"""The simulator at work: the past quickly, then the present at its own pace, or a fixed number of events at a fixed rate.

One decision: an observation is in the fsynced ledger before its message leaves; with a ledger everything is sent with
QoS 1, and terminals push until they are acknowledged, so that what is missing at the other end was lost there.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from firmware_sim.bus import Bus
from firmware_sim.declared import LINK
from firmware_sim.face import FaceTerminal
from firmware_sim.ledger import Ledger
from firmware_sim.play import Demonstration, Play, Said, Script
from firmware_sim.posts import Poster
from firmware_sim.town import Town
from firmware_sim.zigbee import BRIDGE_OFFLINE, BRIDGE_ONLINE
from gateway.clock import SECOND_US, now_us

LONGEST_WAIT_US = SECOND_US
GREETING_US = 20 * SECOND_US
"""How long the past waits for a gateway to answer a terminal's Online: what is said before it listens is lost."""
PAST_CHUNK, PAST_PACE_US = 20, SECOND_US // 25
GOODBYE_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """What was sent: messages in all, and those that carried an observation for the first time."""

    messages: int
    observations: int

    def __str__(self) -> str:
        zh = f"已发送 {self.messages} 条消息，其中 {self.observations} 条观测"
        return f"{zh} sent {self.messages} messages, {self.observations} of them observations"


async def run(
    town: Town,
    bus_url: str,
    *,
    script: Script | None = None,
    backlog_us: int = 0,
    ledger: Path | None = None,
    rate: float | None = None,
    count: int | None = None,
    stop_after_s: float | None = None,
    posts: Mapping[str, str] | None = None,
) -> Summary:
    """Simulate `town` on the bus at `bus_url` (mqtt://user:password@host:port).

    script: what happens, if not the demonstration. Without `rate`: publish the past `backlog_us`, then go on for
    `stop_after_s` seconds or until cancelled. With `rate`: that many observations a second, `count` in all, then wait until
    broker and terminals have everything acknowledged. posts: identity → URL, of the devices that post.
    """
    started = now_us()
    if script is None and rate is None:
        script = Demonstration(town, started)
    play = Play(town, script, from_us=started - backlog_us, qos=1 if ledger else 0)
    with Ledger(ledger) if ledger else nullcontext() as book:
        bus = Bus(bus_url)
        poster = Poster(posts or {}, bus.heard)
        stage = _Stage(play, bus, poster, book)
        async with asyncio.TaskGroup() as tasks:
            posting = tasks.create_task(poster.run(), name="sim.posts")
            try:
                past = await stage.connect()
                if rate is not None:
                    await stage.drill(past, rate, count)
                    await stage.drain()
                else:
                    await stage.live(past, stop_after_s)
            finally:
                await stage.close()
                posting.cancel()
    return Summary(messages=stage.messages, observations=stage.observations)


class _Stage:
    """Play, bus and ledger together."""

    def __init__(self, play: Play, bus: Bus, poster: Poster, ledger: Ledger | None) -> None:
        self.messages = self.observations = 0
        self._play, self._bus, self._poster, self._ledger = play, bus, poster, ledger

    async def connect(self) -> list[Said]:
        """Bring all connections up and give a gateway the time to greet the terminals; returns the past, unsaid."""
        present_us = now_us()
        past = self._play.advance(present_us)
        self._play.go_live(present_us)
        self._bus.connect("z2m", will=BRIDGE_OFFLINE, birth=BRIDGE_ONLINE)
        for link in ("lora", LINK):
            self._bus.connect(link)
        for terminal in self._play.terminals:
            number = terminal.identity.removeprefix("face/")
            self._bus.connect(terminal.link, will=terminal.will(), listen=[f"mqtt/face/{number}"])
        while not self._bus.all_up:
            past += await self._wait_a_second()
        greeted_by = now_us() + GREETING_US
        while self._play.terminals and not any(t.online for t in self._play.terminals) and now_us() < greeted_by:
            past += await self._wait_a_second()
        return past

    async def live(self, past: list[Said], stop_after_s: float | None) -> None:
        """Catch up with the present, then keep its pace."""
        for first in range(0, len(past), PAST_CHUNK):
            self._publish(past[first : first + PAST_CHUNK])
            await self._hear(now_us() + PAST_PACE_US)
        end_us = now_us() + int(stop_after_s * SECOND_US) if stop_after_s is not None else None
        while end_us is None or now_us() < end_us:
            self._publish(self._play.advance(now_us()))
            await self._hear(min(t for t in (self._play.next_us(), end_us, now_us() + LONGEST_WAIT_US) if t is not None))

    async def drill(self, past: list[Said], rate: float, count: int | None) -> None:
        """Say what every device says when it is switched on, then poke a device `rate` times a second."""
        self._publish(past)
        began, done = now_us(), 0
        while count is None or done < count:
            due = began + int(done / rate * SECOND_US)
            if now_us() >= due:
                self._publish(self._play.poke(now_us()))
                done += 1
            self._publish(self._play.advance(now_us()))
            await self._hear(due)

    async def drain(self) -> None:
        """Wait until nothing is left that the broker or a gateway has not acknowledged."""
        while self._bus.unacknowledged or any(t.waiting for t in self._play.faces):
            self._publish(self._play.advance(now_us()))
            await self._hear(now_us() + LONGEST_WAIT_US)

    async def close(self) -> None:
        """Say goodbye for the bridge, as far as there is time, and close everything."""
        self._bus.publish("z2m", BRIDGE_OFFLINE)
        try:
            async with asyncio.timeout(GOODBYE_S):
                await self._bus.settled()
        except TimeoutError:
            pass  # the broker is gone; a bridge that is switched off at the mains says nothing either
        await asyncio.to_thread(self._bus.close)

    async def _wait_a_second(self) -> list[Said]:
        """Let terminals speak; returns what the others have to say later."""
        said = self._play.advance(now_us())
        self._publish([one for one in said if isinstance(one.device, FaceTerminal)])
        await self._hear(now_us() + LONGEST_WAIT_US)
        return [one for one in said if not isinstance(one.device, FaceTerminal)]

    async def _hear(self, until_us: int) -> None:
        """Hand over what arrives; returns at `until_us`, or as soon as something was heard."""
        heard = []
        try:
            async with asyncio.timeout(max(0, until_us - now_us()) / SECOND_US):
                heard.append(await self._bus.heard.get())
        except TimeoutError:
            return
        while not self._bus.heard.empty():
            heard.append(self._bus.heard.get_nowait())
        for link, what in heard:
            self._publish(self._play.tell(link, what, now_us()))

    def _publish(self, said: Sequence[Said]) -> None:
        observed = [one.output.observation for one in said if one.output.observation]
        if self._ledger:
            self._ledger.append(observed)
        self.messages += len(said)
        self.observations += len(observed)
        for one in said:
            if one.output.content_type:
                self._poster.post(one.device.identity, one.output)
            else:
                self._bus.publish(one.device.link, one.output)
