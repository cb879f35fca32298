"""The near side: MQTT to the devices, as a persistent session whose messages are acknowledged only when spooled.

One decision: time is stamped and the message queued under one lock, so that "everything received until then" is a true
statement; and a full queue stops the network thread, so that the broker keeps what we cannot take.

    paho's thread → Inbox (bounded) → Bus.take → codecs → spool → Bus.reply, Bus.done
"""

import asyncio
import collections
import contextlib
import hashlib
import logging
import ssl
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote, urlsplit

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from gateway.clock import SECOND_US
from gateway.codecs.contract import Message, Reply

log = logging.getLogger(__name__)

INBOX_MESSAGES = 1000
INBOX_BYTES = 32 * 1024 * 1024
GROUP_MESSAGES = 400
KEEPALIVE_S = 10
LATEST_NEWS_S = 2 * KEEPALIVE_S
"""A silent connection is given up after twice the keep-alive; until then it may have been dead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A message to be acknowledged (QoS 1: mid is not 0) on the connection it came by."""

    message: Message
    mid: int
    connection: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BusChange:
    """The bus was lost (not heard since `at_us`) or is back."""

    up: bool
    at_us: int


@dataclass(slots=True, kw_only=True)
class Taken:
    """What came. Everything received until `through_us` is in here or was taken before."""

    deliveries: list[Delivery] = field(default_factory=list)
    changes: list[BusChange] = field(default_factory=list)
    through_us: int


class Inbox:
    """Between the network thread and the loop. Full (by messages or bytes), `put` blocks until something is taken."""

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._room = threading.Condition()
        self._deliveries: collections.deque[Delivery] = collections.deque()
        self._changes: list[BusChange] = []
        self._bytes = 0
        self._closed = False

    def put(
        self, topic: str, payload: bytes, *, retained: bool, duplicate: bool, mid: int, connection: int, deaf_us: int = 0
    ) -> bool:
        """Stamp and queue a message; False where the inbox was closed and the message is left to the broker."""
        with self._room:
            while not self._closed and self._deliveries and self._full(len(payload)):
                self._room.wait()
            if self._closed:
                return False
            message = Message(
                topic=topic,
                payload=payload,
                received_us=self._clock(),
                retained=retained,
                duplicate=duplicate,
                deaf_us=deaf_us,
            )
            self._deliveries.append(Delivery(message=message, mid=mid, connection=connection))
            self._bytes += len(payload)
            return True

    def change(self, change: BusChange) -> None:
        """Queue a change of the connection; never blocks."""
        with self._room:
            self._changes.append(change)

    def take(self) -> Taken:
        """Take up to GROUP_MESSAGES messages, and the time until which that is everything."""
        with self._room:
            now_us = self._clock()
            deliveries = [self._deliveries.popleft() for _ in range(min(GROUP_MESSAGES, len(self._deliveries)))]
            self._bytes -= sum(len(d.message.payload) for d in deliveries)
            through_us = min(now_us, self._deliveries[0].message.received_us - 1) if self._deliveries else now_us
            changes, self._changes = self._changes, []
            self._room.notify_all()
            return Taken(deliveries=deliveries, changes=changes, through_us=through_us)

    def waiting(self) -> bool:
        """Tell whether there is something to take."""
        with self._room:
            return bool(self._deliveries or self._changes)

    def close(self) -> None:
        """Take no more; a blocked `put` returns."""
        with self._room:
            self._closed = True
            self._room.notify_all()

    def _full(self, size: int) -> bool:
        return len(self._deliveries) >= INBOX_MESSAGES or self._bytes + size > INBOX_BYTES


def session_name(code: str, url: str) -> str:
    """Return the client id of a gateway's session on the bus: the same at each start, and for nobody else to guess.

    Whoever connects with another's client id and asks for a clean session takes what the broker kept for the other.
    """
    secret = urlsplit(url).password
    return f"smartcare-{code}-{hashlib.sha256(secret.encode()).hexdigest()[:16]}" if secret else f"smartcare-{code}"


