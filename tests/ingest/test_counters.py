"""Differences of totals, against a plain reference that looks at one row after the other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.clock import SECOND_US
from gateway.events import Flag
from ingest.counters import MAX_DELTA, Line, Total, deltas

T = 1_795_000_000_000_000
W = int(Flag.WRAP16)


@dataclass(frozen=True)
class Row:
    """One COUNT_TOTAL row."""

    t_us: int
    a: int
    b: int = 0
    flags: int = W
    device: int = 1
    line: int = 1


def run(rows: Sequence[Row], last: dict[Line, Total] | None = None) -> tuple[list[tuple[int, int]], dict[Line, Total]]:
    columns = {
        name: np.array([getattr(r, name) for r in rows], np.int64) for name in ("t_us", "a", "b", "flags", "device", "line")
    }
    d_in, d_out, moved = deltas(**columns, last=last or {})
    return list(zip(d_in.tolist(), d_out.tolist(), strict=True)), moved


def reference(rows: Sequence[Row], last: dict[Line, Total]) -> tuple[list[tuple[int, int]], dict[Line, Total]]:
    """What the docstrings promise, said once more the slow way. Changes nothing of `last`."""
    last, out = dict(last), []
    for r in rows:
        modulus = 2**16 if r.flags & W else 2**32
        if r.flags & Flag.LATE or not (0 <= r.a < modulus and 0 <= r.b < modulus):
            out.append((0, 0))
            continue
        before = last.get((r.device, r.line))
        if before and r.t_us < before.t_us:
            out.append((0, 0))
            continue
        last[r.device, r.line] = Total(t_us=r.t_us, a=r.a, b=r.b)
        if not before:
            out.append((0, 0))
            continue
        allowed = min(100 + 2 * ((r.t_us - before.t_us) // SECOND_US), modulus // 4)
        steps, restarted = [], False
        for now, then in ((r.a, before.a), (r.b, before.b)):
            if now >= then:
                steps.append(now - then)
            else:
                wrapped = now - then + modulus
                restarted |= bool(r.flags & Flag.DAILY) or not 0 <= wrapped <= allowed
                steps.append(wrapped)
        if restarted:
            steps = [r.a, r.b]
        out.append((steps[0] if steps[0] <= MAX_DELTA else 0, steps[1] if steps[1] <= MAX_DELTA else 0))
    return out, last


@pytest.mark.parametrize(
    ("before", "row", "people"),
    [
        (None, Row(T, 500), (0, 0)),
        (Row(T, 500, 40), Row(T + 60 * SECOND_US, 512, 41), (12, 1)),
        (Row(T, 65530, 9), Row(T + 60 * SECOND_US, 4, 9), (10, 0)),
        (Row(T, 65530, 9), Row(T + 60 * SECOND_US, 4, 3), (4, 3)),
        (Row(T, 40000, 9), Row(T + 60 * SECOND_US, 4, 10), (4, 10)),
        (Row(T, 65530, flags=0), Row(T + 60 * SECOND_US, 4, flags=0), (4, 0)),
        (Row(T, 2**32 - 6, flags=0), Row(T + 60 * SECOND_US, 4, flags=0), (10, 0)),
        (Row(T, 65530), Row(T + 60 * SECOND_US, 4, flags=W | Flag.DAILY), (4, 0)),
        (Row(T, 500), Row(T + 60 * SECOND_US, 560, flags=W | Flag.LATE), (0, 0)),
        (Row(T, 500), Row(T - 60 * SECOND_US, 499), (0, 0)),
        (Row(T, 500), Row(T, 70_000), (0, 0)),
        (Row(T, 0, flags=0), Row(T, MAX_DELTA + 1, flags=0), (0, 0)),
    ],
    ids=[
        "first",
        "step",
        "wrap",
        "restart",
        "restart far from the end",
        "no wrap at 2**16",
        "wrap at 2**32",
        "midnight",
        "late",
        "older",
        "out of range",
        "too many",
    ],
)
def test_people_are_counted_whatever_the_counter_does(before: Row | None, row: Row, people: tuple[int, int]) -> None:
    rows = [row] if before is None else [before, row]
    assert run(rows)[0][-1] == people


values = st.one_of(st.integers(0, 300), st.integers(65_300, 65_600), st.integers(2**32 - 300, 2**32 + 10), st.just(-1))
some_rows = st.lists(
    st.builds(
        Row,
        t_us=st.integers(0, 400).map(lambda s: T + s * 30 * SECOND_US),
        a=values,
        b=values,
        flags=st.sampled_from([0, W, W | int(Flag.LATE), int(Flag.DAILY)]),
        device=st.integers(1, 3),
        line=st.integers(1, 2),
    ),
    max_size=30,
)


@given(some_rows)
def test_columns_and_single_rows_agree(rows: list[Row]) -> None:
    out, last = reference(rows, {})
    assert run(rows) == (out, last)


@given(some_rows, st.integers(0, 30))
def test_how_rows_are_batched_makes_no_difference(rows: list[Row], cut: int) -> None:
    whole, _ = run(rows)
    head, last = run(rows[:cut])
    tail, _ = run(rows[cut:], last)
    assert head + tail == whole
