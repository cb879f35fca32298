"""The life of an alert: open → acknowledged → resolved | cleared | retracted | expired, as a pure function.

One decision: what may happen is a table; everything else is refused by name, so that a person's click, a finding and a repeat
of either meet the same rules.
"""

from dataclasses import dataclass
from enum import StrEnum

from analytics.findings import Phase, Rule
from gateway.clock import MINUTE_US


class State(StrEnum):
    """States of an alert."""

    OPEN = "open"
    ACKNOWLEDGED = "acknowledged"
    RESOLVED = "resolved"
    CLEARED = "cleared"
    RETRACTED = "retracted"
    EXPIRED = "expired"


class Action(StrEnum):
    """What someone or something does to an alert."""

    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"
    ASSIGN = "assign"
    COMMENT = "comment"
    UPDATE = "update"
    RECUR = "recur"
    CALM = "calm"
    CLEAR = "clear"
    RETRACT = "retract"
    EXPIRE = "expire"
    UNREACHED = "unreached"


class Refusal(StrEnum):
    """Why an action changes nothing."""

    OVER = "over"
    """The alert has ended; a new episode will be a new alert."""
    ALREADY = "already"
    """Someone has acknowledged it already."""


ACTIVE = frozenset({State.OPEN, State.ACKNOWLEDGED})
ENDS = {
    Action.RESOLVE: State.RESOLVED,
    Action.CLEAR: State.CLEARED,
    Action.RETRACT: State.RETRACTED,
    Action.EXPIRE: State.EXPIRED,
}
WORDS = {
    Action.ACKNOWLEDGE: "acknowledged",
    Action.RESOLVE: "resolved",
    Action.ASSIGN: "assigned",
    Action.COMMENT: "commented",
    Action.UPDATE: "updated",
    Action.RECUR: "recurred",
    Action.CALM: "calmed",
    Action.CLEAR: "cleared",
    Action.RETRACT: "retracted",
    Action.EXPIRE: "expired",
    Action.UNREACHED: "unreached",
}
"""What alert_change.what and the pushed type say."""
HOLD_US = 10 * MINUTE_US
HOLDS = {Rule.DEVICE_OFFLINE: 30 * MINUTE_US}
"""Rules whose causes come and go more slowly than `HOLD_US`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """An action that is allowed leads here."""

    state: State
    what: str


def decide(state: State, action: Action) -> Change | Refusal:
    """Return what `action` makes of an alert in `state`. Acknowledging stops escalation, not the alert."""
    if state not in ACTIVE:
        return Refusal.OVER
    if action is Action.EXPIRE and state is State.ACKNOWLEDGED:  # someone acted: it is over, not missed
        action = Action.CLEAR
    if state is State.ACKNOWLEDGED and action in (Action.ACKNOWLEDGE, Action.UNREACHED):
        return Refusal.ALREADY
    if action is Action.ACKNOWLEDGE:
        return Change(state=State.ACKNOWLEDGED, what=WORDS[action])
    return Change(state=ENDS.get(action, state), what=WORDS[action])


def action_of(phase: Phase, ended: str) -> Action:
    """Return what a finding after its BEGIN asks for. An absence that nobody ended before its window closed has expired."""
    if phase is Phase.END:
        return Action.EXPIRE if ended in EXPIRES else Action.CLEAR
    return Action.RETRACT if phase is Phase.RETRACT else Action.UPDATE


def hold_us(rule: str) -> int:
    """Return the time within which a cause that comes back is the same trouble: the rule's hold time, in microseconds."""
    return next((hold for known, hold in HOLDS.items() if known == rule), HOLD_US)


EXPIRES = frozenset({"closing", "opening"})
