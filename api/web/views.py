"""Turns rows into what a page says: words, names and times in the reader's language and the site's zone.

One decision: templates only place what is made here; they compute nothing, so the page, the live fragment and the page
without JavaScript cannot disagree.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from analytics import reasons
from api.reading import AlertRow, ChangeRow, EvidenceRow, HourRow, LatestRow, SiteRow, Troubled
from api.web.charts.doors import Period, State
from api.web.i18n import Say
from gateway.clock import HOUR_US, MINUTE_US
from gateway.events import Kind, Result

BEHIND_US = 5 * MINUTE_US
"""A site whose clock is older than this, though it is not blind, is being caught up."""
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
COUNTED = {"alert": "alert", "blind": "blind", "unknown": "blind", "attention": "attention", "ok": "ok", "closed": "ok"}
"""Which of the four counters a site's state falls under: what was never seen is not normal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertView:
    """An alert as a row says it."""

    id: int
    version: int
    rule: str
    severity: str
    severity_word: str
    state: str
    state_word: str
    active: bool
    untaken: bool
    text: str
    site: str
    site_code: str | None
    region: str
    since: str
    taken_by: str
    late: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteView:
    """A site as a row says it."""

    id: int
    code: str
    name: str
    region: str
    kind: str
    state: str
    state_word: str
    deadline_label: str
    deadline: str
    remaining: str
    overdue: bool
    today: str
    people: int
    passages: int
    analysed: str
    capacity: int | None
    hours: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceView:
    """A watched place and what its sensor last said."""

    name: str
    family: str
    family_word: str
    state: str
    state_word: str
    since: str
    last: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EventView:
    """One event in words."""

    time: str
    place: str
    text: str
    sign: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestView:
    """One event of any site. key: the same for the same event in every rendering, unlike any other's."""

    key: str
    site: str
    site_code: str
    event: EventView


@dataclass(frozen=True, slots=True, kw_only=True)
class BannerView:
    """Why the page cannot be trusted fully at this moment."""

    kind: str
    title: str
    text: str


def alert(row: AlertRow, say: Say) -> AlertView:
    """Say an alert."""
    active = row.state in ("open", "acknowledged")
    until = say.now_us if active or row.end_us is None else row.end_us
    since = say("overview.since", time=say.clock(row.begin_us, row.zone), span=say.span(until - row.begin_us))
    return AlertView(
        id=row.id,
        version=row.version,
        rule=reasons.rule_name(row.rule, say.lang),
        severity=row.severity,
        severity_word=say.word("severity", row.severity),
        state=row.state,
        state_word=say.word("alert_state", row.state),
        active=active,
        untaken=row.state == "open",
        text=reasons.render(row.rule, row.reason, say.lang, row.zone),
        site=say.name(row.site_name, row.site_name_en),
        site_code=row.site_code,
        region=say.name(row.region, row.region_en),
        since=since,
        taken_by=say("overview.taken_by", who=row.assignee) if row.state == "acknowledged" and row.assignee else "",
        late=row.late,
    )


def site(row: SiteRow, say: Say) -> SiteView:
    """Say a site."""
    left = None if row.next_deadline_us is None else row.next_deadline_us - say.now_us
    remaining = ""
    if left is not None:
        remaining = say("overview.remaining" if left >= 0 else "overview.overdue", span=say.span(abs(left)))
    people = row.today_in or row.today_passages
    return SiteView(
        id=row.id,
        code=row.code,
        name=say.name(row.name, row.name_en),
        region=say.name(row.region, row.region_en),
        kind=say.word("kind", row.kind),
        state=row.state,
        state_word=say.word("state", row.state),
        deadline_label=say.word("next", row.next_rule),
        deadline="" if row.next_deadline_us is None else say.clock(row.next_deadline_us, row.zone),
        remaining=remaining,
        overdue=left is not None and left < 0,
        today=say("overview.today", people=people),
        people=row.today_in,
        passages=row.today_passages,
        analysed=say("site.analysed", time=say.clock(row.clock_us, row.zone)) if row.clock_us else say("site.never_analysed"),
        capacity=row.capacity,
        hours=_hours(row, say),
    )


