"""The connections to the device bus: one client for the Zigbee bridge, one for ChirpStack, one for each terminal.

One decision: paho's own thread and memory, because a client that lives through a broker's restart sends again what was
not acknowledged (QoS 1), which is what a device's firmware does. Only the order is ours: paho would send what is published
between connecting and CONNACK before what it repeats, so after a loss new messages are held until all old ones are
acknowledged.
"""

import asyncio
import ssl
from collections import defaultdict, deque
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from firmware_sim.device import Connected, Output, Told

KEEPALIVE_S = 15
HEARD = 10_000


class Bus:
    """All connections. `heard` holds what arrived; when it is full, messages are dropped: devices repeat."""

    def __init__(self, url: str) -> None:
        self._url = urlsplit(url)
        self._loop = asyncio.get_running_loop()
        self._clients: dict[str, mqtt.Client] = {}
        self._unacknowledged: defaultdict[str, set[int]] = defaultdict(set)
        self._held: defaultdict[str, deque[Output]] = defaultdict(deque)
        self._up: set[str] = set()
        self._repeating: set[str] = set()
        self._settled = asyncio.Event()
        self.heard: asyncio.Queue[tuple[str, Connected | Told]] = asyncio.Queue(HEARD)

    def connect(self, link: str, *, will: Output | None = None, birth: Output | None = None, listen: Sequence[str] = ()) -> None:
        """Start a connection and keep it up; every time it comes up, listen to `listen` and publish `birth`."""
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=f"sim-{link.replace('/', '-')}-{id(self):x}")
        if self._url.username:
            client.username_pw_set(unquote(self._url.username), unquote(self._url.password or ""))
        if self._url.scheme == "mqtts":
            client.tls_set_context(ssl.create_default_context())
        if will:
            client.will_set(will.topic, will.payload, will.qos, will.retain)
        client.reconnect_delay_set(1, 5)
        client.max_queued_messages_set(0)

        def on_connect(client: mqtt.Client, _: Any, flags: Any, reason: Any, properties: Any) -> None:
            if reason.is_failure:
                return
            if listen:
                client.subscribe([(topic, 1) for topic in listen])
            if birth:
                client.publish(birth.topic, birth.payload, birth.qos, birth.retain)
            self._later(link, Connected(up=True))

        def on_disconnect(client: mqtt.Client, _: Any, flags: Any, reason: Any, properties: Any) -> None:
            self._later(link, Connected(up=False))

        def on_message(client: mqtt.Client, _: Any, message: mqtt.MQTTMessage) -> None:
            self._later(link, Told(payload=bytes(message.payload)))

        def on_publish(client: mqtt.Client, _: Any, mid: int, reason: Any, properties: Any) -> None:
            self._loop.call_soon_threadsafe(self._acknowledged, link, mid)

        client.on_connect, client.on_disconnect = on_connect, on_disconnect
        client.on_message, client.on_publish = on_message, on_publish
        self._clients[link] = client
        client.connect_async(self._url.hostname or "127.0.0.1", self._url.port or 1883, KEEPALIVE_S)
        client.loop_start()

    @property
    def all_up(self) -> bool:
        """Tell whether every connection is up."""
        return len(self._up) == len(self._clients)

    @property
    def unacknowledged(self) -> int:
        """Number of QoS 1 messages that the broker has not acknowledged."""
        return sum(map(len, self._unacknowledged.values())) + sum(map(len, self._held.values()))

    def publish(self, link: str, output: Output) -> None:
        """Publish; QoS 0 is lost while the connection is down, QoS 1 is sent again until it is acknowledged."""
        if output.qos:
            self._held[link].append(output)
            self._settled.clear()
            self._release(link)
        elif link in self._up:
            self._clients[link].publish(output.topic, output.payload, 0, output.retain)

    async def settled(self) -> None:
        """Wait until the broker has acknowledged everything."""
        if self.unacknowledged:
            await self._settled.wait()

    def close(self) -> None:
        """Disconnect as clients do that are switched off by hand: no will is sent."""
        for client in self._clients.values():
            client.disconnect()
        for client in self._clients.values():
            client.loop_stop()

    def _acknowledged(self, link: str, mid: int) -> None:
        self._unacknowledged[link].discard(mid)
        if not self._unacknowledged[link]:
            self._repeating.discard(link)
            self._release(link)
        if not self.unacknowledged:
            self._settled.set()

    def _release(self, link: str) -> None:
        while self._held[link] and link in self._up and link not in self._repeating:
            one = self._held[link].popleft()
            info = self._clients[link].publish(one.topic, one.payload, one.qos, one.retain)
            self._unacknowledged[link].add(info.mid)

    def _later(self, link: str, what: Connected | Told) -> None:
        self._loop.call_soon_threadsafe(self._take, link, what)

    def _take(self, link: str, what: Connected | Told) -> None:
        if isinstance(what, Connected):
            (self._up.add if what.up else self._up.discard)(link)
            if what.up and self._unacknowledged[link]:
                self._repeating.add(link)
            self._release(link)
        if not self.heard.full():
            self.heard.put_nowait((link, what))
