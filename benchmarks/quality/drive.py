"""Replays counts through the engine as a gateway would send them, and finds again what was said of which counter.

One decision: a missing value is a message that never came, so that gaps are found, or not, as they would be in service.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from analytics.engine import Engine
from analytics.findings import Finding, Phase, Rule
from benchmarks.quality.counts import Counts, Span
from gateway.clock import HOUR_US, SECOND_US
from gateway.events import Kind
from ingest.columns import COLUMNS, Batch, Coverage
from ingest.inputs import DeviceInput, GatewayInput, Inputs, PlaceInput, SiteInput, encode

SHARD, GATEWAY, STREAM = 1, 1, 1
BATCH_US = 6 * HOUR_US
PATIENCE = 1.25
"""`alive_every` as a multiple of the period: messages are never quite on time."""
DAY_NAMES = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
OPEN_ALL_DAY = {day: [("00:00", "00:00")] for day in (*DAY_NAMES, "holiday")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """A finding from its begin to its end (None: still open). from_us: begin of what it rests on. at_us: when it was raised."""

    rule: Rule
    counter: int
    code: str
    from_us: int
    at_us: int
    end_us: int | None
    reason: Mapping[str, Any]

    def overlaps(self, span: Span) -> bool:
        """Tell whether it was open, or rests on, any of [from, to)."""
        return self.at_us < span[1] and (self.end_us is None or self.end_us > span[0])


@dataclass(kw_only=True)
class Replay:
    """What the engine said of `counts`."""

    counts: Counts
    findings: list[Finding]

    @cached_property
    def episodes(self) -> list[Episode]:
        """Every finding about a counter's place or device that was raised and not taken back."""
        column = {i + 1: i for i in range(len(self.counts.counters))}
        open_ones: dict[tuple[Any, ...], Finding] = {}
        done: list[Episode] = []
        for f in self.findings:
            key = (f.rule, f.subject_kind, f.subject, f.episode)
            if f.phase is Phase.BEGIN:
                open_ones[key] = f
            elif f.phase in (Phase.END, Phase.RETRACT) and key in open_ones:
                begun = open_ones.pop(key)
                if f.phase is Phase.END:
                    done.append(_episode(begun, column.get(f.subject, -1), f.at_us))
        done += [_episode(f, column.get(f.subject, -1), None) for f in open_ones.values()]
        return sorted(done, key=lambda e: (e.at_us, e.counter))

    def of(self, *rules: Rule, counter: int | None = None) -> list[Episode]:
        """Return the episodes of these rules."""
        return [e for e in self.episodes if e.rule in rules and counter in (None, e.counter)]


def replay(counts: Counts, say_what: str = "") -> Replay:
    """Feed all counts; each counter is a place with a device, each entry of `counts.sites` a site open all day."""
    engine = Engine()
    found = engine.apply(Batch(shard=SHARD, prev=0, pos=1, inputs=encode(register(counts))))
    begin = int(counts.end_us[0]) - counts.period_us
    edges = np.arange(begin, int(counts.end_us[-1]) + BATCH_US, BATCH_US)
    for pos, (a, b) in enumerate(
        track(list(zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)), say_what or counts.name, transient=True), start=2
    ):
        low, high = np.searchsorted(counts.end_us, [a, b])
        coverage = [Coverage(gateway=GATEWAY, stream=STREAM, from_us=begin, through_us=b - 1)]
        found += engine.apply(Batch(shard=SHARD, prev=pos - 1, pos=pos, rows=_rows(counts, low, high), coverage=coverage))
    return Replay(counts=counts, findings=found)


def register(counts: Counts) -> Inputs:
    """One gateway, one device per counter, sites open day and night, the public holidays of the country."""
    sites = sorted(set(counts.sites))
    return Inputs(
        version=1,
        sites=[
            SiteInput(
                id=i + 1,
                code=f"s{i + 1}",
                name=name,
                name_en=name,
                kind="centre",
                zone=counts.zone,
                capacity=None,
                hours=OPEN_ALL_DAY,
                closed=[],
                rules={},
            )
            for i, name in enumerate(sites)
        ],
        places=[
            PlaceInput(
                id=i + 1, site=sites.index(counts.sites[i]) + 1, code=f"p{i + 1}", name=name, name_en=name, room="entrance"
            )
            for i, name in enumerate(counts.counters)
        ],
        devices=[
            DeviceInput(
                id=i + 1,
                gateway=GATEWAY,
                identity=f"count/{i + 1}",
                device_class="counter",
                family="counter",
                name=name,
                place=i + 1,
                mounted_us=0,
                alive_every_us=int(counts.period_us * PATIENCE),
            )
            for i, name in enumerate(counts.counters)
        ],
        gateways=[GatewayInput(id=GATEWAY, code="gw")],
        days=dict.fromkeys((d.isoformat() for d in public_holidays(counts)), "holiday"),
    )


def public_holidays(counts: Counts) -> list[date]:
    """Return the public holidays of the counters' country and region while they counted."""
    first, last = (datetime.fromtimestamp(int(t) // SECOND_US, UTC).date() for t in counts.end_us[[0, -1]])
    known = import_module("holidays").country_holidays(
        counts.country, subdiv=counts.region, years=range(first.year, last.year + 1)
    )
    return sorted(d for d in known if first - timedelta(days=1) <= d <= last)


def _rows(counts: Counts, low: int, high: int) -> NDArray[np.void]:
    part = counts.counts[low:high]
    line, counter = np.nonzero(~np.isnan(part))
    rows = np.zeros(len(line), COLUMNS)
    rows["t_us"] = counts.end_us[low:high][line]
    rows["ordinal"] = np.arange(len(line))
    rows["gateway"] = GATEWAY
    rows["device"] = rows["place"] = counter + 1
    rows["kind"], rows["aux"] = Kind.COUNT_PERIOD, 1
    rows["a"] = rows["d_in"] = part[line, counter]
    return rows


def _episode(begun: Finding, counter: int, end_us: int | None) -> Episode:
    from_us = begun.reason.get("from_us") or begun.reason.get("since_us") or begun.episode
    return Episode(
        rule=begun.rule,
        counter=counter,
        code=str(begun.reason.get("code")),
        from_us=int(from_us),
        at_us=begun.at_us,
        end_us=end_us,
        reason=begun.reason,
    )
