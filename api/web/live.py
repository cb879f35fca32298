"""The live hub: learns from the database what has changed and tells every open page, queueing nothing per page.

    alert_change, site_status ──(xid8 below the oldest undecided transaction)──▶ revision per topic
                                                                                      │ rendered once per revision
    page A (has revision 12), page B (has 9) ◀── fragments of the topics that are newer ┘ and language, shared

One decision: the hub keeps only the latest revision per topic. A page that was away asks with the revision it has and
gets the present state of whatever is newer, so nothing can be missed and nothing can pile up. Revisions belong to this
process (`boot`); a page from another process or an earlier start gets everything once.
"""

import asyncio
import logging
import secrets
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import psycopg
from psycopg import AsyncConnection
from psycopg_pool import PoolTimeout

from api import health
from api.accounts import IDLE_US, WHOLE, Part
from api.errors import TooManyAttempts
from api.scope import ALL, Pool, within
from api.web.i18n import Say
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
BEAT_S = 15.0
MAX_TOPICS = 10_000
"""Revisions and fragments remembered; beyond, all are forgotten and every page is brought up to date once."""
FRESH_S, STALE_S = 1.0, 10.0
"""A page may be loaded with lists that are this old, and its stream brings the rest: after FRESH_S they are rendered again
behind its back, after STALE_S it waits for that."""
MAX_STREAMS = 2000
MAX_STREAMS_EACH = 20
INTERVAL_S = {"alerts": 0.25, "pending": 0.25, "alert": 0.25}
"""Shortest time between two updates of a topic; everything else waits `SLOW_S`."""
SLOW_S = 1.0
LONG, LONG_S = 40_000, 4.0
"""A fragment of more bytes (the list of a province) waits longer."""

Connection = AsyncConnection[Any]
Render = Callable[[Connection, str, Part, Say], Awaitable[str]]
"""(connection, topic, what the reader may see, language) → HTML of the fragment."""
LISTS = ("alerts", "counters", "sites", "banner", "latest")
"""Topics that differ by what the reader may see; those of a single thing do not."""


