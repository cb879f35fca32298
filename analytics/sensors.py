"""The sensors of one site as it watches them: what they prove, what their doors say, and when they have been silent too long."""

from analytics.book import Book
from analytics.findings import Rule, Severity, SubjectKind
from analytics.rules import minutes
from analytics.sight import Sight, View, judge
from analytics.state import NEVER, Record
from gateway.events import Flag

Row = dict[str, int]
"""One event, the fields of state.ROW."""
NO_VIEW = View()


class Sensors(Book):
    """Records and devices of one site."""

    def _sees_quiet(self, d: int, since: int, until: int) -> bool:
        """Tell whether a sensor proves that it saw nothing; what it did see has been taken into account already."""
        if d < 0:
            return False
        device = self.memory.devices[d]
        away = 0 < device["link_off"] <= until
        if device["mounted"] > since or away:
            return False
        heard, every = int(device["heard"]), int(device["alive_every"])
        identity = self.town.devices[d].identity
        active = int(device["act"])
        sight = judge(self._view(d), identity, (since + 1, until), active_us=active, heard_us=heard, alive_every_us=every)
        return sight is Sight.PROVEN_QUIET

    def _view(self, d: int) -> View:
        return self.memory.views.get(int(self.memory.devices["gateway"][d]), NO_VIEW)

    def _device_clock(self, d: int) -> int:
        return max(self._view(d).through_us, 0)

    def _device_due(self, d: int, now: int) -> None:
        device, info = self.memory.devices[d], self.town.devices[d]
        since = max(int(device["heard"]), int(device["mounted"]))
        if device["link_off"] and now >= device["link_off"] + minutes(self.site.rules.device_offline.link_min):
            self._offline(d, now, int(device["link_off"]), "link_offline")
            return
        view, patience = self._view(d), int(device["patience"])
        looking = view.looking_since(info.identity, since, now)
        if looking is None:  # nobody was listening then: its silence begins anew when someone is
            again = view.looking_again(info.identity, now)
            device["due"] = NEVER if again is None else again + patience
        elif now - looking >= patience:
            self._offline(d, now, since, "silent" if device["heard"] else "never_heard")
        else:
            device["due"] = looking + patience
        if device["link_off"]:
            link_due = int(device["link_off"]) + minutes(self.site.rules.device_offline.link_min)
            device["due"] = min(int(device["due"]), link_due) if link_due > now else device["due"]

    def _offline(self, d: int, now: int, since: int, code: str) -> None:
        device, info = self.memory.devices[d], self.town.devices[d]
        device["offline"], device["due"] = True, NEVER
        place = self.town.places[info.place]
        only = self.site.sensors == [d]
        record = Record(
            rule=Rule.DEVICE_OFFLINE,
            kind=SubjectKind.DEVICE,
            subject=int(device["id"]),
            site=self.id,
            episode=since,
            since_us=since,
            deadline_us=now,
            severity=Severity.MAJOR if only else Severity.MINOR,
            reason={
                "code": code,
                "since_us": since,
                "alive_min": int(device["alive_every"]) / minutes(1),
                "device": info.name or info.identity,
                "place": place.name,
                "place_en": place.name_en or place.name,
                "only": only,
            },
            held=True,
        )
        self.records.append(record)
        self._begin(record)

    def _heard(self, row: Row) -> None:
        """Take note of a sign of life."""
        d, t = row["d"], row["t_us"]
        device = self.memory.devices[d]
        for r in [r for r in self.records if r.rule is Rule.DEVICE_OFFLINE and r.subject == row["device"]]:
            if t > r.deadline_us:
                self.end(r, t, "heard")
            elif t > r.since_us:
                self.withdraw(r, t, "heard_before")
        device["heard"] = max(int(device["heard"]), t)
        device["offline"] = any(r.rule is Rule.DEVICE_OFFLINE and r.subject == row["device"] for r in self.records)
        if device["link_off"] <= t:
            device["link_off"] = 0
        if not device["offline"] and not device["link_off"]:
            device["due"] = max(int(device["heard"]), int(device["mounted"])) + int(device["patience"])

    def _door(self, row: Row) -> None:
        device, t, a = self.memory.devices[row["d"]], row["t_us"], int(row["a"] == 1)
        if t < device["door_seen"]:
            return
        if a != device["door"] or not row["flags"] & Flag.REPEAT:
            device["door_since"], device["door_pos"], device["door_ordinal"] = t, row["pos"], row["ordinal"]
        device["door"], device["door_seen"] = a, t

    def _link_lost(self, d: int, t: int) -> None:
        if d < 0 or t < self.memory.devices["heard"][d]:
            return
        device = self.memory.devices[d]
        device["link_off"] = min(t, int(device["link_off"]) or t)
        if not device["offline"]:
            link_due = int(device["link_off"]) + minutes(self.site.rules.device_offline.link_min)
            device["due"] = min(int(device["due"]), link_due)
