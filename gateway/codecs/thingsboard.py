"""ThingsBoard's device API: equipment that was set up for ThingsBoard changes its address and nothing else.

One decision: who speaks comes from the token, never from the message: over HTTP the address book knows it, over MQTT the
broker puts "tb/<name>/" before whatever the client publishes. A device behind such a gateway is "tb/<gateway>/<device>", so
that no gateway can speak for another's. What a key means is in the mapping (`thingsboard:`).

    POST /api/v1/{token}/telemetry, /attributes           → http/tb/<name>/telemetry
    v1/devices/me/telemetry, /attributes                  → tb/<name>/v1/…
    v1/gateway/telemetry, /attributes  {device: […], …}   → tb/<name>/v1/…
    v1/gateway/connect, /disconnect    {"device": …}      → LINK
    all else (rpc, claim, requests)                       → nothing

    {"k": v}   {"ts": ms, "values": {"k": v}}   a list of these
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from gateway.clock import MINUTE_US
from gateway.codecs.contract import Decoded, Message
from gateway.codecs.mapped import RECORDS, Record, came, decoded, read_time, reject
from gateway.codecs.mapping import MappingFile, Rules
from gateway.codecs.moment import place
from gateway.codecs.payload import Unreadable, identity, read_json
from gateway.codecs.remembered import Remembered
from gateway.codecs.request import answer, read_request
from gateway.codecs.terminal import Persons
from gateway.events import Kind

FAMILY = "tb"
_TOPIC = re.compile(r"tb/([A-Za-z0-9_.-]{1,64})/v1/(devices/me|gateway)/(telemetry|attributes|connect|disconnect)")
_documents = msgspec.json.Decoder()
_DATA = ("telemetry", "attributes")


class ThingsBoard:
    """The codec. mapping: what the keys mean."""

    family = FAMILY
    topics: tuple[str, ...] = ("tb/#",)

    def __init__(self, mapping: MappingFile, zone: str = "Asia/Shanghai") -> None:
        self._mapping, self._zone = mapping, ZoneInfo(zone)

    def matches(self, topic: str) -> bool:
        """Tell whether the topic is one of the API's, or a request to it."""
        return topic.startswith("tb/") or read_request(topic, FAMILY) is not None

    def decode(self, message: Message, memory: Mapping[str, int], persons: Persons) -> Decoded:
        """Decode telemetry, attributes and connections; a request that says nothing is answered with nothing."""
        request = read_request(message.topic, FAMILY)
        match = _TOPIC.fullmatch(message.topic)
        if request and (request.word not in _DATA or not message.payload):
            return _polled(message, Remembered(memory, request.device))
        if not request and not match:
            return Decoded()
        name, api, word = (request.name, "devices/me", request.word) if request else match.groups() if match else ("", "", "")
        replies = (answer(message, b""),) if request else ()
        try:
            document = read_json(_documents, message.payload)
            if word not in _DATA:
                return self._linked(document, name, word, message, memory)
            own = Remembered(memory, identity(FAMILY, name), message.deaf_us)
            records = list(self._records(document, api == "gateway", own, message, memory, persons))
        except Unreadable as e:
            return Decoded(reject=reject(e, message.payload))
        return decoded(records, message, own, replies)

    def _records(
        self, document: Any, gateway: bool, own: Remembered, message: Message, memory: Mapping[str, int], persons: Persons
    ) -> Iterator[tuple[Record, Rules | None]]:
        """Yield what each device says, each time it says it, with the rules for it, if any. Raises Unreadable."""
        if gateway and not isinstance(document, dict):
            raise Unreadable("bad_field", f'expected {{"<device>": […]}}, {came(document)} came')
        behind = document.items() if gateway else [("", document)]
        left = RECORDS
        for name, data in behind:
            last = Remembered(memory, identity(own.device, name), message.deaf_us) if gateway else own
            profile = self._mapping.profile(name or own.device.removeprefix(f"{FAMILY}/"))
            for item in data if isinstance(data, list) else [data]:
                left -= 1
                if not isinstance(item, dict) or left < 0:
                    raise Unreadable("bad_field", f"expected an object, or a list of at most {RECORDS}, {came(item)} came")
                timed = "ts" in item and isinstance(item.get("values"), dict)
                at = place(read_time(item["ts"], "ms", self._zone) if timed else None, message.received_us)
                values = item["values"] if timed else item
                yield Record(values=values, last=last, at=at, persons=persons, late=at.stale), profile.events if profile else None

    def _linked(self, document: Any, own: str, word: str, message: Message, memory: Mapping[str, int]) -> Decoded:
        name = document.get("device") if isinstance(document, dict) else None
        if not isinstance(name, str):
            raise Unreadable("bad_identity", f'expected {{"device": "<name>"}}, {came(document)} came')
        last = Remembered(memory, identity(f"{FAMILY}/{own}", name))
        return Decoded(events=(last.link(word == "connect", place(None, message.received_us)),), memory=last.changes)


def _polled(message: Message, last: Remembered) -> Decoded:
    """Answer a request for attributes or commands, of which there are none; it is a sign of life once a minute."""
    news = last.put(message.received_us // MINUTE_US, "alive")
    alive = (place(None, message.received_us).event(last.device, Kind.ALIVE),) if news else ()
    return Decoded(events=alive, memory=last.changes, replies=(answer(message, b"{}"),))
