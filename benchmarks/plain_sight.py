"""What gateways could see, plainly: a list of intervals each, and the rules about who cannot be heard."""

from typing import TYPE_CHECKING, Any
from zlib import crc32

from analytics.findings import Finding, Phase, Rule, Severity, SubjectKind
from analytics.rules import GAP_US, minutes
from analytics.state import NEVER
from ingest.columns import Batch

if TYPE_CHECKING:
    from benchmarks.plain_book import Book

State = dict[str, Any]
NOTHING: State = {"spans": [], "gaps": [], "through": 0, "alive": True}


def look(book: "Book", batch: Batch) -> None:
    """Take what a batch says of gateways, and say which sites cannot be seen."""
    for c in batch.coverage:
        view = _view(book, c.gateway)
        span = next((s for s in view["spans"] if s[2] == c.stream), None)
        if span:
            span[1] = max(span[1], c.through_us)
        else:
            view["spans"].append([c.from_us, c.through_us, c.stream])
            view["spans"].sort()
        view["through"] = max(view["through"], c.through_us)
    for b in batch.blind:
        gaps = _view(book, b.gateway)["gaps"]
        known = next((g for g in gaps if g["counts"] and (g["source"], g["from"]) == (b.source, b.from_us)), None)
        if known:
            known["to"] = b.to_us
        else:
            gaps.append(_gap(b.source, b.from_us, b.to_us, b.reason, counts=True))
    for x in batch.liveness:
        view = _view(book, x.gateway)
        view["alive"] = x.alive
        if x.alive:
            for g in view["gaps"]:
                g["to"] = x.at_us if g["to"] is None and g["reason"] == "lost" else g["to"]
        elif not any(g["reason"] == "lost" and g["from"] == x.at_us for g in view["gaps"]):
            view["gaps"].append(_gap("", x.at_us, None, "lost", counts=False))
    said = {c.gateway for c in batch.coverage} | {b.gateway for b in batch.blind} | {x.gateway for x in batch.liveness}
    for gateway in sorted(said):
        view = book.views[gateway]
        _find_holes(view)
        for g in sorted(view["gaps"], key=lambda g: (g["counts"], g["from"])):
            _tell(book, gateway, view, g)
    for site in book.sites.values():
        for d in site["devices"]:
            if d["due"] == NEVER and not d["offline"] and d["gateway"] in said:
                d["due"], site["due"] = max(d["heard"], d["mounted"]) + d["patience"], 0


def uncovered(view: State, identity: str, from_us: int, to_us: int, tolerance_us: int = GAP_US) -> list[tuple[int, int]]:
    """Return the times in [from_us, to_us] in which a device was not heard; short ones do not count."""
    spans = view["spans"]
    if not view["gaps"] and len(spans) == 1 and spans[0][0] <= from_us and to_us <= spans[0][1]:
        return []
    holes, at = [], from_us
    for a, b, _ in spans:
        if a > at:
            holes.append((at, min(a, to_us)))
        at = max(at, b)
    holes.append((at, to_us))
    blind = [g for g in view["gaps"] if g["counts"] and identity.startswith(g["source"])]
    holes += [(max(g["from"], from_us), to_us if g["to"] is None else min(g["to"], to_us)) for g in blind]
    joined: list[tuple[int, int]] = []
    for a, b in sorted(h for h in holes if h[0] < h[1] and h[0] < to_us):
        if joined and a <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(b, joined[-1][1]))
        else:
            joined.append((a, b))
    begun = spans[0][0] if spans else to_us
    return [(a, b) for a, b in joined if b - a > tolerance_us or a < begun or (b == to_us and to_us > view["through"])]


def device_due(book: "Book", site: State, d: State, now: int) -> None:
    """Look at a device that was to be heard by now."""
    view, since = book.views[d["gateway"]], max(d["heard"], d["mounted"])
    link_due = d["link_off"] + minutes(site["rules"].device_offline.link_min) if d["link_off"] else NEVER
    if now >= link_due:
        _offline(book, site, d, d["link_off"], now, "link_offline")
        return
    holes = uncovered(view, d["identity"], since, now, 0)
    looking = since if not holes else None if holes[-1][1] >= now else holes[-1][1]
    if looking is None:
        d["due"] = _again(view, d, now)
    elif now - looking >= d["patience"]:
        _offline(book, site, d, since, now, "silent" if d["heard"] else "never_heard")
    else:
        d["due"] = looking + d["patience"]
    if d["link_off"]:
        d["due"] = min(d["due"], link_due) if link_due > now else d["due"]


