"""Regions at a glance: counties, towns or sites beside each other, with what waits there and how many came.

One decision: which level is shown follows from the code that was asked for; one query sums whatever lies below it.
"""

from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row

from api.errors import BadRequest, NotFound
from gateway.clock import DAY_US
from ingest.store.queries import Queries

SQL = Queries("api", "regions.sql")
COUNTY, TOWN, SITES = 6, 9, 0
"""Digits of a code that tell counties or towns apart; SITES: each site by itself."""
LATELY_US = 7 * DAY_US

Connection = AsyncConnection[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegionRow:
    """A county, town or site. served: 服务人次 of the last seven days. alerts: that wait for someone, urgent of them untaken."""

    code: str
    name: str
    name_en: str
    sites: int
    alert: int
    blind: int
    attention: int
    ok: int
    alerts: int
    urgent: int
    today_in: int
    today_passages: int
    served: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Regions:
    """The parts of a region. digits: COUNTY, TOWN or SITES."""

    under: str
    name: str
    name_en: str
    digits: int
    parts: list[RegionRow]


async def read(conn: Connection, under: str, own: list[int] | None, now_us: int) -> Regions:
    """Return the parts of the region whose code begins with `under`. Raises BadRequest, NotFound."""
    if under and not (under.isascii() and under.isdecimal() and len(under) in (2, 4, 6, 9, 12)):
        raise BadRequest(f"a region is the first 2, 4, 6, 9 or 12 digits of its code, not {under[:20]!r}")
    values: dict[str, Any] = {"under": under, "own": own, "since_us": now_us - LATELY_US}
    async with conn.cursor(row_factory=dict_row) as cursor:
        heads = await (await cursor.execute(SQL["heads"], values)).fetchone()
        called = await (await cursor.execute(SQL["called"], values)).fetchone()
    assert heads is not None
    if under and not heads["towns"]:
        raise NotFound(f"there is no region {under!r}")
    digits = COUNTY if len(under) < COUNTY and heads["counties"] > 1 else TOWN if len(under) < TOWN else SITES
    async with conn.cursor(row_factory=class_row(RegionRow)) as rows:
        parts = await (await rows.execute(SQL["regions"], values | {"digits": digits})).fetchall()
    name = (called["name"], called["name_en"]) if called else ("", "")
    return Regions(under=under, name=name[0], name_en=name[1], digits=digits, parts=parts)
