"""What all pages with the same part, language and topics are told: made once for them all, each topic at its own pace.

    Hub.touch ──wake──▶ Channel.run: renders what is late and due ──told──▶ each page's stream takes what it has not had

One decision: a channel keeps the newest fragment of each topic and nothing else; a page that was slow takes the newest. What a
page costs is one waking and one write for whatever has come since.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec
import psycopg
from psycopg_pool import PoolTimeout

from api.accounts import Part

LOG = logging.getLogger("api.live")
BEAT_S = 15.0
INTERVAL_S = {"alerts": 0.25, "pending": 0.25, "alert": 0.25}
"""Shortest time between two updates of a topic; everything else waits `SLOW_S`, and longer where it costs more."""
SLOW_S = 1.0
REST, REST_S = 10, 5.0
"""What took a second to render rests for ten, but no longer than five seconds: a province's lists leave the machine to others."""
LONG, LONG_S = 40_000, 4.0
"""A fragment of more bytes (the list of a province) waits longer, alerts for SLOW_S."""
AGAIN_S = 1.0


@dataclass(slots=True, kw_only=True)
class Rendered:
    """A fragment as of a revision. took_s: what it cost; event: what a stream sends of it, made once for all.

    old_at: loop time since when something newer is known; None: it is the present state.
    """

    revision: int
    html: str
    at: float
    took_s: float
    event: bytes
    old_at: float | None = None

    def rest_s(self, topic: str) -> float:
        """How long to wait before the topic is rendered again."""
        quick, long = INTERVAL_S.get(topic.partition(":")[0]), len(self.event) > LONG
        if quick is not None:
            return SLOW_S if long else quick
        return max(LONG_S if long else SLOW_S, min(REST * self.took_s, REST_S))


class Source(Protocol):
    """The hub, as a channel sees it."""

    healthy: bool

    def latest(self, key: str) -> int:
        """Revision at which the topic last changed."""

    async def rendered(self, topics: Sequence[str], part: Part, lang: str) -> dict[str, Rendered]:
        """The topics as they are now."""


@dataclass(slots=True, eq=False)
class Channel:
    """One for all pages that follow the same. keys: under which the hub keeps each topic's revision."""

    source: Source
    part: Part
    lang: str
    keys: dict[str, str]
    followers: int = 0
    beats: int = 0
    made: dict[str, Rendered] = field(default_factory=dict)
    told: asyncio.Event = field(default_factory=asyncio.Event)
    _asked: dict[str, int] = field(default_factory=dict)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)

    def join(self, revision: int) -> None:
        """Tell also a page that has everything up to this revision."""
        self.followers += 1
        for topic in self.keys:
            self._asked[topic] = min(self._asked.get(topic, revision), revision)
        self._wake.set()

    def leave(self) -> None:
        """One page less; without any, `run` ends."""
        self.followers -= 1
        self._wake.set()

    def wake(self) -> None:
        """Look again at what is late."""
        self._wake.set()

    def tell(self) -> None:
        """Let every stream look at what there is."""
        self.told.set()
        self.told = asyncio.Event()

    async def run(self) -> None:
        """Keep the fragments at their present state while pages follow. What fails is tried again and ends no page."""
        clock = asyncio.get_running_loop().time
        due_at, beat_at = dict.fromkeys(self.keys, 0.0), clock() + BEAT_S
        while self.followers:
            self._wake.clear()
            due = [topic for topic in self.keys if due_at[topic] <= clock() and self._late(topic)]
            for topic in due:
                due_at[topic] = await self._make(topic) + clock()
            if beat := beat_at <= clock():
                beat_at = clock() + BEAT_S
                self.beats += self.source.healthy  # without a database nothing is live: let the page notice
            if due or beat:
                self.tell()
            await _wait(self._wake, min([beat_at, *(due_at[t] for t in self.keys if self._late(t))]) - clock())

    def _late(self, topic: str) -> bool:
        made, latest = self.made.get(topic), self.source.latest(self.keys[topic])
        return latest > (made.revision if made else self._asked[topic])

    async def _make(self, topic: str) -> float:
        """Render a topic and return the seconds that it then rests."""
        try:
            self.made |= await self.source.rendered([topic], self.part, self.lang)
        except Exception as error:
            usual = isinstance(error, psycopg.Error | PoolTimeout | OSError)
            LOG.warning("live pages wait for %s: %s", topic, error, exc_info=not usual)
            return AGAIN_S
        return self.made[topic].rest_s(topic)

    def news(self, sent: dict[str, int], shown: dict[str, str]) -> list[bytes]:
        """Return the events of what a page has not had, noting in `sent` (topic → revision) and `shown` (→ HTML) that it has."""
        found = []
        for topic, made in self.made.items():
            if made.revision > sent[topic]:
                sent[topic] = made.revision
                if shown.get(topic) != made.html:
                    shown[topic] = made.html
                    found.append(made.event)
        return found

    def waits(self, sent: dict[str, int]) -> list[int]:
        """Return the revisions of what a page still waits for."""
        revisions = ((self.source.latest(key), sent[topic]) for topic, key in self.keys.items())
        return [latest for latest, has in revisions if latest > has]


def fragment(topic: str, html: str) -> bytes:
    """Return a fragment as an event; JSON keeps it on one line."""
    return event("fragment", msgspec.json.encode({"topic": topic, "html": html}))


def event(name: str, data: bytes = b"{}") -> bytes:
    """Write one server-sent event."""
    return f"event: {name}\ndata: ".encode() + data + b"\n\n"


async def _wait(wake: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await wake.wait()
    except TimeoutError:
        pass
