"""Times in which the gateway could not hear some of its devices, until the backend has been told of them.

One decision: heartbeats are neither numbered nor spooled, so a span is repeated in several answered heartbeats, and again
after the backend's store was restored; it is forgotten only when no backup can have missed it.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from gateway.clock import MINUTE_US
from gateway.uplink import KEEP_US
from gateway.wire import Blind

REPEAT_US = 10 * MINUTE_US
REPEATS = 4
MAX_SPANS = 200
"""Spans kept. Beyond it the two oldest of one source become one that covers both: too much blindness, never too little."""


@dataclass(slots=True, kw_only=True)
class _Span:
    blind: Blind
    told: int = field(default=0)  # answered heartbeats that carried the span since it was closed


class Blindness:
    """Open and recent spans of one gateway. `changed` is set when what the spool should keep has changed."""

    def __init__(self, spans: Iterable[Blind] = ()) -> None:
        self._open: dict[str, Blind] = {}
        self._closed: list[_Span] = [_Span(blind=b) for b in spans]
        self.changed = False

    def lost(self, source: str, from_us: int, reason: str) -> None:
        """Devices starting with `source` can no longer be heard; nothing happens where that is known already."""
        if source not in self._open:
            self._open[source] = Blind(source=source, from_us=from_us, reason=reason)
            self.changed = True

    def back(self, source: str, now_us: int) -> None:
        """They can be heard again."""
        if blind := self._open.pop(source, None):
            self.note(source, blind.from_us, now_us, blind.reason)

    def note(self, source: str, from_us: int, to_us: int, reason: str) -> None:
        """Add a span that is over. One without length says nothing."""
        self.changed = True
        if to_us <= from_us:
            return
        self._closed.append(_Span(blind=Blind(source=source, from_us=from_us, to_us=to_us, reason=reason)))
        if len(self._closed) > MAX_SPANS:
            self._merge()

    def report(self, now_us: int) -> list[Blind]:
        """Return what the next heartbeat says: what is open, and what was closed recently or was not surely heard."""
        told = [s.blind for s in self._closed if not self._settled(s, now_us)]
        return [*self._open.values(), *told]

    def answered(self) -> None:
        """A heartbeat with the present report was answered."""
        for span in self._closed:
            span.told += 1

    def renewed(self) -> None:
        """The backend's store may be an older one: everything is told again."""
        for span in self._closed:
            span.told = 0

    def kept(self, now_us: int) -> list[Blind]:
        """Forget what is older than any backup, and return what the spool should keep (open spans have no `to_us`)."""
        self._closed = [s for s in self._closed if not (self._settled(s, now_us) and _end(s) + KEEP_US < now_us)]
        return [*self._open.values(), *(s.blind for s in self._closed)]

    def _settled(self, span: _Span, now_us: int) -> bool:
        return span.told >= REPEATS and _end(span) + REPEAT_US < now_us

    def _merge(self) -> None:
        first: dict[str, int] = {}
        for i, span in enumerate(self._closed):
            source = span.blind.source
            if source in first:
                older = self._closed[first[source]].blind
                both = Blind(source=source, from_us=older.from_us, to_us=max(_end(span), older.to_us or 0), reason=older.reason)
                self._closed[first[source]] = _Span(blind=both)
                del self._closed[i]
                return
            first[source] = i
        del self._closed[0]  # more sources than spans: no gateway has two hundred families


def _end(span: _Span) -> int:
    assert span.blind.to_us is not None
    return span.blind.to_us
