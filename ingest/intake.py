"""Messages from the broker become the work of one T1, and after its COMMIT the answers.

    arrivals → judge sender, number, body → Work per shard → (T1) → Replies

One decision: everything between broker and database is decided here, told the time and without any I/O; the worker's
shell only carries bytes and runs T1.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gateway.clock import SECOND_US
from gateway.wire import (
    MAX_DEVICE_BYTES,
    Answer,
    BadBody,
    BadHeader,
    BadMessage,
    Body,
    Config,
    Down,
    Header,
    Heartbeat,
    Refusal,
    decode_heartbeat,
    encode_message,
    parse_stream,
    stream_text,
    topic_down,
)
from ingest.batch import CLOCK_NEVER_SET_US, Accepted
from ingest.clocks import TOLERATED_US, Clocks
from ingest.columns import BlindSpan, Coverage
from ingest.liveness import Listener
from ingest.reading import SHARDS, Arrival, Message
from ingest.shards import Owned
from ingest.snapshot import Gateway, Snapshot
from ingest.t1 import CLOCK_WRONG, Loss, Quarantined, Work
from ingest.uplink import Receiver, Verdict, credit

AHEAD_EVERY_US = 200_000
REFUSE_EVERY_US = 10 * SECOND_US
QUARANTINE_EVERY_US = SECOND_US
MANY = 10_000
MAX_REASON = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What to publish."""

    topic: str
    payload: bytes


@dataclass(slots=True, kw_only=True)
class Plan:
    """The work of one T1, and who waits for an answer to what: (gateway, stream) of frames and heartbeats."""

    work: dict[int, Work] = field(default_factory=lambda: defaultdict(Work))
    quarantined: list[Quarantined] = field(default_factory=list)
    waiting: dict[tuple[int, int], Gateway] = field(default_factory=dict)
    replies: list[Reply] = field(default_factory=list)
    said: dict[tuple[str, object], int] = field(default_factory=dict)
    """When something that is limited in rate was last done, for what this plan does."""


