"""The columnar engine: committed batches in, findings out; no clock, no I/O.

One decision: a row waits until its site's clock has passed it, and rows of sites where nothing can happen are taken as
columns; only sites where a deadline is due, something is open, or evidence is late go through `watch`, event by event.

    inputs → coverage, blindness, liveness → clocks → rows up to the clock ─┬─ as columns (numpy)
                                                                            └─ site by site (watch)
    at each quarter of an hour that a site's clock passes: tallies → detectors → episodes
"""

from collections.abc import Container
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from analytics import calm, occupancy, quarters, residents
from analytics.detectors import DETECTORS, LAYOUT, TABLES
from analytics.episodes import Episodes
from analytics.findings import Finding, Phase, Rule, Severity, SubjectKind
from analytics.recent import remember
from analytics.rules import GAP_US
from analytics.sight import Gap, View
from analytics.signals import SIGNALS
from analytics.state import NEVER, ROW, Memory, dump, in_order, joined, load
from analytics.status import SiteStatus, site_status
from analytics.town import Site, Town, compile_town
from analytics.watch import Watch, is_activity, is_presence
from gateway.clock import SECOND_US
from gateway.events import Flag, Kind, ListRole, Result
from ingest.columns import COLUMNS, Batch

Rows = NDArray[np.void]
CLOCK_WRONG = "clock wrong"
"""The reason that ingest gives for the time in which a gateway's clock was wrong."""
REPEAT, REFUSED, BLOCK_LIST = int(Flag.REPEAT), int(Result.REFUSED), int(ListRole.BLOCK_LIST)
CONTACT, PASSAGE = int(Kind.CONTACT), int(Kind.PASSAGE)
SPECIAL = np.isin(np.arange(max(Kind) + 1), [Kind.LINK, *SIGNALS])
"""By kind: a site with such an event is gone through event by event."""
SHOW_US = 30 * SECOND_US
"""A site's clock is shown again after so much event time, though nothing else changed."""


class Engine:
    """The state of the shards that a worker owns."""

    def __init__(self) -> None:
        self._shards: dict[int, Shard] = {}

    def apply(self, batch: Batch) -> list[Finding]:
        """Take one batch; returns what it reveals, per site in the order of event time."""
        return self._shard(batch.shard).apply(batch)

    def dump(self, shard: int) -> bytes:
        """Return a checkpoint of one shard."""
        return dump(self._shard(shard).memory, LAYOUT)

    def load(self, shard: int, state: bytes) -> None:
        """Replace one shard's state by a checkpoint. Raises state.LayoutError."""
        self._shards[shard] = Shard(shard, load(state, LAYOUT, TABLES))

    def forget(self, shard: int) -> None:
        """Drop a shard that is no longer owned, or whose state is to be built anew."""
        self._shards.pop(shard, None)

    def take_changed(self, shard: int, sites: Container[int] | None = None, most: int | None = None) -> list[SiteStatus]:
        """Return what the page shows of the sites that changed since they were last taken; `sites`: of these only."""
        return self._shard(shard).take_changed(sites, most)

    def _shard(self, shard: int) -> "Shard":
        if shard not in self._shards:
            self._shards[shard] = Shard(shard, Memory())
        return self._shards[shard]


