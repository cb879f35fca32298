"""The catalogue of incidents: what goes wrong, when it is likely to, and what should be said about it.

One decision: an incident is described by what happens in the world, never by a rule's thresholds; its truth names the rule
that is there for it, and the rules that may speak as a consequence.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from random import Random

from firmware_sim.device import Fault, Hold, Toggle, Trouble
from firmware_sim.habits import Visit
from firmware_sim.people import local_day
from firmware_sim.plot import Line, Power, Switch
from firmware_sim.scene import (
    Incident,
    Scene,
    Unsuitable,
    after_closing,
    all_open,
    before_closing,
    by_day,
    night,
    open_by_day,
    opening,
    until_morning,
)
from gateway.clock import HOUR_US, MINUTE_US, SECOND_US

QUIET = ("no_activity", "closed_early", "unusual_footfall", "resident_absent")
"""What an empty house may lead to besides."""


# ---------------------------------------------------------------- people


def _not_opened(s: Scene) -> None:
    begin, end = s.span
    s.plot.change(s.site.code, lambda usual: [v for v in usual if not begin - 3 * HOUR_US <= v.arrive_us < end + 2 * HOUR_US])
    s.say("not_opened", also=QUIET)


def _closed_early(s: Scene) -> None:
    left, closes = s.span

    def go(visits: Sequence[Visit]) -> list[Visit]:
        kept = [v for v in visits if not left - 10 * MINUTE_US <= v.arrive_us < closes + 2 * HOUR_US]
        return [
            replace(v, leave_us=left - v.leave_us % (8 * MINUTE_US), seen_us=None) if v.arrive_us < left < v.leave_us else v
            for v in kept
        ]

    s.plot.change(s.site.code, go)
    s.say("closed_early", also=QUIET)


def _nobody_came(s: Scene) -> None:
    begin, end = s.span

    def stay(visits: Sequence[Visit]) -> list[Visit]:
        kept = [v for v in visits if not begin - MINUTE_US <= v.arrive_us < end]
        kept = [replace(v, seen_us=None) if v.seen_us and begin - MINUTE_US <= v.seen_us < end else v for v in kept]
        return [replace(v, leave_us=end + v.leave_us % HOUR_US) if begin <= v.leave_us < end else v for v in kept]

    s.plot.change(s.site.code, stay)
    s.say("no_activity", also=QUIET)


def _intrusion(s: Scene) -> None:
    begin, end = s.span
    s.come([Visit(arrive_us=begin, leave_us=end, local_id=None)])
    s.say("opened_after_hours")


def _people_remain(s: Scene) -> None:
    closes, leave = s.span
    s.device("counter"), s.device("terminal")
    known = s.site.persons[3:5]
    s.come([Visit(arrive_us=closes - HOUR_US - n * MINUTE_US, leave_us=leave + n * MINUTE_US, local_id=p,
                  seen_us=closes + (50 + n) * MINUTE_US) for n, p in enumerate(known)])  # fmt: skip
    s.say("people_after_closing", also=("opened_after_hours", "unusual_footfall"))


def _crowd(s: Scene) -> None:
    begin, end = s.span
    s.device("counter")
    many = math.ceil(s.site.capacity * 1.25)
    step = 30 * MINUTE_US // many
    s.come([Visit(arrive_us=begin + n * step, leave_us=end + n * step, local_id=None) for n in range(many)])
    s.say("crowding", also=("unusual_footfall", "people_after_closing"), span=(begin + 20 * MINUTE_US, end + 30 * MINUTE_US))


def _footfall_high(s: Scene) -> None:
    begin, end = s.span
    counter = s.device("counter")
    times = sorted(s.rng.uniform(begin, end) for _ in range(40))
    s.come([Visit(arrive_us=int(t), leave_us=int(t + s.rng.uniform(5, 15) * MINUTE_US), local_id=None) for t in times])
    s.say("unusual_footfall", s.site.code, s.place(counter), s.place(s.device("door")), also=("crowding",))


def _footfall_low(s: Scene) -> None:
    begin, end = s.span
    counter = s.device("counter")
    seed = s.rng.random()

    def few(visits: Sequence[Visit]) -> list[Visit]:
        def keeps(v: Visit) -> bool:
            at_work = not begin <= v.arrive_us < end or v.staff
            return at_work or Random(f"{seed}/{v.arrive_us}").random() < 0.12  # noqa: S311 - repeatable by intention

        return [v for v in visits if keeps(v)]

    s.plot.change(s.site.code, few)
    s.say("unusual_footfall", s.site.code, s.place(counter), s.place(s.device("door")), also=QUIET)


def _resident_stops(s: Scene) -> None:
    begin, end = s.span
    person = s.person or _regular(s)
    s.plot.change(s.site.code, lambda usual: [v for v in usual if v.local_id != person or not begin <= v.arrive_us < end])
    token = s.site.tokens[s.site.persons.index(person)]
    s.say("resident_absent", token)


def _regular(s: Scene) -> str:
    regular = [h.local_id for h in s.plot.people.habits(s.site) if h.role == "resident" and min(h.chances[:5]) > 0.8]
    if not regular:
        raise Unsuitable(f"nobody comes to {s.site.code} every day")
    return s.rng.choice(regular)


def _refused(s: Scene) -> None:
    begin, _ = s.span
    s.device("terminal")
    s.come([Visit(arrive_us=begin, leave_us=begin + 3 * MINUTE_US, local_id="900", refused=True)])
    s.say("refused_person")


def _strangers(s: Scene) -> None:
    begin, end = s.span
    s.device("terminal")
    times = sorted(s.rng.uniform(begin, end) for _ in range(24))
    s.come([Visit(arrive_us=int(t), leave_us=int(t) + 4 * MINUTE_US, local_id="") for t in times])
    s.say("stranger_spike", also=("unusual_footfall", "crowding"))


def _empty_city(s: Scene) -> None:
    begin, end = s.span
    seed = s.rng.random()

    def few(visits: Sequence[Visit]) -> list[Visit]:
        return [
            v
            for v in visits
            if not begin <= v.arrive_us < end or v.staff or Random(f"{seed}/{v.arrive_us}").random() < 0.2  # noqa: S311
        ]

    s.plot.change(s.site.code, few)
    s.say(None, also=QUIET)


def _closure(s: Scene) -> None:
    begin, end = s.span
    opening(s.site, local_day(begin + (end - begin) // 2, s.site.zone))  # where there are beds, it does not close
    _not_opened(s)
    s.plot.truths.pop()
    s.plot.closures.append((s.site.code, begin - 3 * HOUR_US, end + 2 * HOUR_US))
    s.say(None)


# ---------------------------------------------------------------- doors and devices


def _left_open(s: Scene) -> None:
    closes, end = s.span
    door = s.device("door")
    s.do(closes - round(s.rng.uniform(2, 40) * MINUTE_US), door, Hold())
    s.do(end, door, Hold(open=False))
    s.say("left_open", s.place(door))


def _dead(s: Scene) -> None:
    device = s.rng.choice(s.site.devices)
    s.fault(device, Trouble.DEAD)
    s.say("device_offline", device, also=("device_silent", "counter_blind", "stuck", "monitoring_gap", "resident_absent"))


def _deaf(s: Scene) -> None:
    s.in_use(1)
    terminal = s.device("terminal")
    s.fault(terminal, Trouble.BLIND)
    s.say("device_silent", terminal, also=("stuck", "resident_absent"))


def _stuck(s: Scene) -> None:
    s.in_use(1)
    door = s.device("door")
    s.device("counter")
    s.fault(door, Trouble.STUCK)
    s.say("stuck", door, also=("device_silent",))


def _flapping(s: Scene) -> None:
    begin, end = s.span
    door, at = s.device("door"), begin
    while at < end:
        s.do(at, door, Toggle())
        at += round(s.rng.uniform(2, 9) * SECOND_US)
    s.do(end, door, Hold(open=False))
    s.say("flapping", door, also=("unusual_footfall",))


def _blind(s: Scene) -> None:
    s.in_use(0)
    counter = s.device("counter")
    s.fault(counter, Trouble.BLIND)
    s.say("counter_blind", counter, also=("unusual_footfall", "count_mismatch", "device_silent", "stuck"))


def _drift(s: Scene) -> None:
    s.in_use(3)
    counter = s.device("counter")
    s.fault(counter, Trouble.MISSES_OUT, 0.6)
    s.say("count_mismatch", counter, also=("crowding", "people_after_closing", "unusual_footfall"))


def _battery(s: Scene) -> None:
    begin, end = s.span
    door = s.device("door")
    for n, percent in enumerate((20, 18, 15, 12, 9, 6)):
        s.do(begin + n * (end - begin) // 6, door, Fault(trouble=Trouble.BATTERY, value=percent))
    s.do(end, door, Fault(trouble=Trouble.BATTERY, value=100))
    s.say("battery_low", door)


def _tamper(s: Scene) -> None:
    door = s.device("door")
    s.fault(door, Trouble.TAMPER)
    s.say("tamper", door)


def _clock(s: Scene) -> None:
    terminal = s.device("terminal")
    s.fault(terminal, Trouble.CLOCK, 3 * 3600)
    s.say("clock_wrong", terminal)


def _skew(s: Scene) -> None:
    s.fault(s.device("terminal"), Trouble.CLOCK, 40)
    s.say(None)


# ---------------------------------------------------------------- gateways and lines


def _uplink(s: Scene) -> None:
    _switch(s, Power.CUT_OFF, Power.REACHES)
    s.say("monitoring_gap", s.site.code, s.site.gateway)


def _power(s: Scene) -> None:
    _switch(s, Power.OFF, Power.ON)
    for device in s.site.devices:
        s.fault(device, Trouble.DEAD)
    s.say("monitoring_gap", s.site.code, s.site.gateway, also=("device_offline", "device_silent", "unusual_footfall"))


def _switch(s: Scene, first: Power, then: Power) -> None:
    begin, end = s.span
    s.plot.switches += [
        Switch(at_us=begin, gateway=s.site.gateway, power=first),
        Switch(at_us=end, gateway=s.site.gateway, power=then),
    ]


def _bridge(s: Scene) -> None:
    begin, end = s.span
    doors = frozenset(d for d in s.site.devices if d.startswith("z2m/"))
    if not doors:
        raise Unsuitable(f"{s.site.code} has no zigbee2mqtt")
    s.plot.bridge(s.site.gateway, begin, up=False)
    s.plot.bridge(s.site.gateway, end, up=True)
    s.plot.lines.append(Line(identities=doors, from_us=begin, to_us=end, lost=1))
    s.say("monitoring_gap", s.site.code, s.site.gateway)


def _line(**shares: float) -> Callable[[Scene], None]:
    def happen(s: Scene) -> None:
        begin, end = s.span
        s.plot.lines.append(Line(identities=frozenset(s.site.devices), from_us=begin, to_us=end, **shares))
        s.say(None)

    return happen


def _lost_edges(s: Scene) -> None:
    begin, end = s.span
    s.plot.lines.append(Line(identities=frozenset({s.device("door")}), from_us=begin, to_us=end, lost=0.25))
    s.say(None)


INCIDENTS: Mapping[str, Incident] = {
    "not_opened": Incident(happen=_not_opened, span=all_open, rule="not_opened"),
    "closed_early": Incident(happen=_closed_early, span=before_closing, rule="closed_early"),
    "nobody_came": Incident(happen=_nobody_came, span=open_by_day(1, 2.5, 5, 6), rule="no_activity"),
    "intrusion": Incident(happen=_intrusion, span=night, rule="opened_after_hours"),
    "door_left_open": Incident(happen=_left_open, span=until_morning, rule="left_open"),
    "people_remain": Incident(happen=_people_remain, span=after_closing(100, 160), rule="people_after_closing"),
    "crowd": Incident(happen=_crowd, span=open_by_day(1.5, 5, 1, 1.5), rule="crowding"),
    "footfall_high": Incident(happen=_footfall_high, span=open_by_day(1, 5, 1.5, 2), rule="unusual_footfall"),
    "footfall_low": Incident(happen=_footfall_low, span=all_open, rule="unusual_footfall"),
    "resident_stops": Incident(happen=_resident_stops, span=by_day(0, 0, 240), rule="resident_absent"),
    "refused": Incident(happen=_refused, span=open_by_day(1, 7, 0.1), rule="refused_person"),
    "stranger_spike": Incident(happen=_strangers, span=open_by_day(1, 6, 0.75), rule="stranger_spike"),
    "sensor_dead": Incident(happen=_dead, span=by_day(0, 8, 30, 60), rule="device_offline"),
    "terminal_deaf": Incident(happen=_deaf, span=by_day(0, 6, 120, 144), rule="device_silent"),
    "stuck": Incident(happen=_stuck, span=by_day(0, 6, 96, 120), rule="stuck"),
    "flapping": Incident(happen=_flapping, span=open_by_day(1, 6, 0.7, 1.2), rule="flapping"),
    "blind_counter": Incident(happen=_blind, span=by_day(0, 5, 40, 60), rule="counter_blind"),
    "count_drift": Incident(happen=_drift, span=by_day(0, 5, 288), rule="count_mismatch"),
    "battery_low": Incident(happen=_battery, span=by_day(0, 12, 24, 60), rule="battery_low"),
    "tamper": Incident(happen=_tamper, span=by_day(0, 12, 1, 4), rule="tamper"),
    "clock_wrong": Incident(happen=_clock, span=by_day(0, 2, 20, 30), rule="clock_wrong"),
    "gateway_offline": Incident(happen=_uplink, span=by_day(-2, 8, 2, 6), rule="monitoring_gap"),
    "power_cut": Incident(happen=_power, span=by_day(-2, 8, 1, 3), rule="monitoring_gap"),
    "bridge_offline": Incident(happen=_bridge, span=by_day(-2, 8, 1, 3), rule="monitoring_gap"),
    "duplicates": Incident(happen=_line(doubled=0.5), span=by_day(0, 3, 6), rule=None),
    "reorder": Incident(happen=_line(delayed=0.3, delay_s=90), span=by_day(0, 3, 6), rule=None),
    "lost_edges": Incident(happen=_lost_edges, span=by_day(0, 3, 24), rule=None),
    "clock_skew": Incident(happen=_skew, span=by_day(0, 3, 24), rule=None),
    "empty_city": Incident(happen=_empty_city, span=by_day(-1, -1, 12), rule=None, everywhere=True),
    "closure": Incident(happen=_closure, span=all_open, rule=None),
    "citywide_closure": Incident(happen=_closure, span=by_day(-1, -1, 12), rule=None, everywhere=True),
}


def add(name: str, scene: Scene) -> None:
    """Let an incident happen. Raises Unsuitable, and then the plot is unchanged."""
    before = len(scene.plot.truths)
    INCIDENTS[name].happen(scene)
    scene.plot.truths[before:] = [replace(t, incident=name) for t in scene.plot.truths[before:]]
