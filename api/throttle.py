"""Slows down guessing: counts attempts per account and per address over a sliding window, in memory, bounded.

One decision: an attempt is counted before its password is hashed, so that parallel guesses cannot outrun the count.
"""

from collections import OrderedDict, deque

from gateway.clock import MINUTE_US, SECOND_US

WINDOW_US = 10 * MINUTE_US
KEYS = 10_000
"""Names and addresses remembered; the longest untouched is forgotten first."""


class Throttle:
    """At most `limit` attempts per key and window."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._attempts: OrderedDict[str, deque[int]] = OrderedDict()

    def attempt(self, key: str, now_us: int) -> int:
        """Count an attempt. Returns 0 when it may go on, else the seconds to wait; a refused attempt is not counted."""
        times = self._attempts.setdefault(key, deque())
        self._attempts.move_to_end(key)
        while len(self._attempts) > KEYS:
            self._attempts.popitem(last=False)
        while times and times[0] <= now_us - WINDOW_US:
            times.popleft()
        if len(times) >= self.limit:
            return max(1, (times[0] + WINDOW_US - now_us) // SECOND_US)
        times.append(now_us)
        return 0

    def forget(self, key: str) -> None:
        """Start again from nothing, after a success."""
        self._attempts.pop(key, None)
