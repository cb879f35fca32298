"""What the page shows of a site: its state, its next deadline, its doors and the newest activity.

One decision: it is derived from the engine's memory alone and may be written late or not at all; alerts colour it in the
database, where people act on them.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from analytics import evening
from analytics.findings import Rule
from analytics.inactivity import deadline
from analytics.occupancy import OCCUPANCY, ONE
from analytics.recent import newest
from analytics.residents import RESIDENTS
from analytics.rules import minutes
from analytics.state import NEVER, Memory
from analytics.town import Site, Town
from gateway.events import MAX_TIME_US

AWAITED = 5
"""Residents whose deadline is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteStatus:
    """A row of site_status before alerts are looked at. base: "ok", "closed" or "unknown"."""

    site: int
    base: str
    clock_us: int
    next_rule: str
    next_deadline_us: int | None
    today_in: int
    today_passages: int
    last_event_us: int | None
    detail: dict[str, Any]


def site_status(memory: Memory, town: Town, site: Site) -> SiteStatus:
    """Say how a site stands at its clock."""
    state = memory.sites[site.row]
    clock = int(state["clock"])
    started = state["started"] != NEVER
    dues = _dues(memory, town, site, clock) if started else []
    deadline, rule = min(dues, default=(None, ""))
    base = "unknown"
    if started:
        is_open = not site.calendar.has_hours or site.calendar.at(clock) is not None
        base = "ok" if is_open else "closed"
    return SiteStatus(
        site=site.input.id,
        base=base,
        clock_us=clock,
        next_rule=str(rule),
        next_deadline_us=deadline,
        today_in=int(state["today_in"]),
        today_passages=int(state["today_passages"]),
        last_event_us=int(state["last_event"]) or None,
        detail={
            "base": base,
            "places": [_place(memory, town, site, p.id) for p in site.places],
            "recent": newest(memory, site.row),
            "deadlines": _first(dues + _silent(memory, site, clock)),
            "awaited": _awaited(memory, town, site, clock) if started else [],
            **_people(memory, town, site, clock),
        },
    )


def _dues(memory: Memory, town: Town, site: Site, clock: int) -> list[tuple[int, Rule]]:
    """Return the pending deadlines of the rules about silence and doors."""
    dues: list[tuple[int, Rule]] = []
    if not site.calendar.has_hours or not site.sensors:
        return dues
    state, rules = memory.sites[site.row], site.rules
    told = {r.rule for r in memory.records.get(site.input.id, ())}
    for w in site.calendar.around(clock):
        opened = w.opens_us + minutes(rules.not_opened.grace_min)
        since = w.opens_us - minutes(rules.not_opened.before_min)
        if w.first and clock < opened < w.closes_us and state["last_act"] < since:
            dues.append((opened, Rule.NOT_OPENED))
        left = w.closes_us + minutes(rules.left_open.after_min)
        if clock < left and w.closes_us < MAX_TIME_US and any(memory.devices["door"][d] == 1 for d in site.sensors):
            dues.append((left, Rule.LEFT_OPEN))
        if w.opens_us <= clock < w.closes_us and not told & {Rule.NOT_OPENED, Rule.NO_ACTIVITY}:
            base = max(w.opens_us, int(state["last_act"]), int(state["started"]))
            quiet = deadline(memory, town, site, base).due_us
            if clock < quiet < w.closes_us:
                dues.append((quiet, Rule.NO_ACTIVITY))
        early = evening.deadline(memory, site, clock) if w.opens_us <= clock < w.closes_us else NEVER
        if clock < early < NEVER and evening.unusual_us(memory, site, w.opens_us) is not None:
            dues.append((early, Rule.CLOSED_EARLY))
    stay, inside = memory.tables[OCCUPANCY.name][["stay_from", "inside"]][site.row]
    if clock < stay < NEVER and inside >= ONE * rules.people_after_closing.people and town.counted[site.row]:
        dues.append((int(stay), Rule.PEOPLE_AFTER_CLOSING))
    return dues


def _first(dues: list[tuple[int, Rule]]) -> list[dict[str, Any]]:
    """Return the nearest deadline of each rule, nearest first."""
    nearest = {rule: due for due, rule in sorted(dues, reverse=True)}
    return [{"rule": str(rule), "due_us": due} for rule, due in sorted(nearest.items(), key=lambda item: item[1])]


def _silent(memory: Memory, site: Site, clock: int) -> list[tuple[int, Rule]]:
    """Return when the first of the devices that are heard now is offline if it says no more."""
    devices = memory.devices.take(site.devices)
    due = np.maximum(devices["heard"], devices["mounted"]) + devices["patience"]
    due = due[(devices["heard"] > 0) & ~devices["offline"] & (devices["link_off"] == 0) & (due > clock)]
    return [(int(due.min()), Rule.DEVICE_OFFLINE)] if len(due) else []


def _awaited(memory: Memory, town: Town, site: Site, clock: int) -> list[dict[str, int]]:
    """Say of which residents something is said next if they come no more, and when; the first few. No names."""
    people, table = town.people, memory.tables[RESIDENTS.name]
    due, mine = table["due"], np.flatnonzero(people.site == site.row)
    rows = mine[(due[mine] > clock) & (due[mine] < NEVER) & (table["back"][mine].min(1) == NEVER)]  # they have come since
    first = rows[np.argsort(due[rows], kind="stable")][:AWAITED]
    return [{"person": people.residents[p].id, "due_us": int(due[p])} for p in first.tolist()]


def _people(memory: Memory, town: Town, site: Site, clock: int) -> dict[str, Any]:
    """Say how many are inside (None: nobody counts them), and what is still being learned: rule → days known, days needed."""
    o = memory.tables[OCCUPANCY.name][site.row]
    days, needed = evening.habit(memory, site, clock)[0], site.rules.closed_early.days
    return {
        "inside": round(int(o["inside"]) / ONE) if town.counted[site.row] else None,
        "inside_unsure": bool(o["unsure"] < NEVER),
        "learning": {Rule.CLOSED_EARLY: [round(days), round(needed)]} if days < needed else {},
    }


def _place(memory: Memory, town: Town, site: Site, place: int) -> dict[str, Any]:
    """Say what the sensors of a place show; a place with a silent sensor is not "closed" but "offline"."""
    rows = [d for d in site.devices if town.devices[d].place == place]
    found = town.places[place]
    shown: dict[str, Any] = {"id": place, "name": found.name, "name_en": found.name_en, "room": found.room}
    if not rows:
        return shown | {"family": "", "state": "none", "since_us": None, "last_us": None}
    d = max(rows, key=lambda row: int(memory.devices["heard"][row]))
    device = memory.devices[d]
    family = town.devices[d].family
    since = int(device["door_since"] if family == "door" else device["act"])
    state = {1: "open", 0: "closed"}.get(int(device["door"]), "unknown") if family == "door" else "online"
    if device["offline"]:
        state = "offline"
    elif not device["heard"]:
        state = "unknown"
    return shown | {"family": family, "state": state, "since_us": since or None, "last_us": int(device["heard"]) or None}
