"""A simulated day as `at(…)` and `expect(…)`: one site, its sensors behind gateways, a real engine, no clock.

One decision: a scenario says what devices and gateways did at local times; batches, positions and watermarks follow from it.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self
from zoneinfo import ZoneInfo

import numpy as np

from analytics.engine import Engine
from analytics.findings import Finding, Phase, Rule
from gateway.clock import HOUR_US, MINUTE_US, SECOND_US
from gateway.events import NO_FLAGS, Flag, Kind, ListRole, Result
from ingest.columns import COLUMNS, Batch, BlindSpan, Coverage, Liveness
from ingest.inputs import DeviceInput, GatewayInput, Inputs, PersonInput, PlaceInput, SiteInput, encode

ZONE = "Asia/Shanghai"
WEEK = {d: [("08:00", "17:00")] for d in ("mon", "tue", "wed", "thu", "fri")} | {"sat": [], "sun": []}
DOOR, COUNTER, TERMINAL = 11, 12, 13
SITE, SHARD = 7, 3
IDENTITIES = {DOOR: "z2m/门", COUNTER: "lora/c0", TERMINAL: "face/900"}
FAMILIES = {DOOR: "door", COUNTER: "counter", TERMINAL: "terminal"}
ALIVE_US = {DOOR: HOUR_US, COUNTER: 30 * MINUTE_US, TERMINAL: 2 * MINUTE_US}
PLACE_OF = {DOOR: 101, COUNTER: 102, TERMINAL: 103}
LONG_US = 100 * 24 * HOUR_US
PATIENT = {DOOR: LONG_US, COUNTER: LONG_US, TERMINAL: LONG_US}
"""Sensors that may be silent for as long as they like."""
NAMES = {DOOR: "大门", COUNTER: "大厅", TERMINAL: "食堂"}


def site_input(**changes: Any) -> SiteInput:
    """A centre open 08:00-17:00 from Monday to Friday."""
    values: dict[str, Any] = {
        "id": SITE,
        "code": "HN-07",
        "name": "河畔照料中心",
        "name_en": "Riverside centre",
        "kind": "centre",
        "zone": ZONE,
        "capacity": 60,
        "hours": WEEK,
        "closed": [],
        "rules": {},
    }
    return SiteInput(**(values | changes))


def inputs(
    gateways: dict[int, int] | None = None,
    *,
    version: int = 1,
    alive_us: dict[int, int] | None = None,
    persons: list[PersonInput] | None = None,
    rooms: dict[int, str] | None = None,
    days: dict[str, str] | None = None,
    **site: Any,
) -> Inputs:
    """The register: `gateways` maps each device to the gateway it is behind (default: a door alone, behind gateway 1)."""
    behind = {DOOR: 1} if gateways is None else gateways
    alive, room = ALIVE_US | (alive_us or {}), rooms or {}
    return Inputs(
        version=version,
        sites=[site_input(**site)],
        places=[
            PlaceInput(id=PLACE_OF[d], site=SITE, code=f"p{d}", name=NAMES[d], name_en="", room=room.get(d, "entrance"))
            for d in behind
        ],
        devices=[
            DeviceInput(
                id=d,
                gateway=g,
                identity=IDENTITIES[d],
                device_class=FAMILIES[d],
                family=FAMILIES[d],
                name=f"传感器{d}",
                place=PLACE_OF[d],
                mounted_us=0,
                alive_every_us=alive[d],
            )
            for d, g in behind.items()
        ],
        gateways=[GatewayInput(id=g, code=f"gw-{g}") for g in sorted(set(behind.values()))],
        persons=persons or [],
        days=days or {},
    )


def event(
    t_us: int,
    device: int,
    kind: Kind,
    *,
    gateway: int = 1,
    a: int = 0,
    b: int = 0,
    d_in: int = 0,
    d_out: int = 0,
    flags: Flag = NO_FLAGS,
) -> np.void:
    """One row of COLUMNS."""
    row: np.void = np.zeros(1, COLUMNS)[0]
    for name, value in {
        "t_us": t_us,
        "device": device,
        "place": PLACE_OF[device],
        "gateway": gateway,
        "kind": kind,
        "a": a,
        "b": b,
        "d_in": d_in,
        "d_out": d_out,
        "flags": flags,
    }.items():
        row[name] = value
    return row


@dataclass
class Day:
    """The scenario. Times are "HH:MM", "HH:MM:SS" or "+1 HH:MM" (the next day) in the site's zone."""

    register: Inputs = field(default_factory=inputs)
    date: str = "2026-03-03"  # a Tuesday
    since: str = "05:00"
    beat_s: int = 15
    engine: Engine = field(default_factory=Engine)
    pos: int = 0
    now: int = 0
    found: list[Finding] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    through: dict[int, int] = field(default_factory=dict)
    streams: dict[int, int] = field(default_factory=dict)
    begun: dict[int, int] = field(default_factory=dict)
    silent: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.zone = self.register.sites[0].zone
        start = self.time(self.since)
        self.now = start
        self.send(inputs=encode(self.register))
        for gateway in self.register.gateways:
            self.streams[gateway.id], self.begun[gateway.id] = gateway.id * 100, start
        self.beat()

    def time(self, text: str) -> int:
        """Turn a local time into microseconds."""
        days, _, clock = text.rpartition(" ")
        clock = clock if clock.count(":") == 2 else clock + ":00"
        local = datetime.fromisoformat(f"{self.date}T{clock}").replace(tzinfo=ZoneInfo(self.zone))
        return int(local.timestamp()) * SECOND_US + int(days or 0) * 24 * HOUR_US

    def at(self, text: str) -> Self:
        """Go on to this time; gateways that are not silent send heartbeats on the way."""
        then = self.time(text)
        while self.now + self.beat_s * SECOND_US < then:
            self.now += max(self.beat_s * SECOND_US, (then - self.now) // 40)
            self.now = min(self.now, then)
            self.beat()
        self.now = then
        self.beat()
        return self

    def beat(self) -> Self:
        """All gateways that are not silent say that they received everything until now."""
        self.send(coverage=[self.cover(g) for g in self.streams if g not in self.silent])
        return self

    def cover(self, gateway: int) -> Coverage:
        """Coverage of a gateway's stream until now."""
        self.through[gateway] = self.now
        return Coverage(gateway=gateway, stream=self.streams[gateway], from_us=self.begun[gateway], through_us=self.now)

    def gateway_of(self, device: int) -> int:
        """Return the gateway that a device is behind."""
        return next(d.gateway for d in self.register.devices if d.id == device)

    def row(self, device: int, kind: Kind, *, t: str = "", **more: Any) -> np.void:
        """An event now, or at an earlier time `t` that is known only now."""
        gateway = self.gateway_of(device)
        return event(self.time(t) if t else self.now, device, kind, gateway=gateway, **more)

    def happens(self, *rows: np.void) -> Self:
        """These events arrive now, each gateway's with its watermark."""
        covered = sorted({int(r["gateway"]) for r in rows})
        self.send(rows=np.array([r.item() for r in rows], COLUMNS), coverage=[self.cover(g) for g in covered])
        return self

    def opens(self, device: int = DOOR, *, t: str = "", flags: Flag = NO_FLAGS) -> Self:
        """A door opens."""
        return self.happens(self.row(device, Kind.CONTACT, t=t, a=1, flags=flags))

    def closes(self, device: int = DOOR, *, t: str = "", flags: Flag = NO_FLAGS) -> Self:
        """A door closes."""
        return self.happens(self.row(device, Kind.CONTACT, t=t, a=0, flags=flags))

    def counts(self, people: int = 1, *, t: str = "", flags: Flag = NO_FLAGS) -> Self:
        """The counter counts people in."""
        return self.happens(self.row(COUNTER, Kind.COUNT_TOTAL, t=t, d_in=people, flags=flags))

    def passes(self, *, t: str = "", flags: Flag = NO_FLAGS, person: int = 0) -> Self:
        """Someone shows their face to the terminal, by default someone it does not link to a person."""
        row = self.row(TERMINAL, Kind.PASSAGE, t=t, a=1, flags=flags)
        row["person"] = person
        return self.happens(row)

    def leaves(self, people: int = 1, *, t: str = "") -> Self:
        """The counter counts people out."""
        return self.happens(self.row(COUNTER, Kind.COUNT_TOTAL, t=t, d_out=people))

    def sees(self, people: int, *, flags: Flag = NO_FLAGS) -> Self:
        """The counter sees people in its region."""
        return self.happens(self.row(COUNTER, Kind.OCCUPANCY, a=people, flags=flags))

    def refuses(self, *, t: str = "", flags: Flag = NO_FLAGS) -> Self:
        """The terminal recognises someone on its block list."""
        return self.happens(self.row(TERMINAL, Kind.PASSAGE, t=t, a=Result.REFUSED, b=ListRole.BLOCK_LIST, flags=flags))

    def strangers(self, people: int) -> Self:
        """The terminal sees people whom it does not know."""
        return self.happens(*[self.row(TERMINAL, Kind.PASSAGE, a=Result.STRANGER)] * people)

    def alive(self, *devices: int, t: str = "") -> Self:
        """Signs of life."""
        return self.happens(*[self.row(d, Kind.ALIVE, t=t) for d in devices])

    def alive_until(self, text: str, *devices: int, every_min: int = 10) -> Self:
        """Go on to a time with regular signs of life of these devices."""
        then = self.time(text)
        while self.now < then:
            self.now = min(self.now + every_min * MINUTE_US, then)
            self.alive(*devices).beat()
        return self

    def lost(self, gateway: int) -> Self:
        """The backend has lost a gateway."""
        self.silent.add(gateway)
        return self.send(liveness=[Liveness(gateway=gateway, alive=False, at_us=self.now)])

    def back(self, gateway: int) -> Self:
        """The backend has it back; what it kept comes with `happens`."""
        self.silent.discard(gateway)
        return self.send(liveness=[Liveness(gateway=gateway, alive=True, at_us=self.now)])

    def restarts(self, gateway: int) -> Self:
        """A gateway begins a new stream now: it was not receiving since its last word."""
        self.silent.discard(gateway)
        self.streams[gateway], self.begun[gateway] = self.streams[gateway] + 1, self.now
        return self.beat()

    def blind(self, source: str, since: str, to: str = "", gateway: int = 1) -> Self:
        """A gateway says that it could not hear some devices."""
        span = BlindSpan(
            gateway=gateway, source=source, from_us=self.time(since), to_us=self.time(to) if to else None, reason="bridge_offline"
        )
        return self.send(blind=[span])

    def registers(self, register: Inputs) -> Self:
        """The register changed."""
        self.register = register
        return self.send(inputs=encode(register))

    def send(self, **parts: Any) -> Self:
        """Give the engine one batch."""
        self.pos += 10
        batch = Batch(shard=SHARD, prev=self.pos - 10, pos=self.pos, **parts)
        self.batches.append(batch)
        self.found += self.engine.apply(batch)
        return self

    def expect(self, rule: Rule, phase: Phase = Phase.BEGIN, *, at: str) -> Finding:
        """The next finding is this one. Returns it."""
        assert self.found, f"expected {rule} {phase} at {at}, nothing was found"
        first = self.found.pop(0)
        assert (first.rule, first.phase, self.say(first.at_us)) == (rule, phase, self.say(self.time(at)))
        return first

    def expect_nothing(self) -> Self:
        """Nothing (more) was found."""
        assert not self.found, [(f.rule, f.phase, self.say(f.at_us), f.reason) for f in self.found]
        return self

    def say(self, t_us: int) -> str:
        """Write a time for people."""
        return f"{datetime.fromtimestamp(t_us / SECOND_US, ZoneInfo(self.zone)):%m-%d %H:%M:%S}"
