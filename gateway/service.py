"""The gateway process: takes what devices say, spools it, answers them, and lets the uplink carry it to the backend.

One decision: the spool is written on the loop, so between a message being taken and its device being answered nothing
else can happen, and a heartbeat's "everything until now is sealed" is true by construction.

    Bus.take, Listener.take → decode_group → Spool.append → replies and acknowledgements → Sender → Link
"""

import asyncio
import heapq
import logging
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from gateway.addresses import Addresses, beside
from gateway.blindness import Blindness
from gateway.bus import Bus, Delivery, Taken
from gateway.clock import SECOND_US, now_us
from gateway.codecs.contract import Codec
from gateway.crashpoint import crashpoint
from gateway.events import TOKEN_BYTES
from gateway.intake import decode_group
from gateway.link import Link, leaf
from gateway.listener import Listener, Posted
from gateway.spool import Quarantined, Spool, SpoolError
from gateway.uplink import Sender
from gateway.wire import Answer, Config, Down, Heartbeat, Refusal, encode_message, stream_text

log = logging.getLogger(__name__)

KEEP_S = 5.0
"""How often life, acknowledgements and deletions are written: what a crash repeats or leaves blind at most."""
CLOCK_STEP_US = SECOND_US
NOTED = 1000  # different complaints logged; further ones only go to quarantine


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayConfig:
    """Settings of one gateway. Urls are mqtt://user:password@host:port, or mqtts://.

    code and shard: as provisioned. spool_bytes: frames kept on disk, beyond it the oldest are lost by name. zone: where
    the devices' zone-less clocks are. heartbeat_s: until the backend says otherwise. reconnect_jitter_s: spread of the
    reconnects after a lost backend; a small one for demos. http: HOST:PORT where devices post, "" for none.
    ca_file: PEM of the authority that signed the brokers' certificates (mqtts://), None for the system's.
    """

    code: str
    shard: int
    uplink_url: str
    bus_url: str
    spool: Path
    spool_bytes: int = 512 * 1024 * 1024
    zone: str = "Asia/Shanghai"
    heartbeat_s: float = 15.0
    reconnect_jitter_s: float = 60.0
    http: str = ""
    ca_file: Path | None = None


async def run(config: GatewayConfig, codecs: Sequence[Codec], clock: Callable[[], int] = now_us) -> None:
    """Run until cancelled. Raises SpoolError where the disk takes nothing more; the devices are then not answered."""
    spool = Spool(config.spool)
    failure: BaseException | None = None
    try:
        gateway = Gateway(config, codecs, spool, clock)
        await gateway.run()
    except* SpoolError as group:
        failure = leaf(group)
    finally:
        spool.close()
    if failure:
        raise failure


