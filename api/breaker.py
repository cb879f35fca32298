"""The breaker of an endpoint: after calls that found its receiver unable it is left alone, and then tried with one row.

    closed ── five in a row without an able answer ──► open ── 30 s, doubled each time, at most 10 min ──► half-open
       ▲                                                 ▲                                                   │
       └───────────────── an able answer ────────────────┼───────────────────────────────────────────────────┘ one probe
                                                         └── no able answer

One decision: it lives in two columns of the endpoint's row, so that all senders share it and a restart forgets nothing. What
waits behind an open breaker uses up no attempts. A receiver that answers "no" to a row is able; the row has its own schedule.
"""

from enum import StrEnum

from gateway.clock import MINUTE_US, SECOND_US

THRESHOLD = 5
FIRST_US = 30 * SECOND_US
MOST_US = 10 * MINUTE_US
SIGN_IN_REFUSED = frozenset({530, 534, 535, 538})
"""SMTP answers to a sign-in (RFC 4954): no message can leave until the operator puts the password right."""
PASS_ON_ATTEMPTS = 3
"""Failed attempts after which a row goes to the endpoint's fallback, if it has one."""


class Breaker(StrEnum):
    """What an endpoint's breaker lets through: everything, nothing, one probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


def state(open_until_us: int, now_us: int) -> Breaker:
    """Return the breaker's state."""
    if open_until_us == 0:
        return Breaker.CLOSED
    return Breaker.OPEN if open_until_us > now_us else Breaker.HALF_OPEN


def able(kind: str, status: int | None) -> bool:
    """Tell whether an answer shows that the receiver is at work. status: HTTP or SMTP; None: there was no answer."""
    if status is None:
        return False
    if kind == "email":
        return not 400 <= status <= 499 and status not in SIGN_IN_REFUSED  # "try later"; another 5xx refuses this one message
    return status < 500 and status != 429
