"""Devices that the operator's mapping describes: identity "<family>/<name>", over MQTT, or posted to their address.

One decision: what a mapping finds is treated like what our own codecs find: edges come from memory, implausible times become
flags, and a record said twice has the same key. A field that is not as the mapping says costs that field and is told; the
rest of the message counts. Nothing of a message is ever quoted, since nobody knows what such devices send.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl
from zoneinfo import ZoneInfo

import msgspec

from gateway.codecs import mapping
from gateway.codecs.contract import Decoded, Message, Reject, Reply
from gateway.codecs.moment import UNREADABLE, Moment, place, read_iso
from gateway.codecs.payload import Unreadable, identity, read_json
from gateway.codecs.remembered import Remembered
from gateway.codecs.request import answer, read_request
from gateway.codecs.terminal import Persons, integer, local_id, record_key
from gateway.events import NO_FLAGS, Event, FaultCode, Flag, Kind, ListRole, Method, Result

RECORDS = 1000
_FIELDS = 100
_COMPACT = re.compile(r"(\d{8})(\d{6})", re.ASCII)
_documents = msgspec.json.Decoder()
_TWO_STATES: dict[type, Kind] = {mapping.Tamper: Kind.TAMPER, mapping.Link: Kind.LINK, mapping.Fault: Kind.FAULT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One record of a message. key: the vendor's number, None where it has none. late: kept while the device was offline."""

    values: Any
    last: Remembered
    at: Moment
    persons: Persons
    key: int | None = None
    late: bool = False

    @property
    def said_us(self) -> int:
        """The device's own time, even a wrong one: by it a record said twice is known. 0 where there is none."""
        return max(self.at.raw_us, self.at.t_us if self.at.own else 0)

    def event(self, kind: Kind, derived: int, flags: Flag = NO_FLAGS, *, aux: int = 0, a: int = 0, b: int = 0) -> Event:
        """Make an event; derived: its key where the record has no number, 0 for none."""
        key = derived if self.key is None else self.key
        flags |= (Flag.HAS_KEY if key else NO_FLAGS) | (Flag.LATE if self.late else NO_FLAGS)
        return self.at.event(self.last.device, kind, flags, aux=aux, a=a, b=b, key=key)


class Mapped:
    """The codec of one family of a mapping. zone: of devices that say a local time."""

    def __init__(self, family: mapping.Family, zone: str = "Asia/Shanghai") -> None:
        self.family = family.family
        self.topics: tuple[str, ...] = (family.subscription,) if family.topic else ()
        self._declared, self._zone = family, ZoneInfo(zone)
        levels = {mapping.DEVICE_LEVEL: "/(?P<device>[^/]+)", "+": "/[^/]+", "#": "(?:/.*)?"}
        pattern = "".join(levels.get(level, "/" + re.escape(level)) for level in family.topic.split("/"))
        self._topic = re.compile(pattern.removeprefix("/") if family.topic else r"(?!)", re.DOTALL)

    def matches(self, topic: str) -> bool:
        """Tell whether the topic is one of the family's, or a request by one of its devices."""
        return self._topic.fullmatch(topic) is not None or read_request(topic, self.family) is not None

    def decode(self, message: Message, memory: Mapping[str, int], persons: Persons) -> Decoded:
        """Decode what the mapping names; over HTTP what could be read at all is answered."""
        request = read_request(message.topic, self.family)
        match = self._topic.fullmatch(message.topic)
        if not request and not match:
            return Decoded()
        name = request.name if request else (match.groupdict().get("device") if match else None) or ""
        try:
            document = _read(self._declared.format, message.payload)
            device = identity(self.family, name or local_id(_find(self._declared.device, document)))
            last = Remembered(memory, device, message.deaf_us)
            records = list(self._records(document, last, message.received_us, persons))
        except Unreadable as e:
            return Decoded(reject=reject(e, message.payload))
        replies = (answer(message, self._declared.answer.encode()),) if request else ()
        return decoded([(record, self._declared.events) for record in records], message, last, replies)

    def _records(self, document: Any, last: Remembered, received_us: int, persons: Persons) -> Iterator[Record]:
        declared = self._declared
        listed = [document] if declared.records is None else _find(declared.records, document)
        if not isinstance(listed, list) or len(listed) > RECORDS:
            raise Unreadable("bad_field", f"`records` is a list of at most {RECORDS}, {came(listed)} came")
        for values in listed:
            raw_us = read_time(_find(declared.time, values), declared.time_unit, self._zone) if declared.time else None
            at = place(raw_us, received_us)
            yield Record(
                values=values,
                last=last,
                at=at,
                persons=persons,
                key=integer(_find(declared.key, values)),
                late=at.stale or _find(declared.late, values) in (True, "true", "1"),
            )


