"""The far side: the MQTT connection to the backend, which carries what the sender decides and is trusted with nothing.

One decision: QoS 0, a clean session and a random client id; the broker is only a pipe, and a clone of this gateway's
disk must not throw the original out.
"""

import asyncio
import contextlib
import logging
import random
import secrets
import ssl
from collections.abc import Callable
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import aiomqtt

from gateway.crashpoint import crashpoint
from gateway.credentials import Credentials
from gateway.spool import Spool
from gateway.uplink import Sender
from gateway.wire import BadMessage, Down, decode_down, topic_down, topic_up

log = logging.getLogger(__name__)

KEEPALIVE_S = 15
HEARD = 1000
"""Messages from the backend waiting to be read. Full, further ones are dropped: answers are repeated on the next heartbeat."""


class _Moved(Exception):
    """The session ends because another is to be begun at once."""


class Link:
    """Connects for ever. `on_up` is called after each connect, `on_down` with each message of the backend."""

    def __init__(
        self,
        url: str,
        shard: int,
        code: str,
        *,
        ca_file: Path | None = None,
        credentials: Credentials,
        sender: Sender,
        spool: Spool,
        clock: Callable[[], int],
        on_up: Callable[[], None],
        on_down: Callable[[Down], None],
    ) -> None:
        self._at: SplitResult
        self._tls: ssl.SSLContext | None
        self._head_for(url, ca_file)
        self._credentials = credentials
        self._moved = False
        self._up, self._down = topic_up(shard, code), topic_down(shard, code)
        self._sender, self._spool, self._clock = sender, spool, clock
        self._on_up, self._on_down = on_up, on_down
        self._wake = asyncio.Event()
        self._heartbeat: bytes | None = None
        self._trouble = ""
        self.connected = False

    def wake(self) -> None:
        """There may be something to send."""
        self._wake.set()

    def say(self, heartbeat: bytes) -> None:
        """Send a heartbeat after the frames that may go now; a newer one replaces one that could not be sent."""
        self._heartbeat = heartbeat
        self._wake.set()

    def move(self, url: str, ca_file: Path | None) -> None:
        """Go on at another address. Raises OSError where the file of the authority cannot be read."""
        self._head_for(url, ca_file)
        self.again()

    def again(self) -> None:
        """Connect anew, with what is said of the credentials now; what was not acknowledged goes on the way again."""
        self._moved = True
        self._wake.set()

    def _head_for(self, url: str, ca_file: Path | None) -> None:
        at = urlsplit(url)
        self._tls = ssl.create_default_context(cafile=ca_file) if at.scheme == "mqtts" else None
        self._at = at

    async def run(self) -> None:
        """Connect, carry, and after a loss wait for as long as the sender says; until cancelled."""
        while True:
            at_once = False
            try:
                await self._session()
            except* _Moved:
                at_once = True
            except* aiomqtt.MqttError as group:
                self._explain(str(leaf(group)))
                if not self.connected:
                    self._credentials.refused()
            finally:
                self.connected = False
            _leave_if_cancelled()
            delay_us = self._sender.disconnected(random.random())  # noqa: S311 - spreads reconnects, guards nothing
            await asyncio.sleep(0 if at_once else delay_us / 1e6)

    async def _session(self) -> None:
        self._moved = False
        user, secret = self._credentials.present()
        async with aiomqtt.Client(
            self._at.hostname or "127.0.0.1",
            self._at.port or (8883 if self._tls else 1883),
            tls_context=self._tls,
            username=user or None,
            password=secret or None,
            identifier=f"gw{secrets.token_hex(8)}",
            clean_session=True,
            keepalive=KEEPALIVE_S,
            max_queued_incoming_messages=HEARD,
        ) as client:
            await client.subscribe(self._down, qos=0)
            _leave_if_cancelled()
            self._trouble = ""
            self.connected = True
            self._credentials.accepted()
            self._sender.connected()
            log.info("connected to the backend %s:%s", self._at.hostname, self._at.port)
            self._on_up()
            async with asyncio.TaskGroup() as tasks:
                # Listening is the group's body: a child that fails after the body has ended leaves the task marked as
                # cancelled (Python 3.11), and we would leave for good.
                speaking = tasks.create_task(self._speak(client), name="gateway.speak")
                await self._listen(client)
                speaking.cancel()

    async def _listen(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            try:
                if isinstance(message.payload, bytes):
                    self._on_down(decode_down(message.payload))
            except BadMessage as e:
                self._explain(f"the backend said what we do not understand: {e}")
            self._wake.set()

    async def _speak(self, client: aiomqtt.Client) -> None:
        while True:
            self._wake.clear()
            if self._moved:
                raise _Moved
            for key in self._sender.tick(self._clock()):
                if frame := self._spool.frame(key, self._sender.oldest(key.stream)):
                    crashpoint("uplink.send")
                    await client.publish(self._up, frame, qos=0)
                    crashpoint("uplink.sent")
                    _leave_if_cancelled()
            if self._heartbeat:
                heartbeat, self._heartbeat = self._heartbeat, None
                await client.publish(self._up, heartbeat, qos=0)
                _leave_if_cancelled()
            deadline_us = self._sender.wake_us()
            patience_s = None if deadline_us is None else max(0.0, (deadline_us - self._clock()) / 1e6)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(patience_s):
                    await self._wake.wait()

    def _explain(self, trouble: str) -> None:
        """Say what is wrong, once until it is another thing."""
        if trouble != self._trouble:
            self._trouble = trouble
            log.warning("backend %s:%s: %s; events are being spooled", self._at.hostname, self._at.port, trouble)


def _leave_if_cancelled() -> None:
    """Repeat a cancellation that got lost: the client's waiting swallows it where its result, or an error, comes at once."""
    if (task := asyncio.current_task()) and task.cancelling():
        raise asyncio.CancelledError


def leaf(error: BaseException) -> BaseException:
    """Return the first error inside nested groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
