"""ZKTeco PUSH (ADMS) terminals: tables of text posted over HTTP, identity "zk/<serial number>".

One decision: every upload is answered in the words the terminal waits for, also tables that nobody wants (users, photos):
else it uploads them again for ever. Of those nothing is read. A row that is not as the protocol says is told; the others
of its upload are kept.

    POST cdata table=ATTLOG   PIN, time, status, verify, …                        → PASSAGE   OK
    POST cdata table=rtlog    time=… pin=… event=… verifytype=… index=…           → PASSAGE   OK
    POST cdata table=rtstate  time=… sensor=01 closed, 02 open …                  → CONTACT   OK
    POST cdata table=tabledata&tablename=T&count=N                                → ALIVE     T=N
    GET cdata options=all, registry, push, getrequest (the poll), devicecmd, ping → ALIVE     what lets it go on
"""

from collections.abc import Mapping
from dataclasses import replace

from gateway.clock import MINUTE_US
from gateway.codecs.contract import Decoded
from gateway.codecs.moment import Moment, place, read_iso
from gateway.codecs.payload import Unreadable
from gateway.codecs.posting import Post, Posting
from gateway.codecs.remembered import Remembered
from gateway.codecs.request import Request
from gateway.codecs.terminal import Persons, integer, method, record_key, reject
from gateway.events import NO_FLAGS, Event, Flag, Kind, Method, Result

_ROWS = 2000
_METHODS = {1: Method.FINGERPRINT, 2: Method.CARD, 4: Method.CARD, 15: Method.FACE}
_RESULTS = {
    **dict.fromkeys((0, 1, 2, 3, 14, 15, 16, 17, 18, 19), Result.ALLOWED),
    **dict.fromkeys((20, 21, 22, 23, 24, 25, 29, 38, 39, 41, 44, 48), Result.REFUSED),
    **dict.fromkeys((27, 34), Result.STRANGER),
}
"""Events of rtlog that are a person at the terminal; the others are doors, buttons and the terminal itself."""
_OPTIONS = (
    "GET OPTION FROM: {name}\nATTLOGStamp=None\nOPERLOGStamp=9999\nATTPHOTOStamp=9999\nErrorDelay=30\nDelay=10\n"
    "TransTimes=00:00;12:00\nTransInterval=1\nTransFlag=TransData AttLog\nRealtime=1\nEncrypt=None\nServerVer=3.1.2\n"
    "registry=ok\nRegistryCode={name}\nServerVersion=3.1.2\nServerName=smartcare\nPushVersion=3.1.2\nRequestDelay=10\n"
    "TransTables=Transaction\nTimeoutSec=10\n"
)
"""Asks for records only, never for photos or users, in the words of attendance and of access terminals."""


class ZkPush(Posting):
    """The codec. zone: the IANA zone of the terminals' clocks, which do not say it."""

    family = "zk"

    def read(self, post: Post) -> Decoded:
        """Read an upload or a poll; it is answered in any case."""
        request, last = post.request, Remembered(post.memory, post.device)
        table = request.query.get("table", "").lower()
        events: list[Event] = []
        bad = False
        if request.word == "cdata" and table in ("attlog", "rtlog", "rtstate"):
            rows = post.payload.decode("utf-8", "replace").splitlines()
            for row in rows[:_ROWS]:
                try:
                    events += _row(table, row, last, post) if row.strip() else ()
                except Unreadable:
                    bad = True
            bad |= len(rows) > _ROWS
        minute = post.received_us // MINUTE_US
        if not events and not bad and last.put(minute, "alive"):  # the poll comes every few seconds
            events.append(place(None, post.received_us).event(post.device, Kind.ALIVE))
        return Decoded(
            events=tuple(events),
            memory=last.changes,
            replies=post.answer(_answer(request, table, post.payload)),
            reject=reject("bad_row", post.payload) if bad else None,
        )


def _row(table: str, row: str, last: Remembered, post: Post) -> list[Event]:
    if table == "attlog":
        columns = row.split("\t")
        if len(columns) < 4:
            raise Unreadable("bad_row", "")
        at = place(read_iso(columns[1], post.zone), post.received_us)
        return [_attended(columns[0].strip(), integer(columns[3]), at, last.device, post.persons)]
    fields = {name.strip(): value.strip() for name, _, value in (f.partition("=") for f in row.split("\t"))}
    if "time" not in fields:
        raise Unreadable("bad_row", "")
    at = place(read_iso(fields["time"], post.zone), post.received_us)
    return [_door(fields, at, last)] if table == "rtstate" else _happened(fields, at, last.device, post.persons)


def _attended(pin: str, verify: int | None, at: Moment, device: str, persons: Persons) -> Event:
    """Make the passage of an attendance record; only who was recognised gets one."""
    key = record_key(at.raw_us or at.t_us, pin)
    flags = _late(at) | (Flag.HAS_KEY if key else NO_FLAGS)
    event = at.event(device, Kind.PASSAGE, flags, aux=method(verify, _METHODS), a=Result.ALLOWED, key=key)
    return replace(event, person=persons.get((device, pin)))


def _happened(fields: Mapping[str, str], at: Moment, device: str, persons: Persons) -> list[Event]:
    code, index = integer(fields.get("event")), integer(fields.get("index"))
    if code is None:
        raise Unreadable("bad_row", "")
    result = _RESULTS.get(code)
    if result is None:
        return [at.event(device, Kind.ALIVE)]
    flags = _late(at) | (NO_FLAGS if index is None else Flag.HAS_KEY)
    how = method(integer(fields.get("verifytype")), _METHODS)
    event = at.event(device, Kind.PASSAGE, flags, aux=how, a=result, key=index or 0)
    return [event if result is Result.STRANGER else replace(event, person=persons.get((device, fields.get("pin", ""))))]


def _door(fields: Mapping[str, str], at: Moment, last: Remembered) -> Event:
    """Make the CONTACT of the first door; two bits: 0 no sensor, 1 closed, 2 open."""
    try:
        state = int(fields.get("sensor", "0")[:2], 16) & 3
    except ValueError:
        raise Unreadable("bad_row", "") from None
    return last.contact(state == 2, at, _late(at)) if state in (1, 2) else at.event(last.device, Kind.ALIVE)


def _late(at: Moment) -> Flag:
    return Flag.LATE if at.stale else NO_FLAGS


def _answer(request: Request, table: str, payload: bytes) -> bytes:
    name, word, query = request.name, request.word, request.query
    if word == "cdata" and not table and query.get("options"):
        return _OPTIONS.format(name=name).encode()
    if word == "push":
        return _OPTIONS.format(name=name).partition("registry=ok\n")[2].encode()
    if word == "registry":
        return f"RegistryCode={name}".encode()
    if table == "tabledata":
        count = query.get("count") or str(sum(1 for row in payload.splitlines() if row.strip()))
        return f"{query.get('tablename', table)}={count}".encode()
    return b"OK"
