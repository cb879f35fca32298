"""HA03 door contacts on NB-IoT: a form posted over HTTP, identity "ha03/<imei>".

One decision: the form is a whole state like zigbee2mqtt's, so edges come from memory; forms of other types say no state
that we know and count as signs of life.

    door_statu 1 open, 0 closed → CONTACT    power_type 0 low, 1 normal → FAULT on change
"""

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from gateway.codecs.contract import Decoded
from gateway.codecs.moment import UNREADABLE, place, read_iso
from gateway.codecs.payload import Unreadable
from gateway.codecs.posting import Post, Posting
from gateway.codecs.remembered import Remembered
from gateway.events import NO_FLAGS, Event, FaultCode, Flag, Kind

_DATE = re.compile(r"(\d{8})(\d{6})", re.ASCII)
_FIELDS = 60
_BITS = {"0": 0, "1": 1}


class Ha03(Posting):
    """The codec. zone: of the sensors' clocks, which do not say it."""

    family = "ha03"

    def read(self, post: Post) -> Decoded:
        """Read a form of this sensor."""
        last = Remembered(post.memory, post.device, post.message.deaf_us)
        form = _form(post.payload)
        if form.get("imei") != post.request.name:
            raise Unreadable("bad_identity", "")
        date = _DATE.fullmatch(form.get("date_str", ""))
        raw_us = read_iso(f"{date[1]}T{date[2]}", post.zone) if date else UNREADABLE
        events = _events(form, last, raw_us, post.received_us)
        return Decoded(events=tuple(events), memory=last.changes, replies=post.answer())


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
