"""T2 on a real database: once, in order, guarded, and back on its feet after anything."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from analytics.engine import Engine
from analytics.findings import Finding
from analytics.runner import QUEUE, Detects, Runner
from gateway.clock import SECOND_US, now_us
from ingest.columns import Batch
from tests.analytics.log import Log, register
from tests.scenarios.day import DOOR, SHARD, SITE, Day, inputs

EPOCH = 4
REGISTER = inputs(rules={"no_activity": {"limit_min": 900}})


class World:
    """A database, a scenario, and runners that can be stopped and started; its clock is told."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.db: psycopg.Connection[Any] = psycopg.connect(dsn, autocommit=True)
        self.db.execute("UPDATE shard SET epoch = %s WHERE id = %s", [EPOCH, SHARD])
        register(self.db, REGISTER, SHARD, endpoints=["city"])
        self.log = Log(self.db, SHARD)
        self.clock = now_us()
        self.day = Day(REGISTER, since="07:30")
        self.sent = 0
        self.epoch = EPOCH

    def runner(self, factory: Callable[[], Detects] = Engine) -> Runner:
        """A new process, as it were."""
        return Runner(self.dsn, lambda: {SHARD: self.epoch}, engine_factory=factory, now=lambda: self.clock)

    def store(self, leave: int = 0) -> list[Batch]:
        """Commit what the scenario has produced since the last call, all but the last `leave` batches."""
        until = len(self.day.batches) - leave
        fresh, self.sent = self.day.batches[self.sent : until], until
        return [self.log.store(b) for b in fresh]

    def one(self, query: str, *values: Any) -> Any:
        """Return the first row of a query."""
        return self.db.execute(query.encode(), values).fetchone()

    def all(self, query: str) -> list[Any]:
        """Return all rows of a query."""
        return self.db.execute(query.encode()).fetchall()

    def shard(self) -> tuple[int, int, int | None]:
        """Return (pos, analysed, failing since)."""
        row: tuple[int, int, int | None] = self.one("SELECT pos, analysed, failing_since_us FROM shard WHERE id = %s", SHARD)
        return row

    def until_left_open(self, leave: int = 0) -> list[Batch]:
        """A door opened in the morning and still open at half past five."""
        self.day.at("07:55").opens().alive_until("17:31", DOOR, every_min=50).at("17:32")
        return self.store(leave)


@pytest.fixture
async def world(dsn: str) -> AsyncIterator[World]:
    w = World(dsn)
    yield w
    w.db.close()


async def cycles(runner: Runner, *batches: Batch) -> None:
    """Offer batches and let the runner work once."""
    for batch in batches:
        runner.offer(batch)
    await runner.cycle()
    await runner.close()


async def test_offered_batches_become_one_alert_with_history_status_and_one_push(world: World) -> None:
    await cycles(world.runner(), *world.until_left_open())
    pos, analysed, failing = world.shard()
    assert (analysed, failing) == (pos, None)
    alert = world.one("SELECT rule, subject_kind, site, state, late, version, begin_us, evidence FROM alert")
    assert alert[:7] == ("left_open", "place", SITE, "open", False, 1, world.day.time("17:30"))
    assert alert[7][0][:2] == [1, 77]  # the door's event, by gateway and stream
    assert world.all("SELECT what, who FROM alert_change") == [("opened", "analyzer")]
    assert world.all("SELECT webhook_id, state FROM outbox") == [("evt_1_1_1", "pending")]
    state, detail = world.one("SELECT state, detail FROM site_status")
    assert (state, detail["base"], detail["places"][0]["state"]) == ("alert", "closed", "open")


async def test_a_runner_that_was_offered_nothing_reads_the_store(world: World) -> None:
    world.until_left_open()
    await cycles(world.runner())
    assert world.one("SELECT count(*) FROM alert") == (1,)
    assert world.shard()[0] == world.shard()[1]


async def test_missed_batches_are_read_from_the_store(world: World) -> None:
    batches = world.until_left_open()
    await cycles(world.runner(), batches[0], batches[-1])
    assert world.one("SELECT count(*) FROM alert") == (1,)


async def test_a_full_queue_drops_batches_and_loses_nothing(world: World) -> None:
    batches = world.until_left_open()
    await cycles(world.runner(), *(batches[:1] * QUEUE), *batches[-2:])
    assert world.one("SELECT count(*) FROM alert") == (1,)


async def test_a_restart_after_every_step_raises_nothing_twice_and_misses_nothing(world: World) -> None:
    world.day.beat_s = 3600
    world.day.at("07:55").opens().alive_until("17:25", DOOR, every_min=55).at("17:32").at("18:05").closes().at("18:20")
    for batch in world.day.batches:
        world.log.store(batch)
        await cycles(world.runner())
    assert world.all("SELECT what, version FROM alert_change ORDER BY id") == [("opened", 1), ("cleared", 2)]
    assert world.all("SELECT version, state FROM outbox ORDER BY id") == [(1, "superseded"), (2, "pending")]


