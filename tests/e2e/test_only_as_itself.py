"""A gateway speaks only as itself, on both brokers, whatever its firmware tries, and with the configuration that is shipped."""

import itertools
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from smartcare import broker_files
from smartcare.broker import WORKER, Folder, Kind, State
from smartcare.embedded import nats, process
from tests.e2e.brokers import Mosquitto

pytestmark = pytest.mark.e2e
UP_A, UP_B = "care/v1/7/gw-a/up", "care/v1/7/gw-b/up"
DOWN_A, DOWN_B = "care/v1/7/gw-a/down", "care/v1/7/gw-b/down"
TIMEOUT_S = 10


@pytest.fixture
def broker(broker_name: str, tmp_path: Path) -> Iterator[nats.Broker | Mosquitto]:
    """A broker of the uplink alone, with two gateways on one shard."""
    folder = tmp_path / "broker"
    state = State(kind=Kind(broker_name), port=process.free_port(), bus=False, users={})
    running: nats.Broker | Mosquitto
    if broker_name == "nats":
        Folder(folder).create(state)
        running = nats.Broker(folder)
    else:
        running = Mosquitto(folder, declared=state)
    for code in ("gw-a", "gw-b"):
        running.add_gateway(code, 7)
    running.start()
    yield running
    running.stop()


class Peer:
    """A connection that remembers what it heard and what became of it."""

    numbers = itertools.count()

    def __init__(
        self, url: str, listen: str = "", *, name: str = "", clean: bool = True, will: str = "", retain: bool = False
    ) -> None:
        user, rest = url.removeprefix("mqtt://").split(":", 1)
        secret, address = rest.rsplit("@", 1)
        name = name or f"peer-{next(self.numbers)}"
        self.client = mqtt.Client(CallbackAPIVersion.VERSION2, name, clean_session=clean, reconnect_on_failure=False)
        self.client.username_pw_set(user, secret)
        if will:
            self.client.will_set(will, b"a foreign will", retain=retain)
        self.heard: list[tuple[str, bytes]] = []
        self.news = threading.Condition()
        self.connected: bool | None = None
        self.granted: list[bool] | None = None
        self.client.on_message = lambda c, d, m: self._note(lambda: self.heard.append((m.topic, bytes(m.payload))))
        self.client.on_connect = lambda c, d, f, reason, p: self._note(lambda: self._set(connected=not reason.is_failure))
        self.client.on_disconnect = lambda c, d, f, reason, p: self._note(lambda: self._set(connected=False))
        self.client.on_subscribe = lambda c, d, m, rs, p: self._note(lambda: self._set(granted=[not r.is_failure for r in rs]))
        host, port = address.split(":")
        self.client.connect(host, int(port))
        self.client.loop_start()
        self.until(lambda: self.connected is not None)
        if listen and self.connected:
            self.client.subscribe(listen)
            self.until(lambda: self.granted is not None or not self.connected)

    def _set(self, **values: object) -> None:
        for name, value in values.items():
            setattr(self, name, value)

    def _note(self, what: object) -> None:
        with self.news:
            what()  # type: ignore[operator]
            self.news.notify_all()

    def until(self, condition: object) -> None:
        """Wait for it; fail after TIMEOUT_S."""
        with self.news:
            assert self.news.wait_for(condition, TIMEOUT_S), (self.heard, self.connected, self.granted)  # type: ignore[arg-type]

    def say(self, topic: str, payload: bytes, *, retain: bool = False, qos: int = 0) -> None:
        """Publish, and let it leave."""
        self.client.publish(topic, payload, qos=qos, retain=retain)

    def close(self) -> None:
        """Go in peace: no will."""
        self.client.disconnect()
        self.client.loop_stop()

    def die(self) -> None:
        """Go without a word, if it was let in: the will is published."""
        if sock := self.client.socket():
            sock.close()
        self.client.loop_stop()


@pytest.fixture
def peers(broker: nats.Broker | Mosquitto) -> Iterator[list[Peer]]:
    """Connections to be closed at the end."""
    del broker
    found: list[Peer] = []
    yield found
    for peer in found:
        peer.close()


def settle(broker: nats.Broker | Mosquitto, worker: Peer, known: bytes = b"honest") -> list[bytes]:
    """Let an honest gateway say something after all that was tried; return what the worker has heard by then."""
    honest = Peer(broker.url("gw-b"))
    honest.say(UP_B, known)
    worker.until(lambda: (UP_B, known) in worker.heard)
    honest.close()
    return [payload for _, payload in worker.heard]