class Bus:
    """The connection to the devices' broker: fixed client id, persistent session, QoS 1, acknowledged by hand."""

    def __init__(
        self, url: str, client_id: str, topics: Iterable[str], clock: Callable[[], int], ca_file: Path | None = None
    ) -> None:
        self._clock = clock
        self._inbox = Inbox(clock)
        self._topics = set(topics)
        self._client_id = client_id
        self._loop = asyncio.get_running_loop()
        self._news = asyncio.Event()
        self._told = False  # the loop will look into the inbox anyway; telling it costs more than receiving a message
        self._connection = 0
        self._up = False
        self._heard_us = clock()
        self._deaf_us = {False: 0, True: 0}  # for what is said with QoS 0, and what the broker keeps for us
        self._refused = ""
        self._client = self._make(url, ca_file)

    def _make(self, url: str, ca_file: Path | None) -> Client:
        at = urlsplit(url)
        secure = at.scheme == "mqtts"
        self._address = at.hostname or "127.0.0.1", at.port or (8883 if secure else 1883)
        client = Client(CallbackAPIVersion.VERSION2, client_id=self._client_id, clean_session=False, manual_ack=True)
        if secure:
            client.tls_set_context(ssl.create_default_context(cafile=ca_file))
        if at.username:
            client.username_pw_set(unquote(at.username), unquote(at.password or ""))
        client.connect_timeout = 1.5  # so that leaving never waits longer for a broker that does not answer
        client.reconnect_delay_set(1, 5)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_disconnect = self._on_disconnect
        client.on_message = self._on_message
        return client

    @property
    def up(self) -> bool:
        """Tell whether the devices are heard."""
        return self._up

    def listen(self, topics: Iterable[str]) -> None:
        """Hear these topics from now on; the connection stays, so that nothing of the others is missed."""
        wanted = set(topics)
        new, gone = wanted - self._topics, self._topics - wanted
        self._topics = wanted
        if self._up and new:
            self._client.subscribe([(topic, 1) for topic in sorted(new)])
        if self._up and gone:
            self._client.unsubscribe(sorted(gone))

    async def move(self, url: str, ca_file: Path | None) -> None:
        """Go on at another address or with other credentials. Meanwhile the broker keeps what comes with QoS 1."""
        before, self._client = self._client, self._make(url, ca_file)
        self._connection += 1  # what came on the old connection can no longer be acknowledged, and comes again
        before.disconnect()
        await asyncio.to_thread(before.loop_stop)  # its thread may wait for room, which only we can make
        self._client.connect_async(*self._address, keepalive=KEEPALIVE_S)
        self._client.loop_start()

    def start(self) -> None:
        """Begin to connect, in paho's thread, again and again; until then the bus counts as lost."""
        self._inbox.change(BusChange(up=False, at_us=self._clock()))
        self._client.connect_async(*self._address, keepalive=KEEPALIVE_S)
        self._client.loop_start()

    async def take(self, patience_s: float) -> Taken:
        """Wait until something came, somebody nudged, or the patience is over; then return what there is."""
        if not self._inbox.waiting():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    await self._news.wait()
        self._news.clear()
        self._told = False  # before the inbox is looked into: what comes from now on tells again
        return self._inbox.take()

    def nudge(self) -> None:
        """Let `take` return now."""
        self._news.set()

    def drain(self) -> Taken:
        """Receive no more, and return what was received and not taken."""
        self._inbox.close()
        return self._inbox.take()

    def reply(self, reply: Reply) -> None:
        """Tell a device; where the connection is gone the device says its thing again."""
        self._client.publish(reply.topic, reply.payload, qos=0)

    def done(self, deliveries: Iterable[Delivery]) -> None:
        """Acknowledge what the spool has. A number of an earlier connection means nothing on this one and is left out."""
        for d in deliveries:
            if d.mid and d.connection == self._connection:
                self._client.ack(d.mid, 1)

    def stop(self) -> None:
        """Disconnect and end the thread; the session stays at the broker."""
        self._inbox.close()
        self._client.disconnect()
        self._client.loop_stop()

    # ------------------------------------------------------------------ in paho's thread
    def _on_connect(
        self, client: Client, _data: object, flags: ConnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if reason.is_failure:
            if str(reason) != self._refused:
                self._refused = str(reason)
                log.warning("the devices' broker refuses us: %s; check the user and password of the bus", reason)
            return
        self._connection += 1
        self._refused = ""
        now_us = self._clock()
        self._deaf_us = {False: now_us, True: self._deaf_us[True] if flags.session_present else now_us}
        client.subscribe([(topic, 1) for topic in sorted(self._topics)])

    def _on_subscribe(
        self, _client: Client, _data: object, _mid: int, reasons: list[ReasonCode], _properties: Properties | None
    ) -> None:
        """Only now the devices are heard."""
        if any(reason.is_failure for reason in reasons):
            log.error(
                "the devices' broker does not let us hear %s; check the permissions of the bus's user", sorted(self._topics)
            )
            return  # and count the bus as lost
        if self._up:
            return  # another topic beside the others
        self._up = True
        self._heard_us = self._clock()
        log.info("connected to the devices' broker %s:%d", *self._address)
        self._change(BusChange(up=True, at_us=self._heard_us))

    def _on_disconnect(
        self, _client: Client, _data: object, _flags: DisconnectFlags, reason: ReasonCode, _properties: Properties | None
    ) -> None:
        if not self._up:
            return
        self._up = False
        log.warning("lost the devices' broker: %s", reason)
        self._change(BusChange(up=False, at_us=max(self._heard_us, self._clock() - LATEST_NEWS_S * SECOND_US)))

    def _on_message(self, client: Client, _data: object, m: MQTTMessage) -> None:
        try:
            topic = m.topic
        except UnicodeDecodeError:
            topic = "?"  # no codec claims it: quarantined like any other nonsense
        mid, connection = m.mid if m.qos else 0, self._connection if client is self._client else 0
        deaf_us = self._deaf_us[m.qos > 0]
        if self._inbox.put(
            topic, bytes(m.payload), retained=m.retain, duplicate=m.dup, mid=mid, connection=connection, deaf_us=deaf_us
        ):
            self._heard_us = self._clock()
            self._wake()

    def _change(self, change: BusChange) -> None:
        self._inbox.change(change)
        self._wake()

    def _wake(self) -> None:
        if self._told:
            return
        self._told = True
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to be told
            self._loop.call_soon_threadsafe(self._news.set)
