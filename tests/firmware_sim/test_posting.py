"""Devices that post, and doors of other makes: the bytes say what the device means, once for each thing that happened."""

from random import Random

import pytest

from firmware_sim.device import Face, Hold, Output, Pass, Report, Told
from firmware_sim.doors import Ha03Door, LoraDoor
from firmware_sim.face import REPUSH_US
from firmware_sim.posting import HikCounter, MilesightPushCounter, PostingTerminal
from gateway.codecs.contract import Decoded, Message
from gateway.codecs.families import codecs
from gateway.codecs.request import topic_of
from gateway.events import Event, Flag, Kind, Result

S = 1_000_000
NOW = 1_790_000_000 * S  # 22:13:20 of a Monday in Haining
ZONE = "Asia/Shanghai"


def topic(identity: str, output: Output) -> str:
    """The topic that a codec sees."""
    if not output.content_type:
        return output.topic
    family, name = identity.split("/")
    path, _, query = output.topic.partition("?")
    return topic_of(family, name, path or "/", dict(pair.split("=") for pair in query.split("&") if pair))


def heard(identity: str, output: Output, memory: dict[str, int], received_us: int) -> Decoded:
    """What the gateway's codec makes of it; `memory` goes on."""
    message = Message(topic=topic(identity, output), payload=output.payload, received_us=received_us)
    (codec,) = [c for c in codecs(ZONE) if c.matches(message.topic)]
    decoded = codec.decode(message, memory, {})
    assert decoded.reject is None, decoded.reject
    if output.content_type:
        assert decoded.replies, "the device would say it for ever"
    memory.update(decoded.memory)
    return decoded


@pytest.mark.parametrize("door", [LoraDoor("24e124aabbccddee", Random(1), 7), Ha03Door("861234567890123", Random(1), zone=ZONE)])
def test_a_door_says_its_edges_with_its_own_time_and_a_key(door: LoraDoor | Ha03Door) -> None:
    memory: dict[str, int] = {}
    contacts: list[Event] = []
    for n, what in enumerate((Hold(open=False), Hold(), Hold(open=False))):
        (output,), _ = door.update(NOW + n * 5 * S, [what])
        events = heard(door.identity, output, memory, NOW + n * 5 * S + S // 2).events
        contacts += [e for e in events if e.kind is Kind.CONTACT]
        assert output.observation is not None
        assert contacts[-1].t_us == output.observation["t_us"] == NOW + n * 5 * S
    assert [(e.a, bool(e.flags & Flag.REPEAT)) for e in contacts] == [(0, True), (1, False), (0, False)]
    assert len({e.key for e in contacts}) == 3
    assert all(e.flags & Flag.HAS_KEY for e in contacts)


def test_a_pushing_counter_says_totals_and_the_period() -> None:
    counter = MilesightPushCounter("6771e2b490310007", Random(1), zone=ZONE)
    counter.update(NOW, [Pass(inward=True, until_us=NOW), Report()])
    (output,), _ = counter.update(NOW + 60 * S, [Pass(inward=True, until_us=0), Pass(inward=False, until_us=0), Report()])
    events = heard(counter.identity, output, {}, NOW + 61 * S).events
    assert [(e.kind, e.a, e.b, e.t_us) for e in events] == [
        (Kind.COUNT_TOTAL, 2, 1, NOW + 60 * S),
        (Kind.COUNT_PERIOD, 1, 1, NOW + 60 * S),
    ]


def test_a_camera_begins_anew_at_midnight() -> None:
    camera, totals = HikCounter("hall", Random(1), zone=ZONE), []
    for at in (NOW, NOW + 3600 * S, NOW + 3 * 3600 * S):  # 22:13, 23:13, 01:13
        (output,), _ = camera.update(at, [Pass(inward=True, until_us=at), Report()])
        (event,) = heard(camera.identity, output, {}, at).events
        assert event.flags & Flag.DAILY
        totals.append(event.a)
    assert totals == [1, 2, 1]


@pytest.mark.parametrize("family", ["hikaccess", "dahua", "zk", "face"])
def test_a_terminal_posts_its_oldest_record_until_it_is_answered(family: str) -> None:
    terminal = PostingTerminal(family, "5500001", 3, zone=ZONE, first=500)
    memory: dict[str, int] = {}
    outputs, _ = terminal.update(NOW, [Face(local_id="17"), Face(local_id=""), Face(local_id="18", refused=True)])
    first = outputs[-1]
    assert heard(terminal.identity, outputs[0], memory, NOW).events[0].kind is Kind.ALIVE
    (again,), _ = terminal.update(NOW + REPUSH_US + 1, [])
    assert (again.receipt, again.observation) == (first.receipt, None)
    assert terminal.update(NOW + REPUSH_US + 2, [Told(payload=b"another")])[0] == []
    said = [again]
    while said[-1].receipt:
        outputs, _ = terminal.update(NOW + REPUSH_US + 3 + len(said), [Told(payload=said[-1].receipt)])
        if not outputs:
            break
        said.append(outputs[-1])
    events = [heard(terminal.identity, one, memory, NOW + REPUSH_US + 20).events[0] for one in said]
    assert terminal.waiting == 0
    assert all(e.kind is Kind.PASSAGE and e.t_us == NOW for e in events)
    expected = [Result.ALLOWED, Result.STRANGER, Result.REFUSED if family in ("dahua", "face") else Result.STRANGER]
    if family == "zk":  # it keeps a record of those it let in, and of nobody else
        expected = [Result.ALLOWED]
    assert [e.a for e in events] == expected
    assert len({e.key for e in events}) == len(events)
