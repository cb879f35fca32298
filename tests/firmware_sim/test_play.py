"""A day of the town: consistent with itself, repeatable, and always with something to see."""

from collections import Counter
from typing import Any

from firmware_sim.habits import last_closing, open_until, visits
from firmware_sim.play import HELD_BEFORE_CLOSING_US, Demonstration, Play
from firmware_sim.town import build_town
from gateway.clock import HOUR_US, MINUTE_US
from gateway.codecs.contract import Message
from gateway.codecs.families import codecs
from gateway.events import Flag, Kind

NOON_US = 1_789_963_200_000_000  # 2026-09-21T04:00:00Z, 12:00 in Shanghai
NIGHT_US = 1_790_013_600_000_000  # 02:00 in Shanghai


def demonstration(now_us: int, from_us: int, seed: int = 1) -> Play:
    town = build_town(seed, 8, now_us)
    return Play(town, Demonstration(town, now_us), from_us=from_us)


def observed(now_us: int, from_us: int) -> list[dict[str, Any]]:
    play = demonstration(now_us, from_us)
    return [dict(one.output.observation or {}) for one in play.advance(now_us)]


def test_the_same_seed_says_the_same_bytes() -> None:
    def everything(seed: int) -> list[tuple[int, str, bytes]]:
        play = demonstration(NOON_US, NOON_US - HOUR_US, seed)
        return [(s.at_us, s.output.topic, s.output.payload) for s in play.advance(NOON_US)]

    assert everything(1) == everything(1)
    assert everything(1) != everything(2)


def test_a_simulator_that_starts_again_tells_the_same_past() -> None:
    """Counter reports are equal with their keys and totals: stored once, however often they are sent.

    All but those of the site that has just closed: its hours move with the present.
    """
    (held,) = [s for s in build_town(1, 8, NOON_US).sites() if s.held_open]

    def counted(now_us: int, from_us: int) -> list[dict[str, Any]]:
        return [o for o in observed(now_us, from_us) if o["kind"] == "count" and o["identity"] not in held.devices]

    first = counted(NOON_US, NOON_US - 2 * HOUR_US)
    again = counted(NOON_US + 10 * MINUTE_US, NOON_US - 110 * MINUTE_US)
    shared = [o for o in first if o["t_us"] >= NOON_US - 110 * MINUTE_US]
    assert shared
    assert [o for o in again if o["t_us"] <= NOON_US] == shared


def test_a_terminal_that_starts_again_gives_its_records_the_same_numbers() -> None:
    def waiting(now_us: int) -> dict[str, Any]:
        play = demonstration(now_us, NOON_US - HOUR_US)
        play.advance(now_us)
        play.go_live(now_us)
        held = next(s for s in play.town.sites() if s.held_open)
        return {t.identity: list(t._waiting) for t in play.terminals if t.identity not in held.devices}

    first, again = waiting(NOON_US), waiting(NOON_US + 10 * MINUTE_US)
    assert sum(map(len, first.values())) > 10
    assert all(records == again[name][: len(records)] for name, records in first.items())


def test_everyone_who_comes_in_is_counted_and_opens_the_door() -> None:
    said, now_us = observed(NOON_US, NOON_US - 12 * HOUR_US), NOON_US
    for site in build_town(1, 8, now_us).sites():
        counter = next((d for d in site.devices if d.startswith("lora/")), None)
        came = sum(len(visits(1, site, now_us - h * HOUR_US)) for h in range(1, 13))
        openings = [o for o in said if o["identity"] in site.devices and o["kind"] == "contact" and o["edge"] and o["open"]]
        assert bool(openings) == bool(came) or site.held_open
        if counter:
            totals = [o for o in said if o["identity"] == counter][-1]
            assert abs(totals["in"] - came) <= 2  # somebody is between the door and the next report
            assert 0 <= totals["in"] - totals["out"] <= totals["in"]


def test_nobody_comes_when_a_site_is_closed_and_some_come_by_night_where_it_is_not() -> None:
    town = build_town(1, 8, NIGHT_US)
    by_night = Counter({s.code: sum(len(visits(1, s, NIGHT_US + h * HOUR_US)) for h in range(4)) for s in town.sites()})
    open_now = {s.code for s in town.sites() if open_until(s, NIGHT_US)}
    assert set(+by_night) <= open_now
    assert sum(by_night.values()) > 0


def test_the_door_of_the_site_that_has_just_closed_was_opened_before_and_is_open_still() -> None:
    for now_us in (NOON_US, NIGHT_US, NIGHT_US + 22 * HOUR_US + 7 * MINUTE_US):
        town = build_town(1, 8, now_us)
        (held,) = [s for s in town.sites() if s.held_open]
        door = [o for o in observed(now_us, now_us - 2 * HOUR_US) if o["identity"] in held.devices and o["kind"] == "contact"]
        opened_us = last_closing(held, now_us) - HELD_BEFORE_CLOSING_US
        assert max(o["t_us"] for o in door if o["edge"]) == opened_us
        assert now_us - 57 * MINUTE_US - MINUTE_US < opened_us <= now_us - 52 * MINUTE_US
        assert door[-1]["open"]


def test_what_the_ledger_says_is_what_the_codecs_understand() -> None:
    """Two independent readings of the same bytes; golden bytes guard them against a common mistake."""
    play = demonstration(NOON_US, NOON_US - HOUR_US)
    memory: dict[str, int] = {}
    for said in play.advance(NOON_US):
        truth = said.output.observation
        (codec,) = [c for c in codecs() if c.matches(said.output.topic)]
        message = Message(topic=said.output.topic, payload=said.output.payload, received_us=NOON_US)
        decoded = codec.decode(message, memory, {})
        assert decoded.reject is None
        assert truth is not None
        first_sight = truth["identity"] not in memory
        memory |= decoded.memory
        event = next(e for e in decoded.events if e.kind in (Kind.CONTACT, Kind.COUNT_TOTAL))
        assert (event.device, event.t_us) == (truth["identity"], truth["t_us"])
        if event.kind is Kind.CONTACT:
            assert event.a == truth["open"]
            assert first_sight or truth["edge"] == (not event.flags & Flag.REPEAT)
        else:
            assert (event.a, event.b, event.key) == (truth["in"], truth["out"], truth["key"])


def test_every_door_says_its_state_at_least_every_twenty_seconds_once_the_simulator_is_live() -> None:
    play = demonstration(NOON_US, NOON_US)
    play.advance(NOON_US)
    play.go_live(NOON_US)
    for start_us in (NOON_US, NOON_US + 20_000_000, NOON_US + 40_000_000):
        said = {s.device.identity for s in play.advance(start_us + 20_000_000)}
        assert said >= {d.identity for d in play.devices if d.link == "z2m"}


def test_without_habits_a_door_says_its_state_when_it_is_switched_on_and_then_only_when_poked() -> None:
    play = Play(build_town(1, 8, NOON_US), None, from_us=NOON_US)
    said = [dict(s.output.observation or {}) for s in play.advance(NOON_US + HOUR_US)]
    assert [(o["kind"], o["edge"], o["t_us"]) for o in said] == [("contact", False, NOON_US)] * 8
    poked = [dict(s.output.observation or {}) for i in range(50) for s in play.poke(NOON_US + HOUR_US + i)]
    assert {o["kind"] for o in poked} == {"contact", "count"}  # terminals wait for their connection
    assert all(o["edge"] for o in poked if o["kind"] == "contact")
