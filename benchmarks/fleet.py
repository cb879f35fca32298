"""The fleet that the analyzer is measured on: a shard of centres with counters, doors and terminals, and their days as columns.

One decision: everything is made with numpy from a seed before the clock starts: five counters, three doors and two terminals
a site, busy in opening hours as centres are, one gateway for ten sites.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.clock import DAY_US, HOUR_US, MINUTE_US, SECOND_US
from gateway.events import Flag, Kind, Result
from ingest.columns import COLUMNS, Batch, Coverage
from ingest.inputs import DeviceInput, GatewayInput, Inputs, PlaceInput, SiteInput, encode

SHARD = 3
FAMILIES = ("counter",) * 5 + ("door",) * 3 + ("terminal",) * 2
SITES_PER_GATEWAY = 10
NINE = 9
MIDNIGHT_US = 1_772_380_800 * SECOND_US
"""2026-03-02 00:00 in Shanghai, a Monday."""
WEEK = {day: [("08:00", "18:00")] for day in ("mon", "tue", "wed", "thu", "fri", "sat")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A number of sites; ids count from 1, a site's ten devices and places in a row."""

    sites: int

    @property
    def devices(self) -> int:
        """How many devices there are."""
        return self.sites * len(FAMILIES)

    def gateway_of(self, site: int) -> int:
        """Return the id of a site's gateway."""
        return (site - 1) // SITES_PER_GATEWAY + 1

    def inputs(self) -> bytes:
        """Return the register."""
        sites = [
            SiteInput(
                id=n,
                code=f"S{n:05}",
                name=f"第 {n} 照料中心",
                name_en=f"Centre {n}",
                kind="centre",
                zone="Asia/Shanghai",
                capacity=400,
                hours=WEEK,
                closed=[],
                rules={},
            )
            for n in range(1, self.sites + 1)
        ]
        devices = range(self.devices)
        return encode(
            Inputs(
                version=1,
                sites=sites,
                places=[
                    PlaceInput(id=d + 1, site=d // 10 + 1, code=f"p{d}", name="厅", name_en="Hall", room="hall") for d in devices
                ],
                devices=[
                    DeviceInput(
                        id=d + 1,
                        gateway=self.gateway_of(d // 10 + 1),
                        identity=f"{FAMILIES[d % 10]}/{d}",
                        device_class=FAMILIES[d % 10],
                        family=FAMILIES[d % 10],
                        name="",
                        place=d + 1,
                        mounted_us=0,
                        alive_every_us=3 * HOUR_US,
                    )
                    for d in devices
                ],
                gateways=[GatewayInput(id=g, code=f"g{g}") for g in range(1, self.gateway_of(self.sites) + 1)],
            )
        )

    def rows(self, rng: np.random.Generator, events: int, from_us: int, to_us: int) -> NDArray[np.void]:
        """Return that many events (dtype COLUMNS) of the time [from_us, to_us), in order of time: people counted in and out,
        doors that open and close, faces that are known or not."""
        rows = np.zeros(events, COLUMNS)
        rows["t_us"] = np.sort(rng.integers(from_us, to_us, events))
        device = rng.integers(0, self.devices, events)
        rows["device"] = rows["place"] = device + 1
        rows["gateway"] = device // (10 * SITES_PER_GATEWAY) + 1
        family = np.array([FAMILIES.index(f) for f in ("counter", "door", "terminal")])
        which = np.searchsorted(family, device % 10, side="right") - 1
        rows["kind"] = np.array([Kind.COUNT_TOTAL, Kind.CONTACT, Kind.PASSAGE], np.int16)[which]
        counter, door, terminal = (which == n for n in range(3))
        rows["d_in"] = np.where(counter, rng.poisson(0.6, events), 0)
        rows["d_out"] = np.where(counter, rng.poisson(0.6, events), 0)
        order = np.lexsort((np.arange(events), device))  # of each door in turn: open, closed, open…
        turn = np.zeros(events, np.int64)
        turn[order] = np.arange(events) % 2
        result = np.where(rng.random(events) < 0.02, int(Result.STRANGER), int(Result.ALLOWED))
        rows["a"] = np.where(door, turn, np.where(terminal, result, 0))
        rows["flags"] = int(Flag.TIME_RECEIVED)
        rows["ordinal"] = np.arange(events)
        return rows

    def days(self, rng: np.random.Generator, days: int, events_per_hour: int) -> Iterator[Batch]:
        """Yield days and the morning until nine, hour by hour, from the first Monday on: busy in opening hours, signs of life
        else, doors closed in the last hour."""
        yield Batch(shard=SHARD, prev=0, pos=1, inputs=self.inputs(), coverage=self.coverage(MIDNIGHT_US))
        for hour in range(24 * days + NINE):
            at = MIDNIGHT_US + hour * HOUR_US
            is_open = 8 <= hour % 24 < 18 and hour // 24 % 7 != 6
            rows = self.rows(rng, events_per_hour if is_open else self.devices // 3, at, at + HOUR_US)
            if not is_open:
                rows["kind"], rows["d_in"], rows["d_out"], rows["a"] = Kind.ALIVE, 0, 0, 0
            elif hour % 24 == 17:
                rows["a"] = np.where(rows["kind"] == Kind.CONTACT, 0, rows["a"])
            yield Batch(shard=SHARD, prev=hour + 1, pos=hour + 2, rows=rows, coverage=self.coverage(at + HOUR_US))

    def live(self, rng: np.random.Generator, day: int, batches: int, size: int, span_us: int) -> list[Batch]:
        """Return `batches` batches of `size` events each, `span_us` apart, from nine in the morning of a day on."""
        at = MIDNIGHT_US + day * DAY_US + NINE * HOUR_US
        return [
            Batch(
                shard=SHARD,
                prev=1_000_000 + n,
                pos=1_000_001 + n,
                rows=self.rows(rng, size, at + n * span_us, at + (n + 1) * span_us),
                coverage=self.coverage(at + (n + 1) * span_us),
            )
            for n in range(batches)
        ]

    def coverage(self, through_us: int) -> list[Coverage]:
        """Every gateway has been there from the start."""
        gateways = range(1, self.gateway_of(self.sites) + 1)
        return [Coverage(gateway=g, stream=g, from_us=MIDNIGHT_US - MINUTE_US, through_us=through_us) for g in gateways]
