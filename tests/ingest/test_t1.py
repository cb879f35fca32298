"""T1 on a real PostgreSQL: exactly once, whatever breaks."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import psycopg
import pytest

from gateway.events import Event, Flag, Kind, Result
from gateway.wire import Answer, decode_down
from ingest.columns import Coverage
from ingest.errors import Fenced, ShardsLost
from ingest.intake import Reply
from ingest.reading import Message, read
from smartcare.embedded import postgres
from tests.ingest.frames import FACE, MINUTE_US, NOW_US, TOKEN, Sender, Store, contact, counts, passage, store, stored, total

Conn = psycopg.Connection[Any]


def answers(replies: list[Reply]) -> list[int]:
    """Return seq of the answers among `replies`."""
    found = [decode_down(r.payload) for r in replies]
    return [a.seq for a in found if isinstance(a, Answer)]


def test_frames_are_stored_and_answered_after_commit(conn: Conn, dsn: str, town: dict[str, int]) -> None:
    sender = Sender()
    with store(dsn) as s:
        replies = s.take(sender.frame(contact(NOW_US, 1), contact(NOW_US + 1, 0)), sender.frame(total(NOW_US, 5)))
    assert answers(replies) == [2]
    door = town["dev:gw-hc01 z2m/前门"]
    place = town["place:HC01/door"]
    assert stored(conn, "device, place, t_us, a, ordinal, lag_ms, shard")[:2] == [
        (door, place, NOW_US, 1, 0, 0, 3),
        (door, place, NOW_US + 1, 0, 1, 0, 3),
    ]
    assert stored(conn, "lag_ms")[2] == 1500
    assert conn.execute("SELECT first, events, seq FROM frame ORDER BY seq").fetchall() == [(0, 2, 1), (2, 1, 2)]
    assert conn.execute("SELECT pos FROM shard WHERE id = 3").fetchone() == (s.batches[-1].pos,)
    assert counts(conn, place) == {"people_in": 0, "people_out": 0, "passages": 0, "openings": 1, "events": 3}


def test_the_same_frames_offered_again_are_stored_once_also_by_the_next_worker(
    conn: Conn, dsn: str, town: dict[str, int]
) -> None:
    del town
    sender = Sender()
    frames = [sender.frame(contact(NOW_US + i, i % 2)) for i in range(4)]
    with store(dsn) as s:
        s.take(*frames[:2], frames[0])
        assert answers(s.take(*frames[:3])) == [3]
    with store(dsn) as s:
        assert answers(s.take(*frames)) == [4]
    assert stored(conn, "t_us") == [NOW_US + i for i in range(4)]


def test_a_transaction_that_fails_leaves_nothing_behind_and_is_repeated(conn: Conn, dsn: str, town: dict[str, int]) -> None:
    sender = Sender()
    with store(dsn) as s:
        s.take(sender.frame(total(NOW_US, 10)))
        conn.execute("ALTER TABLE rollup_hour ADD CONSTRAINT broken CHECK (people_in < 5)")
        frame = sender.frame(total(NOW_US + MINUTE_US, 40))
        plan = s.worker.intake.plan(read([frame]), NOW_US)
        with pytest.raises(psycopg.errors.CheckViolation):
            s.worker.t1.write(plan.work, [], s.worker.intake.snapshot, NOW_US)
        s.worker.intake.failed()
        conn.execute("ALTER TABLE rollup_hour DROP CONSTRAINT broken")
        assert stored(conn, "a") == [10]
        assert answers(s.take(frame)) == [2]
    assert stored(conn, "a, d_in") == [(10, 0), (40, 30)]
    assert counts(conn, town["place:HC01/door"])["people_in"] == 30


def test_a_worker_with_an_old_epoch_cannot_commit(conn: Conn, dsn: str, town: dict[str, int]) -> None:
    del town
    sender = Sender()
    with store(dsn) as s:
        s.take(sender.frame(contact(NOW_US, 1)))
        conn.execute("UPDATE shard SET epoch = epoch + 1 WHERE id = 3")
        with pytest.raises(Fenced) as caught:
            s.take(sender.frame(contact(NOW_US + 1, 0)))
    assert caught.value.theirs == caught.value.ours + 1
    assert stored(conn, "t_us") == [NOW_US]


def test_a_second_worker_gets_no_shard_until_the_first_one_is_gone(dsn: str, town: dict[str, int]) -> None:
    del town
    with store(dsn) as first:
        first.take()
        with store(dsn) as second:
            assert answers(second.take(Sender().frame(contact(NOW_US, 1)))) == []
            first.worker.close()
            second.worker._shards_due_us = 0
            assert answers(second.take(Sender().frame(contact(NOW_US, 1)))) == [1]


def test_losing_the_connection_that_holds_the_locks_is_losing_the_shards(conn: Conn, dsn: str, town: dict[str, int]) -> None:
    del town
    with store(dsn) as s:
        s.take()
        conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'smartcare shards'")
        with pytest.raises(ShardsLost):
            s.take(now_us=NOW_US + 6_000_000)


def waits(admin: Conn, application: str, event: str) -> list[int]:
    """Return the server processes of `application` that wait for `event`."""
    query = "SELECT pid FROM pg_stat_activity WHERE application_name = %s AND wait_event = %s"
    return [pid for (pid,) in admin.execute(query, [application, event]).fetchall()]


@contextmanager
def commits_hang_after_flush(admin: Conn) -> Iterator[None]:
    """Wait for a standby that does not exist: COMMIT is flushed and not answered. Begins when that is in force."""
    stop = threading.Event()

    def commit_until_stopped() -> None:
        with psycopg.connect(admin.info.dsn, password=admin.info.password, autocommit=True, application_name="probe") as probe:
            while not stop.is_set():
                probe.execute("SELECT pg_logical_emit_message(true, 'probe', '')")

    admin.execute("ALTER SYSTEM SET synchronous_standby_names = 'ghost'")
    admin.execute("SELECT pg_reload_conf()")
    thread = threading.Thread(target=commit_until_stopped)
    thread.start()
    try:
        while not waits(admin, "probe", "SyncRep"):
            thread.join(0.01)
        yield
    finally:
        stop.set()
        admin.execute("ALTER SYSTEM RESET synchronous_standby_names")
        admin.execute("SELECT pg_reload_conf()")
        thread.join(30)


def take_and_cut_off(s: Store, frame: Message, admin: Conn, event: str) -> tuple[threading.Thread, list[list[Reply]]]:
    """Begin to store a frame and end T1's server process when it waits for `event`. Returns the thread and its result."""
    result: list[list[Reply]] = []
    thread = threading.Thread(target=lambda: result.append(s.take(frame)))
    thread.start()
    while not (pids := waits(admin, "smartcare T1", event)):
        thread.join(0.01)
        assert thread.is_alive(), "T1 was done before it could be cut off"
    admin.execute("SELECT pg_terminate_backend(%s)", pids)
    while "smartcare T1" in [a for (a,) in admin.execute("SELECT application_name FROM pg_stat_activity WHERE pid = %s", pids)]:
        thread.join(0.01)
    return thread, result


