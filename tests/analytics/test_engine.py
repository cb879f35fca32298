"""The engine: the log alone decides, whatever the batches, the interleaving, or a restart in between."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics.detectors import LAYOUT
from analytics.engine import Engine
from analytics.findings import Finding, Phase, Rule
from analytics.state import LayoutError, Memory, dump
from analytics.watch import Watch
from gateway.clock import MINUTE_US
from gateway.events import Flag, Kind, ListRole, Result
from ingest.columns import COLUMNS, Batch, BlindSpan, Coverage
from ingest.inputs import encode
from tests.scenarios.day import COUNTER, DOOR, FAMILIES, SHARD, TERMINAL, Day, event, inputs

BEHIND = {DOOR: 1, COUNTER: 2, TERMINAL: 1}
REGISTER = inputs(
    BEHIND,
    alive_us={DOOR: 60 * MINUTE_US, COUNTER: 30 * MINUTE_US, TERMINAL: 25 * MINUTE_US},
    rules={
        "no_activity": {"limit_min": 60},
        "closed_early": {"days": 0},
        "stranger_spike": {"least": 2, "times": 0.1},
    },
    rooms={TERMINAL: "hall"},
    capacity=4,
)
START = Day(REGISTER, since="05:00").now
HOURS = 16


@dataclass(frozen=True)
class Step:
    """What one gateway sends at one moment: events since its last word, its watermark, what it could not hear."""

    gateway: int
    t_us: int
    stream: int
    since_us: int
    rows: tuple[np.void, ...]
    blind: tuple[BlindSpan, ...]


KINDS = {
    "door": [
        (Kind.CONTACT, 1, 0, Flag(0)),
        (Kind.CONTACT, 0, 0, Flag(0)),
        (Kind.CONTACT, 1, 0, Flag.REPEAT),
        (Kind.CONTACT, 0, 0, Flag.REPEAT),
        (Kind.CONTACT, 0, 0, Flag.INFERRED),
        (Kind.LINK, 0, 0, Flag(0)),
    ],
    "counter": [
        (Kind.COUNT_TOTAL, 5, 2, Flag(0)),
        (Kind.COUNT_TOTAL, 5, -2, Flag(0)),
        (Kind.COUNT_TOTAL, 5, 0, Flag(0)),
        (Kind.OCCUPANCY, 3, 0, Flag(0)),
        (Kind.ALIVE, 0, 0, Flag(0)),
    ],
    "terminal": [
        (Kind.PASSAGE, Result.ALLOWED, 0, Flag(0)),
        (Kind.PASSAGE, Result.REFUSED, 0, Flag(0)),
        (Kind.PASSAGE, Result.STRANGER, 0, Flag(0)),
        (Kind.PASSAGE, Result.ALLOWED, 0, Flag.LATE),
        (Kind.ALIVE, 0, 0, Flag(0)),
    ],
}
"""What each family sends: kind, a, people in (or, below zero, out), flags. Who is refused is on the block list."""


@st.composite
def story(draw: st.DrawFn, gateway: int) -> list[Step]:
    """The log of one gateway: a day of events, restarts after holes, and blindness; nothing precedes its watermark."""
    devices = [d for d, g in BEHIND.items() if g == gateway]
    gaps = draw(st.lists(st.integers(1, 50), min_size=10, max_size=30))
    steps, now, stream, since, blind = [], 0, gateway * 1000, 0, None
    for gap in gaps:
        before, now = now, now + gap
        if now > HOURS * 60:
            break
        restart = draw(st.integers(0, 12)) == 0
        if restart:
            stream, since = stream + 1, now
        told = []
        if blind is not None:
            told.append(BlindSpan(gateway=gateway, source="", from_us=blind, to_us=START + now * MINUTE_US, reason="x"))
            blind = None
        elif draw(st.integers(0, 12)) == 0 and not restart:
            blind = START + now * MINUTE_US
            told.append(BlindSpan(gateway=gateway, source="", from_us=blind, to_us=None, reason="x"))
        rows = []
        if not restart:
            for minute in draw(st.lists(st.integers(before + 1, now), max_size=4)):
                device = draw(st.sampled_from(devices))
                kind, a, people, flags = draw(st.sampled_from(KINDS[FAMILIES[device]]))
                t, came, left = START + minute * MINUTE_US, max(people, 0), max(-people, 0)
                b = ListRole.BLOCK_LIST if (kind, a) == (Kind.PASSAGE, Result.REFUSED) else ListRole.UNKNOWN
                rows.append(event(t, device, kind, gateway=gateway, a=a, b=b, d_in=came, d_out=left, flags=flags))
        rows.sort(key=lambda r: int(r["t_us"]))
        steps.append(Step(gateway, START + now * MINUTE_US, stream, START + since * MINUTE_US, tuple(rows), tuple(told)))
    return steps


def merge(steps: list[Step], pos: int) -> Batch:
    """Make one batch of consecutive steps."""
    coverage = {s.stream: Coverage(gateway=s.gateway, stream=s.stream, from_us=s.since_us, through_us=s.t_us) for s in steps}
    blind = {(b.gateway, b.from_us): b for s in steps for b in s.blind}
    rows = np.array([r.item() for s in steps for r in s.rows], COLUMNS)
    return Batch(shard=SHARD, prev=pos - 1, pos=pos, rows=rows, coverage=list(coverage.values()), blind=list(blind.values()))


def first() -> Batch:
    """The register, and both gateways there from the start."""
    both = [Coverage(gateway=g, stream=g * 1000, from_us=START, through_us=START) for g in (1, 2)]
    return Batch(shard=SHARD, prev=0, pos=1, inputs=encode(REGISTER), coverage=both)


def key(f: Finding) -> tuple[object, ...]:
    """All of a finding but its place in the log."""
    return f.rule, f.subject_kind, f.subject, f.episode, f.phase, f.at_us, f.severity, repr(sorted(f.reason.items()))


def play(batches: list[Batch]) -> list[tuple[object, ...]]:
    """Run a fresh engine over batches."""
    engine = Engine()
    return sorted(key(f) for b in batches for f in engine.apply(b))


@st.composite
def cuttings(draw: st.DrawFn, logs: list[list[Step]]) -> list[Batch]:
    """One way to deliver the logs: any interleaving of the gateways, cut into any batches."""
    left = [list(log) for log in logs]
    batches, pos = [first()], 1
    while any(left):
        log = draw(st.sampled_from([log for log in left if log]))
        n = draw(st.integers(1, max(1, len(log))))
        pos += 1
        batches.append(merge(log[:n], pos))
        del log[:n]
    return batches


@given(data=st.data())
def test_any_batches_and_any_interleaving_give_the_same_findings(data: st.DataObject) -> None:
    logs = [data.draw(story(1)), data.draw(story(2))]
    in_order = sorted((s for log in logs for s in log), key=lambda s: s.t_us)
    expected = play([first(), *(merge([s], i) for i, s in enumerate(in_order, 2))])
    assert play(data.draw(cuttings(logs))) == expected


@given(data=st.data())
def test_a_checkpoint_anywhere_and_a_silent_replay_change_nothing(data: st.DataObject) -> None:
    logs = [data.draw(story(1)), data.draw(story(2))]
    batches = data.draw(cuttings(logs))
    saved = data.draw(st.integers(0, len(batches)))
    analysed = data.draw(st.integers(saved, len(batches)))
    before, after = Engine(), Engine()
    found = []
    for batch in batches[:saved]:
        found += before.apply(batch)
    after.load(SHARD, before.dump(SHARD))
    for batch in batches[saved:analysed]:
        found += before.apply(batch)
        after.apply(batch)  # in silence
    assert after.dump(SHARD) == before.dump(SHARD)
    for batch in batches[analysed:]:
        found += after.apply(batch)
    assert sorted(key(f) for f in found) == play(batches)


@given(data=st.data())
def test_columns_and_one_by_one_lead_to_the_same_state(data: st.DataObject) -> None:
    batches = data.draw(cuttings([data.draw(story(1)), data.draw(story(2))]))
    columns, single = Engine(), OneByOne()
    for batch in batches:
        assert [key(f) for f in columns.apply(batch)] == [key(f) for f in single.apply(batch)]
    a, b = columns._shard(SHARD).memory, single._shard(SHARD).memory
    assert a.devices.tolist() == b.devices.tolist()
    assert {n: a.sites[n].tolist() for n in STATE} == {n: b.sites[n].tolist() for n in STATE}
    assert [n for n, t in a.tables.items() if t.tobytes() != b.tables[n].tobytes()] == []


STATE = ("clock", "last_act", "last_event", "night", "today_in", "today_passages", "agenda")


class OneByOne(Engine):
    """An engine whose sites are never calm."""

    def apply(self, batch: Batch) -> list[Finding]:
        shard = self._shard(batch.shard)
        if len(shard.memory.sites):
            shard.memory.sites["due"] = 0
        return super().apply(batch)


def test_every_begin_is_followed_by_at_most_one_end() -> None:
    day = Day(REGISTER).alive_until("12:00", DOOR, COUNTER, TERMINAL).opens().alive_until("20:00", DOOR, COUNTER, TERMINAL)
    begun = [f.rule for f in day.found if f.phase is Phase.BEGIN]
    assert begun == [Rule.NOT_OPENED, Rule.NO_ACTIVITY, Rule.CLOSED_EARLY, Rule.LEFT_OPEN]
    keys = [(f.rule, f.subject, f.episode, f.phase) for f in day.found]
    assert len(keys) == len(set(keys))


def test_a_checkpoint_of_another_layout_is_refused() -> None:
    for data in (b"", b"\x81\xa6layout\x63", dump(Memory(), LAYOUT + 1)):
        with pytest.raises(LayoutError):
            Engine().load(SHARD, data)


def test_rows_of_places_that_are_not_in_the_register_are_nobodys_evidence() -> None:
    day = Day()
    row = day.row(DOOR, Kind.CONTACT, a=1)
    row["place"], row["device"] = 999, 12345
    day.happens(row).at("06:00").expect_nothing()


def test_a_calm_site_passes_as_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    day = Day(since="09:00").at("09:19").opens().at("09:20").closes().at("09:21")
    monkeypatch.setattr(Watch, "sweep", lambda *_: pytest.fail("a calm site was gone through event by event"))
    for text in ("09:22", "09:23", "09:24"):
        day.at(text)
        day.now += MINUTE_US // 2
        day.opens()
    assert day.engine.take_changed(SHARD)[0].detail["places"][0]["state"] == "open"
    monkeypatch.undo()
    day.alive_until("11:30", DOOR)
    day.expect(Rule.NO_ACTIVITY, at="11:24:30")


@given(data=st.data())
def test_late_evidence_leaves_the_same_behind_whether_it_was_late_or_not(data: st.DataObject) -> None:
    """The last event of a morning is sent in time, or after the watermark and its deadlines have passed it."""
    minutes = sorted(data.draw(st.sets(st.integers(160, 320), min_size=1, max_size=4)))
    delay = data.draw(st.sampled_from([3, 40, 90, 200]))
    arrivals = [(m + delay * (m == minutes[-1]), m) for m in minutes]

    def run(sent: list[tuple[int, int]]) -> set[tuple[object, ...]]:
        day = Day(inputs(alive_us={DOOR: 60 * MINUTE_US}), since="05:00")
        for at in range(30, 10 * 60, 10):
            for arrived, minute in [x for x in sent if at - 10 < x[0] <= at]:
                day.now = max(day.now, START + arrived * MINUTE_US)
                day.happens(event(START + minute * MINUTE_US, DOOR, Kind.CONTACT, a=1))
            day.now = START + at * MINUTE_US
            day.alive(DOOR).beat()
        gone = {(f.rule, f.episode) for f in day.found if f.phase is Phase.RETRACT}
        return {(f.rule, f.episode, f.phase) for f in day.found if (f.rule, f.episode) not in gone}

    assert run(arrivals) == run([(m, m) for m in minutes])
