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


class Rate:
    """At most `per_s` requests a second for each key, after a burst: a bucket that fills again while nobody asks."""

    def __init__(self, per_s: int, burst: int) -> None:
        self.per_s, self.burst = per_s, burst
        self._buckets: OrderedDict[bytes, tuple[float, int]] = OrderedDict()

    def take(self, key: bytes, now_us: int) -> int:
        """Count a request. Returns 0 when it may go on, else the seconds to wait; a refused request is not counted."""
        left, at_us = self._buckets.pop(key, (float(self.burst), now_us))
        left = min(float(self.burst), left + max(0, now_us - at_us) * self.per_s / SECOND_US)
        enough = left >= 1
        self._buckets[key] = (left - 1 if enough else left, now_us)
        while len(self._buckets) > KEYS:
            self._buckets.popitem(last=False)
        return 0 if enough else 1
