"""The rules about quarters of an hour, plainly: a loop over the devices of each site that closes one."""

from math import log, log1p
from typing import TYPE_CHECKING, Any

import numpy as np

from analytics.findings import Phase, Rule
from analytics.inactivity import ALWAYS_US, MONTH_DAYS
from analytics.quarters import BLIND_US, QUARTER_US
from analytics.rules import minutes
from analytics.silence import MODEL, Silence, kind_after, kind_of, learn, limits
from analytics.state import NEVER
from benchmarks import plain_footfall, plain_residents, plain_sight
from gateway.events import Flag, Kind, Result

if TYPE_CHECKING:
    from benchmarks.plain_book import Book

State = dict[str, Any]
MODEL_DTYPE = np.dtype(MODEL)
PASSAGE, STRANGER, ODD = int(Kind.PASSAGE), int(Result.STRANGER), int(Flag.TIME_IMPLAUSIBLE)
COUNTS = ("messages", "edges", "opens", "people_in", "people_out", "passages", "strangers", "odd")


def count(d: State, e: State, edge: bool) -> None:
    """Add an event to what a device said in this quarter."""
    d["messages"] += 1
    d["edges"] += edge
    d["opens"] += edge and e["a"] == 1
    d["people_in"] += e["d_in"]
    d["people_out"] += e["d_out"]
    if e["kind"] == PASSAGE:
        d["passages"] += 1
        d["strangers"] += e["a"] == STRANGER
    if e["flags"] & ODD:
        d["odd"] += 1


def close(book: "Book", site: State, to_us: int) -> None:
    """Judge the quarter of an hour that a site closes."""
    from_us = to_us - QUARTER_US
    day_type, slot, is_open, excused = site["calendar"].quarter(from_us, to_us)
    q: State = {"from": from_us, "to": to_us, "day_type": day_type, "slot": slot, "open": is_open, "excused": excused}
    for d in site["devices"]:
        view = book.views.get(d["gateway"], plain_sight.NOTHING)
        there = d["heard"] > 0 and to_us - d["heard"] < d["alive_every"]
        here = d["mounted"] <= from_us and not 0 < d["link_off"] < to_us
        d["sees"] = there and here and not plain_sight.uncovered(view, d["identity"], from_us, to_us, BLIND_US)
        d["people"] = d["people_in"] + d["people_out"] + d["passages"]
        d["active"] = d["edges"] + d["people"] > 0
    _silence(site, q)
    _health(book, site, q)
    plain_footfall.close(book, site, q)
    plain_residents.close(book, site, q)
    _occupancy(book, site, q)
    _strangers(book, site, q)
    for d in site["devices"]:
        for name in COUNTS:
            d[name] = 0


# -------------------------------------------------------------------- silence


