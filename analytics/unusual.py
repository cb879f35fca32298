"""Unusually many or few people, at a place or at a site as a whole: one judgement, two kinds of subject.

One decision: what is usual at a site is the sum of what is usual at its entrances; all that it learns itself is its spread, for
doors may vary together or take each other's people. It is told only what none of its places says alone.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics import profiles
from analytics.episodes import Episodes, Saying, streak_of, streaks
from analytics.findings import Rule, Severity, SubjectKind
from analytics.profiles import QUARTERS, SPANS, Floats, Ints, Outlook
from analytics.quarters import QUARTER_US, Quarter
from analytics.state import Table

Mask = NDArray[np.bool_]
RULE, SITE, PLACE = Rule.UNUSUAL_FOOTFALL, SubjectKind.SITE, SubjectKind.PLACE
SIDE = [("id", "i4"), ("side", "i1")]
SIDES = {
    PLACE: Table(name="unusual.place", kind=PLACE, dtype=np.dtype(SIDE)),
    SITE: Table(
        name="unusual.site", kind=SITE, dtype=np.dtype([*SIDE, *profiles.SPREAD]), blank={"spread": profiles.FIRST_SPREAD}
    ),
}
"""side: of what is reported: 1 many, -1 few, 0 nothing."""
TABLES = (*SIDES.values(), streaks(RULE, PLACE), streaks(RULE, SITE))

LEAST = 5.0
"""People more or fewer than usual below which nobody is told, however improbable."""
WORTH = 0.25
"""Share more or fewer than usual below which nobody is told: nobody acts on a day that is a tenth busier."""
CALM = 2.0
"""Standard deviations (of the last hour) within which an episode is over."""
HOLD = 16
"""Calm quarters (those in which calm could be told) after which an episode is over: a second rush of the day is the same one."""
EMPTY = 0.5
"""Share of the usual counts at the neighbours below which they are empty too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subjects:
    """The n places or sites that are judged.

    rows: of their tables. site: rows of the sites. dead: their zeros may be the counter's. blind: a counter is said to be.
    quiet: nothing begins for them. share: of the usual at the neighbours, NaN unknown. words(n): name and days learned.
    doubt(n, quarters): what was counted (for subjects n, in their last quarters) shall teach little.
    """

    kind: SubjectKind
    rows: Ints
    site: Ints
    dead: Mask
    blind: Mask
    quiet: Mask
    share: Floats
    words: Callable[[int], dict[str, Any]]
    doubt: Callable[[Ints, Ints], None]


def judge(q: Quarter, episodes: Episodes, of: Subjects, outlook: Outlook) -> Mask:
    """Begin, go on with and end episodes of unusually many or few people; returns where there is none."""
    rows, z, hour = of.rows, outlook.z, outlook.z[:, 1]
    sides = q.memory.tables[SIDES[of.kind].name]["side"]
    limit = thresholds(q.town.setting(RULE, "per_month")[of.site])
    difference = outlook.counted - outlook.mean
    worth = (np.abs(difference) >= LEAST) & (np.abs(difference) >= WORTH * outlook.mean)
    many = (z >= limit) & worth & (hour > 1.0)[:, None]
    few = (z <= -limit) & worth & (hour < -1.0)[:, None] & (SPANS > 1) & ~(of.dead | outlook.guessed)[:, None]
    side = np.where(many.any(axis=1), 1, np.where(few.any(axis=1), -1, 0)) * q.is_open[of.site]
    before = sides[rows].astype(np.int64)
    for n in np.flatnonzero((before != 0) & (side == -before) | (before < 0) & of.blind).tolist():
        how = episodes.withdraw if of.blind[n] else episodes.end
        how(RULE, of.kind, int(rows[n]), q.from_us, "counter_blind" if of.blind[n] else "normal")
    on = (side != 0) & ~(of.quiet & (before == 0))
    telling = profiles.score(np.zeros(len(rows)), outlook.mean[:, 1], outlook.spread[:, 1]) < -CALM
    over = ~on & (before * hour < CALM) & (telling | (before > 0)) | ~q.is_open[of.site]

    def say(n: int, since_us: int) -> Saying:
        which = np.flatnonzero(many[n] if side[n] > 0 else few[n])
        span = int(which[np.argmax(np.abs(z[n, which]))])
        if not outlook.guessed[n]:
            of.doubt(np.array([n]), SPANS[[span]])
        return Saying(
            severity=Severity.MINOR,
            reason=_reason(q, of, outlook, n, int(side[n]), span),
            absent=bool(side[n] < 0),
            since_us=q.to_us - int(SPANS[span]) * QUARTER_US,
        )

    episodes.update(RULE, of.kind, rows, on, over & ~on, say, end_after=HOLD)
    raised = np.asarray(q.memory.tables[streak_of(RULE, of.kind)]["raised"][rows])
    sides[rows] = np.where(raised, np.where(on, side, before), 0)
    sure = np.flatnonzero(raised & ~outlook.guessed)
    of.doubt(sure, np.ones(len(sure), np.int64))
    return np.asarray(~raised & ~on & ~of.dead)


