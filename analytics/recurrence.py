"""Which alert a finding belongs to: its own, a new one, or one whose cause has just come back.

One decision: an alert ends at once when its cause is over for the first time. If the cause comes back within the rule's hold
time that is a new alert which `recurs` the old one, and from then on the end of an episode is waited out: the alert is calm,
stays active for the hold time, and every episode that begins in it is counted instead of raised. So whatever flaps makes two
alerts, and no alert that has ended is ever used again. An episode that begins while another of the same subject is going on
is a trouble of its own (two gateways of one site) and gets its own alert.
"""

from dataclasses import dataclass
from typing import Any

from analytics.findings import Finding, Phase
from analytics.lifecycle import ACTIVE, Action, Refusal, State, action_of, decide, hold_us


@dataclass(slots=True, kw_only=True)
class Draft:
    """An alert of one (rule, subject) on its way to the store.

    id: None while it is not stored. count: episodes. last_episode: the newest that it took up, None for its own. calm_us: its
    cause is over since, held. since_us: begin of the newest recurrence. what: the last change's word, "" for none; why: its
    code. at_us: event time of the end, None while active.
    """

    id: int | None = None
    version: int = 1
    state: State = State.OPEN
    episode: int
    last_episode: int | None = None
    count: int = 1
    calm_us: int | None = None
    since_us: int | None = None
    end_us: int | None = None
    severity: str
    reason: dict[str, Any]
    recurs: "Draft | int | None" = None
    first: Finding | None = None
    what: str = ""
    why: str = ""
    dropped: bool = False

    def act(self, action: Action, why: str = "") -> bool:
        """Change the state where that is allowed, and tell whether it is."""
        change = decide(self.state, action)
        if isinstance(change, Refusal):
            return False
        self.state, self.what, self.why = change.state, change.what, why
        return True

    def covers(self, episode: int) -> bool:
        """Tell whether an episode is known to this alert."""
        newest = self.episode if self.last_episode is None else self.last_episode
        return episode in (self.episode, newest) or (self.count > 1 and self.episode < episode < newest)


def follow(known: list[Draft], finding: Finding) -> None:
    """Apply a finding to the alerts of its (rule, subject), oldest first; a new alert is appended. A repeat changes nothing."""
    if finding.phase is Phase.BEGIN:
        _begin(known, finding)
        return
    draft = next((d for d in reversed(known) if finding.episode == (d.last_episode or d.episode)), None)
    if draft is None or draft.calm_us is not None or draft.state not in ACTIVE:
        return  # raised before the rule was watched, applied before, or people were faster
    ended = str(finding.reason.get("ended", ""))
    action = action_of(finding.phase, ended)
    if finding.phase is Phase.CONTINUE:
        if (str(finding.severity), finding.reason) != (draft.severity, draft.reason):
            draft.act(action)
    elif action is Action.RETRACT and draft.count > 1:
        draft.count -= 1
        _calm(draft, finding, ended)
        return
    elif action is Action.CLEAR and (draft.count > 1 or draft.recurs is not None):
        _calm(draft, finding, ended)
    elif draft.act(action, ended):
        draft.end_us = finding.at_us
        draft.dropped = draft.id is None and action is Action.RETRACT  # raised and disproved at once: it never was
    draft.severity, draft.reason = str(finding.severity), finding.reason


def _calm(draft: Draft, finding: Finding, why: str) -> None:
    if draft.act(Action.CALM, why):
        draft.calm_us = finding.at_us


def _begin(known: list[Draft], finding: Finding) -> None:
    if any(d.covers(finding.episode) for d in known if not d.dropped):
        return
    hold = hold_us(finding.rule)
    for draft in known:
        if draft.calm_us is None or draft.state not in ACTIVE:
            continue
        if finding.at_us - draft.calm_us <= hold:
            draft.act(Action.RECUR)
            draft.count, draft.last_episode, draft.calm_us, draft.since_us = draft.count + 1, finding.episode, None, finding.at_us
            draft.severity, draft.reason = str(finding.severity), finding.reason
            return
        settle(draft)
    cleared = [d for d in known if d.state is State.CLEARED and d.end_us is not None and abs(finding.at_us - d.end_us) <= hold]
    before = cleared[-1] if cleared else None
    known.append(
        Draft(
            episode=finding.episode,
            severity=str(finding.severity),
            reason=finding.reason,
            recurs=before.id if before and before.id else before,
            first=finding,
            what="opened",
        )
    )


def settle(draft: Draft) -> None:
    """End an alert that has been calm for its hold time, as of when its cause was over."""
    why = str(draft.reason.get("ended", ""))
    if draft.act(Action.CLEAR, why):
        draft.end_us, draft.calm_us = draft.calm_us, None