@contextmanager
def commits_hang_before_flush(conn: Conn, dsn: str) -> Iterator[None]:
    """Let a deferred trigger wait for a lock: COMMIT has begun and nothing is decided."""
    conn.execute(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN NULL; END $$"
    )
    conn.execute(
        "CREATE CONSTRAINT TRIGGER wait AFTER UPDATE ON cursor DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait()"
    )
    with psycopg.connect(dsn) as blocker:
        blocker.execute("SELECT pg_advisory_xact_lock(7)")
        yield


@contextmanager
def shard_locked(dsn: str) -> Iterator[None]:
    """Hold the shard's row: T1 has not begun to write."""
    with psycopg.connect(dsn) as blocker:
        blocker.execute("SELECT * FROM shard WHERE id = 3 FOR UPDATE")
        yield


@pytest.mark.parametrize("cut", ["before it writes", "in COMMIT", "after the flush"])
def test_a_transaction_that_is_cut_off_is_stored_once(
    conn: Conn, dsn: str, town: dict[str, int], postgres_server: postgres.Server, cut: str
) -> None:
    del town
    sender = Sender()
    with store(dsn) as s, psycopg.connect(postgres_server.dsn("postgres"), autocommit=True) as admin:
        s.take(sender.frame(total(NOW_US, 10)))
        frame = sender.frame(total(NOW_US + MINUTE_US, 17))
        hanging, event = {
            "before it writes": (shard_locked(dsn), "transactionid"),
            "in COMMIT": (commits_hang_before_flush(conn, dsn), "advisory"),
            "after the flush": (commits_hang_after_flush(admin), "SyncRep"),
        }[cut]
        with hanging:
            thread, result = take_and_cut_off(s, frame, admin, event)
        thread.join(30)
        assert [answers(r) for r in result] == [[2]]
        s.take(sender.frame(total(NOW_US + 2 * MINUTE_US, 20)))
    assert stored(conn, "a, d_in") == [(10, 0), (17, 7), (20, 3)]
    assert [list(b.rows["a"]) for b in s.batches if len(b.rows)] == [[10], [17], [20]]
    assert [b.prev for b in s.batches if b.shard == 3][1:] == [b.pos for b in s.batches if b.shard == 3][:-1]