@dataclass(slots=True, eq=False)
class Ticket:
    """An open stream: whose it is, and whether it must close."""

    key: bytes
    part: Part
    ended: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Rendered:
    """A fragment as of a revision; at: loop time; data: what a stream sends of it, made once for all."""

    revision: int
    html: str
    at: float
    data: bytes


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
    _latest: dict[str, int] = field(default_factory=dict)
    _fragments: dict[tuple[str, str], Rendered] = field(default_factory=dict)
    _rendering: defaultdict[tuple[str, str], asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    _tickets: set[Ticket] = field(default_factory=set)
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
        return max(self._latest.get(key, 0), self._floor)

    def touch(self, keys: Iterable[str]) -> None:
        """Note that topics have changed, as one new revision."""
        self.revision += 1
        self._latest |= dict.fromkeys(keys, self.revision)
        if len(self._latest) > MAX_TOPICS:
            self._forget()
        self._ring()

    def close(self) -> None:
        """End every stream, for shutting down."""
        self.closing = True
        self._ring()

    def _forget(self) -> None:
        self._latest.clear()
        self._fragments.clear()
        self._floor = self.revision
        self._parts = {t.part.key: frozenset(t.part.sites) for t in self._tickets if t.part.sites is not None}

    def _grow_old(self) -> None:
        """Count everything as changed; what was rendered lately may still be shown to those who load a page."""
        self._latest.clear()
        self._floor = self.revision
        now = asyncio.get_running_loop().time()
        self._fragments = {key: r for key, r in self._fragments.items() if now - r.at < STALE_S}
        for key in [key for key, lock in self._rendering.items() if not lock.locked() and key not in self._fragments]:
            del self._rendering[key]

    def _ring(self) -> None:
        self._wake.set()
        self._wake = asyncio.Event()

    async def run(self) -> None:
        """Feed the hub for ever; a database that goes away is tried again, and nothing of the time between is missed."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_fresh(), name="api.fresh")
            await self._feed_for_ever()

    async def _keep_fresh(self) -> None:
        """Render again what readers were shown old."""
        while True:
            await self._refresh.wait()
            self._refresh.clear()
            while self._stale:
                (_, lang), (topic, part) = self._stale.popitem()
                try:
                    await self._rendered(topic, part, lang)
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
        edge, wrong = self._after, self._wrong
        if now - self._looked_us >= LOOK_US:
            wrong, self._looked_us = (await health.read(conn, None)).by_shard(), now
        for kind, number, site in await (await conn.execute(SQL["live_changes"], {"after": str(self._after)})).fetchall():
            if kind == "edge":
                edge = number
            else:
                keys |= self._touched(kind, number, site)
        if wrong != self._wrong:
            changed = {shard for shard in wrong | self._wrong if wrong.get(shard) != self._wrong.get(shard)}
            keys |= await self._sites_of(conn, changed) | {topic_key("banner", WHOLE)}
        self._after, self._wrong = edge, wrong  # only now: had anything above failed, it would be asked again
        if now // MINUTE_US != self._minute:  # "18 minutes left" grows old by itself
            self._minute = now // MINUTE_US
            self.revision += 1
            self._grow_old()
            self._ring()
        if keys:
            self.touch(keys)
        if now - self._checked_us >= CHECK_US and self._tickets:
            self._checked_us = now
            await self._end_strangers(conn, now)

    async def _sites_of(self, conn: Connection, shards: set[int]) -> set[str]:
        sites = await (await conn.execute(SQL["site_shards"])).fetchall()
        return {key for site, shard in sites if shard in shards for key in self._touched("site", 0, site)}

    async def _end_strangers(self, conn: Connection, now: int) -> None:
        values = {"hashes": [t.key for t in self._tickets], "now_us": now, "idle_us": now - IDLE_US}
        live = {bytes(key) for (key,) in await (await conn.execute(SQL["live_sessions"], values)).fetchall()}
        for ticket in self._tickets:
            ticket.ended = ticket.key not in live
        self._ring()

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
        """Return the topics' HTML, less than STALE_S old, and the position from which on a page has to hear the rest.

        Many readers who load a page while things change are served from one rendering a second, and do not wait for it.
        """
        self._follow(part)
        found = {}
        for topic in topics:
            key = topic_key(topic, part)
            known = self._fragments.get((key, lang))
            if known is None or known.revision < self.latest(key):
                age = asyncio.get_running_loop().time() - known.at if known else STALE_S
                if known is None or age >= STALE_S:
                    known = await self._rendered(topic, part, lang)
                elif age >= FRESH_S:
                    self._stale[key, lang] = topic, part
                    self._refresh.set()
            found[topic] = known
        oldest = min((r.revision for r in found.values()), default=self.revision)
        return {topic: r.html for topic, r in found.items()}, f"{self.boot}:{oldest}"

    async def _rendered(self, topic: str, part: Part, lang: str) -> Rendered:
        """Return a topic, rendered at most once per revision and language for all readers of the same part."""
        key = topic_key(topic, part)
        async with self._rendering[key, lang]:
            known = self._fragments.get((key, lang))
            if known and known.revision >= self.latest(key):
                return known
            revision, at = self.revision, asyncio.get_running_loop().time()
            async with within(self.pool, Part(sites=None, persons=part.persons) if ":" in topic else part) as conn:
                html = await self.render(conn, topic, part, Say(lang, now_us()))
            known = self._fragments[key, lang] = Rendered(revision=revision, html=html, at=at, data=encode(topic, html))
            return known

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
        """Yield server-sent events until the session ends: "fragment" (with id), "caught-up" and "beat" (without), "bye"."""
        boot, _, number = position.partition(":")
        part = ticket.part
        start = int(number) if boot == self.boot and number.isdecimal() else -1
        sent = dict.fromkeys(topics, start)
        shown: dict[str, str] = {}
        due_at = dict.fromkeys(topics, 0.0)
        clock = asyncio.get_running_loop().time
        beat_at, caught_up = clock() + BEAT_S, False
        yield b"retry: 2000\n\n"
        while not (self.closing or ticket.ended):
            wake, now = self._wake, clock()
            behind = [t for t in topics if self.latest(topic_key(t, part)) > sent[t]]
            for topic in behind:
                if due_at[topic] > now:
                    continue
                revision = self.revision
                made = await self._rendered(topic, part, lang)
                pause = LONG_S if len(made.data) > LONG else INTERVAL_S.get(topic.partition(":")[0], SLOW_S)
                sent[topic], due_at[topic] = revision, clock() + pause
                if shown.get(topic) != made.html:
                    shown[topic] = made.html
                    yield event("fragment", made.data, f"{self.boot}:{self._resume(sent, part)}")
            waiting = [due_at[t] for t in behind if self.latest(topic_key(t, part)) > sent[t]]
            if not (waiting or caught_up):
                caught_up = True
                yield event("caught-up", b"{}", f"{self.boot}:{self._resume(sent, part)}")
            if beat_at <= clock():
                beat_at = clock() + BEAT_S
                if self.healthy:  # without a database nothing is live: let the page notice
                    yield event("beat")
            await _wait(wake, min([beat_at, *waiting]) - clock())
        if ticket.ended:
            yield event("bye")

    def _resume(self, sent: dict[str, int], part: Part) -> int:
        """The revision up to which this page has everything: below the oldest change it still waits for."""
        waits = [self.latest(topic_key(t, part)) - 1 for t, has in sent.items() if self.latest(topic_key(t, part)) > has]
        return min([self.revision, *waits])


def topic_key(topic: str, part: Part) -> str:
    """What a topic's revision is kept under: the lists differ by what the reader may see, single things do not."""
    return topic + ("" if part.persons else "-") if ":" in topic else f"{topic}@{part.key}"


def encode(topic: str, html: str) -> bytes:
    """Return a fragment as the data of an event; JSON keeps it on one line."""
    return msgspec.json.encode({"topic": topic, "html": html})


def event(name: str, data: bytes = b"{}", identity: str = "") -> bytes:
    """Write one server-sent event."""
    head = f"id: {identity}\n" if identity else ""
    return f"{head}event: {name}\ndata: ".encode() + data + b"\n\n"


async def _wait(wake: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await wake.wait()
    except TimeoutError:
        pass
