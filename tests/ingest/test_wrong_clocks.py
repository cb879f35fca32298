"""A gateway whose clock is wrong: one gap for as long as it is, times corrected, nothing covered that was not."""

from dataclasses import replace
from typing import Any

import psycopg
import pytest

from gateway.wire import Heartbeat, encode_message, stream_text
from tests.ingest.frames import MINUTE_US, NOW_US, Sender, Store, contact, store, stored

S, YEAR_US = 1_000_000, 31_557_600_000_000
BEAT_US = 15 * S
CLOCKS = {
    "never set, so it began at 1970": 3 * MINUTE_US - NOW_US,
    "set to 2099": 73 * YEAR_US,
    "stepped back by three hours": -180 * MINUTE_US,
    "stepped back by three minutes": -3 * MINUTE_US,
}


class Gateway:
    """A gateway that begins a new stream whenever its clock is set, as ours does."""

    def __init__(self, to: Store) -> None:
        self.store, self.now_us, self.offset_us, self.stream = to, NOW_US, 0, 0xA0
        self.set_clock(0)

    def set_clock(self, offset_us: int) -> None:
        self.offset_us, self.stream = offset_us, self.stream + 1
        self.sender = Sender(stream=self.stream, since_us=self.now_us + offset_us)

    def live(self, beats: int, opened: int) -> int:
        """Beat for a while and send a door in the middle. Returns the true time of the door."""
        door_us = 0
        for n in range(beats):
            self.now_us += BEAT_US
            own_us = self.now_us + self.offset_us
            if n == beats // 2:
                door_us = self.now_us
                frame = self.sender.frame(contact(own_us, opened), through_us=own_us)
                self.store.take(replace(frame, arrived_us=self.now_us + S // 10), now_us=self.now_us + S // 10)
            beat = Heartbeat(
                stream=stream_text(self.stream),
                seq=self.sender.seq,
                since_us=self.sender.since_us,
                through_us=own_us,
                sent_us=own_us,
            )
            message = self.sender.message(encode_message(beat), self.now_us + S // 10)
            self.store.take(message, now_us=self.now_us + S // 10)
        return door_us


@pytest.mark.parametrize("offset_us", CLOCKS.values(), ids=CLOCKS.keys())
def test_a_wrong_clock_is_one_gap_and_the_times_are_right(
    conn: psycopg.Connection[Any], dsn: str, town: dict[str, int], offset_us: int
) -> None:
    with store(dsn) as s:
        gateway = Gateway(s)
        doors = [gateway.live(6, 1)]
        wrong_from_us = gateway.now_us
        gateway.set_clock(offset_us)
        doors.append(gateway.live(8, 0))
        wrong_to_us = gateway.now_us
        gateway.set_clock(0)
        doors.append(gateway.live(6, 1))
    gaps = conn.execute("SELECT source, from_us, to_us, gateway FROM blind WHERE reason = 'clock wrong'").fetchall()
    assert len(gaps) == 1
    source, from_us, to_us, where = gaps[0]
    assert (source, where) == ("", town["gw:gw-hc01"])
    assert abs(from_us - wrong_from_us) <= 3 * BEAT_US
    assert abs(to_us - wrong_to_us) <= 3 * BEAT_US
    for t_us, true_us in zip(stored(conn, "t_us"), doors, strict=True):
        assert abs(t_us - true_us) < 2 * S
    covered = conn.execute("SELECT from_us, through_us FROM coverage").fetchall()
    assert len(covered) >= 2
    outside = [b - a for a, b in covered if not NOW_US <= a <= b <= gateway.now_us + S]
    assert sum(outside) <= 2 * BEAT_US  # what a clock behind says until a second heartbeat agrees with the first


def test_a_clock_that_is_wrong_from_the_start_covers_nothing_until_it_is_set(
    conn: psycopg.Connection[Any], dsn: str, town: dict[str, int]
) -> None:
    del town
    with store(dsn) as s:
        gateway = Gateway(s)
        gateway.set_clock(3 * MINUTE_US - NOW_US)
        door_us = gateway.live(8, 1)
        assert conn.execute("SELECT count(*) FROM coverage").fetchone() == (0,)
        gateway.set_clock(0)
        gateway.live(6, 0)
    assert abs(stored(conn, "t_us")[0] - door_us) < 2 * S
    assert conn.execute("SELECT count(*), count(to_us) FROM blind WHERE reason = 'clock wrong'").fetchone() == (1, 1)
