"""The register of one shard, ready to be asked: sites with calendar and settings, devices with their places.

One decision: arrays in `state` hold what changes with events, this holds what changes with the register; new inputs rebuild
it and carry the arrays' rows over by id.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from analytics.calendars import Calendar
from analytics.findings import Rule, SubjectKind
from analytics.people import People, compile_people
from analytics.rules import Rules, compile_rules, minutes
from analytics.state import DEVICE, FAMILIES, NEVER, SITE, UNKNOWN, Memory, Table, put
from ingest.inputs import DeviceInput, GatewayInput, Inputs, PlaceInput, SiteInput, decode


@dataclass(slots=True, kw_only=True)
class Site:
    """A site: its row in `Memory.sites`, and the rows of its devices in `Memory.devices`. sensors: those that prove activity."""

    row: int
    input: SiteInput
    calendar: Calendar
    rules: Rules
    devices: list[int] = field(default_factory=list)
    sensors: list[int] = field(default_factory=list)
    gateways: list[int] = field(default_factory=list)
    places: list[PlaceInput] = field(default_factory=list)


@dataclass(slots=True, kw_only=True)
class Town:
    """Everything of one register version. `sites` goes by id, `devices` by row; `*_row` map ids to rows, -1 none."""

    sites: dict[int, Site]
    by_row: list[Site]
    calendars: list[Calendar]
    calendar: NDArray[np.int64]
    """By row of the site: its calendar's place in `calendars`; sites of the same hours share one."""
    devices: list[DeviceInput]
    places: dict[int, PlaceInput]
    gateways: dict[int, GatewayInput]
    heard: list[int]
    """Ids of the gateways that devices are behind."""
    behind: NDArray[np.int64]
    """By row of the device: its gateway's place in `heard`."""
    link: NDArray[np.int64]
    """(2, n): a place in `heard` and the row of a site it has devices at."""
    site_row_of_place: NDArray[np.int64]
    device_row: NDArray[np.int64]
    counting: list[PlaceInput]
    """Places where people are counted now, or were; by the row of their tables."""
    place_row: NDArray[np.int64]
    """Place id → row in `counting`."""
    people: People
    family: NDArray[np.int8]
    """By row of the device: its family's place in FAMILIES, -1 none of them."""
    gate: NDArray[np.bool_]
    """Place id → people come and go there: an entrance; where none is counted, every place that is."""
    gate_counter: NDArray[np.bool_]
    """By row of the device: a counter of such a place."""
    counted: NDArray[np.bool_]
    """By row of the site: those who come and go are counted."""
    limit: NDArray[np.int64]
    """By row of the site: thousandths of people that may be inside, NEVER where nobody said."""
    settings: dict[tuple[str, str], NDArray[np.float64]] = field(default_factory=dict)

    def setting(self, rule: Rule, name: str) -> NDArray[np.float64]:
        """Return a setting of a rule by the row of the site."""
        known = self.settings.get((rule, name))
        if known is None:
            known = np.array([getattr(getattr(site.rules, rule), name) for site in self.by_row], np.float64)
            self.settings[rule, name] = known
        return known

    def subject(self, memory: Memory, kind: SubjectKind, row: int) -> tuple[int, int]:
        """Return the register id of a table's row, and the id of its site."""
        if kind is SubjectKind.SITE:
            return self.by_row[row].input.id, self.by_row[row].input.id
        if kind is SubjectKind.DEVICE:
            return self.devices[row].id, self.places[self.devices[row].place].site
        if kind is SubjectKind.PERSON:
            return self.people.residents[row].id, self.people.residents[row].site
        return self.counting[row].id, self.counting[row].site

    def device(self, device_id: int) -> int:
        """Return a device's row, -1 none."""
        return int(self.device_row[device_id]) if 0 <= device_id < len(self.device_row) else -1


EMPTY = Inputs(version=0, sites=[], places=[], devices=[], gateways=[])


