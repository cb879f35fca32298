"""What is wrong with the system itself, read from the database: shown on the page, in /healthz and to Prometheus.

One decision: nobody has to report a death. A shard's lock is gone with its worker's connection, a worker that hangs stops
renewing its row, and the rest are columns that their owners keep anyway.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from gateway.clock import SECOND_US
from ingest.shards import SPACE
from ingest.store.queries import Queries

Connection = AsyncConnection[Any]
SQL = Queries("api", "health.sql")
SILENT_US = 10 * SECOND_US
"""A worker renews its row every 3 s; one that has not for so long hangs, or its machine does."""
AWAY_US = 4 * SECOND_US
"""A broker that is away for less has been restarted."""
LAGGING_US = 60 * SECOND_US


class Kind(StrEnum):
    """What can be wrong, the gravest first."""

    STOPPED = "stopped"
    BROKER = "broker"
    FAILING = "failing"
    LAGGING = "lagging"
    GATEWAY = "gateway"
    BREAKER = "breaker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """A shard with gateways, or (used: false) one whose analyzer fails.

    silent_us: since its worker last renewed its row; None: it never did.
    """

    id: int
    used: bool
    pos: int
    analysed: int
    failing_since_us: int | None
    held: bool
    silent_us: int | None
    broker_lost_us: int | None
    away_us: int | None

    @property
    def lag_us(self) -> int:
        """How far the analyzer is behind what is stored."""
        return max(0, self.pos - self.analysed)

    @property
    def trouble(self) -> Kind | None:
        """What is wrong with it, the gravest."""
        if self.used and (not self.held or (self.silent_us or 0) > SILENT_US):
            return Kind.STOPPED
        if (self.away_us or 0) > AWAY_US:
            return Kind.BROKER
        if self.failing_since_us is not None:
            return Kind.FAILING
        return Kind.LAGGING if self.lag_us > LAGGING_US else None


@dataclass(frozen=True, slots=True, kw_only=True)
class LostGateway:
    """A gateway that is lost since `at_us`."""

    code: str
    shard: int
    at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How the system stands, as far as the reader may see it. breakers: endpoints that are left alone; an admin's."""

    shards: Sequence[Shard]
    lost: Sequence[LostGateway]
    breakers: Sequence[str]

    def of(self, kind: Kind) -> list[Shard]:
        """Return the shards with that trouble."""
        return [s for s in self.shards if s.trouble is kind]

    def by_shard(self) -> dict[int, tuple[object, ...]]:
        """Return what is wrong by shard, without times: it changes when the page must."""
        lost = {g.shard: tuple(sorted(x.code for x in self.lost if x.shard == g.shard)) for g in self.lost}
        wrong = {s.id: (s.trouble, lost.get(s.id)) for s in self.shards if s.trouble or s.id in lost}
        return wrong | {-1: tuple(self.breakers)}

    def summary(self) -> tuple[bool, dict[str, object]]:
        """Return whether all is well, and what /healthz says. A receiver or a site's gateway being away is not our failure."""
        used = len(self.shards)
        stopped, away = len(self.of(Kind.STOPPED)), len(self.of(Kind.BROKER))
        behind = len(self.of(Kind.FAILING)) + len(self.of(Kind.LAGGING))
        well = not (stopped or away or behind)
        shards = {"used": used, "owned": used - stopped, "analysed": used - stopped - away - behind}
        broker = "away" if away else "unknown" if stopped == used else "ok"
        return well, {"status": "ok" if well else "failing", "database": "ok", "shards": shards, "broker": broker}


async def read(conn: Connection, sites: list[int] | None) -> Health:
    """Return how the system stands for a reader of these sites, or (None) as a whole."""
    values = {"space": SPACE, "sites": sites}
    async with conn.cursor(row_factory=class_row(Shard)) as cursor:
        shards = await (await cursor.execute(SQL["shards"], values)).fetchall()
    async with conn.cursor(row_factory=class_row(LostGateway)) as cursor:
        lost = await (await cursor.execute(SQL["lost_gateways"], values)).fetchall()
    breakers = [] if sites is not None else [name for (name,) in await (await conn.execute(SQL["open_breakers"])).fetchall()]
    return Health(shards=shards, lost=lost, breakers=breakers)
