"""The verdict: set algebra of the devices' ledger, the database and the receivers' ledgers.

One decision: what should be is told by the ledgers alone, which were on disk before anything left; the system's own idea of
what happened is only what is compared.

    devices' ledger ─┬─ events ──── = ──── event, passage
                     └─ openings ── = ──── alert ── versions × endpoints ── = ── receivers' ledgers
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.events import Flag, Kind
from tests.e2e.stack import Stack

Observed = Counter[tuple[Any, ...]]
RULE = "opened_after_hours"
EXCUSED = {"monitoring_gap", "device_offline"}
"""Alerts about our own sight, which a campaign of faults may well cause."""


def expected(told: Iterable[Mapping[str, Any]]) -> Observed:
    """Return what the store must hold, once each: door states, door edges, counter readings and passages of the ledger."""
    rows: list[tuple[Any, ...]] = []
    for one in told:
        if one["kind"] == "contact":
            rows.append(("state", one["identity"], one["t_us"], int(one["open"])))
            if one["edge"]:
                rows.append(("edge", one["identity"], one["t_us"], int(one["open"])))
        elif one["kind"] == "count":
            rows.append(("count", one["identity"], one["key"], one["in"], one["out"]))
        elif one["kind"] == "passage":
            rows.append(("passage", one["identity"], one["key"]))
    return Counter(rows)


def stored(stack: Stack) -> Observed:
    """Return the same from the database."""
    doors = stack.rows(
        "SELECT identity, t_us, a, flags FROM event JOIN device ON device.id = event.device WHERE kind = %s", Kind.CONTACT
    )
    counts = stack.rows(
        "SELECT identity, key, a, b FROM event JOIN device ON device.id = event.device WHERE kind = %s", Kind.COUNT_TOTAL
    )
    passages = stack.rows("SELECT identity, key FROM passage JOIN device ON device.id = passage.device")
    rows = [("state", *r[:3]) for r in doors] + [("edge", *r[:3]) for r in doors if not r[3] & Flag.REPEAT]
    return Counter(rows + [("count", *r) for r in counts] + [("passage", *r) for r in passages])


@dataclass(slots=True, kw_only=True)
class Alerts:
    """Alerts against the openings of doors that the devices know of: (site, time)."""

    expected: int = 0
    missing: list[tuple[str, int]] = field(default_factory=list)
    twice: list[tuple[str, int]] = field(default_factory=list)
    false: list[tuple[str, str, int]] = field(default_factory=list)
    unended: list[tuple[str, int]] = field(default_factory=list)


def judge_alerts(stack: Stack, told: Iterable[Mapping[str, Any]], site_of: Mapping[str, str]) -> Alerts:
    """Each opening of a watched door is an episode of its own; site_of: the watched doors' sites, by identity."""
    openings = Counter(
        (site_of[one["identity"]], one["t_us"]) for one in told if one.get("edge") and one["open"] and one["identity"] in site_of
    )
    rows = stack.rows("SELECT a.rule, s.code, a.begin_us, a.state FROM alert a LEFT JOIN site s ON s.id = a.site")
    raised = Counter((site, begin_us) for rule, site, begin_us, _ in rows if rule == RULE)
    return Alerts(
        expected=len(openings),
        missing=sorted(openings.keys() - raised.keys()),
        twice=sorted(key for key, times in raised.items() if times > 1),
        false=[(r, s, t) for r, s, t, _ in rows if r not in EXCUSED and (r != RULE or (s, t) not in openings)],
        unended=[(s, t) for r, s, t, state in rows if r == RULE and state in ("open", "acknowledged")],
    )


@dataclass(slots=True, kw_only=True)
class Deliveries:
    """Versions of alerts against what one receiver has written down."""

    versions: int = 0
    delivered: int = 0
    superseded: int = 0
    dead: int = 0
    lost: list[tuple[int, int, str]] = field(default_factory=list)
    disordered: list[tuple[int, list[int]]] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)


def _died_later(states: Mapping[tuple[int, int], str], alert: int, version: int) -> bool:
    return any(state == "dead" and a == alert and v > version for (a, v), state in states.items())


def judge_deliveries(stack: Stack, endpoint: str, received: Iterable[Mapping[str, Any]], owed: bool = True) -> Deliveries:
    """Every version is taken by the receiver, replaced by a newer one that was, or a dead letter; in order for each alert.

    `received`: the receiver's entries in order, "taken" where it answered that it has taken the version. owed: every version
    is due to the receiver; not to one that has said for a while that it wants no more (410).
    """
    found = Deliveries()
    taken: defaultdict[int, set[int]] = defaultdict(set)
    seen: defaultdict[int, list[int]] = defaultdict(list)
    bodies: dict[str, str] = {}
    for entry in received:
        alert, version = entry["alert_id"], entry["version"]
        seen[alert].append(version)
        if entry["taken"]:
            taken[alert].add(version)
        if bodies.setdefault(entry["webhook_id"], entry["sha256"]) != entry["sha256"]:
            found.changed.append(entry["webhook_id"])
    states: dict[tuple[int, int], str] = {
        (alert, version): state
        for alert, version, state in stack.rows(
            "SELECT o.alert, o.version, o.state FROM outbox o JOIN endpoint e ON e.id = o.endpoint WHERE e.name = %s", endpoint
        )
    }
    for alert, version in stack.rows("SELECT alert, version FROM alert_change"):
        state = states.get((alert, version), "not in the outbox")
        if state == "not in the outbox" and not owed:
            continue
        newer = not owed or max(taken[alert], default=0) > version or _died_later(states, alert, version)
        found.versions += 1
        found.delivered += state == "delivered"
        found.superseded += state == "superseded"
        found.dead += state == "dead"
        kept = {"delivered": version in taken[alert], "superseded": newer, "dead": True}
        if not kept.get(state, False):
            found.lost.append((alert, version, state))
    found.disordered = [(alert, versions) for alert, versions in seen.items() if versions != sorted(versions)]
    return found
