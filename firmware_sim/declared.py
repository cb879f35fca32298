"""Devices that no codec knows and a mapping declares (`mapping.yaml`): a 4G door over MQTT, and equipment made for ThingsBoard.

One decision: they say what the others say, in words of their own; their clocks show milliseconds.
"""

import json
from random import Random

from firmware_sim.device import Output
from firmware_sim.milesight import MilesightCounter
from firmware_sim.posting import JSON
from firmware_sim.zigbee import MILLISECOND_US, Zigbee2MqttDoor

LINK = "declared"
"""Those that speak MQTT share a connection."""
TB_GATEWAY = "site7"
"""The ThingsBoard gateway that speaks for the counters behind it."""


class MappedDoor(Zigbee2MqttDoor):
    """A door contact with a SIM card."""

    link = LINK

    def __init__(self, name: str, rng: Random, *, qos: int = 0, repeat_us: int | None = None) -> None:
        super().__init__(name, rng, qos=qos, repeat_us=repeat_us)
        self.identity = f"door4g/{name}"
        self._name = name

    def _state(self, now_us: int, edge: bool) -> Output:
        now_us = self._own(now_us)
        cover = "off" if self._tamper else "on"
        said = {"ts": now_us // MILLISECOND_US, "open": self._open, "cover": cover, "batt": self._battery / 100}
        topic = f"door4g/{self._name}/state"
        return Output(topic=topic, payload=json.dumps(said).encode(), qos=self._qos, observation=self._observed(now_us, edge))


class ThingsBoardDoor(Zigbee2MqttDoor):
    """A door contact that posts to ThingsBoard's device API."""

    def __init__(self, name: str, rng: Random, *, repeat_us: int | None = None) -> None:
        super().__init__(name, rng, repeat_us=repeat_us)
        self.identity = self.link = f"tb/{name}"

    def _state(self, now_us: int, edge: bool) -> Output:
        now_us = self._own(now_us)
        values = {"contact": not self._open, "batteryLevel": self._battery}
        payload = json.dumps({"ts": now_us // MILLISECOND_US, "values": values}).encode()
        return Output(topic="/telemetry", payload=payload, content_type=JSON, observation=self._observed(now_us, edge))


class ThingsBoardCounter(MilesightCounter):
    """A counter behind a gateway that was set up for ThingsBoard."""

    link = LINK

    def __init__(self, name: str, rng: Random, *, qos: int = 0, report_us: int | None = None) -> None:
        super().__init__(name, rng, 0, qos=qos, report_us=report_us)
        self.identity = f"tb/{TB_GATEWAY}/{name}"
        self._name = name

    def _uplink(self, now_us: int) -> Output:
        (total_in, total_out), self._period = self._total, [0, 0]
        now_us = now_us // MILLISECOND_US * MILLISECOND_US
        said = {self._name: [{"ts": now_us // MILLISECOND_US, "values": {"enter": total_in, "leave": total_out}}]}
        observation = {"identity": self.identity, "kind": "count", "line": 1, "in": total_in, "out": total_out, "t_us": now_us}
        topic = f"tb/{TB_GATEWAY}/v1/gateway/telemetry"
        return Output(topic=topic, payload=json.dumps(said).encode(), qos=self._qos, observation=observation)
