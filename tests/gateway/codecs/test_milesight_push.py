"""Milesight's JSON push: exact bytes, and the exact events that follow, over MQTT and over HTTP."""

import json
from typing import Any

import pytest

from gateway.codecs.contract import Decoded, Message, Reply
from gateway.codecs.milesight_push import MilesightPush
from gateway.events import NO_FLAGS, Event, Flag, Kind

NOW = 1_790_000_000_000_000  # 22:13:20 in Shanghai
END = 1_789_999_980_000_000  # 22:13:00
COUNTER = "milesight/6771e2b490310007"
MQTT = "milesight/6771E2B490310007"
HTTP = "http/milesight/6771E2B490310007/"
REPORT = (
    b'{"device_info":{"cus_device_id":"","device_name":"hall","device_sn":"6771E2B490310007","device_mac":"24:E1:24:00:51:07",'
    b'"firmware_version":"V_133.1.0.9","ip_address":"192.0.2.7","running_time":7300},'
    b'"network_info":{"network_status":"true","cell_id":"34a1","lac":"77"},'
    b'"line_periodic_data":[{"line":1,"line_name":"in","total":{"in":3,"out":4},"group":{"in":1,"out":1}},'
    b'{"line":2,"line_name":"side","total":{"in":0,"out":1}}],'
    b'"line_total_data":[{"line":1,"line_name":"in","total":{"in_counted":262,"out_counted":250,"capacity_counted":12},'
    b'"group":{"in_counted":9,"out_counted":8}}],'
    b'"region_data":{"dwell_time_data":[{"avg_dwell_time":308367,"max_dwell_time":519934,"region":1}],'
    b'"region_count_data":[{"total":{"current_total":5},"region":2,"region_name":"hall"}]},'
    b'"time_info":{"dst_status":false,"enable_dst":true,"start_time":"2026-09-21T22:08:00+08:00",'
    b'"end_time":"2026-09-21T22:13:00+08:00","time_zone":"UTC+8:00 China Standard Time (CT/CST)"}}'
)
TRIGGER = (
    b'{"device_info":{"custom_device_id":"a","device_sn":"6771E2B490310007"},'
    b'"line_trigger_data":[{"line":1,"total":{"in":27,"out":27},"group":{"in":0,"out":0}}],'
    b'"time_info":{"trigger_time":"2026-09-21T22:13:00+08:00","time_zone":"UTC+8:00 China Standard Time (CT/CST)"}}'
)


def decode(payload: bytes, topic: str = MQTT) -> Decoded:
    return MilesightPush().decode(Message(topic=topic, payload=payload, received_us=NOW), {}, {})


def report(**changes: Any) -> bytes:
    return json.dumps(json.loads(REPORT) | changes).encode()


def timed(**times: Any) -> bytes:
    return report(time_info=times)


def event(kind: Kind, aux: int = 0, a: int = 0, b: int = 0, key: int = 0) -> Event:
    flags = Flag.HAS_KEY if key else NO_FLAGS
    return Event(device=COUNTER, kind=kind, aux=aux, a=a, b=b, key=key, flags=flags, t_us=END, received_us=NOW)


