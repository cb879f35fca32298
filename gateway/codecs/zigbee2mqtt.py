"""zigbee2mqtt: door contacts (and whatever else sits on the same bridge), identity "z2m/<friendly name>".

One decision: every publish is the whole cached state of the device, so nothing here is an event by itself; edges come
from comparing with memory. A retained message is a state from before: its contact carries `Flag.INFERRED`, unless it is no edge
and `last_seen` gives it its own time, and it is no sign of life. So is what a bridge repeats from its cache when it is back: a
change in it happened while nobody could hear it. A bridge that says that it is online was away, also if nobody was there to hear
it leave: the power fails for all of them.

    zigbee2mqtt/<name>               {"contact": true = closed, "battery": 93, "last_seen": …}
    zigbee2mqtt/<name>/availability  {"state": "online"}, or the bare word; empty when the device was renamed
    zigbee2mqtt/bridge/state         likewise; its offline is the bridge's last will
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC

import msgspec

from gateway.codecs.contract import BlindChange, Decoded, Message
from gateway.codecs.moment import UNREADABLE, Moment, place, read_iso
from gateway.codecs.payload import Unreadable, identity, read_json, rejected
from gateway.codecs.remembered import Remembered
from gateway.events import NO_FLAGS, Event, FaultCode, Flag, Kind

BASE = "zigbee2mqtt/"
SOURCE = "z2m/"


class _State(msgspec.Struct, frozen=True):
    """What we read of a device's cached state; absent and null are the same."""

    contact: bool | None = None
    battery: float | None = None
    battery_low: bool | None = None
    tamper: bool | None = None
    last_seen: int | float | str | None = None


class _Availability(msgspec.Struct, frozen=True):
    state: str


_states = msgspec.json.Decoder(_State)
_availabilities = msgspec.json.Decoder(_Availability)


class Zigbee2Mqtt:
    """The codec; it has no state and no settings."""

    family = "z2m"
    topics: tuple[str, ...] = ("zigbee2mqtt/#",)

    def matches(self, topic: str) -> bool:
        """Tell whether the topic is the bridge's or one of its devices'."""
        return topic.startswith(BASE)

    def decode(self, message: Message, memory: Mapping[str, int], persons: Mapping[tuple[str, str], bytes]) -> Decoded:
        """Decode a bridge's, an availability's or a device's message; commands to devices are not for us."""
        name = message.topic.removeprefix(BASE)
        try:
            if name.startswith("bridge/"):
                return _bridge(message, memory) if name == "bridge/state" else Decoded()
            if not message.payload or _is_command(name):
                return Decoded()
            if name.endswith("/availability"):
                return _availability(name.removesuffix("/availability"), message, memory)
            return _device(name, message, memory)
        except Unreadable as e:
            return rejected(e, message.payload)


def _is_command(name: str) -> bool:
    return any(word in ("set", "get") for word in name.split("/")[1:][-2:])


def _bridge(message: Message, memory: Mapping[str, int]) -> Decoded:
    online = _online(message.payload)
    last = Remembered(memory, SOURCE)
    known = last.get("bridge")
    away = known == 0 or (known is not None and not message.retained)
    last.put(int(online), "bridge")
    if online and away:
        last.put(message.received_us, "back")
    change = BlindChange(source=SOURCE, blind=not online, reason="" if online else "bridge_offline")
    return Decoded(blind=(change,), memory=last.changes)


def _unseen(last: Remembered, at: Moment, back_us: int) -> bool:
    """Tell whether a change in this state was missed while the bridge was away."""
    first = last.put(back_us, "back") if back_us else False
    return at.t_us < back_us if at.own else first


def _availability(name: str, message: Message, memory: Mapping[str, int]) -> Decoded:
    last = Remembered(memory, identity("z2m", name))
    flags = Flag.INFERRED if message.retained else NO_FLAGS
    event = last.link(_online(message.payload), place(None, message.received_us), flags)
    return Decoded(events=(event,), memory=last.changes)


def _online(payload: bytes) -> bool:
    # 1.x could send the bare word, 2.x always sends JSON.
    word = payload.decode("ascii", "replace").strip()
    if word not in ("online", "offline"):
        word = read_json(_availabilities, payload).state
    if word not in ("online", "offline"):
        raise Unreadable("bad_field", f"expected online or offline, got {len(word)} other characters")
    return word == "online"


def _device(name: str, message: Message, memory: Mapping[str, int]) -> Decoded:
    last = Remembered(memory, identity("z2m", name), message.deaf_us)
    state = read_json(_states, message.payload)
    at = place(_last_seen(state.last_seen), message.received_us)
    flags = Flag.INFERRED if message.retained and not at.own else NO_FLAGS
    events: list[Event] = []
    if state.contact is not None:
        key = at.t_us * 2 + (not state.contact) if at.own else 0  # one reception: a redelivery or a cache says it again
        event = last.contact(not state.contact, at, flags | Flag.HAS_KEY if key else flags, key)
        unseen = _unseen(last, at, memory.get(f"{SOURCE}#back", 0)) or message.retained
        if unseen and not event.flags & Flag.REPEAT:
            event = replace(event, flags=event.flags | Flag.INFERRED)
        events.append(event)
    if state.tamper is not None:
        events += last.on_change(Kind.TAMPER, "tamper", int(state.tamper), at, flags)
    if state.battery is not None:
        events += last.on_change(Kind.BATTERY, "battery", _percent(state.battery), at, flags)
    if state.battery_low is not None:
        events += last.on_change(Kind.FAULT, "battery_low", int(state.battery_low), at, flags, aux=FaultCode.BATTERY_LOW)
    if not events and not message.retained:
        events.append(_sign_of_life(last.device, at))
    return Decoded(events=tuple(events), memory=last.changes)


def _sign_of_life(device: str, at: Moment) -> Event:
    return at.event(device, Kind.ALIVE)


def _percent(battery: float) -> int:
    if not 0 <= battery <= 100:
        raise Unreadable("bad_field", "battery is a percentage between 0 and 100 - at `$.battery`")
    return round(battery)


def _last_seen(value: int | float | str | None) -> int | None:
    if value is None:
        return None
    if isinstance(value, str):
        return read_iso(value, UTC)
    return round(value * 1000) if abs(value) < 2**53 else UNREADABLE  # epoch is in milliseconds
