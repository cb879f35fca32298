"""Says what becomes of a delivery after an attempt: delivered, tried again at a time, or a dead letter.

One decision: the schedule counts attempts, not hours, so that time in which no sender ran uses up nothing.

Attempts follow each other after 0, 2, 5, 10, 30 s, 1, 2, 5, 10, 30 min and then every hour, 72 h in all, each wait moved
by up to 20 % so that what failed together does not come back together.
"""

from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from enum import StrEnum

from api.success import ANY, Rule
from gateway.clock import HOUR_US, SECOND_US

FIRST_S = (2, 5, 10, 30, 60, 120, 300, 600, 1800)
"""Waits after the first attempts; the very first attempt waits for nothing."""
HOURLY = 71
"""Hourly waits after those: with the 49 minutes before them, 72 h."""
ATTEMPTS = 1 + len(FIRST_S) + HOURLY
JITTER = 0.2
MAX_RETRY_AFTER_US = HOUR_US
GONE = 410


class State(StrEnum):
    """States of an outbox row that an attempt can lead to."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to store. due_us: when the next attempt is due, 0 if there is none. disable: the endpoint wants no more."""

    state: State
    due_us: int = 0
    disable: bool = False


def succeeded(status: int, body: bytes, rule: Rule = ANY) -> bool:
    """Tell whether an answer means that the receiver has taken it: a 2xx whose `body` satisfies `rule`. A redirect is none."""
    return 200 <= status <= 299 and rule.holds(body)


def decide(
    *,
    attempts: int,
    status: int | None,
    retry_after: str,
    body: bytes,
    now_us: int,
    random: float,
    rule: Rule = ANY,
    hold_us: int = 0,
) -> Decision:
    """Judge attempt number `attempts` (1 is the first), ended at `now_us`.

    status: HTTP status, None if there was no answer. retry_after: that header, "" if absent. random: in [0, 1).
    hold_us: the least wait that the answer's body asks for.
    """
    if status is not None and succeeded(status, body, rule):
        return Decision(state=State.DELIVERED)
    if status == GONE:
        return Decision(state=State.DEAD, disable=True)
    if attempts >= ATTEMPTS:
        return Decision(state=State.DEAD)
    wait_us = max(delay_us(attempts, random), retry_after_us(retry_after, now_us), hold_us)
    return Decision(state=State.PENDING, due_us=now_us + wait_us)


def delay_us(attempts: int, random: float) -> int:
    """Return the wait after attempt number `attempts`, in microseconds, moved by `random` in [0, 1) from -20 to +20 %."""
    seconds = FIRST_S[attempts - 1] if attempts <= len(FIRST_S) else 3600
    return round(seconds * SECOND_US * (1 - JITTER + 2 * JITTER * random))


def retry_after_us(value: str, now_us: int) -> int:
    """Return the wait that Retry-After asks for: seconds or an HTTP date, at most 1 h; 0 where it says nothing sensible."""
    text = value.strip()
    if text.isascii() and text.isdigit():
        return min(int(text[:9]) * SECOND_US, MAX_RETRY_AFTER_US)
    try:
        date = parsedate_to_datetime(text)
        at_us = int(date.replace(tzinfo=date.tzinfo or UTC).timestamp()) * SECOND_US
    except (ValueError, OverflowError):
        return 0
    return min(max(at_us - now_us, 0), MAX_RETRY_AFTER_US)
