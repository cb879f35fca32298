"""Unusually many or few people and counters that count nobody, plainly: a loop over the counting places of one site."""

from math import isnan, log, log1p, nan
from statistics import NormalDist, median
from typing import Any

from analytics.findings import Phase, Rule, SubjectKind
from analytics.quarters import QUARTER_US
from benchmarks import plain_profiles as profiles
from benchmarks.plain_book import Book, streak_of
from benchmarks.plain_profiles import SPANS, half, single

State = dict[str, Any]
FOOTFALL, BLIND = Rule.UNUSUAL_FOOTFALL, Rule.COUNTER_BLIND
A_DAY = {"centre": 80.0, "station": 40.0, "point": 20.0, "mutual_aid": 15.0}
FADE, SLOWLY = single(0.5 ** (1 / 4)), single(0.9999)


def new_place(number: int) -> State:
    """Return a place of which nothing is known."""
    place: State = {"id": number, "subject": SubjectKind.PLACE, "profile": profiles.new_profile(), "streaks": {}, "side": 0}
    place |= {"counters": [], "zeros": 0, "missed": 0.0, "doubtful": 0.0, "others": 0, "counted": 0.0, "usual": 0.0}
    return place | {"quarter": 0, "share": [nan] * 8}


def close(book: Book, site: State, q: State) -> None:
    """Judge a site's counting places, then the site as a whole."""
    places = [p for p in site["counting"] if p["counters"]]
    for p in places:
        _count(book, site, p, q)
    for p in places:
        judged = p["outlook"]
        if profiles.days(p["profile"]) < site["rules"].unusual_footfall.days:
            people = max(A_DAY[site["kind"]], profiles.a_day(p["profile"]))
            judged = profiles.guess(p["profile"], q["slot"], p["outlook"], people)
        p |= {"view": judged, "blind": streak_of(_device(p), BLIND)["raised"], "hushed": False, "doubts": [p]}
        p["steady"] = _judge(book, site, p, q)
    gates = [p for p in places if p["id"] in site["gates"]]
    if len(gates) > 1:
        _together(book, site, places, gates, q)
    for p in places:
        if p["steady"]:
            profiles.spread_out(p["profile"], q["slot"], p["outlook"])
        _remember(p, q)


def _device(place: State) -> State:
    first: State = place["counters"][0]
    return first


def _count(book: Book, site: State, p: State, q: State) -> None:
    """Take what a place counted, and say whether its counter is blind."""
    device, profile, slot = _device(p), p["profile"], q["slot"]
    counted = sum(d["people_in"] for d in p["counters"])
    alive = any(d["people_in"] + d["people_out"] for d in p["counters"])
    seen = all(d["sees"] and (d["messages"] + 1) * max(d["alive_every"], 1) > QUARTER_US for d in p["counters"])
    profiles.turn(profile, slot, q["day_type"])
    blind = streak_of(device, BLIND)["raised"]
    back = blind and seen and alive
    known = seen and not q["excused"] and (not blind or back)
    profile["ring"][slot] = (min(counted, profiles.MOST), False) if known else None
    p["outlook"] = profiles.look(profile, slot)
    usual = p["outlook"]["m"][0]
    usual = 0.0 if isnan(usual) else usual
    share = _neighbours(book, site, p, q, usual if seen and not alive else 0.0)
    if seen and not q["excused"]:
        _zeros(site, p, usual * (1.0 if isnan(share) else min(max(share, 0.0), 1.0)), alive=alive)
    p["dead"] = _blind(book, site, p, q, share, back=back)


def _neighbours(book: Book, site: State, p: State, q: State, missed: float) -> float:
    """Return the median share of the usual at other places an hour ago: of the site's, else of all."""
    if p["missed"] + missed < 2.0:
        return nan
    asked = q["to"] // QUARTER_US - 4

    def known(site: State) -> list[float]:
        return [o["share"][asked % 8] for o in site["counting"] if o is not p and 0 <= o["quarter"] - asked < 8]

    here = [share for share in known(site) if not isnan(share)]
    if here:
        return median(here)
    everywhere = [share for other in book.sites.values() for share in known(other) if not isnan(share)]
    return median(everywhere) if everywhere else nan


def _zeros(site: State, p: State, missed: float, *, alive: bool) -> None:
    if not alive:
        p["zeros"], p["missed"] = min(p["zeros"] + 1, 65535), single(min(p["missed"] + missed, 1e9))
        active = any(d["opens"] + d["passages"] for d in site["devices"] if d["family"] != "counter")
        p["others"] = min(p["others"] + active, 255)
        return
    if p["missed"] <= 8 * max(p["doubtful"], 20.0):  # else the counter was blind
        p["doubtful"] = max(single(p["doubtful"] * SLOWLY), p["missed"])
    p |= {"zeros": 0, "missed": 0.0, "others": 0}


