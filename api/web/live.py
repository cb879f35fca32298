"""The live hub: learns from the database what has changed and tells every open page, queueing nothing per page.

    alert_change, site_status ──(xid8 below the oldest undecided transaction)──▶ revision per topic
                                                                                      │ rendered once per revision
    page A (has revision 12), page B (has 9) ◀── fragments of the topics that are newer ┘ and language, shared (channel)

One decision: the hub keeps only the latest revision per topic. A page that was away asks with the revision it has and
gets the present state of whatever is newer, so nothing can be missed and nothing can pile up. Revisions belong to this
process (`boot`); a page from another process or an earlier start gets everything once.
"""

import asyncio
import logging
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg_pool import PoolTimeout

from api import health
from api.accounts import IDLE_US, WHOLE, Part
from api.errors import TooManyAttempts
from api.scope import ALL, Pool, within
from api.web.channel import Channel, Rendered, event, fragment
from api.web.i18n import LANGUAGES, Say
from gateway.clock import MINUTE_US, SECOND_US, now_us
from ingest.store.queries import Queries

LOG = logging.getLogger("api.live")
SQL = Queries("api")

POLL_S = 0.5
GATHER_S = 0.05
"""After a wake-up the hub lets this pass, so that a burst of commits is one revision."""
CHECK_US = 2 * SECOND_US
LOOK_US = 2 * SECOND_US
"""How often the hub looks at whether the system itself is well."""
MAX_TOPICS = 10_000
"""Revisions and fragments remembered; beyond, all are forgotten and every page is brought up to date once."""
FRESH_S, STALE_S = 1.0, 10.0
"""A page may be loaded with lists that are this old, and its stream brings the rest: after FRESH_S they are rendered again
behind its back, after STALE_S it waits for that."""
MAX_SITES = 200
"""Sites of shards in trouble that are told of one by one."""
MAX_STREAMS = 2000
MAX_STREAMS_EACH = 20

Connection = AsyncConnection[Any]
Render = Callable[[Connection, str, Part, Say], Awaitable[str]]
"""(connection, topic, what the reader may see, language) → HTML of the fragment."""
LISTS = ("alerts", "counters", "sites", "banner", "latest")
"""Topics that differ by what the reader may see; those of a single thing do not."""
AGELESS = ("counters@", "latest@")
"""What says nothing that grows old by itself, as "18 minutes left" does."""


@dataclass(slots=True, eq=False)
class Ticket:
    """An open stream: whose it is, and whether it must close."""

    key: bytes
    part: Part
    ended: bool = False
    channel: Channel | None = None