def decoded(
    records: Iterable[tuple[Record, mapping.Rules | None]], message: Message, own: Remembered, replies: tuple[Reply, ...] = ()
) -> Decoded:
    """Apply the rules to each record (None: there are none for it).

    A device of which nothing is found is alive; the first mistake is told.
    """
    events: list[Event] = []
    heard = [own]
    mistake: Unreadable | None = None
    for record, rules in records:
        heard.append(record.last)
        if rules is None:
            mistake = mistake or Unreadable("no_mapping", "nothing says what the keys of this device mean: add it to the mapping")
        for rule in rules or ():
            try:
                events += found(rule, record)
            except Unreadable as e:
                mistake = mistake or e
    spoke = {event.device for event in events}
    silent = dict.fromkeys(last.device for last in heard[1:] or heard if last.device not in spoke)
    events += [place(None, message.received_us).event(device, Kind.ALIVE) for device in silent]
    changes = {name: value for last in heard for name, value in last.changes.items()}
    told = None if mistake is None else reject(mistake, message.payload)
    return Decoded(events=tuple(events), memory=changes, replies=replies, reject=told)


def found(rule: mapping.Rule, record: Record) -> list[Event]:
    """Return the events of one rule in one record. Raises Unreadable where something else is there than the mapping says."""
    at, last = record.at, record.last
    match rule:
        case mapping.CountTotal():
            return _totalled(rule, record)
        case mapping.CountPeriod():
            a, b = (_people(path, record.values) for path in (rule.entered, rule.left))
            return (
                []
                if a is None and b is None
                else [record.event(Kind.COUNT_PERIOD, record.said_us, aux=rule.line, a=a or 0, b=b or 0)]
            )
        case mapping.Passage():
            return _passed(rule, record)
        case mapping.Battery():
            if (percent := _number(rule.value, record.values, 100 if rule.unit == "percent" else 1)) is None:
                return []
            percent = round(percent * (1 if rule.unit == "percent" else 100))
            if record.late:
                return [record.event(Kind.BATTERY, 0, a=percent)]
            return last.on_change(Kind.BATTERY, "battery", percent, at)
        case mapping.Occupancy():
            people = _people(rule.value, record.values)
            return [] if people is None else [record.event(Kind.OCCUPANCY, 0, aux=rule.region, a=people)]
        case mapping.Contact():
            if (state := _state(rule.value, rule.yes, rule.no, record.values)) is None:
                return []
            event = record.event(Kind.CONTACT, record.said_us and record.said_us * 2 + state, a=state)
            if record.late:  # a state of the past, no edge
                return [replace(event, flags=event.flags | Flag.REPEAT)]
            return [last.contact(bool(state), at, event.flags & ~at.flags, event.key)]
        case mapping.Tamper() | mapping.Link() | mapping.Fault():
            return _changed(rule, record)
    raise TypeError(f"no such rule: {type(rule).__name__}")


def _changed(rule: mapping.Tamper | mapping.Link | mapping.Fault, record: Record) -> list[Event]:
    state = _state(rule.value, rule.yes, rule.no, record.values)
    if state is None:
        return []
    kind = _TWO_STATES[type(rule)]
    code = FaultCode[rule.code.upper()] if isinstance(rule, mapping.Fault) else 0
    if record.late:
        return [record.event(kind, 0, aux=int(code), a=state)]
    if kind is Kind.LINK:
        return [record.last.link(bool(state), record.at)]
    return record.last.on_change(kind, f"fault{int(code)}" if code else "tamper", state, record.at, aux=int(code))


