"""Reads from roll-ups what a report says of the sites of one zone, whose local days begin together.

One decision: each kind of figure is one query for all sites, and what sensors could see is kept as intervals until a day's
figures are made of it.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import dict_row, tuple_row

from analytics.calendars import Calendar
from api import report_sight
from api.report_figures import KINDS, AlertRow, Correction, Day, Rate, Sensor, SiteInfo, SiteReport, of_site
from api.report_period import ReportPeriod
from api.report_sight import WHOLE_US, Interval, Planned, join, length, silent, without
from gateway.clock import HOUR_US
from ingest.classes import CLASSES
from ingest.store.queries import Queries

SQL = Queries("api", "report.sql")
NOON = 5 * HOUR_US, 13 * HOUR_US
"""After local midnight begins, between these, the noon slot (10:00, an hour off when clocks change)."""
NOBODY = (0, 0, 0, 0)
"""served, anonymous, staff, noon meals."""

Connection = AsyncConnection[Any]
Life = Mapping[int, tuple[int | None, int | None]]
Watching = tuple[Sensor, frozenset[str], list[Interval]]
"""A sensor, the families of its devices, when it was mounted."""


class ZoneReading:
    """The sites of one zone, whose local days begin together."""

    def __init__(self, conn: Connection, rows: Sequence[dict[str, Any]], period: ReportPeriod, zone: str, now_us: int) -> None:
        self._conn, self._rows, self._zone = conn, rows, zone
        self._days = period.days
        self.bounds = period.bounds(zone)
        self.until_us = max(self.bounds[0], min(self.bounds[-1], now_us))
        self._ids = [row["id"] for row in rows]
        self._values = {
            "sites": self._ids,
            "bounds": self.bounds,
            "from_us": self.bounds[0],
            "to_us": self.bounds[-1],
            "first": period.first,
            "last": period.last,
        }

    async def read(self, days: Mapping[str, str], rates: Mapping[str, list[Rate]]) -> dict[int, SiteReport]:
        """Return each site's report by its id; attenders are filled in by the caller."""
        places = await dicts(self._conn, "places", self._values)
        self._values["places"] = [p["id"] for p in places]
        counts, heard = await self._counts()
        sensors = await self._sensors(places, heard)
        plans = await self._plans(days)
        life = await self._life()
        service = await self._service()
        place_of: dict[int, list[int]] = defaultdict(list)
        for p in places:
            place_of[p["site"]].append(p["id"])
        alerts, corrections = await self._alerts(), await self._corrections()
        found = {}
        for row in self._rows:
            site = row["id"]
            watching = sensors.get(site, [])
            sights = _sights(watching)
            holes = without([(self.bounds[0], self.bounds[-1])], sights["all"])
            listed = tuple(
                self._day(
                    (n, plan, life.get(site, {})),
                    (sights, holes),
                    [counts[p, n + 1] for p in place_of[site] if (p, n + 1) in counts],
                    service.get((site, n), NOBODY),
                )
                for n, plan in enumerate(plans[site])
            )
            told, changed = alerts.get(site, []), corrections.get(row["code"], [])
            info = SiteInfo(**{name: row[name] for name in SiteInfo.__slots__})
            only = tuple(s for s, _, _ in watching)
            figures = of_site(listed, only, told, changed, rates.get(row["code"], []), 0)
            found[site] = SiteReport(
                site=info, figures=figures, days=listed, sensors=only, alerts=tuple(told), corrections=tuple(changed)
            )
        return found

    def _day(
        self,
        day: tuple[int, Planned | None, Life],
        sight: tuple[Mapping[str, list[Interval]], list[Interval]],
        counts: Sequence[tuple[int, int]],
        service: Sequence[int],
    ) -> Day:
        (n, plan, life), (sights, holes) = day, sight
        windows = [(a, min(b, self.until_us)) for a, b in plan.windows if a < self.until_us] if plan else []
        of = length(windows)
        alive = report_sight.life_within(life, plan.life) if plan else None
        served, anonymous, staff, meals = service
        return Day(
            day=self._days[n],
            planned_us=length(plan.windows) if plan else 0,
            opened=report_sight.opened(alive, plan, holes, self.until_us) if plan else None,
            first_us=alive[0] if alive else None,
            last_us=alive[1] if alive else None,
            people_in=sum(c[0] for c in counts),
            people_out=sum(c[1] for c in counts),
            served=served,
            anonymous=anonymous,
            staff=staff,
            meals=meals,
            seen={kind: (of - length(without(windows, spans)), of) for kind, spans in sights.items()},
        )

    async def _counts(self) -> tuple[dict[tuple[int, int], tuple[int, int]], dict[int, int]]:
        """Return people in and out by (place, day from 1 on), and the hours of the period in which a place spoke, as bits."""
        counts: dict[tuple[int, int], tuple[int, int]] = {}
        heard: dict[int, int] = defaultdict(int)
        for row in await tuples(self._conn, "place_days", self._values):
            place, day, people_in, people_out, *_, bits = row
            counts[place, day] = people_in, people_out
            heard[place] |= bits << (self.bounds[day - 1] - self.bounds[0]) // HOUR_US
        return counts, heard

    async def _sensors(self, places: Sequence[dict[str, Any]], heard: Mapping[int, int]) -> dict[int, list[Watching]]:
        """Return the sensors of each site: in the order of places."""
        until = {"from_us": self.bounds[0], "to_us": self.until_us}
        mounted: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for m in await dicts(self._conn, "mountings", self._values | until):
            mounted[m["place"]].append(m)
        gateways = sorted({m["gateway"] for ms in mounted.values() for m in ms})
        uncovered, blind = await self._gateways(gateways)
        hours = (self.until_us - self.bounds[0]) // HOUR_US
        found: dict[int, list[Watching]] = defaultdict(list)
        for p in places:
            mine = mounted.get(p["id"], [])
            spans = join((m["from_us"], m["to_us"]) for m in mine)
            if not spans:
                continue
            alive_us = max(m["alive_us"] or CLASSES[m["class_"]].alive_every_us for m in mine)
            holes = silent(heard.get(p["id"], 0), self.bounds[0], hours, alive_us)
            for m in mine:
                deaf = [(a, b) for source, a, b in blind[m["gateway"]] if m["identity"].startswith(source)]
                holes += [(max(a, m["from_us"]), min(b, m["to_us"])) for a, b in uncovered[m["gateway"]] + deaf]
            families = {CLASSES[m["class_"]].family for m in mine}
            sensor = Sensor(
                place=p["code"],
                name=p["name"],
                name_en=p["name_en"],
                room=p["room"],
                classes=tuple(dict.fromkeys(m["class_"] for m in mine)),
                devices=tuple(dict.fromkeys(m["name"] or m["identity"] for m in mine)),
                identities=tuple(dict.fromkeys(m["identity"] for m in mine)),
                mounted_us=length(spans),
                holes=tuple(_within(join(holes), spans)),
            )
            found[p["site"]].append((sensor, frozenset(families), spans))
        return found

    async def _gateways(
        self, gateways: Sequence[int]
    ) -> tuple[Mapping[int, list[Interval]], Mapping[int, list[tuple[str, int, int]]]]:
        """Return when each gateway was not receiving, and when it could not hear devices whose identity begins so."""
        values = {"gateways": list(gateways), "from_us": self.bounds[0], "to_us": self.until_us}
        covered: dict[int, list[Interval]] = defaultdict(list)
        for gateway, a, b in await tuples(self._conn, "coverage", values):
            covered[gateway].append((a, b))
        blind: dict[int, list[tuple[str, int, int]]] = defaultdict(list)
        for gateway, source, a, b, _ in await tuples(self._conn, "blind", values):
            if b - a > WHOLE_US:
                blind[gateway].append((source, a, b))
        whole = [(self.bounds[0], self.until_us)] if self.until_us > self.bounds[0] else []
        return {g: [s for s in without(whole, join(covered[g])) if s[1] - s[0] > WHOLE_US] for g in gateways}, blind

    async def _plans(self, days: Mapping[str, str]) -> dict[int, list[Planned | None]]:
        closed: dict[int, list[Interval]] = defaultdict(list)
        for site, a, b in await tuples(self._conn, "closures", self._values):
            closed[site].append((a, b))
        usual: dict[str, Calendar] = {}
        open_days: dict[str, list[Planned | None]] = {}
        found = {}
        for row in self._rows:
            key = str(sorted(row["hours"].items()))
            if key not in usual:
                usual[key] = Calendar(self._zone, row["hours"], days=days)
                open_days[key] = report_sight.planned(usual[key], self.bounds, [])
            mine = join(closed.get(row["id"], []))
            found[row["id"]] = report_sight.planned(usual[key], self.bounds, mine) if mine else open_days[key]
        return found

    async def _life(self) -> Mapping[int, Life]:
        life: dict[int, dict[int, tuple[int | None, int | None]]] = defaultdict(dict)
        for site, hour_us, first_us, last_us in await tuples(self._conn, "life", self._values):
            life[site][hour_us] = first_us, last_us
        return life

    async def _service(self) -> Mapping[tuple[int, int], list[int]]:
        """Return served, anonymous, staff and noon meals by (site, day from 0 on)."""
        found: dict[tuple[int, int], list[int]] = {}
        for site, slot_us, served, anonymous, staff, meals in await tuples(self._conn, "service", self._values):
            n = bisect_right(self.bounds, slot_us) - 1
            noon = NOON[0] <= slot_us - self.bounds[n] <= NOON[1]
            day = found.setdefault((site, n), list(NOBODY))
            for i, value in enumerate((served, anonymous, staff, meals if noon else 0)):
                day[i] += value
        return found

    async def _alerts(self) -> Mapping[int, list[AlertRow]]:
        found: dict[int, list[AlertRow]] = defaultdict(list)
        for row in await dicts(self._conn, "alerts", self._values):
            found[row.pop("site")].append(AlertRow(**row))
        return found

    async def _corrections(self) -> Mapping[str, list[Correction]]:
        found: dict[str, list[Correction]] = defaultdict(list)
        for row in await dicts(self._conn, "corrections", self._values):
            found[row["site"]].append(Correction(**row))
        return found


def _sights(watching: Sequence[Watching]) -> dict[str, list[Interval]]:
    """Return when all sensors of a kind could see; a kind that the site does not have is left out."""
    found = {}
    for kind in KINDS:
        mine = [(sensor, spans) for sensor, families, spans in watching if kind == "all" or kind in families]
        if mine or kind == "all":
            mounted = join(span for _, spans in mine for span in spans)
            found[kind] = without(mounted, join(hole for sensor, _ in mine for hole in sensor.holes))
    return found


def _within(spans: Sequence[Interval], other: Sequence[Interval]) -> list[Interval]:
    """Return the part of joined spans that lies in joined others."""
    return without(spans, without(spans, other))


async def tuples(conn: Connection, query: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Run a query of reports."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(SQL[query], values)
        return await cursor.fetchall()


async def dicts(conn: Connection, query: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Run a query of reports; rows by column."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SQL[query], values)
        return await cursor.fetchall()
