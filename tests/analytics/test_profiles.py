"""What is usual at a place: learned from the past only, and sure of itself only as far as the past goes."""

import math
from collections.abc import Callable
from copy import deepcopy
from statistics import NormalDist

import numpy as np
import pytest

from analytics import profiles
from analytics.findings import SubjectKind
from analytics.profiles import BLANK, PROFILE, QUARTERS
from analytics.state import Table

ROWS = np.arange(1)
TABLE = Table(name="profile", kind=SubjectKind.PLACE, dtype=PROFILE, blank=BLANK)
Mean = Callable[[int, int], float]


def bell(slot: int, kind: int) -> float:
    """A centre's day: nobody at night, forty a quarter of an hour at noon, half of it at weekends."""
    return 40 * math.exp(-(((slot - 48) / 14) ** 2)) * (0.5 if kind > 4 else 1.0)


class Place:
    """One place through local days, with Poisson counts of a given mean."""

    def __init__(self, seed: int = 1) -> None:
        self.profile, self.random, self.day = TABLE.new(1), np.random.default_rng(seed), 0

    def live(self, days: int, mean: Mean = bell, *, seen: bool = True, doubt: bool = False, judge: bool = False) -> None:
        """Go through days; each quarter is seen or not, reported as unusual or not, judged or (faster) not."""
        for _ in range(days):
            kind = self.day % 7
            for slot in range(QUARTERS):
                self.quarter(slot, kind, int(self.random.poisson(mean(slot, kind))), seen=seen, doubt=doubt)
                if judge:
                    outlook = self.look(slot)
                    profiles.spread_out(self.profile, ROWS, np.array([slot]), outlook, np.array([True]))
            self.day += 1

    def quarter(self, slot: int, kind: int, count: int, *, seen: bool = True, doubt: bool = False) -> None:
        """Go through one quarter of an hour, as the detector does."""
        at = np.array([slot])
        profiles.turn(self.profile, ROWS, at, np.array([kind]))
        profiles.put(self.profile, ROWS, at, np.array([count]), np.array([seen]))
        if doubt:
            profiles.doubt(self.profile, ROWS, at, np.array([1]))

    def look(self, slot: int) -> profiles.Outlook:
        """Compare to what is usual."""
        return profiles.look(self.profile, ROWS, np.array([slot]))

    def usual(self, slot: int, kind: int | None = None) -> float:
        """Return what is usual at `slot` of the day that comes, without living it."""
        kept = self.profile.copy()
        self.quarter(slot, self.day % 7 if kind is None else kind, 0)
        mean = float(self.look(slot).mean[0, 0])
        self.profile = kept
        return mean


@pytest.mark.parametrize(("mean", "spread"), [(0.3, 0.2), (4.0, 0.05), (30.0, 0.3), (400.0, 0.02)])
def test_the_score_is_that_of_the_negative_binomial_tail(mean: float, spread: float) -> None:
    size = 1 / spread
    log_p, log_q = math.log(size / (size + mean)), math.log(mean / (size + mean))
    mass = [
        math.exp(math.lgamma(x + size) - math.lgamma(size) - math.lgamma(x + 1) + size * log_p + x * log_q)
        for x in range(int(mean * 6 + 60))
    ]
    below = np.cumsum(mass)
    for x in range(len(mass)):
        z = float(profiles.score(np.array(float(x)), np.array(mean), np.array(spread)))
        for tail, sign in ((below[x], -1), (1 - below[x] + mass[x], 1)):
            if 1e-7 < tail < 0.3:
                assert z == pytest.approx(-sign * NormalDist().inv_cdf(tail), abs=0.06)


def test_it_learns_the_day_and_the_weekday() -> None:
    place = Place()
    place.live(22, lambda slot, kind: bell(slot, kind) * (2 if kind == 4 else 1))
    for kind, truth in ((0, 40.0), (2, 40.0), (4, 80.0), (5, 20.0), (6, 20.0)):
        assert place.usual(48, kind) == pytest.approx(truth, rel=0.3)
    assert place.usual(8, 1) < 0.5