def _totalled(rule: mapping.CountTotal, record: Record) -> list[Event]:
    paths = {f"in{rule.line}": rule.entered} | ({f"out{rule.line}": rule.left} if rule.left else {})
    said = {name: _people(path, record.values, 2**rule.wrap - 1) for name, path in paths.items()}
    if set(said.values()) == {None}:
        return []
    if not record.late:  # the other direction may have come in another message
        for name, value in said.items():
            if value is None:
                said[name] = record.last.get(name)
            else:
                record.last.put(value, name)
    a, *rest = said.values()
    b = rest[0] if rest else 0
    if a is None or b is None:
        return []
    flags = (Flag.WRAP16 if rule.wrap == 16 else NO_FLAGS) | (Flag.DAILY if rule.daily else NO_FLAGS)
    return [record.event(Kind.COUNT_TOTAL, 0, flags, aux=rule.line, a=a, b=b)]


def _passed(rule: mapping.Passage, record: Record) -> list[Event]:
    who = local_id(_find(rule.person, record.values))
    said = _find(rule.result, record.values)
    if not who and said is None:
        return []
    result = Result.STRANGER
    if rule.result is None or said in rule.allowed:
        result = Result.ALLOWED
    elif said in rule.refused:
        result = Result.REFUSED
    key, method = record_key(record.said_us, who), Method[rule.method.upper()]
    event = record.event(Kind.PASSAGE, key, aux=method, a=result, b=ListRole.UNKNOWN)
    if result is Result.STRANGER:
        return [event]
    return [replace(event, person=record.persons.get((record.last.device, who)))]


def read_time(value: object, unit: str, zone: ZoneInfo) -> int:
    """Read a time as microseconds, UNREADABLE where it is none."""
    if unit == "iso":
        compact = _COMPACT.fullmatch(value) if isinstance(value, str) else None
        return read_iso(f"{compact[1]}T{compact[2]}" if compact else value, zone)
    try:
        number = float(value) if isinstance(value, str | int | float) and type(value) is not bool else -1.0
        exact = value if type(value) is int else number
        return round(exact * (1_000_000 if unit == "s" else 1000)) if 0 <= number < 10**13 else UNREADABLE
    except (ValueError, OverflowError):
        return UNREADABLE


def came(value: object) -> str:
    """Say what came, without saying it."""
    if isinstance(value, str):
        return f"a text of {len(value)} characters"
    names = {type(None): "nothing", bool: "true or false", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)


def _read(form: str, payload: bytes) -> Any:
    if form == "json":
        return read_json(_documents, payload)
    try:
        text = payload.decode("utf-8").strip()
        return text if form == "text" else dict(parse_qsl(text, max_num_fields=_FIELDS))
    except ValueError:
        raise Unreadable("bad_form", f"{len(payload)} bytes are not {'a form' if form == 'form' else 'text'}") from None


def _find(path: mapping.Path | None, document: object) -> Any:
    if path is None:
        return None
    try:
        return path.find(document)
    except LookupError as e:
        raise Unreadable("bad_field", f"`{path.text}` cannot be computed on this message ({e})") from None


def _number(path: mapping.Path, values: object, most: float) -> float | None:
    """Return a number from 0 to `most`, as a number or as text; None where there is nothing."""
    value = _find(path, values)
    if value is None:
        return None
    try:
        number = float(value) if isinstance(value, str | int | float) and type(value) is not bool else -1.0
    except (ValueError, OverflowError):
        number = -1.0
    if not 0 <= number <= most:
        raise Unreadable("bad_field", f"`{path.text}` is a number from 0 to {most}, {came(value)} came that is none")
    return number


def _people(path: mapping.Path | None, values: object, most: int = 2**32 - 1) -> int | None:
    number = None if path is None else _number(path, values, most)
    if path and number and not number.is_integer():
        raise Unreadable("bad_field", f"`{path.text}` counts people: a whole number, not a fraction; is it another field?")
    return None if number is None else int(number)


def _state(path: mapping.Path, yes: tuple[Any, ...], no: tuple[Any, ...], values: object) -> int | None:
    value = _find(path, values)
    if value is None:
        return None
    if value in yes:
        return 1
    if value in no:
        return 0
    raise Unreadable("bad_field", f"`{path.text}` is one of {yes!r} or {no!r}, {came(value)} came that is neither; add it")


def reject(error: Unreadable, payload: bytes) -> Reject:
    """Quarantine a message of which nobody knows what it may hold."""
    return Reject(reason=error.reason, detail=f"{len(payload)} bytes: {error.detail}"[:290], picture=True)
