"""Every model of device: what happens before it is what the gateway's codec understands of its bytes, once each."""

from importlib.resources import files
from pathlib import Path
from random import Random

import pytest

from firmware_sim.device import Connected, Face, Hold, Input, Pass, Report, Told
from firmware_sim.families import build_families, identity
from firmware_sim.models import MODELS, Spot, devices
from firmware_sim.play import LIVELY, SILENT
from gateway.codecs.contract import Message
from gateway.codecs.families import codecs
from gateway.events import Event, Flag, Kind, Result
from smartcare.trying import read_mapping
from tests.firmware_sim.test_posting import topic

S = 1_000_000
NOW = 1_790_000_000 * S  # 22:13:20 of a Monday in Haining
SEED, ZONE = 5, "Asia/Shanghai"
TOWN = build_families(SEED)
CODECS = codecs(ZONE, read_mapping(Path(str(files("firmware_sim") / "mapping.yaml"))))


def lives(model: str, *steps: list[Input]) -> list[Event]:
    """Let a device live through the steps, two seconds apart; returns what its gateway makes of it."""
    name = identity(SEED, model)
    rng, short = Random(1), name.partition("/")[2]
    spot = Spot(identity=name, name=short, town=TOWN, zone=ZONE, rng=rng, start_us=NOW, qos=0, pace=SILENT)
    device, memory, events = MODELS[model].make(spot), dict[str, int](), list[Event]()
    assert device.identity == name
    for n, inputs in enumerate(steps):
        at_us = NOW + 2 * n * S
        for output in device.update(at_us, inputs)[0]:
            (codec,) = [c for c in CODECS if c.matches(topic(name, output))]
            message = Message(topic=topic(name, output), payload=output.payload, received_us=at_us + S // 2)
            decoded = codec.decode(message, memory, {})
            assert decoded.reject is None
            assert bool(decoded.replies) or not output.content_type
            memory |= decoded.memory
            events += decoded.events
    assert {event.device for event in events} == {name}
    return events


def of(kind: str) -> list[str]:
    return [code for code, model in MODELS.items() if model.kind == kind]


@pytest.mark.parametrize("model", of("door"))
def test_a_door_opens_and_closes(model: str) -> None:
    events = lives(model, [Hold(open=False)], [Hold()], [Hold(open=False)])
    assert [(e.a, bool(e.flags & Flag.REPEAT)) for e in events if e.kind is Kind.CONTACT] == [(0, True), (1, False), (0, False)]


@pytest.mark.parametrize("model", of("counter"))
def test_a_counter_tells_who_passed(model: str) -> None:
    through: list[Input] = [Pass(inward=True, until_us=NOW), Pass(inward=True, until_us=NOW), Pass(inward=False, until_us=NOW)]
    events = lives(model, [Report()], [*through, Report()])
    assert [(e.a, e.b) for e in events if e.kind is Kind.COUNT_TOTAL] == [(0, 0), (2, 1)]


@pytest.mark.parametrize("model", of("terminal"))
def test_a_terminal_tells_whom_it_saw(model: str) -> None:
    events = lives(model, [Connected(up=True), Told(payload=b'{"operator":"Online-Ack"}'), Face(local_id="17")])
    assert [e.a for e in events if e.kind is Kind.PASSAGE] == [Result.ALLOWED]


@pytest.mark.parametrize("model", ["vs121", "vs350", "vs351"])
def test_totals_of_sixteen_bits_wrap(model: str) -> None:
    one: Input = Pass(inward=True, until_us=NOW)
    totals = [e for e in lives(model, [*[one] * 65_535, Report()], [one, one, Report()]) if e.kind is Kind.COUNT_TOTAL]
    assert [(e.a, bool(e.flags & Flag.WRAP16)) for e in totals] == [(65_535, True), (1, True)]


def test_the_log_of_a_door_has_strangers_too_and_attendance_has_not() -> None:
    come: list[Input] = [Face(local_id="")]
    assert [e.a for e in lives("zkdoor", come) if e.kind is Kind.PASSAGE] == [Result.STRANGER]
    assert not [e for e in lives("zk", come) if e.kind is Kind.PASSAGE]


def test_a_town_mounts_the_model_that_is_asked_for_and_else_the_usual_one() -> None:
    mounted = {d.identity: type(d) for site in TOWN.sites() for d in devices(TOWN, site, NOW, 0, LIVELY)}
    assert set(mounted) == {identity(SEED, code) for code in MODELS}
    usual = build_families(SEED)
    site = next(s for s in usual.sites() if s.code == "mqttface")
    (terminal,) = devices(usual, site, NOW, 0, LIVELY)
    assert type(terminal) is mounted[identity(SEED, "mqttface")]
    assert type(terminal) is not mounted[identity(SEED, "face")]
