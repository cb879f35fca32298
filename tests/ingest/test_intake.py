"""What is done with a message, decided without broker or database."""

from typing import Any

import pytest

from gateway.wire import Answer, Blind, Config, Down, Heartbeat, Refusal, decode_down, encode_message, stream_text
from ingest.columns import BlindSpan, Coverage
from ingest.intake import Intake, Plan
from ingest.reading import Message, read
from ingest.shards import Owned
from ingest.snapshot import Consent, Gateway, Snapshot
from ingest.uplink import BACKLOG_WINDOW_BYTES, LIVE_WINDOW_BYTES
from tests.ingest.frames import MINUTE_US, NOW_US, TOKEN, Sender, contact

S = 1_000_000
NEVER = 2**63 - 1


@pytest.fixture
def intake() -> Intake:
    """A worker that owns shard 3, gateway 1 on it; gateway 2 is suspended, gateway 3 is another worker's."""
    owned = {3: Owned(shard=3, epoch=8, pos=0, analysed=0)}
    i = Intake(owned, 60 * S, NOW_US)
    gateways = [
        Gateway(id=1, code="gw-hc01", shard=3, suspended=False),
        Gateway(id=2, code="gw-off", shard=3, suspended=True),
        Gateway(id=3, code="gw-far", shard=9, suspended=False),
    ]
    i.snapshot = Snapshot(
        version=1,
        gateways={g.code: g for g in gateways},
        persons={TOKEN: Consent(id=5, from_us=0, to_us=NEVER)},
        links={1: [("face/5500001", "17", TOKEN)]},
    )
    i.load(gateways[:2], [(1, 0xA1, 2)], [], [])
    return i


def beat(sender: Sender, seq: int, later_us: int = 0, sent_us: int | None = None, **more: Any) -> Message:
    """A heartbeat of the sender's stream, `later_us` after NOW_US; `sent_us` by the gateway's own clock."""
    now = NOW_US + later_us
    values: dict[str, Any] = {"since_us": sender.since_us, "through_us": sent_us or now, "sent_us": sent_us or now} | more
    return sender.message(encode_message(Heartbeat(stream=stream_text(sender.stream), seq=seq, **values)), now)


def store(intake: Intake, *messages: Message, later_us: int = 0) -> tuple[Plan, list[Down]]:
    """Plan and commit. Returns the plan and what is said."""
    plan = intake.plan(read(messages), NOW_US + later_us)
    return plan, [decode_down(r.payload) for r in intake.committed(plan, NOW_US + later_us)]


@pytest.mark.parametrize(
    ("code", "shard", "reason"),
    [
        ("gw-new", 3, "unknown_gateway"),
        ("gw-off", 3, "suspended"),
        ("gw-far", 3, "wrong_shard"),
        ("gw-new", 67, "unknown_gateway"),
        ("gw-far", 9, None),
        ("gw-new", 9, None),
    ],
)
def test_who_may_not_speak_is_told_why_by_the_owner_of_the_topics_shard(
    intake: Intake, code: str, shard: int, reason: str | None
) -> None:
    sender = Sender(code, shard)
    plan = intake.plan(read([sender.frame(contact(NOW_US, 1)), sender.frame(contact(NOW_US, 0))]), NOW_US)
    assert not any(plan.work.values())
    replies = intake.committed(plan, NOW_US)
    assert [r.topic for r in replies] == ([f"care/v1/{shard}/{code}/down"] if reason else [])
    said = [decode_down(r.payload) for r in replies]
    assert [s.reason for s in said if isinstance(s, Refusal)] == ([reason] if reason else [])


def test_a_refusal_is_repeated_every_ten_seconds_at_most(intake: Intake) -> None:
    sender = Sender("gw-new")
    said = [len(store(intake, Message(topic=sender.topic, payload=b"x", arrived_us=NOW_US + s * S))[1]) for s in (0, 4, 9, 11)]
    assert said == [1, 0, 0, 1]


@pytest.mark.parametrize("topic", ["care/v1/3/gw-hc01", "care/v1/three/gw-hc01/up", "care/v1/3/a/b/up", "care/v1/²/gw-hc01/up"])
def test_topics_that_are_none_are_ignored(intake: Intake, topic: str) -> None:
    assert store(intake, Message(topic=topic, payload=b"x", arrived_us=NOW_US))[1] == []


def test_an_unreadable_header_is_quarantined_and_refused_once_a_second(intake: Intake) -> None:
    sender = Sender()
    bad = b"\xca\xfe" + bytes(70)
    plan, said = store(intake, sender.message(bad), sender.message(bad), sender.message(b"{}", NOW_US + 2 * S))
    assert [(q.reason, q.data, q.gateway) for q in plan.quarantined] == [("bad_header", bad, 1), ("bad_message", b"{}", 1)]
    assert [s.reason for s in said if isinstance(s, Refusal)] == ["bad_header"]


def test_a_repeat_and_a_frame_ahead_are_answered_with_the_cursor_the_latter_not_too_often(intake: Intake) -> None:
    sender = Sender()
    again = sender.frame(contact(NOW_US, 1))
    ahead = sender.frame(contact(NOW_US, 1), skip=5)
    assert store(intake, again)[1] == [Answer(epoch=8, stream=stream_text(0xA1), seq=2, window=LIVE_WINDOW_BYTES)]
    plan, said = store(intake, ahead)
    assert [s.seq for s in said if isinstance(s, Answer)] == [2]
    assert not any(plan.work.values())
    assert store(intake, ahead)[1] == []
    later = Message(topic=ahead.topic, payload=ahead.payload, arrived_us=NOW_US + 250_000)
    assert len(store(intake, later)[1]) == 1


