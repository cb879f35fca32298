"""History into a file, and to a broker and a gateway: what is said in a story is there, whoever posts and whoever publishes."""

import asyncio
import base64
import json
from pathlib import Path

import pytest

from firmware_sim.backfill import BrokerGone, backfill, to_broker, to_file
from firmware_sim.doors import FORM as FORM_TYPE
from firmware_sim.posts import read_addresses
from firmware_sim.scenario import load
from firmware_sim.virtual import Delivery, play
from gateway.addresses import beside
from gateway.events import Kind
from smartcare.embedded import nats
from tests.gateway.codecs.test_ha03 import DOOR, FORM
from tests.gateway.test_listener import gateway, kinds

POSTED = Delivery(at_us=1, gateway="g", topic="", payload=FORM, identity=DOOR, content_type=FORM_TYPE)


def test_a_file_has_every_message_of_the_story_in_order(tmp_path: Path) -> None:
    with to_file(tmp_path / "history.jsonl") as sink:
        sent = backfill(load("intruder"), sink)
    lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    told = [item for item in play(load("intruder")) if isinstance(item, Delivery)]
    assert len(lines) == sent == len(told)
    assert [(x["at_us"], x["topic"], base64.b64decode(x["payload"]), x.get("identity", "")) for x in lines] == [
        (d.at_us, d.topic, d.payload, d.identity) for d in told
    ]
    assert {bool(d.identity) for d in told} == {True, False}


async def test_what_a_device_posts_goes_to_its_address_and_nowhere_else(broker: nats.Broker, tmp_path: Path) -> None:
    url = broker.url(nats.DEVICE_BUS)

    def send(posts: dict[str, str]) -> None:
        with to_broker(url, posts) as sink:
            sink(POSTED)

    async with gateway(tmp_path) as g:
        g.addresses.add(*DOOR.split("/"))
        posts = read_addresses(beside(g.spool), str(g.client.base_url))
        await asyncio.to_thread(send, posts)
        await asyncio.to_thread(send, {})
    assert kinds(g.spool).count((DOOR, Kind.CONTACT)) == 1
    with pytest.raises(BrokerGone, match="nobody answers"):
        await asyncio.to_thread(send, posts)