def deadlines(row: SiteRow, say: Say) -> list[tuple[str, str]]:
    """Say by when what is to happen at a site, nearest first: (when, what). Residents who are awaited are not named."""
    dues = [(int(d["due_us"]), say.word("next", d["rule"])) for d in row.detail.get("deadlines", [])]
    dues += [(int(d["due_us"]), say.word("next", "resident_absent")) for d in row.detail.get("awaited", [])]
    return [(say.clock(due_us, row.zone), what) for due_us, what in sorted(dues)]


def _hours(row: SiteRow, say: Say) -> str:
    day = WEEKDAYS[datetime.fromtimestamp(say.now_us // 1_000_000, ZoneInfo(row.zone)).weekday()]
    return "，".join(f"{a}–{b}" for a, b in row.hours.get(day, [])) or say("site.hours_closed")


def counters(states: Mapping[str, int], say: Say) -> list[tuple[str, str, int]]:
    """Return (state, word, sites) of the four counters. states: how many sites are in each."""
    found: Counter[str] = Counter()
    for state, sites in states.items():
        found[COUNTED[state]] += sites
    return [(state, say("state." + state), found[state]) for state in ("alert", "blind", "attention", "ok")]


def banners(found: Mapping[str, Troubled], say: Say) -> list[BannerView]:
    """Say what is not analysed and what is behind, the gravest first."""
    shown = []
    if failing := found.get("failing"):
        title = say("banner.not_analysed", time=say.clock(failing.since_us, failing.zone))
        shown.append(BannerView(kind="bad", title=title, text=say("banner.not_analysed_text", sites=_some(failing, say))))
    if behind := found.get("behind"):
        title = say("banner.behind", span=say.span(say.now_us - behind.since_us))
        shown.append(BannerView(kind="warn", title=title, text=say("banner.behind_text", sites=_some(behind, say))))
    return shown


def _some(found: Troubled, say: Say) -> str:
    first = say.name(*found.names[0])
    return first if found.sites == 1 else say("banner.and_others", first=first, count=found.sites)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeView:
    """One step of an alert's history."""

    time: str
    what: str
    who: str
    why: str


def change(row: ChangeRow, zone: str, say: Say) -> ChangeView:
    """Say a change; the analyzer's why is a code, a person's is their note."""
    why = reasons.ended({"ended": row.why}, say.lang) or row.why
    return ChangeView(time=say.seconds(row.at_us, zone), what=say.word("what", row.what), who=say.word("who", row.who), why=why)


def places(row: SiteRow, say: Say) -> list[PlaceView]:
    """Say the places of a site, from what the analyzer left in its status."""
    found = []
    for place in row.detail.get("places", []):
        since, last = place.get("since_us"), place.get("last_us")
        found.append(
            PlaceView(
                name=_place_name(place, say),
                family=str(place.get("family", "")),
                family_word=say.word("family", str(place.get("family", ""))),
                state=str(place.get("state", "unknown")),
                state_word=say.word("place_state", str(place.get("state", "unknown"))),
                since=say("site.since", time=say.clock(since, row.zone)) if since else "",
                last=say("site.last", time=say.seconds(last, row.zone)) if last else "",
            )
        )
    return found


def _place_name(place: dict[str, Any], say: Say) -> str:
    return say.name(str(place.get("name", "")), place.get("name_en"))


def recent(row: SiteRow | LatestRow, say: Say) -> list[EventView]:
    """Say the latest events of a site, newest first."""
    names = {p.get("id"): _place_name(p, say) for p in row.detail.get("places", [])}
    found = []
    for e in _newest(row):
        where = e.get("place")
        name = names.get(where) or (where if isinstance(where, str) else "")
        text, sign = _event(_kind(e.get("kind")), e.get("a", 0), e.get("d_in", 0), e.get("d_out", 0), say)
        found.append(EventView(time=say.seconds(int(e["t_us"]), row.zone), place=name, text=text, sign=sign))
    return found


def _newest(row: SiteRow | LatestRow) -> list[dict[str, Any]]:
    return sorted(row.detail.get("recent", []), key=lambda e: -int(e["t_us"]))


def latest(rows: Iterable[LatestRow], limit: int, say: Say) -> list[LatestView]:
    """Say the newest events over several sites, newest first."""
    merged, seen = [], Counter[str]()
    for row in rows:
        for e, shown in zip(_newest(row), recent(row, say), strict=True):
            key = f"{row.id}-{e['t_us']}-{_kind(e.get('kind'))}-{e.get('place', 0)}"
            seen[key] += 1  # a counter with several lines says several things at once
            name = say.name(row.name, row.name_en)
            view = LatestView(key=f"{key}-{seen[key]}", site=name, site_code=row.code, event=shown)
            merged.append((int(e["t_us"]), view))
    merged.sort(key=lambda pair: -pair[0])
    return [view for _, view in merged[:limit]]


def evidence(rows: Iterable[EvidenceRow], zone: str, say: Say) -> list[EventView]:
    """Say the events an alert rests on."""
    found = []
    for row in rows:
        text, sign = _event(row.kind, row.a, row.d_in, row.d_out, say)
        place = say.name(row.place, row.place_en)
        found.append(EventView(time=say.seconds(row.t_us, zone), place=place, text=text, sign=sign))
    return found


def _kind(value: object) -> int:
    if isinstance(value, int):
        return value
    name = str(value).upper()
    return int(Kind[name]) if name in Kind.__members__ else 0


def _event(kind: int, a: int, d_in: int, d_out: int, say: Say) -> tuple[str, str]:
    """Return an event's words and its sign (an icon's name)."""
    if kind == Kind.CONTACT:
        return (say("event.open"), "door-open") if a else (say("event.closed"), "door")
    if kind in (Kind.COUNT_TOTAL, Kind.COUNT_PERIOD):
        return (say("event.count", d_in=d_in, d_out=d_out) if d_in or d_out else say("event.count_none")), "people"
    if kind == Kind.PASSAGE:
        words = {Result.ALLOWED: "allowed", Result.REFUSED: "refused", Result.STRANGER: "stranger"}
        return say("event." + words.get(Result(a) if a in (1, 2, 3) else Result.STRANGER, "stranger")), "face"
    simple = {
        Kind.OCCUPANCY: ("occupancy", "occupancy", "people"),
        Kind.BATTERY: ("battery", "battery", "battery"),
        Kind.TAMPER: ("tamper_over", "tamper", "attention"),
        Kind.ALIVE: ("alive", "alive", "pulse"),
        Kind.LINK: ("link_down", "link_up", "pulse"),
        Kind.FAULT: ("fault_over", "fault", "attention"),
    }
    if kind not in simple:
        return say("event.other", kind=kind), "pulse"
    off, on, sign = simple[Kind(kind)]
    return say("event." + (on if a else off), a=a), sign


def kinds(bits: int, say: Say) -> str:
    """Say which kinds of events an unknown device has sent."""
    found = [say.word("event_kind", kind.name.lower()) for kind in Kind if bits >> kind & 1]
    return "、".join(found) if say.lang == "zh" else ", ".join(found)


def window(hours: Iterable[HourRow], doors: Iterable[list[Period]], start_us: int) -> tuple[int, int]:
    """Return the hours (from, to) that today's charts show: 06:00 to 22:00, and more where something happened."""
    busy = [(h.hour_us - start_us) // HOUR_US for h in hours if h.people_in or h.passages]
    for day in doors:
        opened = [p for p in day if p.state is State.OPEN]
        busy += [(p.from_us - start_us) // HOUR_US for p in opened] + [(p.to_us - start_us - 1) // HOUR_US for p in opened]
    return min(6, *busy, 6), max(22, *(n + 1 for n in busy), 22)
