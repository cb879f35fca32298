"""How well alerts match what really happened: precision, recall and delay per rule, against a simulator's ledger.

One decision: matching asks for the same rule, the right subject and a time within the incident's, nothing else. An alert
that is a consequence of another incident (its `also`) counts neither as right nor as wrong.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import msgspec

from analytics.findings import Finding, Phase, Rule
from gateway.clock import MINUTE_US, SECOND_US

TOLERANCE_US = 30 * MINUTE_US
"""How far apart an alert and its incident may lie: two quarters of an hour, in which the rules count."""
NEVER_US = 2**62


class Truth(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the ledger: see firmware_sim.truth, which writes it."""

    incident: str
    rule: str | None
    subjects: list[str]
    sites: list[str]
    begin_us: int
    end_us: int
    also: list[str] = []


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """An alert as far as it is scored. since_us: begin of what it is about. subject: as the ledger names it.

    When it ends is not asked: one that never ends would be right about everything that comes.
    """

    rule: str
    subject: str
    site: str | None
    since_us: int
    begin_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One rule's account. alerts = right + excused + false. delays_us: of the incidents that were found."""

    rule: str
    incidents: int
    found: int
    alerts: int
    right: int
    excused: int
    delays_us: Sequence[int]

    @property
    def false(self) -> int:
        """Alerts that nothing explains."""
        return self.alerts - self.right - self.excused

    @property
    def precision(self) -> float | None:
        """Right alerts among those that are right or false; None where there is none."""
        return self.right / (self.right + self.false) if self.right + self.false else None

    @property
    def recall(self) -> float | None:
        """Incidents found; None where there was none."""
        return self.found / self.incidents if self.incidents else None

    @property
    def delay_s(self) -> float | None:
        """Median time from an incident's begin to its first alert, in seconds."""
        return median(self.delays_us) / SECOND_US if self.delays_us else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quiet:
    """Incidents of a kind that should raise nothing. disturbed: those at whose site and time something false was raised."""

    incident: str
    incidents: int
    disturbed: int


def alerts_of(findings: Iterable[Finding], codes: Mapping[str, Mapping[int, str]]) -> list[Alert]:
    """Fold findings into alerts; what was taken back is none. codes: subject kind → id → what the ledger calls it."""
    open_ones: dict[tuple[str, str, int, int], Alert] = {}
    for f in findings:
        key = (f.rule, f.subject_kind, f.subject, f.episode)
        if f.phase is Phase.RETRACT:
            open_ones.pop(key, None)
        elif f.phase is Phase.BEGIN and key not in open_ones:
            site = codes["site"].get(f.site, "")
            open_ones[key] = Alert(
                rule=f.rule, subject=codes[f.subject_kind][f.subject], site=site, since_us=f.episode, begin_us=f.at_us
            )
    return list(open_ones.values())


def score(
    truths: Sequence[Truth], alerts: Sequence[Alert], *, during: tuple[int, int] = (0, NEVER_US)
) -> tuple[list[Score], list[Quiet]]:
    """Return each rule's account, and what became of incidents that should raise nothing; of what began in `during`."""
    judged = [(a, _verdict(a, truths)) for a in alerts if during[0] <= a.begin_us < during[1]]
    asked = [t for t in truths if during[0] <= t.begin_us < during[1]]
    rules = [*Rule, *sorted({t.rule for t in asked if t.rule} - set(Rule))]
    scores = [
        _account(rule, [t for t in asked if t.rule == rule], [(a, v) for a, v in judged if a.rule == rule]) for rule in rules
    ]
    false = [a for a, verdict in judged if verdict is _FALSE]
    names = dict.fromkeys(t.incident for t in asked if t.rule is None)
    return scores, [_quiet(name, [t for t in asked if t.incident == name and t.rule is None], false) for name in names]


_RIGHT, _EXCUSED, _FALSE = "right", "excused", "false"


def _verdict(alert: Alert, truths: Sequence[Truth]) -> str:
    near = [t for t in truths if _together(alert, t)]
    if any(_finds(alert, t) for t in near):
        return _RIGHT
    return _EXCUSED if any(alert.rule in t.also and alert.site in t.sites for t in near) else _FALSE


def _together(alert: Alert, truth: Truth) -> bool:
    since_us = min(alert.since_us, alert.begin_us)
    return since_us <= truth.end_us + TOLERANCE_US and truth.begin_us - TOLERANCE_US <= alert.begin_us


def _finds(alert: Alert, truth: Truth) -> bool:
    return alert.rule == truth.rule and alert.subject in truth.subjects and _together(alert, truth)


def _account(rule: str, truths: Sequence[Truth], judged: Sequence[tuple[Alert, str]]) -> Score:
    first = [min((a.begin_us for a, _ in judged if _finds(a, t)), default=None) for t in truths]
    delays = [max(0, at - t.begin_us) for at, t in zip(first, truths, strict=True) if at is not None]
    verdicts = [v for _, v in judged]
    return Score(
        rule=rule,
        incidents=len(truths),
        found=len(delays),
        alerts=len(judged),
        right=verdicts.count(_RIGHT),
        excused=verdicts.count(_EXCUSED),
        delays_us=delays,
    )


def _quiet(incident: str, truths: Sequence[Truth], false: Sequence[Alert]) -> Quiet:
    disturbed = sum(any(a.site in t.sites and _together(a, t) for a in false) for t in truths)
    return Quiet(incident=incident, incidents=len(truths), disturbed=disturbed)
