"""The life of an alert as a table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.findings import Phase
from analytics.lifecycle import ACTIVE, Action, Change, Refusal, State, action_of, decide

ENDED = [State.RESOLVED, State.CLEARED, State.RETRACTED, State.EXPIRED]


@pytest.mark.parametrize(
    ("state", "action", "to"),
    [
        (State.OPEN, Action.ACKNOWLEDGE, State.ACKNOWLEDGED),
        (State.OPEN, Action.RESOLVE, State.RESOLVED),
        (State.OPEN, Action.CLEAR, State.CLEARED),
        (State.OPEN, Action.RETRACT, State.RETRACTED),
        (State.OPEN, Action.EXPIRE, State.EXPIRED),
        (State.OPEN, Action.UPDATE, State.OPEN),
        (State.ACKNOWLEDGED, Action.RESOLVE, State.RESOLVED),
        (State.ACKNOWLEDGED, Action.CLEAR, State.CLEARED),
        (State.ACKNOWLEDGED, Action.EXPIRE, State.CLEARED),
        (State.ACKNOWLEDGED, Action.UPDATE, State.ACKNOWLEDGED),
    ],
)
def test_what_is_allowed_leads_to(state: State, action: Action, to: State) -> None:
    change = decide(state, action)
    assert isinstance(change, Change)
    assert change.state is to


@pytest.mark.parametrize("state", ENDED)
@pytest.mark.parametrize("action", list(Action))
def test_nothing_changes_what_is_over(state: State, action: Action) -> None:
    assert decide(state, action) is Refusal.OVER


def test_it_is_acknowledged_once() -> None:
    assert decide(State.ACKNOWLEDGED, Action.ACKNOWLEDGE) is Refusal.ALREADY


@given(st.lists(st.sampled_from(list(Action)), max_size=20))
def test_any_run_of_actions_ends_at_most_once(actions: list[Action]) -> None:
    state, ends = State.OPEN, 0
    for action in actions:
        change = decide(state, action)
        if isinstance(change, Change):
            ends += change.state not in ACTIVE
            state = change.state
    assert ends <= 1


def test_findings_ask_for_actions() -> None:
    assert action_of(Phase.END, "activity") is Action.CLEAR
    assert action_of(Phase.END, "closing") is Action.EXPIRE
    assert action_of(Phase.RETRACT, "closure") is Action.RETRACT
    assert action_of(Phase.CONTINUE, "") is Action.UPDATE
