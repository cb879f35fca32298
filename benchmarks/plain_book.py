"""What the plain rules know of a site, and how they say something: dicts, and a list of what is open."""

from typing import Any

from analytics.findings import Finding, Phase, Rule, Severity, SubjectKind
from analytics.state import NEVER
from benchmarks import plain_sight
from benchmarks.plain_evening import new_evening
from benchmarks.plain_profiles import new_profile

State = dict[str, Any]


def new_site(number: int) -> State:
    """Return a site of which nothing is known."""
    site: State = {"id": number, "subject": SubjectKind.SITE, "records": [], "waiting": [], "counting": [], "side": 0}
    site |= {"profile": new_profile(), "evening": new_evening()}
    site |= {"started": None, "clock": 0, "due": 0, "agenda": NEVER, "last_act": 0, "judged": 0, "lit_until": 0, "closed": None}
    site |= {"inside": 0, "ins": 0, "outs": 0, "ratio": 1000, "sum_in": 0, "sum_out": 0, "last_exit": 0, "last_sign": 0}
    site |= {"stay_from": NEVER, "stayed": 0, "since": 0, "unsure": NEVER, "odd": False, "quiet": 0, "streaks": {}}
    site |= {"strangers": [0, 0, 0], "hour": 0, "hour_seen": 0, "usual": {}, "hours": {}, "silence": None}
    return site


def new_device(number: int) -> State:
    """Return a device that was not heard yet."""
    device: State = {"id": number, "subject": SubjectKind.DEVICE, "heard": 0, "act": 0, "link_off": 0, "offline": False}
    device |= {"patience": 0, "due": 0, "streaks": {}, "door": None, "door_since": 0, "door_seen": 0}
    device |= {"lit": set(), "dark": set(), "days_through": 0, "open_today": 0, "lit_today": 0, "excused_today": 0}
    device |= dict.fromkeys(("messages", "edges", "opens", "people_in", "people_out", "passages", "strangers", "odd"), 0)
    device |= dict.fromkeys(("hits", "misses", "run", "run_since", "hit_days", "miss_days", "days", "in_today", "out_today"), 0)
    device |= {"in_sum": 0.0, "out_sum": 0.0, "counted_days": 0, "odd_today": 0}
    return device | dict.fromkeys(("quiet_today", "active_today", "heard_today"), False)


def streak_of(of: State, rule: Rule) -> State:
    """Return how long a rule has spoken of a site, place or device, and whether aloud."""
    streak: State = of["streaks"].setdefault(rule, {"on": 0, "since": 0, "raised": False})
    return streak


class Book:
    """The findings of one shard."""

    def __init__(self) -> None:
        self.sites: dict[int, State] = {}
        self.site_of_place: dict[int, State] = {}
        self.devices: dict[int, State] = {}
        self.people: dict[int, State] = {}
        self.views: dict[int, State] = {}
        self.found: list[Finding] = []
        self.shard = 0

    def record(self, site: State, rule: Rule, kind: SubjectKind, subject: int, code: str, at: int, **more: Any) -> State:
        """Hold a new record."""
        r = {"rule": rule, "kind": kind, "subject": subject, "code": code, "episode": at, "since": at, "deadline": at}
        r |= {"until": NEVER, "held": True, "first": 0, "last": 0, "count": 0, "absent": False, **more}
        site["records"].append(r)
        return r

    def begin(self, site: State, r: State) -> None:
        """Say a record that was held."""
        if r["held"]:
            r["held"] = False
            self.say(site, r, Phase.BEGIN, r["deadline"])

    def end(self, site: State, r: State, at: int, phase: Phase = Phase.END) -> None:
        """Close a record, aloud if it was said."""
        site["records"].remove(r)
        if not r["held"]:
            self.say(site, r, phase, at)

    def say(self, site: State, r: State, phase: Phase, at: int) -> None:
        """Make a finding."""
        self.found.append(
            Finding(
                shard=self.shard,
                rule=r["rule"],
                subject_kind=r["kind"],
                subject=r["subject"],
                site=site["id"],
                episode=r["episode"],
                phase=phase,
                at_us=at,
                severity=Severity.MAJOR,
                reason={"code": r["code"]},
            )
        )

    def update(self, site: State, of: State, q: State, rule: Rule, code: str, on: bool, off: bool, **how: Any) -> None:
        """Begin or end what a rule says of a site, a place or a device, quarter by quarter."""
        streak, kind = streak_of(of, rule), of["subject"]
        if on and not streak["on"]:
            streak["since"] = q["from"]
        if not on and not (off and streak["on"]):
            return
        if streak["raised"]:
            same = (
                r for r in site["records"] if r["rule"] is rule and r["subject"] == of["id"] and r["kind"] is kind and r["last"]
            )
            r = next(same, None)
            if r is None:
                streak |= {"on": int(on), "raised": False, "since": q["from"]}
            elif on:
                r["last"], r["first"], r["count"] = q["to"], 0, 0
            else:
                r["first"], r["count"] = r["first"] or q["from"], r["count"] + 1
                if r["count"] >= how.get("end_after", 1):
                    streak |= {"on": 0, "raised": False}
                    self.end(site, r, r["first"])
        elif on:
            streak |= {"on": streak["on"] + 1, "raised": True}
            more: dict[str, Any] = {"deadline": q["to"], "last": q["to"], "people": how.get("people", 0)}
            if how.get("since"):
                more |= {"since": how["since"], "absent": True}
            self.begin(site, self.record(site, rule, kind, of["id"], code, streak["since"], **more))
        else:
            streak["on"] = 0

    def sees_quiet(self, device: State | None, since: int, until: int) -> bool:
        """Tell whether a sensor proves that nothing happened in (since, until]."""
        if device is None or device["mounted"] > since or 0 < device["link_off"] <= until:
            return False
        if since < device["act"] <= until:
            return False
        heard = device["heard"]
        there = heard >= until or (heard > 0 and until - heard < device["alive_every"])
        view = self.views.get(device["gateway"], plain_sight.NOTHING)
        return there and not plain_sight.uncovered(view, device["identity"], since + 1, until)

    def try_held(self, site: State) -> None:
        """Begin what is proven by now."""
        for r in [r for r in site["records"] if r["held"]]:
            if r["rule"] is Rule.LEFT_OPEN:
                if self.sees_quiet(self.devices.get(r["device"]), r["since"], r["deadline"]):
                    self.begin(site, r)
                continue
            stays = r["rule"] is Rule.PEOPLE_AFTER_CLOSING
            watching = [d for d in site["sensors"] if not stays or (d["place"] in site["gates"] and d["family"] != "terminal")]
            if all(self.sees_quiet(d, r["since"], r["deadline"]) for d in watching):
                self.begin(site, r)
                if r["first"] and not stays:
                    self.end(site, r, r["first"])
                elif r["until"] <= site["clock"]:
                    self.end(site, r, r["until"])
