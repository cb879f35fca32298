"""The rules that one event decides, plainly: one call per event and a list of records to look through."""

from typing import Any

from analytics.findings import Phase, Rule, SubjectKind
from analytics.rules import minutes
from analytics.state import NEVER
from analytics.watch import ABSENT
from benchmarks import plain_quarters, plain_residents
from benchmarks.plain_book import Book, State
from gateway.events import FaultCode, Flag, Kind, ListRole, Result

CONTACT, PASSAGE, OCCUPANCY, LINK = int(Kind.CONTACT), int(Kind.PASSAGE), int(Kind.OCCUPANCY), int(Kind.LINK)
BATTERY, TAMPER, FAULT = int(Kind.BATTERY), int(Kind.TAMPER), int(Kind.FAULT)
REPEAT, INFERRED, LATE = int(Flag.REPEAT), int(Flag.INFERRED), int(Flag.LATE)
REFUSED, BLOCK_LIST = int(Result.REFUSED), int(ListRole.BLOCK_LIST)
FAULTS = {
    int(FaultCode.OCCLUDED): (Rule.COUNTER_BLIND, "occluded"),
    int(FaultCode.MOVED): (Rule.TAMPER, "moved"),
    int(FaultCode.HARDWARE): (Rule.STUCK, "hardware"),
    int(FaultCode.BATTERY_LOW): (Rule.BATTERY_LOW, "battery_said_low"),
}
LASTING = {"tamper", *(code for _, code in FAULTS.values())}


