"""Gateways and ingest in memory and in virtual time: what devices say becomes what T1 hands to the analyzer.

    deliveries → codecs (one memory per gateway) → frames → gather, complete (as T1 does) → Batch

One decision: everything that decides is the real thing (codecs, wire, `ingest.batch`, `ingest.counters`); only what has to
survive (spool, database) is left out, and the log is asked by a set of keys. How often a batch is made changes nothing.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import numpy as np

from firmware_sim.plot import Power, Switch
from firmware_sim.scenario import Scenario
from firmware_sim.virtual import Delivery, play
from gateway.clock import DAY_US, MINUTE_US, SECOND_US
from gateway.codecs.contract import BlindChange, Codec, Message
from gateway.codecs.families import codecs
from gateway.codecs.request import topic_of
from gateway.events import Event, Flag
from gateway.wire import Body, Header, decode_bodies, encode_body, encode_frame
from ingest.batch import Accepted, Key, Prepared, complete, gather, needed, suspects
from ingest.classes import CLASSES
from ingest.columns import Batch, BlindSpan, Coverage, Liveness
from ingest.inputs import DeviceInput, GatewayInput, Inputs, PersonInput, PlaceInput, SiteInput, encode
from ingest.memory import Memory
from ingest.snapshot import Consent, Gateway, Snapshot
from smartcare.trying import read_mapping

SHARD = 11
LOST_AFTER_US = MINUTE_US
FRAME_EVENTS = 500
KEYS_KEPT_US = 8 * DAY_US
FOREVER_US = 2**62


@dataclass(frozen=True, slots=True, kw_only=True)
class Register:
    """A declaration with ids, as the database would give them: each table's rows from 1 on."""

    snapshot: Snapshot
    inputs: Inputs
    persons: Mapping[tuple[str, str], bytes]
    """(device identity, local id) → token."""
    codes: Mapping[str, Mapping[int, str]]
    """Subject kind → id → what the truth calls it: site, "site/place", device identity, gateway, token."""


def register(document: Mapping[str, Any], closures: Iterable[tuple[str, int, int]], days: Mapping[str, str]) -> Register:
    """Give ids to a declaration. closures: (site, from_us, to_us). days: date → "holiday" or "workday"."""
    site_id = {s["code"]: n for n, s in enumerate(document["sites"], 1)}
    place_id = {f"{p['site']}/{p['code']}": n for n, p in enumerate(document["places"], 1)}
    gateway_id = {g["code"]: n for n, g in enumerate(document["gateways"], 1)}
    device_id = {d["identity"]: n for n, d in enumerate(document["devices"], 1)}
    closed: dict[str, list[tuple[int, int]]] = {code: [] for code in site_id}
    for code, from_us, to_us in closures:
        closed[code].append((from_us, to_us))
    inputs = Inputs(
        version=1,
        sites=[_site(s, site_id[s["code"]], closed[s["code"]]) for s in document["sites"]],
        places=[
            PlaceInput(id=n, site=site_id[p["site"]], code=p["code"], name=p["name"], name_en=p["name_en"], room=p["room"])
            for n, p in enumerate(document["places"], 1)
        ],
        devices=[_device(d, n, gateway_id[d["gateway"]], place_id[d["place"]]) for n, d in enumerate(document["devices"], 1)],
        gateways=[GatewayInput(id=n, code=code) for code, n in gateway_id.items()],
        persons=[
            PersonInput(
                id=n,
                site=site_id[p["site"]],
                role=p["role"],
                consent_from_us=int(datetime.fromisoformat(p["consent_from"]).timestamp()) * SECOND_US,
                devices=[device_id[link["device"]] for link in p["links"]],
                absences=[],
            )
            for n, p in enumerate(document["persons"], 1)
        ],
        days=dict(days),
    )
    tokens = {bytes.fromhex(p["token"]): n for n, p in enumerate(document["persons"], 1)}
    snapshot = Snapshot(
        version=1,
        gateways={code: Gateway(id=n, code=code, shard=SHARD, suspended=False) for code, n in gateway_id.items()},
        devices={(d.gateway, d.identity): d.id for d in inputs.devices},
        mountings={d.id: [(0, FOREVER_US, d.place)] for d in inputs.devices},
        persons={token: Consent(id=n, from_us=0, to_us=FOREVER_US) for token, n in tokens.items()},
    )
    links = ((p["token"], link) for p in document["persons"] for link in p["links"])
    return Register(
        snapshot=snapshot,
        inputs=inputs,
        persons={(link["device"], link["local_id"]): bytes.fromhex(token) for token, link in links},
        codes={
            "site": {n: code for code, n in site_id.items()},
            "place": {n: code for code, n in place_id.items()},
            "device": {n: identity for identity, n in device_id.items()},
            "gateway": {n: code for code, n in gateway_id.items()},
            "person": {n: token.hex() for token, n in tokens.items()},
        },
    )


