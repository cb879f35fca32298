"""What is open or held back at one site, and the findings that follow when it begins, ends or proves wrong."""

from typing import Any

from analytics.findings import Finding, Phase
from analytics.state import Memory, Record
from analytics.town import Site, Town


class Book:
    """The records of one site; short-lived, all it knows is in `Memory`. `found` collects findings."""

    def __init__(self, shard: int, memory: Memory, town: Town, site: Site) -> None:
        self.shard, self.memory, self.town, self.site = shard, memory, town, site
        self.state = memory.sites[site.row]
        self.id = site.input.id
        self.records = memory.records.setdefault(self.id, [])
        self.found: list[Finding] = []

    def _begin(self, record: Record) -> None:
        if record.held:
            record.held = False
            self.say(record, Phase.BEGIN, record.deadline_us, record.reason)

    def end(self, record: Record, at_us: int, why: str) -> None:
        """Close a record: its cause was over at `at_us`. What was held back ends in silence."""
        self.records.remove(record)
        if record.held:
            return
        more = {"count": record.count} if record.count else {}
        self.say(record, Phase.END, at_us, record.reason | more | {"ended": why})

    def withdraw(self, record: Record, at_us: int, why: str) -> None:
        """Take back what evidence has disproved: in silence while it was held back, else aloud."""
        self.records.remove(record)
        if not record.held:
            self.say(record, Phase.RETRACT, at_us, record.reason | {"ended": why})

    def say(self, record: Record, phase: Phase, at_us: int, reason: dict[str, Any]) -> None:
        """Make the finding of one step of a record. What begins in a drill is said to be one, to its end."""
        if phase is Phase.BEGIN and self.site.calendar.mode(record.deadline_us, record.deadline_us + 1) == "drill":
            record.reason = record.reason | {"mode": "drill"}
        reason = reason | {key: record.reason[key] for key in ("mode",) if key in record.reason}
        self.found.append(
            Finding(
                shard=self.shard,
                rule=record.rule,
                subject_kind=record.kind,
                subject=record.subject,
                site=record.site,
                episode=record.episode,
                phase=phase,
                at_us=at_us,
                severity=record.severity,
                reason=reason,
                evidence=tuple(record.evidence) if phase is Phase.BEGIN else (),
            )
        )
