"""A message that kills the worker outright is found by what the dead have left behind."""

import psycopg
import pytest

from gateway.clock import MINUTE_US
from gateway.wire import Header
from ingest.caution import CAREFUL_US, PORTION, Caution, Killer
from ingest.reading import Message
from ingest.shards import Owned, Shards
from tests.ingest.frames import NOW_US, Sender, contact

LEFT = Owned(shard=3, epoch=2, pos=0, analysed=0, left=True)


def successor(dsn: str, left: bool = True) -> Caution:
    """The worker that takes the shards next."""
    found = Caution(dsn)
    found.taken([LEFT if left else Owned(shard=3, epoch=2, pos=0, analysed=0)], NOW_US)
    return found


def die(caution: Caution) -> None:
    """End as a killed process does."""
    assert caution._conn is not None
    caution._conn.close()


def frames(number: int) -> list[Message]:
    sender = Sender()
    return [sender.frame(contact(NOW_US + n, 1)) for n in range(number)]


def test_who_was_alone_in_hand_at_two_deaths_is_a_killer_and_the_others_are_not(dsn: str) -> None:
    messages, owned = frames(3), {3: LEFT}
    killer = messages[1]
    first = successor(dsn)
    assert list(first.portions(messages, NOW_US)) == [messages]
    assert [type(a.body).__name__ for a in first.read(messages, owned)] == ["Body"] * 3
    die(first)
    for _ in range(2):
        worker = successor(dsn)
        for portion in worker.portions(messages, NOW_US):
            assert len(portion) == 1
            (arrival,) = worker.read(portion, owned)
            assert not isinstance(arrival.body, Killer)
            if portion == [killer]:
                break
            worker.stored(portion)
        messages = messages[messages.index(killer) :]
        die(worker)
    last = successor(dsn)
    portions = list(last.portions(messages, NOW_US))
    (arrival,) = last.read(portions[0], owned)
    assert isinstance(arrival.body, Killer)
    assert isinstance(arrival.header, Header)
    assert arrival.header.seq == 2
    last.stored(portions[0])
    assert isinstance(last.read([killer], owned)[0].body, Killer)  # also when it comes again before the cursor has passed it
    (innocent,) = last.read(portions[1], owned)
    assert not isinstance(innocent.body, Killer)
    last.close()


def test_a_message_that_cannot_be_a_frame_is_found_too(dsn: str) -> None:
    message = Sender().message(b"{}")
    for _ in range(2):
        worker = successor(dsn)
        worker.read([message], {3: LEFT})
        die(worker)
    worker = successor(dsn)
    (arrival,) = worker.read([message], {3: LEFT})
    assert "killed over it" in str(arrival.header)
    worker.close()


def test_nothing_is_noted_where_the_shards_were_given_back(dsn: str) -> None:
    messages, caution = frames(2), successor(dsn, left=False)
    (portion,) = caution.portions(messages, NOW_US)
    caution.read(portion, {3: LEFT})
    with psycopg.connect(dsn) as conn:
        assert conn.execute("SELECT count(*) FROM suspect").fetchone() == (0,)
    assert not caution.careful


def test_a_session_that_ends_in_good_order_accuses_nobody(dsn: str) -> None:
    message = frames(1)
    for _ in range(5):
        worker = successor(dsn)
        (arrival,) = worker.read(message, {3: LEFT})
        assert not isinstance(arrival.body, Killer)
        worker.close()


def test_care_ends_after_a_while_and_large_batches_are_cut(dsn: str) -> None:
    caution, many = successor(dsn), frames(PORTION + 1)
    assert [len(p) for p in caution.portions(many, NOW_US)] == [PORTION, 1]
    assert [len(p) for p in caution.portions(many, NOW_US + CAREFUL_US + MINUTE_US)] == [PORTION + 1]
    assert not caution.careful


@pytest.mark.parametrize(("next_owner", "left"), [("b", True), ("a", False)])
def test_a_shard_is_left_by_whoever_dies_and_given_back_by_whoever_ends(dsn: str, next_owner: str, left: bool) -> None:
    dead = Shards(dsn, "a")
    assert [o.left for o in dead.take([3])] == [False]
    dead.conn.close()
    with Shards(dsn, next_owner) as heir:
        assert [o.left for o in heir.take([3])] == [left]
    with Shards(dsn, "c") as third:
        assert [o.left for o in third.take([3])] == [False]
