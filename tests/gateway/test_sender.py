"""The sender's rules one by one: slow start, credit, probes, epochs, older streams first, what is kept and for how long."""

from gateway.clock import DAY_US, HOUR_US, SECOND_US
from gateway.uplink import TAILS, Key, Sender
from gateway.wire import Answer, stream_text
from tests.gateway.world import ROOMY, START


def sender_of(*sizes: int) -> Sender:
    """A connected sender in epoch 1 whose stream 1 has frames of these sizes."""
    sender = Sender(budget_bytes=ROOMY, epoch=1)
    sender.open(1)
    for size in sizes:
        sender.sealed(size)
    sender.connected()
    return sender


def answered(seq: int, *, epoch: int = 1, stream: int = 1, window: int = 10**6) -> Answer:
    return Answer(epoch=epoch, stream=stream_text(stream), seq=seq, window=window)


def test_it_starts_slowly_grows_with_what_is_acknowledged_and_never_beyond_the_credit() -> None:
    sender = sender_of(*[1024] * 400)
    assert sender.tick(START) == [Key(1, n) for n in range(1, 17)]
    assert sender.tick(START) == []
    sender.answer(answered(8, window=100 * 1024), START)
    assert sender.tick(START) == [Key(1, n) for n in range(17, 33)]  # 8 KiB less on the way, 8 KiB more allowed
    through, widest = 32, 0
    while sender.queued_frames:
        sender.answer(answered(through, window=100 * 1024), START)
        sent = sender.tick(START)
        through += len(sent)
        widest = max(widest, len(sent))
    assert widest == 100


def test_one_frame_may_be_on_the_way_whatever_the_credit() -> None:
    sender = sender_of(60_000, 60_000)
    assert sender.tick(START) == [Key(1, 1)]
    sender.answer(answered(1, window=0), START)
    assert sender.tick(START) == [Key(1, 2)]


def test_silence_is_probed_with_one_frame_ever_more_patiently_and_then_starts_slowly() -> None:
    sender = sender_of(*[1024] * 40)
    now = START
    assert len(sender.tick(now)) == 16
    for wait in (5, 10, 20, 40, 60, 60):
        assert sender.wake_us() == now + wait * SECOND_US
        assert sender.tick(now + wait * SECOND_US - 1) == []
        now += wait * SECOND_US
        assert sender.tick(now) == [Key(1, 1)]
    sender.answer(answered(1), now)
    assert sender.tick(now) == [Key(1, 2)]
    sender.answer(answered(2), now)
    assert sender.tick(now) == [Key(1, 3), Key(1, 4)]
    assert sender.wake_us() == now + 5 * SECOND_US


def test_a_clock_set_back_does_not_stop_the_timer() -> None:
    sender = sender_of(100)
    sender.tick(START)
    now = START - 30 * DAY_US
    assert sender.tick(now) == []
    assert sender.tick(now + 5 * SECOND_US) == [Key(1, 1)]


def test_in_an_epoch_the_cursor_only_rises_and_an_older_epoch_or_a_foreign_stream_says_nothing() -> None:
    sender = sender_of(*[100] * 10)
    sender.tick(START)
    sender.answer(answered(5), START)
    for stale in (answered(3), answered(9, epoch=0), answered(9, stream=2), answered(2, epoch=9, stream=2)):
        assert not sender.answer(stale, START)
        assert sender.queued_frames == 5
        assert sender.tick(START) == []
    assert sender.epoch == 1
    assert sender.answer(answered(3, epoch=2), START)
    assert sender.queued_frames == 7
    assert sender.tick(START) == [Key(1, n) for n in range(4, 11)]


def test_after_a_new_epoch_each_older_stream_is_asked_with_one_frame_before_the_rest() -> None:
    sender = sender_of(*[100] * 5)
    sender.tick(START)
    sender.answer(answered(5), START)
    sender.open(2)
    sender.sealed(100)
    assert sender.tick(START) == [Key(2, 1)]
    sender.answer(answered(1, stream=2, epoch=2), START)
    assert sender.tick(START) == [Key(1, 1)]
    assert sender.tick(START) == []
    sender.answer(answered(2, epoch=2), START)
    assert sender.tick(START) == [Key(1, 3), Key(1, 4), Key(1, 5)]


def test_a_newer_stream_waits_until_the_older_one_is_stored() -> None:
    sender = sender_of(100)
    sender.open(2)
    sender.sealed(100)
    assert sender.tick(START) == [Key(1, 1)]
    sender.answer(answered(1), START)
    assert sender.tick(START) == [Key(2, 1)]


def test_acknowledged_frames_are_kept_for_three_days_or_half_the_spool() -> None:
    sender = sender_of(*[100] * 10)
    sender.tick(START)
    sender.answer(answered(10), START)
    assert sender.trim(START + 72 * HOUR_US) == []
    assert sender.trim(START + 73 * HOUR_US) == [Key(1, 9)]  # the last stays, to name the loss of the others
    small = Sender(budget_bytes=1000, epoch=1)
    small.open(1)
    for _ in range(9):
        small.sealed(100)
    small.connected()
    small.tick(START)
    small.answer(answered(7), START)
    assert small.trim(START) == [Key(1, 2)]
    assert small.oldest(1) == 3


def test_what_a_restored_backend_acknowledged_anew_is_kept_anew() -> None:
    sender = sender_of(100, 100)
    sender.tick(START)
    sender.answer(answered(2), START)
    sender.answer(answered(2, epoch=2), START + 70 * HOUR_US)
    assert sender.trim(START + 80 * HOUR_US) == []
    assert sender.trim(START + 143 * HOUR_US) == [Key(1, 1)]


def test_a_frame_dropped_on_the_way_makes_room_for_the_next() -> None:
    sender = Sender(budget_bytes=250, epoch=1)
    sender.open(1)
    sender.sealed(100)
    sender.connected()
    sender.answer(answered(0, window=0), START)
    assert sender.tick(START) == [Key(1, 1)]
    sender.sealed(100)
    sender.sealed(100)
    assert sender.tick(START) == []
    assert sender.trim(START) == [Key(1, 1)]
    assert sender.tick(START) == [Key(1, 2)]


def test_of_many_old_streams_only_the_settled_ones_go_altogether() -> None:
    sender = Sender(budget_bytes=ROOMY, epoch=1)
    sender.connected()
    for stream in range(1, TAILS + 11):
        sender.open(stream)
        sender.sealed(100)
        if stream != 3:
            sender.answer(answered(1, stream=stream), START)
    assert sender.trim(START) == []
    assert sender.trim(START + 80 * HOUR_US) == [Key(n, 1) for n in range(1, 11) if n != 3]


def test_reconnects_are_spread_over_a_minute() -> None:
    sender = Sender(budget_bytes=ROOMY)
    waits = [sender.disconnected(jitter) for jitter in (0.0, 0.5, 0.999)]
    assert 0 < waits[0] < SECOND_US
    assert 29 * SECOND_US < waits[1] < 31 * SECOND_US
    assert 59 * SECOND_US < waits[2] < 61 * SECOND_US
