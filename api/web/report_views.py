"""Turns reports into what their pages show: tables whose numbers lead to what they are made of.

One decision: a page shows the very tables that a file holds; a link is all that is added.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from urllib.parse import quote, urlencode

from api import report_tables
from api.reading import EvidenceRow
from api.report_evidence import Stored
from api.report_figures import SiteReport
from api.report_period import ReportPeriod
from api.report_tables import METRICS, Cell, Table
from api.reports import Report
from api.web import views
from api.web.i18n import Say
from gateway.events import Kind

LISTED = {"opening": "opening", "footfall": "footfall", "service": "service", "meals": "meals"}
OF_DAY = {"opened": "opening", "first": "opening", "last": "opening", "footfall": "footfall", "meals": "meals"} | dict.fromkeys(
    ("served", "anonymous", "staff"), "service"
)
"""Column of the table "days" → what lists the events behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spot:
    """A cell: its text and where it leads, "" nowhere. label: for those who hear it, where the text alone says too little."""

    text: str
    href: str = ""
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A table on a page. empty: there is nothing to show."""

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Spot]]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLine:
    """A stored event in words, with its source."""

    time: str
    text: str
    place: str
    device: str
    person: str
    source: str


def shown(cell: Cell) -> str:
    """Return a cell as people read it."""
    if cell is None:
        return "–"
    return f"{cell:,}" if isinstance(cell, int | float) else cell


def grids(report: Report, say: Say) -> list[Grid]:
    """Return the tables of a report's page."""
    by_name = {t.name: t for t in report_tables.tables(report, say)}
    found = [_summary(report, by_name["summary"], say)]
    if report.scope.site is None:
        found.append(_bulletin(report, by_name["bulletin"]))
    else:
        site = report.sites[0]
        found += [_days(site, by_name["days"], say), _plain(by_name["sensors"]), _alerts(site, by_name["alerts"])]
    return [*found, _plain(by_name["corrections"])]


def _plain(table: Table) -> Grid:
    rows = [[Spot(text=shown(c)) for c in row] for row in table.rows]
    return Grid(name=table.name, title=table.title, columns=table.columns, rows=rows)


def _summary(report: Report, table: Table, say: Say) -> Grid:
    rows = []
    for metric, row in zip(METRICS, table.rows, strict=True):
        href = _behind(report, metric.behind)
        label = say("report.evidence", name=say("metric." + metric.key))
        first = Spot(text=shown(row[1]), href=href, label=f"{shown(row[1])} {label}")
        rows.append([Spot(text=shown(row[0])), first, *(Spot(text=shown(c)) for c in row[2:])])
    return Grid(name=table.name, title=table.title, columns=table.columns, rows=rows)


def _behind(report: Report, behind: str) -> str:
    """Where a figure opens: the days, sensors or alerts of a site; the sites of a region."""
    if report.scope.site is None:
        return "#bulletin"
    if behind == "attenders":
        return f"/reports/sites/{quote(report.scope.site, safe='')}/attenders?{urlencode({'period': report.period.text})}"
    return "#days" if behind in LISTED else f"#{behind}"


def _bulletin(report: Report, table: Table) -> Grid:
    rows = []
    for site, row in zip(report_tables.ranked(report), table.rows, strict=True):
        href = f"/reports?{urlencode({'site': site.site.code, 'period': report.period.text})}"
        spots = [Spot(text=shown(c)) for c in row]
        spots[1] = Spot(text=shown(row[1]), href=href)
        rows.append(spots)
    return Grid(name=table.name, title=table.title, columns=table.columns, rows=rows)


def _days(site: SiteReport, table: Table, say: Say) -> Grid:
    rows = []
    for row in table.rows:
        spots = []
        for key, column, cell in zip(table.keys, table.columns, row, strict=True):
            href = events_path(site.site.code, str(row[0]), OF_DAY[key]) if key in OF_DAY and cell is not None else ""
            label = f"{shown(cell)} {say('report.evidence', name=f'{row[0]} {column}')}" if href else ""
            spots.append(Spot(text=shown(cell), href=href, label=label))
        rows.append(spots)
    return Grid(name=table.name, title=table.title, columns=table.columns, rows=rows)


def _alerts(site: SiteReport, table: Table) -> Grid:
    rows = [
        [Spot(text=shown(row[0]), href=f"/alerts/{a.id}"), *(Spot(text=shown(c)) for c in row[1:])]
        for a, row in zip(site.alerts, table.rows, strict=True)
    ]
    return Grid(name=table.name, title=table.title, columns=table.columns, rows=rows)


def events_path(code: str, day: str, what: str, after: str = "") -> str:
    """Return where the events behind a day's figure are."""
    query = {"day": day, "what": what} | ({"after": after} if after else {})
    return f"/reports/sites/{quote(code, safe='')}/events?{urlencode(query)}"


def event_lines(stored: Sequence[Stored], zone: str, say: Say) -> list[EventLine]:
    """Say stored events."""
    rows = [
        EvidenceRow(
            t_us=e.t_us,
            kind=Kind[e.kind.upper()],
            a=e.a,
            b=0,
            d_in=e.people_in,
            d_out=e.people_out,
            place=e.place,
            place_en=e.place_en,
        )
        for e in stored
    ]
    return [
        EventLine(
            time=said.time,
            text=said.text,
            place=said.place,
            device=e.device,
            person="" if e.person is None else str(e.person),
            source="–" if e.stream is None else f"{e.gateway} / {e.stream} / {e.seq} / {e.number}",
        )
        for e, said in zip(stored, views.evidence(rows, zone, say), strict=True)
    ]


def periods(today: date) -> list[ReportPeriod]:
    """Return what is offered: the last twelve months and five quarters, newest first."""
    months, first = [], today.replace(day=1)
    for _ in range(12):
        last = (first + timedelta(days=31)).replace(day=1) - timedelta(days=1)
        months.append(ReportPeriod(text=f"{first:%Y-%m}", first=first, last=last))
        first = (first - timedelta(days=1)).replace(day=1)
    quarters: dict[str, ReportPeriod] = {}
    for m in months:
        text = f"{m.first:%Y}-Q{(m.first.month + 2) // 3}"
        quarters.setdefault(text, ReportPeriod(text=text, first=m.first, last=m.last))
    return [*months, *quarters.values()]