class Gateway:
    """One gateway over an open spool."""

    def __init__(self, config: GatewayConfig, codecs: Sequence[Codec], spool: Spool, clock: Callable[[], int]) -> None:
        self._config, self._codecs, self._spool, self._clock = config, codecs, spool, clock
        self._loop = asyncio.get_running_loop()
        jitter_us = int(config.reconnect_jitter_s * SECOND_US)
        self._sender = Sender(budget_bytes=config.spool_bytes, epoch=spool.epoch(), reconnect_jitter_us=jitter_us)
        for held in spool.held():
            self._sender.restore(held.stream, held.first, held.sizes, held.marks)
        self._memory = spool.memory()
        self._persons: dict[tuple[str, str], bytes] = {}
        self._version = 0
        self._heartbeat_s = config.heartbeat_s
        if known := spool.config():
            self._obey(known)
        now = clock()
        spans = spool.blind()
        self._blind = Blindness(b for b in spans if b.to_us is not None)
        for b in spans:
            if b.to_us is None:  # open when the last process ended; whoever said so will say it again
                self._blind.note(b.source, b.from_us, now, b.reason)
        if spool.lost is not None:
            log.error("the spool was damaged or deleted; events that were not sent are lost: %s", config.spool)
            self._blind.note("", spool.lost, now, "spool lost")
        self._stream = self._since_us = self._through_us = self._skew_us = 0
        self._begin_stream(now, "gateway was down")
        self._noted: set[tuple[str, ...]] = set()
        self._unanswered = False
        self._behind = False
        self._beat_at = self._keep_at = 0.0
        topics = [topic for codec in codecs for topic in codec.topics]
        self._bus = Bus(config.bus_url, f"smartcare-{config.code}", topics, clock, config.ca_file)
        self._listener: Listener | None = None
        if config.http:
            self._listener = Listener(config.http, Addresses(beside(config.spool)), clock, self._bus.nudge)
        self._link = Link(
            config.uplink_url,
            config.shard,
            config.code,
            sender=self._sender,
            spool=spool,
            clock=clock,
            ca_file=config.ca_file,
            on_up=self._on_up,
            on_down=self._on_down,
        )

    async def run(self) -> None:
        """Run until cancelled; then seal what was taken and leave."""
        self._bus.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._intake(), name="gateway.intake")
                tasks.create_task(self._link.run(), name="gateway.link")
                if self._listener:
                    tasks.create_task(self._listener.run(), name="gateway.listener")
        except asyncio.CancelledError:
            while (taken := self._bus.drain()).deliveries:
                self._store(taken)
            self._keep(self._clock())
            raise
        finally:
            self._bus.stop()

    # ------------------------------------------------------------------ devices
    async def _intake(self) -> None:
        while True:
            taken = await self._bus.take(max(0.0, min(self._beat_at, self._keep_at) - self._loop.time()))
            now = self._clock()
            self._watch_clock(now)
            self._store(taken, self._listener.take(taken.through_us) if self._listener else ())
            if self._loop.time() >= self._keep_at:
                self._keep_at = self._loop.time() + KEEP_S
                self._keep(now)
            if self._loop.time() >= self._beat_at:
                self._beat_at = self._loop.time() + self._heartbeat_s
                self._beat(now)

    def _store(self, taken: Taken, posts: Sequence[Posted] = ()) -> None:
        """Spool what was taken, and only then answer for it."""
        for bus in taken.changes:
            if bus.up:
                self._blind.back("", bus.at_us)
            else:
                self._blind.lost("", bus.at_us, "the devices' broker cannot be reached")
        both: tuple[Sequence[Delivery | Posted], ...] = (taken.deliveries, posts)
        came = list(heapq.merge(*both, key=lambda c: c.message.received_us))
        group = decode_group([c.message for c in came], self._codecs, self._memory, self._persons)
        for change, at_us in group.blind:
            if change.blind:
                self._blind.lost(change.source, at_us, change.reason)
            else:
                self._blind.back(change.source, at_us)
        self._through_us = max(self._through_us, taken.through_us)
        if group.durable or self._blind.changed:
            sizes = self._spool.append(
                group.events,
                through_us=self._through_us,
                memory=group.memory,
                quarantine=group.quarantine,
                blind=self._blind.kept(self._through_us) if self._blind.changed else None,
            )
            self._blind.changed = False
            self._memory |= group.memory
            for size in sizes:
                self._sender.sealed(size)
        for each, replies in zip(came, group.replies, strict=True):
            if isinstance(each, Posted):
                each.answered.set_result(replies[0].payload if replies else None)
                continue
            for reply in replies:
                self._bus.reply(reply)
        self._bus.done(taken.deliveries)
        crashpoint("gateway.answered")
        self._complain(group.quarantine)
        self._link.wake()

    def _complain(self, quarantined: Sequence[Quarantined]) -> None:
        for q in quarantined:
            key = (q.family, q.topic, q.reason)
            if key not in self._noted and len(self._noted) < NOTED:
                self._noted.add(key)
                log.warning("quarantined a message on %r: %s: %s; further ones are not logged", q.topic, q.reason, q.detail)

    # ------------------------------------------------------------------ time
    def _begin_stream(self, now: int, reason: str) -> None:
        self._stream = secrets.randbits(63) or 1
        self._since_us = self._through_us = now
        self._skew_us = now - int(self._loop.time() * SECOND_US)
        self._spool.begin_stream(self._stream, now)
        self._sender.open(self._stream)
        if self._spool.alive_us:
            self._blind.note("", self._spool.alive_us, now, reason)

    def _watch_clock(self, now: int) -> None:
        """Begin a new stream where the clock was set or the machine slept: the old stream's coverage must not span that."""
        skew_us = now - int(self._loop.time() * SECOND_US)
        step_us, self._skew_us = skew_us - self._skew_us, skew_us
        if abs(step_us) > CLOCK_STEP_US:
            log.warning("the clock was set by %+.1f s; a new stream begins", step_us / SECOND_US)
            self._begin_stream(now, "the gateway's clock was set")
            self._spool.alive_us = now

    def _keep(self, now: int) -> None:
        """Write what need not be written at once."""
        delete, progress = self._sender.trim(now), self._sender.progress()
        self._spool.note(alive_us=now, progress=progress, delete=delete, blind=self._blind.kept(now))
        if self._sender.queued_frames == 0:
            self._spool.delivered(self._through_us)

    # ------------------------------------------------------------------ backend
    def _beat(self, now: int) -> None:
        if not self._link.connected:
            return
        heartbeat = Heartbeat(
            stream=stream_text(self._stream),
            seq=self._spool.seq,
            since_us=self._since_us,
            through_us=self._through_us,
            sent_us=now,
            blind=self._blind.report(now),
            config=self._version,
            queued_bytes=self._sender.queued_bytes,
            software=f"smartcare {metadata.version('smartcare')}",
        )
        self._unanswered = True
        self._link.say(encode_message(heartbeat))

    def _on_up(self) -> None:
        frames = self._sender.queued_frames
        self._behind = frames > 1
        if self._behind:
            log.info("behind by %d frames (%d bytes)", frames, self._sender.queued_bytes)
        self._beat_at = 0.0
        self._bus.nudge()

    def _on_down(self, message: Down) -> None:
        if isinstance(message, Answer):
            renewed = self._sender.answer(message, self._clock())
            crashpoint("gateway.acknowledged")
            if renewed:
                log.info("the backend is in epoch %d; all streams are compared again", message.epoch)
                self._blind.renewed()
            elif self._unanswered and message.stream == stream_text(self._stream):
                self._unanswered = False
                self._blind.answered()
            if self._behind and self._sender.queued_frames == 0:
                self._behind = False
                log.info("caught up: the backend has everything")
        elif isinstance(message, Config):
            self._obey(message)
            self._spool.keep_config(message)
            log.info("configuration %d: %d person links", message.version, len(message.persons))
        else:
            self._refused(message)

    def _refused(self, refusal: Refusal) -> None:
        key = ("refusal", refusal.reason, refusal.message)
        if key not in self._noted and len(self._noted) < NOTED:
            self._noted.add(key)
            log.warning("the backend stores nothing of this gateway (%s): %s", refusal.reason, refusal.message)

    def _obey(self, config: Config) -> None:
        self._version = config.version
        links = {(p.device, p.local_id): _token(p.token) for p in config.persons}
        self._persons = {key: token for key, token in links.items() if token}
        self._heartbeat_s = min(max(config.heartbeat_s, 1.0), 300.0)


def _token(text: str) -> bytes | None:
    try:
        token = bytes.fromhex(text)
    except ValueError:
        return None  # the person stays anonymous, which harms no one
    return token if len(token) == TOKEN_BYTES else None
