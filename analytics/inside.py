"""The rules about who is inside a site: too many, still there after closing, or not allowed in. Told at the event.

One decision: only what needs each event in its order is here; sites far below their capacity are counted as columns
(`occupancy.take`), and `occupancy.near` says when a site needs this.
"""

from typing import Any

from analytics import occupancy
from analytics.findings import Phase, Rule, Severity, SubjectKind
from analytics.occupancy import OCCUPANCY, ONE
from analytics.rules import minutes
from analytics.sensors import Row, Sensors
from analytics.state import NEVER, Record
from gateway.events import MIN_TIME_US, Flag, Kind, ListRole, Result

PRESENCE = frozenset({Rule.OPENED_AFTER_HOURS, Rule.PEOPLE_AFTER_CLOSING, Rule.CROWDING, Rule.STRANGER_SPIKE})
"""Rules that a visit (inspection, event) explains."""


class Inside(Sensors):
    """Crowding, people after closing, and people on the block list."""

    def _inside(self, row: Row, *, late: bool) -> None:
        """Let an event change how many are inside, and say what follows."""
        occupancy.step(self.memory, self.town, row, late=late)
        t, gate = row["t_us"], bool(self.town.gate[row["place"]])
        if occupancy.is_exit(row, gate):
            self._left(t)
        if not late:
            self._crowding(row)
            if t >= self._occupancy["stay_from"] and occupancy.is_sign(row, gate):
                self._stays(t)
        refused = row["kind"] == Kind.PASSAGE and row["a"] == Result.REFUSED and row["b"] == ListRole.BLOCK_LIST
        if refused and not row["flags"] & Flag.LATE:
            self._refused(row)

    @property
    def _occupancy(self) -> Any:
        return self.memory.tables[OCCUPANCY.name][self.site.row]

    def _visited(self, t: int) -> bool:
        return self.site.calendar.mode(t, t + 1) == "visit"

    def _mine(self, rule: Rule) -> Record | None:
        return next((r for r in self.records if r.rule is rule), None)

    def _start(self, rule: Rule, t: int, severity: Severity, reason: dict[str, Any], row: Row) -> None:
        """Begin an episode at an event."""
        record = Record(
            rule=rule,
            kind=SubjectKind.SITE,
            subject=self.id,
            site=self.id,
            episode=t,
            since_us=t,
            deadline_us=t,
            last_us=t,
            count=1,
            severity=severity,
            reason=reason,
            held=True,
            evidence=[(row["pos"], row["ordinal"])],
        )
        self.records.append(record)
        self._begin(record)

    # ---------------------------------------------------------------- crowding

    def _crowding(self, row: Row) -> None:
        t, inside, limit = row["t_us"], int(self._occupancy["inside"]), int(self.town.limit[self.site.row])
        record, capacity = self._mine(Rule.CROWDING), self.site.input.capacity
        if capacity is None:
            return
        people, settings = round(inside / ONE), self.site.rules.crowding
        if record is not None:
            if inside <= ONE * capacity * min(settings.share, settings.clear_share):
                self.end(record, t, "gone")
            elif people >= record.reason["people"] + max(1, capacity // 10):
                record.reason = record.reason | {"people": people, "t_us": t}
                self.say(record, Phase.CONTINUE, t, record.reason)
        elif inside > limit and not row["flags"] & Flag.LATE and not self._visited(t):
            code = "crowding_unsure" if self._occupancy["unsure"] < NEVER else "crowding"
            reason = {"code": code, "t_us": t, "people": people, "capacity": capacity}
            self._start(Rule.CROWDING, t, Severity.MAJOR, reason, row)

    # ---------------------------------------------------------------- people after closing

    def _await_closing(self, now: int) -> None:
        """Set from when on a sign of life means that someone is still inside."""
        closed = self._closed_at(now)
        self._occupancy["stay_from"] = NEVER if closed is None else self._stay_deadline(closed)

    def _stay_deadline(self, closes: int) -> int:
        return closes + minutes(self.site.rules.people_after_closing.after_min)

    def _closed_at(self, t: int) -> int | None:
        """Return when the day's last window closed whose night `t` lies in."""
        calendar = self.site.calendar
        if not calendar.has_hours:
            return None
        before = [w for w in calendar.around(t) if w.closes_us <= t]
        known = before and calendar.at(t) is None and calendar.is_last(before[-1])
        return before[-1].closes_us if known and before[-1].opens_us > MIN_TIME_US else None

    def _who_stays(self) -> None:
        """Take note of how many are inside when those who leave late have left."""
        self._occupancy["stayed"] = self._occupancy["inside"]

    def _stays(self, t: int) -> None:
        """Hold a record of people inside where their number and a sign of life since the last exit say so."""
        o, closed = self._occupancy, self._closed_at(t)
        if closed is None or t < self._stay_deadline(closed) or self._mine(Rule.PEOPLE_AFTER_CLOSING) or self._visited(t):
            return
        opening = self.site.calendar.next_opening(t)
        if opening is not None and t >= opening - minutes(self.site.rules.opened_after_hours.before_min):
            return  # who comes early has not stayed
        sign, least = int(o["last_sign"]), self.site.rules.people_after_closing.people
        people = min(int(o["inside"]), int(o["stayed"]))
        if (
            not self.town.counted[self.site.row]
            or o["unsure"] < closed
            or people < ONE * least
            or sign <= max(closed, int(o["last_exit"]))
        ):
            return
        record = Record(
            rule=Rule.PEOPLE_AFTER_CLOSING,
            kind=SubjectKind.SITE,
            subject=self.id,
            site=self.id,
            episode=closed,
            since_us=sign,
            deadline_us=t,
            until_us=self.site.calendar.next_opening(t) or NEVER,
            severity=Severity.MAJOR,
            reason={
                "code": "people_after_closing",
                "people": max(1, round(people / ONE)),
                "came_in": int(o["ins"]),
                "went_out": int(o["outs"]),
                "sign_us": sign,
                "closes_us": closed,
                "after_min": (t - closed) // minutes(1),
            },
            held=True,
        )
        self.records.append(record)
        self._try_stays(record)

    def _try_stays(self, record: Record) -> None:
        """Begin it where all who watch the entrances prove that nobody left since the sign of life."""
        gates = [
            d
            for d in self.site.sensors
            if self.town.gate[self.town.devices[d].place] and self.town.devices[d].family != "terminal"
        ]
        if all(self._sees_quiet(d, record.since_us, record.deadline_us) for d in gates):
            self._begin(record)
            if record.until_us <= self.state["clock"]:
                self.end(record, record.until_us, "opening")

    def _left(self, t: int) -> None:
        """Someone went through an entrance."""
        record = self._mine(Rule.PEOPLE_AFTER_CLOSING)
        if record is None:
            return
        if record.since_us < t <= record.deadline_us:
            self.withdraw(record, t, "gone_before")
        elif t > record.deadline_us and (
            record.held or self._occupancy["inside"] < ONE * self.site.rules.people_after_closing.people
        ):
            self.end(record, t, "gone")

    # ---------------------------------------------------------------- block list

    def _refused(self, row: Row) -> None:
        t, hold = row["t_us"], minutes(self.site.rules.refused_person.hold_min)
        place = self.town.places[row["place"]]
        where = {"code": "refused_person", "t_us": t, "place": place.name, "place_en": place.name_en or place.name}
        for r in self.records:
            if r.rule is Rule.REFUSED_PERSON and r.episode - hold <= t <= r.last_us + hold:
                r.count += 1
                if t >= r.last_us:
                    r.last_us, r.reason = t, r.reason | where
                r.reason = r.reason | {"count": r.count}
                self.say(r, Phase.CONTINUE, r.last_us, r.reason)
                return
        self._start(Rule.REFUSED_PERSON, t, Severity.URGENT, where | {"count": 1}, row)

    def _refused_due(self) -> list[tuple[int, Record]]:
        hold = minutes(self.site.rules.refused_person.hold_min)
        return [(r.last_us + hold, r) for r in self.records if r.rule is Rule.REFUSED_PERSON]

    def _refused_fire(self, now: int) -> None:
        for due, record in self._refused_due():
            if due <= now:
                self.end(record, due, "quiet")
