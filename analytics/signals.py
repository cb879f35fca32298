"""What devices say of themselves: battery, tamper, faults. Told at the event, not at the end of a quarter.

One decision: such messages are rare, so their site is gone through event by event; a replayed or late one tells nobody.
"""

from analytics.book import Book
from analytics.findings import Rule, Severity, SubjectKind
from analytics.rules import minutes
from analytics.sensors import Row
from analytics.state import Record
from gateway.events import FaultCode, Flag, Kind

SIGNALS = (Kind.BATTERY, Kind.TAMPER, Kind.FAULT)
RECOVERED = 10
"""Percent points above the limit at which a battery counts as replaced."""

FAULTS = {
    FaultCode.OCCLUDED: (Rule.COUNTER_BLIND, "occluded", Severity.MAJOR),
    FaultCode.MOVED: (Rule.TAMPER, "moved", Severity.MAJOR),
    FaultCode.HARDWARE: (Rule.STUCK, "hardware", Severity.MAJOR),
    FaultCode.BATTERY_LOW: (Rule.BATTERY_LOW, "battery_said_low", Severity.MINOR),
}


class Signals(Book):
    """The rules about what a device says of itself."""

    def _signal(self, row: Row) -> None:
        """Take a BATTERY, TAMPER or FAULT."""
        if row["d"] < 0 or row["flags"] & Flag.LATE:
            return
        if row["kind"] == Kind.BATTERY:
            limit = self.site.rules.battery_low.percent
            if row["a"] <= limit:
                self._signal_on(row, Rule.BATTERY_LOW, "battery_low", Severity.MINOR, percent=row["a"])
            elif row["a"] >= limit + RECOVERED:
                self._signal_off(row, Rule.BATTERY_LOW, "battery_low", hold_us=0)
        elif row["kind"] == Kind.TAMPER:
            self._switch(row, Rule.TAMPER, "tamper", Severity.MAJOR)
        elif row["aux"] in FAULTS:
            self._switch(row, *FAULTS[FaultCode(row["aux"])])

    def _switch(self, row: Row, rule: Rule, code: str, severity: Severity) -> None:
        if row["a"]:
            self._signal_on(row, rule, code, severity)
        else:
            self._signal_off(row, rule, code, hold_us=minutes(self.site.rules.tamper.hold_min))

    def _signal_on(self, row: Row, rule: Rule, code: str, severity: Severity, **numbers: int) -> None:
        """Begin, or let an episode go on that seemed to be over."""
        record = self._signalled(row, rule, code)
        if record is not None:
            record.first_us = 0
            return
        device = self.town.devices[row["d"]]
        place = self.town.places[device.place]
        words = {"device": device.name or device.identity, "place": place.name, "place_en": place.name_en or place.name}
        record = Record(
            rule=rule,
            kind=SubjectKind.DEVICE,
            subject=device.id,
            site=self.id,
            episode=row["t_us"],
            since_us=row["t_us"],
            deadline_us=row["t_us"],
            severity=severity,
            reason={"code": code, "t_us": row["t_us"]} | numbers | words,
            held=True,
            evidence=[(row["pos"], row["ordinal"])],
        )
        self.records.append(record)
        self._begin(record)

    def _signal_off(self, row: Row, rule: Rule, code: str, hold_us: int) -> None:
        record = self._signalled(row, rule, code)
        if record is None or row["t_us"] < record.since_us:
            return
        if hold_us:
            record.first_us = record.first_us or row["t_us"]
        else:
            self.end(record, row["t_us"], "normal")

    def _signalled(self, row: Row, rule: Rule, code: str) -> Record | None:
        device = self.town.devices[row["d"]].id
        return next((r for r in self.records if r.rule is rule and r.subject == device and r.reason["code"] == code), None)

    def _signals_due(self) -> list[tuple[int, Record]]:
        """Return what is over, and since when that is believed."""
        hold = minutes(self.site.rules.tamper.hold_min)
        codes = {code for _, code, _ in FAULTS.values()} | {"tamper"}
        return [(r.first_us + hold, r) for r in self.records if r.first_us and r.reason["code"] in codes]

    def _signals_fire(self, now: int) -> None:
        for due, record in self._signals_due():
            if due <= now:
                self.end(record, record.first_us, "normal")
