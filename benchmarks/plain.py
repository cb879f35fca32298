"""The rules as most people would write them: dicts, one call per event, timers looked at as time goes on, loops over subjects.

One decision: it is written anew from what the rules mean and shares only the calendar, the settings and, for a silence and a
person's rhythm, the formula (`silence` and `rhythm`, of one site or person at a time), so that it is both what the engine is
measured against and the oracle of a test. Of a reason it says the code alone.
"""

from collections.abc import Iterable

from analytics.calendars import Window
from analytics.findings import Finding, Rule, SubjectKind
from analytics.quarters import QUARTER_US
from analytics.rules import HELD_US, minutes
from analytics.state import NEVER
from analytics.watch import ABSENT
from benchmarks import plain_evening, plain_quarters, plain_sight
from benchmarks.plain_book import State
from benchmarks.plain_events import LASTING, Events
from benchmarks.plain_register import register
from gateway.events import MAX_TIME_US, MIN_TIME_US
from ingest.columns import Batch
from ingest.inputs import decode

RULES = frozenset(Rule) - {Rule.NOBODY_REACHED}
"""What is found here; that nobody could be reached is no finding of the engine either."""


def events_of(batch: Batch) -> list[State]:
    """Return a batch's rows as dicts, in the order of the log."""
    names = batch.rows.dtype.names or ()
    return [dict(zip(names, values, strict=True)) for values in batch.rows.tolist()]