def test_a_frame_that_t1_cannot_live_with_is_quarantined_alone(conn: Conn, dsn: str, town: dict[str, int]) -> None:
    place = town["place:HC01/door"]
    conn.execute(f"ALTER TABLE rollup_hour ADD CONSTRAINT killer CHECK (place <> {place} OR people_in < 500)")
    sender = Sender()
    frames = [sender.frame(e) for e in (total(NOW_US, 1), total(NOW_US + 1, 999), contact(NOW_US + 2, 1))]
    with store(dsn) as s:
        replies = s.take(*frames)
    assert answers(replies)[-1] == 3
    assert stored(conn, "t_us") == [NOW_US, NOW_US + 2]
    reason, seq, data = conn.execute("SELECT reason, seq, bytes FROM quarantine").fetchall()[0]
    assert (reason, seq, bytes(data)) == ("poison", 2, frames[1].payload)


def test_a_broken_body_is_quarantined_and_passed_over(conn: Conn, dsn: str, town: dict[str, int]) -> None:
    del town
    sender = Sender()
    good, bad = sender.frame(contact(NOW_US, 1)), sender.frame(contact(NOW_US + 1, 0))
    bad = replace(bad, payload=bad.payload[:-1] + b"\xff")
    with store(dsn) as s:
        assert answers(s.take(good, bad, sender.frame(contact(NOW_US + 2, 1)))) == [3]
    assert stored(conn, "t_us") == [NOW_US, NOW_US + 2]
    assert conn.execute("SELECT reason, seq FROM quarantine").fetchall() == [("bad_body", 2)]


def test_a_named_loss_is_a_loss_and_a_blind_time(conn: Conn, dsn: str, town: dict[str, int]) -> None:
    sender, gateway = Sender(), town["gw:gw-hc01"]
    with store(dsn) as s:
        s.take(sender.frame(contact(NOW_US, 1), through_us=NOW_US - 9 * MINUTE_US))
        early = sender.frame(contact(NOW_US, 0), skip=3)
        assert answers(s.take(early)) == [1]
        sender.seq = 1
        s.take(sender.frame(contact(NOW_US, 0), skip=3, oldest=5))
    row = "gateway, stream, from_seq, to_seq, from_us, to_us"
    assert conn.execute(f"SELECT {row} FROM loss").fetchall() == [(gateway, 0xA1, 2, 4, NOW_US - 9 * MINUTE_US, NOW_US)]
    assert conn.execute("SELECT from_us, to_us, reason FROM blind").fetchall() == [
        (NOW_US - 9 * MINUTE_US, NOW_US, "frames lost")
    ]
    assert s.batches[-1].coverage == [Coverage(gateway=gateway, stream=0xA1, from_us=sender.since_us, through_us=NOW_US)]


