"""The worker whole: a real broker, a real database, frames in, answers and rows out."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiomqtt
import psycopg
import pytest

from gateway.clock import now_us
from gateway.wire import Answer, Blind, Config, Down, Heartbeat, Refusal, decode_down, encode_message, stream_text, topic_down
from ingest import register
from ingest.columns import Batch
from ingest.inputs import decode
from ingest.reading import Message
from ingest.shards import Shards
from ingest.worker import WorkerConfig, run
from smartcare.embedded import nats
from tests.ingest.conftest import town_rows
from tests.ingest.frames import Sender, contact, stored

Conn = psycopg.Connection[Any]


class Running:
    """A worker in this event loop, and one gateway's connection."""

    def __init__(self, client: aiomqtt.Client, code: str, shard: int) -> None:
        self.client, self.down = client, topic_down(shard, code)
        self.batches: list[Batch] = []
        self.changed = asyncio.Condition()

    async def hear(self, wanted: Callable[[Down], bool]) -> Down:
        """Wait for something wanted from the backend."""
        async with asyncio.timeout(20):
            async for message in self.client.messages:
                assert isinstance(message.payload, bytes)
                if wanted(said := decode_down(message.payload)):
                    return said
        raise AssertionError("unreachable")

    async def ask(self, wanted: Callable[[Down], bool], *messages: Message) -> Down:
        """Say something until it is answered, as a gateway does: on a busy machine the broker may drop it."""
        async with asyncio.timeout(60):
            while True:
                for message in messages:
                    await self.say(message)
                with suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        return await self.hear(wanted)

    async def say(self, message: Message) -> None:
        """Publish on the gateway's topic."""
        await self.client.publish(message.topic, message.payload, qos=0)

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait for a committed batch to make something true."""
        async with asyncio.timeout(60), self.changed:
            await self.changed.wait_for(true)


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[nats.Broker]:
    """A broker that knows the gateway from its start: a reload would only be heard some time later."""
    fresh = nats.Broker(tmp_path / "broker")
    fresh.add_gateway("gw-hc01", 3)
    with fresh:
        yield fresh


@asynccontextmanager
async def running(dsn: str, broker: nats.Broker, lost_after_s: float = 60) -> AsyncIterator[Running]:
    """Run a worker until the end of the block."""
    code, shard = "gw-hc01", 3
    ready = asyncio.Event()
    config = WorkerConfig(database_url=dsn, mqtt_url=broker.url(nats.WORKER), lost_after_s=lost_after_s, shards=range(8))
    async with aiomqtt.Client("127.0.0.1", broker.port, username=code, password=broker.password(code)) as client:
        gateway = Running(client, code, shard)
        await client.subscribe(gateway.down)

        def sink(batch: Batch) -> None:
            gateway.batches.append(batch)
            tasks.create_task(tell())

        async def tell() -> None:
            async with gateway.changed:
                gateway.changed.notify_all()

        async with asyncio.TaskGroup() as tasks:
            worker = tasks.create_task(run(config, sink, lambda owned: ready.set()))
            async with asyncio.timeout(20):
                await ready.wait()
            yield gateway
            worker.cancel()


def epoch_of(conn: Conn) -> int:
    """Return the present epoch of the town's shard."""
    return int(conn.execute("SELECT max(epoch) FROM shard").fetchall()[0][0])


def someone_waits_for(table: str, dsn: str) -> None:
    """Return once some session waits for the lock of a table."""
    end = time.monotonic() + 60
    with psycopg.connect(dsn, autocommit=True) as conn:
        while not conn.execute("SELECT FROM pg_locks WHERE NOT granted AND relation = %s::regclass", [table]).fetchall():
            assert time.monotonic() < end
            time.sleep(0.05)


def is_answer(seq: int) -> Callable[[Down], bool]:
    return lambda said: isinstance(said, Answer) and said.seq == seq


async def test_frames_become_rows_and_are_answered(conn: Conn, dsn: str, broker: nats.Broker, town: dict[str, int]) -> None:
    del town
    at = now_us()
    sender = Sender(since_us=at - 60_000_000)
    async with running(dsn, broker) as gateway:
        frames = [sender.frame(contact(at + i, i % 2), through_us=at + i) for i in range(20)]
        said = await gateway.ask(is_answer(20), *frames)
        assert said == Answer(epoch=epoch_of(conn), stream=stream_text(sender.stream), seq=20, window=1024 * 1024)
    assert stored(conn, "t_us") == [at + i for i in range(20)]
    assert sum(len(b.rows) for b in gateway.batches) == 20
    first = next(b for b in gateway.batches if b.shard == 3)
    assert first.inputs is not None
    assert [s.code for s in decode(first.inputs).sites] == ["HC01"]


async def test_heartbeats_bring_coverage_blind_spans_and_the_configuration(
    conn: Conn, dsn: str, broker: nats.Broker, town: dict[str, int]
) -> None:
    at = now_us()
    beat = Heartbeat(
        stream=stream_text(5),
        seq=0,
        since_us=at - 9,
        through_us=at,
        sent_us=at,
        blind=[Blind(source="lora/", from_us=at - 9, reason="chirpstack")],
    )
    async with running(dsn, broker) as gateway:
        await gateway.say(Sender().message(encode_message(beat)))
        config = await gateway.hear(lambda said: isinstance(said, Config))
        await gateway.until(lambda: any(b.coverage for b in gateway.batches))
    assert isinstance(config, Config)
    assert [p.local_id for p in config.persons] == ["17"]
    covered = conn.execute("SELECT gateway, stream, from_us, through_us FROM coverage").fetchall()
    assert covered == [(town["gw:gw-hc01"], 5, at - 9, at)]
    assert conn.execute("SELECT source, to_us FROM blind").fetchall() == [("lora/", None)]


