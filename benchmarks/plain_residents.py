"""Residents who stay away, plainly: sets of days for terminals, and one person after the other in the morning.

One decision: days are numbers in sets, and the formula for what a gap says (`rhythm`) is asked about one person at a time.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from analytics import rhythm
from analytics.findings import Phase, Rule, SubjectKind
from analytics.people import RESIDENT
from analytics.quarters import QUARTER_US
from analytics.state import NEVER
from gateway.clock import DAY_US, HOUR_US
from ingest.inputs import Inputs

if TYPE_CHECKING:
    from benchmarks.plain_book import Book

State = dict[str, Any]
MORNING_US, KEPT, SPOILED = 8 * HOUR_US, 64, 4
RHYTHM = np.dtype(rhythm.RHYTHM)


def register(book: "Book", inputs: Inputs) -> None:
    """Take over the residents of a register; who was known before keeps what is known."""
    before, ours = book.people, {d.id for d in inputs.devices}
    book.people = {}
    for p in inputs.persons:
        if p.role == RESIDENT and p.site in book.sites:
            person = before.get(p.id) or _new(p.id)
            home, lived = book.sites[p.site], person["site"]
            left = lived is not None and lived is not home
            person |= {"site": home, "shift": home["shift"], "away": p.absences}
            person["devices"] = [book.devices[d] for d in p.devices if d in book.devices]
            person |= {"hidden": not p.devices or not ours.issuperset(p.devices), "said": person["said"] and not left}
            book.people[p.id] = person
    if before or book.people:
        _look_again(book)


def _new(number: int) -> State:
    person: State = {"id": number, "site": None, "day": 0, "came": 0, "missed": [], "back": {}, "grade": 0, "said": False}
    return person | {"rhythm": np.zeros(1, RHYTHM)}


def observe(book: "Book", e: State) -> None:
    """Take a passage."""
    p = book.people.get(e["person"])
    if p is None:
        return
    day = (e["t_us"] + p["shift"]) // DAY_US
    p["day"] = p["day"] or day - 1
    if day > p["day"]:
        p["back"][day] = min(e["t_us"], p["back"].get(day, NEVER))
    elif day > p["came"]:
        _learn(p, day, [d for d in p["missed"] if d < day], reported=False)
        p |= {"came": day, "missed": [d for d in p["missed"] if d > day], "grade": 0, "said": False}
        if (r := _record(p)) is not None:
            book.end(p["site"], r, e["t_us"], Phase.RETRACT)


def close(book: "Book", site: State, q: State) -> None:
    """Count a quarter for the terminals' days, and decide the days of those whose sites have come to their mornings."""
    for d in site["devices"]:
        _watch(site, d, q)
    for p in book.people.values():
        sites = [p["site"], *(d["site"] for d in p["devices"])]
        if not p["day"] or not any(s is site for s in sites):
            continue
        heard = [s for s in sites if any(book.views.get(g) and book.views[g]["alive"] for g in s["gateways"])]
        clock = min(((s["clock"] + 1) // QUARTER_US * QUARTER_US for s in heard), default=0)
        while (p["day"] + 2) * DAY_US - p["shift"] + MORNING_US <= clock:
            _decide(book, p)
        if p["said"] and min(p["back"].values(), default=NEVER) <= clock:
            _seen(book, p)


def _watch(site: State, d: State, q: State) -> None:
    is_open = q["open"] and not q["excused"]
    d["open_today"] += is_open
    d["lit_today"] += is_open and d["sees"]
    d["excused_today"] += q["excused"] or q["day_type"] == 7
    if (q["to"] + site["shift"]) % DAY_US:
        return
    d["days_through"] = day = (q["to"] + site["shift"]) // DAY_US - 1
    if d["open_today"] and d["excused_today"] <= SPOILED:
        lit = d["lit_today"] >= site["rules"].resident_absent.seeing * d["open_today"]
        d["lit" if lit else "dark"].add(day)
    d |= {"open_today": 0, "lit_today": 0, "excused_today": 0}


def _counts(p: State, day: int) -> bool:
    """Tell whether a day counts: some terminal was open, all that were, were seeing, and nobody said they would be away."""
    begin = day * DAY_US - p["shift"]
    if p["hidden"] or any(a < begin + DAY_US and b > begin for a, b in p["away"]):
        return False
    known = all(0 <= d["days_through"] - day < KEPT for d in p["devices"])
    return known and any(day in d["lit"] for d in p["devices"]) and not any(day in d["dark"] for d in p["devices"])


def _decide(book: "Book", p: State) -> None:
    day = p["day"] + 1
    if day in p["back"]:
        if p["said"]:
            _seen(book, p)
        _learn(p, day, p["missed"], reported=p["grade"] >= 2)
        p |= {"came": day, "missed": [], "grade": 0, "said": False, "day": day}
        del p["back"][day]
        return
    counts, p["day"] = _counts(p, day), day
    p["missed"] = [d for d in p["missed"] if d > day - KEPT] + [day] * counts
    decided = (day + 1) * DAY_US - p["shift"] + MORNING_US
    grade = _grade(p) if counts and min(p["back"].values(), default=NEVER) > decided else 0
    if grade <= p["grade"]:
        return
    p |= {"grade": grade, "said": True}
    r, code, since = _record(p), _code(grade), (p["came"] + 1) * DAY_US - p["shift"]
    if r is not None:
        r |= {"last": decided, "code": code}
        book.say(p["site"], r, Phase.CONTINUE, decided)
    else:
        more = {"deadline": decided, "last": decided}
        book.begin(p["site"], book.record(p["site"], Rule.RESIDENT_ABSENT, SubjectKind.PERSON, p["id"], code, since, **more))


def _grade(p: State) -> int:
    """Say how grave the gap is: 1 watch, 2 visit, 3 urgent."""
    rules, days, row = p["site"]["rules"].resident_absent, len(p["missed"]), p["rhythm"]
    if row["visits"][0] < rules.visits:
        return 0
    chance = rhythm.per_year(row, rhythm.surprise(row, _by_weekday(p["missed"])))[0] / rules.per_year
    if chance <= rules.urgent_times and days >= rules.days + 2:
        return 3
    return 2 if chance <= 1 and days >= rules.days else int(chance <= rules.watch_times and days >= rules.days - 1)


def _learn(p: State, day: int, missed: list[int], *, reported: bool) -> None:
    rhythm.learn(p["rhythm"], np.array([day]), _by_weekday(missed), np.array([reported]))


def _by_weekday(days: list[int]) -> rhythm.Counts:
    return np.bincount([(d + 3) % 7 for d in days], minlength=7)[None, :] if days else np.zeros((1, 7), np.int64)


def _seen(book: "Book", p: State) -> None:
    p["said"] = False
    if (r := _record(p)) is not None:
        book.end(p["site"], r, min(p["back"].values()))


def _code(grade: int) -> str:
    return "absent_visit" if grade >= 2 else "absent_watch"


def _record(p: State) -> State | None:
    mine = (r for r in p["site"]["records"] if r["rule"] is Rule.RESIDENT_ABSENT and r["subject"] == p["id"])
    return next(mine, None)


def _look_again(book: "Book") -> None:
    """Look again at closures and absences entered for days that are over, and at who is gone."""
    for site in book.sites.values():
        for r in [r for r in site["records"] if r["rule"] is Rule.RESIDENT_ABSENT]:
            if (p := book.people.get(r["subject"])) is None or p["site"] is not site:
                book.end(site, r, max(site["clock"], r["last"]))
        for d in site["devices"]:
            for days in (d["lit"], d["dark"]):
                days -= {day for day in days if _covered(site, day)}
    for p in book.people.values():
        before, p["missed"] = p["missed"], [d for d in p["missed"] if _counts(p, d)]
        if p["said"] and p["missed"] != before:
            grade, r = _grade(p), _record(p)
            if r is not None and grade == 0:
                book.end(p["site"], r, p["site"]["clock"], Phase.RETRACT)
            elif r is not None and grade != p["grade"]:
                r["code"] = _code(grade)
                book.say(p["site"], r, Phase.CONTINUE, p["site"]["clock"])
            p |= {"grade": grade, "said": grade > 0}


def _covered(site: State, day: int) -> bool:
    begin = day * DAY_US - site["shift"]
    spans = [*site["closed_spans"], *((a, b) for a, b, _ in site["mode_spans"])]
    return int(sum(max(0, min(b, begin + DAY_US) - max(a, begin)) for a, b in spans)) > SPOILED * QUARTER_US
