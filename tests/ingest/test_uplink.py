"""The receiving side: verdicts within a batch, failed transactions, named losses, heartbeats."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.wire import MAX_BODY_BYTES, Header
from ingest.uplink import Offered, Receiver, Verdict, credit

STORE, DUPLICATE, AHEAD = (Offered(verdict=v) for v in Verdict)


def header(seq: int, oldest: int = 1, stream: int = 5) -> Header:
    return Header(stream=stream, seq=seq, oldest=oldest, since_us=1, through_us=2)


@pytest.fixture
def receiver() -> Receiver:
    r = Receiver()
    r.load(1, {5: 10})
    return r


def test_a_batch_sees_its_own_frames_and_the_answer_does_not_until_it_is_committed(receiver: Receiver) -> None:
    assert receiver.offer(1, header(11)) == STORE
    assert receiver.offer(1, header(11)) == DUPLICATE
    assert receiver.offer(1, header(13)) == AHEAD
    assert receiver.offer(1, header(12)) == STORE
    assert receiver.cursor(1, 5) == 10
    assert not receiver.covers(1, 5, 12)
    assert receiver.pending() == {(1, 5): 12}
    assert receiver.commit() == {(1, 5): 12}
    assert receiver.cursor(1, 5) == 12
    assert receiver.commit() == {}


def test_a_failed_transaction_is_forgotten_and_the_frames_are_the_next_again(receiver: Receiver) -> None:
    receiver.offer(1, header(11))
    receiver.rollback()
    assert receiver.commit() == {}
    assert receiver.offer(1, header(12)) == AHEAD
    assert receiver.offer(1, header(11)) == STORE


def test_only_the_oldest_frame_that_is_held_names_a_loss(receiver: Receiver) -> None:
    assert receiver.offer(1, header(16, oldest=15)) == AHEAD
    assert receiver.offer(1, header(15, oldest=15)) == Offered(verdict=Verdict.STORE, lost=(11, 14))
    assert receiver.offer(1, header(12, oldest=12)) == DUPLICATE
    assert receiver.offer(1, header(16, oldest=15)) == STORE


def test_a_heartbeat_counts_only_when_everything_made_before_it_is_stored(receiver: Receiver) -> None:
    assert receiver.covers(1, 5, 10)
    assert not receiver.covers(1, 5, 11)
    assert not receiver.covers(1, 5, 9)
    assert receiver.covers(1, 6, 0)


def test_a_shard_handed_over_leaves_nothing_behind(receiver: Receiver) -> None:
    receiver.load(2, {})
    receiver.offer(1, header(11))
    receiver.offer(2, header(1))
    receiver.forget(1)
    assert not receiver.knows(1)
    assert receiver.pending() == {(2, 5): 1}
    receiver.clear()
    assert not receiver.knows(2)
    assert receiver.commit() == {}
    with pytest.raises(KeyError):
        receiver.offer(2, header(1))


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 12), st.integers(1, 12), st.sampled_from("cr-"))))
def test_every_number_up_to_the_cursor_is_stored_or_named_lost_exactly_once(
    offers: list[tuple[int, int, int, str]],
) -> None:
    receiver = Receiver()
    receiver.load(1, {})
    durable: dict[int, list[int]] = {0: [], 1: [], 2: []}
    batch: list[tuple[int, int]] = []
    for stream, seq, back, then in offers:
        offered = receiver.offer(1, header(seq, oldest=max(1, seq - back + 1), stream=stream))
        if offered.verdict is Verdict.STORE:
            low, high = offered.lost or (seq, seq - 1)
            batch += [(stream, n) for n in [*range(low, high + 1), seq]]
        if then == "c":
            receiver.commit()
            for s, n in batch:
                durable[s].append(n)
        elif then == "r":
            receiver.rollback()
        if then != "-":
            batch = []
        for s, numbers in durable.items():
            assert numbers == list(range(1, receiver.cursor(1, s) + 1))


def test_a_gateway_far_behind_gets_little_credit_but_enough_for_any_frame() -> None:
    assert credit(0) == 1024 * 1024
    assert 2 * MAX_BODY_BYTES <= credit(50_000_000) < credit(0)
