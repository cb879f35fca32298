"""Zigbee door contacts behind zigbee2mqtt: every publish is the whole cached state, with `last_seen` if asked for.

One decision: the bridge's last will and its birth are the connection's affair (`BRIDGE_OFFLINE`, `BRIDGE_ONLINE`), as in
the real bridge; the door knows only its magnet. `Bridge` is for a scenario in which the bridge itself goes away.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from random import Random

from firmware_sim.device import Connected, Fault, Hold, Input, Output, Pass, Step, Toggle, Trouble

BRIDGE_STATE = "zigbee2mqtt/bridge/state"
BRIDGE_ONLINE = Output(topic=BRIDGE_STATE, payload=b'{"state":"online"}', qos=1, retain=True)
BRIDGE_OFFLINE = Output(topic=BRIDGE_STATE, payload=b'{"state":"offline"}', qos=1, retain=True)
MILLISECOND_US = 1000


class Bridge:
    """The zigbee2mqtt of one gateway, as far as it says that it is there."""

    link = "z2m"

    def __init__(self, gateway: str) -> None:
        self.identity = f"bridge/{gateway}"

    def update(self, now_us: int, inputs: Sequence[Input]) -> Step:
        """Say whether it is there, each time that changes."""
        return [BRIDGE_ONLINE if one.up else BRIDGE_OFFLINE for one in inputs if isinstance(one, Connected)], None


class Zigbee2MqttDoor:
    """A door contact. repeat_us: how often the bridge repeats the cached state, None never."""

    link: str = "z2m"

    def __init__(self, name: str, rng: Random, *, qos: int = 0, last_seen: bool = True, repeat_us: int | None = None) -> None:
        self.identity = f"z2m/{name}"
        self.repeat_us = repeat_us
        self._topic = f"zigbee2mqtt/{name}"
        self._rng, self._qos, self._last_seen = rng, qos, last_seen
        self._battery, self._open, self._held = rng.randint(60, 100), False, False
        self._close_us = 0
        self._said_us: int | None = None
        self._dead = self._stuck = False
        self._tamper: bool | None = None  # the bridge's cache has it once the sensor has said it

    def update(self, now_us: int, inputs: Sequence[Input]) -> Step:
        """Open and close as people pass; repeat the state when it is time."""
        was, toggles, news = self._open, 0, False
        for one in inputs:
            if isinstance(one, Fault):
                news |= self._fault(one)
            elif self._stuck:
                continue
            elif isinstance(one, Pass):
                self._open, self._close_us = True, max(self._close_us, one.until_us)
            elif isinstance(one, Hold):
                self._open = self._held = one.open
                self._close_us = now_us
            elif isinstance(one, Toggle):
                toggles += 1
        if toggles % 2:
            self._open = self._held = not self._open
        elif self._open and not (self._held or self._stuck) and now_us >= self._close_us:
            self._open = False
        edge = self._open != was
        due = news or self._said_us is None or (self.repeat_us is not None and now_us >= self._said_us + self.repeat_us)
        outputs = [self._state(now_us, edge)] if edge or due else []
        if self._dead:
            outputs = []
        calls = [] if self.repeat_us is None or self._said_us is None else [self._said_us + self.repeat_us]
        if self._open and not (self._held or self._stuck):
            calls.append(self._close_us)
        return outputs, min(calls, default=None)

    def _fault(self, fault: Fault) -> bool:
        """Take it; tell whether the sensor reports at once."""
        match fault.trouble:
            case Trouble.DEAD:
                self._dead = bool(fault.value)
            case Trouble.STUCK:
                self._stuck = bool(fault.value)
            case Trouble.BATTERY:
                self._battery = round(fault.value)
            case Trouble.TAMPER:
                self._tamper = bool(fault.value)
        return fault.trouble in (Trouble.TAMPER, Trouble.BATTERY)

    def _state(self, now_us: int, edge: bool) -> Output:
        now_us = self._own(now_us)
        state: dict[str, object] = {
            "battery": self._battery,
            "contact": not self._open,
            "device_temperature": self._rng.randint(14, 29),
            "linkquality": self._rng.randint(60, 200),
            "voltage": 2500 + 5 * self._battery,
        }
        if self._tamper is not None:
            state["tamper"] = self._tamper
        if self._last_seen:
            state["last_seen"] = self._when(now_us)
        payload = json.dumps(state, separators=(",", ":"), sort_keys=True).encode()
        return Output(topic=self._topic, payload=payload, qos=self._qos, observation=self._observed(now_us, edge))

    def _own(self, now_us: int) -> int:
        """Return the time as it says it: in milliseconds, and two frames of one device never share one."""
        now_us = now_us // MILLISECOND_US * MILLISECOND_US
        if self._said_us is not None:
            now_us = max(now_us, self._said_us + MILLISECOND_US)
        self._said_us = now_us
        return now_us

    def _observed(self, now_us: int, edge: bool) -> dict[str, object]:
        return {"identity": self.identity, "kind": "contact", "open": self._open, "edge": edge, "t_us": now_us}

    def _when(self, now_us: int) -> object:
        when = datetime.fromtimestamp(now_us // 1_000_000, UTC)
        return f"{when:%Y-%m-%dT%H:%M:%S}.{now_us // 1000 % 1000:03d}Z"
