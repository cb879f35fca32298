"""Whose clock is wrong, and what must not be mistaken for it."""

from ingest.clocks import Clocks

NOW, S, MIN = 1_795_000_000_000_000, 1_000_000, 60_000_000


def test_a_clock_behind_is_believed_wrong_when_two_heartbeats_agree() -> None:
    clocks = Clocks()
    clocks.heartbeat(1, NOW - 10 * MIN, NOW)
    assert clocks.wrong(1) is None
    clocks.heartbeat(1, NOW - 10 * MIN + 15 * S, NOW + 15 * S + 200_000)
    assert (clocks.wrong(1), clocks.offset_us(1)) == (NOW + 15 * S + 200_000, 10 * MIN + 200_000)
    clocks.heartbeat(1, NOW + 29 * S, NOW + 30 * S)
    assert (clocks.wrong(1), clocks.offset_us(1)) == (None, 0)


def test_heartbeats_that_were_held_up_on_the_way_are_no_proof() -> None:
    clocks = Clocks()
    for late_s in (300, 285, 270, 130):
        clocks.heartbeat(1, NOW - late_s * S, NOW)
        assert clocks.wrong(1) is None


def test_a_time_in_the_future_needs_no_second_witness() -> None:
    clocks = Clocks()
    clocks.heartbeat(1, NOW + 3 * MIN, NOW)
    clocks.watermark(2, NOW + 3 * MIN, NOW)
    clocks.watermark(3, NOW + MIN, NOW)
    assert [clocks.offset_us(g) for g in (1, 2, 3)] == [-3 * MIN, -3 * MIN, 0]
    assert [clocks.wrong(g) for g in (1, 2, 3)] == [NOW, NOW, None]


def test_what_the_store_says_of_a_clock_holds_until_a_heartbeat_is_right() -> None:
    clocks = Clocks()
    clocks.wrong_since(1, NOW - MIN)
    assert clocks.wrong(1) == NOW - MIN
    clocks.heartbeat(1, NOW, NOW)
    assert clocks.wrong(1) is None
