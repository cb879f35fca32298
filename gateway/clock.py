"""The one place that reads the wall clock; everything else is told the time.

Shells call `now_us()` once per cycle and pass the value down, so that the pure parts can be run at any time of day.
"""

import time

SECOND_US = 1_000_000
MINUTE_US = 60 * SECOND_US
HOUR_US = 60 * MINUTE_US
DAY_US = 24 * HOUR_US


def now_us() -> int:
    """Return the wall clock as integer microseconds since 1970-01-01T00:00:00Z."""
    return time.time_ns() // 1000  # noqa: TID251 - this is the clock
