"""Residents who stop coming: how long until someone is sent, and how often for nothing.

One decision: visitors with known rhythms are simulated (no open data set of check-ins at care centres is known to us), with
everything that makes real ones hard: colds, holidays that half of them announce, spells, closures, terminals that fail; their
passages go through the engine as live ones do, and the baselines judge the same passages.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analytics.engine import Engine
from analytics.findings import Rule, Severity
from benchmarks.quality.report import Say, plot, table
from gateway.clock import DAY_US, HOUR_US, MINUTE_US
from gateway.events import Kind, Result
from ingest.columns import COLUMNS, Batch, Coverage
from ingest.inputs import DeviceInput, GatewayInput, Inputs, PersonInput, PlaceInput, SiteInput, encode

SEED = 20261122
PEOPLE = 120
DAYS, STAY_DAYS, LAST_DAYS = 600, 90, 120
"""Days simulated; of a stay in hospital in the first half; at the end, when everyone has stopped coming for good."""
BEGIN_US = 20_454 * DAY_US - 8 * HOUR_US
"""Local midnight of Thursday, 1 January 2026."""
KINDS = ("daily", "3 a week", "weekly", "fortnightly", "in spells")
SITES, TERMINALS = 4, 2
QUARTER_US = 15 * MINUTE_US
HOURS = [("08:00", "17:00")]

Days = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Visitor:
    """One resident. Masks have one entry per day: opening days of their site, came, recorded by a terminal, gone for good or
    in hospital, away or ill otherwise. planned: announced absences, [from, to) in days. stops: days on which they stop."""

    kind: str
    site: int
    other: int | None
    is_open: Days
    came: Days
    recorded: Days
    gone: Days
    explained: Days
    planned: list[tuple[int, int]]
    stops: tuple[int, int]


def measure(data: Path, say: Say) -> dict[str, float]:
    """Simulate, replay, compare."""
    del data
    rng = np.random.default_rng(SEED)
    closed = {s: _closures(rng) for s in range(SITES)}
    failed = rng.random((SITES, TERMINALS, DAYS)) < 0.02
    people = [_visitor(rng, KINDS[n % len(KINDS)], n % SITES, closed, failed) for n in range(PEOPLE)]
    say(f"absence: {PEOPLE} visitors, {DAYS} days, {sum(int(v.came.sum()) for v in people)} visits")
    figures: dict[str, float] = {}
    ours = _replay(rng, people, closed, failed)
    told = {
        "smartcare": ours[Severity.MAJOR],
        "unseen_7_days": [_unseen(v, lambda gaps: 7) for v in people],
        "unseen_14_days": [_unseen(v, lambda gaps: 14) for v in people],
        "mean_plus_3_sd": [_unseen(v, _three_sd) for v in people],
    }
    for name, tasks in told.items():
        figures |= _score(name, people, tasks)
    figures |= {f"quality.absence.{k}": figures[f"quality.absence.smartcare.{k}"] for k in HEADLINE}
    watched = sum(len([d for d in days if not v.gone[d]]) for v, days in zip(people, ours[Severity.MINOR], strict=True))
    figures["quality.absence.watch_per_person_year"] = watched / _years(people)
    for kind in KINDS:
        mine = [n for n, v in enumerate(people) if v.kind == kind]
        scored = _score(kind.replace(" ", "_"), [people[n] for n in mine], [told["smartcare"][n] for n in mine])
        figures |= {k.replace("absence.", "absence.kind."): x for k, x in scored.items()}
    with plot("absence") as axes:
        for name in told:
            x, y = (figures[f"quality.absence.{name}.{k}"] for k in ("false_tasks_per_person_year", "delay_gaps"))
            axes.plot(x, y, "o")
            axes.annotate(name.replace("_", " "), (x, y), textcoords="offset points", xytext=(6, 3))
        axes.set(
            xlabel="false visit tasks per person and year", ylabel="median delay in own mean gaps", xlim=(0, None), ylim=(0, None)
        )
    return figures


HEADLINE = ("delay_gaps", "delay_gaps_p90", "false_tasks_per_person_year", "missed")


def section(figures: Mapping[str, float]) -> str:
    """Return the part's Markdown."""

    def row(name: str, key: str) -> tuple[str | float, ...]:
        return (name, *(figures.get(f"quality.absence.{key}.{k}", float("nan")) for k in HEADLINE))

    head = ("", "delay, own mean gaps (median)", "(p90)", "false tasks per person-year", "missed (share)")
    rules = [
        row("smartcare", "smartcare"),
        row("unseen for 7 days", "unseen_7_days"),
        row("unseen for 14 days", "unseen_14_days"),
        row("mean gap + 3 standard deviations", "mean_plus_3_sd"),
    ]
    kinds = [row(kind, f"kind.{kind.replace(' ', '_')}") for kind in KINDS]
    return (
        "## Residents who stop coming\n\n"
        f"{PEOPLE} simulated visitors over {DAYS} days: colds, holidays (half of them announced), closures, failing terminals, "
        f"a stay in hospital of {STAY_DAYS} days, and an end. Every task outside those two is false, also one for a holiday that "
        "nobody had announced. No openly licensed check-in data of such places is known to us.\n\n"
        + table(head, rules)
        + "\n\nBy kind of visitor:\n\n"
        + table(head, kinds)
        + "\n\n![Delay against false tasks](images/quality-absence.png)\n"
    )


