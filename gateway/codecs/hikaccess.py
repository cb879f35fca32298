"""Hikvision access terminals: AccessControllerEvent posted to an HTTP host, identity "hikaccess/<name>".

One decision: of a multipart body only parts that are whole JSON are read, wherever the body was cut off, and a terminal
is answered as soon as its event could be read: the picture behind it was not wanted.

    major 5, a minor of the table below → PASSAGE, key = serialNo; currentEvent false → LATE
    any other event, heartBeat          → ALIVE
"""

from dataclasses import replace
from typing import Any

import msgspec

from gateway.codecs.contract import Decoded
from gateway.codecs.moment import place, read_wall
from gateway.codecs.multipart import parts
from gateway.codecs.payload import Unreadable, read_json
from gateway.codecs.posting import Post, Posting
from gateway.codecs.terminal import integer, local_id
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


class HikAccess(Posting):
    """The codec. zone: of terminals whose times have no offset."""

    family = "hikaccess"

    def read(self, post: Post) -> Decoded:
        """Read a post."""
        return Decoded(events=(_event(_read(post.payload), post),), replies=post.answer())


def _event(alert: _Alert, post: Post) -> Event:
    at = place(read_wall(alert.dateTime, post.zone, post.received_us), post.received_us)
    record = alert.AccessControllerEvent or alert.AcsEvent
    if record is None:
        return at.event(post.device, Kind.ALIVE)
    major, minor = integer(_first(record.majorEventType, record.major)), integer(_first(record.subEventType, record.minor))
    if major is None or minor is None:
        raise Unreadable("bad_field", "")
    if major != 5 or minor not in _PASSAGES:
        return at.event(post.device, Kind.ALIVE)
    method, result = _PASSAGES[minor]
    serial = integer(record.serialNo)
    flags = NO_FLAGS if serial is None else Flag.HAS_KEY
    flags |= Flag.LATE if record.currentEvent in (False, "false") else NO_FLAGS
    event = at.event(post.device, Kind.PASSAGE, flags, aux=method, a=result, key=serial or 0)
    if result is Result.STRANGER:
        return event
    return replace(event, person=post.persons.get((post.device, local_id(record.employeeNoString, record.employeeNo))))


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
