"""Homes: how soon the rule no_activity notices that all activity stopped, and how often it is wrong.

One decision: what is measured is the engine as it runs, house by house, from its first event: alarms in the data as they are
count as false, and at every full hour the deadline that the page shows is what an activity that stops there would wait for.

    house?.sensors → door contacts → Engine.apply, hour by hour ─┬─ findings                → false alarms per day
                                                                 └─ site_status, each hour  → time to detect
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from analytics.engine import Engine
from analytics.findings import Phase, Rule
from benchmarks.quality import baseline_cuddihy as cuddihy
from benchmarks.quality.report import Say, need, number, plot, table
from gateway.clock import DAY_US, HOUR_US, SECOND_US
from gateway.events import Kind
from ingest.columns import COLUMNS, Batch, Coverage
from ingest.inputs import DeviceInput, GatewayInput, Inputs, PlaceInput, SiteInput, encode

LEARNING_US = 7 * DAY_US
HALF_HOUR_US = HOUR_US // 2
ALIVE_US = DAY_US
SHARD, SITE, GATEWAY = 1, 1, 1
FRONT = ("front door", "foyer,door")
"""What a house's list of sensors calls its front door."""
AWAY = ("leave-house", "going-out")
ALL_DAY = {day: [("00:00", "24:00")] for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun", "holiday")}
KEYS = ("false_per_day", "mean_h", "p90_h", "home_mean_h")
NAN = float("nan")
TEXT = """## Homes: all activity stops

Houses of single people with contacts at doors, cupboards and mats (Kasteren 2008, Tapia 2004), each a site that never closes,
with one configuration. Seven days of learning, then: every alarm is false; and at every full hour all activity is thought to
stop, and it is asked when that would have been told (hours within an open alarm count as told). "At home": the last activity was
not at the front door. The labels of the houses are not looked at.

{table}
![False alarms against delay](images/quality-homes.png)

Who has just left by the front door is not missed sooner than absences usually last, and who stays away for a weekend is told by
the cap of a day, though all is well. The dotted line at {bound} h is a detector that knows when the next activity would have
come: without false alarms nothing can be quicker, so a mean below 5 h leaves no detector much to err where stops during absences
are counted too.
"""
RISKS = (0.1, 1.5, 5.0)
"""Other values of NoActivity.per_month, for the operating curve; the figures are those of the shipped one."""
BUFFERS_H = (0.5, 1, 2, 3, 4, 6, 9)
FIXED_H = (6, 8, 12, 16, 24)

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """A house's events: times (n,), sensors (n,) and whether each starts (n,), in order; times when its people were out."""

    name: str
    times: Ints
    sensors: Ints
    starts: NDArray[np.bool_]
    front: int
    out: list[tuple[int, int]]

    @property
    def from_us(self) -> int:
        """The first full hour of evaluation."""
        return -(-(int(self.times[0]) + LEARNING_US) // HOUR_US) * HOUR_US


@dataclass(slots=True, kw_only=True)
class Result:
    """What one detector did at one house. alarms: (begin of the silence, alarm). waits_h: by full hour. home: nobody had just
    left by the front door, as far as the engine knows."""

    days: float
    alarms: list[tuple[int, int]] = field(default_factory=list)
    waits_h: list[float] = field(default_factory=list)
    home: list[bool] = field(default_factory=list)


def measure(data: Path, say: Say) -> dict[str, float]:
    """Measure all houses that are there, each with the shipped settings, and the baselines."""
    folder = need(data / "homes", "houses as house?.sensors, house?.sensor_names, house?.activities")
    houses = [read(path) for path in sorted(folder.glob("house*.sensors"))]
    figures: dict[str, float] = {}
    ours = {}
    for house in houses:
        ours[house.name] = replay(house, {})
        told = [_inside(house.out, alarm) for _, alarm in ours[house.name].alarms]
        say(f"homes {house.name}: {len(told)} alarms in {ours[house.name].days:.1f} days, {sum(told)} while labelled out")
        figures[f"quality.homes.{house.name}.false_while_out"] = sum(told)
    figures |= _figures("quality.homes", ours)
    figures |= _figures("quality.homes.cuddihy", {h.name: by_line(h, cuddihy.BUFFER_US) for h in houses})
    for hours in (12, 24):
        figures |= _figures(f"quality.homes.fixed{hours}h", {h.name: fixed(h, hours) for h in houses})
    figures["quality.homes.clairvoyant.mean_h"] = float(np.mean(np.concatenate([_clairvoyant(h) for h in houses])))
    _draw(houses, figures, say)
    return figures


def section(figures: Mapping[str, float]) -> str:
    """Say it on the page."""
    names = {
        "": "no_activity, learned",
        ".cuddihy": "Cuddihy 2007 (longest so far + 2 h)",
        ".fixed12h": "fixed 12 h",
        ".fixed24h": "fixed 24 h",
    }
    rows: list[tuple[str | float, ...]] = []
    houses = sorted(k.split(".")[2] for k in figures if k.endswith(".false_while_out"))
    for part, what in names.items():
        rows += [
            (
                what if not house else "",
                house.removeprefix(".") or "all",
                *(figures.get(f"quality.homes{part}{house}.{k}", NAN) for k in KEYS),
            )
            for house in ("", *(f".{h}" for h in houses))
        ]
    bound = figures.get("quality.homes.clairvoyant.mean_h", NAN)
    return TEXT.format(
        table=table(("", "house", "false a day", "mean h", "90 % h", "mean h, at home"), rows), bound=number(bound)
    )


def read(path: Path) -> House:
    """Read a house: lines "start<TAB>seconds<TAB>sensor" in local seconds; activities judge only, they are no input."""
    rows = np.loadtxt(path, dtype=np.int64, ndmin=2)
    times = np.concatenate([rows[:, 0], rows[:, 0] + rows[:, 1]]) * SECOND_US
    starts = np.repeat([True, False], len(rows))
    order = np.lexsort((~starts, times))
    names = _names(path.with_suffix(".sensor_names"))
    front = next((n for n, name in names.items() if name.lower().startswith(FRONT)), -1)
    acts = _names(path.with_suffix(".activity_names"))
    labels = np.loadtxt(path.with_suffix(".activities"), dtype=np.int64, ndmin=2)
    out = [(int(a) * SECOND_US, int(a + d) * SECOND_US) for a, d, n in labels if acts.get(int(n), "").lower().startswith(AWAY)]
    return House(
        name=path.stem.removeprefix("house"),
        times=times[order],
        sensors=np.tile(rows[:, 2], 2)[order],
        starts=starts[order],
        front=front,
        out=out,
    )


def replay(house: House, rules: Mapping[str, float]) -> Result:
    """Run a house through the engine, hour by hour. rules: overrides of no_activity, for the curve."""
    register, rows = _register(house, rules), _rows(house)
    engine, pos = Engine(), 1
    begin = int(house.times[0]) // HOUR_US * HOUR_US
    engine.apply(Batch(shard=SHARD, prev=0, pos=pos, inputs=encode(register), coverage=[_cover(begin, begin)]))
    result = Result(days=(int(house.times[-1]) - house.from_us) / DAY_US)
    told: int | None = None
    for hour in range(begin + HOUR_US, int(house.times[-1]) + 1, HOUR_US):
        a, b = np.searchsorted(rows["t_us"], [hour - HOUR_US + 1, hour + 1])
        found = engine.apply(Batch(shard=SHARD, prev=pos, pos=pos + 1, rows=rows[a:b], coverage=[_cover(begin, hour)]))
        pos += 1
        for f in (f for f in found if f.rule is Rule.NO_ACTIVITY):
            told = f.at_us if f.phase is Phase.BEGIN else None
            if f.phase is Phase.BEGIN and f.at_us >= house.from_us:
                result.alarms.append((f.episode, f.at_us))
        if hour >= house.from_us:
            (status,) = engine.take_changed(SHARD)
            due = status.next_deadline_us if told is None else hour
            result.waits_h.append(((due or hour) - hour) / HOUR_US)
            result.home.append(not _left(house, hour))
    return result


def by_line(house: House, buffer_us: int) -> Result:
    """Judge a house by the baseline."""
    first = int(house.times[0]) // DAY_US
    line = cuddihy.lines(cuddihy.longest(np.unique(house.times), int(house.times[0]), int(house.times[-1])), buffer_us)
    return _judge(house, lambda base: cuddihy.due(line, first, base))


def fixed(house: House, hours: float) -> Result:
    """Judge a house by a fixed limit."""
    return _judge(house, lambda base: base + round(hours * HOUR_US))


def _judge(house: House, due: Callable[[int], int]) -> Result:
    result = Result(days=(int(house.times[-1]) - house.from_us) / DAY_US)
    times = np.unique(house.times).tolist()
    for base, end in pairwise(times):
        if end - base < HALF_HOUR_US and -(-base // HOUR_US) * HOUR_US >= end:
            continue  # shorter than any limit, and no full hour to ask at
        at = due(base)
        if max(at, house.from_us) < end and at >= house.from_us:
            result.alarms.append((base, at))
        for hour in range(max(-(-base // HOUR_US) * HOUR_US, house.from_us), end, HOUR_US):
            result.waits_h.append(max(0, at - hour) / HOUR_US)
            result.home.append(not _left(house, hour))
    return result


def _clairvoyant(house: House) -> NDArray[np.float64]:
    """Hours from each full hour to the next real activity: no detector that is never wrong can be sooner."""
    hours = np.arange(house.from_us, int(house.times[-1]), HOUR_US)
    waits: NDArray[np.float64] = (house.times[np.searchsorted(house.times, hours, "right")] - hours) / HOUR_US
    return waits


def _left(house: House, at_us: int) -> bool:
    """Tell whether the last activity before `at_us` was at the front door."""
    n = int(np.searchsorted(house.times, at_us, "right")) - 1
    return bool(house.sensors[n] == house.front)


def _inside(spans: list[tuple[int, int]], t_us: int) -> bool:
    return any(a <= t_us < b for a, b in spans)


def _register(house: House, rules: Mapping[str, float]) -> Inputs:
    sensors = np.unique(house.sensors).tolist()
    site = SiteInput(
        id=SITE,
        code="home",
        name=house.name,
        name_en=house.name,
        kind="point",
        zone="UTC",
        capacity=None,
        hours=ALL_DAY,
        closed=[],
        rules={"no_activity": dict(rules)},
    )
    return Inputs(
        version=1,
        sites=[site],
        places=[
            PlaceInput(id=n, site=SITE, code=f"p{n}", name=f"p{n}", name_en="", room="entrance" if n == house.front else "other")
            for n in sensors
        ],
        devices=[
            DeviceInput(
                id=n,
                gateway=GATEWAY,
                identity=f"s{n}",
                device_class="door",
                family="door",
                name=f"s{n}",
                place=n,
                mounted_us=0,
                alive_every_us=2 * ALIVE_US,
            )
            for n in sensors
        ],
        gateways=[GatewayInput(id=GATEWAY, code="g1")],
    )


def _rows(house: House) -> NDArray[np.void]:
    """The house's events as stored rows, with a sign of life of each sensor a day."""
    sensors = np.unique(house.sensors)
    beats = np.arange(int(house.times[0]), int(house.times[-1]) + 1, ALIVE_US)
    rows = np.zeros(len(house.times) + len(sensors) * len(beats), COLUMNS)
    n = len(house.times)
    rows["t_us"] = np.concatenate([house.times, np.repeat(beats, len(sensors))])
    rows["device"] = rows["place"] = np.concatenate([house.sensors, np.tile(sensors, len(beats))])
    rows["gateway"] = GATEWAY
    rows["kind"][:n], rows["kind"][n:] = Kind.CONTACT, Kind.ALIVE
    rows["a"][:n] = house.starts
    ordered: NDArray[np.void] = rows[np.argsort(rows["t_us"], kind="stable")]
    return ordered


def _cover(from_us: int, through_us: int) -> Coverage:
    return Coverage(gateway=GATEWAY, stream=1, from_us=from_us, through_us=through_us)


def _names(path: Path) -> dict[int, str]:
    lines = path.read_text(encoding="utf-8").splitlines()
    return {int(n): name.strip() for n, _, name in (line.partition("\t") for line in lines if line.strip())}


def _draw(houses: list[House], figures: Mapping[str, float], say: Say) -> None:
    """Plot false alarms against delay, each detector by its one parameter."""
    ours = [(figures["quality.homes.false_per_day"], figures["quality.homes.mean_h"])]
    for risk in RISKS:
        ours.append(_point({h.name: replay(h, {"per_month": risk}) for h in houses}))
        say(f"homes at {risk:g} false alarms a month: {ours[-1][0]:.3f} a day, {ours[-1][1]:.1f} h")
    lines = {
        "no_activity, learned": sorted(ours),
        "Cuddihy 2007": [_point({h.name: by_line(h, round(b * HOUR_US)) for h in houses}) for b in BUFFERS_H],
        "fixed limit": [_point({h.name: fixed(h, x) for h in houses}) for x in FIXED_H],
    }
    with plot("homes", 3.0) as axes:
        for (name, points), mark in zip(lines.items(), "os^", strict=True):
            axes.plot(*zip(*points, strict=True), marker=mark, label=name)
        axes.axhline(figures["quality.homes.clairvoyant.mean_h"], color="grey", lw=0.8, ls=":")
        axes.set(xlabel="false alarms per house and day", ylabel="mean hours to detect", xlim=(0, 0.7), ylim=(0, 27))
        axes.legend()


def _point(results: Mapping[str, Result]) -> tuple[float, float]:
    found = _figures("", results)
    return found[".false_per_day"], found[".mean_h"]


def _figures(prefix: str, results: Mapping[str, Result]) -> dict[str, float]:
    parts = {f"{prefix}.{name}": [r] for name, r in results.items()} | {prefix: list(results.values())}
    figures: dict[str, float] = {}
    for key, rs in parts.items():
        waits, home = np.concatenate([r.waits_h for r in rs]), np.concatenate([r.home for r in rs])
        figures[f"{key}.false_per_day"] = sum(len(r.alarms) for r in rs) / sum(r.days for r in rs)
        figures |= {f"{key}.mean_h": float(waits.mean()), f"{key}.p90_h": float(np.quantile(waits, 0.9))}
        figures[f"{key}.home_mean_h"] = float(waits[home].mean())
    return figures
