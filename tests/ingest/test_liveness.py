"""Gateways are lost by their own silence, never by ours."""

from ingest.columns import Liveness
from ingest.liveness import Listener

NOW, S = 1_795_000_000_000_000, 1_000_000
LOST_S = 60


def run(listener: Listener, from_s: int, to_s: int, gateways: tuple[int, ...] = (1, 2)) -> list[tuple[int, int, bool]]:
    """Step every 3 s and commit. Returns (second, gateway, alive)."""
    found = []
    for s in range(from_s, to_s, 3):
        changes = listener.step(gateways, NOW + s * S)
        assert all(c == Liveness(gateway=c.gateway, alive=c.alive, at_us=NOW + s * S) for c in changes)
        listener.commit(changes)
        found += [(s, c.gateway, c.alive) for c in changes]
    return found


def test_a_silent_gateway_is_lost_once_and_back_once() -> None:
    listener = Listener(LOST_S * S, NOW)
    listener.heard(1, NOW + S)
    listener.heard(2, NOW + S)
    assert run(listener, 3, 60) == [(3, 1, True), (3, 2, True)]
    listener.heard(2, NOW + 59 * S)
    assert run(listener, 60, 90) == [(63, 1, False)]
    listener.heard(1, NOW + 89 * S)
    assert run(listener, 90, 111) == [(90, 1, True)]


def test_a_worker_that_starts_is_patient_with_everybody() -> None:
    listener = Listener(LOST_S * S, NOW)
    listener.load([(1, True), (2, False)])
    assert run(listener, 3, 60) == []
    assert run(listener, 60, 70, (1, 2, 3)) == [(63, 1, False), (63, 3, False)]


def test_a_machine_that_slept_loses_nobody() -> None:
    listener = Listener(LOST_S * S, NOW)
    listener.load([(1, True), (2, True)])
    assert run(listener, 3, 30) == []
    assert run(listener, 500, 559) == []
    assert run(listener, 560, 570) == [(563, 1, False), (563, 2, False)]


def test_a_lost_broker_restarts_everybodys_patience() -> None:
    listener = Listener(LOST_S * S, NOW)
    listener.load([(1, True), (2, True)])
    run(listener, 3, 57)
    listener.interrupted(NOW + 57 * S)
    assert run(listener, 57, 117) == []
    assert [g for _, g, _ in run(listener, 117, 125)] == [1, 2]


def test_a_gateway_heard_just_before_an_interruption_is_alive() -> None:
    listener = Listener(LOST_S * S, NOW)
    listener.heard(1, NOW + S)
    listener.interrupted(NOW + 2 * S)
    assert run(listener, 3, 9) == [(3, 1, True)]


def test_a_change_that_was_not_stored_is_told_again() -> None:
    listener = Listener(LOST_S * S, NOW)
    listener.heard(1, NOW)
    told = [[c.alive for c in listener.step([1], NOW + s * S)] for s in (3, 4, 6)]
    assert told == [[True], [], [True]]
