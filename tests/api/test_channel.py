"""Channels and the pool of connections: what many pages share, and what it costs them."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import psycopg

from api.accounts import WHOLE, Part
from api.scope import make_pool, within
from api.web import live
from api.web.channel import BEAT_S, LONG, LONG_S, REST_S, SLOW_S, Channel, Rendered, fragment
from api.web.i18n import Say


@dataclass(slots=True)
class Hub:
    """Renders what it is told to, and counts."""

    revisions: dict[str, int] = field(default_factory=lambda: {"sites@*": 1, "alerts@*": 1})
    healthy: bool = True
    fails: int = 0
    made: list[str] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def latest(self, key: str) -> int:
        return self.revisions[key]

    async def rendered(self, topics: Any, part: Part, lang: str) -> dict[str, Rendered]:
        if self.fails:
            self.fails -= 1
            raise psycopg.OperationalError("the database is away")
        self.made += topics
        return {t: made(self.revisions[f"{t}@*"], html=f"{t} {self.revisions[f'{t}@*']}") for t in topics}


def made(revision: int, html: str = "x", took_s: float = 0.0) -> Rendered:
    return Rendered(revision=revision, html=html, at=0.0, took_s=took_s, event=fragment("sites", html))


def channel(hub: Hub) -> Channel:
    return Channel(hub, WHOLE, "zh", {"sites": "sites@*", "alerts": "alerts@*"})


async def told(shared: Channel) -> None:
    async with asyncio.timeout(60):
        await shared.told.wait()


async def test_pages_that_follow_the_same_share_one_rendering_and_each_hears_what_it_has_not_had() -> None:
    hub = Hub()
    shared = channel(hub)
    async with asyncio.TaskGroup() as tasks:
        for revision in (-1, -1, 1):
            shared.join(revision)
        tasks.create_task(shared.run())
        await told(shared)
        new: dict[str, int] = dict.fromkeys(shared.keys, -1)
        shown: dict[str, str] = {}
        assert shared.waits(new) == [1, 1]
        assert len(shared.news(new, shown)) == 2
        assert (shared.waits(new), shared.news(new, shown)) == ([], [])
        assert shared.news(dict.fromkeys(shared.keys, 1), {}) == []  # that page was loaded with all of it
        hub.revisions["alerts@*"] = 2
        shared.wake()
        await told(shared)
        assert [b"alerts 2" in event for event in shared.news(new, shown)] == [True]
        assert sorted(hub.made) == ["alerts", "alerts", "sites"]
        for _ in range(3):
            shared.leave()


async def test_what_cannot_be_rendered_is_tried_again_and_ends_no_page() -> None:
    hub = Hub(fails=1)
    shared = channel(hub)
    async with asyncio.TaskGroup() as tasks:
        shared.join(-1)
        tasks.create_task(shared.run())
        while set(hub.made) != {"sites", "alerts"}:
            await told(shared)
        shared.leave()


def test_a_list_rests_the_longer_the_more_it_costs_and_alerts_do_not() -> None:
    assert made(1).rest_s("sites") == SLOW_S
    assert made(1, took_s=0.3).rest_s("sites") == 3.0
    assert made(1, took_s=9).rest_s("banner") == REST_S < BEAT_S
    assert made(1, html="x" * LONG).rest_s("sites") == LONG_S
    assert made(1, took_s=9).rest_s("alerts") < SLOW_S
    assert made(1, html="x" * LONG).rest_s("alerts") == SLOW_S


async def test_a_connection_that_the_server_has_ended_is_not_lent(dsn: str) -> None:
    async with make_pool(dsn, 1) as pool:
        async with within(pool) as conn:
            first = conn.info.backend_pid
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as other:
            await other.execute("SELECT pg_terminate_backend(%s, 10000)", [first])
        async with within(pool) as conn:
            assert conn.info.backend_pid != first


async def test_what_a_page_is_shown_is_kept_while_the_rest_of_it_is_rendered(dsn: str) -> None:
    async def render(_conn: live.Connection, topic: str, _part: Part, _say: Say) -> str:
        if topic == "latest":
            hub._fragments.clear()  # as at the turn of a minute, where they are old
        return topic

    async with make_pool(dsn, 1) as pool:
        hub = live.Hub(dsn, pool, render)
        await hub.shown(["counters"], WHOLE, "zh")
        shown, _ = await hub.shown(["counters", "latest"], WHOLE, "zh")
    assert shown == {"counters": "counters", "latest": "latest"}