def test_totals_periods_and_regions_become_events_and_breakdowns_do_not() -> None:
    assert decode(REPORT) == Decoded(
        events=(
            event(Kind.COUNT_TOTAL, 1, 262, 250),
            event(Kind.COUNT_PERIOD, 1, 3, 4, key=END // 1_000_000),
            event(Kind.COUNT_PERIOD, 2, 0, 1, key=END // 1_000_000),
            event(Kind.OCCUPANCY, 2, 5),
        )
    )


def test_over_http_the_same_bytes_are_the_same_events_of_the_same_device_and_are_answered() -> None:
    decoded = decode(REPORT, HTTP)
    assert decoded.events == decode(REPORT).events
    assert decoded.replies == (Reply(topic=HTTP, payload=b"OK"),)


def test_a_trigger_report_is_a_sign_of_life_because_its_numbers_mean_two_things() -> None:
    assert decode(TRIGGER) == Decoded(events=(event(Kind.ALIVE),))


@pytest.mark.parametrize("key", ["time", "trigger_time"])
def test_a_trigger_says_its_time_in_either_of_two_fields(key: str) -> None:
    assert decode(TRIGGER.replace(b"trigger_time", key.encode())).events == (event(Kind.ALIVE),)


@pytest.mark.parametrize(
    "times",
    [
        {"end_time": "2026-09-21T22:13:00+08:00-00:00"},
        {"end_time": "2026-09-21T22:13:00-00:00", "time_zone": "UTC+8:00 China Standard Time (CT/CST)"},
        {"end_time": "2026-09-21 22:13:00"},
        {"end_time": "2026-09-21 14:13:00", "time_zone": "UTC-0:00 WET/GMT"},
        {"end_time": "2026-09-21T14:13:00Z", "time_zone": 8},
        {"end_time": "", "time": "2026-09-21T14:13:00Z"},
    ],
)
def test_every_way_in_which_firmware_writes_the_time_is_the_same_moment(times: dict[str, Any]) -> None:
    assert {(e.t_us, e.raw_us, e.flags & ~Flag.HAS_KEY) for e in decode(timed(**times)).events} == {(END, 0, NO_FLAGS)}


@pytest.mark.parametrize(("times", "raw_us"), [({}, -1), ({"end_time": "1970-01-01T08:00:09+08:00"}, 9_000_000)])
def test_a_counter_without_a_clock_keeps_its_counts(times: dict[str, Any], raw_us: int) -> None:
    events = decode(timed(**times)).events
    assert {(e.t_us, e.raw_us) for e in events} == {(NOW, raw_us)}
    assert [e.key for e in events] == [0, max(raw_us, 0) // 1_000_000, max(raw_us, 0) // 1_000_000, 0]


def test_a_report_sent_again_has_the_same_keys_and_the_next_window_has_others() -> None:
    again = timed(end_time="2026-09-21T22:13:10+08:00")
    assert {e.key for e in decode(REPORT).events}.isdisjoint({e.key for e in decode(again).events} - {0})


def test_an_empty_report_is_a_sign_of_life() -> None:
    payload = report(line_periodic_data=None, line_total_data=[], region_data={})
    assert [e.kind for e in decode(payload).events] == [Kind.ALIVE]


@pytest.mark.parametrize(
    ("payload", "topic", "reason"),
    [
        (REPORT, "milesight/6771E2B490310008", "bad_identity"),  # a counter speaks only as itself
        (REPORT, "milesight/", "bad_identity"),
        (REPORT, "http/milesight/hall/", "bad_identity"),
        (report(device_info={"device_sn": "a/b"}), "milesight/a/b", "bad_identity"),
        (report(device_info={}), MQTT, "bad_field"),
        (report(line_total_data=[{"line": 17, "total": {"in_counted": 1, "out_counted": 1}}]), MQTT, "bad_field"),
        (report(line_total_data=[{"line": 1, "total": {"in_counted": -1, "out_counted": 1}}]), MQTT, "bad_field"),
        (report(line_total_data=[{"line": 1, "total": {"in_counted": 2**32, "out_counted": 1}}]), MQTT, "bad_field"),
        (report(line_total_data=[{"line": 1, "total": {"in": 1, "out": 1}}]), MQTT, "bad_field"),
        (REPORT[:-1], MQTT, "bad_json"),
    ],
)
def test_what_cannot_be_read_is_rejected_with_a_stable_reason(payload: bytes, topic: str, reason: str) -> None:
    decoded = decode(payload, topic)
    assert decoded.events == ()
    assert decoded.reject is not None
    assert (decoded.reject.reason, decoded.reject.picture) == (reason, True)
    assert len(decoded.replies) == topic.startswith("http")
