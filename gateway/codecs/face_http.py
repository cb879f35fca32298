"""The mqtt/face terminals where they speak HTTP ("Subscribe"), identity "face/<DeviceID>" as over MQTT.

One decision: a record that could be read as JSON is answered even if a field of it cannot, because without an answer the
terminal sends the same again every ten seconds and never comes to the next.

    …/Subscribe/heartbeat  HeartBeat   → ALIVE
    …/Subscribe/Verify     VerifyPush  → PASSAGE        (the topic VerifyNoPic sends the same without pictures)
    …/Subscribe/Snap       SnapPush    → PASSAGE of a stranger
    CountInRegionPush of the family's cameras → OCCUPANCY
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import msgspec

from gateway.codecs.contract import Decoded
from gateway.codecs.face import RESULTS, ROLES, SNAP_KEYS
from gateway.codecs.moment import Moment, place, read_iso
from gateway.codecs.payload import Unreadable, read_json
from gateway.codecs.posting import Post, Posting
from gateway.codecs.terminal import integer, local_id, reject
from gateway.events import NO_FLAGS, Event, Flag, Kind, ListRole, Method, Result

DONE = b'{"code":200,"desc":"OK"}'


class _Info(msgspec.Struct, frozen=True):
    """All that is ever read; pictures lie outside of `info` and are skipped by the parser like names and numbers."""

    DeviceID: Any = None
    CustomizeID: Any = None
    PersonID: Any = None
    nRecordIndex: Any = None  # noqa: N815 - the protocol's names
    VerifyStatus: Any = 0
    PersonType: Any = None
    Sendintime: Any = None
    PushType: Any = None
    realtimeCount: Any = None  # noqa: N815
    time: Any = None
    CreateTime: Any = None
    Time: Any = None


class _Push(msgspec.Struct, frozen=True):
    operator: str
    info: _Info = _Info()


_pushes = msgspec.json.Decoder(_Push)


class FaceSubscribe(Posting):
    """The codec. zone: the IANA zone of the terminals' clocks, which do not say it."""

    family = "face"

    def read(self, post: Post) -> Decoded:
        """Read a push or a heartbeat; never quotes what it could not read."""
        push = read_json(_pushes, post.payload)
        if local_id(push.info.DeviceID) != post.request.name:
            raise Unreadable("bad_identity", "")
        at = place(read_iso(push.info.CreateTime or push.info.Time or push.info.time, post.zone), post.received_us)
        try:
            return Decoded(events=(_event(push, post.device, at, post.persons),), replies=post.answer(DONE))
        except Unreadable as e:
            return Decoded(replies=post.answer(DONE), reject=reject(e.reason, post.payload))


def _event(push: _Push, device: str, at: Moment, persons: Mapping[tuple[str, str], bytes]) -> Event:
    info = push.info
    if push.operator == "HeartBeat":
        return at.event(device, Kind.ALIVE)
    if push.operator == "CountInRegionPush":
        people = integer(info.realtimeCount)
        if people is None:
            raise Unreadable("bad_field", "")
        return at.event(device, Kind.OCCUPANCY, a=people)
    if push.operator not in ("VerifyPush", "SnapPush"):
        raise Unreadable("unknown_operator", "")
    record, snap = integer(info.nRecordIndex), push.operator == "SnapPush"
    if record is None:
        raise Unreadable("bad_record", "")
    status = 0 if snap else integer(info.VerifyStatus)
    if status is None:
        raise Unreadable("bad_status", "")
    result = RESULTS.get(status, Result.STRANGER)
    number = None if snap else integer(info.PersonType)
    role = ListRole.UNKNOWN if number is None else ROLES.get(number, ListRole.UNKNOWN)
    flags = Flag.HAS_KEY | (Flag.LATE if _late(info) else NO_FLAGS)
    event = at.event(device, Kind.PASSAGE, flags, aux=Method.FACE, a=result, b=role, key=record + SNAP_KEYS if snap else record)
    if result is Result.STRANGER:
        return event
    return replace(event, person=persons.get((device, local_id(info.CustomizeID, info.PersonID))))


def _late(info: _Info) -> bool:
    """Tell a replay. Over HTTP live records carry PushType 2 too, so Sendintime decides where it is said."""
    in_time = integer(info.Sendintime)
    return in_time == 0 or (in_time is None and integer(info.PushType) == 2)
