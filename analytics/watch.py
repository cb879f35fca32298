"""One site through a stretch of event time: its events and its deadlines, in order, one by one.

One decision: an event and a deadline meet in the order of their times, whatever batches they came in, so the log alone decides
what is found. The engine takes this way only for sites where something is due, open or late; the others pass as columns.

    events (t <= clock) ──┐
    deadlines, calendar ──┴─ in time order → state, held or open records → findings
"""

from typing import Any

from analytics.calendars import Window
from analytics.doors import Doors
from analytics.evening import Evening, looks
from analytics.findings import Finding, Rule, Severity, SubjectKind
from analytics.inactivity import deadline, fixed, reason
from analytics.inside import PRESENCE, Inside
from analytics.rules import HELD_US, minutes
from analytics.sensors import Row
from analytics.signals import SIGNALS, Signals
from analytics.state import NEVER, Record
from gateway.events import MAX_TIME_US, MIN_TIME_US, Flag, Kind

CONTACT, PASSAGE = int(Kind.CONTACT), int(Kind.PASSAGE)
REPEAT, UNCERTAIN = int(Flag.REPEAT), int(Flag.LATE | Flag.INFERRED)
ABSENT = frozenset({Rule.NOT_OPENED, Rule.NO_ACTIVITY, Rule.CLOSED_EARLY})
"""Rules about nobody being there, in opening hours."""
BY_EVENT = ABSENT | {Rule.OPENED_AFTER_HOURS, Rule.LEFT_OPEN, Rule.PEOPLE_AFTER_CLOSING, Rule.CROWDING, Rule.REFUSED_PERSON}
"""Rules whose open records any event of the site may change."""


