"""The simulated people counter says what a VS133 behind ChirpStack says."""

import base64
import json
from random import Random

from firmware_sim.device import Pass, Report
from firmware_sim.milesight import MilesightCounter

S = 1_000_000
T = 1_790_000_000 * S
EUI = "24e1240011223344"


def test_a_report_carries_totals_and_the_period_since_the_last_one() -> None:
    counter = MilesightCounter(EUI, Random(1), session=0x01A2B3C4)
    inward, outward = Pass(inward=True, until_us=T), Pass(inward=False, until_us=T)
    ((first,), call_us) = counter.update(T + 123_456, [inward, inward, outward, Report()])
    body = json.loads(first.payload)
    assert first.topic.endswith(f"/device/{EUI}/event/up")
    assert base64.b64decode(body["data"]).hex() == "03d202000000" + "04d201000000" + "05cc02000100"
    assert body["time"].startswith("2026-09-21T14:13:20.123456")
    assert len(body["time"]) == len("2026-09-21T14:13:20.123456789+00:00")
    assert (body["devAddr"], body["fCnt"], body["deviceInfo"]["devEui"]) == ("01a2b3c4", 0, EUI)
    assert first.observation is not None
    assert first.observation["key"] == 0x01A2B3C4 << 31
    assert call_us is None
    ((second,), _) = counter.update(T + S, [inward, Report()])
    assert base64.b64decode(json.loads(second.payload)["data"]).hex() == "03d203000000" + "04d201000000" + "05cc01000000"
    assert second.observation is not None
    assert second.observation["key"] == (0x01A2B3C4 << 31) + 1


def test_it_reports_once_an_interval_from_a_staggered_start() -> None:
    counter = MilesightCounter(EUI, Random(1), session=1, report_us=60 * S)
    outputs, first_us = counter.update(T, [])
    assert outputs == []
    assert first_us is not None
    assert T <= first_us < T + 60 * S
    outputs, second_us = counter.update(first_us, [])
    assert (len(outputs), second_us) == (1, first_us + 60 * S)
