"""Door contacts of other makes: Milesight's on LoRaWAN, an HA03 that posts a form over NB-IoT, one behind zigbee2mqtt 1.x.

One decision: a door is a door; they open, close, hang and fail as the Zigbee contact does, and only say it in other words.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

from firmware_sim.device import Input, Output, Step
from firmware_sim.milesight import uplink
from firmware_sim.zigbee import Zigbee2MqttDoor

SECOND_US = 1_000_000
FORM = "application/x-www-form-urlencoded"


class Zigbee1Door(Zigbee2MqttDoor):
    """A door behind zigbee2mqtt 1.x with its old forms: a bare word for availability, `last_seen` as a number."""

    def __init__(self, name: str, rng: Random, *, qos: int = 0, repeat_us: int | None = None) -> None:
        super().__init__(name, rng, qos=qos, repeat_us=repeat_us)
        self._available = False

    def update(self, now_us: int, inputs: Sequence[Input]) -> Step:
        """Say once that it can be reached."""
        outputs, again_us = super().update(now_us, inputs)
        if outputs and not self._available:
            self._available = True
            outputs.insert(0, Output(topic=f"{self._topic}/availability", payload=b"online", qos=1, retain=True))
        return outputs, again_us

    def _when(self, now_us: int) -> object:
        return now_us // 1000


class LoraDoor(Zigbee2MqttDoor):
    """A WS301 or EM300-MCS as ChirpStack v4 publishes it. session: as `MilesightCounter` has it."""

    link = "lora"

    def __init__(
        self, eui: str, rng: Random, session: int, *, qos: int = 0, repeat_us: int | None = None, model: str = "WS301"
    ) -> None:
        super().__init__(eui, rng, qos=qos, repeat_us=repeat_us)
        self.identity = f"lora/{eui}"
        self._model = model
        self._eui, self._address, self._frame = eui, session % 2**32, 0

    def _state(self, now_us: int, edge: bool) -> Output:
        self._said_us = now_us
        data = bytes([0x01, 0x75, self._battery])
        if self._model == "WS301":
            data += bytes([0x03, 0x00, int(self._open), 0x04, 0x00, int(bool(self._tamper))])
        else:  # 21.4 °C, 45.5 %
            data += bytes([0x03, 0x67, 0xD6, 0x00, 0x04, 0x68, 91, 0x06, 0x00, int(self._open)])
        frame, self._frame = self._frame, self._frame + 1
        observation = self._observed(now_us, edge)
        observation["key"] = (self._address << 31) | frame
        topic, envelope = uplink(self._eui, self._model, self._address, frame, data, now_us, self._rng)
        payload = json.dumps(envelope, separators=(",", ":")).encode()
        return Output(topic=topic, payload=payload, qos=self._qos, observation=observation)


class Ha03Door(Zigbee2MqttDoor):
    """An HA03; its clock shows whole seconds of `zone`."""

    def __init__(self, imei: str, rng: Random, *, zone: str, repeat_us: int | None = None) -> None:
        super().__init__(imei, rng, repeat_us=repeat_us)
        self.identity = self.link = f"ha03/{imei}"
        self._imei, self._zone = imei, ZoneInfo(zone)

    def _state(self, now_us: int, edge: bool) -> Output:
        now_us = now_us // SECOND_US * SECOND_US
        if self._said_us is not None:  # two states never share a second of its clock
            now_us = max(now_us, self._said_us + SECOND_US)
        self._said_us = now_us
        when = datetime.fromtimestamp(now_us // SECOND_US, UTC).astimezone(self._zone)
        form = {"data_type": "devicestatus", "imei": self._imei, "date_str": f"{when:%Y%m%d%H%M%S}"}
        form |= {"door_statu": str(int(self._open)), "power_type": "1", "csq": str(self._rng.randint(10, 31))}
        payload = urlencode(form).encode()
        return Output(topic="", payload=payload, content_type=FORM, observation=self._observed(now_us, edge))
