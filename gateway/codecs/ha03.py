"""HA03 door contacts on NB-IoT: a form posted over HTTP, identity "ha03/<imei>".

One decision: the form is a whole state like zigbee2mqtt's, so edges come from memory; forms of other types say no state
that we know and count as signs of life.

    door_statu 1 open, 0 closed → CONTACT    power_type 0 low, 1 normal → FAULT on change
"""

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

from gateway.codecs.contract import Decoded, Message
from gateway.codecs.moment import UNREADABLE, place, read_iso
from gateway.codecs.payload import Unreadable
from gateway.codecs.remembered import Remembered
from gateway.codecs.request import answer, read_request
from gateway.codecs.terminal import reject
from gateway.events import NO_FLAGS, Event, FaultCode, Flag, Kind

_DATE = re.compile(r"(\d{8})(\d{6})", re.ASCII)
_FIELDS = 60
_BITS = {"0": 0, "1": 1}


class Ha03:
    """The codec. zone: of the sensors' clocks, which do not say it."""

    family = "ha03"
    topics: tuple[str, ...] = ()

    def __init__(self, zone: str = "Asia/Shanghai") -> None:
        self._zone = ZoneInfo(zone)

    def matches(self, topic: str) -> bool:
        """Tell whether the topic is a request by a sensor."""
        return read_request(topic, self.family) is not None

    def decode(self, message: Message, memory: Mapping[str, int], persons: Mapping[tuple[str, str], bytes]) -> Decoded:
        """Decode a form; one of another sensor or none at all is not answered."""
        request = read_request(message.topic, self.family)
        if request is None:
            return Decoded()
        last = Remembered(memory, request.device)
        try:
            form = _form(message.payload)
            if form.get("imei") != request.name:
                raise Unreadable("bad_identity", "")
            date = _DATE.fullmatch(form.get("date_str", ""))
            raw_us = read_iso(f"{date[1]}T{date[2]}", self._zone) if date else UNREADABLE
            events = _events(form, last, raw_us, message.received_us)
        except Unreadable as e:
            return Decoded(reject=reject(e.reason, message.payload))
        return Decoded(events=tuple(events), memory=last.changes, replies=(answer(message),))


def _form(payload: bytes) -> dict[str, str]:
    try:
        return dict(parse_qsl(payload.decode("ascii").strip(), max_num_fields=_FIELDS))
    except ValueError:
        raise Unreadable("bad_form", "") from None


def _events(form: Mapping[str, str], last: Remembered, raw_us: int, received_us: int) -> list[Event]:
    at = place(raw_us, received_us)
    events: list[Event] = []
    if form.get("data_type") == "devicestatus" and "door_statu" in form:
        state = _bit(form["door_statu"])
        key = at.t_us * 2 + state if at.own else 0
        events.append(last.contact(bool(state), at, Flag.HAS_KEY if key else NO_FLAGS, key))
    if "power_type" in form:
        low = 1 - _bit(form["power_type"])
        events += last.on_change(Kind.FAULT, "battery_low", low, at, aux=FaultCode.BATTERY_LOW)
    return events or [at.event(last.device, Kind.ALIVE)]


def _bit(text: str) -> int:
    if text not in _BITS:
        raise Unreadable("bad_field", "")
    return _BITS[text]
