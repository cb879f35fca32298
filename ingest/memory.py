"""What T1 remembers of devices between batches: the latest totals, and how recent their keyed records are.

One decision: the log is the state. Memory is only a cache of its newest rows, filled when a device is first needed and
changed after COMMIT only; a worker that starts knows nothing and loses nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from gateway.clock import DAY_US
from gateway.events import Flag, Kind
from ingest.counters import Line, Total, usable

HORIZON_US = 40 * DAY_US
"""How far back (by log position) the log is asked about a device."""
NEAR_US = DAY_US
"""A record's own time further ahead of the time it is stored under is a broken clock's, and no measure of recency."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """What a batch changes, to be applied once it is committed."""

    high_us: dict[int, int] = field(default_factory=dict)
    totals: dict[Line, Total] = field(default_factory=dict)


class Memory:
    """high_us: device → newest own time of its keyed records. totals: (device, line) → its latest totals."""

    def __init__(self) -> None:
        self.known: set[int] = set()
        self.high_us: dict[int, int] = {}
        self.totals: dict[Line, Total] = {}
        self.totalling: set[int] = set()
        """Devices that send totals, so that their period counts add nothing."""

    def learn(self, devices: Iterable[int], rows: Iterable[Sequence[int]]) -> None:
        """Take over the newest stored rows (device, t_us, raw_us, a, b, pos, ordinal, kind, aux, flags) of devices."""
        self.known.update(devices)
        for device, t_us, raw_us, a, b, _, _, kind, line, flags in sorted(rows, key=lambda r: (r[1], r[5], r[6])):
            # Rows that were not asked for are older than these, so this bounds the keyed ones among them too.
            own = raw_us if raw_us and flags & Flag.HAS_KEY and raw_us <= t_us + NEAR_US else t_us
            self.high_us[device] = max(self.high_us.get(device, 0), own)
            if kind == Kind.COUNT_TOTAL:
                self.totalling.add(device)
                if usable(*(np.array([v], np.int64) for v in (a, b, flags)))[0]:
                    self.totals[device, line] = Total(t_us=t_us, a=a, b=b)

    def apply(self, moved: Moved) -> None:
        """Take over what a committed batch changed."""
        self.high_us |= moved.high_us
        self.totals |= moved.totals
        self.totalling.update(device for device, _ in moved.totals)