def _blind(book: Book, site: State, p: State, q: State, share: float, *, back: bool) -> bool:
    """Say whether the counter is blind. Returns whether its zeros may be its own."""
    device, run, zeros, active = _device(p), p["missed"], p["zeros"], site["rules"].counter_blind.active
    wide = max(p["outlook"]["spread"][1 if zeros <= 4 else 2], 0.02)
    habit = device["hits"] / (device["hits"] + device["misses"] + 20)
    alone = device["run"] * log1p(-habit) if p["others"] >= active else 0.0
    chance = min(profiles.log_chance_of_none(run, min(wide, 0.3)), alone)
    strange = run >= 20 and run >= single(3 * p["doubtful"]) and chance <= -log(1e5)
    doors = any(d["family"] == "door" and d["sees"] for d in site["devices"])
    neighbours = doors or any(d["family"] == "terminal" and d["sees"] for d in site["devices"])
    elsewhere = share >= 0.5 or isnan(share) or (share > 0.05 and zeros >= 48)
    told = p["others"] >= active or (elsewhere and not neighbours)
    on, raised = strange and zeros >= active and told and zeros > 0, streak_of(device, BLIND)["raised"]
    code = "zeros_others" if p["others"] >= active else "zeros_alone" if isnan(share) else "zeros_neighbours"
    book.update(site, device, q, BLIND, code, on and not raised, back, since=q["to"] - zeros * QUARTER_US)
    now = streak_of(device, BLIND)["raised"]
    if now and not raised:
        profiles.forget(p["profile"], q["slot"], min(zeros, 96))
    empty = share < 0.5 or (doors and p["others"] == 0)
    return bool(now or (zeros > 0 and run >= 1.0 and (on or not empty)))


def _judge(book: Book, site: State, of: State, q: State) -> bool:
    """Begin, go on with and end what is unusual at a place or a site (`of`). Returns whether nothing is."""
    o, before = of["view"], of["side"]
    limits, hour, streak = _limits(site["rules"].unusual_footfall.per_month), o["z"][1], streak_of(of, FOOTFALL)
    worth = [abs(x - m) >= 5.0 and abs(x - m) >= 0.25 * m for x, m in zip(o["x"], o["m"], strict=True)]
    many = [n for n in range(4) if worth[n] and o["z"][n] >= limits[n] and hour > 1]
    few = [n for n in range(1, 4) if worth[n] and o["z"][n] <= -limits[n] and hour < -1 and not of["dead"] and not o["guessed"]]
    side = (1 if many else -1 if few else 0) if q["open"] else 0
    if (before and side == -before) or (before < 0 and of["blind"]):
        _over(book, site, of, q["from"], Phase.RETRACT if of["blind"] else Phase.END)
    on = side != 0 and not (of["hushed"] and before == 0)
    telling = profiles.score(0.0, o["m"][1], o["spread"][1]) < -2.0
    over = (not on and before * hour < 2.0 and (telling or before > 0)) or not q["open"]
    how: dict[str, Any] = {"end_after": 16}
    span = SPANS[max(many if side > 0 else few, key=lambda n: abs(o["z"][n]))] if side else 1
    if side < 0:
        how["since"] = q["to"] - span * QUARTER_US
    code = "footfall_new" if o["guessed"] else "footfall_high" if side > 0 else "footfall_low"
    was = streak["raised"]
    book.update(site, of, q, FOOTFALL, code, on, over and not on, **how)
    raised = streak["raised"]
    of["side"] = (side if on else before) if raised else 0
    for p in of["doubts"] if raised and not o["guessed"] else ():
        profiles.doubt(p["profile"], q["slot"], 1 if was else span)
    return not (raised or on or of["dead"])


def _over(book: Book, site: State, of: State, at: int, phase: Phase) -> None:
    streak_of(of, FOOTFALL).update(on=0, raised=False)
    kind = of["subject"]
    same = (r for r in site["records"] if r["rule"] is FOOTFALL and r["subject"] == of["id"] and r["kind"] is kind)
    if (r := next(same, None)) is not None:
        book.end(site, r, at, phase)


def _together(book: Book, site: State, places: list[State], gates: list[State], q: State) -> None:
    """Judge a site with several entrances, of which none says anything by itself."""
    own, first = site["profile"], gates[0]["profile"]
    own["learned"], own["kinds"] = [*first["learned"]], [*first["kinds"]]
    wide = [s + profiles.doubtfulness(own) for s in profiles.spread(own, q["slot"])]
    site |= {"view": profiles.together([p["view"] for p in gates], wide), "doubts": gates}
    site |= {name: any(p[name] for p in gates) for name in ("dead", "blind")}
    site["hushed"] = any(streak_of(p, FOOTFALL)["raised"] for p in places)
    if _judge(book, site, site, q) and not site["hushed"]:
        profiles.spread_out(own, q["slot"], profiles.together([p["outlook"] for p in gates], wide))


def _limits(per_month: float) -> list[float]:
    tests = (30 * 96 / max(span / 4, 1) for span in SPANS)
    return [-NormalDist().inv_cdf(min(per_month / 8 / n, 0.4)) for n in tests]


def _remember(p: State, q: State) -> None:
    """Keep how busy a place is, for its neighbours."""
    x, m = p["outlook"]["x"][0], p["outlook"]["m"][0]
    p["counted"] = single(single(p["counted"] * FADE) + (0.0 if isnan(x) else x))
    p["usual"] = single(single(p["usual"] * FADE) + (0.0 if isnan(x) else m))
    share = 0.0 if p["missed"] >= 2.0 else single(single(p["counted"] + 0.5) / single(p["usual"] + 0.5))
    p["quarter"] = q["to"] // QUARTER_US
    p["share"][p["quarter"] % 8] = half(min(share, 100.0)) if p["usual"] >= 2.0 else nan
