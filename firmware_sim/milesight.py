"""Milesight people counters on LoRaWAN, as ChirpStack v4 publishes them.

One decision: the counter's session (devAddr) is that of the local day and its frame counter that of the report, so that a
simulator which starts again repeats reports rather than inventing others. Totals start again with the session.
"""

import base64
import json
import struct
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random

from firmware_sim.device import Fault, Input, Output, Pass, Report, Step, Trouble

APPLICATION = "7c0a5f0e-5d5e-4f4a-9f0e-3a1d6a2b9c41"


class MilesightCounter:
    """A counter with one line. report_us: reporting interval in microseconds, None only when told to `Report`."""

    link: str = "lora"

    def __init__(
        self, eui: str, rng: Random, session: int, *, qos: int = 0, report_us: int | None = None, model: str = "VS133"
    ) -> None:
        self.identity = f"lora/{eui}"
        self._model = model
        self._eui, self._rng, self._qos = eui, rng, qos
        self._address = session % 2**32
        self._report_us = report_us
        self._next_us: int | None = None
        self._frame = 0
        self._total, self._period = [0, 0], [0, 0]
        self._dead = self._blind = False
        self._misses_out = 0.0

    def update(self, now_us: int, inputs: Sequence[Input]) -> Step:
        """Count who passes; report totals and the period since the last report."""
        report = any(isinstance(one, Report) for one in inputs)
        for one in inputs:
            if isinstance(one, Fault):
                self._fault(one)
            elif isinstance(one, Pass) and not self._missed(one):
                self._total[not one.inward] += 1
                self._period[not one.inward] += 1
        if self._report_us is not None:
            if self._next_us is None:  # staggered within the interval
                self._next_us = now_us + self._rng.randrange(self._report_us)
            if now_us >= self._next_us:
                report = True
                self._next_us += self._report_us
        return ([self._uplink(now_us)] if report and not self._dead else []), self._next_us

    def _missed(self, one: Pass) -> bool:
        if self._dead or self._blind:
            return True
        return self._misses_out > 0 and not one.inward and self._rng.random() < self._misses_out

    def _fault(self, fault: Fault) -> None:
        match fault.trouble:
            case Trouble.DEAD:
                if self._dead and not fault.value:  # it joins anew and counts from nothing
                    self._address, self._frame = self._rng.getrandbits(32), 0
                    self._total, self._period = [0, 0], [0, 0]
                self._dead = bool(fault.value)
            case Trouble.BLIND:
                self._blind = bool(fault.value)
            case Trouble.MISSES_OUT:
                self._misses_out = fault.value

    def _uplink(self, now_us: int) -> Output:
        (total_in, total_out), (period_in, period_out) = self._total, self._period
        data = self._totals() + struct.pack("<BBHH", 0x05, 0xCC, period_in, period_out)
        self._period = [0, 0]
        frame, self._frame = self._frame, self._frame + 1
        observation = {
            "identity": self.identity,
            "kind": "count",
            "line": 1,
            "in": total_in,
            "out": total_out,
            "period_in": period_in,
            "period_out": period_out,
            "f_cnt": frame,
            "key": (self._address << 31) | frame,
            "t_us": now_us,
        }
        topic, envelope = uplink(self._eui, self._model, self._address, frame, data, now_us, self._rng)
        payload = json.dumps(envelope, separators=(",", ":")).encode()
        return Output(topic=topic, payload=payload, qos=self._qos, observation=observation)

    def _totals(self) -> bytes:
        """Say the totals as the model does, those of 16 bits after what it says besides."""
        total_in, total_out = self._total
        inside = max(0, total_in - total_out)
        short = struct.pack("<HH", total_in % 2**16, total_out % 2**16)
        match self._model:
            case "VS121":
                return bytes([0x04, 0xC9, min(inside, 255), 0, 0, 0, 0x0D, 0xCC]) + short
            case "VS350":
                return bytes([0x01, 0x75, 88, 0x04, 0xCC]) + short
            case "VS351":
                return bytes([0x84, 0xCC]) + short + bytes([int(inside > 40)])
        return struct.pack("<BBI", 0x03, 0xD2, total_in) + struct.pack("<BBI", 0x04, 0xD2, total_out)


def uplink(
    eui: str, model: str, address: int, frame: int, data: bytes, now_us: int, rng: Random
) -> tuple[str, dict[str, object]]:
    """Return topic and message in which ChirpStack v4 hands on what a Milesight device has sent."""
    when = datetime.fromtimestamp(now_us // 1_000_000, UTC)
    return f"application/{APPLICATION}/device/{eui}/event/up", {
        "deduplicationId": str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        "time": f"{when:%Y-%m-%dT%H:%M:%S}.{now_us % 1_000_000:06d}{rng.randrange(1000):03d}+00:00",
        "deviceInfo": {
            "applicationId": APPLICATION,
            "applicationName": "elder-care",
            "deviceProfileName": f"Milesight {model}",
            "deviceName": f"{'counter' if model.startswith('VS') else 'door'}-{eui[-4:]}",
            "devEui": eui,
            "tags": {"model": model},
        },
        "devAddr": f"{address:08x}",
        "adr": True,
        "dr": 5,
        "fCnt": frame,
        "fPort": 85,
        "confirmed": False,
        "data": base64.b64encode(data).decode(),
        "rxInfo": [{"gatewayId": "0016c001f1a2b3c4", "rssi": rng.randint(-110, -60), "snr": 8.5}],
    }