def test_a_spoofed_topic_is_heard_by_nobody(broker: nats.Broker | Mosquitto, peers: list[Peer]) -> None:
    worker = Peer(broker.url(WORKER), "care/v1/+/+/up")
    other = Peer(broker.url("gw-b"), DOWN_B)
    peers += [worker, other]
    for topic in (UP_B, "care/v1/8/gw-a/up", "care/v1/7/gw-a/up/x", DOWN_A, DOWN_B, "care/v1/7//up"):
        liar = Peer(broker.url("gw-a"))
        liar.say(topic, b"a lie", qos=1)
        liar.say(UP_A, topic.encode())
        liar.close()
    assert b"a lie" not in settle(broker, worker)
    worker.say(DOWN_B, b"an answer")
    other.until(lambda: other.heard)
    assert other.heard == [(DOWN_B, b"an answer")]


def test_a_foreign_will_is_heard_by_nobody(broker: nats.Broker | Mosquitto, peers: list[Peer]) -> None:
    worker = Peer(broker.url(WORKER), "care/v1/+/+/up")
    other = Peer(broker.url("gw-b"), DOWN_B)
    peers += [worker, other]
    for topic, retain in itertools.product((UP_B, DOWN_B, DOWN_A), (False, True)):
        Peer(broker.url("gw-a"), will=topic, retain=retain).die()
    assert b"a foreign will" not in settle(broker, worker)
    later = Peer(broker.url("gw-b"), DOWN_B)
    peers.append(later)
    worker.say(DOWN_B, b"an answer")
    other.until(lambda: other.heard)
    later.until(lambda: later.heard)
    assert other.heard == later.heard == [(DOWN_B, b"an answer")]


def test_a_wildcard_shows_nothing_of_others(broker: nats.Broker | Mosquitto, peers: list[Peer]) -> None:
    worker = Peer(broker.url(WORKER), "care/v1/+/+/up")
    filters = ("#", "care/#", "care/v1/7/+/down", "care/v1/+/+/up", DOWN_B, UP_B, "$SYS/#", "$MQTT/#")
    curious = [Peer(broker.url("gw-a"), listen) for listen in filters]
    own = Peer(broker.url("gw-a"), DOWN_A)
    peers += [worker, own, *curious]
    worker.say(DOWN_B, b"for another")
    settle(broker, worker)
    worker.say(DOWN_A, b"for you")
    own.until(lambda: own.heard)
    assert {topic for peer in curious for topic, _ in peer.heard} <= {DOWN_A}


def test_a_retained_message_is_kept_for_nobody_else_and_a_large_one_ends_its_sender(
    broker: nats.Broker | Mosquitto, peers: list[Peer]
) -> None:
    worker = Peer(broker.url(WORKER), "care/v1/+/+/up")
    peers.append(worker)
    Peer(broker.url("gw-a")).say(DOWN_A, b"retained", retain=True)
    large = Peer(broker.url("gw-a"))
    large.say(UP_A, b"x" * (broker_files.UPLINK_BYTES + 1))
    large.until(lambda: not large.connected)
    assert not any(payload.startswith(b"x") for payload in settle(broker, worker))
    later = Peer(broker.url("gw-a"), DOWN_A)
    peers.append(later)
    worker.say(DOWN_A, b"live")
    later.until(lambda: later.heard)
    assert later.heard == [(DOWN_A, b"live")]


def test_who_takes_the_workers_client_id_gets_nothing_of_its(broker: nats.Broker | Mosquitto, peers: list[Peer]) -> None:
    for clean in (True, False):
        name = f"worker-{secrets.token_hex(4)}"
        worker = Peer(broker.url(WORKER), "care/v1/+/+/up", name=name)
        thief = Peer(broker.url("gw-a"), DOWN_A, name=name, clean=clean)
        again = Peer(broker.url(WORKER), "care/v1/+/+/up")  # a lost connection is replaced by one with another random name
        peers += [worker, thief, again]
        settle(broker, again)
        assert thief.heard == []


def test_a_stranger_a_wrong_secret_and_nobody_are_not_let_in(broker: nats.Broker | Mosquitto, peers: list[Peer]) -> None:
    at = f"127.0.0.1:{broker.port}"
    for user in ("gw-a:wrong", "gw-x:wrong", ":", f"gw-b:{broker.url('gw-a').split(':')[2].split('@')[0]}"):
        peer = Peer(f"mqtt://{user}@{at}")
        peers.append(peer)
        assert not peer.connected
