"""Dahua access terminals: AccessControl events uploaded over HTTP, identity "dahua/<name>".

One decision: an event is looked for in the text, not expected at a place: it comes as `data={…}` over several lines, or as
one line for each field, alone or as a part beside a picture.

    Code=AccessControl;action=Pulse;index=0;data={"UserID", "UTC", "Method", "Status", "RecNo"} → PASSAGE
    Events[0].Code=AccessControl, Events[0].Data.UserID=…                                       → PASSAGE
    Heartbeat, other codes                                                                      → ALIVE
"""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec

from gateway.codecs.contract import Decoded
from gateway.codecs.moment import UNREADABLE, place, read_wall
from gateway.codecs.multipart import parts
from gateway.codecs.payload import Unreadable, read_json
from gateway.codecs.posting import Post, Posting
from gateway.codecs.terminal import integer, local_id, method, record_key
from gateway.events import NO_FLAGS, Event, Flag, Kind, Method, Result

_METHODS = {1: Method.CARD, 6: Method.FINGERPRINT, 15: Method.FACE}
_INLINE = re.compile(r"Code=(\w+);action=(\w+);index=\d+(?:;data=(?=\{))?")
_LINE = re.compile(r"^Events\[(\d{1,3})\]\.((?:Data\.)?(?:Code|UserID|UTC|Method|Status|RecNo))=([^\r\n]*)", re.MULTILINE)
_MOST = 100
_braces = json.JSONDecoder()


class _Data(msgspec.Struct, frozen=True):
    """All that is ever read of an event; names, cards and pictures are not."""

    UserID: Any = None
    UTC: Any = None
    Method: Any = None
    Status: Any = None
    RecNo: Any = None


_datas = msgspec.json.Decoder(_Data)


class Dahua(Posting):
    """The codec. zone: of terminals whose "UTC" is really their local time."""

    family = "dahua"

    def read(self, post: Post) -> Decoded:
        """Read an upload."""
        events = tuple(_passage(data, post) for data in _read(post.payload))
        alive = place(None, post.received_us).event(post.device, Kind.ALIVE)
        return Decoded(events=events or (alive,), replies=post.answer())


def _passage(data: _Data, post: Post) -> Event:
    seconds, who, status = integer(data.UTC), local_id(data.UserID), integer(data.Status)
    raw_us = UNREADABLE
    if seconds is not None and seconds < 10**10:
        raw_us = read_wall(datetime.fromtimestamp(seconds, UTC).isoformat(), post.zone, post.received_us)
    at = place(raw_us, post.received_us)
    result = Result.ALLOWED if status == 1 or (status is None and who) else Result.REFUSED if who else Result.STRANGER
    number = integer(data.RecNo)
    key = record_key(raw_us, who) if number is None else number
    flags = NO_FLAGS if number is None and not key else Flag.HAS_KEY
    event = at.event(post.device, Kind.PASSAGE, flags, aux=method(integer(data.Method), _METHODS), a=result, key=key)
    return event if result is Result.STRANGER else replace(event, person=post.persons.get((post.device, who)))


def _read(payload: bytes) -> list[_Data]:
    """Return the AccessControl events; none where something else was said. Raises Unreadable where nothing was."""
    text = "\n".join(part.body.decode("utf-8", "replace") for part in parts(payload) if not part.picture)
    inline, lines = list(_INLINE.finditer(text)), list(_LINE.finditer(text))
    if not inline and not lines and "heartbeat" not in text.lower():
        raise Unreadable("no_part", "")
    wanted = [m for m in inline[:_MOST] if m[1] == "AccessControl" and m[2] == "Pulse"]
    return [_data(text, m.end()) for m in wanted] + _listed(lines)


def _data(text: str, start: int) -> _Data:
    """Read the object that begins there, over as many lines as it takes."""
    try:
        _, end = _braces.raw_decode(text, start)
    except (ValueError, RecursionError):
        raise Unreadable("bad_json", "") from None
    return read_json(_datas, text[start:end].encode("utf-8", "replace"))


def _listed(lines: list[re.Match[str]]) -> list[_Data]:
    events: dict[str, dict[str, str]] = {}
    for index, name, value in (m.groups() for m in lines):
        events.setdefault(index, {})[name.removeprefix("Data.")] = value.strip()
    listed: list[Mapping[str, str]] = [e for e in events.values() if e.get("Code") == "AccessControl"]
    return [_Data(**{name: value for name, value in e.items() if name != "Code"}) for e in listed[:_MOST]]
