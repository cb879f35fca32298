"""The sending side of the uplink: go-back-N over a pipe that may lose, repeat and delay anything.

One decision: the machine knows frames only by (stream, seq, size) and is told the time; the spool holds the bytes and
the service moves them. Streams go strictly one after another, oldest first, so only one stream is ever in flight.

    sealed ─┐                      ┌─ tick → frames to put on the way now
    answer ─┼→ Sender (go-back-N) ─┼─ trim → frames the spool may delete
    time   ─┘                      └─ progress → what the spool should remember
"""

from array import array
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from gateway.clock import HOUR_US, MINUTE_US, SECOND_US
from gateway.wire import Answer, parse_stream

KEEP_US = 72 * HOUR_US
"""Acknowledged frames are kept this long, so that a backend restored from a backup can ask for them again."""
TAILS = 64
"""Streams of which the last frame is kept for good: it is what can still name a loss of the frames before it."""
TIMEOUT_US = 5 * SECOND_US
MAX_TIMEOUT_US = 60 * SECOND_US
FIRST_ALLOWANCE = 16 * 1024
RECONNECT_FLOOR_US = SECOND_US // 10


class Key(NamedTuple):
    """A frame's number."""

    stream: int
    seq: int


class Mark(NamedTuple):
    """Everything of the stream up to `seq` was acknowledged by `at_us` (rounded up to the minute)."""

    seq: int
    at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What changed since it was last asked. renewed: forget all earlier marks first. marks: stream → marks to add."""

    epoch: int
    renewed: bool
    marks: dict[int, list[Mark]]


class _Stream:
    """The frames first … last of one stream that are held; without gaps, because only the oldest is ever dropped."""

    def __init__(self, stream: int, first: int, sizes: Iterable[int], marks: Iterable[Mark]) -> None:
        self.stream = stream
        self.first = first
        self._base = first
        self._sizes = array("I", sizes)
        self.marks = deque(marks)
        self.acked = max(first - 1, min(self.marks[-1].seq, self.last) if self.marks else 0)
        self.sent = self.acked
        self.shown = self.last  # the highest that may ever have been on the way
        self.known = True  # the cursor of this epoch is known; if not, one frame asks for it

    @property
    def last(self) -> int:
        return self._base + len(self._sizes) - 1

    @property
    def done(self) -> bool:
        return self.last < self.first or (self.known and self.acked >= self.last)

    def size(self, seq: int) -> int:
        return self._sizes[seq - self._base]

    def bytes(self, after: int, through: int) -> int:
        """Bytes of the held frames (after, through]."""
        return sum(self._sizes[max(after + 1, self.first) - self._base : max(through + 1, self.first) - self._base])

    def append(self, size: int) -> None:
        self._sizes.append(size)

    def drop_first(self) -> None:
        self.first += 1
        if self.first - self._base > 4096:
            del self._sizes[: self.first - self._base]
            self._base = self.first

    def mark(self, now_us: int) -> Mark:
        """Remember that `acked` is acknowledged; marks of the same minute are one."""
        at_us = (now_us // MINUTE_US + 1) * MINUTE_US
        if self.marks and self.marks[-1].at_us >= at_us:
            at_us = self.marks.pop().at_us
        mark = Mark(self.acked, at_us)
        self.marks.append(mark)
        return mark

    def expired(self, now_us: int) -> int:
        """Return the seq up to which acknowledged frames have been kept long enough."""
        while len(self.marks) > 1 and self.marks[1].at_us + KEEP_US <= now_us:
            self.marks.popleft()
        return self.marks[0].seq if self.marks and self.marks[0].at_us + KEEP_US <= now_us else 0


class Sender:
    """State of one gateway's uplink. `now_us` may step: no timer waits longer than its own timeout."""

    def __init__(self, *, budget_bytes: int, epoch: int = 0, reconnect_jitter_us: int = 60 * SECOND_US) -> None:
        self.epoch = epoch
        self._budget = budget_bytes
        self._jitter_us = reconnect_jitter_us
        self._streams: dict[int, _Stream] = {}  # oldest first
        self._current = 0
        self._held_bytes = 0
        self._acked_bytes = 0
        self._up = False
        self._window = FIRST_ALLOWANCE
        self._allowed = FIRST_ALLOWANCE
        self._flight = 0
        self._timeout_us = TIMEOUT_US
        self._deadline_us = 0
        self._renewed = False
        self._unsaved: dict[int, dict[int, int]] = {}

    # ------------------------------------------------------------------ what the spool holds
    def restore(self, stream: int, first: int, sizes: Iterable[int], marks: Iterable[Mark] = ()) -> None:
        """Take over one stream from the spool, oldest stream first: frames first, first + 1, … of these sizes in bytes."""
        s = self._streams[stream] = _Stream(stream, first, sizes, marks)
        self._held_bytes += s.bytes(first - 1, s.last)
        self._acked_bytes += s.bytes(first - 1, s.acked)

    def open(self, stream: int) -> None:
        """Begin a new stream; it becomes the current one and comes after all others."""
        before = self._streams.get(self._current)
        if before and before.last == 0:  # nothing was ever made in it
            del self._streams[self._current]
        self._streams[stream] = _Stream(stream, 1, (), ())
        self._current = stream

    def sealed(self, size: int) -> Key:
        """Add the current stream's next frame, `size` bytes with its header. Returns its number."""
        s = self._streams[self._current]
        s.append(size)
        self._held_bytes += size
        return Key(s.stream, s.last)

    def shown(self) -> int:
        """Return the highest number of the current stream that may ever have been on the way."""
        return self._streams[self._current].shown

    def limit(self, budget_bytes: int) -> None:
        """Hold no more than this from the next `trim` on."""
        self._budget = budget_bytes

    def oldest(self, stream: int) -> int:
        """Return the lowest seq of the stream that is held: the header's `oldest`; 0 for a stream that is not held."""
        s = self._streams.get(stream)
        return s.first if s else 0

    @property
    def held_bytes(self) -> int:
        """Bytes of all frames held."""
        return self._held_bytes

    @property
    def queued_bytes(self) -> int:
        """Bytes held and not yet acknowledged."""
        return self._held_bytes - self._acked_bytes

    @property
    def queued_frames(self) -> int:
        """Frames held and not yet acknowledged."""
        return sum(s.last - s.acked for s in self._streams.values())

    # ------------------------------------------------------------------ the connection
    def connected(self) -> None:
        """The pipe is there: begin with what is not acknowledged, slowly."""
        self._up = True
        self._go_back()
        self._allowed = FIRST_ALLOWANCE
        self._timeout_us = TIMEOUT_US

    def disconnected(self, jitter: float) -> int:
        """The pipe is gone, or could not be had. jitter: random, 0 to 1. Returns the µs to wait before the next attempt.

        A backend that comes back would otherwise meet all its gateways in the same second.
        """
        self._up = False
        return RECONNECT_FLOOR_US + int(jitter * self._jitter_us)

    def answer(self, answer: Answer, now_us: int) -> bool:
        """Obey an answer; tell whether it opened a new epoch. Raises wire.BadMessage where its stream id is none.

        "Within an epoch seq only rises; in a newer epoch a lower seq is obeyed." Answers of an older epoch and for
        streams that are not ours (a cloned image has the same address) are ignored.
        """
        s = self._streams.get(parse_stream(answer.stream))
        if s is None or answer.epoch < self.epoch:
            return False
        renewed = answer.epoch > self.epoch
        if renewed:
            self._renew(answer.epoch)
        self._window = max(answer.window, 0)
        through = min(answer.seq, s.last)
        s.known = True
        if through > s.acked:
            gained = s.bytes(s.acked, through)
            self._flight -= s.bytes(s.acked, min(through, s.sent))
            self._acked_bytes += gained
            s.acked = through
            s.sent = max(s.sent, through)
            mark = s.mark(now_us)
            self._unsaved.setdefault(s.stream, {})[mark.at_us] = mark.seq
            self._allowed = min(self._allowed + gained, max(self._window, FIRST_ALLOWANCE))
            self._timeout_us = TIMEOUT_US
            self._deadline_us = now_us + self._timeout_us
        return renewed

    def tick(self, now_us: int) -> list[Key]:
        """Return the frames to put on the way now, in order; call after every input and at `wake_us`."""
        if not self._up:
            return []
        self._deadline_us = min(self._deadline_us, now_us + self._timeout_us)  # the clock was set back
        if self._flight and now_us >= self._deadline_us:
            self._go_back()
            self._allowed = 0  # one probe: the first frame not acknowledged
            self._timeout_us = min(2 * self._timeout_us, MAX_TIMEOUT_US)
        s = next((s for s in self._streams.values() if not s.done), None)
        out: list[Key] = []
        while s and s.sent < (s.last if s.known else s.acked + 1):
            size = s.size(s.sent + 1)
            if self._flight and self._flight + size > min(self._allowed, self._window):
                break
            if not self._flight:
                self._deadline_us = now_us + self._timeout_us
            s.sent += 1
            s.shown = max(s.shown, s.sent)
            self._flight += size
            out.append(Key(s.stream, s.sent))
        return out

    def wake_us(self) -> int | None:
        """Return when `tick` has to be called at the latest, None where only an input can change anything."""
        return self._deadline_us if self._up and self._flight else None

    # ------------------------------------------------------------------ what the spool should do
    def trim(self, now_us: int) -> list[Key]:
        """Forget and return the frames to delete; each key stands for everything of its stream up to its seq.

        Acknowledged frames go after KEEP_US, or oldest first once they fill half the budget. Frames not acknowledged go
        only when the whole budget is full, oldest first: a loss, which the header's `oldest` names. The last frame of
        a stream stays to carry that name, save that of the streams beyond TAILS the settled ones go altogether.
        """
        cut: dict[int, int] = {}
        for s in self._streams.values():
            expired = s.expired(now_us)
            while s.first <= min(s.acked, s.last - 1) and (
                s.first <= expired or self._acked_bytes > self._budget // 2 or self._held_bytes > self._budget
            ):
                cut[s.stream] = self._drop_first(s)
        for s in self._streams.values():
            while self._held_bytes > self._budget and s.first < s.last:
                cut[s.stream] = self._drop_first(s)
        surplus = max(0, len(self._streams) - TAILS)
        for s in list(islice(self._streams.values(), surplus)):
            if s.stream != self._current and s.done and s.expired(now_us) >= s.last:
                while s.first <= s.last:
                    cut[s.stream] = self._drop_first(s)
                del self._streams[s.stream]
        return [Key(stream, seq) for stream, seq in cut.items()]

    def progress(self) -> Progress | None:
        """Return what was acknowledged since the last call, for the spool to remember; None where nothing was."""
        if not self._renewed and not self._unsaved:
            return None
        marks = {stream: [Mark(seq, at_us) for at_us, seq in marks.items()] for stream, marks in self._unsaved.items()}
        progress = Progress(epoch=self.epoch, renewed=self._renewed, marks=marks)
        self._renewed, self._unsaved = False, {}
        return progress

    # ------------------------------------------------------------------ inside
    def _renew(self, epoch: int) -> None:
        """A new owner, or a restored store: what an older epoch acknowledged may be gone, so each stream asks again."""
        self.epoch = epoch
        self._renewed = True
        self._unsaved.clear()
        self._acked_bytes = 0
        for s in self._streams.values():
            s.acked = s.sent = s.first - 1
            s.known = False
            s.marks.clear()
        self._flight = 0

    def _go_back(self) -> None:
        self._flight = 0
        for s in self._streams.values():
            s.sent = s.acked

    def _drop_first(self, s: _Stream) -> int:
        """Drop the oldest frame of the stream. Returns its seq."""
        seq, size = s.first, s.size(s.first)
        self._held_bytes -= size
        if seq <= s.acked:
            self._acked_bytes -= size
        elif seq <= s.sent:
            self._flight -= size
        s.drop_first()
        s.acked = max(s.acked, seq)
        s.sent = max(s.sent, s.acked)
        return seq