async def test_a_checkpoint_is_taken_up_and_what_follows_replayed_in_silence(world: World) -> None:
    engines: list[Counting] = []

    def factory() -> Detects:
        engines.append(Counting())
        return engines[-1]

    first = world.runner(factory)
    await cycles(first, *world.until_left_open(leave=12))
    world.clock += 31 * SECOND_US
    checkpoint = world.store(leave=10)
    await cycles(first, *checkpoint)
    await cycles(first, *world.store())
    assert world.one("SELECT count(*) FROM alert") == (1,)
    assert world.one("SELECT pos FROM checkpoint") == (checkpoint[0].pos,)
    world.db.execute("DELETE FROM alert_change; DELETE FROM outbox; DELETE FROM alert")
    await cycles(world.runner(factory))
    assert engines[-1].loaded
    assert engines[-1].applied > 0
    assert world.one("SELECT count(*) FROM alert") == (0,)  # silence before the last T2


async def test_what_was_over_before_it_was_known_wakes_no_one(world: World) -> None:
    world.day.at("07:55").opens().alive_until("17:31", DOOR, every_min=50).at("18:10").closes()
    world.store()
    await cycles(world.runner())
    assert world.one("SELECT state, late, version, end_us FROM alert") == ("cleared", True, 1, world.day.time("18:10"))
    assert world.all("SELECT what FROM alert_change") == [("cleared",)]
    assert world.one("SELECT state FROM site_status") == ("closed",)


async def test_t2_does_not_commit_under_an_old_epoch(world: World) -> None:
    runner = world.runner()
    await cycles(runner, *world.until_left_open(leave=8))
    before = world.shard()
    world.db.execute("UPDATE shard SET epoch = epoch + 1 WHERE id = %s", [SHARD])
    await cycles(runner, *world.store())
    assert world.shard()[1] == before[1]
    assert world.one("SELECT count(*) FROM alert") == (0,)
    world.epoch += 1
    await cycles(runner)
    assert world.one("SELECT count(*) FROM alert") == (1,)


async def test_a_commit_whose_answer_was_lost_is_not_repeated(world: World, caplog: pytest.LogCaptureFixture) -> None:
    runner = world.runner()
    await cycles(runner, *world.until_left_open(leave=8))
    assert world.one("SELECT count(*) FROM alert") == (0,)
    late = world.store()
    await cycles(world.runner(), *late)  # stands for our own T2 that committed without our knowing
    assert world.one("SELECT count(*) FROM alert") == (1,)
    await cycles(runner, *late)
    assert "met another state" in caplog.text  # compare-and-set failed: the position is read again
    assert world.shard()[2] is None
    world.clock += 2 * SECOND_US
    await cycles(runner)
    assert world.all("SELECT what FROM alert_change") == [("opened",)]
    assert world.shard()[0] == world.shard()[1]


async def test_a_lost_connection_in_the_middle_is_taken_up_again(world: World) -> None:
    runner = world.runner()
    for batch in world.until_left_open(leave=8):
        runner.offer(batch)
    await runner.cycle()
    ended = world.one(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE application_name = 'smartcare analyzer' AND datname = current_database()"
    )
    assert ended == (1,)
    for batch in world.store():
        runner.offer(batch)
    await runner.cycle()
    world.clock += 2 * SECOND_US
    await runner.cycle()
    await runner.close()
    assert world.all("SELECT what FROM alert_change") == [("opened",)]
    assert world.shard()[2] is None


@dataclass
class Counting(Engine):
    """An engine that says what was done with it."""

    applied: int = 0
    loaded: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def apply(self, batch: Batch) -> list[Finding]:
        self.applied += 1
        return super().apply(batch)

    def load(self, shard: int, state: bytes) -> None:
        self.loaded = True
        super().load(shard, state)


@dataclass
class Broken(Counting):
    """An engine that raises until it is repaired."""

    repaired: list[bool] = field(default_factory=list)

    def apply(self, batch: Batch) -> list[Finding]:
        if not self.repaired:
            raise ZeroDivisionError("by intent")
        return super().apply(batch)


async def test_an_engine_that_raises_is_shown_and_caught_up_once_repaired(world: World) -> None:
    repaired: list[bool] = []
    runner = world.runner(lambda: Broken(repaired=repaired))
    began = world.clock
    await cycles(runner, *world.until_left_open())
    pos, analysed, failing = world.shard()
    assert (analysed, failing) == (0, began)
    assert pos > 0  # T1 never noticed
    world.clock += 2 * SECOND_US
    await cycles(runner)
    assert world.shard()[2] == began  # since the first failure
    assert "by intent" in world.one("SELECT failure FROM shard WHERE id = %s", SHARD)[0]
    repaired.append(True)
    await cycles(runner)
    assert world.shard()[1] == 0  # its backoff is not over
    world.clock += 3 * SECOND_US
    await cycles(runner)
    assert world.shard() == (pos, pos, None)
    assert world.one("SELECT count(*) FROM alert") == (1,)


async def test_run_wakes_on_an_offer_and_ends_when_cancelled(world: World) -> None:
    batches = world.until_left_open()
    runner = world.runner()
    world.db.execute("LISTEN smartcare")
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(runner.run())
        runner.offer(batches[-1])
        heard = await asyncio.to_thread(lambda: next(world.db.notifies(timeout=20, stop_after=1)))
        assert heard.channel == "smartcare"
        running.cancel()