def _silence(site: State, q: State) -> None:
    s = site["silence"]
    if s is None:
        s = site["silence"] = {"days": 0, "day": 0, "opened": 0, "always": False, "mode": 0, "model": np.zeros(1, MODEL_DTYPE)}
        s |= {"quiet": 0, "unproven": False, "base": 0, "due": NEVER}
    if not q["open"]:
        s["opened"] = 0
    elif not s["opened"] or q["slot"] == 0:
        w = site["calendar"].at(q["from"])
        s["opened"] = max(w.opens_us, 1) if w else q["from"]
        s["always"] = w is not None and w.closes_us - w.opens_us > ALWAYS_US
    active = any(d["active"] for d in site["sensors"])
    taken = bool(site["sensors"]) and q["open"] and not q["excused"]
    if taken:
        s["unproven"] |= not active and not all(d["sees"] for d in site["sensors"])
        learned = s["days"] >= site["rules"].no_activity.days
        if not (learned and s["due"] <= q["from"]) and not s["unproven"]:
            _learn(site, s, q, active)
        if active and s["always"]:
            s["mode"] = int(_out(site))
    if not taken or active:
        s |= {"quiet": 0, "unproven": False, "base": 0, "due": NEVER}
        return
    s["quiet"] += 1
    base = max(site["last_act"], site["started"], s["opened"])
    if base != s["base"] and s["days"] >= site["rules"].no_activity.days:
        slot = (q["slot"] - (q["from"] // QUARTER_US - base // QUARTER_US)) % 96
        s["base"], s["due"] = base, max(_limit(site, s, base, q["day_type"], slot, s["mode"]), q["to"])
        site["due"] = min(site["due"], s["due"])


def _learn(site: State, s: State, q: State, active: bool) -> None:
    day = site["calendar"].day_of(site["clock"])[0]
    s["days"] += s["day"] != day
    s["day"] = day
    one = [np.array([v], np.int64) for v in (0, s["mode"], q["day_type"], q["slot"], s["quiet"])]
    learn(s["model"], one[0], one[1], kind_of(one[2]), one[3], one[4], np.array([active]))


def _limit(site: State, s: State, base: int, day_type: int, slot: int, mode: int) -> int:
    rules = site["rules"].no_activity
    of = np.array([day_type], np.int64)
    one = [np.array([v], np.int64) for v in (base, slot, mode)]
    silence = Silence(base_us=one[0], slot=one[1], mode=one[2], kind=kind_of(of), next_kind=kind_after(of))
    due = int(limits(s["model"], silence, np.array([rules.per_month / MONTH_DAYS]))[0][0])
    most = minutes(rules.most_always_min if s["always"] else rules.most_min)
    least = max(minutes(rules.least_min), 2 * QUARTER_US)
    return base + min(max(due - base, least), max(most, least))


def _out(site: State) -> bool:
    """Tell whether at most one sensor has moved since the entrance door did."""
    at = [d["act"] for d in site["sensors"] if d["family"] == "door" and d["place"] in site["entrances"]]
    inside = [d["act"] for d in site["sensors"] if not (d["family"] == "door" and d["place"] in site["entrances"])]
    left = max(at, default=0)
    return left > 0 and sum(act > left for act in inside) <= (len(inside) >= 3)


def is_fixed(site: State, base: int, clock: int) -> bool:
    """Tell whether the deadline of a silence is final."""
    s = site["silence"]
    default = s is None or s["days"] < site["rules"].no_activity.days
    return default or s["base"] == base or clock > (base // QUARTER_US + 2) * QUARTER_US


def silence_deadline(site: State, base: int) -> int:
    """Return when a silence since `base` becomes too long."""
    s, rules = site["silence"], site["rules"].no_activity
    if s is None or s["days"] < rules.days:
        return base + minutes(rules.limit_min)
    if s["base"] == base:
        return int(s["due"])
    day_type, slot, _, _ = site["calendar"].quarter(base, base + 1)
    return _limit(site, s, base, day_type, slot, int(s["always"] and _out(site)))


def silence_code(site: State, base: int) -> str:
    """Return the words for a silence that became too long."""
    s, opening = site["silence"], base != site["last_act"]
    if s is None or s["days"] < site["rules"].no_activity.days:
        return "no_activity_since_opening" if opening else "no_activity"
    out = s["mode"] if s["base"] == base else s["always"] and _out(site)
    return "nobody_back" if out else "silence_since_opening" if opening else "silence"


# -------------------------------------------------------------------- sensors


def _health(book: "Book", site: State, q: State) -> None:
    rules, people = site["rules"], sum(d["people"] for d in site["devices"])
    for d in site["devices"]:
        d["chatters"] = d["edges"] >= rules.flapping.edges and d["edges"] > 4 * people
    steady = sum(d["active"] and not d["chatters"] for d in site["devices"])
    last = q["slot"] == 95
    some = any(d["active"] for d in site["devices"])
    for d in site["devices"]:
        judged = steady - d["active"] > 0 and d["sees"] and q["open"] and not q["excused"]
        _habit(d, q, judged)
        if some:
            _missing(book, site, d, q)
        if d["family"] == "door":
            calm = max(int(rules.flapping.calm_min // 15), 1)
            off = d["sees"] and not d["chatters"]
            book.update(site, d, q, Rule.FLAPPING, "flapping", d["chatters"], off, end_after=calm)
        d["in_today"] += d["people_in"]
        d["out_today"] += d["people_out"]
        d["odd_today"] += d["odd"]
        d["heard_today"] |= d["messages"] > 0
        odd = d["odd_today"] >= rules.clock_wrong.messages
        right = last and d["heard_today"] and not d["odd_today"]
        book.update(site, d, q, Rule.CLOCK_WRONG, "clock_wrong", odd, right)
    if last:
        _mismatch(book, site, q)
        for d in site["devices"]:
            _end_day(d)


def _habit(d: State, q: State, judged: bool) -> None:
    if judged and d["active"]:
        forget = 0.9995 ** (d["run"] + 1)
        d["hits"], d["misses"] = d["hits"] * forget + 1, d["misses"] * forget + d["run"]
        d["active_today"] = True
    if d["active"] or (d["run"] > 0 and d["act"] >= d["run_since"]):
        d["run"] = 0
    if judged and not d["active"]:
        if d["run"] == 0:
            d["run_since"] = q["from"]
        d["run"] += 1
        d["quiet_today"] = True


def _missing(book: "Book", site: State, d: State, q: State) -> None:
    rule = {"door": Rule.STUCK, "terminal": Rule.DEVICE_SILENT}.get(d["family"])
    if rule is None:
        return
    habit = d["hits"] / (d["hits"] + d["misses"] + 20)
    daily = d["hit_days"] / (d["hit_days"] + d["miss_days"] + 1)
    unlikely = d["run"] * log1p(-habit) < log(1e-5) and d["days"] * log1p(-daily) < log(1e-2)
    rules = site["rules"]
    long = d["run"] >= 4 * rules.stuck.hours if rule is Rule.STUCK else d["days"] >= rules.device_silent.days
    book.update(site, d, q, rule, rule.value, unlikely and long and not d["active"], d["active"], since=d["run_since"])


def _mismatch(book: "Book", site: State, q: State) -> None:
    rules, counters = site["rules"].count_mismatch, [d for d in site["devices"] if d["family"] == "counter"]
    for d in counters:
        if d["in_today"] + d["out_today"] > 0 and not q["excused"]:
            d["in_sum"] = d["in_sum"] * (1 - 1 / rules.days) + d["in_today"]
            d["out_sum"] = d["out_sum"] * (1 - 1 / rules.days) + d["out_today"]
            d["counted_days"] += 1
    came, left = sum(d["in_sum"] for d in counters), sum(d["out_sum"] for d in counters)
    whole = (came - left) / max(came + left, 1)
    for d in counters:
        total = d["in_sum"] + d["out_sum"]
        own = (d["in_sum"] - d["out_sum"]) / max(total, 1)
        known = d["counted_days"] >= rules.days and total >= 30 * rules.days
        on = known and abs(own) > rules.share and own * whole > 0 and abs(whole) > rules.share / 2
        off = known and abs(own) < 0.8 * rules.share
        book.update(site, d, q, Rule.COUNT_MISMATCH, "count_mismatch", on, off)


def _end_day(d: State) -> None:
    if d["active_today"]:
        forget = 0.98 ** (d["days"] + 1)
        d["hit_days"], d["miss_days"] = d["hit_days"] * forget + 1, d["miss_days"] * forget + d["days"]
        d["days"] = 0
    elif d["quiet_today"]:
        d["days"] += 1
    d |= {"quiet_today": False, "active_today": False, "heard_today": False, "in_today": 0, "out_today": 0, "odd_today": 0}


# -------------------------------------------------------------------- people


def _occupancy(book: "Book", site: State, q: State) -> None:
    counters = [d for d in site["sensors"] if d["family"] == "counter" and d["place"] in site["gates"]]
    if not all(d["sees"] for d in counters):
        site["unsure"] = min(site["unsure"], q["from"])
    site["odd"] |= q["excused"]
    moved = any(d["active"] for d in site["devices"])
    watched = all(d["sees"] for d in site["sensors"])
    quiet = not moved and watched and site["last_sign"] <= q["to"] - 8 * QUARTER_US
    may = not q["open"] or q["slot"] < 20
    site["quiet"] = (site["quiet"] + quiet) if may and not moved else 0
    sure = site["unsure"] == NEVER
    used = site["inside"] or site["ins"] + site["outs"] > 0 or not sure or site["odd"]
    if quiet and may and site["quiet"] >= 8 and used:
        _empty(book, site, q, learn=sure and not site["odd"])
    elif not q["open"] and q["slot"] == 16 and used:
        _empty(book, site, q, learn=False)
        site["unsure"] = q["to"]


def _empty(book: "Book", site: State, q: State, *, learn: bool) -> None:
    if any(r["rule"] is Rule.PEOPLE_AFTER_CLOSING for r in site["records"]):
        return
    if learn and site["ins"] + site["outs"] > 0:
        site["sum_in"] = site["sum_in"] * 9 // 10 + 1000 * site["ins"]
        site["sum_out"] = site["sum_out"] * 9 // 10 + 1000 * site["outs"]
        site["ratio"] = min(1250, max(800, 1000 * (site["sum_in"] + 200_000) // (site["sum_out"] + 200_000)))
    site |= {"inside": 0, "ins": 0, "outs": 0, "since": q["to"], "unsure": NEVER, "odd": False}
    for r in [r for r in site["records"] if r["rule"] is Rule.CROWDING]:
        book.end(site, r, q["to"])


def _strangers(book: "Book", site: State, q: State) -> None:
    came = sum(d["strangers"] for d in site["devices"])
    people, of = sum(site["strangers"]) + came, (q["day_type"] >= 5, q["slot"] // 12)
    known, usual = site["hours"].get(of, 0) >= 15, site["usual"].get(of, 0.0)
    usual = usual if known else max(usual, 4.0)
    limit = max(site["rules"].stranger_spike.least, site["rules"].stranger_spike.times * usual)
    on = people >= limit and not (q["excused"] and site["calendar"].mode(q["from"], q["to"]) == "visit")
    code = "stranger_spike" if known else "stranger_spike_new"
    off = people < limit / 2 and not on
    book.update(site, site, q, Rule.STRANGER_SPIKE, code, on, off, end_after=2, people=people)
    for r in [r for r in site["records"] if on and r["rule"] is Rule.STRANGER_SPIKE]:
        if people >= 1.5 * r["people"]:
            r["people"], r["code"] = people, code
            book.say(site, r, Phase.CONTINUE, q["to"])
    terminals = [d for d in site["devices"] if d["family"] == "terminal"]
    site["strangers"] = [*site["strangers"][1:], came]
    site["hour"] += came
    site["hour_seen"] += bool(terminals) and all(d["sees"] for d in terminals) and not q["excused"]
    if q["slot"] % 4 == 3:
        if site["hour_seen"] == 4:
            hours, mean = site["hours"].get(of, 0), site["usual"].get(of, 0.0)
            site["usual"][of] = mean + (min(site["hour"], limit) - mean) / (min(hours, 59) + 1)
            site["hours"][of] = min(hours + 1, 60)
        site["hour"] = site["hour_seen"] = 0
