"""The log read back is what was handed over."""

from dataclasses import replace
from typing import Any

import numpy as np
import psycopg
import pytest

from gateway.wire import Blind, Heartbeat, encode_message, stream_text
from ingest.columns import Batch
from ingest.store import log
from tests.ingest.frames import MINUTE_US, NOW_US, TOKEN, Sender, Store, contact, passage, store, total

Conn = psycopg.Connection[Any]


def same(left: Batch, right: Batch) -> bool:
    """Compare batches, rows and all."""
    return np.array_equal(left.rows, right.rows) and replace(left, rows=right.rows) == right


class History:
    """Four T1: rows of both tables with repeats and strangers; a heartbeat with a blind span; coverage only; rows again."""

    def __init__(self, s: Store) -> None:
        self.store, self.one, self.two = s, Sender(), Sender("gw-hc02", 4, stream=7)

    def step(self, number: int) -> None:
        """Make one T1."""
        one = self.one
        if number == 0:
            rows = (contact(NOW_US, 1), contact(NOW_US, 1, "z2m/?"), passage(NOW_US, 5, TOKEN), total(NOW_US, 10))
            again = one.frame(*rows), self.two.frame(contact(NOW_US, 1)), one.frame(passage(NOW_US, 5), contact(NOW_US - 9, 0))
            self.store.take(*again)
        elif number == 1:
            self._beat(15_000_000, [Blind(source="z2m/", from_us=NOW_US - 50, reason="bridge")])
        elif number == 2:
            self._beat(30_000_000, [])
        else:
            last = one.frame(total(NOW_US + MINUTE_US, 14), through_us=NOW_US + MINUTE_US)
            self.store.take(last, now_us=NOW_US + MINUTE_US)

    def _beat(self, later_us: int, blind: list[Blind]) -> None:
        beat = Heartbeat(
            stream=stream_text(self.one.stream),
            seq=2,
            since_us=self.one.since_us,
            through_us=NOW_US + later_us,
            sent_us=NOW_US + later_us,
            blind=blind,
        )
        message = self.one.message(encode_message(beat), NOW_US + later_us)
        self.store.take(message, now_us=NOW_US + later_us)


def some_history(s: Store) -> None:
    """Make all of it."""
    history = History(s)
    for number in range(4):
        history.step(number)


def test_each_batch_read_alone_equals_the_one_handed_over(conn: Conn, dsn: str, town: dict[str, int]) -> None:
    del town
    read = 0
    with store(dsn) as s:
        history = History(s)
        for number in range(4):
            before = len(s.batches)
            history.step(number)
            for batch in s.batches[before:]:
                (again,) = log.read_batches(conn, batch.shard, batch.prev, batch.pos)
                assert same(again, batch)
                read += 1
    assert read == 5


def test_a_history_read_at_once_has_the_same_rows_and_the_final_coverage_at_its_end(
    conn: Conn, dsn: str, town: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    del town
    with store(dsn) as s:
        some_history(s)
        told = [b for b in s.batches if b.shard == 3]
    kept = [b for b in told if len(b.rows) or b.blind or b.liveness or b.inputs]
    begins = [n for n, b in enumerate(kept) if n == 0 or b.blind or b.liveness or b.inputs]
    assert len(begins) < len(kept)  # some can be joined
    for chunk, firsts in ((500, begins), (1, range(len(kept)))):
        monkeypatch.setattr(log, "POSITIONS_AT_ONCE", chunk)
        read = list(log.read_batches(conn, 3, 0, told[-1].pos))
        assert [b.pos for b in read] == [kept[n - 1].pos for n in [*firsts, len(kept)][1:]]
        assert [b.prev for b in read] == [0, *(b.pos for b in read[:-1])]
        at = [np.full(len(b.rows), b.pos) if b.positions is None else b.positions for b in read]
        assert np.array_equal(np.concatenate(at), np.concatenate([np.full(len(b.rows), b.pos) for b in told]))
        for n, b in zip(firsts, read, strict=True):
            assert (b.blind, b.liveness, b.inputs) == (kept[n].blind, kept[n].liveness, kept[n].inputs)
        assert np.array_equal(np.concatenate([b.rows for b in read]), np.concatenate([b.rows for b in told]))
        assert [b.coverage for b in read[:-1]] == [[]] * (len(read) - 1)
        assert read[-1].coverage == told[-1].coverage
    assert [r.tolist() for r in read[-1].rows["d_in"]] == [4]


def test_coverage_alone_still_brings_the_reader_to_the_end(conn: Conn, dsn: str, town: dict[str, int]) -> None:
    del town
    with store(dsn) as s:
        some_history(s)
        quiet = next(b for b in s.batches if b.coverage and not len(b.rows) and not b.blind)
        (again,) = log.read_batches(conn, 3, quiet.prev, quiet.pos)
        assert (again.prev, again.pos, len(again.rows)) == (quiet.prev, quiet.pos, 0)
        assert list(log.read_batches(conn, 3, quiet.pos, quiet.pos)) == []
