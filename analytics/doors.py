"""left_open: a door is open though the site is closed.

One decision: close messages get lost, so a door is held open only by what it says itself: a message about the deadline, or
proof that it was there and sent none; an edge at an unknown time is no evidence either way.
"""

from analytics.findings import Rule, Severity, SubjectKind
from analytics.rules import minutes
from analytics.sensors import Row, Sensors
from analytics.state import Record
from gateway.events import Flag


class Doors(Sensors):
    """The rule, event by event."""

    def _left_open(self, closed: int, now: int) -> None:
        window = self.site.calendar.next_opening(closed)
        if window is not None and window <= now:
            return
        for d in self.site.sensors:
            self._open_at(d, closed, now)

    def _open_at(self, d: int, closed: int, deadline: int) -> None:
        """Hold a record against a door that is open at `deadline`, and begin it where the door has said so just now."""
        device, settings = self.memory.devices[d], self.site.rules.left_open
        place = self.town.places[self.town.devices[d].place]
        if device["door"] != 1 or any(r.rule is Rule.LEFT_OPEN and r.subject == place.id for r in self.records):
            return
        record = Record(
            rule=Rule.LEFT_OPEN,
            kind=SubjectKind.PLACE,
            subject=place.id,
            site=self.id,
            episode=closed,
            since_us=int(device["door_seen"]),
            deadline_us=deadline,
            severity=Severity.MAJOR,
            reason={
                "code": "left_open",
                "closes_us": closed,
                "after_min": settings.after_min,
                "open_since_us": int(device["door_since"]),
                "device": int(device["id"]),
                "place": place.name,
                "place_en": place.name_en or place.name,
            },
            held=True,
            evidence=[(int(device["door_pos"]), int(device["door_ordinal"]))],
        )
        self.records.append(record)
        if device["door_seen"] >= deadline - minutes(settings.fresh_min):
            self._begin(record)

    def _still_open(self, row: Row) -> None:
        """Raise now what nobody watched at its deadline: a door open since then says so itself."""
        t = row["t_us"]
        for w in self.site.calendar.around(t) if self.site.calendar.has_hours else ():
            deadline = w.closes_us + minutes(self.site.rules.left_open.after_min)
            if deadline > min(t, int(self.state["started"])) or self.memory.devices["door_since"][row["d"]] > deadline:
                continue
            opening = self.site.calendar.next_opening(w.closes_us)
            if opening is None or t < opening:
                self._open_at(row["d"], w.closes_us, deadline)

    def _contact(self, row: Row) -> None:
        """Let a door's message speak for or against what is said of it."""
        t, is_open = row["t_us"], row["a"] == 1
        seen_edge = not row["flags"] & (Flag.REPEAT | Flag.INFERRED)
        for r in [r for r in self.records if r.rule is Rule.LEFT_OPEN and r.reason["device"] == row["device"]]:
            if t <= r.deadline_us:
                if not is_open and t > r.reason["open_since_us"]:
                    self.withdraw(r, t, "closed_before")
                continue
            if r.held and not (is_open or seen_edge):
                self.records.remove(r)  # closed at an unknown time: perhaps before the deadline
                continue
            self._begin(r)
            if not is_open:
                self.end(r, t, "closed")
        if is_open and row["d"] >= 0 and not row["flags"] & Flag.LATE:
            self._still_open(row)
