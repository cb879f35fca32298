"""A regular visitor who stays away for longer than their own rhythm allows: watch, then a visit, then urgent.

One decision: everything is counted in opening days that were proven: a day on which a terminal that knows the person was not
seeing, the site was closed or a closure, drill or announced absence lay, neither counts against them nor teaches anything.
A day is decided the next morning, when someone can go and every site that the person uses has been analysed so far.

    quarters  → terminal_days: per terminal and day: open and seeing, open and blind, or closed
    passages  → residents.back: visits of the days that are still to be decided
    mornings  → day by day: visit → rhythm learns | missed day → how often a year would chance do this? → grade
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics import grades, rhythm, terminals
from analytics.book import Book
from analytics.episodes import Episodes
from analytics.findings import Finding, Phase, Rule, Severity, SubjectKind
from analytics.grades import MORNING_US, SEND, URGENT, WATCH
from analytics.people import People
from analytics.quarters import QUARTER_US, Quarter
from analytics.state import NEVER, Memory, Record, Table, put
from analytics.town import Town
from gateway.clock import DAY_US
from gateway.events import Kind

RULE = Rule.RESIDENT_ABSENT
AHEAD = 8
"""Days not yet decided whose visits are told apart; a backlog may make them that many."""
SEVERITIES = {WATCH: Severity.MINOR, SEND: Severity.MAJOR, URGENT: Severity.URGENT}
ONE = np.uint64(1)

RESIDENTS = Table(
    name="residents",
    kind=SubjectKind.PERSON,
    dtype=np.dtype(
        [
            ("id", "i4"),
            ("day", "i4"),  # decided through this day; 0 never seen
            ("came", "i4"),  # the last decided day with a visit
            ("missed", "u8"),  # bit j: missed on day - j, since `came`
            ("back", "i8", (AHEAD,)),  # first visit on each of the days after `day`; NEVER none. The last: then or later
            ("grade", "u1"),  # the gravest that was said of the present gap
            ("said", "?"),  # and it still holds
            ("due", "i8"),  # when something graver is said if they come no more; NEVER: not in the next weeks
            *rhythm.RHYTHM,
        ]
    ),
    blank={"back": NEVER, "due": NEVER},
)
TABLES = (terminals.TERMINALS, RESIDENTS)

Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


def observe(shard: int, memory: Memory, town: Town, rows: NDArray[np.void]) -> list[Finding]:
    """Take passages (any rows of dtype ROW, in order of time). Returns retractions, where one came late."""
    rows = rows[(rows["kind"] == Kind.PASSAGE) & (rows["person"] > 0)]
    if not len(rows):
        return []
    people, table = town.people, memory.tables[RESIDENTS.name]
    who = people.rows(rows["person"])
    who, t = who[who >= 0], rows["t_us"][who >= 0]
    day = people.day_of(who, t)
    new = table["day"][who] == 0
    for p in np.unique(who[new]).tolist():
        table["day"][p] = day[who == p].min() - 1
    ahead = day - table["day"][who] - 1
    known = ahead >= 0
    np.minimum.at(table["back"], (who[known], np.minimum(ahead[known], AHEAD - 1)), t[known])
    found: list[Finding] = []
    for p, late_us, its_day in zip(who[~known].tolist(), t[~known].tolist(), day[~known].tolist(), strict=True):
        found += _came_late(shard, memory, town, p, late_us, its_day)
    return found


def close(q: Quarter, episodes: Episodes) -> None:
    """Close a quarter of an hour: terminals first, then the people whose sites have all come to a new time."""
    terminals.watch(q)
    people = q.town.people
    if not people.residents:
        return
    table = q.memory.tables[RESIDENTS.name]
    day = table["day"].astype(np.int64)
    waiting = table["said"] | ((day > 0) & ((day + 2) * DAY_US - people.shift + MORNING_US <= q.to_us))
    if not waiting.any():
        return
    who = np.flatnonzero(waiting & _users(q, people))
    clock = _clocks(q, who)
    while True:
        day = table["day"][who].astype(np.int64)
        due = (day > 0) & (people.begins(who, day + 2) + MORNING_US <= clock)
        if not due.any():
            break
        _decide(q, episodes, who[due])
    back = table["back"][who].min(1)
    for p in who[table["said"][who] & (back <= clock)].tolist():
        _end(q, episodes, p)


def refresh(shard: int, memory: Memory, town: Town) -> list[Finding]:
    """Look again after the register changed: at closures and absences entered for days that are over, and at who is gone."""
    found = _leave(shard, memory, town)
    people, table = town.people, memory.tables[RESIDENTS.name]
    terminals.forget_closed(memory, town)
    before = table["missed"].copy()
    for j in range(terminals.KEPT):
        rows = np.flatnonzero(before >> np.uint64(j) & ONE)
        if len(rows):
            explained = rows[~terminals.counts(memory, people, rows, table["day"][rows].astype(np.int64) - j)]
            table["missed"][explained] &= ~(ONE << np.uint64(j))
    changed = np.flatnonzero(table["said"] & (table["missed"] != before))
    for p, grade in zip(changed.tolist(), grades.grade(town, changed, table.take(changed)).tolist(), strict=True):
        found += _lower(shard, memory, town, p, grade)
    _foresee(memory, town, np.flatnonzero(table["day"]))
    return found


# -------------------------------------------------------------------- people


def _users(q: Quarter, people: People) -> Mask:
    """Tell who may come to a site that closes this quarter."""
    closing = np.zeros(len(q.memory.sites), np.bool_)
    closing[q.sites] = True
    users = closing[people.site]
    person, device = people.link
    users[person[closing[q.memory.devices["site"][device]]]] = True
    return users


def _clocks(q: Quarter, who: Ints) -> Ints:
    """Return these people's clocks: the end of the last quarter closed by all sites of theirs that can be heard; 0 none."""
    people, views = q.town.people, q.memory.views
    clock = np.full(len(people.residents), NEVER)
    person, device = people.link
    mine = np.isin(person, who)
    person, site = np.r_[who, person[mine]], np.r_[people.site[who], q.memory.devices["site"][device[mine]]]
    used = np.unique(site)
    alive = [any(g in views and views[g].started and views[g].alive for g in q.town.by_row[s].gateways) for s in used.tolist()]
    reached = np.where(alive, (q.memory.sites["clock"][used] + 1) // QUARTER_US * QUARTER_US, NEVER)
    np.minimum.at(clock, person, reached[np.searchsorted(used, site)])
    return np.asarray(np.where(clock[who] == NEVER, 0, clock[who]))


def _decide(q: Quarter, episodes: Episodes, who: Ints) -> None:
    """Decide the day after the last one decided, for people in these rows."""
    people, table = q.town.people, q.memory.tables[RESIDENTS.name]
    rows = table.take(who)
    day = rows["day"].astype(np.int64) + 1
    hit = rows["back"][:, 0] != NEVER
    for p in who[hit & rows["said"]].tolist():
        _end(q, episodes, p)
    came = rows[hit]
    if len(came):
        gap = rhythm.by_weekday(came["missed"], day[hit] - 1)
        rhythm.learn(came, day[hit], gap, came["grade"] >= SEND)
        came["missed"], came["grade"], came["said"], came["came"] = 0, 0, False, day[hit]
        rows[hit] = came
    missed = ~hit & terminals.counts(q.memory, people, who, day)
    rows["missed"][~hit] = rows["missed"][~hit] << ONE | missed[~hit]
    rows["day"] = day
    rows["back"] = _next(people, who, day, rows["back"])
    put(table, who, rows)
    decided = people.begins(who, day + 1) + MORNING_US
    asked = missed & (rows["back"].min(1) > decided)
    grade = np.zeros(len(who), np.int64)
    grade[asked] = grades.grade(q.town, who[asked], table.take(who[asked]))
    for n in np.flatnonzero(grade > rows["grade"]).tolist():
        _raise(q, episodes, int(who[n]), int(grade[n]), int(decided[n]))
    _foresee(q.memory, q.town, who)


def _foresee(memory: Memory, town: Town, who: Ints) -> None:
    table = memory.tables[RESIDENTS.name]
    table["due"][who] = grades.due(town, who, table.take(who))


def _next(people: People, who: Ints, day: Ints, back: NDArray[np.int64]) -> NDArray[np.int64]:
    """Move the visits of days to come on by one day; `day` is the day decided."""
    last = back[:, -1]
    stays = (last != NEVER) & (people.day_of(who, last) - day - 1 >= AHEAD - 1)
    moved = np.roll(back, -1, 1)
    moved[:, -2] = np.where(stays, NEVER, last)
    moved[:, -1] = np.where(stays, last, NEVER)
    return moved


# -------------------------------------------------------------------- findings


def _raise(q: Quarter, episodes: Episodes, p: int, grade: int, at_us: int) -> None:
    table = q.memory.tables[RESIDENTS.name]
    book = _book(episodes.shard, q.memory, q.town, p)
    reason, severity = _reason(q.memory, p, grade), SEVERITIES[grade]
    record = _record(book, q.town, p)
    if record is not None:
        record.severity, record.reason, record.last_us = severity, reason, at_us
        book.say(record, Phase.CONTINUE, at_us, reason)
    else:
        since = int(q.town.people.begins(np.array([p]), table["came"][[p]].astype(np.int64) + 1)[0])
        record = Record(
            rule=RULE,
            kind=SubjectKind.PERSON,
            subject=q.town.people.residents[p].id,
            site=book.id,
            episode=since,
            since_us=since,
            deadline_us=at_us,
            last_us=at_us,
            severity=severity,
            reason=reason,
        )
        book.records.append(record)
        book.say(record, Phase.BEGIN, at_us, reason)
    table["grade"][p], table["said"][p] = grade, True
    episodes.found += book.found


def _reason(memory: Memory, p: int, grade: int) -> dict[str, Any]:
    """Give the numbers, and no name: who it is, is shown only to those who may know."""
    row = memory.tables[RESIDENTS.name][p : p + 1]
    gap = rhythm.by_weekday(row["missed"], row["day"].astype(np.int64))
    return {
        "code": "absent_visit" if grade >= SEND else "absent_watch",
        "days": int(gap.sum()),
        "longest": int(row["longest"][0]),
        "visits": int(row["visits"][0]),
        "every": round(float(1 / rhythm.rate(row)[0]), 1),
        "per_year": float(f"{rhythm.per_year(row, rhythm.surprise(row, gap))[0]:.1g}"),
    }


def _end(q: Quarter, episodes: Episodes, p: int) -> None:
    table = q.memory.tables[RESIDENTS.name]
    book = _book(episodes.shard, q.memory, q.town, p)
    record = _record(book, q.town, p)
    table["said"][p] = False
    if record is not None:
        book.end(record, int(table["back"][p].min()), "seen")
        episodes.found += book.found


def _came_late(shard: int, memory: Memory, town: Town, p: int, t_us: int, day: int) -> list[Finding]:
    """Take a visit on a day that has been decided: the gap was two gaps."""
    row = memory.tables[RESIDENTS.name][p : p + 1]
    if day <= row["came"][0]:
        return []
    ago = int(row["day"][0]) - day
    missed = int(row["missed"][0])
    before = np.array([missed >> (ago + 1)], np.uint64)
    rhythm.learn(row, np.array([day]), rhythm.by_weekday(before, np.array([day - 1])), np.zeros(1, np.bool_))
    row["came"], row["missed"], row["grade"], row["said"] = day, missed & ((1 << ago) - 1), 0, False
    book = _book(shard, memory, town, p)
    record = _record(book, town, p)
    if record is not None:
        book.withdraw(record, t_us, "seen_before")
    _foresee(memory, town, np.array([p]))
    return book.found


def _lower(shard: int, memory: Memory, town: Town, p: int, grade: int) -> list[Finding]:
    """Say again what a closure or an announced absence leaves of a gap."""
    table, book = memory.tables[RESIDENTS.name], _book(shard, memory, town, p)
    record = _record(book, town, p)
    if record is not None and grade == 0:
        book.withdraw(record, int(book.state["clock"]), "explained")
    elif record is not None and grade != table["grade"][p]:
        record.severity, record.reason = SEVERITIES[grade], _reason(memory, p, grade)
        book.say(record, Phase.CONTINUE, int(book.state["clock"]), record.reason)
    table["grade"][p], table["said"][p] = grade, grade > 0
    return book.found


def _leave(shard: int, memory: Memory, town: Town) -> list[Finding]:
    """End what is said of people who withdrew their consent, are no residents any more or belong to another site."""
    found: list[Finding] = []
    for site in town.by_row:
        book = Book(shard, memory, town, site)
        for r in [r for r in book.records if r.rule is RULE]:
            row = town.people.row_of.get(r.subject)
            if row is None or town.people.site[row] != site.row:
                book.end(r, max(int(book.state["clock"]), r.last_us), "left")
                if row is not None:
                    memory.tables[RESIDENTS.name]["said"][row] = False
        found += book.found
    return found


def _book(shard: int, memory: Memory, town: Town, p: int) -> Book:
    return Book(shard, memory, town, town.by_row[int(town.people.site[p])])


def _record(book: Book, town: Town, p: int) -> Record | None:
    person = town.people.residents[p].id
    return next((r for r in book.records if r.rule is RULE and r.subject == person), None)
