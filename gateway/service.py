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
from importlib import metadata

from gateway.addresses import Addresses, beside
from gateway.blindness import Blindness
from gateway.bus import Bus, Delivery, Taken, session_name
from gateway.clock import MINUTE_US, SECOND_US, now_us
from gateway.codecs.contract import Codec
from gateway.crashpoint import crashpoint
from gateway.credentials import Credentials
from gateway.events import TOKEN_BYTES
from gateway.intake import decode_group
from gateway.link import Link, leaf
from gateway.listener import Listener, Posted
from gateway.setup import GatewayConfig, Reloads, Setup, unchangeable
from gateway.spool import Quarantined, Spool, SpoolError
from gateway.status import DEVICES, Heard, Status, StatusPage
from gateway.uplink import Sender
from gateway.wire import Answer, Config, Down, Heartbeat, Refusal, Renewal, encode_message, stream_text

__all__ = ["Gateway", "GatewayConfig", "run"]

log = logging.getLogger(__name__)

KEEP_S = 5.0
"""How often life, acknowledgements and deletions are written: what a crash repeats or leaves blind at most."""
CLOCK_STEP_US = SECOND_US
WRONG_US = 2 * MINUTE_US
"""A clock that is set forward by more was wrong before: what was not sent yet is set right with it."""
NEVER_SET_US = 1_767_225_600_000_000
"""2026-01-01: a clock before it, or before the time that this gateway was alive already, was not set since the machine began."""
NOTED = 1000  # different complaints logged; further ones only go to quarantine