class Plain(Events):
    """One shard."""

    def apply(self, batch: Batch, events: Iterable[State] | None = None) -> list[Finding]:
        """Take a batch; `events`: its rows, where they are dicts already. Returns what it reveals."""
        self.found, self.shard = [], batch.shard
        if batch.inputs is not None:
            register(self, decode(batch.inputs))
        plain_sight.look(self, batch)
        for e in events_of(batch) if events is None else events:
            site = self.site_of_place.get(e["place"])
            if site is not None:
                site["waiting"].append(e)
        self._go_on()
        return self.found

    # ---------------------------------------------------------------- time

    def _go_on(self) -> None:
        """Let every site come to its clock, and close the quarters of an hour on the way, of all sites in turn."""
        clocks: dict[int, int] = {}
        ends: set[int] = set()
        for number, site in self.sites.items():
            views = [v for g in site["gateways"] if (v := self.views.get(g)) and v["spans"]]
            if site["started"] is None and views:
                site["started"] = site["clock"] = views[0]["spans"][0][0]
                self.turn_page(site, site["clock"])
            if site["started"] is not None:
                clocks[number] = max(site["clock"], min((v["through"] for v in views if v["alive"]), default=0))
                ends |= set(range(site["clock"] // QUARTER_US + 1, clocks[number] // QUARTER_US + 1))
                site["waiting"].sort(key=lambda e: (e["t_us"], e["device"]))
        for end_us in [end * QUARTER_US for end in sorted(ends)]:
            closing = [self.sites[i] for i, clock in clocks.items() if self.sites[i]["clock"] < end_us <= clock]
            for site in closing:
                self._sweep(site, end_us - 1)
            for site in closing:
                plain_quarters.close(self, site, end_us)
        for number, clock in clocks.items():
            self._sweep(self.sites[number], clock)

    def _sweep(self, site: State, upto: int) -> None:
        """Take the events and deadlines of a site up to a time; an event comes before a deadline of the same time."""
        waiting, clock, n = site["waiting"], site["clock"], 0
        while n < len(waiting) and waiting[n]["t_us"] <= upto:
            e, n = waiting[n], n + 1
            late = e["t_us"] <= clock
            if late:
                site["due"] = 0
            elif e["t_us"] > site["due"]:
                self._fire_before(site, e["t_us"])
            self.observe(site, e, late=late)
        if n:
            del waiting[:n]
        if site["due"] <= upto or site["records"]:
            self._fire_before(site, upto + 1)
        site["clock"] = upto

    def _fire_before(self, site: State, t: int) -> None:
        if site["records"]:
            self.try_held(site)
        while (due := self._next_due(site)) < t:
            site["clock"] = max(site["clock"], due)
            self._fire(site, due)
        site["due"] = min(due, *(d["due"] for d in site["devices"])) if site["devices"] else due

    def _next_due(self, site: State) -> int:
        due: int = min(site["agenda"], self._silence_due(site), plain_evening.due(site))
        for r in site["records"]:
            due = min(due, self._over_at(site, r), r["deadline"] + HELD_US if r["held"] else NEVER)
        for d in site["devices"]:
            if d["due"] < due and d["due"] <= self._heard_through(d):
                due = d["due"]
        return due

    def _over_at(self, site: State, r: State) -> int:
        """Return when a record is over unless something goes on."""
        rules, end = site["rules"], NEVER
        if r["rule"] is Rule.OPENED_AFTER_HOURS:
            opening = site["calendar"].next_opening(r["episode"])
            end = r["last"] + minutes(rules.opened_after_hours.hold_min)
            if opening is not None:
                end = max(r["last"], min(end, opening - minutes(rules.opened_after_hours.before_min)))
        elif r["rule"] is Rule.REFUSED_PERSON:
            end = r["last"] + minutes(rules.refused_person.hold_min)
        elif r["first"] and r["code"] in LASTING:
            end = r["first"] + minutes(rules.tamper.hold_min)
        return end

    def _fire(self, site: State, now: int) -> None:
        for d in site["devices"]:
            if d["due"] <= min(now, self._heard_through(d)):
                plain_sight.device_due(self, site, d, d["due"])
        if self._silence_due(site) <= now:
            self._silent(site)
        if (early := plain_evening.due(site)) <= now:
            plain_evening.fire(self, site, early)
        for r in list(site["records"]):
            over = self._over_at(site, r)
            if over <= now:
                self.end(site, r, r["first"] if r["code"] in LASTING else over)
        if site["agenda"] <= now:
            self._calendar(site, site["agenda"])
        site["records"][:] = [r for r in site["records"] if not (r["held"] and r["deadline"] + HELD_US <= now)]

    def _heard_through(self, device: State) -> int:
        view = self.views.get(device["gateway"])
        return view["through"] if view else 0

    # ---------------------------------------------------------------- calendar

    def turn_page(self, site: State, now: int) -> None:
        """Set what holds from `now` on and when the calendar speaks next."""
        calendar, rules = site["calendar"], site["rules"]
        closed = self.closed_at(site, now)
        site["stay_from"] = NEVER if closed is None else closed + minutes(rules.people_after_closing.after_min)
        site["lit_until"] = 0 if calendar.has_hours else NEVER
        times = [calendar.day_of(now)[1]]
        for w in calendar.around(now) if calendar.has_hours else ():
            at = self._times(site, w)
            times += [t for t in (*at.values(), *plain_evening.looks(site, w)) if MIN_TIME_US < t < MAX_TIME_US]
            if at["early"] <= now:
                site["lit_until"] = at["night"]
        site["agenda"] = min(t for t in times if t > now)

    def _times(self, site: State, w: Window) -> dict[str, int]:
        rules = site["rules"]
        return {
            "early": w.opens_us - minutes(rules.opened_after_hours.before_min),
            "opens": w.opens_us,
            "opened": w.opens_us + minutes(rules.not_opened.grace_min),
            "closes": w.closes_us,
            "night": w.closes_us + minutes(rules.opened_after_hours.after_min),
            "left": w.closes_us + minutes(rules.left_open.after_min),
            "stays": w.closes_us + minutes(rules.people_after_closing.after_min),
        }

    def _calendar(self, site: State, now: int) -> None:
        calendar, records = site["calendar"], site["records"]
        for w in calendar.around(now) if calendar.has_hours else ():
            at = self._times(site, w)
            opening = calendar.next_opening(w.closes_us)
            if now == at["left"] and (opening is None or opening > now):
                for d in site["sensors"]:
                    self.open_at(site, d, w.closes_us, now)
                self.try_held(site)
            if now == at["opened"] < w.closes_us and w.first:
                self._not_opened(site, w, now)
            if now == w.opens_us:
                for r in [r for r in records if r["rule"] in (Rule.LEFT_OPEN, Rule.PEOPLE_AFTER_CLOSING)]:
                    self.end(site, r, now)
            if now in plain_evening.looks(site, w):
                plain_evening.look(site, w, now)
            if now == w.closes_us:
                plain_evening.learn(site, w)
                for r in [r for r in records if r["rule"] in ABSENT and not r["held"]]:
                    self.end(site, r, now)
            if now == at["stays"]:
                site["stayed"] = site["inside"]
                self.stays(site, now)
        self.turn_page(site, now)

    # ---------------------------------------------------------------- nobody there

    def _not_opened(self, site: State, w: Window, now: int) -> None:
        since = w.opens_us - minutes(site["rules"].not_opened.before_min)
        if site["sensors"] and site["last_act"] < since:
            more = {"since": since, "deadline": now, "until": w.closes_us}
            self.record(site, Rule.NOT_OPENED, SubjectKind.SITE, site["id"], "not_opened", w.opens_us, **more)
            self.try_held(site)

    def _silence_due(self, site: State) -> int:
        """Return when the present silence becomes too long."""
        clock, calendar = site["clock"], site["calendar"]
        window = calendar.at(clock) if calendar.has_hours and site["sensors"] else None
        if window is None:
            return NEVER
        base = max(window.opens_us, site["last_act"], site["started"])
        closed = any(r["rule"] is Rule.NOT_OPENED and r["episode"] == window.opens_us for r in site["records"])
        if base == site["judged"] or closed or not plain_quarters.is_fixed(site, base, clock):
            return NEVER
        due = plain_quarters.silence_deadline(site, base)
        return NEVER if due >= window.closes_us else due

    def _silent(self, site: State) -> None:
        window = site["calendar"].at(site["clock"])
        base = site["judged"] = max(window.opens_us, site["last_act"], site["started"])
        code = plain_quarters.silence_code(site, base)
        more = {"deadline": plain_quarters.silence_deadline(site, base), "until": window.closes_us}
        self.record(site, Rule.NO_ACTIVITY, SubjectKind.SITE, site["id"], code, base, **more)
        self.try_held(site)
