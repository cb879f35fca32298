"""Writes a report as tables, the same for page, spreadsheet, CSV and proof.

One decision: the list METRICS says once what a figure is called, how it is made, which sensors must have seen, and what lies
behind it; every table is made from it, so that no two places can disagree.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from analytics import reasons
from api.report_figures import CORRECTABLE, AlertRow, Figures, SiteReport
from api.reports import Report
from api.web.i18n import Say
from gateway.clock import HOUR_US, MINUTE_US, SECOND_US

Cell = str | int | float | None
RULES = (
    "opening_days",
    "open_hours",
    "footfall",
    "served",
    "meals",
    "attenders",
    "visit_rate",
    "alerts",
    "sensors",
    "seen",
    "corrections",
)
OUTCOMES = ("real", "false_alarm", "device_fault", "drill")
MAX_TEXT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table in one language. name: the same in both. keys: of the columns."""

    name: str
    title: str
    keys: tuple[str, ...]
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A figure. sees: the kind of sensors that must have seen, "" none. behind: what lists the events behind it."""

    key: str
    value: Callable[[Figures], Cell]
    behind: str
    sees: str = ""


def _share(part: float | None) -> float | None:
    return None if part is None else round(100 * part, 1)


def _minutes(us: int | None) -> float | None:
    return None if us is None else round(us / MINUTE_US, 1)


def _hours(us: int) -> float:
    return round(us / HOUR_US, 1)


def residents(f: Figures) -> tuple[int, int]:
    """Return residents and those reached, months added up."""
    return sum(r.residents for r in f.rates), sum(r.reached for r in f.rates)


def visit_rate(f: Figures) -> float | None:
    """Return 月探访率 in per cent."""
    all_of_them, reached = residents(f)
    return _share(reached / all_of_them) if all_of_them else None


METRICS = (
    Metric(key="planned_days", value=lambda f: f.planned_days, behind="opening"),
    Metric(key="opening_days", value=lambda f: f.opening_days, behind="opening", sees="all"),
    Metric(key="closed_days", value=lambda f: f.closed_days, behind="opening", sees="all"),
    Metric(key="unknown_days", value=lambda f: f.unknown_days, behind="opening"),
    Metric(key="planned_hours", value=lambda f: _hours(f.planned_us), behind="opening"),
    Metric(key="open_hours", value=lambda f: _hours(f.open_us), behind="opening", sees="all"),
    Metric(key="footfall", value=lambda f: f.people_in, behind="footfall", sees="counter"),
    Metric(key="served", value=lambda f: f.served, behind="service", sees="terminal"),
    Metric(key="anonymous", value=lambda f: f.anonymous, behind="service", sees="terminal"),
    Metric(key="staff", value=lambda f: f.staff, behind="service", sees="terminal"),
    Metric(key="attenders", value=lambda f: f.attenders, behind="attenders", sees="terminal"),
    Metric(key="meals", value=lambda f: f.meals, behind="meals", sees="terminal"),
    Metric(key="residents", value=lambda f: residents(f)[0], behind="attenders"),
    Metric(key="reached", value=lambda f: residents(f)[1], behind="attenders", sees="terminal"),
    Metric(key="visit_rate", value=visit_rate, behind="attenders", sees="terminal"),
    Metric(key="alerts", value=lambda f: f.alerts, behind="alerts"),
    Metric(key="retracted", value=lambda f: f.retracted, behind="alerts"),
    *(Metric(key=o, value=lambda f, o=o: f.outcomes.get(o, 0), behind="alerts") for o in OUTCOMES),  # type: ignore[misc]
    Metric(key="unanswered", value=lambda f: f.unanswered, behind="alerts"),
    Metric(key="answer_median", value=lambda f: _minutes(f.answer_us(0.5)), behind="alerts"),
    Metric(key="answer_p90", value=lambda f: _minutes(f.answer_us(0.9)), behind="alerts"),
    Metric(key="sensors", value=lambda f: f.sensors, behind="sensors"),
    Metric(key="up", value=lambda f: _share(f.up_share), behind="sensors"),
    Metric(key="blind_hours", value=lambda f: _hours(f.blind_us), behind="sensors"),
    Metric(key="seen_opening", value=lambda f: _share(f.seen_share("all")), behind="sensors"),
)
SEES = {m.key: m.sees for m in METRICS}


def tables(report: Report, say: Say) -> list[Table]:
    """Return all tables of a report in the reader's language."""
    found = [summary(report, say)]
    if report.scope.site is None:
        found += [sites(report, say), bulletin(report, say)]
    else:
        found += [days(report.sites[0], say), sensors(report.sites[0], say), alerts(report.sites[0], say)]
    return [*found, corrections(report, say), rules(say)]


