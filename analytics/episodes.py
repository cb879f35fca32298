"""What a rule says quarter by quarter becomes an episode: hysteresis, minimum hold, begin, continue, end, retract.

One decision: a detector says of each subject only "on", "off" or neither (unknown: what was, holds); how long that must last
before anyone hears of it is kept here, the same for all rules about quarters of an hour.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.book import Book
from analytics.findings import Finding, Phase, Rule, Severity, SubjectKind
from analytics.quarters import QUARTER_US
from analytics.state import Memory, Record, Table, put
from analytics.town import Town

STREAK = np.dtype([("id", "i4"), ("since", "i4"), ("on", "u1"), ("raised", "?")])
"""Of one subject and rule. since: the first quarter (from 1970) that spoke for it; on: how many did in a row, at most 255."""

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class Saying:
    """What a detector says of one subject that is told.

    absent: it says that since `since_us` (0: since the first quarter that spoke for it) something did not happen, so evidence
    that comes late may disprove it. evidence: (pos, ordinal).
    """

    severity: Severity
    reason: dict[str, Any]
    absent: bool = False
    since_us: int = 0
    evidence: list[tuple[int, int]] = field(default_factory=list)


def streaks(rule: Rule, kind: SubjectKind) -> Table:
    """Return the table that a rule needs for `Episodes.update`; a detector lists it among its TABLES."""
    return Table(name=streak_of(rule, kind), kind=kind, dtype=STREAK)


def streak_of(rule: Rule, kind: SubjectKind) -> str:
    """Return the name of that table."""
    return f"streak.{rule}.{kind}"


class Episodes:
    """The episodes of one shard at the close of one quarter; `found` collects findings."""

    def __init__(self, shard: int, memory: Memory, town: Town, from_us: int, to_us: int) -> None:
        self.shard, self.memory, self.town, self.from_us, self.to_us = shard, memory, town, from_us, to_us
        self.found: list[Finding] = []

    def update(
        self,
        rule: Rule,
        kind: SubjectKind,
        rows: Rows,
        on: Mask,
        off: Mask,
        say: Callable[[int, int], Saying | None],
        *,
        begin_after: int | Rows = 1,
        end_after: int | Rows = 1,
    ) -> None:
        """Take what a rule says of the quarter: `on` and `off` (shape of `rows`, never both) of subjects in table rows `rows`.

        It begins after `begin_after` quarters on in a row and ends after `end_after` off in a row; at most 255 each, for all or
        for each of `rows`.
        say(n, since_us) makes the words for `rows[n]`, or None to say nothing yet.
        """
        table = self.memory.tables[streak_of(rule, kind)]
        mine = table.take(rows)
        if not (on | off & (mine["on"] > 0)).any():
            return
        fresh = on & (mine["on"] == 0)
        mine["since"][fresh] = self.from_us // QUARTER_US
        mine["on"] = np.where(
            on, np.minimum(mine["on"].astype(np.int64) + 1, 255), np.where(off & ~mine["raised"], 0, mine["on"])
        )
        begins = on & ~mine["raised"] & (mine["on"] >= begin_after)
        put(table, rows, mine)
        patience = np.broadcast_to(end_after, len(rows))
        for n in np.flatnonzero(mine["raised"] & (on | off)).tolist():
            self._go_on(rule, kind, int(rows[n]), bool(on[n]), int(patience[n]))
        for n in np.flatnonzero(begins).tolist():
            saying = say(n, int(mine["since"][n]) * QUARTER_US)
            if saying is not None:
                self._begin(rule, kind, int(rows[n]), saying)

    def open(self, rule: Rule, kind: SubjectKind, row: int) -> Record | None:
        """Return a subject's open record that began here; those that single events make have no `last_us`."""
        subject, site = self.subject(kind, row)
        mine = (r for r in self._book(site).records if r.rule == rule and r.kind is kind and r.subject == subject)
        return next((r for r in mine if r.last_us), None)

    def again(self, record: Record, severity: Severity, reason: dict[str, Any]) -> None:
        """Say an open episode anew where its severity or its numbers have changed."""
        if (severity, reason) != (record.severity, record.reason):
            record.severity, record.reason = severity, reason
            self._say(record, Phase.CONTINUE, self.to_us, reason)

    def end(self, rule: Rule, kind: SubjectKind, row: int, at_us: int, why: str) -> None:
        """End a subject's episode, if one is open."""
        self._over(rule, kind, row, at_us, why, Book.end)

    def withdraw(self, rule: Rule, kind: SubjectKind, row: int, at_us: int, why: str) -> None:
        """Take a subject's episode back, if one is open."""
        self._over(rule, kind, row, at_us, why, Book.withdraw)

    def subject(self, kind: SubjectKind, row: int) -> tuple[int, int]:
        """Return the register id of a table row, and the id of its site."""
        return self.town.subject(self.memory, kind, row)

    def _over(
        self, rule: Rule, kind: SubjectKind, row: int, at_us: int, why: str, how: Callable[[Book, Record, int, str], None]
    ) -> None:
        record = self.open(rule, kind, row)
        table = self.memory.tables[streak_of(rule, kind)]
        table["on"][row], table["raised"][row] = 0, False
        if record is not None:
            book = self._book(record.site)
            how(book, record, at_us, why)
            self.found += book.found

    def _begin(self, rule: Rule, kind: SubjectKind, row: int, saying: Saying) -> None:
        table = self.memory.tables[streak_of(rule, kind)]
        table["raised"][row] = True
        subject, site = self.subject(kind, row)
        since = int(table["since"][row]) * QUARTER_US
        record = Record(
            rule=rule,
            kind=kind,
            subject=subject,
            site=site,
            episode=since,
            since_us=saying.since_us or since,
            deadline_us=self.to_us,
            last_us=self.to_us,
            severity=saying.severity,
            reason=saying.reason,
            absent=saying.absent,
            evidence=saying.evidence,
        )
        self._book(site).records.append(record)
        self._say(record, Phase.BEGIN, self.to_us, saying.reason)

    def _go_on(self, rule: Rule, kind: SubjectKind, row: int, on: bool, end_after: int) -> None:
        record = self.open(rule, kind, row)
        if record is None:  # taken back, or ended by a change of the register
            table = self.memory.tables[streak_of(rule, kind)]
            table["on"][row], table["raised"][row] = int(on), False
            table["since"][row] = self.from_us // QUARTER_US
        elif on:
            record.last_us, record.first_us, record.count = self.to_us, 0, 0
        else:
            record.first_us, record.count = record.first_us or self.from_us, record.count + 1
            if record.count >= end_after:
                at, record.count = record.first_us, 0
                self.end(rule, kind, row, at, "normal")

    def _say(self, record: Record, phase: Phase, at_us: int, reason: dict[str, Any]) -> None:
        book = self._book(record.site)
        book.say(record, phase, at_us, reason)
        self.found += book.found

    def _book(self, site: int) -> Book:
        return Book(self.shard, self.memory, self.town, self.town.sites[site])
