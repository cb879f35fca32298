"""An alert names the stored events it rests on, also where the rule looked at a span and kept no event of it."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection

from analytics.alerts import TRACED, apply_findings
from analytics.findings import Finding, Phase, Rule, Severity, SubjectKind
from gateway.clock import DAY_US, MINUTE_US, now_us
from gateway.events import Kind, Result
from tests.analytics.log import register
from tests.scenarios.day import COUNTER, DOOR, PLACE_OF, SHARD, SITE, TERMINAL, inputs

NOW = now_us() - DAY_US
GATEWAY, PERSON = 1, 41


def finding(rule: Rule, kind: SubjectKind, subject: int, **reason: Any) -> Finding:
    """What a rule says at NOW of the last half hour."""
    return Finding(
        shard=SHARD,
        rule=rule,
        subject_kind=kind,
        subject=subject,
        site=SITE,
        episode=NOW - 30 * MINUTE_US,
        phase=Phase.BEGIN,
        at_us=NOW,
        severity=Severity.MINOR,
        reason={"code": "no_activity", "sensors": 3, "limit_min": 30, "since_us": NOW - 30 * MINUTE_US} | reason,
    )


class Told:
    """A log with one frame of an event a minute, and what alerts name of it: (device, minutes before NOW)."""

    def __init__(self, conn: AsyncConnection[Any], db: psycopg.Connection[Any]) -> None:
        self.conn, self.db, self.stored = conn, db, 0

    def store(self, device: int, minutes_ago: int, *, person: int = 0, stranger: bool = False) -> None:
        """Store one event, or a passage at the terminal."""
        at = {"t": NOW - minutes_ago * MINUTE_US, "pos": NOW + self.stored, "n": self.stored, "device": device}
        at |= {"place": PLACE_OF[device], "shard": SHARD, "person": person, "gateway": GATEWAY}
        at |= {"result": Result.STRANGER if stranger else Result.ALLOWED, "kind": Kind.CONTACT}
        if device == TERMINAL:
            query = (
                "INSERT INTO passage (pos, t_us, raw_us, key, ordinal, device, place, person, lag_ms, shard, method, result, "
                "list_role, flags) VALUES (%(pos)s, %(t)s, 0, 0, 7, %(device)s, %(place)s, %(person)s, 0, %(shard)s, 0, "
                "%(result)s, 0, 0)"
            )
        else:
            query = (
                "INSERT INTO event (pos, t_us, raw_us, a, b, key, ordinal, device, place, lag_ms, d_in, d_out, shard, kind, "
                "aux, flags) VALUES (%(pos)s, %(t)s, 0, 1, 0, 0, 7, %(device)s, %(place)s, 0, 0, 0, %(shard)s, %(kind)s, 0, 0)"
            )
        self.db.execute(query, at)
        self.db.execute(
            "INSERT INTO frame (pos, shard, first, events, gateway, stream, seq, through_us) "
            "VALUES (%(pos)s, %(shard)s, 5, 9, %(gateway)s, 3, %(n)s, 0)",
            at,
        )
        self.stored += 1

    async def by(self, found: Finding) -> list[tuple[int, int]]:
        """Return what the alert of a finding names."""
        await apply_findings(self.conn, [found], NOW)
        ((named,),) = self.db.execute("SELECT evidence FROM alert").fetchall()
        query = (
            "SELECT e.device, e.t_us FROM frame f, LATERAL (SELECT device, t_us, pos, ordinal FROM event UNION ALL "
            "SELECT device, t_us, pos, ordinal FROM passage) e WHERE f.gateway = %s AND f.stream = %s AND f.seq = %s "
            "AND e.pos = f.pos AND e.ordinal = f.first + %s"
        )
        rows = [self.db.execute(query, key).fetchone() for key in named]
        return [(row[0], (NOW - row[1]) // MINUTE_US) for row in rows if row]


@pytest.fixture
async def told(dsn: str) -> AsyncIterator[Told]:
    with psycopg.connect(dsn, autocommit=True) as db:
        register(db, inputs({DOOR: 1, COUNTER: 1, TERMINAL: 1}), SHARD)
        async with await AsyncConnection.connect(dsn, autocommit=True) as conn:
            log = Told(conn, db)
            for device, ago in ((DOOR, 45), (COUNTER, 40), (TERMINAL, 35), (DOOR, 30), (COUNTER, 20), (COUNTER, 5)):
                log.store(device, ago)
            log.store(TERMINAL, 10, stranger=True)
            log.store(TERMINAL, 24 * 60 - 60, person=PERSON)
            yield log


async def test_a_silence_names_the_last_sign_of_life(told: Told) -> None:
    assert await told.by(finding(Rule.NO_ACTIVITY, SubjectKind.SITE, SITE)) == [(DOOR, 30)]


async def test_a_silent_device_names_its_own_last_message(told: Told) -> None:
    found = finding(Rule.DEVICE_OFFLINE, SubjectKind.DEVICE, COUNTER, since_us=NOW - 40 * MINUTE_US, alive_min=10)
    assert await told.by(found) == [(COUNTER, 40)]


async def test_an_unusual_count_names_what_was_counted_there(told: Told) -> None:
    span = {"from_us": NOW - 40 * MINUTE_US, "to_us": NOW - 5 * MINUTE_US}  # the end is not part of it
    found = finding(Rule.UNUSUAL_FOOTFALL, SubjectKind.PLACE, PLACE_OF[COUNTER], **span)
    assert await told.by(found) == [(COUNTER, 40), (COUNTER, 20)]


async def test_a_stuck_sensor_names_what_its_neighbours_said(told: Told) -> None:
    found = finding(Rule.STUCK, SubjectKind.DEVICE, DOOR, since_us=NOW - 21 * MINUTE_US)
    assert await told.by(found) == [(COUNTER, 20), (TERMINAL, 10), (COUNTER, 5)]


async def test_a_spike_of_strangers_names_the_strangers(told: Told) -> None:
    found = finding(Rule.STRANGER_SPIKE, SubjectKind.SITE, SITE, from_us=NOW - 60 * MINUTE_US, to_us=NOW)
    assert await told.by(found) == [(TERMINAL, 10)]


async def test_an_absent_resident_is_known_by_their_last_day(told: Told) -> None:
    found = replace(finding(Rule.RESIDENT_ABSENT, SubjectKind.PERSON, PERSON), episode=NOW)
    assert await told.by(found) == [(TERMINAL, 24 * 60 - 60)]


async def test_of_many_events_the_newest_are_named(told: Told) -> None:
    for n in range(TRACED):
        told.store(COUNTER, 19 - n % 10)
    found = finding(Rule.COUNTER_BLIND, SubjectKind.DEVICE, DOOR, since_us=NOW - 30 * MINUTE_US)
    named = await told.by(found)
    assert len(named) == TRACED
    assert (COUNTER, 5) in named
    assert (DOOR, 30) not in named