class Intake:
    """The state that outlives a batch: cursors, clocks, who was heard. Changes are provisional until `committed`."""

    def __init__(self, owned: Mapping[int, Owned], lost_after_us: int, now_us: int) -> None:
        self.owned = owned
        self.snapshot = Snapshot()
        self.receiver, self.clocks, self.listener = Receiver(), Clocks(), Listener(lost_after_us, now_us)
        self._queued: dict[int, int] = {}
        self._blind: dict[tuple[int, str, int], BlindSpan] = {}
        self._clock_wrong: dict[int, BlindSpan] = {}
        self._said: dict[tuple[str, object], int] = {}

    def load(
        self,
        gateways: Iterable[Gateway],
        cursors: Iterable[tuple[int, int, int]],
        blind: Iterable[BlindSpan],
        alive: Iterable[tuple[int, bool]],
    ) -> None:
        """Take over what the store says of gateways that are not known yet. cursors: (gateway, stream, seq)."""
        new = {g.id: dict[int, int]() for g in gateways if not self.receiver.knows(g.id)}
        for gateway, stream, seq in cursors:
            if gateway in new:
                new[gateway][stream] = seq
        for gateway, streams in new.items():
            self.receiver.load(gateway, streams)
        spans = {(b.gateway, b.source, b.from_us): b for b in blind if b.gateway in new}
        self._remember(spans)
        for span in spans.values():
            if span.reason == CLOCK_WRONG and span.to_us is None:
                self.clocks.wrong_since(span.gateway, span.from_us)
        self.listener.load((gateway, state) for gateway, state in alive if gateway in new)

    def forget(self, gateways: Iterable[int]) -> None:
        """Other workers hear these gateways from now on; what is known of them must be loaded again should they come back."""
        gone = set(gateways)
        for gateway in gone:
            self.receiver.forget(gateway)
            self.clocks.forget(gateway)
            self.listener.forget(gateway)
            self._queued.pop(gateway, None)
            self._clock_wrong.pop(gateway, None)
        self._blind = {key: b for key, b in self._blind.items() if b.gateway not in gone}

    def plan(self, arrivals: Sequence[Arrival], now_us: int, poison: str = "") -> Plan:
        """Judge arrivals in order. With `poison`, a frame's body is not believed: it is quarantined for that reason."""
        plan = Plan()
        for arrival in arrivals:
            self._judge(plan, arrival, poison)
        if self.listener.due(now_us):
            mine = [g for g in self.snapshot.gateways.values() if g.shard in self.owned and self.receiver.knows(g.id)]
            shards = {g.id: g.shard for g in mine}
            for change in self.listener.step(shards, now_us):
                plan.work[shards[change.gateway]].liveness.append(change)
        return plan

    def committed(self, plan: Plan, now_us: int) -> list[Reply]:
        """The plan is stored. Returns what to publish: refusals, answers with the committed cursors, configurations."""
        self.receiver.commit()
        for work in plan.work.values():
            self.listener.commit(work.liveness)
            self._remember(work.blind)
        self._said |= plan.said
        answers = []
        for (gateway, stream), owner in plan.waiting.items():
            answer = Answer(
                epoch=self.owned[owner.shard].epoch,
                stream=stream_text(stream),
                seq=self.receiver.cursor(gateway, stream),
                window=credit(self._queued.get(gateway, 0)),
            )
            answers.append(_reply(owner.shard, owner.code, answer))
        self._forget(now_us)
        return [*answers, *plan.replies]

    def queued_bytes(self) -> Iterable[int]:
        """Return what each gateway last said that it holds unsent."""
        return self._queued.values()

    def failed(self) -> None:
        """The plan was not stored: forget what was provisional."""
        self.receiver.rollback()

    def _judge(self, plan: Plan, arrival: Arrival, poison: str) -> None:
        gateway, message = self._sender(plan, arrival), arrival.message
        if gateway is None:
            return
        self.listener.heard(gateway.id, message.arrived_us)
        header = arrival.header
        if header is None:
            try:
                if poison:
                    raise BadMessage(poison)
                self._heartbeat(plan, gateway, decode_heartbeat(message.payload), message.arrived_us)
            except BadMessage as e:
                self._unreadable(plan, gateway, message, e)
        elif isinstance(header, BadHeader):
            self._unreadable(plan, gateway, message, header)
            text = f"报文头无法识别 / frame header unreadable: {header}"
            self._refuse(plan, gateway.shard, gateway.code, message, header.reason, text)
        else:
            self._frame(plan, gateway, header, arrival, poison)

    def _sender(self, plan: Plan, arrival: Arrival) -> Gateway | None:
        """Find whose message it is. Who may not speak is told why, by the worker that owns the shard of the topic."""
        shard, code, message = arrival.shard, arrival.code, arrival.message
        if shard % SHARDS not in self.owned:
            return None
        gateway = self.snapshot.gateways.get(code)
        if gateway is None:
            text = f"网关 {code} 未登记，请在平台登记 / gateway {code} is not in the register: add it there"
            self._refuse(plan, shard, code, message, "unknown_gateway", text)
        elif gateway.shard != shard:
            text = f"网关 {code} 应使用分片 {gateway.shard} / it belongs to shard {gateway.shard}, not {shard}"
            self._refuse(plan, shard, code, message, "wrong_shard", text)
        elif gateway.suspended:
            text = f"网关 {code} 已停用，请联系管理员 / gateway {code} is suspended: ask the administrator"
            self._refuse(plan, shard, code, message, "suspended", text)
        elif self.receiver.knows(gateway.id):
            return gateway
        return None

    def _frame(self, plan: Plan, gateway: Gateway, header: Header, arrival: Arrival, poison: str) -> None:
        message, body = arrival.message, arrival.body
        offered = self.receiver.offer(gateway.id, header)
        ahead = offered.verdict is Verdict.AHEAD
        if not ahead or self._allowed(plan, "ahead", gateway.id, message.arrived_us, AHEAD_EVERY_US):
            plan.waiting[gateway.id, header.stream] = gateway
        if offered.verdict is not Verdict.STORE:
            return
        work = plan.work[gateway.shard]
        work.cursors[gateway.id, header.stream] = header.seq
        self.clocks.watermark(gateway.id, header.through_us, message.arrived_us)
        if offered.lost:
            first, last = offered.lost
            times = {"since_us": header.since_us, "to_us": header.through_us}
            work.losses.append(Loss(gateway=gateway.id, stream=header.stream, from_seq=first, to_seq=last, **times))
        if poison:
            body = BadBody(poison)
        if not isinstance(body, Body):
            ids = {"gateway": gateway.id, "stream": header.stream, "seq": header.seq}
            reason = "poison" if poison else (body or BadBody).reason
            plan.quarantined.append(
                Quarantined(topic=message.topic, reason=reason, detail=str(body), data=message.payload, **ids),
            )
            body = None
        work.frames.append(Accepted(gateway=gateway.id, header=header, body=body, offset_us=self.clocks.offset_us(gateway.id)))
        self._cover(work, gateway.id, header.stream, header.since_us, header.through_us, message.arrived_us)

    def _heartbeat(self, plan: Plan, gateway: Gateway, heartbeat: Heartbeat, arrived_us: int) -> None:
        if any(len(b.source.encode()) > MAX_DEVICE_BYTES or "\0" in b.source + b.reason for b in heartbeat.blind):
            raise BadMessage(f"a blind span's source has at most {MAX_DEVICE_BYTES} bytes, and no NUL")
        work, stream = plan.work[gateway.shard], parse_stream(heartbeat.stream)
        self.clocks.heartbeat(gateway.id, heartbeat.sent_us, arrived_us)
        self._judge_clock(work, gateway.id, arrived_us)
        self._queued[gateway.id] = heartbeat.queued_bytes
        cursor = self.receiver.pending().get((gateway.id, stream), self.receiver.cursor(gateway.id, stream))
        if cursor == heartbeat.seq:
            self._cover(work, gateway.id, stream, heartbeat.since_us, heartbeat.through_us, arrived_us)
        if self.clocks.wrong(gateway.id) is None:
            for b in heartbeat.blind:
                span = BlindSpan(
                    gateway=gateway.id, source=b.source, from_us=b.from_us, to_us=b.to_us, reason=b.reason[:MAX_REASON]
                )
                self._see_blind(work, span)
        plan.waiting[gateway.id, stream] = gateway
        version, persons = self.snapshot.config(gateway.id, arrived_us)
        if version != heartbeat.config:
            plan.replies.append(_reply(gateway.shard, gateway.code, Config(version=version, persons=persons)))

    def _cover(self, work: Work, gateway: int, stream: int, since_us: int, through_us: int, arrived_us: int) -> None:
        """Extend coverage, unless the clock it is told by is wrong; what it said before it was set is not covered."""
        self._judge_clock(work, gateway, arrived_us)
        if self.clocks.wrong(gateway) is not None or not CLOCK_NEVER_SET_US < through_us <= arrived_us + TOLERATED_US:
            return
        before = work.coverage.get((gateway, stream))
        from_us = since_us if since_us >= CLOCK_NEVER_SET_US else through_us
        work.coverage[gateway, stream] = Coverage(
            gateway=gateway,
            stream=stream,
            from_us=before.from_us if before else from_us,
            through_us=max(through_us, before.through_us if before else 0),
        )

    def _judge_clock(self, work: Work, gateway: int, arrived_us: int) -> None:
        """One blind span as long as the clock is wrong."""
        since_us, span = self.clocks.wrong(gateway), self._clock_wrong.get(gateway)
        if since_us is not None and span is None:
            self._see_blind(work, BlindSpan(gateway=gateway, source="", from_us=since_us, to_us=None, reason=CLOCK_WRONG))
        elif since_us is None and span is not None:
            self._see_blind(work, replace(span, to_us=max(arrived_us, span.from_us)))

    def _see_blind(self, work: Work, span: BlindSpan) -> None:
        """Note a span, unless it is stored as it is: heartbeats repeat theirs."""
        key = span.gateway, span.source, span.from_us
        if self._blind.get(key) != span:
            work.blind[key] = span

    def _unreadable(self, plan: Plan, gateway: Gateway, message: Message, error: BadHeader | BadMessage) -> None:
        if self._allowed(plan, "unreadable", gateway.id, message.arrived_us, QUARANTINE_EVERY_US):
            what = Quarantined(
                topic=message.topic, reason=error.reason, detail=str(error), data=message.payload, gateway=gateway.id
            )
            plan.quarantined.append(what)

    def _refuse(self, plan: Plan, shard: int, code: str, message: Message, reason: str, text: str) -> None:
        if self._allowed(plan, "refuse", (shard, code, reason), message.arrived_us, REFUSE_EVERY_US):
            plan.replies.append(_reply(shard, code, Refusal(reason=reason, message=text)))

    def _allowed(self, plan: Plan, what: str, key: object, now_us: int, every_us: int) -> bool:
        last_us = plan.said.get((what, key), self._said.get((what, key), now_us - every_us))
        if now_us - last_us < every_us:
            return False
        plan.said[what, key] = now_us
        return True

    def _remember(self, spans: Mapping[tuple[int, str, int], BlindSpan]) -> None:
        self._blind |= spans
        for span in (b for b in spans.values() if b.reason == CLOCK_WRONG):
            if span.to_us is None:
                self._clock_wrong[span.gateway] = span
            else:
                self._clock_wrong.pop(span.gateway, None)

    def _forget(self, now_us: int) -> None:
        """Keep what bounds repetition small; what is forgotten is at worst said or written once more."""
        if len(self._said) > MANY:
            self._said = {key: at_us for key, at_us in self._said.items() if now_us - at_us < REFUSE_EVERY_US}
        if len(self._blind) > MANY:
            self._blind = {key: b for key, b in self._blind.items() if b.to_us is None}


def _reply(shard: int, code: str, message: Down) -> Reply:
    return Reply(topic=topic_down(shard, code), payload=encode_message(message))
