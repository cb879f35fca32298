"""Twenty days of a town as the worker would have stored them, a day at a time, as arrays.

One decision: what makes rows large or small is what is random in them, so that is as it is in life: counters speak at intervals
of their own and make two events a message, doors speak when people come, gateways pass on after some milliseconds, and T1 commits
what came in twentieths of a second. One message in a hundred comes up to a fortnight late.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import psycopg
from numpy.typing import NDArray

from gateway.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from gateway.events import Flag, Kind

SITE_DEVICES, SHARDS = 10, 64
SLOT_US = SECOND_US // 20
LATE, LATE_US = 0.01, 14 * DAY_US
BATTERY = 0.02
Rows = Mapping[str, NDArray[np.int64]]

REGISTER = """
INSERT INTO region VALUES ('330481100001', '周王庙镇');
INSERT INTO gateway (code, shard) SELECT 'g' || n, n %% 64 FROM generate_series(0, %(sites)s - 1) n;
INSERT INTO site (code, name, kind, region, hours, shard)
SELECT 's' || n, n || ' 站', 'centre', '330481100001', %(hours)s, n %% 64 FROM generate_series(0, %(sites)s - 1) n;
INSERT INTO place (site, code, name, room) SELECT s, 'p' || d, 'p' || d, 'hall'
FROM generate_series(1, %(sites)s) s, generate_series(0, 9) d ORDER BY s, d;
INSERT INTO device (gateway, identity, class)
SELECT g, 'x/' || d, CASE WHEN d < 5 THEN 'lora_counter' ELSE 'zigbee_contact' END
FROM generate_series(1, %(sites)s) g, generate_series(0, 9) d ORDER BY g, d;
INSERT INTO mounting (device, place, from_us) SELECT id, id, 0 FROM device;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    """devices: half counters, half doors, ten a site. from_us: the first midnight. Ids count from 1, a place for each device."""

    devices: int
    per_day: int
    from_us: int

    def register(self, conn: psycopg.Connection[tuple[object, ...]]) -> None:
        """Enter the town into an empty register, in autocommit."""
        hours = '{"mon": [["08:00", "18:00"]], "tue": [["08:00", "18:00"]], "wed": [["08:00", "18:00"]]}'
        with psycopg.ClientCursor(conn) as cursor:
            cursor.execute(REGISTER.encode(), {"sites": self.devices // SITE_DEVICES, "hours": hours})

    def days(self, count: int) -> Iterator[Rows]:
        """Yield the rows of each day, in the order in which they were stored."""
        rng = np.random.default_rng(5)
        totals = np.zeros((self.devices + 1, 2), np.int64)
        for day in range(count):
            yield self._day(rng, totals, self.from_us + day * DAY_US)

    def _day(self, rng: np.random.Generator, totals: NDArray[np.int64], at_us: int) -> Rows:
        half = self.devices // 2
        index = np.arange(half)
        counters = index // 5 * SITE_DEVICES + index % 5 + 1
        doors = counters + 5
        device, t_us = self._counted(rng, counters, at_us)
        edges = np.repeat(doors, self.per_day)
        opened = at_us + rng.integers(8 * HOUR_US, 18 * HOUR_US, len(edges)) // 1000 * 1000  # zigbee2mqtt tells milliseconds
        message = np.concatenate([np.arange(len(device)) // 2, len(device) // 2 + np.arange(len(edges))])
        device, t_us = np.concatenate([device, edges]), np.concatenate([t_us, opened])
        second = np.zeros(len(device), bool)
        second[1 : 2 * (message[len(device) - len(edges)]) : 2] = True
        lag = (rng.gamma(2.0, 40.0, message[-1] + 1)).astype(np.int64)[message]  # ms, between device and gateway
        way = (rng.gamma(3.0, 8.0, message[-1] + 1) * 1000).astype(np.int64)[message]
        late = (rng.random(message[-1] + 1) < LATE)[message]
        late_us = rng.integers(MINUTE_US, LATE_US, message[-1] + 1)[message]
        slot = (t_us + lag * 1000 + way) // SLOT_US
        pos = slot * SLOT_US + SLOT_US + (slot * 2_654_435_761 % 9_973)
        t_us = np.where(late, t_us - late_us, t_us)
        order = np.lexsort((second, message, pos))
        rows = self._rows(rng, device[order], t_us[order], second[order], totals)
        pos, lag, late = pos[order], lag[order], late[order]
        shard = (rows["device"] - 1) // SITE_DEVICES % SHARDS
        rows |= {"pos": pos, "shard": shard, "ordinal": _ordinal(pos, shard)}
        rows |= {"lag_ms": np.where(late, late_us[order] // 1000, 0) + lag, "flags": np.where(late, int(Flag.LATE), 0)}
        return rows

    def _counted(
        self, rng: np.random.Generator, counters: NDArray[np.int64], at_us: int
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return device and time of the counters' events: a message at even intervals, each two events."""
        messages = self.per_day // 2
        interval = DAY_US // messages
        phase = rng.integers(0, interval, len(counters))
        t_us = (
            at_us
            + phase[:, None]
            + np.arange(messages) * interval
            + rng.integers(-SECOND_US, SECOND_US, (len(counters), messages))
        )
        return np.repeat(counters, 2 * messages), np.repeat(t_us.ravel(), 2)

    def _rows(
        self,
        rng: np.random.Generator,
        device: NDArray[np.int64],
        t_us: NDArray[np.int64],
        second: NDArray[np.bool_],
        totals: NDArray[np.int64],
    ) -> dict[str, NDArray[np.int64]]:
        """Return what was observed: totals and periods of counters, states and batteries of doors."""
        door = (device - 1) % SITE_DEVICES >= 5
        people = rng.poisson(0.4, (len(device), 2)) * ~door[:, None] * ~second[:, None]
        battery = door & (rng.random(len(device)) < BATTERY)
        by_device = np.argsort(device, kind="stable")
        running = np.empty_like(people)
        running[by_device] = _running(device[by_device], people[by_device], totals)
        turn = np.empty(len(device), np.int64)
        turn[by_device] = np.arange(len(device)) % 2
        a = np.where(door, turn, np.where(second, people[:, 0], running[:, 0]))
        kind = np.select(
            [battery, door, second], [int(Kind.BATTERY), int(Kind.CONTACT), int(Kind.COUNT_PERIOD)], int(Kind.COUNT_TOTAL)
        )
        zero = np.zeros(len(device), np.int64)
        return {
            "device": device,
            "place": device,
            "t_us": t_us,
            "raw_us": zero,
            "kind": kind,
            "aux": np.where(door, 0, 1),
            "a": np.where(battery, 90, a),
            "b": np.where(door, 0, np.where(second, 0, running[:, 1])),
            "key": zero,
            "d_in": people[:, 0],
            "d_out": people[:, 1],
        }


def _running(device: NDArray[np.int64], people: NDArray[np.int64], totals: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return each device's totals after each of its rows, which lie together; `totals` goes on from day to day."""
    summed = np.cumsum(people, axis=0)
    first = np.flatnonzero(np.diff(device, prepend=-1))
    before = (summed - people)[first] - totals[device[first]]
    found = summed - np.repeat(before, np.diff(first, append=len(device)), axis=0)
    totals[device] = found  # of equal indices the last counts
    return found


def _ordinal(pos: NDArray[np.int64], shard: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the rows of each transaction of each shard, from 0."""
    order = np.lexsort((np.arange(len(pos)), shard, pos))
    new = np.diff(pos[order], prepend=-1).astype(bool) | np.diff(shard[order], prepend=-1).astype(bool)
    first = np.flatnonzero(new)
    found = np.empty(len(pos), np.int64)
    found[order] = np.arange(len(pos)) - np.repeat(first, np.diff(first, append=len(pos)))
    return found
