"""What decides about a site's alerts beside themselves: silences, closed days, its own blindness, and who is on duty."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row

from analytics.alerts import Connection
from analytics.calendars import Calendar
from analytics.notices import LEVELS, Block, Quiet, closed_day, inhibited
from gateway.clock import DAY_US
from ingest.store.queries import Queries

SQL = Queries("analytics", "telling.sql")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """Someone (or with contact None a robot that hears everything) and where they are told. level: 0 site, 1 town, 2 city."""

    level: int = 0
    contact: int | None
    endpoint: int
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What decides about a site's alerts beside themselves. opens_us: on a closed day, when the site opens next, else None."""

    clock_us: int | None
    silences: Sequence[dict[str, Any]]
    gap: int | None
    closed: bool
    opens_us: int | None
    on_duty: Sequence[Recipient]
    rostered: bool

    @property
    def manned(self) -> tuple[bool, ...]:
        """By level, whether someone is on duty."""
        return tuple(any(r.level == n for r in self.on_duty) for n in range(LEVELS))


def block(row: dict[str, Any], scene: Scene) -> Block | None:
    """Return what stands in the way of telling of an alert, the longest-lasting first."""
    for s in scene.silences:
        subject = s["subject"] is None or (s["subject_kind"], s["subject"]) == (row["subject_kind"], row["subject"])
        if subject and s["rule"] in (None, row["rule"]) and s["severity"] in (None, row["severity"]):
            reason = Quiet.MAINTENANCE if s["kind"] == "maintenance" else Quiet.SILENCED
            return Block(reason=reason, until_us=s["to_us"], detail={"silence": s["id"]})
    closed = closed_day(row["rule"], scene.opens_us) if scene.closed else None
    return closed or inhibited(row["rule"], row["subject_kind"], row["severity"], scene.gap)


async def read_scene(conn: Connection, site: int, now_us: int) -> Scene:
    """Read what holds for a site (0: none) now."""
    found = await rows(conn, "site_now", {"site": site})
    place = found[0] if found else {"region": "", "zone": "Asia/Shanghai", "hours": {}, "clock_us": None}
    values = {"site": site, "now_us": now_us, "region": place["region"]}
    closures = [(c["from_us"], c["to_us"]) for c in await rows(conn, "closures", values)]
    closed, opens_us = closed_until(Calendar(place["zone"], place["hours"], closures), now_us)
    return Scene(
        clock_us=place["clock_us"],
        silences=await rows(conn, "silences", values),
        gap=(await rows(conn, "gap", values))[0]["min"],
        closed=closed,
        opens_us=opens_us,
        on_duty=[Recipient(**r) for r in await rows(conn, "on_duty", values)],
        rostered=(await rows(conn, "rostered", values))[0]["exists"],
    )


def closed_until(calendar: Calendar, now_us: int) -> tuple[bool, int | None]:
    """Tell whether a site with hours is in closed days, from their first midnight to the opening after them, and until when.

    None: no opening is known.
    """
    if not calendar.has_hours or calendar.at(now_us) is not None:
        return False, None
    closes = [w.closes_us for w in calendar.around(now_us) if w.closes_us <= now_us]
    opens = calendar.next_opening(now_us)
    if not closes:
        return opens is None or opens - now_us >= DAY_US, opens
    midnight = calendar.day_of(closes[-1])[1]
    return (opens is None or opens - closes[-1] >= DAY_US) and midnight <= now_us, opens


async def rows(conn: Connection, query: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    """Run a query of telling.sql."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SQL[query], values)
        return await cursor.fetchall()
