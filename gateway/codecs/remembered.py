"""Edges from repeated states: what a device said last, compared with what it says now.

One decision: sensors and their bridges repeat whole states and never say "opened", so a message is an event only where it
differs from memory. The first state ever seen is a state without an edge. With the device's own time, a state older than
the last one is stale (a bridge restarting from an old cache, a redelivery): kept, late, and no edge. An edge in the first
state after the gateway was deaf was not seen: it happened meanwhile, or now.
"""

from collections.abc import Mapping

from gateway.codecs.moment import Moment
from gateway.events import NO_FLAGS, Event, Flag, Kind


class Remembered:
    """Last-known states of one device: reads `memory`, collects what changed in `changes`.

    Keys: the identity itself for the contact (1 open, 0 closed), "<identity>#<name>" for the others. No identity of ours
    contains "#": neither friendly names that can be published, nor hexadecimal, nor a terminal's number.
    """

    def __init__(self, memory: Mapping[str, int], device: str, deaf_us: int = 0) -> None:
        """Look at one device. deaf_us: as in its message."""
        self.device = device
        self.changes: dict[str, int] = {}
        self._memory, self._deaf_us = memory, deaf_us

    def get(self, name: str = "") -> int | None:
        """Return the last-known value, None if there was none."""
        key = f"{self.device}#{name}" if name else self.device
        return self.changes.get(key, self._memory.get(key))

    def put(self, value: int, name: str = "") -> bool:
        """Remember; tell whether that is news."""
        if self.get(name) == value:
            return False
        self.changes[f"{self.device}#{name}" if name else self.device] = value
        return True

    def contact(self, is_open: bool, at: Moment, flags: Flag = NO_FLAGS, key: int = 0, *, follows: bool = False) -> Event:
        """Make the CONTACT of a reported state: an edge where it differs from memory, else with `Flag.REPEAT`.

        follows: the device's own numbering shows that nothing it said before was missed.
        """
        state, known = int(is_open), self.get()
        found = self._found(at) and not follows
        seen = self.get("seen")
        if at.own and seen is not None and at.t_us < seen:
            return at.event(self.device, Kind.CONTACT, flags | Flag.LATE | Flag.REPEAT, a=state, key=key)
        if at.own:
            self.put(at.t_us, "seen")
        self.put(state)
        if known is None or known == state:
            return at.event(self.device, Kind.CONTACT, flags | Flag.REPEAT, a=state, key=key)
        return at.event(self.device, Kind.CONTACT, flags | Flag.INFERRED if found else flags, a=state, key=key)

    def _found(self, at: Moment) -> bool:
        """Tell whether this is the first state since the gateway was deaf; one that waited somewhere else was said in time."""
        first = self._deaf_us != 0 and self.put(self._deaf_us, "heard")
        return first and not (at.own and at.t_us < self._deaf_us)

    def on_change(
        self, kind: Kind, name: str, value: int, at: Moment, flags: Flag = NO_FLAGS, *, aux: int = 0, key: int = 0
    ) -> list[Event]:
        """Make an event only where the value differs from memory (or is the first)."""
        if not self.put(value, name):
            return []
        return [at.event(self.device, kind, flags, aux=aux, a=value, key=key)]

    def link(self, online: bool, at: Moment, flags: Flag = NO_FLAGS) -> Event:
        """Make the LINK of a reported connection; repeated reports carry `Flag.REPEAT`."""
        news = self.put(int(online), "link")
        return at.event(self.device, Kind.LINK, flags if news else flags | Flag.REPEAT, a=int(online))
