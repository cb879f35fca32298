"""How fast the analyzer takes committed batches with all rules on, against the same rules written plainly, and what it
remembers of a device.

One decision: it is measured in the busy hours, where every event is activity, and nothing but the rules is in the time: batches
are made before, and the plain rules are given their events as dicts. Seconds are those of the processor.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import msgspec
import numpy as np

from analytics.detectors import LAYOUT, TABLES
from analytics.engine import Engine
from analytics.state import load
from benchmarks.fleet import SHARD, Fleet
from benchmarks.plain import Plain, events_of
from gateway.clock import SECOND_US

Say = Callable[[str], None]
BATCH = 5_000
SPAN_US = 36 * SECOND_US
"""Of a batch of 10,000 devices' events; a quarter of an hour is 25 batches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured: sites of ten devices, rounds, and batches of a round."""

    sites: int
    rounds: int
    batches: int


FULL = Size(sites=1_000, rounds=5, batches=25)
SMOKE = Size(sites=20, rounds=1, batches=4)


def measure(size: Size, say: Say) -> dict[str, float]:
    """Return the medians over the rounds, each from nine in the morning of a busy day on."""
    fleet, rng = Fleet(sites=size.sites), np.random.default_rng(7)
    engine, plain = Engine(), Plain()
    for batch in fleet.days(rng, 0, 3 * fleet.devices):
        engine.apply(batch)
        plain.apply(batch)
    live = fleet.live(rng, 0, size.rounds * size.batches, BATCH, SPAN_US)
    ours, theirs = [], []
    for n in range(size.rounds):
        batches = live[n * size.batches : (n + 1) * size.batches]
        rows = [events_of(batch) for batch in batches]
        began = time.process_time()
        for batch in batches:
            engine.apply(batch)
        ours.append(BATCH * len(batches) / (time.process_time() - began))
        began = time.process_time()
        for batch, events in zip(batches, rows, strict=True):
            plain.apply(batch, events)
        theirs.append(BATCH * len(batches) / (time.process_time() - began))
        say(f"round {n}: {ours[-1]:,.0f} events/s, plainly {theirs[-1]:,.0f}")
    return {
        "analyzer.events_per_s": median(ours),
        "analyzer.vs_plain": median(ours) / median(theirs),
        "analyzer.bytes_per_device": remembered(engine) / fleet.devices,
    }


def remembered(engine: Engine) -> int:
    """Return the bytes of all that the engine remembers of the world: arrays of sites, devices and rules, rows that wait, and
    what gateways saw and what is open as written in a checkpoint; not the register, which is an input."""
    memory = load(engine.dump(SHARD), LAYOUT, TABLES)
    arrays = [memory.sites, memory.devices, *memory.waiting, *memory.tables.values()]
    return sum(array.nbytes for array in arrays) + len(msgspec.msgpack.encode([memory.views, memory.records]))