class Watch(Doors, Inside, Evening, Signals):
    """The rules of one site; short-lived, all it knows is in `Memory`. `found` collects findings."""

    # ---------------------------------------------------------------- time

    def sweep(self, rows: list[Row], upto: int) -> list[Finding]:
        """Go through `rows` (in order of time) and all deadlines up to `upto`. Returns what was found, in order."""
        clock = int(self.state["clock"])
        upto = max(clock, upto)
        i = 0
        while i < len(rows) and rows[i]["t_us"] <= clock:  # late evidence
            self._observe(rows[i], late=True)
            i += 1
        self._try_held()
        while True:
            due = self._next_due()
            while i < len(rows) and rows[i]["t_us"] <= due:
                self._observe(rows[i], late=False)
                due, i = self._next_due(), i + 1
            if due > upto:
                break
            self.state["clock"] = max(int(self.state["clock"]), due)
            self._fire(due)
        self.state["clock"] = upto
        self.state["due"] = due
        self.state["open_records"] = any(r.rule in BY_EVENT for r in self.records)
        self.state["held"] = any(r.held for r in self.records)
        return self.found

    def begin(self, from_us: int) -> None:
        """Start watching: nothing before `from_us` is asked for."""
        self.state["started"] = self.state["clock"] = from_us
        self.state["due"] = 0
        self._turn_page(from_us)

    def refresh(self) -> list[Finding]:
        """Look at the calendar anew, after the register changed; what a closure or a removal has overtaken ends."""
        self.state["due"] = 0
        self._turn_page(int(self.state["clock"]))
        here = {int(self.memory.devices["id"][d]) for d in self.site.devices}
        for r in list(self.records):
            device = r.reason.get("device") if r.rule is Rule.LEFT_OPEN else r.subject if r.kind is SubjectKind.DEVICE else None
            if self._overtaken(r):
                self.withdraw(r, int(self.state["clock"]), "visit" if r.rule in PRESENCE else "closure")
            elif device is not None and device not in here:
                self.end(r, max(int(self.state["clock"]), r.deadline_us), "removed")
        return self.found

    def _overtaken(self, r: Record) -> bool:
        """Tell whether a closure now explains an absence, or a visit a presence."""
        if r.rule in PRESENCE:
            return self._visited(r.deadline_us)
        if r.rule in ABSENT:
            return self.site.calendar.at(r.deadline_us) is None
        return r.absent and r.kind is not SubjectKind.DEVICE and any(a <= r.since_us < b for a, b in self.site.input.closed)

    def _next_due(self) -> int:
        dues = [int(self.state["agenda"]), self._no_activity_due(), self._early_due()]
        dues += [self._after_hours_end(r) for r in self.records if r.rule is Rule.OPENED_AFTER_HOURS]
        dues += [r.deadline_us + HELD_US for r in self.records if r.held]
        dues += [due for due, _ in self._signals_due() + self._refused_due()]
        for d in self.site.devices:
            due = int(self.memory.devices["due"][d])
            if due <= self._device_clock(d):
                dues.append(due)
        return min(dues)

    def _fire(self, now: int) -> None:
        for d in self.site.devices:
            if self.memory.devices["due"][d] <= min(now, self._device_clock(d)):
                self._device_due(d, int(self.memory.devices["due"][d]))
        if self._no_activity_due() <= now:
            self._no_activity()
        if self._early_due() <= now and (early := self._early(self._early_due())):
            self._raise_when_proven(early)
        self._signals_fire(now)
        self._refused_fire(now)
        for r in [r for r in self.records if r.rule is Rule.OPENED_AFTER_HOURS]:
            if self._after_hours_end(r) <= now:
                self.end(r, self._after_hours_end(r), "quiet")
        if self.state["agenda"] <= now:
            self._calendar(int(self.state["agenda"]))
        for r in [r for r in self.records if r.held and r.deadline_us + HELD_US <= now]:
            self.records.remove(r)

    # ---------------------------------------------------------------- calendar

    def _turn_page(self, now: int) -> None:
        """Set what holds from `now` on and when the calendar speaks next."""
        day_from, day_to = self.site.calendar.day_of(now)
        if self.state["day_from"] != day_from:
            self.state["day_from"], self.state["day_to"] = day_from, day_to
            self.state["today_in"] = self.state["today_passages"] = 0
        self.state["night"] = self._is_night(now + 1)  # of what comes: at `now` itself, leaving is still normal
        self._await_closing(now)
        times = [day_to]
        if self.site.calendar.has_hours:
            for w in self.site.calendar.around(now):
                times += [t for t in self._times(w.opens_us, w.closes_us) if MIN_TIME_US < t < MAX_TIME_US]
        self.state["agenda"] = min(t for t in times if t > now)

    def _times(self, opens: int, closes: int) -> tuple[int, ...]:
        rules, after = self.site.rules, self.site.rules.opened_after_hours
        return (
            opens - minutes(after.before_min),
            opens,
            opens + minutes(rules.not_opened.grace_min),
            closes,
            closes + minutes(after.after_min),
            closes + minutes(rules.left_open.after_min),
            self._stay_deadline(closes),
            *looks(self.site, opens, closes),
        )

    def _calendar(self, now: int) -> None:
        if self.site.calendar.has_hours:
            for w in self.site.calendar.around(now):
                _, opens, opened, closes, _, left, stayed, *evening = self._times(w.opens_us, w.closes_us)
                if now == left:
                    self._left_open(w.closes_us, now)
                    self._try_held()
                if now == opened and opened < closes and w.first:
                    self._not_opened(opens, now, closes)
                if now == opens:
                    self._opening(now)
                if now in evening:
                    self._look_at_evening(w, now)
                if now == closes:
                    self._learn_evening(w)
                    self._closing(now)
                if now == stayed:
                    self._who_stays()
                    self._stays(now)
        self._turn_page(now)

    def _opening(self, now: int) -> None:
        for r in [r for r in self.records if r.rule in (Rule.LEFT_OPEN, Rule.PEOPLE_AFTER_CLOSING)]:
            self.end(r, now, "opening")

    def _closing(self, now: int) -> None:
        for r in [r for r in self.records if r.rule in ABSENT and not r.held]:
            self.end(r, now, "closing")

    def _is_night(self, t: int) -> bool:
        if not self.site.calendar.has_hours:
            return False
        s = self.site.rules.opened_after_hours
        before, after = minutes(s.before_min), minutes(s.after_min)
        return not any(w.opens_us - before <= t <= w.closes_us + after for w in self.site.calendar.around(t))

    # ---------------------------------------------------------------- rules about absence

    def _not_opened(self, opens: int, now: int, closes: int) -> None:
        since = opens - minutes(self.site.rules.not_opened.before_min)
        if not self.site.sensors or since <= self.state["last_act"]:
            return
        grace = self.site.rules.not_opened.grace_min
        reason = {"code": "not_opened", "opens_us": opens, "grace_min": grace, "sensors": len(self.site.sensors)}
        self._raise_when_proven(
            Record(
                rule=Rule.NOT_OPENED,
                kind=SubjectKind.SITE,
                subject=self.id,
                site=self.id,
                episode=opens,
                since_us=since,
                deadline_us=now,
                until_us=closes,
                severity=Severity.URGENT,
                reason=reason,
            )
        )

    def _silence(self) -> tuple[Window, int] | None:
        """Return the present opening time and when the present silence began in it."""
        clock = int(self.state["clock"])
        window = self.site.calendar.at(clock) if self.site.calendar.has_hours and self.site.sensors else None
        return None if window is None else (window, max(window.opens_us, int(self.state["last_act"]), int(self.state["started"])))

    def _no_activity_due(self) -> int:
        """Return when the present silence becomes too long, NEVER if it cannot."""
        silence = self._silence()
        if silence is None or not fixed(self.memory, self.site, silence[1], int(self.state["clock"])):
            return NEVER
        window, base = silence
        due = deadline(self.memory, self.town, self.site, base).due_us
        told = base == self.state["judged"] or any(
            r.rule is Rule.NOT_OPENED and r.episode == window.opens_us for r in self.records
        )
        return NEVER if told or due >= window.closes_us else due

    def _no_activity(self) -> None:
        silence = self._silence()
        assert silence, "a deadline of a silence that is none"
        window, base = silence
        self.state["judged"] = base
        found = deadline(self.memory, self.town, self.site, base)
        self._raise_when_proven(
            Record(
                rule=Rule.NO_ACTIVITY,
                kind=SubjectKind.SITE,
                subject=self.id,
                site=self.id,
                episode=base,
                since_us=base,
                deadline_us=found.due_us,
                until_us=window.closes_us,
                severity=Severity.MAJOR,
                reason=reason(self.site, found, base, base != self.state["last_act"]),
            )
        )

    def _raise_when_proven(self, record: Record) -> None:
        record.held = True
        self.records.append(record)
        self._try_held()

    def _try_held(self) -> None:
        for r in [r for r in self.records if r.held]:
            if r.rule is Rule.LEFT_OPEN:
                if self._sees_quiet(self.town.device(r.reason["device"]), r.since_us, r.deadline_us):
                    self._begin(r)
            elif r.rule is Rule.PEOPLE_AFTER_CLOSING:
                self._try_stays(r)
            elif all(self._sees_quiet(d, r.since_us, r.deadline_us) for d in self.site.sensors):
                self._begin(r)
                if r.first_us:
                    self.end(r, r.first_us, "activity")
                elif r.until_us <= self.state["clock"]:
                    self.end(r, r.until_us, "closing")

    # ---------------------------------------------------------------- presence

    def _presence(self, row: Row) -> None:
        t = row["t_us"]
        if self._visited(t):
            return
        hold = minutes(self.site.rules.opened_after_hours.hold_min)
        for r in self.records:
            if r.rule is Rule.OPENED_AFTER_HOURS and r.episode - hold <= t <= r.last_us + hold:
                r.last_us, r.count = max(r.last_us, t), r.count + 1
                return
        place = self.town.places.get(row["place"])
        calendar = self.site.calendar
        reason: dict[str, Any] = {
            "code": {Kind.CONTACT: "opened", Kind.PASSAGE: "passage"}.get(Kind(row["kind"]), "counted"),
            "place": place.name if place else "",
            "place_en": (place.name_en or place.name) if place else "",
            "t_us": t,
            "opens_us": calendar.next_opening(t),
        }
        if reason["code"] == "counted":
            reason |= {"d_in": row["d_in"], "d_out": row["d_out"]}
        record = Record(
            rule=Rule.OPENED_AFTER_HOURS,
            kind=SubjectKind.SITE,
            subject=self.id,
            site=self.id,
            episode=t,
            since_us=t,
            deadline_us=t,
            last_us=t,
            count=1,
            severity=Severity.MAJOR,
            reason=reason,
            held=True,
            evidence=[(row["pos"], row["ordinal"])],
        )
        self.records.append(record)
        self._begin(record)

    def _after_hours_end(self, record: Record) -> int:
        s = self.site.rules.opened_after_hours
        opening = self.site.calendar.next_opening(record.episode)
        end = record.last_us + minutes(s.hold_min)
        return end if opening is None else max(record.last_us, min(end, opening - minutes(s.before_min)))

    # ---------------------------------------------------------------- events

    def _observe(self, row: Row, *, late: bool) -> None:
        t, d, kind = row["t_us"], row["d"], row["kind"]
        if not late:
            self.state["clock"] = max(int(self.state["clock"]), t)
        self.state["last_event"] = max(int(self.state["last_event"]), t)
        if kind == Kind.LINK and row["a"] == 0:
            self._link_lost(d, t)
            return
        if d >= 0:
            self._heard(row)
            if kind == Kind.CONTACT:
                self._door(row)
        if is_activity(row):
            if late:
                self._disprove(row)
            self._activity(t)
            self._count(row)
            if is_presence(row) and self._is_night(t):
                self._presence(row)
            if d >= 0:
                self.memory.devices["act"][d] = max(int(self.memory.devices["act"][d]), t)
        if kind == Kind.CONTACT:
            self._contact(row)
        elif kind in SIGNALS:
            self._signal(row)
        self._inside(row, late=late and t < self.state["clock"])
        if any(r.held for r in self.records):
            self._try_held()

    def _disprove(self, row: Row) -> None:
        """Take back what a rule about quarters of an hour said did not happen, where late evidence shows that it did."""
        for r in [r for r in self.records if r.absent and r.since_us <= row["t_us"] < r.last_us]:
            subject = {SubjectKind.DEVICE: row["device"], SubjectKind.PLACE: row["place"], SubjectKind.PERSON: row["person"]}
            if subject.get(r.kind, self.id) == r.subject:
                self.withdraw(r, row["t_us"], "activity_before")

    def _count(self, row: Row) -> None:
        if self.state["day_from"] <= row["t_us"] < self.state["day_to"]:
            self.state["today_in"] += row["d_in"]
            self.state["today_passages"] += int(row["kind"] == Kind.PASSAGE)

    def _activity(self, t: int) -> None:
        for r in [r for r in self.records if r.rule in ABSENT]:
            begins = r.since_us if r.rule is Rule.NOT_OPENED else r.since_us + 1
            if begins <= t <= r.deadline_us:
                self.withdraw(r, t, "activity_before")
            elif r.deadline_us < t < r.until_us:
                if r.held:
                    r.first_us = min(t, r.first_us or t)
                else:
                    self.end(r, t, "activity")
        self.state["last_act"] = max(int(self.state["last_act"]), t)


def is_activity(row: Any) -> Any:
    """Tell (elementwise for columns) what proves that people were there: a door's edge, people counted, a passage."""
    edge = (row["kind"] == CONTACT) & ((row["flags"] & REPEAT) == 0)
    return edge | (row["d_in"] + row["d_out"] > 0) | (row["kind"] == PASSAGE)


def is_presence(row: Any) -> Any:
    """Tell (elementwise) what may begin an alert about someone being there: no replay, no guess, no closing door."""
    certain = (row["flags"] & UNCERTAIN) == 0
    return is_activity(row) & certain & ((row["kind"] != CONTACT) | (row["a"] == 1))
