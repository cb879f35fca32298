"""The mathematics of a person's rhythm, and what the detector keeps."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from analytics import rhythm
from analytics.people import compile_people, standard_us
from analytics.town import EMPTY
from gateway.clock import HOUR_US

ROW = np.dtype(rhythm.RHYTHM)
Bits = st.integers(0, 2**64 - 1)


def person(comes: list[int], days: int = 200, week: int = 5) -> NDArray[np.void]:
    """Someone who came on these days (0 is a Monday) of a site open `week` days a week."""
    row, missed = np.zeros(1, ROW), [0] * 7
    for day in range(days):
        if day in comes:
            rhythm.learn(row, monday(day), np.array([missed]), np.zeros(1, np.bool_))
            missed = [0] * 7
        elif day % 7 < week and row["visits"][0]:
            missed[day % 7] += 1
    return row


def monday(day: int) -> NDArray[np.int64]:
    """Number a day after Monday, 5 January 1970."""
    return np.array([4 + day])


def after(row: NDArray[np.void], *missed: int) -> float:
    """Return how often a year chance would make this gap; `missed` by weekday from Monday."""
    gap = np.array([[*missed, *[0] * (7 - len(missed))]])
    return float(rhythm.per_year(row, rhythm.surprise(row, gap))[0])


DAILY = person([d for d in range(200) if d % 7 < 5])
WEDNESDAYS = person(list(range(2, 200, 7)))


def test_the_same_gap_says_much_of_a_daily_attender_and_little_of_a_weekly_one() -> None:
    week = (1, 1, 1, 1, 1)
    assert after(DAILY, *week) < 0.5 < 1.5 < after(WEDNESDAYS, *week)
    assert after(WEDNESDAYS, 4, 4, 4, 4, 4) < 1


def test_only_days_on_which_they_usually_come_say_something_of_a_weekly_attender() -> None:
    assert after(WEDNESDAYS, 2, 2, 0, 2, 2) > 5 * after(WEDNESDAYS, 0, 0, 3)


def test_who_comes_in_spells_is_given_more_time_than_who_comes_as_often_but_evenly() -> None:
    spells = person([d for d in range(400) if d % 7 < 5 and d // 7 % 4 < 2], 400)
    evenly = person([d for d in range(400) if d % 7 in (0, 2, 4) or d % 14 == 1], 400)
    assert after(spells, 2, 2, 2, 2, 2) > 5 * after(evenly, 2, 2, 2, 2, 2)


def test_one_long_absence_that_was_followed_up_does_not_make_the_next_one_usual() -> None:
    row, gap = DAILY.copy(), np.array([[8, 8, 8, 8, 8, 0, 0]])
    before = after(row, 1, 1, 1, 1, 1)
    rhythm.learn(row, monday(300), gap, np.ones(1, np.bool_))
    assert row["longest"][0] == DAILY["longest"][0]
    assert after(row, 1, 1, 1, 1, 1) < max(1.0, 20 * before)
    np.testing.assert_allclose(row["days"].sum(), DAILY["days"].sum(), rtol=0.02)


def test_a_new_habit_is_learned_within_weeks() -> None:
    row = DAILY.copy()
    for week in range(8):
        gap = np.array([[1, 1, 0, 1, 1, 0, 0]])
        rhythm.learn(row, monday(207 + 7 * week), gap, np.zeros(1, np.bool_))
    assert after(row, 1, 1, 0, 1, 1) > 1


@given(Bits, st.integers(64, 30_000))
def test_missed_days_are_counted_by_their_weekday(missed: int, day: int) -> None:
    counted = rhythm.by_weekday(np.array([missed], np.uint64), np.array([day]))[0]
    expected = [0] * 7
    for j in range(64):
        if missed >> j & 1:
            expected[(day - j + 3) % 7] += 1  # 1970-01-01 was a Thursday
    assert counted.tolist() == expected


@given(st.lists(st.integers(0, 9), min_size=7, max_size=7), st.integers(0, 6))
def test_one_more_missed_day_is_never_less_surprising(missed: list[int], weekday: int) -> None:
    more = [n + (d == weekday) for d, n in enumerate(missed)]
    for row in (DAILY, WEDNESDAYS, np.zeros(1, ROW)):
        assert after(row, *more) <= after(row, *missed) + 1e-12


def test_a_day_is_one_of_standard_time_in_zones_with_clock_changes_on_either_half() -> None:
    assert standard_us("Asia/Shanghai") == 8 * HOUR_US
    assert standard_us("Europe/Berlin") == HOUR_US
    assert standard_us("Australia/Sydney") == 10 * HOUR_US


def test_a_register_without_residents_compiles() -> None:
    people = compile_people(EMPTY, {}, {})
    assert people.link.shape == (2, 0)
    assert people.away.shape == (3, 0)
