"""What a report says, as values: the figures of a site, of each of its days and sensors, and the sum over sites.

One decision: a figure is kept as whole numbers (days, people, microseconds) with how long sensors could see beside it; shares
and hours are made where they are written, so that sums over sites are sums of the same numbers.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

from api.report_sight import Interval

CORRECTABLE = ("opening_days", "footfall", "served", "meals")
"""Figures that are sums over days, and so can be corrected for a day."""
KINDS = ("all", "counter", "terminal")
"""Sensors that must have seen: all of a site's for opening, counters for footfall, terminals for 服务人次."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteInfo:
    """Which site. town: the first nine digits of its region's code."""

    id: int
    code: str
    name: str
    name_en: str
    kind: str
    zone: str
    region: str
    town: str
    town_name: str
    town_name_en: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """A local day. opened: None where sensors did not see, or the day is not over. seen: kind → (seen_us, of_us) of its hours."""

    day: date
    planned_us: int
    opened: bool | None
    first_us: int | None
    last_us: int | None
    people_in: int
    people_out: int
    served: int
    anonymous: int
    staff: int
    meals: int
    seen: Mapping[str, tuple[int, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensor:
    """What watches a place. mounted_us: how long, in the period; holes: when it could not see."""

    place: str
    name: str
    name_en: str
    room: str
    classes: tuple[str, ...]
    devices: tuple[str, ...]
    identities: tuple[str, ...]
    mounted_us: int
    holes: tuple[Interval, ...]

    @property
    def blind_us(self) -> int:
        """How long it could not see."""
        return sum(b - a for a, b in self.holes)


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRow:
    """An alert that began in the period. acted_us: when a person first took it over or resolved it."""

    id: int
    rule: str
    severity: str
    state: str
    outcome: str | None
    late: bool
    begin_us: int
    detected_us: int
    acted_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """Someone's word about a day's figure, with their reason."""

    id: int
    site: str
    day: date
    what: str
    delta: int
    reason: str
    author: str
    at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """月探访率 of a month: of the residents under consent, who came or was visited."""

    month: str
    residents: int
    reached: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The figures of a site, or of many. answers_us: times from an alert to the first person's act, sorted."""

    sites: int
    planned_days: int
    opening_days: int
    closed_days: int
    unknown_days: int
    planned_us: int
    open_us: int
    people_in: int
    people_out: int
    served: int
    anonymous: int
    staff: int
    meals: int
    attenders: int
    rates: tuple[Rate, ...]
    alerts: int
    retracted: int
    unanswered: int
    outcomes: Mapping[str, int]
    answers_us: tuple[int, ...]
    sensors: int
    mounted_us: int
    blind_us: int
    seen: Mapping[str, tuple[int, int]]
    corrections: Mapping[str, int]

    def corrected(self, what: str) -> int:
        """Return a correctable figure with its corrections."""
        return int(getattr(self, "people_in" if what == "footfall" else what)) + self.corrections.get(what, 0)

    def answer_us(self, share: float) -> int | None:
        """Return the time within which this share of the alerts that anyone answered was answered; None where none was."""
        n = len(self.answers_us)
        return self.answers_us[min(n - 1, int(share * n))] if n else None

    def seen_share(self, kind: str) -> float | None:
        """Return the share of the planned hours that sensors of a kind could see; None where there are none of either."""
        seen, of = self.seen.get(kind, (0, 0))
        return seen / of if of else None

    @property
    def up_share(self) -> float | None:
        """Share of the time in which sensors could see, night and day."""
        return 1 - self.blind_us / self.mounted_us if self.mounted_us else None


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteReport:
    """A site with all that its figures are made of."""

    site: SiteInfo
    figures: Figures
    days: tuple[Day, ...]
    sensors: tuple[Sensor, ...]
    alerts: tuple[AlertRow, ...]
    corrections: tuple[Correction, ...] = field(default=())


def of_site(
    days: Sequence[Day],
    sensors: Sequence[Sensor],
    alerts: Sequence[AlertRow],
    corrections: Sequence[Correction],
    rates: Sequence[Rate],
    attenders: int,
) -> Figures:
    """Return a site's figures."""
    planned = [d for d in days if d.planned_us]
    real = [a for a in alerts if a.state != "retracted"]
    answered = sorted(max(0, a.acted_us - a.detected_us) for a in real if a.acted_us is not None)
    changed: Counter[str] = Counter()
    for c in corrections:
        changed[c.what] += c.delta
    return Figures(
        sites=1,
        planned_days=len(planned),
        opening_days=sum(d.opened is True for d in planned),
        closed_days=sum(d.opened is False for d in planned),
        unknown_days=sum(d.opened is None for d in planned),
        planned_us=sum(d.planned_us for d in days),
        open_us=sum(d.last_us - d.first_us for d in planned if d.opened and d.first_us is not None and d.last_us is not None),
        people_in=sum(d.people_in for d in days),
        people_out=sum(d.people_out for d in days),
        served=sum(d.served for d in days),
        anonymous=sum(d.anonymous for d in days),
        staff=sum(d.staff for d in days),
        meals=sum(d.meals for d in days),
        attenders=attenders,
        rates=tuple(rates),
        alerts=len(real),
        retracted=len(alerts) - len(real),
        unanswered=sum(a.acted_us is None and a.state in ("open", "expired") for a in real),
        outcomes=dict(sorted(Counter(a.outcome or a.state for a in real).items())),
        answers_us=tuple(answered),
        sensors=len(sensors),
        mounted_us=sum(s.mounted_us for s in sensors),
        blind_us=sum(s.blind_us for s in sensors),
        seen={kind: _sum(d.seen[kind] for d in days if kind in d.seen) for kind in KINDS},
        corrections=dict(changed),
    )


def total(parts: Sequence[Figures], attenders: int) -> Figures:
    """Return the figures of several sites together. attenders: different persons, who may have been at more than one."""
    sums = {name: sum(getattr(p, name) for p in parts) for name in _SUMMED}
    outcomes, corrections = Counter[str](), Counter[str]()
    rates: dict[str, Rate] = {}
    for p in parts:
        outcomes.update(p.outcomes)
        for what, delta in p.corrections.items():
            corrections[what] += delta
        for r in p.rates:
            had = rates.get(r.month, Rate(month=r.month, residents=0, reached=0))
            rates[r.month] = Rate(month=r.month, residents=had.residents + r.residents, reached=had.reached + r.reached)
    return Figures(
        **sums,
        attenders=attenders,
        rates=tuple(rates.values()),
        outcomes=dict(sorted(outcomes.items())),
        answers_us=tuple(sorted(a for p in parts for a in p.answers_us)),
        seen={kind: _sum(p.seen[kind] for p in parts) for kind in KINDS},
        corrections=dict(corrections),
    )


_SUMMED = (
    "sites",
    "planned_days",
    "opening_days",
    "closed_days",
    "unknown_days",
    "planned_us",
    "open_us",
    "people_in",
    "people_out",
    "served",
    "anonymous",
    "staff",
    "meals",
    "alerts",
    "retracted",
    "unanswered",
    "sensors",
    "mounted_us",
    "blind_us",
)


def _sum(pairs: Iterable[tuple[int, int]]) -> tuple[int, int]:
    found = list(pairs)
    return sum(a for a, _ in found), sum(b for _, b in found)
