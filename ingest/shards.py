"""Which shards this worker owns: advisory locks held by one connection, and the epochs that fence everyone else off.

One decision: losing that connection is losing the shards. Nothing is repaired; the worker stops and starts again, with
higher epochs, and transactions begun under the old ones cannot commit.
"""

import contextlib
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import psycopg

from ingest.errors import ShardsLost
from ingest.store.queries import Queries

QUERIES = Queries("ingest")
SPACE = 0x5CA1  # first key of our advisory locks; the second is the shard
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
        self.owner = owner
        self.owned: dict[int, Owned] = {}

    def take(self, wanted: Iterable[int]) -> list[Owned]:
        """Take every free shard out of `wanted` and raise its epoch. Returns those newly taken. Raises ShardsLost."""
        taken = []
        try:
            for shard in wanted:
                if shard in self.owned:
                    continue
                locked = self.conn.execute(QUERIES["try_lock"], {"space": SPACE, "shard": shard}).fetchone()
                if locked and locked[0]:
                    raised = self.conn.execute(QUERIES["raise_epoch"], {"shard": shard, "owner": self.owner}).fetchone()
                    assert raised is not None, f"there is no shard {shard}"
                    taken.append(Owned(shard=shard, epoch=raised[0], pos=raised[1], analysed=raised[2], left=raised[3]))
        except psycopg.OperationalError as e:
            raise ShardsLost(f"the connection that holds the shards broke: {e}") from e
        self.owned |= {o.shard: o for o in taken}
        return taken

    def check(self) -> None:
        """Raise ShardsLost if the connection is gone."""
        try:
            self.conn.execute("SELECT 1")
        except psycopg.OperationalError as e:
            raise ShardsLost(f"the connection that holds the shards broke: {e}") from e

    def close(self) -> None:
        """Give all shards back, at once if the connection still lives."""
        mine = {"shard": list(self.owned), "epoch": [o.epoch for o in self.owned.values()]}
        self.owned.clear()
        with contextlib.suppress(psycopg.OperationalError):
            self.conn.execute(QUERIES["give_back"], mine)
            self.conn.execute("SELECT pg_advisory_unlock_all()")
        self.conn.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