class Shard:
    """One shard's memory and its register."""

    def __init__(self, shard: int, memory: Memory) -> None:
        self.shard, self.memory = shard, memory
        self.town: Town = compile_town(memory, TABLES)
        self.changed: set[int] = set(range(len(memory.sites)))
        self._shown = np.zeros(len(memory.sites), np.int64)
        self._swept, self._due, self._offline, self._deaf = True, 0, False, False

    def apply(self, batch: Batch) -> list[Finding]:
        """Inputs first, then what was covered, then the rows up to each site's clock."""
        found: list[Finding] = []
        if batch.inputs is not None:
            found += self._register(batch.inputs)
        touched = {c.gateway for c in batch.coverage} | {b.gateway for b in batch.blind} | {x.gateway for x in batch.liveness}
        found += self._look(batch, touched)
        rows = self._rows(batch)
        if (touched or batch.inputs is not None) and self.memory.waiting:  # nothing else moves clocks
            rows = joined([*self.memory.waiting, rows])
            self.memory.waiting.clear()
        return found + self._advance(rows, touched)

    def take_changed(self, sites: Container[int] | None, most: int | None) -> list[SiteStatus]:
        """Return the status of the sites that changed since they were last taken, or of some of them."""
        by_row = self.town.by_row
        changed = sorted(row for row in self.changed if sites is None or by_row[row].input.id in sites)[:most]
        self.changed.difference_update(changed)
        self._shown[changed] = self.memory.sites["clock"][changed]
        return [site_status(self.memory, self.town, by_row[row]) for row in changed]

    # ---------------------------------------------------------------- inputs

    def _register(self, inputs: bytes) -> list[Finding]:
        before = self.memory.sites["id"].tolist()
        self.memory.inputs = inputs
        self.town = compile_town(self.memory, TABLES)
        self._swept = True
        self.memory.waiting = [self._place(rows) for rows in self.memory.waiting]
        found: list[Finding] = []
        for gone in set(before) - set(self.town.sites):
            self.memory.records.pop(gone, None)
        for site in self.town.by_row:
            if self.memory.sites["started"][site.row] != NEVER:
                found += self._watch(site).refresh()
        found += residents.refresh(self.shard, self.memory, self.town)
        self.changed = set(range(len(self.memory.sites)))
        self._shown = np.zeros(len(self.memory.sites), np.int64)
        return found

    def _watch(self, site: Site) -> Watch:
        return Watch(self.shard, self.memory, self.town, site)

    # ---------------------------------------------------------------- sight

    def _look(self, batch: Batch, touched: set[int]) -> list[Finding]:
        views = self.memory.views
        found: list[Finding] = []
        for gateway in touched - views.keys():
            views[gateway] = View()
        for c in batch.coverage:
            views[c.gateway].extend(c)
        for b in batch.blind:
            views[b.gateway].blind(b)
        for x in batch.liveness:
            view = views[x.gateway]
            view.alive = x.alive
            if x.alive:
                for gap in view.gaps:
                    gap.to_us = x.at_us if gap.to_us is None and gap.reason == "lost" else gap.to_us
            else:
                view.add_gap("", x.at_us, None, "lost", counts=False)
        self._look_again(touched)
        for gateway in sorted(touched):
            views[gateway].find_holes()
            for gap in views[gateway].gaps and sorted(views[gateway].gaps, key=lambda g: (g.counts, g.from_us)):
                found += self._tell(gateway, views[gateway], gap)
        return found

    def _look_again(self, touched: set[int]) -> None:
        """Devices that nobody listened to when they were due are due again."""
        self._glance()
        if not self._deaf:
            return
        self._swept, devices = True, self.memory.devices
        back = np.flatnonzero((devices["due"] == NEVER) & ~devices["offline"])
        back = back[np.isin(devices["gateway"][back], list(touched))]
        devices["due"][back] = np.maximum(devices["heard"][back], devices["mounted"][back]) + devices["patience"][back]

    def _glance(self) -> None:
        """Note what only sweeps change of devices, so that a calm batch need not look at all of them.

        _due: no device is due before. _offline: some are. _deaf: some are not due until someone listens again.
        """
        if self._swept:
            due, offline = self.memory.devices["due"], self.memory.devices["offline"]
            self._due, self._offline = int(due.min(initial=NEVER)), bool(offline.any())
            self._swept, self._deaf = False, bool(((due == NEVER) & ~offline).any())

    def _tell(self, gateway: int, view: View, gap: Gap) -> list[Finding]:
        """Begin and end the findings of a gap, for each site that it blinds."""
        found: list[Finding] = []
        end = gap.to_us
        if gap.told is None:
            begin, until = _piece(view, gap)
            if until - begin >= GAP_US:
                gap.said_us = begin
                gap.told = [site.input.id for site in self._blinded(gateway, gap)] or [0]
                found += [self._gap_finding(gateway, gap, site, Phase.BEGIN, begin) for site in gap.told]
                found += self._clock_finding(gateway, gap, Phase.BEGIN, begin)
        if gap.told is not None and end is not None and not gap.over:
            gap.over = True
            phase = Phase.END if gap.reason == "lost" or end - gap.said_us >= GAP_US else Phase.RETRACT
            found += [self._gap_finding(gateway, gap, site, phase, end) for site in gap.told]
            found += self._clock_finding(gateway, gap, phase, end)
        return found

    def _blinded(self, gateway: int, gap: Gap) -> list[Site]:
        return [s for s in self.town.by_row if any(self._behind(d, gateway, gap) for d in s.devices)]

    def _behind(self, d: int, gateway: int, gap: Gap) -> bool:
        device = self.town.devices[d]
        return device.gateway == gateway and device.identity.startswith(gap.source)

    def _gap_finding(self, gateway: int, gap: Gap, site_id: int, phase: Phase, at_us: int) -> Finding:
        site = self.town.sites.get(site_id)
        known = self.town.gateways.get(gateway)
        blinded = [d for d in site.devices if self._behind(d, gateway, gap)] if site else []
        if site:
            self.changed.add(site.row)
        return Finding(
            shard=self.shard,
            rule=Rule.MONITORING_GAP,
            subject_kind=SubjectKind.SITE if site_id else SubjectKind.GATEWAY,
            subject=site_id or gateway,
            site=site_id,
            # Two sources may go blind in the same instant: the last digits tell them apart.
            episode=gap.said_us // 1000 * 1000 + crc32(f"{gateway}/{gap.source}".encode()) % 1000,
            phase=phase,
            at_us=at_us,
            severity=Severity.MAJOR,
            reason={
                "code": gap.reason if gap.reason in ("lost", "hole") else "blind",
                "since_us": gap.said_us,
                "to_us": None if phase is Phase.BEGIN and gap.reason != "hole" else gap.to_us,
                "gateway": known.code if known else str(gateway),
                "source": gap.source,
                "why": gap.reason,
                "sensors": len(blinded),
                "of": len(site.devices) if site else 0,
                "places": sorted({self.town.places[self.town.devices[d].place].name for d in blinded}),
            },
        )

    def _clock_finding(self, gateway: int, gap: Gap, phase: Phase, at_us: int) -> list[Finding]:
        """A gateway whose clock is wrong is blind, and somebody has to set it."""
        if gap.reason != CLOCK_WRONG:
            return []
        known = self.town.gateways.get(gateway)
        reason = {"code": "gateway_clock", "gateway": known.code if known else str(gateway), "since_us": gap.said_us}
        return [
            Finding(
                shard=self.shard,
                rule=Rule.CLOCK_WRONG,
                subject_kind=SubjectKind.GATEWAY,
                subject=gateway,
                site=next((site for site in gap.told or () if site), 0),
                episode=gap.said_us,
                phase=phase,
                at_us=at_us,
                severity=Severity.MAJOR,
                reason=reason if phase is Phase.BEGIN else reason | {"ended": "normal"},
            )
        ]

    # ---------------------------------------------------------------- rows

    def _rows(self, batch: Batch) -> Rows:
        rows = np.empty(len(batch.rows), ROW)
        stored = np.ascontiguousarray(batch.rows, COLUMNS)
        if len(rows):  # a row of ROW begins with one of COLUMNS
            rows.view(np.uint8).reshape(len(rows), -1)[:, : COLUMNS.itemsize] = stored.view(np.uint8).reshape(len(rows), -1)
        rows["pos"] = batch.pos if batch.positions is None else batch.positions
        return self._place(rows)

    def _place(self, rows: Rows) -> Rows:
        """Find each row's site and device; rows of no place are nobody's evidence."""
        rows["s"] = _look_up(self.town.site_row_of_place, rows["place"])
        rows["d"] = _look_up(self.town.device_row, rows["device"])
        return _only(rows, rows["s"] >= 0)

    def _clocks(self) -> NDArray[np.int64]:
        """Return each site's clock: the least watermark of its gateways that are not lost; it never goes back."""
        views = [self.memory.views.get(gateway) for gateway in self.town.heard]
        gateway, site = self.town.link
        for n in np.flatnonzero(self.memory.sites["started"][site] == NEVER).tolist():
            view, row = views[gateway[n]], int(site[n])
            if view and view.started and self.memory.sites["started"][row] == NEVER:
                self._watch(self.town.by_row[row]).begin(view.spans[0][0])
                self.changed.add(row)
        through = np.array([v.through_us if v and v.started and v.alive else NEVER for v in views], np.int64)
        least = np.full(len(self.memory.sites), NEVER, np.int64)
        np.minimum.at(least, site, through[gateway])
        clocks: NDArray[np.int64] = self.memory.sites["clock"].copy()
        moved = (least != NEVER) & (least > clocks)
        clocks[moved] = least[moved]
        return clocks

    def _advance(self, rows: Rows, touched: set[int]) -> list[Finding]:
        sites = self.memory.sites
        clocks = self._clocks()
        ready = rows["t_us"] <= np.where(sites["started"] == NEVER, -NEVER, clocks)[rows["s"]]
        if not ready.all():
            self.memory.waiting.append(rows.compress(~ready))
        rows = in_order(_only(rows, ready))
        found: list[Finding] = []
        at = 0
        for end_us in quarters.ends(sites["clock"][begun := sites["started"] != NEVER], clocks[begun]):
            until = int(np.searchsorted(rows["t_us"], end_us))
            closing = np.flatnonzero(begun & (sites["clock"] < end_us) & (clocks >= end_us))
            found += self._go(rows[at:until], np.maximum(sites["clock"], np.minimum(clocks, end_us - 1)), touched)
            found += self._close(closing, end_us)
            at = until
        return found + self._go(rows[at:], clocks, touched)

    def _close(self, sites: NDArray[np.int64], end_us: int) -> list[Finding]:
        """Ask the detectors about the quarter of an hour that these sites have passed."""
        quarter = quarters.close(self.memory, self.town, sites, end_us)
        episodes = Episodes(self.shard, self.memory, self.town, quarter.from_us, quarter.to_us)
        for detector in DETECTORS:
            detector(quarter, episodes)
        quarters.clear(quarter)
        self.changed.update(sites.tolist())
        return episodes.found

    def _go(self, rows: Rows, clocks: NDArray[np.int64], touched: set[int]) -> list[Finding]:
        """Take rows (in order of time) of one quarter of an hour, and the deadlines up to `clocks`."""
        sites = self.memory.sites
        late = rows["t_us"] <= sites["clock"][rows["s"]]
        quarters.count(self.memory, _only(rows, ~late))
        slow = self._slow(rows, clocks, touched, late)
        moved = clocks - self._shown >= SHOW_US
        moved[rows["s"]] = True
        self.changed.update(np.flatnonzero(moved).tolist())
        single = slow[rows["s"]]
        crowd, singles = _only(rows, ~single), rows.compress(single)
        if len(crowd):
            self._due = min(self._due, calm.take(self.memory, self.town, crowd))
        np.copyto(sites["clock"], clocks, where=~slow)
        found = residents.observe(self.shard, self.memory, self.town, rows)
        remember(self.memory, singles.compress(is_activity(singles)))
        self._swept |= bool(slow.any())
        for row in np.flatnonzero(slow).tolist():
            mine = singles[singles["s"] == row]
            names = mine.dtype.names or ()
            events = [dict(zip(names, values, strict=True)) for values in mine.tolist()]
            found += self._watch(self.town.by_row[row]).sweep(events, int(clocks[row]))
            self.changed.add(row)
        return found

    def _slow(self, rows: Rows, clocks: NDArray[np.int64], touched: set[int], late: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Tell which sites must be gone through event by event. late: which rows their site's clock had passed."""
        sites, devices = self.memory.sites, self.memory.devices
        slow: NDArray[np.bool_] = (sites["due"] <= clocks) & (sites["started"] != NEVER)
        gateway, site = self.town.link
        new = np.array([g in touched for g in self.town.heard], np.bool_)
        mine = site[new[gateway]]
        slow[mine] |= sites["held"][mine]
        slow[self._overdue(clocks)] = True
        at, kind, a = rows["s"], rows["kind"], rows["a"]
        eventful = late | sites["open_records"][at] | SPECIAL[kind]
        eventful |= (kind == PASSAGE) & (a == REFUSED) & (rows["b"] == BLOCK_LIST)
        night = sites["night"][at]
        if night.any():
            eventful |= night & (is_presence(rows) | (kind == CONTACT) & (a == 1))
        if self._offline:
            eventful |= (rows["d"] >= 0) & devices["offline"][rows["d"]]
        slow |= occupancy.near(self.memory, self.town, rows)
        slow[at[eventful]] = True
        slow &= sites["started"] != NEVER
        return slow

    def _overdue(self, clocks: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows of sites that have a device which was to be heard by now."""
        self._glance()
        devices, views, latest = self.memory.devices, self.memory.views, clocks.max(initial=0)
        if self._due <= latest:  # it was, some time ago; those that were heard since are due later
            self._due = int(devices["due"].min(initial=NEVER))
        if self._due > latest:
            return np.zeros(0, np.int64)
        reach = np.array([views[g].through_us if g in views else 0 for g in self.town.heard], np.int64)
        due = devices["due"] <= np.minimum(clocks[devices["site"]], reach[self.town.behind])
        return np.asarray(devices["site"][due], np.int64)


def _piece(view: View, gap: Gap) -> tuple[int, int]:
    """Return the first long piece [from, to) of a gap of which nothing is said yet, else an empty one.

    A gateway that was gone also reports itself blind for that time, and begins a new stream after a hole.
    """
    begin, end = gap.from_us, view.through_us if gap.to_us is None else gap.to_us
    if gap.reason == "lost":
        return begin, max(end, begin + GAP_US)
    said = [g for g in view.gaps if g.told is not None and g is not gap and not g.counts]
    for other in sorted(said, key=lambda g: g.from_us):
        if begin + GAP_US <= min(other.from_us, end):
            return begin, min(other.from_us, end)
        begin = max(begin, NEVER if other.to_us is None else other.to_us)
    return begin, end


def _only(rows: Rows, mask: NDArray[np.bool_]) -> Rows:
    return rows if mask.all() else rows.compress(mask)


def _look_up(table: NDArray[np.int64], ids: NDArray[np.int32]) -> NDArray[np.int64]:
    known = (ids >= 0) & (ids < len(table))
    rows: NDArray[np.int64] = np.where(known, table[np.where(known, ids, 0)], -1)
    return rows