def summary(report: Report, say: Say) -> Table:
    """Each figure: measured, corrected, and how much of the time its sensors could see."""
    f, rows = report.total, []
    for m in METRICS:
        changed = f.corrections.get(m.key)
        corrected = f.corrected(m.key) if m.key in CORRECTABLE else None
        rows.append((say("metric." + m.key), m.value(f), changed, corrected, _share(f.seen_share(m.sees)) if m.sees else None))
    return _table("summary", ("figure", "measured", "correction", "corrected", "seen"), rows, say)


def sites(report: Report, say: Say) -> Table:
    """Each site with all figures, corrections beside those that have any."""
    keys: list[str] = []
    for m in METRICS:
        keys += [m.key, f"{m.key}+"] if m.key in CORRECTABLE else [m.key]
    rows = []
    for s in report.sites:
        values: list[Cell] = []
        for m in METRICS:
            values += [m.value(s.figures), s.figures.corrections.get(m.key)] if m.key in CORRECTABLE else [m.value(s.figures)]
        rows.append((s.site.code, *names(s, say), *values))
    columns = [say("metric." + k.rstrip("+")) + (f" · {say('report.correction')}" if k.endswith("+") else "") for k in keys]
    head = [say("report." + k) for k in ("code", "site", "town")]
    return Table(
        name="sites",
        title=say("report.sites"),
        keys=("code", "site", "town", *keys),
        columns=(*head, *columns),
        rows=tuple(tuple(map(text, r)) for r in rows),
    )


def bulletin(report: Report, say: Say) -> Table:
    """通报: sites by the share of days on which they opened, then by 服务人次; corrected figures."""
    rows = [
        (
            n,
            *names(s, say),
            s.figures.corrected("opening_days"),
            s.figures.planned_days,
            s.figures.corrected("served"),
            s.figures.attenders,
            s.figures.corrected("meals"),
            visit_rate(s.figures),
            s.figures.alerts,
            _minutes(s.figures.answer_us(0.5)),
            _share(s.figures.up_share),
            _share(s.figures.seen_share("all")),
        )
        for n, s in enumerate(ranked(report), 1)
    ]
    keys = (
        "opening_days",
        "planned_days",
        "served",
        "attenders",
        "meals",
        "visit_rate",
        "alerts",
        "answer_median",
        "up",
        "seen_opening",
    )
    head = tuple(say("report." + k) for k in ("rank", "site", "town"))
    return Table(
        name="bulletin",
        title=say("report.bulletin"),
        keys=("rank", "site", "town", *keys),
        columns=head + tuple(say("metric." + k) for k in keys),
        rows=tuple(tuple(map(text, r)) for r in rows),
    )


def ranked(report: Report) -> list[SiteReport]:
    """Return the sites in the order of the bulletin."""
    return sorted(report.sites, key=lambda s: (-(opening_share(s.figures) or 0), -s.figures.corrected("served"), s.site.code))