def compile_town(memory: Memory, tables: Iterable[Table] = ()) -> Town:
    """Compile `memory.inputs` and lay out `memory`'s arrays and `tables` in its order; rows known before keep what they know."""
    inputs = decode(memory.inputs) if memory.inputs is not None else EMPTY
    places = {p.id: p for p in inputs.places}
    mounted = [d for d in inputs.devices if d.place in places]
    memory.sites = _carry(memory.sites, [s.id for s in inputs.sites], _new_site())
    memory.devices = _carry(memory.devices, [d.id for d in mounted], _new_device())
    calendars: dict[str, Calendar] = {}
    sites = {s.id: _site(row, s, inputs.days, calendars) for row, s in enumerate(inputs.sites)}
    used = {d.gateway for d in mounted}
    heard = {g: n for n, g in enumerate(dict.fromkeys([g.id for g in inputs.gateways if g.id in used] + sorted(used)))}
    shared = {id(calendar): n for n, calendar in enumerate(calendars.values())}
    for place in inputs.places:
        sites[place.site].places.append(place)
    for row, device in enumerate(mounted):
        site = sites[places[device.place].site]
        _seat(memory.devices, row, device, site)
        site.devices.append(row)
        if device.family in FAMILIES:
            site.sensors.append(row)
        if device.gateway not in site.gateways:
            site.gateways.append(device.gateway)
    counted = {d.place for d in mounted if d.family == "counter"} | _known_places(memory, tables)
    counting = [p for p in inputs.places if p.id in counted]
    gates = _gates(inputs.places, {d.place for d in mounted if d.family == "counter"})
    rows = {s.id: row for row, s in enumerate(inputs.sites)}
    people = compile_people(inputs, rows, {d.id: row for row, d in enumerate(mounted)})
    ids = {
        SubjectKind.PERSON: [p.id for p in people.residents],
        SubjectKind.SITE: [s.id for s in inputs.sites],
        SubjectKind.DEVICE: [d.id for d in mounted],
        SubjectKind.PLACE: [p.id for p in counting],
    }
    memory.tables = {t.name: _carry(memory.tables.get(t.name, t.new(0)), ids[t.kind], t.new()) for t in tables}
    return Town(
        sites=sites,
        by_row=list(sites.values()),
        calendars=list(calendars.values()),
        calendar=np.array([shared[id(site.calendar)] for site in sites.values()], np.int64),
        devices=mounted,
        places=places,
        gateways={g.id: g for g in inputs.gateways},
        heard=list(heard),
        behind=np.array([heard[d.gateway] for d in mounted], np.int64),
        link=np.array(sorted((heard[g], site.row) for site in sites.values() for g in site.gateways), np.int64).reshape(-1, 2).T,
        site_row_of_place=_table({p.id: sites[p.site].row for p in inputs.places}),
        device_row=_table({d.id: row for row, d in enumerate(mounted)}),
        counting=counting,
        place_row=_table({p.id: row for row, p in enumerate(counting)}),
        people=people,
        family=np.array([FAMILIES.index(d.family) if d.family in FAMILIES else -1 for d in mounted], np.int8),
        gate=_mask(gates, max(places, default=0) + 1),
        gate_counter=np.array([d.family == "counter" and d.place in gates for d in mounted], np.bool_),
        counted=_mask({sites[places[d.place].site].row for d in mounted if d.family == "counter"}, len(sites)),
        limit=np.array([_limit(site) for site in sites.values()], np.int64),
    )


def _site(row: int, site: SiteInput, days: Mapping[str, str], calendars: dict[str, Calendar]) -> Site:
    """Sites of the same hours share one calendar."""
    same = repr((site.zone, site.hours, site.closed, site.modes))
    if same not in calendars:
        calendars[same] = Calendar(site.zone, site.hours, site.closed, days=days, modes=site.modes)
    return Site(row=row, input=site, calendar=calendars[same], rules=compile_rules(site.rules))


def _known_places(memory: Memory, tables: Iterable[Table]) -> set[int]:
    """A place whose counter is away for repair keeps what was learned there."""
    mine = [t for t in tables if t.kind is SubjectKind.PLACE and t.name in memory.tables]
    return set(memory.tables[mine[0].name]["id"].tolist()) if mine else set()


def _seat(devices: NDArray[np.void], row: int, device: DeviceInput, site: Site) -> None:
    d = devices[row]
    d["site"], d["gateway"], d["alive_every"], d["mounted"] = site.row, device.gateway, device.alive_every_us, device.mounted_us
    patience = round(site.rules.device_offline.silences * device.alive_every_us)
    if patience != d["patience"] and not d["offline"]:
        d["due"] = max(d["heard"], d["mounted"]) + patience
        if d["link_off"]:
            d["due"] = min(d["due"], d["link_off"] + minutes(site.rules.device_offline.link_min))
    d["patience"] = patience


def _carry(old: NDArray[np.void], ids: list[int], new: NDArray[np.void]) -> NDArray[np.void]:
    """Return a row for each of `ids`, shape (len(ids),): the old one where there is one, else a new one."""
    wanted = np.array(ids, old["id"].dtype)
    if np.array_equal(wanted, old["id"]):
        return old
    rows = np.repeat(new, len(ids))
    rows["id"] = wanted
    known = np.flatnonzero(np.isin(wanted, old["id"]))
    by_id = np.argsort(old["id"])
    put(rows, known, old.take(by_id[np.searchsorted(old["id"], wanted[known], sorter=by_id)]))
    return rows


def _new_site() -> NDArray[np.void]:
    site = np.zeros(1, SITE)
    site["started"] = site["due"] = site["agenda"] = NEVER
    return site


def _new_device() -> NDArray[np.void]:
    device = np.zeros(1, DEVICE)
    device["door"] = UNKNOWN
    return device


def _gates(places: list[PlaceInput], counted: set[int]) -> set[int]:
    entrances = {p.id for p in places if p.room == "entrance"}
    known = {p.site for p in places if p.id in entrances & counted}
    return entrances | {p.id for p in places if p.id in counted and p.site not in known}


def _limit(site: Site) -> int:
    return NEVER if site.input.capacity is None else round(1000 * site.input.capacity * site.rules.crowding.share)


def _mask(true: set[int], size: int) -> NDArray[np.bool_]:
    mask = np.zeros(size, np.bool_)
    mask[list(true)] = True
    return mask


def _table(rows: dict[int, int]) -> NDArray[np.int64]:
    table = np.full(max(rows, default=0) + 1, -1, np.int64)
    table[list(rows)] = list(rows.values())
    return table
