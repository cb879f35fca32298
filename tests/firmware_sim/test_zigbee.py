"""The simulated door contact says what zigbee2mqtt says."""

import json
from random import Random

from firmware_sim.device import Hold, Pass, Toggle
from firmware_sim.zigbee import Zigbee2MqttDoor

S = 1_000_000
T = 1_790_000_000 * S


def door(repeat_us: int | None = 20 * S, last_seen: bool = True) -> Zigbee2MqttDoor:
    return Zigbee2MqttDoor("康乐/前门", Random(1), repeat_us=repeat_us, last_seen=last_seen)


def test_a_publish_is_the_whole_cached_state() -> None:
    ((first,), call_us) = door().update(T + 250_999, [])
    assert first.topic == "zigbee2mqtt/康乐/前门"
    state = json.loads(first.payload)
    assert set(state) == {"battery", "contact", "device_temperature", "last_seen", "linkquality", "voltage"}
    assert (state["contact"], state["last_seen"]) == (True, "2026-09-21T14:13:20.250Z")
    assert first.observation == {
        "identity": "z2m/康乐/前门",
        "kind": "contact",
        "open": False,
        "edge": False,
        "t_us": T + 250_000,
    }
    assert call_us == T + 250_000 + 20 * S


def test_without_last_seen_there_is_no_time_at_all() -> None:
    ((first,), _) = door(last_seen=False).update(T, [])
    assert "last_seen" not in json.loads(first.payload)


def test_the_door_opens_when_somebody_passes_and_closes_after_the_last_one() -> None:
    d = door(repeat_us=None)
    d.update(T, [])
    opened, call_us = d.update(T + S, [Pass(inward=True, until_us=T + 5 * S)])
    assert [json.loads(o.payload)["contact"] for o in opened] == [False]
    assert call_us == T + 5 * S
    assert d.update(T + 3 * S, [Pass(inward=False, until_us=T + 9 * S)]) == ([], T + 9 * S)
    closed, call_us = d.update(T + 9 * S, [])
    assert [json.loads(o.payload)["contact"] for o in closed] == [True]
    assert call_us is None


def test_a_door_held_open_stays_open_and_says_so_again_and_again() -> None:
    d = door()
    d.update(T, [Hold()])
    d.update(T + S, [Pass(inward=True, until_us=T + 2 * S)])
    repeated, _ = d.update(T + 20 * S, [])
    assert [(json.loads(o.payload)["contact"], o.observation and o.observation["edge"]) for o in repeated] == [(False, False)]


def test_two_edges_in_one_millisecond_have_two_times() -> None:
    d = door(repeat_us=None)
    times = [json.loads(d.update(T + i, [Toggle()])[0][0].payload)["last_seen"] for i in range(3)]
    assert times == ["2026-09-21T14:13:20.000Z", "2026-09-21T14:13:20.001Z", "2026-09-21T14:13:20.002Z"]
