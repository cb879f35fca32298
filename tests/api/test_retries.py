"""The schedule, read as a timeline, and what receivers can say about it."""

import math
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.retries import ATTEMPTS, Decision, State, decide, delay_us, retry_after_us, succeeded
from api.success import parse
from gateway.clock import HOUR_US, SECOND_US

T = 1_790_000_000 * SECOND_US


def after(attempts: int, status: int | None = None, retry_after: str = "", random: float = 0.5) -> Decision:
    return decide(attempts=attempts, status=status, retry_after=retry_after, body=b"", now_us=T, random=random)


def test_a_receiver_that_stays_away_is_tried_for_72_hours_and_then_given_up() -> None:
    at_s, tried = 0.0, [0.0]
    for n in range(1, 1000):
        d = after(n)
        if d.state is State.DEAD:
            break
        at_s += (d.due_us - T) / SECOND_US
        tried.append(at_s)
    assert tried[:11] == [0, 2, 7, 17, 47, 107, 227, 527, 1127, 2927, 6527]
    assert {b - a for a, b in pairwise(tried[9:])} == {3600}
    assert 71 * 3600 < tried[-1] <= 72 * 3600
    assert len(tried) == ATTEMPTS


@given(attempts=st.integers(1, ATTEMPTS - 1), random=st.floats(0, 1, exclude_max=True))
def test_a_wait_is_moved_by_a_fifth_at_most(attempts: int, random: float) -> None:
    middle = delay_us(attempts, 0.5)
    assert 0.8 * middle - 1 <= delay_us(attempts, random) <= 1.2 * middle + 1


def test_the_whole_fifth_is_used_both_ways() -> None:
    assert delay_us(1, 0.0) == 1_600_000
    assert delay_us(1, math.nextafter(1, 0)) == 2_400_000


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_delivered(status: int) -> None:
    assert after(1, status) == Decision(state=State.DELIVERED)
    assert succeeded(status, b"")


@pytest.mark.parametrize("status", [None, 100, 199, 300, 301, 302, 307, 308, 400, 401, 404, 429, 500, 502, 503, 504, 600])
def test_anything_else_is_tried_again_and_a_redirect_is_no_success(status: int | None) -> None:
    assert after(1, status) == Decision(state=State.PENDING, due_us=T + 2 * SECOND_US)


def test_gone_is_dead_at_once_and_disables_the_endpoint() -> None:
    assert after(1, 410) == Decision(state=State.DEAD, disable=True)


def test_the_last_attempt_can_still_deliver() -> None:
    assert after(ATTEMPTS, 200).state is State.DELIVERED
    assert after(ATTEMPTS, 500) == Decision(state=State.DEAD)


@pytest.mark.parametrize(
    ("value", "wait_s"),
    [
        ("0", 0),
        (" 7 ", 7),
        ("120", 120),
        ("3601", 3600),
        ("9" * 5000, 3600),
        ("Mon, 21 Sep 2026 14:13:30 GMT", 10),
        ("Mon, 21 Sep 2026 22:13:30 +0800", 10),
        ("Mon, 21 Sep 2026 14:13:30 -0000", 10),
        ("Mon, 21 Sep 2026 14:13:10 GMT", 0),
        ("Tue, 21 Sep 2027 14:13:30 GMT", 3600),
        ("", 0),
        ("-5", 0),
        ("1.5", 0),
        ("７", 0),
        ("soon", 0),
        ("Mon, 99 Sep 2026 14:13:30 GMT", 0),
        ("Mon, 21 Sep 99999 14:13:30 GMT", 0),
        ("Mon, 01 Jan 0001 00:00:00 +2359", 0),
        ("Mon, 21 Sep 2026 99999999999999999999:13:30 GMT", 0),
        ("Mon, 21 Sep 2026 14:13:30 +99999999999999999999", 0),
    ],
)
def test_retry_after_is_seconds_or_a_date_and_an_hour_at_most(value: str, wait_s: int) -> None:
    assert retry_after_us(value, T) == wait_s * SECOND_US


@given(st.text())
def test_no_retry_after_raises_or_leaves_its_bounds(value: str) -> None:
    assert 0 <= retry_after_us(value, T) <= HOUR_US


def test_the_longer_of_schedule_and_retry_after_is_waited() -> None:
    assert after(1, 429, "60").due_us == T + 60 * SECOND_US
    assert after(8, 429, "1").due_us == T + 600 * SECOND_US
    assert after(1, 503, "1", random=0.99).due_us == T + delay_us(1, 0.99)


def test_a_2xx_that_says_no_is_tried_again_and_not_before_the_answer_allows() -> None:
    values: dict[str, Any] = {"attempts": 1, "status": 200, "retry_after": "", "now_us": T, "random": 0.5}
    values["rule"] = parse("$.code == 0")
    assert decide(**values, body=b'{"code":0}') == Decision(state=State.DELIVERED)
    assert decide(**values, body=b'{"code":9}') == Decision(state=State.PENDING, due_us=T + 2 * SECOND_US)
    held = decide(**values, body=b'{"code":9}', hold_us=60 * SECOND_US)
    assert held == Decision(state=State.PENDING, due_us=T + 60 * SECOND_US)
