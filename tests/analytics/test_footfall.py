"""Unusual footfall and blind counters: neighbours decide, zeros accuse the counter, and nothing is learned from either."""

from copy import deepcopy
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from msgspec import structs
from numpy.typing import NDArray

from analytics import footfall, health, profiles
from analytics.engine import Engine
from analytics.episodes import Episodes
from analytics.findings import Finding, Phase, Rule, SubjectKind
from analytics.footfall import PROFILES, TABLES
from analytics.quarters import QUARTER_US, TALLY, Quarter
from analytics.reasons import render
from analytics.state import Memory
from analytics.town import Town, compile_town
from analytics.unusual import thresholds
from gateway.clock import HOUR_US, MINUTE_US
from gateway.events import Kind
from ingest.columns import COLUMNS, Batch, Coverage
from ingest.inputs import DeviceInput, GatewayInput, Inputs, PlaceInput, SiteInput, encode

N = 8
DAY = 96
MIDNIGHT_US = 1_767_571_200_000_000 - 8 * HOUR_US  # Monday 2026-01-05 in Shanghai


def register(doors: int = 1) -> Inputs:
    """Eight counters at doors, so many of each centre."""
    ids = range(1, N + 1)
    return Inputs(
        version=1,
        sites=[
            SiteInput(
                id=i, code=f"s{i}", name=f"站{i}", name_en=f"Site {i}", kind="centre", zone="Asia/Shanghai", capacity=None,
                hours={}, closed=[], rules={"unusual_footfall": {"days": 7}},
            )
            for i in ids[: N // doors]
        ],
        places=[
            PlaceInput(id=i, site=1 + (i - 1) // doors, code=f"p{i}", name="大门", name_en="Front door", room="entrance")
            for i in ids
        ],
        devices=[
            DeviceInput(
                id=i, gateway=1, identity=f"c/{i}", device_class="c", family="counter", name="计数器", place=i, mounted_us=0,
                alive_every_us=20 * MINUTE_US,
            )
            for i in ids
        ],
        gateways=[GatewayInput(id=1, code="g")],
    )  # fmt: skip


@dataclass
class Life:
    """Quarters of an hour of the eight places, straight into the detector."""

    doors: int = 1
    people: float = 30.0
    now: int = 0
    seed: int = 5
    found: list[Finding] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.memory = Memory(inputs=encode(register(self.doors)))
        self.town: Town = compile_town(self.memory, (TALLY, *health.TABLES, *TABLES))
        self.memory.devices["heard"] = 1
        self.random = np.random.default_rng(self.seed)

    def usual(self) -> NDArray[np.float64]:
        """What the truth is at this quarter, per place."""
        bell = np.exp(-((((self.now % DAY) - 48) / 16) ** 2))
        return np.asarray(self.people * bell * (0.6 if self.now // DAY % 7 > 4 else 1.0) * np.linspace(0.8, 1.5, N))

    def until(self, day: int, hour: float, times: float | list[float] = 1.0, **marks: NDArray[np.bool_]) -> list[Finding]:
        """Go on to a time with `times` the usual people (negative binomial); returns what is said on the way."""
        before = len(self.found)
        while self.now < day * DAY + hour * 4:
            mean = self.usual() * np.asarray(times)
            day_effect = self.random.gamma(50.0, 1 / 50.0, N)
            self.quarter(self.random.poisson(mean * day_effect), **marks)
        return self.found[before:]

    def quarter(self, counts: NDArray[np.int64], **marks: NDArray[np.bool_]) -> None:
        """Close one quarter with these counts."""
        from_us = MIDNIGHT_US + self.now * QUARTER_US
        tally = self.memory.tables[TALLY.name]
        tally["came_in"], tally["messages"] = counts, 1
        every, all_true, sites = np.arange(N), np.ones(N, np.bool_), N // self.doors
        q = Quarter(
            from_us=from_us,
            to_us=from_us + QUARTER_US,
            memory=self.memory,
            town=self.town,
            sites=every[:sites],
            devices=every,
            tally=tally,
            covered=all_true,
            sees=all_true,
            is_open=all_true[:sites],
            excused=~all_true[:sites],
            day_type=np.full(sites, self.now // DAY % 7, np.int8),
            slot=np.full(sites, self.now % DAY, np.int16),
        )
        episodes = Episodes(1, self.memory, self.town, q.from_us, q.to_us)
        footfall.close(replace(q, **marks), episodes)  # type: ignore[arg-type]
        self.found += episodes.found
        self.now += 1


@pytest.fixture(scope="module")
def learned() -> Life:
    """Two weeks and a morning: it is Monday, 09:00."""
    life = Life()
    life.until(14, 9)
    return life


@pytest.fixture
def life(learned: Life) -> Life:
    return deepcopy(learned)


def begun(found: list[Finding], rule: Rule) -> list[Finding]:
    """Those that begin."""
    return [f for f in found if f.rule is rule and f.phase is Phase.BEGIN]


def only(place: int, times: float) -> list[float]:
    """One place differs."""
    return [times if i == place else 1.0 for i in range(N)]


def test_ordinary_days_raise_about_as_many_alarms_as_the_setting_says(life: Life) -> None:
    found = life.until(20, 0)
    assert len(begun(found, Rule.UNUSUAL_FOOTFALL)) <= 2 * N * 6 / 30
    assert not begun(found, Rule.COUNTER_BLIND)


def test_a_rush_is_found_at_once_and_said_with_its_numbers(life: Life) -> None:
    found = life.until(14, 10, only(3, 3.0))
    (rush,) = begun(found, Rule.UNUSUAL_FOOTFALL)
    assert rush.subject == 4
    assert rush.at_us <= MIDNIGHT_US + (14 * DAY + 38) * QUARTER_US, "within half an hour"
    text = render(rush.rule, rush.reason, "en", "Asia/Shanghai")
    assert "came in" in text
    assert "usual on a Monday (learned from 13 days)" in text
    assert rush.reason["counted"] > rush.reason["high"] > rush.reason["low"] > 0
    over = life.until(14, 16)
    assert [f.phase for f in over if f.subject == 4] == [Phase.END]


def test_a_new_place_is_judged_by_its_kind_and_says_so() -> None:
    life = Life(people=2.0)
    assert not begun(life.until(3, 10), Rule.UNUSUAL_FOOTFALL)
    (rush,) = begun(life.until(3, 11, only(3, 60.0)), Rule.UNUSUAL_FOOTFALL)
    assert (rush.subject, rush.reason["code"]) == (4, "footfall_new")
    assert "同类站点" in render(rush.rule, rush.reason, "zh", "Asia/Shanghai")
    ring = life.memory.tables[PROFILES.name]["ring"][3]
    assert not (ring[ring != profiles.UNSEEN] & profiles.DOUBTED).any()  # a guess keeps nothing from being learned


def test_a_busy_new_place_is_not_told_of_every_day() -> None:
    busy = begun(Life(people=60.0).until(6, 0), Rule.UNUSUAL_FOOTFALL)
    assert busy, "eight hundred people a day at a new centre are worth a word"
    assert max(f.at_us for f in busy) < MIDNIGHT_US + 2 * DAY * QUARTER_US


def test_a_site_is_told_of_what_none_of_its_doors_shows_alone() -> None:
    life = Life(doors=4, people=8.0)
    life.until(14, 9)
    at_a_door = begun(deepcopy(life).until(14, 11, only(3, 4.0)), Rule.UNUSUAL_FOOTFALL)
    assert [(f.subject_kind, f.subject) for f in at_a_door] == [(SubjectKind.PLACE, 4)]
    first = begun(life.until(14, 13, [1.5] * 4 + [1.0] * 4), Rule.UNUSUAL_FOOTFALL)[0]
    assert (first.subject_kind, first.subject, first.reason["place"]) == (SubjectKind.SITE, 1, "站1")
    assert first.reason["counted"] > first.reason["high"]


def test_a_slow_loss_is_found_over_hours(life: Life) -> None:
    found = life.until(14, 15, only(2, 0.3))
    assert {f.subject for f in begun(found, Rule.UNUSUAL_FOOTFALL)} == {3}
    assert begun(found, Rule.UNUSUAL_FOOTFALL)[0].reason["code"] == "footfall_low"


def test_zeros_while_neighbours_are_busy_are_the_counter_and_never_an_empty_place(life: Life) -> None:
    found = life.until(14, 16, only(5, 0.0))
    assert [f.subject for f in begun(found, Rule.COUNTER_BLIND)] == [6]
    assert begun(found, Rule.COUNTER_BLIND)[0].at_us <= MIDNIGHT_US + (14 * DAY + 36 + 10) * QUARTER_US
    assert not begun(found, Rule.UNUSUAL_FOOTFALL)
    ring = life.memory.tables[PROFILES.name]["ring"][5, 36:64]
    assert np.all(ring == profiles.UNSEEN), "and nothing of it is learned"
    assert [f.phase for f in life.until(14, 17) if f.rule is Rule.COUNTER_BLIND] == [Phase.END]


def test_a_town_that_stays_at_home_is_unusual_and_no_counter_is_blamed(life: Life) -> None:
    found = life.until(15, 20, 0.1)
    assert {f.subject for f in begun(found, Rule.UNUSUAL_FOOTFALL)} == set(range(1, N + 1))
    assert not begun(found, Rule.COUNTER_BLIND)


def test_where_everyone_counts_nobody_no_counter_is_blamed(life: Life) -> None:
    found = life.until(14, 20, 0.0)
    assert begun(found, Rule.UNUSUAL_FOOTFALL)
    assert not begun(found, Rule.COUNTER_BLIND)
    assert begun(found, Rule.UNUSUAL_FOOTFALL)[-1].reason["everywhere"]


@pytest.mark.parametrize("marks", [{"sees": np.zeros(N, np.bool_)}, {"excused": np.ones(N, np.bool_)}])
def test_what_is_not_seen_or_excused_is_neither_said_nor_learned(life: Life, marks: dict[str, NDArray[np.bool_]]) -> None:
    before = life.memory.tables[PROFILES.name]["shape"].copy()
    assert life.until(14, 20, 0.0, **marks) == []
    life.until(15, 9)
    life.until(15, 20)
    after = life.memory.tables[PROFILES.name]["shape"]
    assert np.array_equal(before[:, 0, 40:76], after[:, 0, 40:76])


def test_thresholds_share_the_false_alarms_among_spans_and_sides() -> None:
    one, many = thresholds(np.array([1.0, 30.0]))
    assert np.all(np.diff(one) <= 0)
    assert one[-1] < one[0], "the longer, the fewer tests"
    assert np.all(many < one)
    assert 3.5 < one[0] < 4.5


def test_batches_do_not_change_what_is_said() -> None:
    said = [[(f.rule, f.subject, f.phase, f.at_us, f.reason) for f in _through_engine(minutes)] for minutes in (15, 240)]
    assert said[0] == said[1]
    assert any(rule is Rule.UNUSUAL_FOOTFALL for rule, *_ in said[0])


def _through_engine(batch_min: int) -> list[Finding]:
    """Two days of ten people a quarter, then a rush, in batches of so many minutes; returns what this rule says."""
    engine, random = Engine(), np.random.default_rng(3)
    found: list[Finding] = []
    inputs = encode(_judging_early(register()))
    found += engine.apply(Batch(shard=1, prev=0, pos=1, inputs=inputs))
    quarters, step, pos = 2 * DAY + 60, batch_min // 15, 1
    counts = random.poisson(10, (quarters, N))
    counts[2 * DAY + 40 : 2 * DAY + 44, 2] = 60
    for begin in range(0, quarters, step):
        end = min(begin + step, quarters)
        rows = np.zeros((end - begin) * N, COLUMNS)
        rows["t_us"] = np.repeat(MIDNIGHT_US + np.arange(begin, end) * QUARTER_US + 10 * MINUTE_US, N)
        rows["gateway"], rows["kind"], rows["ordinal"] = 1, Kind.COUNT_PERIOD, np.arange(len(rows))
        rows["device"] = rows["place"] = np.tile(np.arange(1, N + 1), end - begin)
        rows["a"] = rows["d_in"] = counts[begin:end].ravel()
        through = MIDNIGHT_US + end * QUARTER_US
        cover = [Coverage(gateway=1, stream=1, from_us=MIDNIGHT_US, through_us=through)]
        found += engine.apply(Batch(shard=1, prev=pos, pos=pos + 1, rows=rows, coverage=cover))
        pos += 1
    return [f for f in found if f.rule in (Rule.UNUSUAL_FOOTFALL, Rule.COUNTER_BLIND)]


def _judging_early(inputs: Inputs) -> Inputs:
    """Judge after a day."""
    sites = [structs.replace(s, rules={"unusual_footfall": {"days": 0.9}}) for s in inputs.sites]
    return structs.replace(inputs, sites=sites)
