"""The timeline of a door: open, closed, or no signal, and where each lies on a line of 100 per cent.

One decision: a time between two messages is drawn as what both of them say; where they disagree, where nobody was
listening, or where the sensor was silent for too long, it is unknown and never "closed".

    message   closed        open (edge)      nobody listening      closed (edge)
                │  closed     │  open          ░░░░░░░░░░░░  open    │  closed …
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import zip_longest

MIN_WIDTH = 0.25
"""Narrowest mark (per cent): a door that was open for five seconds of a day is still seen."""
BRIEF = 0.5
"""A mark of which less than this share is true is brief: people going in and out, not a door that stood open."""


class State(StrEnum):
    """What is known of a door at a time."""

    OPEN = "open"
    CLOSED = "closed"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What a contact said. edge: it saw the change itself, so that just before it was the other way round."""

    t_us: int
    is_open: bool
    edge: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """A time [from_us, to_us) in one state."""

    from_us: int
    to_us: int
    state: State


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A period on the line, in per cent of its length, or several that are too close to be told apart."""

    left: float
    width: float
    state: State
    brief: bool = False


def periods(messages: Sequence[Message], gaps: Iterable[tuple[int, int]], from_us: int, to_us: int) -> list[Period]:
    """Return the states of [from_us, to_us], without holes or overlaps and no two neighbours alike.

    messages: in order of time; those before `from_us` say how the door was then. gaps: times (from, to) in which the
    device could not be heard. What it kept and sent later counts as heard: between two messages from within one gap the
    state is known.
    """
    holes = _join(gaps)
    found: list[Period] = []
    ends = [m.t_us for m in messages]
    _add(found, from_us, min([to_us, *ends]), State.UNKNOWN)
    for before, after in zip_longest(messages, messages[1:]):
        start, end = max(before.t_us, from_us), min(after.t_us if after else to_us, to_us)
        for period in _between(before, after, holes, to_us):
            _add(found, max(period.from_us, start), min(period.to_us, end), period.state)
    return found


def marks(found: Sequence[Period], from_us: int, to_us: int) -> list[Mark]:
    """Place periods on a line that stands for [from_us, to_us]; those too close to be told apart become one mark.

    Closed lies beneath, then no signal, then open: a short opening is never hidden by its surroundings.
    """
    placed: list[Mark] = []
    for state in (State.CLOSED, State.UNKNOWN, State.OPEN):
        shown = [p for p in found if p.state is state and p.to_us > from_us and p.from_us < to_us]
        placed += _line(shown, state, from_us, to_us)
    return placed


def _line(shown: Iterable[Period], state: State, from_us: int, to_us: int) -> list[Mark]:
    scale = 100 / (to_us - from_us)
    line: list[list[float]] = []  # left, right, of which true
    for p in shown:
        true = (min(p.to_us, to_us) - max(p.from_us, from_us)) * scale
        left = min((max(p.from_us, from_us) - from_us) * scale, 100 - MIN_WIDTH)
        right = left + max(true, MIN_WIDTH)
        if line and left - line[-1][1] < MIN_WIDTH / 2:
            line[-1] = [line[-1][0], max(line[-1][1], right), line[-1][2] + true]
        else:
            line.append([left, right, true])
    return [Mark(left=round(a, 3), width=round(b - a, 3), state=state, brief=true < BRIEF * (b - a)) for a, b, true in line]


def _between(before: Message, after: Message | None, holes: Sequence[tuple[int, int]], to_us: int) -> list[Period]:
    """Say what is known from one message to the next, or to the present."""
    start, end = before.t_us, after.t_us if after else to_us
    told = _state(before.is_open)
    holes = [h for h in holes if h[0] < end and h[1] > start and not (after and h[0] < start and end < h[1])]
    if not holes:
        agree = after is None or (after.is_open != after.edge) == before.is_open
        return [Period(from_us=start, to_us=end, state=told if agree else State.UNKNOWN)]
    first, last = max(holes[0][0], start), min(holes[-1][1], end)
    then = _state(after.is_open != after.edge) if after else State.UNKNOWN
    return [
        Period(from_us=start, to_us=first, state=told),
        Period(from_us=first, to_us=last, state=State.UNKNOWN),
        Period(from_us=last, to_us=end, state=then),
    ]


def _state(is_open: bool) -> State:
    return State.OPEN if is_open else State.CLOSED


def _join(gaps: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for a, b in sorted(gaps):
        if joined and a <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(b, joined[-1][1])
        else:
            joined.append((a, b))
    return joined


def _add(found: list[Period], from_us: int, to_us: int, state: State) -> None:
    if from_us >= to_us:
        return
    if found and found[-1].state is state:
        found[-1] = Period(from_us=found[-1].from_us, to_us=to_us, state=state)
    else:
        found.append(Period(from_us=from_us, to_us=to_us, state=state))