@dataclass(slots=True)
class Hub:
    """One per process. `run` feeds it; `stream` serves a page."""

    database_url: str
    pool: Pool
    render: Render
    boot: str = field(default_factory=lambda: secrets.token_hex(4))
    revision: int = 0
    closing: bool = False
    healthy: bool = False
    _floor: int = 0
    _aged: int = 0
    _latest: dict[str, int] = field(default_factory=dict)
    _fragments: dict[tuple[str, str], Rendered] = field(default_factory=dict)
    _rendering: defaultdict[tuple[str, str], asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    _tickets: set[Ticket] = field(default_factory=set)
    _channels: dict[tuple[str, str, tuple[str, ...]], Channel] = field(default_factory=dict)
    _tasks: asyncio.TaskGroup = field(default_factory=asyncio.TaskGroup)
    _stale: dict[tuple[str, str], tuple[str, Part]] = field(default_factory=dict)
    _refresh: asyncio.Event = field(default_factory=asyncio.Event)
    _parts: dict[str, frozenset[int]] = field(default_factory=dict)
    _after: int | None = None
    _wrong: dict[int, tuple[object, ...]] = field(default_factory=dict)
    _looked_us: int = 0
    _minute: int = 0
    _checked_us: int = 0

    def position(self) -> str:
        """What a page carries: read it before reading the database, so that nothing falls between."""
        return f"{self.boot}:{self.revision}"

    def latest(self, key: str) -> int:
        """Revision at which the topic last changed."""
        return max(self._latest.get(key, 0), self._floor, 0 if key.startswith(AGELESS) else self._aged)

    def touch(self, keys: Iterable[str]) -> None:
        """Note that topics have changed, as one new revision."""
        self.revision += 1
        changed = dict.fromkeys(keys, self.revision)
        self._latest |= changed
        if len(self._latest) > MAX_TOPICS:
            self._forget()
        self._outdate(changed)
        for channel in self._channels.values():
            if not changed.keys().isdisjoint(channel.keys.values()):
                channel.wake()

    def _outdate(self, keys: Iterable[str]) -> None:
        """Note since when what was rendered is not the present state any more."""
        now = asyncio.get_running_loop().time()
        for key in keys:
            for lang in LANGUAGES:
                known = self._fragments.get((key, lang))
                if known and known.old_at is None:
                    known.old_at = now

    def close(self) -> None:
        """End every stream, for shutting down."""
        self.closing = True
        for channel in self._channels.values():
            channel.tell()

    def _forget(self) -> None:
        self._latest.clear()
        self._fragments.clear()
        self._floor = self.revision
        self._parts = {t.part.key: frozenset(t.part.sites) for t in self._tickets if t.part.sites is not None}

    def _grow_old(self) -> None:
        """Count what grows old as changed; what was rendered lately may still be shown to those who load a page."""
        self._latest = {key: revision for key, revision in self._latest.items() if key.startswith(AGELESS)}
        self.revision += 1
        self._aged = self.revision
        now = asyncio.get_running_loop().time()
        self._fragments = {key: r for key, r in self._fragments.items() if r.old_at is None or now - r.old_at < STALE_S}
        self._outdate([key for key, _ in self._fragments if not key.startswith(AGELESS)])
        for key in [key for key, lock in self._rendering.items() if not lock.locked() and key not in self._fragments]:
            del self._rendering[key]
        self._wake_all()

    def _wake_all(self) -> None:
        for channel in self._channels.values():
            channel.wake()

    async def run(self) -> None:
        """Feed the hub for ever; a database that goes away is tried again, and nothing of the time between is missed."""
        async with self._tasks:
            self._tasks.create_task(self._keep_fresh(), name="api.fresh")
            await self._feed_for_ever()

    async def _keep_fresh(self) -> None:
        """Render again what readers were shown old."""
        while True:
            await self._refresh.wait()
            self._refresh.clear()
            while self._stale:
                (_, lang), (topic, part) = self._stale.popitem()
                try:
                    await self.rendered([topic], part, lang)
                except (psycopg.Error, PoolTimeout, OSError) as error:
                    LOG.warning("a list could not be rendered, readers who ask next will wait for it: %s", error)

    async def _feed_for_ever(self) -> None:
        while True:
            try:
                async with await AsyncConnection.connect(self.database_url, autocommit=True) as conn:
                    await self._feed(conn)
            except (psycopg.Error, OSError) as error:
                self.healthy = False
                LOG.warning("live updates wait for the database: %s", error)
                await asyncio.sleep(1)

    async def _feed(self, conn: Connection) -> None:
        await conn.execute(ALL)
        await conn.execute("LISTEN smartcare")
        while True:
            now = now_us()
            await self._poll(conn, now)
            self.healthy = True
            heard = [n async for n in conn.notifies(timeout=POLL_S, stop_after=1)]
            if heard:
                await asyncio.sleep(GATHER_S)

    async def _poll(self, conn: Connection, now: int) -> None:
        keys: set[str] = set()
        if self._after is None:
            row = await (await conn.execute(SQL["snapshot"])).fetchone()
            assert row is not None
            self._after = int(row[0])
            self.revision += 1
            self._forget()  # what was read before this moment may miss something
            self._wake_all()
        edge, wrong = self._after, self._wrong
        if now - self._looked_us >= LOOK_US:
            wrong, self._looked_us = (await health.read(conn, None)).by_shard(), now
        for kind, number, site in await (await conn.execute(SQL["live_changes"], {"after": str(self._after)})).fetchall():
            if kind == "edge":
                edge = number
            else:
                keys |= self._touched(kind, number, site)
        if wrong != self._wrong:
            keys |= await self._concerned(conn, [n for n in wrong | self._wrong if wrong.get(n) != self._wrong.get(n)])
        self._after, self._wrong = edge, wrong  # only now: had anything above failed, it would be asked again
        if now // MINUTE_US != self._minute:  # "18 minutes left" grows old by itself
            self._minute = now // MINUTE_US
            self._grow_old()
        if keys:
            self.touch(keys)
        if now - self._checked_us >= CHECK_US and self._tickets:
            self._checked_us = now
            await self._end_strangers(conn, now)

    async def _concerned(self, conn: Connection, shards: list[int]) -> set[str]:
        """Return the topics about sites of these shards; of many sites everything grows old instead."""
        sites = await (await conn.execute(SQL["sites_of_shards"], {"shards": shards, "most": MAX_SITES})).fetchall()
        if len(sites) > MAX_SITES:
            self._grow_old()
        some = {key for (site,) in sites[:MAX_SITES] for key in self._touched("site", 0, site)}
        return some | {topic_key("banner", WHOLE)}

    async def _end_strangers(self, conn: Connection, now: int) -> None:
        open_now = list(self._tickets)  # who comes while we ask is not asked about
        values = {"hashes": list({t.key for t in open_now}), "now_us": now, "idle_us": now - IDLE_US}
        live = {bytes(key) for (key,) in await (await conn.execute(SQL["live_sessions"], values)).fetchall()}
        for ticket in open_now:
            if ticket.key not in live:
                ticket.ended = True
                if ticket.channel:
                    ticket.channel.tell()

    def _touched(self, kind: str, number: int, site: int | None) -> set[str]:
        names = ("alerts",) if kind == "alert" else ("counters", "sites", "banner", "latest")
        parts = ["*", "*-", f"{site}", f"{site}-", *(key for key, sites in self._parts.items() if site in sites)]
        single = (f"alert:{number}", f"pending:{site}") if kind == "alert" else (f"site:{site}", f"banner:{site}", f"walk:{site}")
        return {f"{name}@{part}" for name in names for part in parts} | {key + end for key in single for end in ("", "-")}

    def _follow(self, part: Part) -> None:
        """Keep revisions of a part's lists from here on; what its sites had before counts for it."""
        if part.sites is None or part.key in self._parts:
            return
        self._parts[part.key] = frozenset(part.sites)
        for name in LISTS:
            before = max((self.latest(f"{name}@{site}") for site in part.sites), default=0)
            self._latest[topic_key(name, part)] = max(self.latest(topic_key(name, part)), before)

    async def shown(self, topics: Sequence[str], part: Part, lang: str) -> tuple[dict[str, str], str]:
        """Return the topics' HTML, old for less than STALE_S, and the position from which on a page has to hear the rest.

        Many readers who load a page while things change are served from one rendering, and do not wait for it.
        """
        self._follow(part)
        now, missing, found = asyncio.get_running_loop().time(), list[str](), dict[str, Rendered]()
        for topic in topics:
            known = self._fragments.get((topic_key(topic, part), lang))
            if known is None or (known.old_at is not None and now - known.old_at >= STALE_S):
                missing.append(topic)
                continue
            found[topic] = known  # kept here: while others are rendered it may be forgotten
            if known.old_at is not None and now - known.at >= known.rest_s(topic):
                self._stale[topic_key(topic, part), lang] = topic, part
                self._refresh.set()
        found |= await self.rendered(missing, part, lang)
        oldest = min((r.revision for r in found.values()), default=self.revision)
        return {topic: found[topic].html for topic in topics}, f"{self.boot}:{oldest}"

    async def rendered(self, topics: Sequence[str], part: Part, lang: str) -> dict[str, Rendered]:
        """Return lists, or single things, rendered at most once per revision and language for all readers of the same part."""
        async with AsyncExitStack() as held:
            for topic in sorted(topics):  # in one order, lest two wait for each other
                await held.enter_async_context(self._rendering[topic_key(topic, part), lang])
            found = {topic: self._fragments.get((topic_key(topic, part), lang)) for topic in topics}
            old = [t for t, known in found.items() if known is None or known.revision < self.latest(topic_key(t, part))]
            if old:
                single = Part(sites=None, persons=part.persons) if ":" in old[0] else part
                conn = await held.enter_async_context(within(self.pool, single))
            for topic in old:
                found[topic] = await self._render(conn, topic, part, lang)
            return {topic: made for topic, made in found.items() if made}

    async def _render(self, conn: Connection, topic: str, part: Part, lang: str) -> Rendered:
        key, revision, at = topic_key(topic, part), self.revision, asyncio.get_running_loop().time()
        html = await self.render(conn, topic, part, Say(lang, now_us()))
        took_s = asyncio.get_running_loop().time() - at
        made = Rendered(revision=revision, html=html, at=at, took_s=took_s, event=fragment(topic, html))
        made.old_at = at if self.latest(key) > revision else None
        self._fragments[key, lang] = made
        return made

    def open(self, key: bytes, part: Part) -> Ticket:
        """Admit a stream. Raises TooManyAttempts beyond the limits. `shut` it when it is over."""
        if len(self._tickets) >= MAX_STREAMS or sum(t.key == key for t in self._tickets) >= MAX_STREAMS_EACH:
            raise TooManyAttempts("too many live pages are open; close some", retry_after=30)
        ticket = Ticket(key, part)
        self._follow(part)
        self._tickets.add(ticket)
        return ticket

    def shut(self, ticket: Ticket) -> None:
        """Forget a stream."""
        self._tickets.discard(ticket)

    async def stream(self, ticket: Ticket, topics: list[str], lang: str, position: str) -> AsyncIterator[bytes]:
        """Yield server-sent events until the session ends: "fragment", "caught-up", "beat", "bye".

        Of several that go out together the last has the id: whoever was cut off in between hears them again.
        """
        boot, _, number = position.partition(":")
        start = int(number) if boot == self.boot and number.isdecimal() else -1
        sent, shown, caught_up = dict.fromkeys(topics, start), dict[str, str](), False
        channel = ticket.channel = self._channel(ticket.part, topics, lang)
        channel.join(start)
        beats = channel.beats
        try:
            yield b"retry: 2000\n\n"
            while not (self.closing or ticket.ended):
                told, news = channel.told, channel.news(sent, shown)
                waits = channel.waits(sent)
                if not (waits or caught_up):
                    caught_up = True
                    news.append(event("caught-up"))
                if news:
                    resume = min([self.revision, *(revision - 1 for revision in waits)])
                    news.insert(-1, f"id: {self.boot}:{resume}\n".encode())
                elif beats != channel.beats:
                    news.append(event("beat"))
                beats = channel.beats
                if news:
                    yield b"".join(news)
                else:
                    await told.wait()
        finally:
            channel.leave()
        if ticket.ended:
            yield event("bye")

    def _channel(self, part: Part, topics: list[str], lang: str) -> Channel:
        """Return the channel of these pages, running."""
        key = part.key, lang, tuple(sorted(topics))
        if key not in self._channels:
            made = Channel(self, part, lang, {topic: topic_key(topic, part) for topic in topics})
            self._channels[key] = made
            self._tasks.create_task(self._run_channel(key, made), name="api.channel")
        return self._channels[key]

    async def _run_channel(self, key: tuple[str, str, tuple[str, ...]], channel: Channel) -> None:
        try:
            await channel.run()
        finally:
            del self._channels[key]


def revision_of(position: str) -> int:
    """Return the number in a position of this process."""
    return int(position.partition(":")[2])


def topic_key(topic: str, part: Part) -> str:
    """What a topic's revision is kept under: the lists differ by what the reader may see, single things do not."""
    return topic + ("" if part.persons else "-") if ":" in topic else f"{topic}@{part.key}"
