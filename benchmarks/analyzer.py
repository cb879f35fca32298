"""How fast the analyzer takes committed batches with all rules on, and what it remembers of a device.

One decision: it is measured on a fleet that has been learned for two weeks, in the busy hours, where every event is activity.
"""

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np

from analytics.engine import Engine
from benchmarks.fleet import SHARD, Fleet
from gateway.clock import HOUR_US

Say = Callable[[str], None]
BATCH = 5_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured: sites of ten devices, days learned before, rounds, and batches in a round."""

    sites: int
    days: int
    rounds: int
    batches: int


FULL = Size(sites=1_000, days=14, rounds=5, batches=100)
SMOKE = Size(sites=20, days=1, rounds=1, batches=4)


def measure(size: Size, say: Say) -> dict[str, float]:
    """Return the medians over the rounds. A batch is of one worker's busy shard: 5,000 events of 37 seconds."""
    fleet, rng = Fleet(sites=size.sites), np.random.default_rng(7)
    tracemalloc.start()
    before, _ = tracemalloc.get_traced_memory()
    engine = Engine()
    for batch in fleet.days(rng, size.days, 3 * fleet.devices):
        engine.apply(batch)
    engine.take_changed(SHARD)
    del batch
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    say(f"{size.days} days of {fleet.devices:,} devices learned, {(after - before) / fleet.devices:,.0f} bytes a device")
    span_us = HOUR_US // (size.batches * size.rounds) * 6
    batches = fleet.live(rng, size.days, size.rounds * size.batches, BATCH, span_us)
    speeds = []
    for n in range(size.rounds):
        mine = batches[n * size.batches : (n + 1) * size.batches]
        began = time.perf_counter()
        found = sum(len(engine.apply(batch)) for batch in mine)
        seconds = time.perf_counter() - began
        speeds.append(BATCH * size.batches / seconds)
        say(f"round {n}: {speeds[-1]:,.0f} events/s, {found} findings")
    return {"analyzer.events_per_s": median(speeds), "analyzer.bytes_per_device": (after - before) / fleet.devices}