def test_a_quarter_is_learned_a_day_later_and_not_before() -> None:
    place = Place()
    place.live(7)
    before = place.profile["shape"].copy()
    place.quarter(0, 0, 0)
    for slot in range(1, QUARTERS):
        place.quarter(slot, 0, 500)
    learned = place.profile["shape"][0, 0].copy()
    place.quarter(0, 1, 0)
    for slot in range(1, 40):
        place.quarter(slot, 1, 0)
    assert np.all(np.abs(learned[48].astype(int) - before[0, 0, 48].astype(int)) < 200), "only the day before was learned"
    assert place.profile["shape"][0, 0, 30] > learned[30], "now the busy day is learned"


def test_what_was_blind_teaches_nothing_and_what_was_unusual_little() -> None:
    usual = Place()
    usual.live(14)
    blind, unusual = deepcopy(usual), deepcopy(usual)
    blind.live(3, lambda *_: 0.0, seen=False)
    unusual.live(1, lambda slot, kind: 5 * bell(slot, kind), doubt=True)
    usual.live(1)
    blind.live(1)
    unusual.live(1)
    assert blind.usual(48, 1) == pytest.approx(40, rel=0.15)
    assert unusual.usual(48, 1) < 1.35 * usual.usual(48, 1)


def test_a_new_normal_is_taken_over_within_weeks_though_it_was_reported() -> None:
    place = Place()
    place.live(14)
    place.live(21, lambda slot, kind: 0.2 * bell(slot, kind), doubt=True)
    assert place.usual(48) < 0.5 * 40


def test_it_says_how_sure_it_is() -> None:
    place = Place()
    doubts = []
    for days in (3, 7, 7):
        place.live(days)
        doubts.append(float(profiles.doubtfulness(place.profile, ROWS)[0]))
    assert doubts[0] > 2 * doubts[1] > 3 * doubts[2]
    place.quarter(0, 7, 0)
    assert profiles.doubtfulness(place.profile, ROWS)[0] > 0.3, "a public holiday may be anything"
    assert profiles.days(place.profile, ROWS)[0] == pytest.approx(16, abs=0.1)


def test_nothing_is_known_before_the_first_day_is_over() -> None:
    place = Place()
    place.live(1)
    assert math.isnan(place.usual(48, 5)), "no Saturday yet"
    assert not math.isnan(place.usual(48, 1))


def test_spread_is_learned_from_calm_days_though_every_other_evening_is_busy() -> None:
    place = Place(seed=2)

    def evenings(slot: int, kind: int) -> float:
        return 30.0 * (2.5 if 84 <= slot < 92 and kind in (1, 3) else 1.0)

    place.live(21, evenings, judge=True)
    place.quarter(86, 0, 75)
    assert place.look(86).z[0, 0] > 3.0


def test_a_place_takes_about_1300_bytes() -> None:
    assert PROFILE.itemsize <= 1300


def test_what_was_reported_yesterday_does_not_make_this_day_unusual() -> None:
    place = Place()
    place.live(3)
    calm = deepcopy(place)
    for slot in range(44):
        for p, rush in ((place, 8), (calm, 0)):
            p.quarter(slot, 3, 10 * rush if 36 <= slot < 44 else 0, doubt=bool(rush) and slot >= 36)
    told, untold = place.look(43), calm.look(43)
    assert told.counted[0, 2] == untold.counted[0, 2] + 640, "the last hours are as they were"
    place.profile["ring"][0, 36:44], calm.profile["ring"][0, 36:44] = profiles.DOUBTED + 80, profiles.UNSEEN
    for p in (place, calm):
        for slot in range(44, 48):
            p.quarter(slot, 3, 9)
    assert place.look(47).counted[0, 3] == calm.look(47).counted[0, 3] > 0, "the day leaves them out, as if nobody had seen them"
