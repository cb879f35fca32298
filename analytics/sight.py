"""What a gateway could see, and what a sensor proves about an interval: seen, proven quiet, or unknown.

One decision: a gateway's coverage is kept as the few intervals it was receiving in, so that "was it looking?" is asked of
the past at any later time and answered the same. Blindness shorter than `rules.GAP_US` neither counts nor is told.
"""

from enum import StrEnum

import msgspec

from analytics.rules import GAP_US
from ingest.columns import BlindSpan, Coverage

KEPT = 64
"""Intervals and gaps remembered per gateway."""


class Sight(StrEnum):
    """What is known of a sensor in an interval."""

    SEEN = "seen"
    PROVEN_QUIET = "proven_quiet"
    UNKNOWN = "unknown"


class Gap(msgspec.Struct, kw_only=True):
    """A time in which a gateway, or its devices whose identity starts with `source`, could not be heard.

    reason: lost, hole, or what the gateway said. counts: takes away from coverage (a lost gateway may have gone on
    receiving and tell us later). told, said_us: sites that a finding was made for and the begin it gave,
    None while nobody was told.
    """

    source: str
    from_us: int
    to_us: int | None
    reason: str
    counts: bool
    told: list[int] | None = None
    said_us: int = 0
    over: bool = False


class View(msgspec.Struct, kw_only=True):
    """What one gateway has seen. spans: [from, through, stream], in order of `from`."""

    spans: list[list[int]] = []
    gaps: list[Gap] = []
    through_us: int = 0
    alive: bool = True

    @property
    def started(self) -> bool:
        """Tell whether it was ever receiving."""
        return bool(self.spans)

    def extend(self, coverage: Coverage) -> None:
        """Take over a coverage row."""
        last = next((s for s in reversed(self.spans) if s[2] == coverage.stream), None)
        if last:
            last[1] = max(last[1], coverage.through_us)
        else:
            self.spans.append([coverage.from_us, coverage.through_us, coverage.stream])
            self.spans = sorted(self.spans)[-KEPT:]
        self.through_us = max(self.through_us, coverage.through_us)

    def find_holes(self) -> None:
        """Remember long times between streams as gaps."""
        if len(self.spans) < 2:
            return
        through = self.spans[0][1]
        for from_us, to_us, _ in self.spans:
            if from_us - through > GAP_US:
                self.add_gap("", through, from_us, "hole", counts=False)
            through = max(through, to_us)

    def blind(self, span: BlindSpan) -> None:
        """Take over a blind row; the same span may come again with its end."""
        known = next((g for g in self.gaps if g.counts and (g.source, g.from_us) == (span.source, span.from_us)), None)
        if known:
            known.to_us = span.to_us
        else:
            self.add_gap(span.source, span.from_us, span.to_us, span.reason, counts=True)

    def add_gap(self, source: str, from_us: int, to_us: int | None, reason: str, *, counts: bool) -> Gap:
        """Remember a gap; the oldest that are over are forgotten."""
        gap = next((g for g in self.gaps if g.reason == reason and not counts and g.from_us == from_us), None)
        if gap is None:
            gap = Gap(source=source, from_us=from_us, to_us=to_us, reason=reason, counts=counts)
            while len(self.gaps) >= KEPT:
                self.gaps.remove(next((g for g in self.gaps if g.to_us is not None), self.gaps[0]))
            self.gaps.append(gap)
        return gap

    def uncovered(self, identity: str, from_us: int, to_us: int, tolerance_us: int = GAP_US) -> list[tuple[int, int]]:
        """Return the times in [from_us, to_us] in which a device was not heard, in order.

        Those up to `tolerance_us` are left out, except before all coverage and where nothing has come yet.
        """
        holes, at = [], from_us
        for a, b, _ in self.spans:
            if a > at:
                holes.append((at, min(a, to_us)))
            at = max(at, b)
            if at >= to_us:
                break
        if at < to_us:
            holes.append((at, to_us))
        end = to_us
        blind = (
            (g.from_us, end if g.to_us is None else g.to_us) for g in self.gaps if g.counts and identity.startswith(g.source)
        )
        holes += [(max(a, from_us), min(b, to_us)) for a, b in blind if a < to_us and b > from_us]
        joined: list[tuple[int, int]] = []
        for a, b in sorted(h for h in holes if h[0] < h[1]):
            if joined and a <= joined[-1][1]:
                joined[-1] = joined[-1][0], max(b, joined[-1][1])
            else:
                joined.append((a, b))
        begun = self.spans[0][0] if self.spans else to_us
        return [h for h in joined if h[1] - h[0] > tolerance_us or h[0] < begun or h[1] == to_us > self.through_us]

    def looking_since(self, identity: str, from_us: int, at_us: int) -> int | None:
        """Return from when on, not before `from_us`, a device was heard without a gap through `at_us`; None: not then."""
        holes = self.uncovered(identity, from_us, at_us, 0)
        if not holes:
            return from_us
        return None if holes[-1][1] >= at_us else holes[-1][1]

    def looking_again(self, identity: str, at_us: int) -> int | None:
        """Return when, after `at_us`, a device could be heard again; None: not yet."""
        if self.through_us <= at_us:
            return None
        holes = self.uncovered(identity, at_us, self.through_us, 0)
        if not holes or holes[0][0] > at_us:
            return at_us
        return None if holes[0][1] >= self.through_us else holes[0][1]


def judge(view: View, identity: str, interval: tuple[int, int], *, active_us: int, heard_us: int, alive_every_us: int) -> Sight:
    """Say what a sensor proves about [s, e].

    active_us: its last activity. heard_us: its last message, of any kind, that is known. A sensor that spoke at or after e,
    or less than `alive_every_us` before it, was there; a gateway's watermark alone proves only the gateway.
    """
    s, e = interval
    if s <= active_us <= e:
        return Sight.SEEN
    there = heard_us > 0 and (heard_us >= e or e - heard_us < alive_every_us)
    return Sight.PROVEN_QUIET if there and not view.uncovered(identity, s, e) else Sight.UNKNOWN