class Events(Book):
    """What follows from one event."""

    def observe(self, site: State, e: State, *, late: bool) -> None:
        """Take an event; late: the site's clock has passed it."""
        t, kind, device = e["t_us"], e["kind"], self.devices.get(e["device"])
        if not late:
            site["clock"] = max(site["clock"], t)
        if kind == LINK and e["a"] == 0:
            self._link_lost(site, device, t)
            return
        edge = kind == CONTACT and not e["flags"] & REPEAT
        if device is not None:
            if not late:
                plain_quarters.count(device, e, edge)
            self._heard(site, device, t)
            if kind == CONTACT and t >= device["door_seen"]:
                is_open = e["a"] == 1
                if is_open is not device["door"] or edge:
                    device["door_since"] = t
                device["door"], device["door_seen"] = is_open, t
        if kind == PASSAGE and e["person"]:
            plain_residents.observe(self, e)
        if edge or kind == PASSAGE or e["d_in"] + e["d_out"] > 0:
            self._active(site, device, e, late=late)
        if kind == CONTACT:
            self._contact(site, device, e)
        elif kind in (BATTERY, TAMPER, FAULT) and device is not None and not e["flags"] & LATE:
            self._signal(site, device, e)
        self._inside(site, e, edge, late=late and t < site["clock"])
        if site["records"]:
            site["due"] = 0
            self.try_held(site)

    def _link_lost(self, site: State, device: State | None, t: int) -> None:
        if device is not None and t >= device["heard"]:
            site["due"], device["link_off"] = 0, min(t, device["link_off"] or t)
            if not device["offline"]:
                device["due"] = min(device["due"], device["link_off"] + minutes(site["rules"].device_offline.link_min))

    def _heard(self, site: State, device: State, t: int) -> None:
        if device["offline"]:
            for r in [r for r in site["records"] if r["rule"] is Rule.DEVICE_OFFLINE and r["subject"] == device["id"]]:
                if t > r["since"]:
                    self.end(site, r, t, Phase.END if t > r["deadline"] else Phase.RETRACT)
                    device["offline"], site["due"] = False, 0
        device["heard"] = max(device["heard"], t)
        if device["link_off"] <= t:
            device["link_off"] = 0
        if not device["offline"] and not device["link_off"]:
            device["due"] = max(device["heard"], device["mounted"]) + device["patience"]

    def _active(self, site: State, device: State | None, e: State, *, late: bool) -> None:
        t = e["t_us"]
        subject = {SubjectKind.SITE: site["id"], SubjectKind.DEVICE: e["device"], SubjectKind.PLACE: e["place"]}
        for r in list(site["records"]):
            if late and r["absent"] and r["since"] <= t < r["last"] and subject.get(r["kind"]) == r["subject"]:
                self.end(site, r, t, Phase.RETRACT)
            elif r["rule"] in ABSENT:
                if r["since"] + (r["rule"] is not Rule.NOT_OPENED) <= t <= r["deadline"]:
                    self.end(site, r, t, Phase.RETRACT)
                elif r["deadline"] < t < r["until"] and r["held"]:
                    r["first"] = min(t, r["first"] or t)
                elif r["deadline"] < t < r["until"]:
                    self.end(site, r, t)
        site["last_act"] = max(site["last_act"], t)
        certain = not e["flags"] & (LATE | INFERRED) and (e["kind"] != CONTACT or e["a"] == 1)
        if certain and (late or t > site["lit_until"]) and self.is_night(site, t):
            self._presence(site, e)
        if device is not None:
            device["act"] = max(device["act"], t)

    def is_night(self, site: State, t: int) -> bool:
        """Tell whether nobody should be there."""
        if not site["calendar"].has_hours:
            return False
        s = site["rules"].opened_after_hours
        early, late = minutes(s.before_min), minutes(s.after_min)
        return not any(w.opens_us - early <= t <= w.closes_us + late for w in site["calendar"].around(t))

    def _presence(self, site: State, e: State) -> None:
        t, hold = e["t_us"], minutes(site["rules"].opened_after_hours.hold_min)
        if self._visited(site, t):
            return
        for r in site["records"]:
            if r["rule"] is Rule.OPENED_AFTER_HOURS and r["episode"] - hold <= t <= r["last"] + hold:
                r["last"] = max(r["last"], t)
                return
        code = {CONTACT: "opened", PASSAGE: "passage"}.get(e["kind"], "counted")
        self.begin(site, self.record(site, Rule.OPENED_AFTER_HOURS, SubjectKind.SITE, site["id"], code, t, last=t))

    def _visited(self, site: State, t: int) -> bool:
        return bool(site["calendar"].mode(t, t + 1) == "visit")

    # ---------------------------------------------------------------- doors

    def open_at(self, site: State, d: State, closed: int, deadline: int) -> None:
        """Hold a record against a door that is open at a deadline."""
        known = any(r["rule"] is Rule.LEFT_OPEN and r["subject"] == d["place"] for r in site["records"])
        if d["door"] is not True or known:
            return
        more = {"since": d["door_seen"], "deadline": deadline, "device": d["id"], "open_since": d["door_since"]}
        r = self.record(site, Rule.LEFT_OPEN, SubjectKind.PLACE, d["place"], "left_open", closed, **more)
        if d["door_seen"] >= deadline - minutes(site["rules"].left_open.fresh_min):
            self.begin(site, r)

    def _contact(self, site: State, device: State | None, e: State) -> None:
        t, is_open = e["t_us"], e["a"] == 1
        for r in [r for r in site["records"] if r["rule"] is Rule.LEFT_OPEN and r["device"] == e["device"]]:
            if t <= r["deadline"]:
                if not is_open and t > r["open_since"]:
                    self.end(site, r, t, Phase.RETRACT)
            elif r["held"] and not is_open and e["flags"] & (REPEAT | INFERRED):
                site["records"].remove(r)
            else:
                self.begin(site, r)
                if not is_open:
                    self.end(site, r, t)
        calendar = site["calendar"]
        if not is_open or device is None or e["flags"] & LATE or calendar.at(t) is not None or not calendar.has_hours:
            return
        for w in calendar.around(t):
            deadline = w.closes_us + minutes(site["rules"].left_open.after_min)
            opening = calendar.next_opening(w.closes_us)
            if device["door_since"] <= deadline <= min(t, site["started"]) and (opening is None or t < opening):
                self.open_at(site, device, w.closes_us, deadline)

    # ---------------------------------------------------------------- what devices say of themselves

    def _signal(self, site: State, device: State, e: State) -> None:
        t, on, rules, code = e["t_us"], e["a"] != 0, site["rules"], "tamper"
        rule = Rule.TAMPER
        if e["kind"] == BATTERY:
            rule, code, limit = Rule.BATTERY_LOW, "battery_low", rules.battery_low.percent
            if limit < e["a"] < limit + 10:
                return
            on = e["a"] <= limit
        elif e["kind"] == FAULT:
            if e["aux"] not in FAULTS:
                return
            rule, code = FAULTS[e["aux"]]
        same = (r for r in site["records"] if r["rule"] is rule and r["subject"] == device["id"] and r["code"] == code)
        r = next(same, None)
        if r is None and on:
            self.begin(site, self.record(site, rule, SubjectKind.DEVICE, device["id"], code, t))
        elif r is not None and on:
            r["first"] = 0
        elif r is not None and t >= r["since"]:
            if e["kind"] != BATTERY and rules.tamper.hold_min:
                r["first"] = r["first"] or t
            else:
                self.end(site, r, t)

    # ---------------------------------------------------------------- who is inside

    def _inside(self, site: State, e: State, edge: bool, *, late: bool) -> None:
        t, kind, flags, gate = e["t_us"], e["kind"], e["flags"], e["place"] in site["gates"]
        counted = e["d_in"] + e["d_out"] > 0
        left = gate and (edge or e["d_out"] > 0)
        there = kind == PASSAGE or (kind == OCCUPANCY and e["a"] > 0) or (not gate and (kind == CONTACT or counted))
        sign = there and not flags & (LATE | INFERRED | REPEAT)
        site["last_exit"] = max(site["last_exit"], t) if left else site["last_exit"]
        site["last_sign"] = max(site["last_sign"], t) if sign else site["last_sign"]
        if gate and counted and late:
            site["unsure"] = min(site["unsure"], t) if t > site["since"] else site["unsure"]
        elif gate and counted:
            site["ins"] += e["d_in"]
            site["outs"] += e["d_out"]
            site["inside"] = max(0, site["inside"] + 1000 * e["d_in"] - site["ratio"] * e["d_out"])
        elif kind == OCCUPANCY and not late:
            site["inside"] = max(site["inside"] if site["counted"] else 0, 1000 * e["a"])
            site["stayed"] = max(site["stayed"], 1000 * e["a"]) if t >= site["stay_from"] else site["stayed"]
        if left and site["records"]:
            self._left(site, t)
        if not late:
            self._crowding(site, e)
            if sign and t >= site["stay_from"]:
                self.stays(site, t)
        if kind == PASSAGE and e["a"] == REFUSED and e["b"] == BLOCK_LIST and not flags & LATE:
            self._refused(site, t)

    def _crowding(self, site: State, e: State) -> None:
        t, inside, capacity, rules = e["t_us"], site["inside"], site["capacity"], site["rules"].crowding
        if capacity is None or (inside <= site["limit"] and not site["records"]):
            return
        people = round(inside / 1000)
        r = next((r for r in site["records"] if r["rule"] is Rule.CROWDING), None)
        if r is not None and inside <= 1000 * capacity * min(rules.share, rules.clear_share):
            self.end(site, r, t)
        elif r is not None and people >= r["people"] + max(1, capacity // 10):
            r["people"] = people
            self.say(site, r, Phase.CONTINUE, t)
        elif r is None and inside > site["limit"] and not e["flags"] & LATE and not self._visited(site, t):
            code = "crowding_unsure" if site["unsure"] < NEVER else "crowding"
            more: dict[str, Any] = {"last": t, "count": 1, "people": people}
            self.begin(site, self.record(site, Rule.CROWDING, SubjectKind.SITE, site["id"], code, t, **more))

    def closed_at(self, site: State, t: int) -> int | None:
        """Return when the day closed whose night `t` lies in."""
        calendar = site["calendar"]
        if not calendar.has_hours or calendar.at(t) is not None:
            return None
        before = [w for w in calendar.around(t) if w.closes_us <= t]
        known = before and calendar.is_last(before[-1]) and before[-1].opens_us > 0
        return before[-1].closes_us if known else None

    def stays(self, site: State, t: int) -> None:
        """Look whether someone is still inside."""
        closed, rules, calendar = self.closed_at(site, t), site["rules"], site["calendar"]
        if closed is None or t < closed + minutes(rules.people_after_closing.after_min) or self._visited(site, t):
            return
        if any(r["rule"] is Rule.PEOPLE_AFTER_CLOSING for r in site["records"]):
            return
        opening, sign = calendar.next_opening(t), site["last_sign"]
        if opening is not None and t >= opening - minutes(rules.opened_after_hours.before_min):
            return
        people = min(site["inside"], site["stayed"])
        enough = site["counted"] and site["unsure"] >= closed and people >= 1000 * rules.people_after_closing.people
        if enough and sign > max(closed, site["last_exit"]):
            more = {"since": sign, "deadline": t, "until": opening or NEVER}
            self.record(site, Rule.PEOPLE_AFTER_CLOSING, SubjectKind.SITE, site["id"], "people_after_closing", closed, **more)
            self.try_held(site)

    def _left(self, site: State, t: int) -> None:
        for r in [r for r in site["records"] if r["rule"] is Rule.PEOPLE_AFTER_CLOSING]:
            few = site["inside"] < 1000 * site["rules"].people_after_closing.people
            if r["since"] < t <= r["deadline"]:
                self.end(site, r, t, Phase.RETRACT)
            elif t > r["deadline"] and (r["held"] or few):
                self.end(site, r, t)

    def _refused(self, site: State, t: int) -> None:
        hold = minutes(site["rules"].refused_person.hold_min)
        for r in site["records"]:
            if r["rule"] is Rule.REFUSED_PERSON and r["episode"] - hold <= t <= r["last"] + hold:
                r["last"] = max(r["last"], t)
                self.say(site, r, Phase.CONTINUE, r["last"])
                return
        self.begin(site, self.record(site, Rule.REFUSED_PERSON, SubjectKind.SITE, site["id"], "refused_person", t, last=t))
