"""Judges the gateways' clocks by what their live messages say of the time.

One decision: an offset is believed when two heartbeats in a row agree on it, so that messages held up on the way (a
paused machine, a slow broker) are not taken for a wrong clock. A time in the future needs no second witness.
"""

from dataclasses import dataclass

from gateway.clock import MINUTE_US, SECOND_US

TOLERATED_US = 2 * MINUTE_US
AGREEMENT_US = 5 * SECOND_US


@dataclass(slots=True, kw_only=True)
class _Clock:
    suspected_us: int | None = None
    offset_us: int = 0
    wrong_since_us: int | None = None


class Clocks:
    """The offset of each gateway whose clock is wrong; all others are right."""

    def __init__(self) -> None:
        self._clocks: dict[int, _Clock] = {}

    def wrong_since(self, gateway: int, since_us: int) -> None:
        """Take over from the store that a gateway's clock was wrong when the last worker ended."""
        self._clocks[gateway] = _Clock(wrong_since_us=since_us)

    def forget(self, gateway: int) -> None:
        """Know nothing of a gateway."""
        self._clocks.pop(gateway, None)

    def heartbeat(self, gateway: int, sent_us: int, arrived_us: int) -> None:
        """Judge by a live heartbeat."""
        offset_us = arrived_us - sent_us
        if abs(offset_us) <= TOLERATED_US:
            self._clocks.pop(gateway, None)
            return
        clock = self._clocks.setdefault(gateway, _Clock())
        agreed = clock.suspected_us is not None and abs(offset_us - clock.suspected_us) <= AGREEMENT_US
        if offset_us < 0 or clock.offset_us or agreed:
            clock.offset_us = offset_us
            clock.wrong_since_us = clock.wrong_since_us or arrived_us
        clock.suspected_us = offset_us

    def watermark(self, gateway: int, through_us: int, arrived_us: int) -> None:
        """Judge by a frame: nothing can have been received in the future."""
        if through_us > arrived_us + TOLERATED_US:
            clock = self._clocks.setdefault(gateway, _Clock())
            clock.offset_us = arrived_us - through_us
            clock.wrong_since_us = clock.wrong_since_us or arrived_us

    def offset_us(self, gateway: int) -> int:
        """Return what must be added to the gateway's clock, 0 if it is right."""
        clock = self._clocks.get(gateway)
        return clock.offset_us if clock else 0

    def wrong(self, gateway: int) -> int | None:
        """Return since when (backend's clock) the gateway's clock is known to be wrong, None if it is right."""
        clock = self._clocks.get(gateway)
        return clock.wrong_since_us if clock else None
