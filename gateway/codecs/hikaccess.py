"""Hikvision access terminals: AccessControllerEvent posted to an HTTP host, identity "hikaccess/<name>".

One decision: of a multipart body only parts that are whole JSON are read, wherever the body was cut off, and a terminal
is answered as soon as its event could be read: the picture behind it was not wanted.

    major 5, a minor of the table below → PASSAGE, key = serialNo; currentEvent false → LATE
    any other event, heartBeat          → ALIVE
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from gateway.codecs.contract import Decoded, Message
from gateway.codecs.moment import place, read_wall
from gateway.codecs.multipart import parts
from gateway.codecs.payload import Unreadable, read_json
from gateway.codecs.request import answer, read_request
from gateway.codecs.terminal import Persons, integer, local_id, reject
from gateway.events import NO_FLAGS, Event, Flag, Kind, Method, Result

_PASSAGES = {
    1: (Method.CARD, Result.ALLOWED),
    9: (Method.CARD, Result.STRANGER),
    38: (Method.FINGERPRINT, Result.ALLOWED),
    75: (Method.FACE, Result.ALLOWED),
    76: (Method.FACE, Result.STRANGER),
    77: (Method.FACE, Result.ALLOWED),
    80: (Method.FACE, Result.STRANGER),
}
"""Minor types of major 5: card, unknown card, fingerprint, face, face not known, employee number and face, no face found."""


class _Record(msgspec.Struct, frozen=True):
    """All that is ever read of a record; `name`, card numbers and pictures are skipped by the parser."""

    majorEventType: Any = None  # noqa: N815 - the protocol's names
    subEventType: Any = None  # noqa: N815
    major: Any = None
    minor: Any = None
    serialNo: Any = None  # noqa: N815
    employeeNoString: Any = None  # noqa: N815
    employeeNo: Any = None  # noqa: N815
    currentEvent: Any = None  # noqa: N815


class _Alert(msgspec.Struct, frozen=True):
    """The alert; some firmware wraps it once more, some calls the record AcsEvent."""

    eventType: Any = None  # noqa: N815
    dateTime: Any = None  # noqa: N815
    AccessControllerEvent: _Record | None = None
    AcsEvent: _Record | None = None
    EventNotificationAlert: "_Alert | None" = None


_alerts = msgspec.json.Decoder(_Alert)


class HikAccess:
    """The codec. zone: of terminals whose times have no offset."""

    family = "hikaccess"
    topics: tuple[str, ...] = ()

    def __init__(self, zone: str = "Asia/Shanghai") -> None:
        self._zone = ZoneInfo(zone)

    def matches(self, topic: str) -> bool:
        """Tell whether the topic is a request by a terminal."""
        return read_request(topic, self.family) is not None

    def decode(self, message: Message, memory: Mapping[str, int], persons: Persons) -> Decoded:
        """Decode a post; what cannot be read is not answered, so that the terminal says it again."""
        request = read_request(message.topic, self.family)
        if request is None:
            return Decoded()
        try:
            event = self._event(_read(message.payload), request.device, message.received_us, persons)
            return Decoded(events=(event,), replies=(answer(message),))
        except Unreadable as e:
            return Decoded(reject=reject(e.reason, message.payload))

    def _event(self, alert: _Alert, device: str, received_us: int, persons: Persons) -> Event:
        at = place(read_wall(alert.dateTime, self._zone, received_us), received_us)
        record = alert.AccessControllerEvent or alert.AcsEvent
        if record is None:
            return at.event(device, Kind.ALIVE)
        major, minor = integer(_first(record.majorEventType, record.major)), integer(_first(record.subEventType, record.minor))
        if major is None or minor is None:
            raise Unreadable("bad_field", "")
        if major != 5 or minor not in _PASSAGES:
            return at.event(device, Kind.ALIVE)
        method, result = _PASSAGES[minor]
        serial = integer(record.serialNo)
        flags = NO_FLAGS if serial is None else Flag.HAS_KEY
        flags |= Flag.LATE if record.currentEvent in (False, "false") else NO_FLAGS
        event = at.event(device, Kind.PASSAGE, flags, aux=method, a=result, key=serial or 0)
        if result is Result.STRANGER:
            return event
        return replace(event, person=persons.get((device, local_id(record.employeeNoString, record.employeeNo))))


def _first(value: Any, other: Any) -> Any:
    return other if value is None else value


def _read(payload: bytes) -> _Alert:
    """Return the first whole alert. Raises Unreadable for the last part that was none."""
    failure = Unreadable("no_part", "")
    for part in parts(payload):
        if part.picture or not part.body.startswith(b"{"):
            continue
        try:
            alert = read_json(_alerts, part.body)
            return alert.EventNotificationAlert or alert
        except Unreadable as e:
            failure = e
    raise failure