def test_what_failed_is_planned_again_and_was_not_said(intake: Intake) -> None:
    sender = Sender(stream=0xB2)
    frame = sender.frame(contact(NOW_US, 1))
    assert intake.plan(read([frame]), NOW_US).work[3].cursors == {(1, 0xB2): 1}
    intake.failed()
    plan, said = store(intake, frame)
    assert plan.work[3].cursors == {(1, 0xB2): 1}
    assert [s.seq for s in said if isinstance(s, Answer)] == [1]


def test_a_heartbeat_covers_only_where_the_cursor_is(intake: Intake) -> None:
    sender = Sender()
    covered = Coverage(gateway=1, stream=0xA1, from_us=sender.since_us, through_us=NOW_US)
    assert store(intake, beat(sender, 2))[0].work[3].coverage == {(1, 0xA1): covered}
    assert store(intake, beat(sender, 3))[0].work[3].coverage == {}
    sender.seq = 2
    frame = sender.frame(contact(NOW_US, 1), through_us=NOW_US - 5)
    assert store(intake, frame, beat(sender, 3))[0].work[3].coverage == {(1, 0xA1): covered}


def test_every_heartbeat_is_answered_with_epoch_cursor_and_a_window_by_what_is_queued(intake: Intake) -> None:
    sender = Sender()
    said = store(intake, beat(sender, 7, queued_bytes=50_000_000))[1]
    assert said[0] == Answer(epoch=8, stream=stream_text(0xA1), seq=2, window=BACKLOG_WINDOW_BYTES)


def test_a_gateway_with_another_configuration_gets_the_present_one(intake: Intake) -> None:
    sender = Sender()
    said = store(intake, beat(sender, 2, config=77))[1]
    (config,) = [s for s in said if isinstance(s, Config)]
    assert [(p.device, p.local_id, p.token) for p in config.persons] == [("face/5500001", "17", TOKEN.hex())]
    assert not any(isinstance(s, Config) for s in store(intake, beat(sender, 2, config=config.version))[1])


def test_blind_spans_are_stored_once_and_again_when_they_end(intake: Intake) -> None:
    sender = Sender()
    began = Blind(source="z2m/", from_us=NOW_US - 9, reason="bridge offline")
    ended = Blind(source="z2m/", from_us=NOW_US - 9, to_us=NOW_US, reason="bridge offline")
    plans = [store(intake, beat(sender, 2, blind=[b]))[0] for b in (began, began, ended, ended)]
    assert [[b.to_us for b in p.work[3].blind.values()] for p in plans] == [[None], [], [NOW_US], []]


@pytest.mark.parametrize("blind", [Blind(source="z" * 3000, from_us=1), Blind(source="z", from_us=1, reason="\0")])
def test_blind_spans_that_the_store_cannot_hold_are_quarantined(intake: Intake, blind: Blind) -> None:
    plan, said = store(intake, beat(Sender(), 2, blind=[blind]))
    assert ([q.reason for q in plan.quarantined], said) == (["bad_message"], [])
    assert not plan.work[3].blind


def test_a_wrong_clock_holds_the_watermark_and_is_one_blind_span_until_it_is_right(intake: Intake) -> None:
    sender, slow = Sender(), 30 * MINUTE_US
    beats = [beat(sender, 2, n * 15 * S, NOW_US + n * 15 * S - slow) for n in range(3)] + [beat(sender, 2, 45 * S)]
    plans = [store(intake, b, later_us=n * 15 * S)[0] for n, b in enumerate(beats)]
    spans = [list(p.work[3].blind.values()) for p in plans]
    wrong = BlindSpan(gateway=1, source="", from_us=NOW_US + 15 * S, to_us=None, reason="clock wrong")
    assert [len(s) for s in spans] == [0, 1, 0, 1]
    assert spans[1] == [wrong]
    assert spans[3][0].to_us == NOW_US + 45 * S
    assert [bool(p.work[3].coverage) for p in plans] == [True, False, False, True]


def test_frames_under_a_wrong_clock_are_shifted(intake: Intake) -> None:
    sender = Sender(stream=0xC3)
    for n in range(2):
        store(intake, beat(sender, 0, n * S, NOW_US + n * S - 30 * MINUTE_US))
    frame = sender.frame(contact(NOW_US - 29 * MINUTE_US, 1), through_us=NOW_US - 29 * MINUTE_US)
    plan, _ = store(intake, frame)
    assert [f.offset_us for f in plan.work[3].frames] == [30 * MINUTE_US]
    assert not plan.work[3].coverage


def test_nobody_is_covered_in_the_future_or_before_their_clock_was_set(intake: Intake) -> None:
    sender = Sender(stream=0xD4, since_us=90 * S)
    plan, _ = store(intake, beat(sender, 0))
    assert plan.work[3].coverage == {(1, 0xD4): Coverage(gateway=1, stream=0xD4, from_us=NOW_US, through_us=NOW_US)}
    plan, _ = store(intake, beat(sender, 0, sent_us=NOW_US, through_us=NOW_US + 60 * MINUTE_US))
    assert not plan.work[3].coverage


def test_a_span_of_a_wrong_clock_is_taken_over_from_the_last_worker(intake: Intake) -> None:
    gateway = Gateway(id=4, code="gw-hc04", shard=3, suspended=False)
    intake.snapshot.gateways["gw-hc04"] = gateway
    left = BlindSpan(gateway=4, source="", from_us=NOW_US - MINUTE_US, to_us=None, reason="clock wrong")
    intake.load([gateway], [], [left], [])
    plan, _ = store(intake, beat(Sender("gw-hc04", stream=1), 0))
    assert [(b.from_us, b.to_us) for b in plan.work[3].blind.values()] == [(NOW_US - MINUTE_US, NOW_US)]
