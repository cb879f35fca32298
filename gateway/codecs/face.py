"""Terminals that speak mqtt/face, identity "face/<facesluiceId>". They send pictures and names; none of them gets past here.

One decision: only the fields listed in `_Info` are ever turned into values; `pic`, `scene`, names and numbers of persons
are skipped by the parser, and rejects say what is wrong in fixed words. A record whose number can be read is acknowledged
even if the rest cannot: a terminal pushes the oldest unacknowledged record for ever and would never come to the next.

    mqtt/face/<id>/Rec   RecPush                  → PASSAGE, PushAck
    mqtt/face/<id>/Snap  StrSnapPush              → PASSAGE of a stranger, PushAck
    mqtt/face/basic      Online, Offline (will)   → LINK, Online-Ack
    mqtt/face/heartbeat  HeartBeat                → ALIVE
    mqtt/face/<id>       what the terminal is told; not for us
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from gateway.codecs.contract import Decoded, Message, Reply
from gateway.codecs.moment import Moment, place, read_iso
from gateway.codecs.payload import Unreadable, read_json
from gateway.codecs.remembered import Remembered
from gateway.codecs.terminal import Persons, integer, local_id, reject
from gateway.events import NO_FLAGS, Flag, Kind, ListRole, Method, Result

PREFIX = "mqtt/face/"
SNAP_KEYS = 1 << 62
"""Added to the numbers of snaps, which count apart from those of records."""
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
RESULTS = {1: Result.ALLOWED, 2: Result.REFUSED}
ROLES = {0: ListRole.ALLOW_LIST, 1: ListRole.BLOCK_LIST}


class _Info(msgspec.Struct, frozen=True):
    """All that is ever read. Firmware disagrees about numbers and strings, so that is settled here."""

    facesluiceId: Any = None  # noqa: N815 - the protocol's names
    customId: Any = None  # noqa: N815
    personId: Any = None  # noqa: N815
    RecordID: Any = None
    SnapID: Any = None
    VerifyStatus: Any = 0
    PersonType: Any = None
    Sendintime: Any = None
    PushType: Any = None
    time: Any = None


class _Push(msgspec.Struct, frozen=True):
    operator: str
    info: _Info = _Info()
    messageId: Any = None  # noqa: N815


_pushes = msgspec.json.Decoder(_Push)


class FaceTerminal:
    """The codec. zone: the IANA zone of the terminals' clocks, which do not say it."""

    family = "face"
    topics: tuple[str, ...] = ("mqtt/face/#",)

    def __init__(self, zone: str = "Asia/Shanghai") -> None:
        self._zone = ZoneInfo(zone)

    def matches(self, topic: str) -> bool:
        """Tell whether the topic is a terminal's."""
        return topic.startswith(PREFIX)

    def decode(self, message: Message, memory: Mapping[str, int], persons: Mapping[tuple[str, str], bytes]) -> Decoded:
        """Decode a push, a greeting, a farewell or a heartbeat; never quotes what it could not read."""
        levels = message.topic.removeprefix(PREFIX).split("/")
        if levels == ["basic"] or levels == ["heartbeat"]:
            levels = []
        elif len(levels) == 1 or levels[1:] == ["Ack"]:
            return Decoded()  # commands to the terminal and its answers to them
        try:
            push = read_json(_pushes, message.payload)
            number = _number_of_terminal(push.info, levels)
            at = place(read_iso(push.info.time, self._zone), message.received_us)
            match push.operator:
                case "RecPush" | "StrSnapPush":
                    return _passage(push, number, at, persons, message.payload)
                case "Online" | "Offline":
                    return _link(push, number, at, memory, message.retained)
                case "HeartBeat":
                    return Decoded(events=(at.event(f"face/{number}", Kind.ALIVE),))
            raise Unreadable("unknown_operator", "")
        except Unreadable as e:
            return Decoded(reject=reject(e.reason, message.payload))


def _number_of_terminal(info: _Info, levels: list[str]) -> str:
    number = info.facesluiceId
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 10**18:
        number = str(number)
    if not isinstance(number, str) or not _ID.fullmatch(number) or (levels and levels[0] != number):
        raise Unreadable("bad_identity", "")
    return number


def _passage(push: _Push, number: str, at: Moment, persons: Persons, payload: bytes) -> Decoded:
    info, snap, device = push.info, push.operator == "StrSnapPush", f"face/{number}"
    record = integer(info.SnapID if snap else info.RecordID)
    if record is None:
        raise Unreadable("bad_record", "")
    ack = _push_ack(push, number, record, 1 if snap else 2)
    status = 0 if snap else integer(info.VerifyStatus)
    if status is None:
        return Decoded(replies=(ack,), reject=reject("bad_status", payload))
    result = RESULTS.get(status, Result.STRANGER)
    role = ListRole.UNKNOWN if snap else _role(info)
    late = integer(info.Sendintime) == 0 or integer(info.PushType) == 2
    flags = Flag.HAS_KEY | (Flag.LATE if late else NO_FLAGS)
    key = record + SNAP_KEYS if snap else record
    event = at.event(device, Kind.PASSAGE, flags, aux=Method.FACE, a=result, b=role, key=key)
    if result is not Result.STRANGER:
        event = replace(event, person=persons.get((device, local_id(info.customId, info.personId))))
    return Decoded(events=(event,), replies=(ack,))


def _role(info: _Info) -> ListRole:
    number = integer(info.PersonType)
    return ListRole.UNKNOWN if number is None else ROLES.get(number, ListRole.UNKNOWN)


def _push_ack(push: _Push, number: str, record: int, kind: int) -> Reply:
    asked = push.messageId
    message_id = asked if isinstance(asked, str) and 0 < len(asked) <= 128 else f"{push.operator}-{record}"
    body = {"operator": "PushAck", "messageId": message_id, "info": {"PushAckType": kind, "SnapOrRecordID": record}}
    return Reply(topic=PREFIX + number, payload=msgspec.json.encode(body))


def _link(push: _Push, number: str, at: Moment, memory: Mapping[str, int], retained: bool) -> Decoded:
    last = Remembered(memory, f"face/{number}")
    online = push.operator == "Online"
    if not online:
        at = place(None, at.received_us)  # a will carries no time, or that of the connection
    event = last.link(online, at, Flag.INFERRED if retained else NO_FLAGS)
    asked = push.messageId
    message_id = asked if isinstance(asked, str) and 0 < len(asked) <= 128 else f"Online-{number}"
    body = {"messageId": message_id, "operator": "Online-Ack", "info": {"facesluiceId": number, "result": "ok"}}
    replies = (Reply(topic=PREFIX + number, payload=msgspec.json.encode(body)),) if online else ()
    return Decoded(events=(event,), replies=replies, memory=last.changes)