def days(site: SiteReport, say: Say) -> Table:
    """Each day of a site."""
    word = {True: say("report.yes"), False: say("report.no"), None: say("report.unseen")}
    zone, rows = site.site.zone, []
    for d in site.days:
        seen = [_share(_of(*d.seen[k])) if k in d.seen else None for k in ("all", "counter", "terminal")]
        opened = word[d.opened] if d.planned_us else say("report.closed")
        times = [at(t, zone) if t is not None else None for t in (d.first_us, d.last_us)]
        rows.append((d.day.isoformat(), opened, *times, d.people_in, d.served, d.anonymous, d.staff, d.meals, *seen))
    keys = ("day", "opened", "first", "last", "footfall", "served", "anonymous", "staff", "meals")
    columns = [say(("report." if k in ("day", "opened", "first", "last") else "metric.") + k) for k in keys]
    saw = [f"{say('metric.' + k)} · {say('report.seen')}" for k in ("opening_days", "footfall", "served")]
    return Table(
        name="days",
        title=say("report.days"),
        keys=(*keys, "seen_all", "seen_counter", "seen_terminal"),
        columns=(*columns, *saw),
        rows=tuple(tuple(map(text, r)) for r in rows),
    )


def sensors(site: SiteReport, say: Say) -> Table:
    """Up-time of what watches a site's places."""
    rows = [
        (
            say.name(s.name, s.name_en),
            "、".join(s.devices),
            _share(1 - s.blind_us / s.mounted_us) if s.mounted_us else None,
            _hours(s.blind_us),
            len(s.holes),
            _minutes(max((b - a for a, b in s.holes), default=0)),
        )
        for s in site.sensors
    ]
    return _table("sensors", ("place", "device", "up", "blind_hours", "gaps", "longest"), rows, say)


def alerts(site: SiteReport, say: Say) -> Table:
    """Each alert of a site."""
    rows = [_alert(a, site.site.zone, say) for a in site.alerts]
    return _table("alerts", ("begin", "rule_name", "severity", "state", "outcome", "answer_min"), rows, say)


def _alert(a: AlertRow, zone: str, say: Say) -> tuple[Cell, ...]:
    return (
        at(a.begin_us, zone, dated=True),
        reasons.rule_name(a.rule, say.lang),
        say.word("severity", a.severity),
        say.word("alert_state", a.state),
        say.word("metric", a.outcome) if a.outcome else None,
        None if a.acted_us is None else _minutes(max(0, a.acted_us - a.detected_us)),
    )


def corrections(report: Report, say: Say) -> Table:
    """Every correction with its reason and author."""
    rows = [
        (c.site, c.day.isoformat(), say("metric." + c.what), c.delta, c.reason, c.author, at(c.at_us, s.site.zone, dated=True))
        for s in report.sites
        for c in s.corrections
    ]
    return _table("corrections", ("code", "day", "what", "delta", "reason", "author", "at"), rows, say)


def rules(say: Say) -> Table:
    """How everything is counted."""
    return _table("rules", ("rule",), [(say("count_rule." + key),) for key in RULES], say)


def names(site: SiteReport, say: Say) -> tuple[str, str]:
    """Return the names of a site and its town."""
    return say.name(site.site.name, site.site.name_en), say.name(site.site.town_name, site.site.town_name_en)


def opening_share(f: Figures) -> float | None:
    """Return the corrected opening days of those planned."""
    return f.corrected("opening_days") / f.planned_days if f.planned_days else None


def at(time_us: int, zone: str, *, dated: bool = False) -> str:
    """Return a local time as 2026-11-03 08:05, or 08:05."""
    local = datetime.fromtimestamp(time_us // SECOND_US, ZoneInfo(zone))
    return f"{local:%Y-%m-%d %H:%M}" if dated else f"{local:%H:%M}"


def text(cell: Cell) -> Cell:
    """Return a cell that no spreadsheet takes for a formula."""
    if not isinstance(cell, str):
        return cell
    plain = "".join(c if c.isprintable() else " " for c in cell)[:MAX_TEXT]
    return "'" + plain if plain[:1] in ("=", "+", "-", "@") else plain or None


def _of(seen: int, of: int) -> float | None:
    return seen / of if of else None


def _table(name: str, keys: Sequence[str], rows: Sequence[Sequence[Cell]], say: Say) -> Table:
    columns = tuple(say("report." + key) for key in keys)
    done = tuple(tuple(map(text, row)) for row in rows)
    return Table(name=name, title=say("report." + name), keys=tuple(keys), columns=columns, rows=done)