def _site(row: Mapping[str, Any], site: int, closed: list[tuple[int, int]]) -> SiteInput:
    return SiteInput(
        id=site,
        code=row["code"],
        name=row["name"],
        name_en=row["name_en"],
        kind=row["kind"],
        zone=row["zone"],
        capacity=row["capacity"],
        hours={day: [(a, b) for a, b in windows] for day, windows in row["hours"].items()},
        closed=sorted(closed),
        rules=row.get("rules", {}),
    )


def _device(row: Mapping[str, Any], device: int, gateway: int, place: int) -> DeviceInput:
    its_class = CLASSES[row["class"]]
    return DeviceInput(
        id=device,
        gateway=gateway,
        identity=row["identity"],
        device_class=its_class.name,
        family=its_class.family,
        name=row.get("name", ""),
        place=place,
        mounted_us=0,
        alive_every_us=its_class.alive_every_us,
    )


@dataclass(slots=True)
class _Box:
    """A gateway: its codecs' memory, what it has not sent yet, and whether it has power and an uplink."""

    id: int
    stream: int
    begun_us: int
    memory: dict[str, int] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    blind: list[BlindSpan] = field(default_factory=list)
    open_blind: dict[str, BlindSpan] = field(default_factory=dict)
    on: bool = True
    reaches: bool = True
    away_us: int = 0
    told_lost: bool = False
    seq: int = 0


