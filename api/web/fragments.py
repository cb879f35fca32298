"""The parts of pages that live: each is read and rendered by its topic.

    alerts, counters, sites, banner, latest  what the reader may see of these
    site:<id>, pending:<id>, banner:<id>     one site's
    walk:<id>                                a site's walk test
    alert:<id>                               one alert

One decision: whether a reader may have a topic is settled once, by `allowed`, when a page or stream asks for it.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import jinja2
from psycopg import AsyncConnection

from api import duty, health, installing, reading, usual
from api.accounts import Part, Principal
from api.reading import DoorRow, SiteRow
from api.usual import Usual
from api.web import duty_views, install_views, troubles, views
from api.web.charts import footfall
from api.web.charts.doors import Period
from api.web.door_day import door_day, door_view
from api.web.i18n import Say, day_start_us
from api.web.live import LISTS
from gateway.clock import DAY_US, MINUTE_US
from ingest import daybook

Connection = AsyncConnection[Any]
OF_SITE = frozenset({"site", "pending", "banner", "walk"})
MAX_TOPICS = 12
"""Most topics one page may follow."""
MAX_BANDS = 5000
"""Sites whose usual counts are remembered."""
MANY = 1000
MAX_PARTS = 10_000
LISTED = 100
"""Most sites of a list; the next ones are on its next page."""
PAGE_TWO = "/sites?page=2"
LATEST = 8
"""Events that the overview shows of all sites together."""


class Fragments:
    """Renders topics."""

    def __init__(self, templates: jinja2.Environment, country: str = daybook.COUNTRY) -> None:
        self._templates, self._country = templates, country
        self._pending_shown: dict[tuple[str, str], tuple[object, str]] = {}
        """What was last rendered of alerts, by part and language, with what it rests on: that is asked for every reader."""
        self._single: dict[str, SiteRow | None] = {}
        """The site that a part's overview shows in detail: its first, where it has no more than a page of them."""
        self._bands: dict[tuple[int, int, str], Usual] = {}
        self._makers: dict[str, Callable[[Connection, str, Part, Say], Awaitable[str]]] = {
            "alerts": self._alerts,
            "counters": self._counters,
            "sites": self._sites,
            "banner": self._banner,
            "latest": self._latest,
            "site": self._site,
            "pending": self._pending,
            "alert": self._alert,
            "walk": self._walk,
        }

    async def render(self, conn: Connection, topic: str, part: Part, say: Say) -> str:
        """Return the topic's HTML; empty if what it was about is gone. part: what the reader may see."""
        name, _, number = topic.partition(":")
        return await self._makers[name](conn, number, part, say)

    def _fill(self, template: str, say: Say, **values: object) -> str:
        return self._templates.get_template(template).render(say=say, **values)

    async def _alerts(self, conn: Connection, _: str, part: Part, say: Say) -> str:
        known = await reading.pending_mark(conn, _sites(part)), say.now_us // MINUTE_US
        if self._pending_shown.get((part.key, say.lang), ((), ""))[0] != known:
            rows = await reading.pending(conn, _sites(part))
            more = len(rows) == reading.PENDING
            html = self._fill("_alerts.html", say, alerts=[views.alert(r, say) for r in rows], topic="alerts", more=more)
            if len(self._pending_shown) >= MANY:
                self._pending_shown.clear()
            self._pending_shown[part.key, say.lang] = known, html
        return self._pending_shown[part.key, say.lang][1]

    async def _pending(self, conn: Connection, number: str, part: Part, say: Say) -> str:
        rows = await reading.pending(conn, [int(number)])
        topic = f"pending:{number}"
        return self._fill("_alerts.html", say, alerts=[views.alert(r, say) for r in rows], topic=topic, more=False)

    async def _counters(self, conn: Connection, _: str, part: Part, say: Say) -> str:
        return self._fill("_counters.html", say, counters=views.counters(await reading.site_states(conn, _sites(part)), say))

    async def _sites(self, conn: Connection, _: str, part: Part, say: Say) -> str:
        rows = await reading.sites(conn, _sites(part), limit=LISTED + 1)
        if len(self._single) >= MAX_PARTS:
            self._single.clear()
        self._single[part.key] = rows[0] if 0 < len(rows) <= LISTED else None
        shown = [views.site(r, say) for r in rows[:LISTED]]
        return self._fill(
            "_sites.html", say, sites=shown, topic="sites", earlier="", later=PAGE_TWO if len(rows) > LISTED else ""
        )

    async def single(self, conn: Connection, part: Part) -> SiteRow | None:
        """Return the site to show in detail beside a part's list: its first, where the list has one page."""
        if part.key not in self._single:  # forgotten since, among very many
            rows = await reading.sites(conn, _sites(part), limit=LISTED + 1)
            return rows[0] if 0 < len(rows) <= LISTED else None
        return self._single[part.key]

    async def _banner(self, conn: Connection, number: str, part: Part, say: Say) -> str:
        of = [int(number)] if number else _sites(part)
        found = await health.read(conn, of)
        shards = {str(kind): [s.id for s in found.of(kind)] for kind in troubles.KINDS}
        told = await reading.troubled(conn, of, say.now_us - views.BEHIND_US, shards)
        shown = troubles.banners(found, told, say) + views.banners(told, say)
        topic = f"banner:{number}" if number else "banner"
        return self._fill("_banner.html", say, banners=shown, topic=topic)

    async def _latest(self, conn: Connection, _: str, part: Part, say: Say) -> str:
        rows = await reading.latest(conn, _sites(part), LATEST)
        return self._fill("_latest.html", say, events=views.latest(rows, LATEST, say))

    async def _site(self, conn: Connection, number: str, part: Part, say: Say) -> str:
        rows = await reading.sites(conn, [int(number)])
        if not rows:
            return ""
        row = rows[0]
        start = day_start_us(say.now_us, row.zone)
        hours = await reading.footfall(conn, row.id, start, start + DAY_US)
        days = [await self._door(conn, door, start, say.now_us) for door in await reading.doors(conn, row.id, start, say.now_us)]
        window = views.window(hours, [day for _, day in days], start)
        return self._fill(
            "_site.html",
            say,
            site=views.site(row, say),
            deadlines=views.deadlines(row, say),
            inside=row.detail.get("inside"),
            unsure=bool(row.detail.get("inside_unsure")),
            places=views.places(row, say),
            recent=views.recent(row, say),
            flow=footfall.flow(row, hours, await self._usual(conn, row, start), start, window, say),
            doors=[door_view(door, day, start, window, row.zone, say) for door, day in days],
        )

    async def _walk(self, conn: Connection, number: str, part: Part, say: Say) -> str:
        rows = await reading.sites(conn, [int(number)])
        if not rows:
            return ""
        found = await installing.walk(conn, rows[0].id)
        walk = install_views.walk(found, rows[0].zone, say)
        return self._fill("_walk.html", say, walk=walk, code=rows[0].code, topic=f"walk:{number}")

    async def _usual(self, conn: Connection, row: SiteRow, start_us: int) -> Usual:
        """What is usual today rests on days that are over: it is computed once a day and change of hours."""
        key = row.id, start_us, str(row.hours)
        if key not in self._bands:
            if len(self._bands) >= MAX_BANDS:
                self._bands.clear()
            self._bands[key] = await usual.read(conn, row, start_us, self._country)
        return self._bands[key]

    async def _door(self, conn: Connection, door: DoorRow, from_us: int, to_us: int) -> tuple[DoorRow, list[Period]]:
        rows = await reading.door_messages(conn, door, from_us, to_us)
        view = await reading.view_of(conn, door.gateway, from_us, to_us)
        return door, door_day(door, rows, view, from_us, to_us)

    async def _alert(self, conn: Connection, number: str, part: Part, say: Say) -> str:
        row = await reading.alert(conn, None, int(number))
        if row is None:
            return ""
        decisions, next_us = await duty.why(conn, row.id)
        return self._fill(
            "_alert.html",
            say,
            alert=views.alert(row, say),
            marks=duty_views.marks(row, say),
            decisions=[duty_views.decision(d, to, row.zone, say) for d, to in decisions],
            next_look=say.clock(next_us, row.zone) if next_us is not None and next_us > say.now_us else "",
            assignees=await duty.assignees(conn, row.id),
            row=row,
            began=say.clock(row.begin_us, row.zone),
            detected=say.clock(row.detected_us, row.zone),
            ended=say.clock(row.end_us, row.zone) if row.end_us is not None else "",
            changes=[views.change(c, row.zone, say) for c in await reading.changes(conn, row.id)],
            evidence=views.evidence(await reading.evidence(conn, row), row.zone, say),
        )


def _sites(part: Part) -> list[int] | None:
    return None if part.sites is None else list(part.sites)


async def allowed(conn: Connection, topics: list[str], who: Principal) -> bool:
    """Tell whether these topics exist and are the reader's to see: a foreign one is as good as none."""
    if not 0 < len(topics) <= MAX_TOPICS:
        return False
    for topic in topics:
        name, colon, number = topic.partition(":")
        if not colon:
            if name not in LISTS:
                return False
        elif not (number.isascii() and number.isdecimal() and len(number) < 10):
            return False
        elif name == "alert":
            if await reading.alert(conn, who.sites, int(number)) is None:
                return False
        elif name not in OF_SITE or (who.sites is not None and int(number) not in who.sites):
            return False
    return True