def test_records_pushed_again_are_dropped_in_a_batch_across_batches_and_across_workers(
    conn: Conn, dsn: str, town: dict[str, int]
) -> None:
    sender = Sender()
    ahead: dict[str, Any] = {"raw_us": NOW_US + 5 * MINUTE_US, "flags": Flag.HAS_KEY | Flag.TIME_IMPLAUSIBLE}
    with store(dsn) as s:
        s.take(sender.frame(passage(NOW_US, 1), passage(NOW_US, 1), passage(NOW_US + 1, 2), passage(NOW_US + 2, 9, **ahead)))
        s.take(sender.frame(passage(NOW_US, 1), passage(NOW_US, 3)))
        # The same record once its time has become plausible, and the same one with another receive time.
        s.take(sender.frame(passage(NOW_US + 5 * MINUTE_US, 9), passage(NOW_US + 77, 9, **ahead)))
    with store(dsn) as s:
        s.take(sender.frame(passage(NOW_US + 1, 2), passage(NOW_US + 5 * MINUTE_US, 9), passage(NOW_US + 6 * MINUTE_US, 4)))
    assert stored(conn, f"key, t_us - {NOW_US}", "passage") == [(1, 0), (2, 1), (9, 2), (3, 0), (4, 6 * MINUTE_US)]
    assert counts(conn, town["place:HC01/canteen"])["passages"] == 5


def test_a_person_is_linked_only_while_consent_holds(conn: Conn, dsn: str, town: dict[str, int]) -> None:
    del town
    sender = Sender()
    before = 1_767_500_000_000_000  # days before the consent
    with store(dsn) as s:
        s.take(
            sender.frame(passage(NOW_US, 1, TOKEN), passage(NOW_US, 2), passage(before, 3, TOKEN), passage(NOW_US, 4, b"x" * 16))
        )
        conn.execute("UPDATE person SET consent_to_us = %s", [NOW_US + 5])
        conn.execute("UPDATE register_version SET version = version + 1")
        s.worker.look_at_register(conn)
        s.take(sender.frame(passage(NOW_US + 1, 5, TOKEN)), now_us=NOW_US + 1_000_000)
    person = conn.execute("SELECT id FROM person").fetchone()
    assert person is not None
    assert stored(conn, "key, person", "passage") == [(1, person[0]), (2, 0), (3, 0), (4, 0), (5, 0)]


def test_unknown_devices_are_kept_as_unclaimed_and_those_of_another_gateway_too(
    conn: Conn, dsn: str, town: dict[str, int]
) -> None:
    sender = Sender("gw-hc02", 4)
    with store(dsn) as s:
        s.take(sender.frame(contact(NOW_US, 1, "z2m/新门"), contact(NOW_US + 9, 0, "z2m/新门"), passage(NOW_US, 1)))
        s.take(sender.frame(contact(NOW_US - 5, 1, "z2m/新门"), contact(NOW_US, 1)))
    rows = conn.execute("SELECT gateway, identity, first_us, last_us, events, kinds FROM unclaimed ORDER BY events").fetchall()
    gateway = town["gw:gw-hc02"]
    assert rows == [
        (gateway, FACE, NOW_US, NOW_US, 1, 1 << Kind.PASSAGE),
        (gateway, "z2m/新门", NOW_US - 5, NOW_US + 9, 3, 1 << Kind.CONTACT),
    ]
    assert stored(conn, "ordinal, shard") == [(1, 4)]
    assert stored(conn, "key", "passage") == []


def test_values_that_no_device_means_do_not_stop_the_batch(conn: Conn, dsn: str, town: dict[str, int]) -> None:
    del town
    sender, big = Sender(), 2**53 - 1
    wild = [
        Event(
            device="z2m/前门",
            kind=kind,
            aux=255,
            t_us=0,
            received_us=4_102_444_799_999_999,
            a=big,
            b=-big,
            raw_us=-big,
            key=2**63 - 1,
        )
        for kind in Kind
    ]
    with store(dsn) as s:
        assert answers(s.take(sender.frame(*wild))) == [1]
    assert len(stored(conn)) == len(Kind) - 1
    assert stored(conn, "result, list_role", "passage") == [(0, 0)]
    assert set(stored(conn, "t_us")) == {NOW_US}
    assert not np.any([b.rows["d_in"].any() for b in s.batches])
    assert Result.ALLOWED not in stored(conn, "result", "passage")