# -------------------------------------------------------------------- visitors


def _closures(rng: np.random.Generator) -> Days:
    """Days on which a site is shut though it should be open."""
    closed = np.zeros(DAYS, np.bool_)
    for begin in range(0, DAYS, 120):
        at = begin + int(rng.integers(0, 100))
        closed[at : at + int(rng.integers(1, 9))] = True
    return closed


def _habit(rng: np.random.Generator, kind: str) -> NDArray[np.float64]:
    """Return the chance of a visit on each day, were they well and the site open."""
    day = np.arange(DAYS)
    weekday = (day + 3) % 7
    if kind == "daily":
        return np.full(DAYS, rng.uniform(0.8, 0.97))
    if kind == "3 a week":
        mine = np.isin(weekday, rng.choice(5, 3, replace=False))
        return np.where(mine, rng.uniform(0.75, 0.95), 0.05)
    if kind == "weekly":
        return np.where(weekday == rng.integers(5), rng.uniform(0.75, 0.95), 0.02)
    if kind == "fortnightly":
        mine = (weekday == rng.integers(5)) & ((day + 3) // 7 % 2 == rng.integers(2))
        return np.where(mine, 0.88, 0.01)
    spell, chance = True, np.zeros(DAYS)
    for n in range(DAYS):
        spell ^= rng.random() < (0.1 if spell else 0.15)
        chance[n] = 0.7 if spell else 0.08
    return chance


def _visitor(rng: np.random.Generator, kind: str, site: int, closed: dict[int, Days], failed: NDArray[np.bool_]) -> Visitor:
    is_open = ((np.arange(DAYS) + 3) % 7 < 5) & ~closed[site]
    explained, planned = np.zeros(DAYS, np.bool_), []
    for year in range(0, DAYS, 365):
        if rng.random() < 0.8:
            begin, length = year + int(rng.integers(30, 350)), int(rng.integers(5, 15))
            explained[begin : begin + length] = True
            if rng.random() < 0.5:
                planned.append((begin, begin + length))
    for _ in range(rng.poisson(1.5 * DAYS / 365)):
        begin = int(rng.integers(0, DAYS))
        explained[begin : begin + int(rng.integers(2, 6))] = True
    gone, stops = np.zeros(DAYS, np.bool_), (int(rng.integers(200, 300)), DAYS - LAST_DAYS)
    gone[stops[0] : stops[0] + STAY_DAYS] = gone[stops[1] :] = True
    came = is_open & ~explained & ~gone & (rng.random(DAYS) < _habit(rng, kind))
    terminal = rng.integers(0, TERMINALS, DAYS)
    return Visitor(
        kind=kind,
        site=site,
        other=(site + 1) % SITES if rng.random() < 0.1 else None,
        is_open=is_open,
        came=came,
        recorded=came & ~failed[site, terminal, np.arange(DAYS)],
        gone=gone,
        explained=explained,
        planned=planned,
        stops=stops,
    )


# -------------------------------------------------------------------- the engine


def _register(people: list[Visitor], closed: dict[int, Days]) -> Inputs:
    week = dict.fromkeys(("mon", "tue", "wed", "thu", "fri"), HOURS)
    shut = {s: [(int(d), int(d) + 1) for d in np.flatnonzero(days)] for s, days in closed.items()}
    place = [(s, t, 1 + s * TERMINALS + t) for s in range(SITES) for t in range(TERMINALS)]
    return Inputs(
        version=1,
        sites=[
            SiteInput(
                id=s + 1,
                code=f"s{s}",
                name=f"中心{s}",
                name_en="",
                kind="centre",
                zone="Asia/Shanghai",
                capacity=None,
                hours=week,
                closed=[(_at(a), _at(b)) for a, b in shut[s]],
                rules={},
            )
            for s in range(SITES)
        ],
        places=[PlaceInput(id=n, site=s + 1, code=f"p{t}", name="终端", name_en="", room="hall") for s, t, n in place],
        devices=[
            DeviceInput(
                id=n,
                gateway=s + 1,
                identity=f"face/{n}",
                device_class="face_terminal",
                family="terminal",
                name="",
                place=n,
                mounted_us=0,
                alive_every_us=20 * MINUTE_US,
            )
            for s, t, n in place
        ],
        gateways=[GatewayInput(id=s + 1, code=f"gw-{s}") for s in range(SITES)],
        persons=[
            PersonInput(
                id=n + 1,
                site=v.site + 1,
                role="resident",
                consent_from_us=0,
                devices=[i for s, _, i in place if s in (v.site, v.other)],
                absences=[(_at(a), _at(b)) for a, b in v.planned],
            )
            for n, v in enumerate(people)
        ],
    )


def _at(day: int) -> int:
    return BEGIN_US + day * DAY_US


def _replay(
    rng: np.random.Generator, people: list[Visitor], closed: dict[int, Days], failed: NDArray[np.bool_]
) -> dict[Severity, list[list[int]]]:
    """Return the days on which each person's absence reached each severity."""
    engine = Engine()
    reached: dict[Severity, list[list[int]]] = {s: [[] for _ in people] for s in Severity}
    for day in range(DAYS):
        rows = np.array([*_alive(day, failed), *_passages(rng, people, day, failed)], COLUMNS)
        rows.sort(order="t_us")
        covered = [Coverage(gateway=s + 1, stream=1, from_us=BEGIN_US, through_us=_at(day + 1)) for s in range(SITES)]
        inputs = encode(_register(people, closed)) if day == 0 else None
        for f in engine.apply(Batch(shard=0, prev=day, pos=day + 1, rows=rows, coverage=covered, inputs=inputs)):
            if f.rule is Rule.RESIDENT_ABSENT and f.phase in ("begin", "continue"):
                days = reached[f.severity][f.subject - 1]
                days.append((f.at_us - BEGIN_US) // DAY_US - 1)  # said in the morning of the day before
    return reached | {Severity.MAJOR: [sorted(a + b) for a, b in zip(reached[Severity.MAJOR], _alone(reached), strict=True)]}


def _alone(reached: dict[Severity, list[list[int]]]) -> list[list[int]]:
    """Urgent without having been major before, in the same gap: that sends someone too."""
    major, urgent = reached[Severity.MAJOR], reached[Severity.URGENT]
    return [[d for d in u if not any(0 <= d - e < STAY_DAYS for e in m)] for m, u in zip(major, urgent, strict=True)]


def _alive(day: int, failed: NDArray[np.bool_]) -> list[tuple[int, ...]]:
    times = range(_at(day) + 7 * HOUR_US, _at(day) + 18 * HOUR_US, QUARTER_US)
    where = [(s, t) for s in range(SITES) for t in range(TERMINALS) if not failed[s, t, day]]
    return [_row(at, s, t, Kind.ALIVE, 0) for s, t in where for at in times]


def _passages(rng: np.random.Generator, people: list[Visitor], day: int, failed: NDArray[np.bool_]) -> list[tuple[int, ...]]:
    rows = []
    for n, v in enumerate(people):
        if v.recorded[day]:
            t = next(t for t in rng.permutation(TERMINALS).tolist() if not failed[v.site, t, day])
            at = _at(day) + 8 * HOUR_US + int(rng.integers(0, 8 * HOUR_US))
            rows.append(_row(at, v.site, t, Kind.PASSAGE, n + 1))
    return rows


def _row(at: int, site: int, terminal: int, kind: Kind, person: int) -> tuple[int, ...]:
    device = 1 + site * TERMINALS + terminal
    values = {"t_us": at, "gateway": site + 1, "device": device, "place": device, "person": person, "kind": int(kind)}
    values["a"] = int(Result.ALLOWED)
    return tuple(values.get(name, 0) for name in COLUMNS.names or ())


# -------------------------------------------------------------------- baselines and scores


def _unseen(visitor: Visitor, limit: Callable[[list[int]], float]) -> list[int]:
    """Return the days on which a person has been unseen for more calendar days than `limit` of their past gaps."""
    gaps: list[int] = []
    last, told, found = -1, False, []
    for day in range(DAYS):
        if visitor.recorded[day]:
            if last >= 0:
                gaps.append(day - last)
            last, told = day, False
        elif last >= 0 and not told and len(gaps) >= 4 and day - last >= limit(gaps):
            told = True
            if not any(a <= day < b for a, b in visitor.planned):
                found.append(day)
    return found


def _three_sd(gaps: list[int]) -> float:
    return float(np.mean(gaps) + 3 * np.std(gaps)) + 1


def _years(people: list[Visitor]) -> float:
    return sum(int((~v.gone).sum()) for v in people) / 365


def _score(name: str, people: list[Visitor], tasks: list[list[int]]) -> dict[str, float]:
    """Return the delay from the day they stopped, false tasks, and the share of stops that nobody was sent for."""
    delays, missed, false = [], 0, 0
    for v, days in zip(people, tasks, strict=True):
        before = v.is_open[: v.stops[0]]
        gap = before.sum() / max(1, v.came[: v.stops[0]].sum())
        false += sum(1 for d in days if not v.gone[d])
        for stop, end in ((v.stops[0], v.stops[0] + STAY_DAYS), (v.stops[1], DAYS)):
            told = next((d for d in days if stop <= d < end), None)
            early = any(d < stop and not v.recorded[d:stop].any() for d in days)  # sent before, and not seen since
            if told is None and not early:
                missed += 1
            else:
                delays.append(0.0 if told is None else v.is_open[stop : told + 1].sum() / gap)
    return {
        f"quality.absence.{name}.delay_gaps": float(np.median(delays)),
        f"quality.absence.{name}.delay_gaps_p90": float(np.quantile(delays, 0.9)),
        f"quality.absence.{name}.false_tasks_per_person_year": false / _years(people),
        f"quality.absence.{name}.missed": missed / (2 * len(people)),
    }
