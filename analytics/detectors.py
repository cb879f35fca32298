"""The rules about quarters of an hour: which there are, and the state that they keep.

One decision: a detector is a module with TABLES and `close(quarter, episodes)`; this list is all that the engine knows of them.
"""

from collections.abc import Callable

from analytics import evening, footfall, health, inactivity, occupancy, recent, residents, strangers
from analytics.episodes import Episodes
from analytics.quarters import TALLY, Quarter
from analytics.state import Table, layout_of

DETECTORS: tuple[Callable[[Quarter, Episodes], None], ...] = (
    inactivity.close,
    health.close,
    footfall.close,
    residents.close,
    occupancy.close,
    strangers.close,
)
"""In the order in which they are asked: what explains comes before what would accuse."""

TABLES: tuple[Table, ...] = (
    TALLY,
    *inactivity.TABLES,
    *health.TABLES,
    *footfall.TABLES,
    *residents.TABLES,
    *occupancy.TABLES,
    *evening.TABLES,
    *strangers.TABLES,
    *recent.TABLES,
)

LAYOUT = layout_of(TABLES)
"""Differs wherever a checkpoint would; a checkpoint of another layout is not read."""
