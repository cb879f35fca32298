"""The register, plainly: what it says is written into the dicts of sites, devices and places, which keep what they know."""

from typing import TYPE_CHECKING, Any

from analytics.calendars import Calendar
from analytics.findings import Phase, Rule, SubjectKind
from analytics.inside import PRESENCE
from analytics.people import standard_us
from analytics.rules import compile_rules, minutes
from analytics.state import FAMILIES, NEVER
from analytics.watch import ABSENT
from benchmarks import plain_residents
from benchmarks.plain_book import Book, new_device, new_site
from benchmarks.plain_footfall import new_place
from ingest.inputs import DeviceInput, Inputs, SiteInput

if TYPE_CHECKING:
    from benchmarks.plain import Plain

State = dict[str, Any]


def register(book: "Plain", inputs: Inputs) -> None:
    """Take over a register; what its changes explain or remove is said to be over."""
    sites, devices = book.sites, book.devices
    waiting = [e for site in sites.values() for e in site["waiting"]]
    book.sites = {s.id: _site(sites.get(s.id) or new_site(s.id), s, inputs) for s in inputs.sites}
    book.site_of_place = {p.id: book.sites[p.site] for p in inputs.places}
    book.devices = {}
    for d in inputs.devices:
        if (site := book.site_of_place.get(d.place)) is not None:
            device = book.devices[d.id] = _device(devices.get(d.id) or new_device(d.id), d, site)
            site["devices"].append(device)
            site["sensors"] += [device] if d.family in FAMILIES else []
    order = [g.id for g in inputs.gateways]
    for site in book.sites.values():
        _places(book, site, inputs)
        site["gateways"] = sorted({d["gateway"] for d in site["devices"]}, key=order.index)
    for e in waiting:
        if (site := book.site_of_place.get(e["place"])) is not None:
            site["waiting"].append(e)
    for site in book.sites.values():
        if site["started"] is not None:
            book.turn_page(site, site["clock"])
            _refresh(book, site)
    plain_residents.register(book, inputs)


def _site(site: State, s: SiteInput, inputs: Inputs) -> State:
    rules = compile_rules(s.rules)
    site |= {"calendar": Calendar(s.zone, s.hours, s.closed, days=inputs.days, modes=s.modes), "rules": rules, "kind": s.kind}
    site |= {"capacity": s.capacity, "shift": standard_us(s.zone), "closed_spans": s.closed, "mode_spans": s.modes}
    site["limit"] = NEVER if s.capacity is None else round(1000 * s.capacity * rules.crowding.share)
    return site | {"devices": [], "sensors": [], "waiting": [], "due": 0}


def _device(device: State, d: DeviceInput, site: State) -> State:
    device |= {"identity": d.identity, "family": d.family, "place": d.place, "gateway": d.gateway, "site": site}
    device |= {"alive_every": d.alive_every_us, "mounted": d.mounted_us}
    patience = round(site["rules"].device_offline.silences * d.alive_every_us)
    if patience != device["patience"] and not device["offline"]:
        device["due"] = max(device["heard"], d.mounted_us) + patience
        if device["link_off"]:
            device["due"] = min(device["due"], device["link_off"] + minutes(site["rules"].device_offline.link_min))
    device["patience"] = patience
    return device


def _places(book: Book, site: State, inputs: Inputs) -> None:
    """Note where people come and go, and the places where they are counted, or were."""
    mine = [p for p in inputs.places if book.site_of_place[p.id] is site]
    counters = [d for d in site["devices"] if d["family"] == "counter"]
    counted, known = {d["place"] for d in counters}, {p["id"]: p for p in site["counting"]}
    site["entrances"] = {p.id for p in mine if p.room == "entrance"}
    site["gates"] = site["entrances"] | (set() if site["entrances"] & counted else counted)
    site["counted"] = bool(counted)
    site["counting"] = [known.get(p.id) or new_place(p.id) for p in mine if p.id in counted | set(known)]
    for p in site["counting"]:
        p["counters"] = [d for d in counters if d["place"] == p["id"]]


def _refresh(book: "Plain", site: State) -> None:
    clock, closed, calendar = site["clock"], site["closed_spans"], site["calendar"]
    here = {d["id"] for d in site["devices"]}
    for r in list(site["records"]):
        if r["rule"] in PRESENCE:
            over = calendar.mode(r["deadline"], r["deadline"] + 1) == "visit"
        elif r["rule"] in ABSENT:
            over = calendar.at(r["deadline"]) is None
        else:
            over = r["absent"] and r["kind"] is not SubjectKind.DEVICE and any(a <= r["since"] < b for a, b in closed)
        device = r["device"] if r["rule"] is Rule.LEFT_OPEN else r["subject"] if r["kind"] is SubjectKind.DEVICE else None
        if over:
            book.end(site, r, clock, Phase.RETRACT)
        elif device is not None and device not in here:
            book.end(site, r, max(clock, r["deadline"]))