async def run(
    config: GatewayConfig, codecs: Sequence[Codec], clock: Callable[[], int] = now_us, reloads: Reloads | None = None
) -> None:
    """Run until cancelled. Raises SpoolError where the disk takes nothing more; the devices are then not answered."""
    spool = Spool(config.spool)
    failure: BaseException | None = None
    try:
        gateway = Gateway(config, codecs, spool, clock)
        await gateway.run(reloads)
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
        self._clock_set = now >= max(NEVER_SET_US, spool.alive_us - CLOCK_STEP_US)
        self._begin_stream(now, "gateway was down")
        self._started_us = now
        self._refusal = ""
        self._heard: dict[str, Heard] = {}
        self._messages = self._quarantined = 0
        self._noted: set[tuple[str, ...]] = set()
        self._unanswered = False
        self._behind = False
        self._beat_at = self._keep_at = 0.0
        topics = [topic for codec in codecs for topic in codec.topics]
        self._bus = Bus(config.bus_url, session_name(config.code, config.bus_url), topics, clock, config.ca_file)
        self._listener: Listener | None = None
        if config.http:
            self._listener = Listener(config.http, Addresses(beside(config.spool)), clock, self._bus.nudge)
        self._credentials = Credentials(config.uplink_url, config.spool.with_suffix(".uplink.json"))
        self._page: StatusPage | None = None
        try:
            self._page = StatusPage(config.status, self.status) if config.status else None
        except OSError as e:  # nobody may be looking; the devices go before
            log.error("no status page at %s: %s", config.status, e)
        self._link = Link(
            config.uplink_url,
            config.shard,
            config.code,
            credentials=self._credentials,
            sender=self._sender,
            spool=spool,
            clock=clock,
            ca_file=config.ca_file,
            on_up=self._on_up,
            on_down=self._on_down,
        )

    async def run(self, reloads: Reloads | None = None) -> None:
        """Run until cancelled; then seal what was taken and leave."""
        self._bus.start()
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._intake(), name="gateway.intake")
                tasks.create_task(self._link.run(), name="gateway.link")
                if self._listener:
                    tasks.create_task(self._listener.run(), name="gateway.listener")
                if self._page:
                    tasks.create_task(self._page.run(), name="gateway.status")
                if reloads:
                    tasks.create_task(reloads.run(self.apply), name="gateway.reloads")
        except asyncio.CancelledError:
            while (taken := self._bus.drain()).deliveries:
                self._store(taken)
            self._keep(self._clock())
            raise
        finally:
            self._bus.stop()

    async def apply(self, setup: Setup) -> None:
        """Go on with another setup: between two groups, so that none is decoded half by the one and half by the other."""
        new, old = setup.config, self._config
        if late := unchangeable(old, new):
            log.warning("重启后生效 holds after a restart: %s", ", ".join(late))
        self._codecs, self._config = setup.codecs, new
        self._bus.listen(topic for codec in setup.codecs for topic in codec.topics)
        if (new.uplink_url, new.ca_file) != (old.uplink_url, old.ca_file):
            self._credentials.reconfigure(new.uplink_url)
            self._link.move(new.uplink_url, new.ca_file)
        if (new.bus_url, new.ca_file) != (old.bus_url, old.ca_file):
            await self._bus.move(new.bus_url, new.ca_file)
        log.info("设置已更新 the setup was read again")

    def status(self) -> Status:
        """Return how it is now."""
        return Status(
            code=self._config.code,
            software=_software(),
            now_us=self._clock(),
            started_us=self._started_us,
            backend=self._link.connected,
            bus=self._bus.up,
            user=self._credentials.present()[0],
            refused=self._refusal,
            queued_frames=self._sender.queued_frames,
            queued_bytes=self._sender.queued_bytes,
            spool_bytes=self._sender.held_bytes,
            budget_bytes=self._budget(),
            messages=self._messages,
            quarantined=self._quarantined,
            persons=len(self._persons),
            clock_set=self._clock_set,
            blind=[b for b in self._blind.report(self._clock()) if b.to_us is None],
            devices=sorted(self._heard.values(), key=lambda d: -d.last_us),
        )

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
        self._messages += len(came)
        for e in group.events:
            if (device := self._heard.get(e.device)) is None:
                if len(self._heard) >= DEVICES:
                    continue
                device = self._heard[e.device] = Heard(device=e.device, last_us=0)
            device.last_us, device.events = e.received_us, device.events + 1
        self._complain(group.quarantine)
        self._link.wake()

    def _complain(self, quarantined: Sequence[Quarantined]) -> None:
        self._quarantined += len(quarantined)
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
            if step_us > WRONG_US:  # a box without a battery begins where it ended, or in 1970, until NTP speaks
                self._spool.shift(self._sender.shown(), step_us)
            self._begin_stream(now, "the gateway's clock was set")
            self._spool.alive_us = now
        self._clock_set = self._clock_set or now >= max(NEVER_SET_US, self._spool.alive_us - CLOCK_STEP_US)

    def _keep(self, now: int) -> None:
        """Write what need not be written at once."""
        self._sender.limit(self._budget())
        delete, progress = self._sender.trim(now), self._sender.progress()
        self._spool.note(alive_us=now, progress=progress, delete=delete, blind=self._blind.kept(now))
        if self._sender.queued_frames == 0:
            self._spool.delivered(self._through_us)

    def _budget(self) -> int:
        """Bytes of frames that may be held: as set up, or what the disk has, a fifth of it left to SQLite's own pages."""
        return max(0, min(self._config.spool_bytes, self._spool.room() * 4 // 5))

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
            software=_software(),
            user=self._credentials.present()[0],
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
            self._refusal = ""
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
        elif isinstance(message, Renewal):
            if self._credentials.renew(message):
                log.info("the backend sent other credentials: %s", message.user)
                self._link.again()
        else:
            self._refused(message)

    def _refused(self, refusal: Refusal) -> None:
        self._refusal = refusal.message
        key = ("refusal", refusal.reason, refusal.message)
        if key not in self._noted and len(self._noted) < NOTED:
            self._noted.add(key)
            log.warning("the backend stores nothing of this gateway (%s): %s", refusal.reason, refusal.message)

    def _obey(self, config: Config) -> None:
        self._version = config.version
        links = {(p.device, p.local_id): _token(p.token) for p in config.persons}
        self._persons = {key: token for key, token in links.items() if token}
        self._heartbeat_s = min(max(config.heartbeat_s, 1.0), 300.0)


def _software() -> str:
    return f"smartcare {metadata.version('smartcare')}"


def _token(text: str) -> bytes | None:
    try:
        token = bytes.fromhex(text)
    except ValueError:
        return None  # the person stays anonymous, which harms no one
    return token if len(token) == TOKEN_BYTES else None