def _again(view: State, d: State, now: int) -> int:
    """Return the deadline of a device whose silence begins anew when someone listens again."""
    if view["through"] <= now:
        return NEVER
    holes = uncovered(view, d["identity"], now, view["through"], 0)
    if not holes or holes[0][0] > now:
        return int(now + d["patience"])
    return NEVER if holes[0][1] >= view["through"] else int(holes[0][1] + d["patience"])


def _offline(book: "Book", site: State, d: State, since: int, now: int, code: str) -> None:
    d["offline"], d["due"] = True, NEVER
    more = {"deadline": now}
    book.begin(site, book.record(site, Rule.DEVICE_OFFLINE, SubjectKind.DEVICE, d["id"], code, since, **more))


def _view(book: "Book", gateway: int) -> State:
    return book.views.setdefault(gateway, {"spans": [], "gaps": [], "through": 0, "alive": True})


def _gap(source: str, from_us: int, to_us: int | None, reason: str, *, counts: bool) -> State:
    gap: State = {"source": source, "from": from_us, "to": to_us, "reason": reason, "counts": counts}
    return gap | {"told": None, "said": 0, "over": False}


def _find_holes(view: State) -> None:
    through = view["spans"][0][1] if view["spans"] else 0
    for a, b, _ in view["spans"]:
        if a - through > GAP_US and not any(g["reason"] == "hole" and g["from"] == through for g in view["gaps"]):
            view["gaps"].append(_gap("", through, a, "hole", counts=False))
        through = max(through, b)


def _tell(book: "Book", gateway: int, view: State, g: State) -> None:
    if g["told"] is None:
        begin, end = _untold(view, g)
        if end - begin >= GAP_US:
            behind = [s["id"] for s in book.sites.values() if any(_hides(g, gateway, d) for d in s["devices"])]
            g["said"], g["told"] = begin, behind or [0]
            _say(book, gateway, g, Phase.BEGIN, begin)
    if g["told"] is not None and g["to"] is not None and not g["over"]:
        g["over"] = True
        long = g["reason"] == "lost" or g["to"] - g["said"] >= GAP_US
        _say(book, gateway, g, Phase.END if long else Phase.RETRACT, g["to"])


def _untold(view: State, g: State) -> tuple[int, int]:
    """Return the first long piece of a gap that no other finding speaks of."""
    begin, end = g["from"], view["through"] if g["to"] is None else g["to"]
    if g["reason"] == "lost":
        return begin, max(end, begin + GAP_US)
    others = [o for o in view["gaps"] if o["told"] is not None and o is not g and not o["counts"]]
    for o in sorted(others, key=lambda o: o["from"]):
        if begin + GAP_US <= min(o["from"], end):
            return begin, min(o["from"], end)
        begin = max(begin, NEVER if o["to"] is None else o["to"])
    return begin, end


def _hides(g: State, gateway: int, d: State) -> bool:
    return bool(d["gateway"] == gateway and d["identity"].startswith(g["source"]))


def _say(book: "Book", gateway: int, g: State, phase: Phase, at: int) -> None:
    code = g["reason"] if g["reason"] in ("lost", "hole") else "blind"
    episode = g["said"] // 1000 * 1000 + crc32(f"{gateway}/{g['source']}".encode()) % 1000
    for site in g["told"]:
        kind, subject = (SubjectKind.SITE, site) if site else (SubjectKind.GATEWAY, gateway)
        book.found.append(_finding(book, Rule.MONITORING_GAP, kind, subject, site, episode, phase, at, code))
    if g["reason"] == "clock wrong":
        args = (SubjectKind.GATEWAY, gateway, next((s for s in g["told"] if s), 0), g["said"], phase, at, "gateway_clock")
        book.found.append(_finding(book, Rule.CLOCK_WRONG, *args))


def _finding(
    book: "Book", rule: Rule, kind: SubjectKind, subject: int, site: int, episode: int, phase: Phase, at: int, code: str
) -> Finding:
    return Finding(
        shard=book.shard,
        rule=rule,
        subject_kind=kind,
        subject=subject,
        site=site,
        episode=episode,
        phase=phase,
        at_us=at,
        severity=Severity.MAJOR,
        reason={"code": code},
    )
