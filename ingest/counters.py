"""People in and out from the running totals that counters send, whatever the counter does: wrap, restart, repeat, resend.

One decision: the reference for a difference is the total with the latest time of its own that was stored, not the last
one received; so late and repeated totals add nothing, and the state can be read back from the log at any time.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.clock import SECOND_US
from gateway.events import Flag

Ints = NDArray[np.int64]

MAX_DELTA = 1_000_000
"""More people than that between two reports are a device's mistake."""
WRAP_SLACK, WRAP_PER_S = 100, 2
"""A total that fell has wrapped only if the people this implies could have passed: two a second, and a hundred at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """The latest totals of one counting line, at the device's time `t_us`."""

    t_us: int
    a: int
    b: int


Line = tuple[int, int]
"""(device id, line)"""


def usable(a: Ints, b: Ints, flags: Ints) -> NDArray[np.bool_]:
    """Tell which totals may serve as a reference: live ones, within the counter's own range."""
    modulus = _modulus(flags)
    late: NDArray[np.bool_] = flags & int(Flag.LATE) != 0
    return ~late & (a >= 0) & (a < modulus) & (b >= 0) & (b < modulus)


def deltas(
    *, device: Ints, line: Ints, t_us: Ints, a: Ints, b: Ints, flags: Ints, last: Mapping[Line, Total]
) -> tuple[Ints, Ints, dict[Line, Total]]:
    """Turn COUNT_TOTAL rows in log order (arrays of shape (n,)) into people in and out, shape (n,).

    last: the latest totals stored before. Returns also the latest totals after these rows, for the lines that moved on.
    """
    d_in, d_out = np.zeros(len(device), np.int64), np.zeros(len(device), np.int64)
    live = np.flatnonzero(usable(a, b, flags))
    if not len(live):
        return d_in, d_out, {}
    keys, group = np.unique(device[live] * 256 + line[live], return_inverse=True)
    lines = [(int(key) // 256, int(key) % 256) for key in keys]
    unknown = Total(t_us=-1, a=0, b=0)
    seeds = [last.get(key, unknown) for key in lines]
    # Every line's rows, in order, behind the total they are compared with first.
    row = np.concatenate([np.full(len(keys), -1), live])
    t = np.concatenate([[s.t_us for s in seeds], t_us[live]])
    totals_a = np.concatenate([[s.a for s in seeds], a[live]])
    totals_b = np.concatenate([[s.b for s in seeds], b[live]])
    groups = np.concatenate([np.arange(len(keys)), group])
    order = np.argsort(groups, kind="stable")
    order = order[_newest_so_far(groups[order], t[order])]
    row, t, totals_a, totals_b, groups = row[order], t[order], totals_a[order], totals_b[order], groups[order]

    after = np.flatnonzero(row >= 0)
    before = after - 1
    counted = t[before] >= 0  # the first total ever seen of a line says nothing
    rows = row[after]
    people = _differences(t, totals_a, totals_b, after, flags[rows])
    d_in[rows], d_out[rows] = (np.where(counted & (d <= MAX_DELTA), d, 0) for d in people)
    ends = np.flatnonzero(np.append(groups[1:] != groups[:-1], True))
    moved = {
        lines[groups[i]]: Total(t_us=int(t[i]), a=int(totals_a[i]), b=int(totals_b[i])) for i in ends.tolist() if row[i] >= 0
    }
    return d_in, d_out, moved


def _newest_so_far(groups: Ints, t: Ints) -> NDArray[np.bool_]:
    """Tell which rows, sorted by group, are not older than all before them in their group."""
    rank = np.unique(t, return_inverse=True)[1]
    combined = groups * len(t) + rank
    newest: NDArray[np.bool_] = combined == np.maximum.accumulate(combined)
    return newest


def _differences(t: Ints, a: Ints, b: Ints, after: Ints, flags: Ints) -> tuple[Ints, Ints]:
    before, modulus = after - 1, _modulus(flags)
    elapsed_s = (t[after] - t[before]) // SECOND_US
    plausible = np.minimum(WRAP_SLACK + WRAP_PER_S * elapsed_s, modulus // 4)
    plausible = np.where(flags & int(Flag.DAILY) != 0, -1, plausible)
    restarted = np.zeros(len(after), np.bool_)
    steps = []
    for totals in (a, b):
        step = totals[after] - totals[before]
        wrapped = step + modulus
        restarted |= (step < 0) & ((wrapped > plausible) | (wrapped < 0))
        steps.append(np.where(step < 0, wrapped, step))
    # A counter that has restarted counts both ways from nothing.
    return np.where(restarted, a[after], steps[0]), np.where(restarted, b[after], steps[1])


def _modulus(flags: Ints) -> Ints:
    return np.where(flags & int(Flag.WRAP16) != 0, 2**16, 2**32)
