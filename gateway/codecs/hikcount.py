"""Hikvision people counting cameras: XML posted to an HTTP host, identity "hikcount/<name>", "…/<channel>" beyond the first.

One decision: elements are known by their path of local names, because one camera uses three namespaces, and because
`enter` and `exit` also occur inside `childCounting`, which is a breakdown. The parser is expat without document types:
no entity can be declared, so none can be expanded.

    statisticalMethods realTime     → COUNT_TOTAL with DAILY: running totals since midnight
    timeRange, signalTrigger        → COUNT_PERIOD: the window's own count
    heartBeat, videoloss, any other → ALIVE
"""

from collections.abc import Mapping
from xml.parsers import expat

from gateway.codecs.contract import Decoded
from gateway.codecs.moment import Moment, place, read_wall
from gateway.codecs.multipart import parts
from gateway.codecs.payload import Unreadable
from gateway.codecs.posting import Post, Posting
from gateway.codecs.terminal import integer, reject
from gateway.events import NO_FLAGS, Event, Flag, Kind

_TEXT_BYTES = 200
_DEPTH = 30
_TOTALS = 2**32
_COUNTS = "peopleCounting"

Leaves = Mapping[str, str]
"""Path below the root ("peopleCounting/enter") → text of the first element there."""


class HikCount(Posting):
    """The codec. zone: of cameras whose times have no offset, or one that nobody has set."""

    family = "hikcount"

    def read(self, post: Post) -> Decoded:
        """Read a post; what cannot be understood is answered too, except where it was cut short: that can be said again."""
        leaves = _read(post.payload)
        try:
            return Decoded(events=(_event(leaves, post),), replies=post.answer())
        except Unreadable as e:
            return Decoded(replies=post.answer(), reject=reject(e.reason, post.payload))


def _event(leaves: Leaves, post: Post) -> Event:
    channel = integer(leaves.get("channelID") or leaves.get("dynChannelID")) or 1
    device = f"{post.device}/{channel}"[:100] if channel > 1 else post.device

    def at(*paths: str) -> Moment:
        text = next((leaves[path] for path in paths if leaves.get(path)), None)
        return place(read_wall(text, post.zone, post.received_us), post.received_us)

    if leaves.get("eventType", "").lower() != "peoplecounting":
        return at("dateTime").event(device, Kind.ALIVE)
    line = integer(leaves.get(f"{_COUNTS}/regionsID", "1"))
    a, b = (integer(leaves.get(f"{_COUNTS}/{name}")) for name in ("enter", "exit"))
    if a is None or b is None or max(a, b) >= _TOTALS or line is None or not 1 <= line <= 16:
        raise Unreadable("bad_field", "")
    late = Flag.LATE if leaves.get("isDataRetransmission", "").lower() == "true" else NO_FLAGS
    if _method(leaves) == "realtime":
        since_midnight = at(f"{_COUNTS}/RealTime/time", "dateTime")
        return since_midnight.event(device, Kind.COUNT_TOTAL, Flag.DAILY | late, aux=line, a=a, b=b)
    window = at(f"{_COUNTS}/TimeRange/endTime", "dateTime")
    key = (window.raw_us or window.t_us) // 1_000_000
    keyed = Flag.HAS_KEY if key > 0 else NO_FLAGS
    return window.event(device, Kind.COUNT_PERIOD, keyed | late, aux=line, a=a, b=b, key=max(key, 0))


def _method(leaves: Leaves) -> str:
    """Return how was counted. Firmware that does not say it shows it by the kind of time; without one nobody can know."""
    said = leaves.get(f"{_COUNTS}/statisticalMethods", "").lower()
    if not said:
        said = "realtime" if f"{_COUNTS}/RealTime/time" in leaves else ""
        said = said or ("timerange" if f"{_COUNTS}/TimeRange/endTime" in leaves else "")
    if said not in ("realtime", "timerange", "signaltrigger"):
        raise Unreadable("unknown_method", "")
    return said


def _read(payload: bytes) -> Leaves:
    documents = [part.body for part in parts(payload) if part.body.lstrip(b"\xef\xbb\xbf").startswith(b"<")]
    if not documents:
        raise Unreadable("bad_xml", "")
    return _Reader().read(documents[0])


class _Reader:
    """Collects the texts of one document."""

    def __init__(self) -> None:
        self._path: list[str] = []
        self._text = ""
        self._leaves: dict[str, str] = {}

    def read(self, document: bytes) -> Leaves:
        """Return the leaves. Raises Unreadable."""
        parser = expat.ParserCreate()
        parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
        parser.StartDoctypeDeclHandler = _refuse
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._data
        try:
            parser.Parse(document, True)
        except (expat.ExpatError, ValueError, LookupError):  # LookupError: an encoding nobody knows
            raise Unreadable("bad_xml", "") from None
        return self._leaves

    def _start(self, name: str, _attributes: Mapping[str, str]) -> None:
        if len(self._path) >= _DEPTH:
            raise Unreadable("bad_xml", "")
        self._path.append(name.rpartition(":")[2])
        self._text = ""

    def _data(self, text: str) -> None:
        self._text = (self._text + text)[:_TEXT_BYTES]

    def _end(self, _name: str) -> None:
        path, text = "/".join(self._path[1:]), self._text.strip()
        if text:
            self._leaves.setdefault(path, text)
        self._path.pop()
        self._text = ""


def _refuse(*_: object) -> None:
    raise Unreadable("bad_xml", "")
