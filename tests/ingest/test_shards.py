"""Several workers: shards are shared evenly, come back from whoever is gone or hangs, and are never written by two."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from ingest.errors import Fenced
from ingest.shards import SPACE, Shards
from tests.ingest.frames import MINUTE_US, NOW_US, Sender, Store, contact, store, stored, total

Conn = psycopg.Connection[Any]
WANTED = range(10)


@pytest.fixture
def workers(dsn: str) -> Iterator[list[Shards]]:
    with ExitStack() as stack:
        yield [stack.enter_context(Shards(dsn, name)) for name in ("a", "b", "c")]


def turn(*workers: Shards) -> list[int]:
    """Let each worker look twice. Returns how many shards each has."""
    for w in (*workers, *workers):
        w.give(WANTED)
        w.take(WANTED)
    held = [s for w in workers for s in w.owned]
    assert len(held) == len(set(held))
    return [len(w.owned) for w in workers]


def test_shards_are_shared_evenly_as_workers_come_and_go(workers: list[Shards]) -> None:
    a, b, c = workers
    assert turn(a) == [10]
    assert turn(a, b) == [5, 5]
    assert sorted(turn(a, b, c)) == [2, 4, 4]
    a.close()
    assert turn(b, c) == [5, 5]
    c.close()
    assert turn(b) == [10]


def test_a_shard_given_back_was_not_left_by_someone_who_died(workers: list[Shards]) -> None:
    a, b, _ = workers
    turn(a)
    turn(a, b)
    assert not any(o.left for o in b.owned.values())
    epochs = {s: o.epoch for s, o in b.owned.items()}
    b.conn.close()  # as a process that is killed
    while len(a.owned) < len(WANTED):  # the server lets go of what the dead one held a moment later
        a.take(WANTED)
    assert all(a.owned[s].left and a.owned[s].epoch > epoch for s, epoch in epochs.items())


def test_a_worker_that_says_nothing_loses_its_shards(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.shards.SILENCE_S", 0.2)
    monkeypatch.setattr("ingest.shards.BUSY_S", 0.0)
    with Shards(dsn, "hangs") as hangs:
        hangs.take(WANTED)
        monkeypatch.setattr("ingest.shards.SILENCE_S", 15)
        with Shards(dsn, "lives") as lives:
            while len(lives.owned) < len(WANTED):
                lives.take(WANTED)
        assert len(hangs.owned) == len(WANTED)  # it does not know yet; its epochs are old


def test_a_worker_that_is_busy_for_longer_than_silence_lasts_keeps_its_shards(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.shards.SILENCE_S", 3)
    with Shards(dsn, "busy") as busy, psycopg.connect(dsn, autocommit=True) as conn:
        turn(busy)
        heard = "SELECT max(state_change) > %s::timestamptz + interval '4 s' FROM pg_stat_activity WHERE pid = %s"
        (began,) = conn.execute("SELECT clock_timestamp()").fetchall()[0]
        end = time.monotonic() + 60
        while time.monotonic() < end and conn.execute(heard, [began, busy.conn.info.backend_pid]).fetchone() == (False,):
            time.sleep(0.02)
        busy.check()
        assert turn(busy) == [10]


def test_a_transaction_that_hangs_over_one_shard_keeps_nobody_from_the_others(
    conn: Conn, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.shards.PATIENCE_S", 0.1)
    with Shards(dsn, "heir") as heir:
        with conn.transaction():
            conn.execute("SELECT FROM shard WHERE id = 3 FOR UPDATE")
            assert [o.shard for o in heir.take(WANTED)] == [s for s in WANTED if s != 3]
        assert [o.shard for o in heir.take(WANTED)] == [3]


def look_again(*stores: Store) -> None:
    """Let each worker look at its shards now, twice."""
    for s in (*stores, *stores):
        s.worker._shards_due_us = 0
        s.take()


def test_a_shard_that_comes_back_is_read_from_the_log_and_not_from_memory(conn: Conn, dsn: str, town: dict[str, int]) -> None:
    del town
    sender = Sender()
    with store(dsn) as first:
        first.take(sender.frame(total(NOW_US, 10)))
        with store(dsn) as second:
            first.worker.wanted = second.worker.wanted = (4, 3)
            look_again(first, second)
            assert (list(first.worker.shards.owned), list(second.worker.shards.owned)) == ([4], [3])
            assert second.take(sender.frame(total(NOW_US + MINUTE_US, 15)))
        look_again(first)
        first.take(sender.frame(total(NOW_US + 2 * MINUTE_US, 18)))
    assert stored(conn, "a, d_in") == [(10, 0), (15, 5), (18, 3)]


def test_two_workers_that_hold_one_shard_never_write_both(conn: Conn, dsn: str, town: dict[str, int]) -> None:
    sender, gateway = Sender(), town["gw:gw-hc01"]
    frames = [sender.frame(contact(NOW_US + n, n % 2)) for n in range(300)]
    ended, halfway = threading.Event(), threading.Event()
    with store(dsn) as first, store(dsn) as second:
        first.take()

        def write() -> None:
            try:
                for n, frame in enumerate(frames):
                    first.take(frame)
                    if n == 20:
                        halfway.set()
            except Fenced:
                ended.set()

        writing = threading.Thread(target=write)
        writing.start()
        halfway.wait(20)
        first.worker.shards.conn.execute("SELECT pg_advisory_unlock(%s, 3)", [SPACE])  # its lock is stolen
        second.take()
        assert 3 in first.worker.shards.owned
        assert 3 in second.worker.shards.owned
        for frame in frames:
            second.take(frame)
        writing.join(20)
        assert ended.is_set()
        first.worker.intake.failed()
        with pytest.raises(Fenced):
            first.take(frames[first.worker.intake.receiver.cursor(gateway, sender.stream)])
    assert stored(conn, "t_us") == [NOW_US + n for n in range(300)]
    assert conn.execute("SELECT count(*), count(DISTINCT seq) FROM frame").fetchall() == [(300, 300)]
