"""The worker's connection to the broker: one subscription through which a whole province speaks, QoS 0, clean session.

One decision: gmqtt, because a message costs a tenth of what it costs in the other clients, and the rest of the time is
ours. Its own way of coming back is not used: it keeps the session and does not subscribe again. A connection that was
lost stays lost, and whoever held it makes a new one.
"""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import gmqtt
from gmqtt.mqtt.constants import MQTTv311

from ingest.errors import IngestError

KEEPALIVE_S = 8  # a broker that is gone is noticed after twice that, long before the gateways' silence counts
TIMEOUT_S = 10

Receive = Callable[[str, bytes], None]
"""Takes topic and payload of a message, in the event loop."""


class BrokerAway(IngestError):
    """The broker cannot be reached, or does not let us in."""


class _Client(gmqtt.Client):  # type: ignore[misc]  # gmqtt has no types
    async def reconnect(self, delay: bool = False) -> None:
        """Do not."""


class Link:
    """A connection that has subscribed."""

    def __init__(self, receive: Receive) -> None:
        self._client = _Client(None)  # a random client id
        self._granted: asyncio.Future[tuple[int, ...]] = asyncio.get_running_loop().create_future()
        self._lost = asyncio.Event()

        def on_message(client: Any, topic: str, payload: bytes, qos: int, properties: Any) -> None:
            receive(topic, payload)

        def on_subscribe(client: Any, mid: int, granted: tuple[int, ...], properties: Any) -> None:
            if not self._granted.done():
                self._granted.set_result(granted)

        def on_disconnect(client: Any, packet: Any, exc: Any = None) -> None:
            self._lost.set()
            if not self._granted.done():
                self._granted.set_result(())

        self._client.on_message, self._client.on_subscribe = on_message, on_subscribe
        self._client.on_disconnect = on_disconnect

    def publish(self, topic: str, payload: bytes) -> None:
        """Send with QoS 0, without waiting; nothing happens where the connection is lost."""
        if not self._lost.is_set():
            self._client.publish(topic, payload, qos=0)

    async def lost(self) -> None:
        """Wait until the connection is lost."""
        await self._lost.wait()

    async def open(self, at: SplitResult, topic: str, ca_file: Path | None = None) -> None:
        """Connect and subscribe. Raises BrokerAway."""
        secure = at.scheme == "mqtts"
        if at.username:
            self._client.set_auth_credentials(unquote(at.username), unquote(at.password or ""))
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._client.connect(
                    at.hostname or "127.0.0.1",
                    at.port or (8883 if secure else 1883),
                    ssl=ssl.create_default_context(cafile=ca_file) if secure else False,
                    keepalive=KEEPALIVE_S,
                    version=MQTTv311,
                )
                self._client.subscribe(topic, qos=0)
                granted = await self._granted
        except (OSError, gmqtt.mqtt.handler.MQTTError) as e:  # TimeoutError is an OSError
            raise BrokerAway(f"no connection to {at.hostname}:{at.port}: {e or type(e).__name__}") from e
        if not granted:
            raise BrokerAway(f"{at.hostname}:{at.port} closed the connection; is {topic} allowed for {at.username}?")
        if granted[0] >= 0x80:
            raise BrokerAway(f"{at.hostname}:{at.port} does not let {at.username} subscribe to {topic}; check its permissions")

    async def close(self) -> None:
        """Disconnect, with a deadline."""
        with contextlib.suppress(OSError):
            async with asyncio.timeout(2):
                await self._client.disconnect()


@asynccontextmanager
async def connected(url: str, topic: str, receive: Receive, ca_file: Path | None = None) -> AsyncIterator[Link]:
    """Give a connection that has subscribed to `topic`. Raises BrokerAway if there is none to be had.

    ca_file: PEM of the authority that must have signed the certificate of an mqtts:// broker, None for the system's.
    """
    link = Link(receive)
    try:
        await link.open(urlsplit(url), topic, ca_file)
        yield link
    finally:
        await link.close()
