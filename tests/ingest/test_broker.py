"""The worker's connection on a real broker: what it hears and says, and how its end is told."""

import asyncio

import aiomqtt
import pytest

from gateway.wire import topic_down, topic_up
from ingest.broker import BrokerAway, connected
from smartcare.embedded import nats

UP = "care/v1/+/+/up"


def gateway(broker: nats.Broker, code: str) -> aiomqtt.Client:
    """Return a gateway's connection, still closed."""
    return aiomqtt.Client("127.0.0.1", broker.port, username=code, password=broker.password(code))


@pytest.fixture
def broker(broker: nats.Broker) -> nats.Broker:
    """A broker that knows one gateway from its start."""
    broker.stop()
    broker.add_gateway("gw-1", 5)
    broker.start()
    return broker


async def test_what_a_gateway_says_is_heard_and_answered(broker: nats.Broker) -> None:
    heard: asyncio.Queue[tuple[str, bytes]] = asyncio.Queue()
    payloads = [b"x" * n for n in (1, 200, 20_000, 3_000_000, 7)]
    async with (
        asyncio.timeout(20),
        connected(broker.url(nats.WORKER), UP, lambda *m: heard.put_nowait(m)) as link,
        gateway(broker, "gw-1") as g,
    ):
        await g.subscribe(topic_down(5, "gw-1"))
        for payload in payloads:
            await g.publish(topic_up(5, "gw-1"), payload)
        assert [await heard.get() for _ in payloads] == [(topic_up(5, "gw-1"), payload) for payload in payloads]
        link.publish(topic_down(5, "gw-1"), b"thanks")
        assert (await anext(aiter(g.messages))).payload == b"thanks"


async def test_a_broker_that_stops_is_noticed_and_what_is_said_afterwards_is_dropped(broker: nats.Broker) -> None:
    async with asyncio.timeout(20), connected(broker.url(nats.WORKER), UP, lambda *m: None) as link:
        await asyncio.to_thread(broker.stop)
        await link.lost()
        link.publish(topic_down(5, "gw-1"), b"too late")


async def test_a_broker_that_is_not_there_or_does_not_know_us_is_away(broker: nats.Broker) -> None:
    wrong = broker.url(nats.WORKER).replace(broker.password(nats.WORKER), "wrong")
    for url in (wrong, broker.url("gw-1")):
        with pytest.raises(BrokerAway, match=str(broker.port)):
            async with asyncio.timeout(20), connected(url, UP, lambda *m: None):
                pass
    await asyncio.to_thread(broker.stop)
    with pytest.raises(BrokerAway, match=str(broker.port)):
        async with asyncio.timeout(20), connected(broker.url(nats.WORKER), UP, lambda *m: None):
            pass
