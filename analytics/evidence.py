"""Which stored events a finding rests on that single events did not make: a span of a subject's events.

One decision: the analyzer keeps no events for this. What a rule about a quarter of an hour, a silence or a habit looked at is
told by its subject and its times, and is looked up once, in the store, when the alert is opened.
"""

from dataclasses import dataclass

from analytics.findings import Finding, Rule, SubjectKind
from analytics.quarters import QUARTER_US
from gateway.clock import DAY_US

OTHERS = frozenset({Rule.STUCK, Rule.DEVICE_SILENT, Rule.COUNTER_BLIND})
"""Rest on what the other sensors of the site said meanwhile."""
LAST = frozenset({Rule.NO_ACTIVITY, Rule.CLOSED_EARLY, Rule.DEVICE_OFFLINE})
"""Rest on the last that was heard, and on nothing having come since."""
BACK_US = {Rule.FLAPPING: QUARTER_US, Rule.COUNT_MISMATCH: DAY_US, Rule.CLOCK_WRONG: DAY_US}
"""Rest on the device's own messages of so long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """All events of a site, place, device or person in [from_us, to_us]. strangers: only passages of strangers."""

    kind: SubjectKind
    subject: int
    from_us: int
    to_us: int
    strangers: bool = False


def span(finding: Finding) -> Span | None:
    """Return what a BEGIN rests on besides its `evidence`; None where that is all, or where there can be none."""
    rule, reason = finding.rule, finding.reason
    if rule in LAST:
        kind, subject = finding.subject_kind, finding.subject
        return Span(kind=kind, subject=subject, from_us=reason["since_us"], to_us=reason["since_us"])
    if rule in OTHERS:
        since = reason.get("since_us", finding.episode)
        return Span(kind=SubjectKind.SITE, subject=finding.site, from_us=since, to_us=finding.at_us)
    if rule is Rule.UNUSUAL_FOOTFALL:
        kind, subject = finding.subject_kind, finding.subject
        return Span(kind=kind, subject=subject, from_us=reason["from_us"], to_us=reason["to_us"] - 1)
    if rule is Rule.STRANGER_SPIKE:
        return Span(
            kind=SubjectKind.SITE,
            subject=finding.site,
            from_us=reason["from_us"],
            to_us=reason["to_us"] - 1,
            strangers=True,
        )
    if rule is Rule.PEOPLE_AFTER_CLOSING:
        return Span(kind=SubjectKind.SITE, subject=finding.site, from_us=reason["sign_us"], to_us=reason["sign_us"])
    if rule is Rule.RESIDENT_ABSENT:  # the day they came last
        return Span(kind=SubjectKind.PERSON, subject=finding.subject, from_us=finding.episode - DAY_US, to_us=finding.episode - 1)
    if rule in BACK_US and finding.subject_kind is SubjectKind.DEVICE:
        return Span(
            kind=SubjectKind.DEVICE, subject=finding.subject, from_us=finding.at_us - BACK_US[rule], to_us=finding.at_us - 1
        )
    return None
