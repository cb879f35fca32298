"""The engine against the same rules written plainly: equal findings on random small towns over several days."""

from collections import Counter
from collections.abc import Iterator
from random import Random

import numpy as np
from msgspec.structs import replace

from analytics.engine import Engine
from analytics.findings import Finding, Rule, SubjectKind
from analytics.quarters import QUARTER_US
from benchmarks.fleet import MIDNIGHT_US, Fleet
from benchmarks.plain import RULES, Plain
from gateway.clock import DAY_US, HOUR_US, MINUTE_US
from gateway.events import FaultCode, Flag, Kind, ListRole, Result
from ingest.columns import COLUMNS, Batch, BlindSpan, Coverage, Liveness
from ingest.inputs import DeviceInput, GatewayInput, Inputs, PersonInput, PlaceInput, SiteInput, encode

SHARD, DAYS, TOWNS = 3, 3, (6, 10)
HOURS = [
    {day: [("08:00", "12:00"), ("13:00", "17:00")] for day in ("mon", "tue", "wed", "fri")} | {"sat": [("20:00", "02:00")]},
    {day: [("00:00", "24:00")] for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")},
]
EAGER: dict[str, dict[str, float]] = {
    "no_activity": {"days": 1, "limit_min": 45, "per_month": 20},
    "device_silent": {"days": 1},
    "stuck": {"hours": 0.5},
    "flapping": {"edges": 6, "calm_min": 30},
    "count_mismatch": {"days": 1, "share": 0.1},
    "clock_wrong": {"messages": 2},
    "stranger_spike": {"least": 2, "times": 0.5},
    "closed_early": {"days": 1, "per_month": 10},
    "unusual_footfall": {"days": 1, "per_month": 100},
    "counter_blind": {"active": 3},
    "resident_absent": {"visits": 1, "days": 1, "per_year": 1000, "seeing": 0.5},
}
"""Settings that let a few days find something."""
ODD: dict[str, dict[str, float]] = {"unusual_footfall": {"days": 2, "per_month": 30}}
FAMILIES = ("door", "counter", "terminal", "door")
ALIVE_US = (60 * MINUTE_US, 40 * MINUTE_US, 30 * MINUTE_US, 300 * MINUTE_US)
SITES, GATEWAYS, PEOPLE = 3, 2, 6


def town(rng: Random) -> Inputs:
    """Three sites of four devices behind two gateways; the second never closes, closures and visits here and there."""
    ids = range(1, 4 * SITES + 1)
    return Inputs(
        version=1,
        sites=[
            SiteInput(
                id=n,
                code=f"S{n}",
                name="站",
                name_en="",
                kind="centre",
                zone="Asia/Shanghai",
                capacity=rng.choice([None, 3, 12]),
                hours=HOURS[n % 2],
                closed=[(at := MIDNIGHT_US + rng.randrange(DAYS * 24) * HOUR_US, at + 20 * HOUR_US)]
                if rng.random() < 0.4
                else [],
                rules=EAGER,
                modes=[
                    (at := MIDNIGHT_US + rng.randrange(DAYS * 24) * HOUR_US, at + 6 * HOUR_US, rng.choice(["visit", "drill"]))
                ],
            )
            for n in range(1, SITES + 1)
        ],
        places=[
            PlaceInput(id=d, site=(d - 1) // 4 + 1, code=f"p{d}", name="处", name_en="", room=rng.choice(["entrance", "hall"]))
            for d in ids
        ],
        devices=[
            DeviceInput(
                id=d,
                gateway=rng.choice([1, 2]),
                identity=f"{rng.choice(['z2m', 'lora'])}/{d}",
                device_class="",
                family=FAMILIES[(d - 1) % 4],
                name="",
                place=d,
                mounted_us=0,
                alive_every_us=ALIVE_US[(d - 1) % 4],
            )
            for d in ids
        ],
        gateways=[GatewayInput(id=g, code=f"g{g}") for g in range(1, GATEWAYS + 1)],
        persons=[
            PersonInput(
                id=n,
                site=(n - 1) % SITES + 1,
                role="resident",
                consent_from_us=0,
                devices=rng.choice([[4 * site + 3] for site in range(SITES)] + [[3, 7]]),
                absences=[],
            )
            for n in range(1, PEOPLE + 1)
        ],
    )


def changed(rng: Random, register: Inputs) -> Inputs:
    """Another register: closures, hours and settings differ, a device is gone, a person is away, another one left."""
    away = MIDNIGHT_US + rng.randrange(DAYS * 24) * HOUR_US
    sites = [
        replace(
            s,
            closed=[*s.closed, (away, away + 9 * HOUR_US)] if rng.random() < 0.3 else s.closed,
            hours=HOURS[rng.randrange(2)] if rng.random() < 0.2 else s.hours,
            rules=EAGER | {"device_offline": {"silences": 3}} if rng.random() < 0.3 else s.rules,
            capacity=rng.choice([s.capacity, 5]),
        )
        for s in register.sites
    ]
    persons = [replace(p, absences=[(away, away + DAY_US)]) if rng.random() < 0.3 else p for p in register.persons]
    gone, left = rng.choice(register.devices), rng.choice(persons)
    devices = [d for d in register.devices if d is not gone]
    return replace(register, sites=sites, devices=devices, persons=[p for p in persons if p is not left])


def said(rng: Random, device: DeviceInput, t_us: int) -> Iterator[tuple[int, ...]]:
    """Yield what a device may say at a moment, as values of COLUMNS."""
    a = b = came = left = aux = person = 0
    kind, flags = Kind.ALIVE, rng.choice([0] * 20 + [Flag.LATE, Flag.TIME_IMPLAUSIBLE])
    if rng.random() < 0.02:
        kind, a = rng.choice([(Kind.BATTERY, 5), (Kind.BATTERY, 90), (Kind.TAMPER, 1), (Kind.TAMPER, 0), (Kind.LINK, 0)])
        if rng.random() < 0.3:
            kind, a, aux = Kind.FAULT, rng.randrange(2), rng.choice(list(FaultCode))
    elif device.family == "door":
        kind, a, flags = Kind.CONTACT, rng.randrange(2), flags | rng.choice([0, 0, 0, Flag.REPEAT, Flag.INFERRED])
    elif device.family == "counter":
        kind, came, left = Kind.COUNT_TOTAL, rng.choice([0, 1, 2, 9, 40]), rng.choice([0, 1, 2])
        if rng.random() < 0.1:
            kind, a, came, left = Kind.OCCUPANCY, rng.randrange(9), 0, 0
    elif rng.random() < 0.9:
        kind, a = Kind.PASSAGE, rng.choice([Result.ALLOWED] * 6 + [Result.STRANGER] * 2 + [Result.REFUSED])
        b = ListRole.BLOCK_LIST if a == Result.REFUSED else ListRole.UNKNOWN
        person = rng.randrange(PEOPLE + 2)
    for n in range(rng.choice([1] * 30 + [12])):
        yield t_us + n, a, b, n, device.gateway, device.id, device.place, person, came, left, int(kind), aux, int(flags)


def log(rng: Random, register: Inputs) -> Iterator[Batch]:
    """Yield what two gateways send: busy days and quiet nights, restarts, blindness, losses, and rows that come late."""
    yield Batch(shard=SHARD, prev=0, pos=1, inputs=encode(register))
    streams, begun = {g: 10 * g for g in (1, 2)}, dict.fromkeys((1, 2), MIDNIGHT_US)
    now = dict.fromkeys((1, 2), MIDNIGHT_US)
    blind: dict[int, BlindSpan] = {}
    silent = {d.id: MIDNIGHT_US + rng.randrange(DAYS * 24) * HOUR_US for d in register.devices if rng.random() < 0.1}
    idle = {d.id: MIDNIGHT_US + rng.randrange(DAYS * 24) * HOUR_US for d in register.devices if rng.random() < 0.3}
    holiday = {(rng.randrange(1, SITES + 1), rng.randrange(DAYS)) for _ in range(3)}
    pos, changes = 1, MIDNIGHT_US + rng.randrange(12, DAYS * 24) * HOUR_US
    while min(now.values()) < MIDNIGHT_US + DAYS * DAY_US:
        g = min(now, key=lambda g: now[g])
        since, pos = now[g], pos + 1
        now[g] += rng.choice([2, 7, 7, 20, 20, 50]) * MINUTE_US + rng.randrange(MINUTE_US)
        told, alive, fate = [], [], rng.random()
        if g in blind:
            span = blind.pop(g)
            told.append(BlindSpan(gateway=g, source=span.source, from_us=span.from_us, to_us=now[g], reason=span.reason))
        elif fate < 0.02:
            blind[g] = BlindSpan(gateway=g, source=rng.choice(["", "z2m"]), from_us=now[g], to_us=None, reason="clock wrong")
            told.append(blind[g])
        elif fate < 0.04:
            streams[g], begun[g] = streams[g] + 1, now[g]
        elif fate < 0.05:
            alive = [Liveness(gateway=g, alive=False, at_us=since + MINUTE_US), Liveness(gateway=g, alive=True, at_us=now[g])]
        if now[g] > changes:
            changes, register = changes + 2 * DAY_US, changed(rng, register)
            yield Batch(shard=SHARD, prev=pos - 1, pos=pos, inputs=encode(register))
            pos += 1
        rows: list[tuple[int, ...]] = []
        for device in register.devices if begun[g] < now[g] else ():
            hour = (since + 8 * HOUR_US) // HOUR_US % 24
            off = (device.place - 1) // 4 + 1, (since - MIDNIGHT_US) // DAY_US
            often = 0.5 if 8 <= hour < 18 and off not in holiday else 0.01
            if device.gateway != g or now[g] > silent.get(device.id, now[g]):
                continue
            t_us = rng.randrange(since + 1, now[g])
            if rng.random() < 0.5:
                rows.append((t_us, 0, 0, 0, g, device.id, device.place, 0, 0, 0, int(Kind.ALIVE), 0, 0))
            if rng.random() < often and now[g] < idle.get(device.id, 2**62):
                rows += said(rng, device, t_us - rng.choice([0] * 25 + [3 * HOUR_US, 30 * MINUTE_US]))
        yield Batch(
            shard=SHARD,
            prev=pos - 1,
            pos=pos,
            rows=np.array(sorted(rows), COLUMNS),
            coverage=[Coverage(gateway=g, stream=streams[g], from_us=begun[g], through_us=now[g])],
            blind=told,
            liveness=alive,
        )


def key(f: Finding) -> tuple[object, ...]:
    """What both must agree on."""
    return f.rule, f.subject_kind, f.subject, f.episode, f.phase, f.at_us, f.reason["code"]


def with_restarts(batches: list[Batch]) -> Iterator[Finding]:
    """Yield what the engine finds, which goes on from a checkpoint every now and then."""
    engine = Engine()
    for n, batch in enumerate(batches):
        if n % 60 == 59:
            state, engine = engine.dump(SHARD), Engine()
            engine.load(SHARD, state)
        yield from engine.apply(batch)


def test_the_engine_finds_what_the_plain_rules_find() -> None:
    found: set[object] = set()
    for seed in TOWNS:
        rng = Random(seed)
        batches = list(log(rng, town(rng)))
        plain = Plain()
        ours = Counter(key(f) for f in with_restarts(batches))
        theirs = Counter(key(f) for batch in batches for f in plain.apply(batch))
        assert (sorted((ours - theirs).elements(), key=str), sorted((theirs - ours).elements(), key=str)) == ([], []), seed
        found |= {k[0] for k in ours}
    assert found >= RULES - {Rule.DEVICE_SILENT}, "the towns are to show all that is compared, but what needs a week"


def streets(rng: np.random.Generator) -> Iterator[Batch]:
    """Yield five days of a site with three counted entrances and a door: a rush, an hour with few people, a counter that dies."""
    register = town(Random(1))
    site = replace(register.sites[0], hours=HOURS[1], closed=[], modes=[], rules=ODD)
    kinds = ("counter", "counter", "counter", "door")
    devices = [replace(d, gateway=1, family=f, alive_every_us=HOUR_US) for d, f in zip(register.devices[:4], kinds, strict=True)]
    places = [replace(p, room="entrance") for p in register.places[:4]]
    register = replace(register, sites=[site], places=places, devices=devices, persons=[])
    yield Batch(shard=SHARD, prev=0, pos=1, inputs=encode(register))
    scale = np.ones((5 * 24, 4))
    scale[3 * 24 + 9 : 3 * 24 + 11, 0] = 4.0
    scale[3 * 24 + 14 : 3 * 24 + 18, :3] = 0.2
    scale[4 * 24 + 8 : 4 * 24 + 12, :3] = 2.2
    scale[4 * 24 + 13 :, 1] = 0.0
    for hour in range(5 * 24):
        from_us, rows = MIDNIGHT_US + hour * HOUR_US, []
        for n, d in enumerate(devices):
            for t_us in range(from_us + QUARTER_US - n - 1, from_us + HOUR_US, QUARTER_US):
                people = int(rng.poisson(5 * scale[hour, n])) if 8 <= hour % 24 < 20 else 0
                kind = Kind.COUNT_TOTAL if d.family == "counter" else Kind.CONTACT if people else Kind.ALIVE
                came = people if d.family == "counter" else 0
                rows.append((t_us, 1, 0, 0, 1, d.id, d.place, 0, came, came, int(kind), 0, 0))
        cover = Coverage(gateway=1, stream=1, from_us=MIDNIGHT_US, through_us=from_us + HOUR_US)
        yield Batch(shard=SHARD, prev=hour + 1, pos=hour + 2, rows=np.array(sorted(rows), COLUMNS), coverage=[cover])


def test_counters_and_entrances_are_judged_as_the_plain_rules_judge_them() -> None:
    engine, plain, batches = Engine(), Plain(), list(streets(np.random.default_rng(3)))
    ours = Counter(key(f) for batch in batches for f in engine.apply(batch))
    assert ours == Counter(key(f) for batch in batches for f in plain.apply(batch))
    assert {(k[1], k[6]) for k in ours if k[0] in (Rule.UNUSUAL_FOOTFALL, Rule.COUNTER_BLIND)} >= {
        (SubjectKind.PLACE, "footfall_high"),
        (SubjectKind.PLACE, "footfall_low"),
        (SubjectKind.DEVICE, "zeros_others"),
    }


def test_the_fleet_that_is_measured_gives_the_same_findings() -> None:
    fleet, rng, engine, plain = Fleet(sites=12), np.random.default_rng(7), Engine(), Plain()
    batches = [*fleet.days(rng, 1, 3 * fleet.devices), *fleet.live(rng, 1, 20, 200, 2 * MINUTE_US)]
    ours = Counter(key(f) for batch in batches for f in engine.apply(batch))
    assert ours == Counter(key(f) for batch in batches for f in plain.apply(batch))
