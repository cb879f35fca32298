"""A source speaks on the devices' bus only as itself, on both brokers, whatever its firmware tries."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.bus import session_name
from smartcare import broker_files, cli
from smartcare.broker import DEVICE_BUS, BrokerError, Folder, Kind, State
from smartcare.embedded import nats, process
from tests.e2e.brokers import Mosquitto
from tests.e2e.test_gateway_credentials import let_in
from tests.e2e.test_only_as_itself import Peer

pytestmark = pytest.mark.e2e
MINE, THEIRS = "mqtt/face/1/Rec", "mqtt/face/2/Rec"
Command = Callable[..., str]


@pytest.fixture
def broker(broker_name: str, tmp_path: Path) -> Iterator[nats.Broker | Mosquitto]:
    """A running broker that is the bus too."""
    state = State(kind=Kind(broker_name), port=process.free_port(), users={})
    running: nats.Broker | Mosquitto
    if broker_name == "nats":
        Folder(tmp_path / "broker").create(state)
        running = nats.Broker(tmp_path / "broker")
    else:
        running = Mosquitto(tmp_path / "broker", declared=state)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def source(broker: nats.Broker | Mosquitto, capsys: pytest.CaptureFixture[str]) -> Command:
    """Run `smartcare gateway source …` and return the address it gave out, if any."""

    def run(*arguments: str) -> str:
        with pytest.raises(SystemExit) as end:
            cli.main(["gateway", "source", *arguments, "--broker", str(broker.folder)])
        said = capsys.readouterr()
        assert end.value.code == 0, said.err
        url = next((line for line in said.out.splitlines() if line.startswith("mqtt://")), "")
        if url:
            let_in(url)
        return url

    return run


@pytest.fixture
def peers() -> Iterator[list[Peer]]:
    """Connections to be closed at the end."""
    found: list[Peer] = []
    yield found
    for peer in found:
        peer.close()


def test_a_source_is_heard_in_its_topics_and_in_no_others(
    broker: nats.Broker | Mosquitto, source: Command, peers: list[Peer]
) -> None:
    first, second = source("face-1", "--topic", "mqtt/face/1/#"), source("face-2", "--topic", "mqtt/face/2/#")
    gateway = Peer(broker.url(DEVICE_BUS), "mqtt/face/#")
    filters = ("#", "+/face/#", "mqtt/face/#", THEIRS, "mqtt/face/2/#", "zigbee2mqtt/#", "care/#", "$SYS/#", "$MQTT/#")
    curious = [Peer(first, listen) for listen in filters]
    peers += [gateway, *curious]
    for topic in (THEIRS, "mqtt/face/2", "zigbee2mqtt/door", "mqtt/face", "care/v1/7/gw-a/up"):
        for qos in (0, 1):
            liar = Peer(first)
            liar.say(topic, b"a lie", qos=qos)
            liar.say(topic, b"a lie", qos=qos, retain=True)
            liar.close()
    for topic, retain in itertools.product((THEIRS, "zigbee2mqtt/bridge/state"), (False, True)):
        Peer(first, will=topic, retain=retain).die()
    honest = Peer(second)
    peers.append(honest)
    honest.say(THEIRS, b"seen", qos=1)
    gateway.until(lambda: (THEIRS, b"seen") in gateway.heard)
    honest.say(THEIRS, b"kept", qos=1, retain=True)
    gateway.until(lambda: (THEIRS, b"kept") in gateway.heard)
    later = Peer(broker.url(DEVICE_BUS), "#")
    peers.append(later)
    later.until(lambda: (THEIRS, b"kept") in later.heard)
    said = {payload for peer in (gateway, later) for _, payload in peer.heard}
    assert said == {b"seen", b"kept"}
    assert [peer.heard for peer in curious] == [[]] * len(filters)


def test_a_source_hears_what_is_said_to_it_and_too_large_a_message_ends_it(
    broker: nats.Broker | Mosquitto, source: Command, peers: list[Peer]
) -> None:
    url = source("z2m", "--topic", "zigbee2mqtt/#", "--topic", "homeassistant/+/state")
    device, gateway = Peer(url, "zigbee2mqtt/+/set"), Peer(broker.url(DEVICE_BUS), "zigbee2mqtt/#")
    peers += [device, gateway]
    gateway.say("zigbee2mqtt/door/set", b"identify", qos=1)
    device.until(lambda: device.heard)
    device.say("zigbee2mqtt", b"the root of a/#", qos=1)
    gateway.until(lambda: ("zigbee2mqtt", b"the root of a/#") in gateway.heard)
    large = Peer(url)
    large.say("zigbee2mqtt/door", b"x" * (broker_files.BUS_BYTES + 1))
    large.until(lambda: not large.connected)
    device.say("zigbee2mqtt/door", b"small", qos=1)
    gateway.until(lambda: ("zigbee2mqtt/door", b"small") in gateway.heard)
    assert not any(payload.startswith(b"x") for _, payload in gateway.heard)


def test_who_takes_the_gateways_client_id_hears_nothing_of_its_and_cannot_guess_it(
    broker: nats.Broker | Mosquitto, source: Command, peers: list[Peer]
) -> None:
    url, bus = source("face-1", "--topic", "mqtt/face/1/#"), broker.url(DEVICE_BUS)
    name = session_name("gw-1", bus)
    assert name == session_name("gw-1", bus)
    assert len({name, session_name("gw-1", url), session_name("gw-2", bus), "smartcare-gw-1"}) == 4
    gateway = Peer(bus, "mqtt/face/#", name=name, clean=False)
    thief = Peer(url, "mqtt/face/1/#", name=name, clean=False)
    honest = Peer(bus, "mqtt/face/#")
    peers += [gateway, thief, honest]
    other = Peer(source("face-2", "--topic", "mqtt/face/2/#"))
    peers.append(other)
    other.say(THEIRS, b"seen", qos=1)
    honest.until(lambda: (THEIRS, b"seen") in honest.heard)
    assert thief.heard == []


def test_a_source_is_added_renewed_and_ended_while_others_stay(
    broker: nats.Broker | Mosquitto, source: Command, peers: list[Peer]
) -> None:
    gateway = Peer(broker.url(DEVICE_BUS), "mqtt/#")
    old = source("face-1", "--topic", "mqtt/face/1/#")
    peer = Peer(old)
    peers += [gateway, peer]
    new = source("face-1", "--topic", "mqtt/face/1/#")
    peer.until(lambda: not peer.connected)
    let_in(old, wanted=False)
    source("face-1", "--end")
    let_in(new, wanted=False)
    assert gateway.connected


@pytest.mark.parametrize("topic", ["#", "+/x", "care/v1/7/gw-a/up", "a.b", "a/*", "a/>", "$SYS/x", "a b", "a/#/b", "a/b#", ""])
def test_a_topic_that_brokers_read_differently_or_that_is_everybodys_is_refused(topic: str, tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.create(State(port=1, users={}))
    with pytest.raises(BrokerError):
        folder.source("face-1", [topic])
    assert not folder.state().sources


def test_a_source_takes_no_users_name_and_no_gateway_a_sources(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.create(State(port=1, users={}))
    folder.add("gw-1", 7)
    for name in ("gw-1", "worker", "bus", "a.b"):
        with pytest.raises(BrokerError):
            folder.source(name, ["x/#"])
    folder.source("face-1", ["x/#"])
    with pytest.raises(BrokerError):
        folder.add("face-1", 7)
    with pytest.raises(BrokerError):
        folder.end_source("face-2")