class Joined:
    """All gateways of a scenario, and the ingest of their shard."""

    def __init__(self, scenario: Scenario, slice_us: int = 5 * MINUTE_US) -> None:
        self._slice_us = slice_us
        self.register = register(scenario.town.document, scenario.plot.closures, scenario.town.days)
        self._scenario = scenario
        self._codecs = codecs(mapping=read_mapping(Path(str(files("firmware_sim") / "mapping.yaml"))))
        self._of: dict[str, Codec] = {}
        ids = {g.code: g.id for g in self.register.inputs.gateways}
        self._boxes = {code: _Box(id=i, stream=i * 1000 + 1, begun_us=scenario.from_us) for code, i in ids.items()}
        self._memory = Memory()
        self._stored: dict[int, dict[Key, int]] = {}
        self._liveness: list[Liveness] = []
        self._pos = 0

    def batches(self) -> Iterator[Batch]:
        """Yield what the analyzer gets, in order; the register comes first."""
        yield self._batch(inputs=encode(self.register.inputs))
        end_us = self._scenario.from_us + self._slice_us
        for item in play(self._scenario):
            while item.at_us > end_us:
                yield self._slice(end_us)
                end_us += self._slice_us
            if isinstance(item, Switch):  # what it had sent by then is in
                yield self._slice(item.at_us)
            self._take(item)
        yield self._slice(end_us)

    # ---------------------------------------------------------------- gateways

    def _take(self, item: Delivery | Switch) -> None:
        box = self._boxes[item.gateway]
        if isinstance(item, Switch):
            self._switch(box, item)
        elif box.on:
            message = Message(topic=_topic(item), payload=item.payload, received_us=item.at_us)
            decoded = self._codec(message.topic).decode(message, box.memory, self.register.persons)
            assert decoded.reject is None, f"{message.topic}: {decoded.reject}"
            box.memory.update(decoded.memory)
            box.events += decoded.events
            for change in decoded.blind:
                _blind(box, change, item.at_us)

    def _codec(self, topic: str) -> Codec:
        known = self._of.get(topic)
        if known is None:
            known = self._of[topic] = next(c for c in self._codecs if c.matches(topic))
        return known

    def _switch(self, box: _Box, switch: Switch) -> None:
        match switch.power:
            case Power.OFF:
                box.on = box.reaches = False
            case Power.CUT_OFF:
                box.reaches = False
            case Power.ON:
                down = BlindSpan(gateway=box.id, source="", from_us=box.away_us, to_us=switch.at_us, reason="gateway_down")
                box.blind.append(down)
                box.on = box.reaches = True
                box.stream, box.begun_us, box.seq = box.stream + 1, switch.at_us, 0
            case Power.REACHES:
                box.reaches = True
        if not box.reaches:
            box.away_us = switch.at_us
        elif box.told_lost:
            self._liveness.append(Liveness(gateway=box.id, alive=True, at_us=switch.at_us))
            box.told_lost = False

    # ---------------------------------------------------------------- ingest

    def _slice(self, end_us: int) -> Batch:
        """Make the batch of everything that has reached the backend by `end_us`."""
        made: list[tuple[int, Header, bytes]] = []
        coverage, blind = [], []
        for box in self._boxes.values():
            if not box.reaches and not box.told_lost and end_us - box.away_us > LOST_AFTER_US:
                box.told_lost = True
                self._liveness.append(Liveness(gateway=box.id, alive=False, at_us=box.away_us + LOST_AFTER_US))
            if box.reaches:
                made += _frames(box, end_us)
                coverage.append(Coverage(gateway=box.id, stream=box.stream, from_us=box.begun_us, through_us=end_us))
                blind += box.blind
                box.blind = []
        frames = _read(made)
        prepared = self._prepare(frames, end_us)
        liveness, self._liveness = self._liveness, []
        return self._batch(rows=prepared.columns(), coverage=coverage, blind=blind, liveness=liveness)

    def _prepare(self, frames: list[Accepted], now_us: int) -> Prepared:
        """Do what T1 does, with sets of keys for the log."""
        prepared = gather({SHARD: frames}, self.register.snapshot, now_us)
        assert not prepared.unclaimed, prepared.unclaimed
        self._memory.learn(needed(prepared, self._memory), [])
        stored = {key for device in suspects(prepared, self._memory) for key in self._stored.get(device, ())}
        prepared = complete(prepared, self._memory, stored, self.register.snapshot)
        self._memory.apply(prepared.moved)
        rows = prepared.rows[prepared.rows["flags"] & int(Flag.HAS_KEY) != 0]
        own = np.where(rows["raw_us"] != 0, rows["raw_us"], rows["t_us"])
        names = (rows[n].tolist() for n in ("device", "kind", "aux", "key"))
        for device, kind, aux, key, own_us in zip(*names, own.tolist(), strict=True):
            mine = self._stored.setdefault(device, {})
            mine[device, kind, aux, key, own_us] = now_us
            while len(mine) > 1 and next(iter(mine.values())) < now_us - KEYS_KEPT_US:
                del mine[next(iter(mine))]
        return prepared

    def _batch(self, **parts: Any) -> Batch:
        self._pos += 10
        return Batch(shard=SHARD, prev=self._pos - 10, pos=self._pos, **parts)


def _topic(item: Delivery) -> str:
    """Return the topic that a codec sees."""
    if not item.identity:
        return item.topic
    family, _, name = item.identity.partition("/")
    path, _, query = item.topic.partition("?")
    return topic_of(family, name, path or "/", dict(parse_qsl(query)))


def _blind(box: _Box, change: BlindChange, at_us: int) -> None:
    open_one = box.open_blind.pop(change.source, None)
    if open_one is not None:
        box.blind.append(
            BlindSpan(gateway=box.id, source=change.source, from_us=open_one.from_us, to_us=at_us, reason=open_one.reason)
        )
    if change.blind:
        span = BlindSpan(gateway=box.id, source=change.source, from_us=at_us, to_us=None, reason=change.reason)
        box.open_blind[change.source] = span
        box.blind.append(span)


def _frames(box: _Box, through_us: int) -> list[tuple[int, Header, bytes]]:
    """Send what the gateway has."""
    made = []
    for first in range(0, len(box.events), FRAME_EVENTS):
        box.seq += 1
        header = Header(stream=box.stream, seq=box.seq, oldest=box.seq, since_us=box.begun_us, through_us=through_us)
        made.append((box.id, header, encode_frame(header, encode_body(box.events[first : first + FRAME_EVENTS]))))
    box.events.clear()
    return made


def _read(made: list[tuple[int, Header, bytes]]) -> list[Accepted]:
    """Read the wire's own bytes."""
    accepted = []
    for (gateway, header, _), body in zip(made, decode_bodies([frame for _, _, frame in made]), strict=True):
        assert isinstance(body, Body), body
        accepted.append(Accepted(gateway=gateway, header=header, body=body))
    return accepted
