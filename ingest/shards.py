"""Which shards this worker owns: advisory locks held by one connection, and the epochs that fence everyone else off.

One decision: losing that connection is losing the shards. Nothing is repaired; the worker stops and starts again, with
higher epochs, and transactions begun under the old ones cannot commit. The connection also says that the worker lives: the
workers share the shards evenly among as many as hold such a connection, and the server ends one that says nothing. A worker
that only has much to do, such as a province's register to read, says so in a thread of its own.
"""

import contextlib
import threading
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import psycopg

from ingest.errors import ShardsLost
from ingest.store.queries import Queries

QUERIES = Queries("ingest")
SPACE = 0x5CA1  # first key of our advisory locks; the second is the shard
MEMBERS = 0x5CA2  # first key of the lock that all workers share who want the same shards; the second names those
SILENCE_S = 15
"""A worker that asks for nothing in this time hangs, or is gone without a word: the server gives its shards free."""
BUSY_S = 120.0
"""A worker that has not looked after its shards for so long does not work, it hangs: nothing is said in its name any more."""
PATIENCE_S = 2
"""How long a shard's row is waited for: whoever had the shard before may still be committing, or hang in the middle."""
ALL = range(64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Owned:
    """A shard when it was taken: its new epoch, the position of its last T1, how far it was analysed.

    left: its last owner was another process and has not given it back.
    """

    shard: int
    epoch: int
    pos: int
    analysed: int
    left: bool = False


class Shards:
    """The shards held by one connection of its own; use with `with`."""

    def __init__(self, database_url: str, owner: str) -> None:
        self.conn: psycopg.Connection[Any] = psycopg.connect(
            database_url, autocommit=True, connect_timeout=5, application_name="smartcare shards"
        )
        self.conn.execute(QUERIES["be_silent_no_longer"], {"silence": f"{SILENCE_S}s", "patience": f"{PATIENCE_S}s"})
        self.owner = owner
        self.owned: dict[int, Owned] = {}
        self._member: int | None = None
        self._looked = time.monotonic()
        self._closed = threading.Event()
        self._voice = threading.Thread(target=self._speak, args=[SILENCE_S / 3], name="ingest.shards", daemon=True)
        self._voice.start()

    def _speak(self, every_s: float) -> None:
        """Say that we live, while the one who looks after the shards is busy. A process that is stopped says nothing."""
        while not self._closed.wait(every_s):
            if time.monotonic() - self._looked < BUSY_S:
                with contextlib.suppress(psycopg.Error):  # told to the one who looks next
                    self.conn.execute("SELECT 1")

    def take(self, wanted: Sequence[int]) -> list[Owned]:
        """Take free shards out of `wanted`, up to our share, and raise their epochs. Returns those. Raises ShardsLost."""
        taken: list[Owned] = []
        try:
            share, held = self._look(wanted)
            for shard in wanted:
                if shard not in held and len(self.owned) + len(taken) < share and (owned := self._take(shard)):
                    taken.append(owned)
        except psycopg.OperationalError as e:
            raise ShardsLost(f"the connection that holds the shards broke: {e}") from e
        self.owned |= {o.shard: o for o in taken}
        return taken

    def give(self, wanted: Sequence[int]) -> list[int]:
        """Give back what is more than our share of `wanted`, so that others can take it. Returns those. Raises ShardsLost."""
        try:
            share, _ = self._look(wanted)
            mine = [s for s in wanted if s in self.owned]
            stay = {mine[n * len(mine) // share] for n in range(min(share, len(mine)))}  # neighbours are often one town's
            given = [s for s in mine if s not in stay]
            if given:
                self.conn.execute(QUERIES["give_back"], {"shard": given, "epoch": [self.owned.pop(s).epoch for s in given]})
                self.conn.execute(QUERIES["unlock"], {"space": SPACE, "shards": given})
        except psycopg.OperationalError as e:
            raise ShardsLost(f"the connection that holds the shards broke: {e}") from e
        return given

    def _look(self, wanted: Sequence[int]) -> tuple[int, set[int]]:
        """Return how many of the shards each worker may have, and which are held by whom ever."""
        self._looked = time.monotonic()
        member = zlib.crc32(repr(sorted(wanted)).encode()) >> 1
        if self._member != member:
            self.conn.execute(QUERIES["join"], {"space": MEMBERS, "member": member})
            self._member = member
        found = self.conn.execute(QUERIES["held_locks"], {"shards": SPACE, "members": MEMBERS}).fetchall()
        members = sum((space, key) == (MEMBERS, member) for space, key in found)
        return -(-len(wanted) // max(members, 1)), {key for space, key in found if space == SPACE}

    def _take(self, shard: int) -> Owned | None:
        """Take one shard; None where another worker was faster or its row is not to be had now."""
        locked = self.conn.execute(QUERIES["try_lock"], {"space": SPACE, "shard": shard}).fetchone()
        if not (locked and locked[0]):
            return None
        try:
            raised = self.conn.execute(QUERIES["raise_epoch"], {"shard": shard, "owner": self.owner}).fetchone()
        except psycopg.errors.LockNotAvailable:
            self.conn.execute(QUERIES["unlock"], {"space": SPACE, "shards": [shard]})
            return None
        assert raised is not None, f"there is no shard {shard}"
        return Owned(shard=shard, epoch=raised[0], pos=raised[1], analysed=raised[2], left=raised[3])

    def check(self) -> None:
        """Raise ShardsLost if the connection is gone."""
        self._looked = time.monotonic()
        try:
            self.conn.execute("SELECT 1")
        except psycopg.OperationalError as e:
            raise ShardsLost(f"the connection that holds the shards broke: {e}") from e

    def close(self) -> None:
        """Give all shards back, at once if the connection still lives."""
        self._closed.set()
        mine = {"shard": list(self.owned), "epoch": [o.epoch for o in self.owned.values()]}
        self.owned.clear()
        with contextlib.suppress(psycopg.OperationalError):
            self.conn.execute(QUERIES["give_back"], mine)
            self.conn.execute("SELECT pg_advisory_unlock_all()")
        self.conn.close()
        self._voice.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
