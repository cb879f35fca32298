"""A simulated month of four sites, through the real codecs, frames and T1 into a database; and what truly happened in it."""

from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta

import psycopg

from benchmarks.quality.joined import Joined, _frames
from firmware_sim.habits import windows
from firmware_sim.models import Pace
from firmware_sim.people import local_day, local_us
from firmware_sim.plot import Switch
from firmware_sim.scenario import Scenario, build
from firmware_sim.town import Site
from firmware_sim.virtual import play
from gateway.clock import HOUR_US, MINUTE_US, SECOND_US
from gateway.wire import Blind, Heartbeat, encode_message, stream_text, topic_up
from ingest import daybook, register
from ingest.reading import Message, read
from ingest.worker import WorkerConfig, _Store

SHARD = 0
FIRST, DAYS = date(2026, 3, 1), 31
SLICE_US = 12 * HOUR_US
PACE = Pace(door_us=HOUR_US, counter_us=30 * MINUTE_US, terminal_us=20 * MINUTE_US)
STORY = {
    "zh": "一个月",
    "en": "A month",
    "fleet": {"name": "town", "sites": 4, "seed": 11},
    "begins": FIRST,
    "days": DAYS,
    "holidays": [date(2026, 3, 18)],
    "incidents": [
        {"kind": "not_opened", "site": 1, "day": 4},
        {"kind": "not_opened", "site": 2, "day": 24},
        {"kind": "not_opened", "site": 3, "day": 9},
        {"kind": "closure", "site": 2, "day": 12},
        {"kind": "gateway_offline", "site": 1, "day": 10, "at": "08:30", "hours": 7},
        {"kind": "power_cut", "site": 1, "day": 17, "at": "09:10", "hours": 5},
        {"kind": "power_cut", "site": 3, "day": 20, "at": "05:00", "hours": 20},
        {"kind": "intrusion", "site": 2, "day": 14},
        {"kind": "refused", "site": 1, "day": 19},
        {"kind": "duplicates", "site": 2, "day": 5},
    ],
}


class Sent(Joined):
    """The gateways of a scenario, as messages on their topics instead of batches in memory."""

    def messages(self) -> Iterator[list[Message]]:
        """Yield what each slice of time brings."""
        end_us = self._scenario.from_us + SLICE_US
        for item in play(self._scenario, PACE):
            while item.at_us > end_us:
                yield self._sent(end_us)
                end_us += SLICE_US
            if isinstance(item, Switch):
                yield self._sent(item.at_us)
            self._take(item)
        yield self._sent(end_us)

    def _sent(self, end_us: int) -> list[Message]:
        found = []
        for code, box in self._boxes.items():
            if not box.reaches:
                continue
            payloads = [frame for _, _, frame in _frames(box, end_us)]
            blind = [Blind(source=b.source, from_us=b.from_us, to_us=b.to_us, reason=b.reason) for b in box.blind]
            beat = Heartbeat(
                stream=stream_text(box.stream),
                seq=box.seq,
                since_us=box.begun_us,
                through_us=end_us,
                sent_us=end_us,
                blind=blind,
            )
            payloads.append(encode_message(beat))
            box.blind = []
            found += [Message(topic=topic_up(SHARD, code), payload=p, arrived_us=end_us) for p in payloads]
        return found


def scenario() -> Scenario:
    """Return the month."""
    return build("a month", STORY)


def put(dsn: str, month: Scenario) -> None:
    """Let the month come in: register, holiday, closures, then every message, as the worker stores them."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        register.load(conn, month.town.register(), month.from_us)
        daybook.set_day(conn, date(2026, 3, 18), "holiday", "test", month.from_us)
        for site, from_us, to_us in month.plot.closures:
            entry = daybook.Entry(site=site, from_us=from_us, to_us=to_us, mode="closed", reason="x", author="test")
            daybook.enter(conn, entry, month.from_us)
    store = _Store(WorkerConfig(database_url=dsn, mqtt_url="", shards=(SHARD,), owner="month", lost_after_s=86400.0))
    try:
        for messages in Sent(month).messages():
            store.cycle(read(messages), month.to_us, False)  # one day of partitions is enough
    finally:
        store.close()


def days() -> list[date]:
    """Return the days of the month."""
    return [FIRST + timedelta(days=n) for n in range(DAYS)]


def open_days(month: Scenario, site: Site) -> set[date]:
    """Return on which days the site truly opened: those it had hours on, but for closures and days nobody came to open."""
    closed = {local_day((a + b) // 2, site.zone) for code, a, b in month.plot.closures if code == site.code}
    unopened = {
        local_day(t.begin_us, site.zone) for t in month.plot.truths if t.incident == "not_opened" and site.code in t.sites
    }
    return {d for d in days() if windows(site, d)} - closed - unopened


def served(month: Scenario, site: Site) -> dict[date, int]:
    """Return the truth of the written rule: each resident whom the terminal saw, once per service slot, by day."""
    residents = {h.local_id for h in month.plot.people.habits(site) if h.role == "resident"}
    came = {
        (local_day(at_us, site.zone), _slot(at_us, site.zone), v.local_id)
        for at_us, v in (
            (at_us, v)
            for day in days()
            for hour in range(24)
            for v in month.plot.visits(site, local_us(day, hour * 60, site.zone))
            for at_us in ((v.arrive_us + 14 * SECOND_US, v.seen_us) if v.seen_us else (v.arrive_us + 14 * SECOND_US,))
        )
        if v.local_id in residents and not v.refused
    }
    return Counter(day for day, _, _ in came)


def _slot(at_us: int, zone: str) -> int:
    hour = (at_us - local_us(local_day(at_us, zone), 0, zone)) // HOUR_US
    return 0 if hour < 10 else 10 if hour < 15 else 15
