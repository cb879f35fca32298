"""The receiving side of the uplink: which frame is stored, which is a repeat, which came too early.

One decision: offers are provisional until `commit`, and visible to later offers of the same T1 batch, so that the batch
is built in memory, written once, and forgotten as a whole where the transaction fails. docs/uplink.md has the rules.

    offer … offer → pending → (T1 writes and commits) → commit → answers
                                    └ fails → rollback
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from gateway.wire import Header

FAR_BEHIND_BYTES = 1024 * 1024
LIVE_WINDOW_BYTES = 1024 * 1024
BACKLOG_WINDOW_BYTES = 128 * 1024


class Verdict(StrEnum):
    """What becomes of an offered frame."""

    STORE = "store"
    """The next one: it belongs to the batch, and so does the loss named with it."""
    DUPLICATE = "duplicate"
    """Stored already, or named lost: answer the cursor."""
    AHEAD = "ahead"
    """Frames before it are still held by the gateway: store nothing, answer the cursor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Offered:
    """lost: the inclusive range of seqs that is named lost before this frame is stored (only with STORE)."""

    verdict: Verdict
    lost: tuple[int, int] | None = None


STORE, DUPLICATE, AHEAD = (Offered(verdict=verdict) for verdict in Verdict)


class Receiver:
    """The cursors of the gateways of the shards that this worker owns."""

    def __init__(self) -> None:
        self._committed: dict[int, dict[int, int]] = {}
        self._pending: dict[tuple[int, int], int] = {}

    def load(self, gateway: int, cursors: Mapping[int, int]) -> None:
        """Take over the committed cursors (stream → seq) of a gateway as the store has them."""
        self._committed[gateway] = dict(cursors)

    def knows(self, gateway: int) -> bool:
        """Tell whether the gateway's cursors have been loaded."""
        return gateway in self._committed

    def offer(self, gateway: int, header: Header) -> Offered:
        """Judge a frame of a loaded gateway; STORE moves the provisional cursor. Raises KeyError for any other gateway."""
        key = gateway, header.stream
        cursor = self._pending.get(key, self.cursor(*key))
        if header.seq <= cursor:
            return DUPLICATE
        lost = None
        if header.seq > cursor + 1:
            if header.oldest != header.seq:
                return AHEAD
            lost = cursor + 1, header.seq - 1  # the gateway itself no longer holds them: nobody ever will
        self._pending[key] = header.seq
        return Offered(verdict=Verdict.STORE, lost=lost) if lost else STORE

    def pending(self) -> dict[tuple[int, int], int]:
        """Return the cursors {(gateway, stream): seq} that the batch being built must write."""
        return dict(self._pending)

    def commit(self) -> dict[tuple[int, int], int]:
        """T1 has committed: provisional becomes committed. Returns what changed, {(gateway, stream): seq}, to be answered."""
        changed, self._pending = self._pending, {}
        for (gateway, stream), seq in changed.items():
            self._committed[gateway][stream] = seq
        return changed

    def rollback(self) -> None:
        """T1 has failed: forget what was provisional; the gateways offer it again."""
        self._pending.clear()

    def cursor(self, gateway: int, stream: int) -> int:
        """Return the committed cursor, 0 where nothing of the stream is stored. Raises KeyError for a gateway not loaded."""
        return self._committed[gateway].get(stream, 0)

    def covers(self, gateway: int, heartbeat_stream: int, seq: int) -> bool:
        """Tell whether a heartbeat may extend coverage: all that the gateway has made of the stream is committed."""
        return self.cursor(gateway, heartbeat_stream) == seq

    def forget(self, gateway: int) -> None:
        """Drop a gateway whose shard was handed over, and whatever was provisional of it."""
        self._committed.pop(gateway, None)
        self._pending = {key: seq for key, seq in self._pending.items() if key[0] != gateway}

    def clear(self) -> None:
        """Drop everything: what the store says now must be loaded again."""
        self._committed.clear()
        self._pending.clear()


def credit(queued_bytes: int) -> int:
    """Return the bytes a gateway may have on the way, from what its heartbeat says is queued.

    Gateways far behind get little, so that live ones go first; even little carries a frame of the largest size.
    """
    return BACKLOG_WINDOW_BYTES if queued_bytes > FAR_BEHIND_BYTES else LIVE_WINDOW_BYTES