def judge_sites(
    q: Quarter, episodes: Episodes, places: Subjects, at: Ints, slot: Ints, judged: Outlook, learned: Outlook
) -> None:
    """Judge sites with several entrances that count, of which none says anything by itself.

    at: which of `places` are at entrances. slot: of `places`. judged, learned: their outlooks, with and without guesses.
    """
    at = at[np.bincount(places.site[at], minlength=len(q.memory.sites))[places.site[at]] > 1]
    if not len(at):
        return
    rows, first, which = np.unique(places.site[at], return_index=True, return_inverse=True)
    slots, own, profile = slot[at][first], q.memory.tables[SIDES[SITE].name], q.memory.tables["profile"]
    for name in ("learned", "kinds"):
        own[name][rows] = profile[name][places.rows[at][first]]
    spread = profiles.spread(own, rows, slots) + profiles.doubtfulness(own, rows)[:, None]

    def some(mask: Mask) -> Mask:
        return np.bincount(which, mask[at], len(rows)) > 0

    def summed(outlook: Outlook) -> Outlook:
        mean, counted = (
            np.stack([np.bincount(which, column, len(rows)) for column in values[at].T], axis=1).astype(np.float64)
            for values in (outlook.mean, outlook.counted)
        )
        guessed, wide = some(outlook.guessed), np.where(some(outlook.guessed)[:, None], profiles.ANYTHING, spread)
        return Outlook(counted=counted, mean=mean, spread=wide, z=profiles.score(counted, mean, wide), guessed=guessed)

    def doubt(sites: Ints, quarters: Ints) -> None:
        mine = np.isin(which, sites)
        profiles.doubt(profile, places.rows[at][mine], slot[at][mine], quarters[np.searchsorted(sites, which[mine])])

    def words(n: int) -> dict[str, Any]:
        known = q.town.by_row[int(rows[n])].input
        days = int(profiles.days(own, rows[n : n + 1])[0])
        return {"place": known.name, "place_en": known.name_en or known.name, "days": days}

    subjects = Subjects(
        kind=SITE,
        rows=rows,
        site=rows,
        dead=some(places.dead),
        blind=some(places.blind),
        quiet=some(q.memory.tables[streak_of(RULE, PLACE)]["raised"][places.rows]),
        share=np.full(len(rows), np.nan),
        words=words,
        doubt=doubt,
    )
    steady = judge(q, episodes, subjects, summed(judged))
    profiles.spread_out(own, rows, slots, summed(learned), steady & ~subjects.quiet)


def thresholds(per_month: Floats) -> Floats:
    """Return the score (n, spans) beyond which a span is unusual: each span and side has an equal share of the false alarms.

    Overlapping spans are worth one test for each quarter of their length.
    """
    share, which = np.unique(per_month, return_inverse=True)
    return np.array([_limits(p) for p in share.tolist()])[which]


@lru_cache
def _limits(per_month: float) -> list[float]:
    tests = 30.0 * QUARTERS / np.maximum(SPANS / 4.0, 1.0)
    return [-NormalDist().inv_cdf(min(per_month / (2.0 * len(SPANS)) / n, 0.4)) for n in tests.tolist()]


def _reason(q: Quarter, of: Subjects, outlook: Outlook, n: int, side: int, span: int) -> dict[str, Any]:
    mean, spread = outlook.mean[n, span], outlook.spread[n, span]
    half = 0.8225 * np.sqrt(1.0 + spread * mean)  # nine of ten: 1.645 deviations of the square root
    return of.words(n) | {
        "code": "footfall_new" if outlook.guessed[n] else "footfall_high" if side > 0 else "footfall_low",
        "from_us": q.to_us - int(SPANS[span]) * QUARTER_US,
        "to_us": q.to_us,
        "counted": int(outlook.counted[n, span]),
        "low": int(max(np.sqrt(mean) - half, 0.0) ** 2),
        "high": int(np.ceil((np.sqrt(mean) + half) ** 2)),
        "day_type": int(q.day_type[of.site[n]]),
        "everywhere": bool(not np.isnan(of.share[n]) and of.share[n] < EMPTY),
    }