async def test_a_stranger_is_refused_until_the_register_knows_them(conn: Conn, dsn: str, broker: nats.Broker) -> None:
    sender = Sender(since_us=now_us())
    frame = sender.frame(contact(now_us(), 1), through_us=now_us())
    async with running(dsn, broker) as gateway:
        refusal = await gateway.ask(lambda said: isinstance(said, Refusal), frame)
        assert isinstance(refusal, Refusal)
        assert refusal.reason == "unknown_gateway"
        assert "gw-hc01" in refusal.message
        register.load(conn, town_rows(), now_us())
        await gateway.until(lambda: any(b.inputs for b in gateway.batches))
        await gateway.ask(is_answer(1), frame)
    assert len(stored(conn)) == 1


async def test_frames_are_stored_while_a_changed_register_is_still_being_read(
    conn: Conn, dsn: str, broker: nats.Broker, town: dict[str, int]
) -> None:
    del town
    at = now_us()
    sender = Sender(since_us=at - 60_000_000)
    async with running(dsn, broker) as gateway:
        await gateway.ask(is_answer(1), sender.frame(contact(at, 1), through_us=at))
        with psycopg.connect(dsn) as held:
            held.execute("LOCK TABLE closure IN ACCESS EXCLUSIVE MODE")  # whoever compiles the register waits for this
            conn.execute("UPDATE site SET name = 'changed'")
            register.raise_version(conn)
            await asyncio.to_thread(someone_waits_for, "closure", dsn)
            await gateway.ask(is_answer(2), sender.frame(contact(at + 1, 0), through_us=at + 1))
        await gateway.until(lambda: any(b.inputs and b'"name":"changed"' in b.inputs for b in gateway.batches))


async def test_a_gateway_that_falls_silent_is_lost_and_comes_back(
    conn: Conn, dsn: str, broker: nats.Broker, town: dict[str, int]
) -> None:
    sender = Sender(since_us=now_us())
    mine = town["gw:gw-hc01"]

    def told(gateway: Running) -> list[bool]:
        return [v.alive for b in gateway.batches for v in b.liveness if v.gateway == mine]

    async with running(dsn, broker, lost_after_s=2) as gateway:
        await gateway.say(sender.frame(contact(now_us(), 1), through_us=now_us()))
        await gateway.until(lambda: told(gateway)[:1] == [True])
        await gateway.until(lambda: told(gateway)[:2] == [True, False])
        await gateway.say(sender.frame(contact(now_us(), 0), through_us=now_us()))
        await gateway.until(lambda: told(gateway)[:3] == [True, False, True])
    assert stored_liveness(conn, mine)[:3] == [True, False, True]


def stored_liveness(conn: Conn, gateway: int) -> list[bool]:
    return [a for (a,) in conn.execute("SELECT alive FROM liveness WHERE gateway = %s ORDER BY pos", [gateway]).fetchall()]


async def test_losing_every_connection_to_the_database_raises_the_epoch_and_loses_nothing(
    conn: Conn, dsn: str, broker: nats.Broker, town: dict[str, int]
) -> None:
    del town
    at = now_us()
    sender = Sender(since_us=at)
    async with running(dsn, broker) as gateway:
        frames = [sender.frame(contact(at + i, i % 2), through_us=at + i) for i in range(3)]
        await gateway.say(frames[0])
        first = await gateway.hear(is_answer(1))
        assert isinstance(first, Answer)
        conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'smartcare %'")

        said = await gateway.ask(is_answer(3), *frames[1:])
        assert isinstance(said, Answer)
        assert said.epoch == epoch_of(conn) > first.epoch
    assert stored(conn, "t_us") == [at, at + 1, at + 2]


async def test_a_broker_that_restarts_is_found_again_and_meanwhile_nobody_is_lost(
    conn: Conn, dsn: str, broker: nats.Broker, town: dict[str, int]
) -> None:
    at = now_us()
    sender = Sender(since_us=at)
    async with running(dsn, broker, lost_after_s=2) as gateway:
        await gateway.say(sender.frame(contact(at, 1), through_us=at))
        await gateway.hear(is_answer(1))
        await asyncio.to_thread(broker.stop)
        await asyncio.sleep(3)  # liveness runs on the wall clock: longer than it takes to be lost
        assert stored_liveness(conn, town["gw:gw-hc01"]) == [True]
        await asyncio.to_thread(broker.start)
        frame = sender.frame(contact(at, 0), through_us=at)
        async with aiomqtt.Client("127.0.0.1", broker.port, username="gw-hc01", password=broker.password("gw-hc01")) as client:
            again = Running(client, "gw-hc01", 3)
            await client.subscribe(again.down)
            await again.ask(is_answer(2), frame)


def test_a_database_restored_from_a_backup_begins_above_every_epoch_that_was_seen(conn: Conn, dsn: str) -> None:
    with Shards(dsn, "first") as shards:
        seen = shards.take([3])[0].epoch
    conn.execute("UPDATE shard SET epoch = 1 WHERE id = 3")  # the backup was made long ago
    with Shards(dsn, "second") as shards:
        assert shards.take([3])[0].epoch >= seen
        again = shards.owned[3].epoch
    with Shards(dsn, "third") as shards:
        assert shards.take([3])[0].epoch > again
