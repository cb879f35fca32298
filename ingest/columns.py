"""What T1 hands to the analyzer: one committed batch of one shard, as columns.

One decision: a batch read back from the store equals the batch handed over in memory, so that the analyzer cannot tell
live from replay.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

COLUMNS = np.dtype(
    [
        ("t_us", "i8"),
        ("a", "i8"),  # passage: gateway.events.Result
        ("b", "i8"),  # passage: gateway.events.ListRole
        ("ordinal", "i4"),
        ("gateway", "i4"),
        ("device", "i4"),
        ("place", "i4"),  # 0 nowhere
        ("person", "i4"),  # 0 anonymous
        ("d_in", "i4"),
        ("d_out", "i4"),
        ("kind", "i2"),  # gateway.events.Kind
        ("aux", "i2"),
        ("flags", "i4"),  # gateway.events.Flag
    ]
)
"""One stored event or passage. All ids are the register's; a row is stored, so its device is known and owned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """Gateway `gateway` was receiving from `from_us` through `through_us` (one row per stream; it only grows)."""

    gateway: int
    stream: int
    from_us: int
    through_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindSpan:
    """Devices of `gateway` whose identity starts with `source` could not be heard; `to_us` None: still so."""

    gateway: int
    source: str
    from_us: int
    to_us: int | None
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Liveness:
    """The backend lost a gateway (`alive` false) or has it back, at `at_us` of the backend's clock."""

    gateway: int
    alive: bool
    at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """One T1 transaction of one shard, or several read back as one. `rows` has dtype COLUMNS, shape (n,), in log order."""

    shard: int
    prev: int
    """Position of the shard's T1 before this one: a reader whose own position differs has missed something."""
    pos: int
    rows: NDArray[np.void] = field(default_factory=lambda: np.zeros(0, COLUMNS))
    positions: NDArray[np.int64] | None = None
    """Position of each row, shape (n,), where several T1 were read back as one; None: that of all is `pos`."""
    coverage: list[Coverage] = field(default_factory=list)
    blind: list[BlindSpan] = field(default_factory=list)
    liveness: list[Liveness] = field(default_factory=list)
    inputs: bytes | None = None
    """New inputs, valid from this batch on (before its rows): JSON of ingest.inputs.Inputs."""
