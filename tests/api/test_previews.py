"""What other numbers would have raised, computed beside the server over a real log."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
import pytest

from analytics.reasons import render
from analytics.replay import shards
from api.errors import NotFound, TooManyAttempts
from api.preview_job import Request
from api.previews import WAITING, Preview, Previews
from gateway.events import MAX_TIME_US
from tests.analytics.log import Log
from tests.analytics.log import register as enter
from tests.scenarios.day import DOOR, SHARD, Day, inputs

REGISTER = inputs(rules={"left_open": {"after_min": 45}})


def asked(dsn: str, **settings: dict[str, float]) -> Request:
    """A question about the stored day."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        enter(conn, REGISTER, SHARD)
        day = Day(REGISTER, since="05:00").at("07:55").opens().at("16:50").opens().alive_until("18:20", DOOR)
        log = Log(conn, SHARD)
        for batch in day.batches:
            log.store(batch)
        site = REGISTER.sites[0]
        return Request(
            database_url=dsn,
            shard=SHARD,
            last=dict(shards(conn))[SHARD],
            site=site.id,
            code=site.code,
            settings=settings,
            from_us=0,
            to_us=MAX_TIME_US,
        )


@asynccontextmanager
async def answered(previews: Previews, rule: str, request: Request) -> AsyncIterator[Preview]:
    """A preview that has ended."""
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(previews.run())
        preview = previews.start(rule, request)
        async with asyncio.timeout(30):
            await preview.ended.wait()
        yield preview
        running.cancel()


async def test_numbers_that_forgive_more_raise_less(dsn: str) -> None:
    async with answered(Previews(), "left_open", asked(dsn, left_open={"after_min": 300, "fresh_min": 10})) as preview:
        assert preview.state == "done"
        rules = [r["rule"] for r in preview.before]
        assert rules[-1] == "left_open"
        assert [r["rule"] for r in preview.after] == rules[:-1]
        assert "仍开着" in render("left_open", preview.before[-1]["reason"], "zh", "Asia/Shanghai")


async def test_a_preview_that_takes_too_long_is_ended_and_says_so(dsn: str) -> None:
    async with answered(Previews(longest_s=0.05), "left_open", asked(dsn, left_open={"after_min": 300})) as preview:
        assert preview.state == "long"


async def test_whoever_asks_too_much_waits_and_what_never_was_is_not_found() -> None:
    request = Request(database_url="", shard=0, last=0, site=1, code="x", settings={}, from_us=0, to_us=1)
    previews = Previews()
    for _ in range(WAITING):
        previews.start("left_open", request)
    with pytest.raises(TooManyAttempts):
        previews.start("left_open", request)
    with pytest.raises(NotFound):
        previews.find(99)
