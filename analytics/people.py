"""The residents of one shard's register, as columns: where they belong, which terminals know them, when they said they are away.

One decision: a person's day is a calendar day of their home site's standard time, so that days are numbers and a row of them
is a bit mask; a clock change moves its edge by an hour of the night, which no visit minds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from gateway.clock import DAY_US, SECOND_US
from ingest.inputs import Inputs, PersonInput

RESIDENT = "resident"
ALL_YEAR = [datetime(2026, month, 1, tzinfo=UTC) for month in range(1, 13)]

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class People:
    """Residents, one row each, who may be missed; n residents, m links, k absences.

    site: (n,) row of the home site. shift: (n,) microseconds that turn UTC into local standard time there. site_shift: the
    same by row of the site. hidden: (n,) some terminal that knows them is not in this shard, or none does. link: (2, m) rows
    of persons and of devices. away: (3, k) row of the person, from_us, to_us. row_of: person id → row.
    """

    residents: list[PersonInput]
    row_of: dict[int, int]
    site: Ints
    shift: Ints
    site_shift: Ints
    hidden: NDArray[np.bool_]
    link: Ints
    away: Ints

    def rows(self, persons: NDArray[np.int32]) -> Ints:
        """Return the rows of persons by id, -1 for those that nobody watches."""
        return np.array([self.row_of.get(i, -1) for i in persons.tolist()], np.int64)

    def day_of(self, rows: Ints, t_us: Ints) -> Ints:
        """Return the number of the local day of each time, from 1970-01-01."""
        return np.asarray((t_us + self.shift[rows]) // DAY_US)

    def begins(self, rows: Ints, day: Ints) -> Ints:
        """Return when the day begins."""
        return np.asarray(day * DAY_US - self.shift[rows])

    def is_away(self, rows: Ints, day: Ints) -> NDArray[np.bool_]:
        """Tell who announced to be away for any of the day."""
        begin = np.full(len(self.residents), 2**62)
        begin[rows] = self.begins(rows, day)
        person, from_us, to_us = self.away
        away = np.zeros(len(self.residents), np.bool_)
        away[person[(from_us < begin[person] + DAY_US) & (to_us > begin[person])]] = True
        return np.asarray(away[rows])


def compile_people(inputs: Inputs, sites: Mapping[int, int], devices: Mapping[int, int]) -> People:
    """Compile the residents. sites, devices: id → row; a terminal of the shard that is not mounted sees nobody."""
    zones = {s.id: standard_us(s.zone) for s in inputs.sites}
    ours = {d.id for d in inputs.devices}
    residents = [p for p in inputs.persons if p.role == RESIDENT and p.site in sites]
    links = [(row, devices[d]) for row, p in enumerate(residents) for d in p.devices if d in devices]
    away = [(row, a, b) for row, p in enumerate(residents) for a, b in p.absences]
    return People(
        residents=residents,
        row_of={p.id: row for row, p in enumerate(residents)},
        site=np.array([sites[p.site] for p in residents], np.int64),
        shift=np.array([zones[p.site] for p in residents], np.int64),
        site_shift=np.array([zones[s] for s in sites], np.int64),
        hidden=np.array([not p.devices or not ours.issuperset(p.devices) for p in residents], np.bool_),
        link=_columns(links, 2),
        away=_columns(away, 3),
    )


@cache
def standard_us(zone: str) -> int:
    """Return what a zone (IANA) adds to UTC when its clocks are not set forward."""
    offsets = [t.astimezone(ZoneInfo(zone)).utcoffset() for t in ALL_YEAR]
    return min(int(o.total_seconds()) for o in offsets if o is not None) * SECOND_US


def _columns(rows: Sequence[tuple[int, ...]], width: int) -> Ints:
    return np.array(rows, np.int64).reshape(-1, width).T
