"""How long silence usually lasts, and when it is too long."""

import numpy as np
from numpy.typing import NDArray

from analytics.silence import MODEL, QUARTER_US, Ints, Silence, chances, learn, limits
from gateway.clock import HOUR_US

DAY = 24 * HOUR_US


def one(value: int) -> Ints:
    """A column of one."""
    return np.array([value], np.int64)


def taught(chance: NDArray[np.float64], days: int = 14, weekend: NDArray[np.float64] | None = None) -> NDArray[np.void]:
    """A site whose quarters are active by chance, (96,) of each quarter of a day; on weekends by another."""
    model, rng, quiet = np.zeros(1, MODEL), np.random.default_rng(5), 0
    for n in range(96 * days):
        late = n // 96 % 7 >= 5
        active = bool(rng.random() < (weekend if late and weekend is not None else chance)[n % 96])
        learn(model, one(0), one(0), one(int(late)), one(n % 96), one(quiet), np.array([active]))
        quiet = 0 if active else quiet + 1
    return model


def day(from_h: int, to_h: int, chance: float, night: float = 0.01) -> NDArray[np.float64]:
    """The chance of activity between these hours."""
    chances = np.full(96, night)
    chances[from_h * 4 : to_h * 4] = chance
    return chances


def limit_h(model: NDArray[np.void], hour: float, per_day: float = 0.03, mode: int = 0, kind: int = 0) -> float:
    """Hours until a silence that begins at an hour of the day is too long."""
    base = round(hour * HOUR_US)
    silence = Silence(base_us=one(base), slot=one(base // QUARTER_US), mode=one(mode), kind=one(kind), next_kind=one(kind))
    long, usual = limits(model, silence, np.array([per_day]))
    assert usual[0] <= long[0] <= base + DAY
    return float(long[0] - base) / HOUR_US


def test_the_limit_is_short_when_much_goes_on_and_long_at_night() -> None:
    model = taught(day(7, 22, 0.9))
    assert limit_h(model, 12) < 2
    assert 9 < limit_h(model, 22) < 12  # until well after seven


def test_who_is_seldom_active_is_given_more_time() -> None:
    assert limit_h(taught(day(7, 22, 0.3)), 12) > 2 * limit_h(taught(day(7, 22, 0.9)), 12)


def test_fewer_false_alarms_take_longer() -> None:
    model = taught(day(7, 22, 0.5))
    waits = [limit_h(model, 12, per_day) for per_day in (1.0, 0.1, 0.01, 0.001)]
    assert waits == sorted(waits)
    assert waits[0] < waits[-1]


def test_the_more_is_known_the_sooner_it_dares() -> None:
    waits = [limit_h(taught(day(7, 22, 0.7), days), 12) for days in (3, 7, 28)]
    assert waits[0] > waits[1] > waits[2]


def test_weekends_lean_on_working_days_until_they_have_shown_their_own() -> None:
    new = taught(day(7, 22, 0.9), days=5)  # no weekend yet
    assert chances(new["tried"][:, 0], new["woke"][:, 0], one(0))[0, 1, 12] > 0.6
    model = taught(day(7, 22, 0.9), days=28, weekend=day(12, 22, 0.9))
    assert limit_h(model, 22, kind=1) > limit_h(model, 22, kind=0) + 1.5


def test_nothing_known_is_no_division_by_zero_and_waits_a_day_at_most() -> None:
    assert 1 < limit_h(np.zeros(1, MODEL), 3) <= 24


def test_the_two_modes_do_not_teach_each_other() -> None:
    model = taught(day(7, 22, 0.9))
    assert limit_h(model, 12, mode=1) > 3 * limit_h(model, 12, mode=0)


def test_on_its_own_silences_it_is_wrong_about_as_often_as_it_is_set_for() -> None:
    """300 days of chance, judged by what was learned in the 28 before and set for a false alarm every second day."""
    chance, rng, zero = day(7, 22, 0.35, 0.02), np.random.default_rng(6), np.zeros(96, np.int64)
    bases = np.arange(1, 97) * QUARTER_US - 1
    silence = Silence(base_us=bases, slot=np.arange(96), mode=zero, kind=zero, next_kind=zero)
    due = limits(taught(chance, 28)[zero], silence, np.full(96, 0.5))[0] - bases
    active = np.flatnonzero(rng.random(96 * 300) < np.tile(chance, 300))
    wrong = int((np.diff(active) * QUARTER_US > due[active[:-1] % 96]).sum())
    assert 0.2 * 300 < wrong < 0.8 * 300
