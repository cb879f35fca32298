"""What the database knows of the system, for Prometheus: read anew for each scrape, whichever process answers it.

One decision: what happens thousands of times a second is counted by the workers themselves (`SMARTCARE_METRICS_PORT`);
here is what has a state, so that it is right after any restart.
"""

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily as Gauge
from psycopg import AsyncConnection

from api import breaker, health
from api.health import SQL, Health, Kind

Connection = AsyncConnection[Any]
Rows = dict[str, list[tuple[Any, ...]]]
QUERIES = ("quarantine_day", "losses", "alerts_by_state", "deliveries_by_state", "breakers")


class _Found:
    """What one scrape has found, as prometheus-client wants it."""

    def __init__(self, found: Health, rows: Rows, now_us: int) -> None:
        self.found, self.rows, self.now_us = found, rows, now_us

    def collect(self) -> Iterator[Gauge]:
        """Yield all families."""
        yield from self._shards()
        yield _family("quarantined_day", "Messages quarantined in 24 hours", ["reason"], self.rows["quarantine_day"])
        losses = [(reason, ranges) for reason, ranges, _ in self.rows["losses"]]
        yield _family("loss_ranges", "Named losses", ["reason"], losses)
        frames = [(reason, frames) for reason, _, frames in self.rows["losses"]]
        yield _family("loss_frames", "Frames in the named losses", ["reason"], frames)
        yield _family("alerts", "Alerts", ["rule", "state"], self.rows["alerts_by_state"])
        yield _family("deliveries", "Rows of the outbox", ["endpoint", "state"], self.rows["deliveries_by_state"])
        states = [(name, breaker.state(until_us, self.now_us)) for name, until_us, _ in self.rows["breakers"]]
        one_hot = [(name, str(s), int(s is state)) for name, state in states for s in breaker.Breaker]
        yield _family("breaker", "1 for the state an endpoint's breaker is in", ["endpoint", "state"], one_hot)
        waits = [(name, max(0, self.now_us - due_us) / 1e6 if due_us else 0) for name, _, due_us in self.rows["breakers"]]
        yield _family("delivery_overdue_seconds", "How long the oldest row is due", ["endpoint"], waits)

    def _shards(self) -> Iterator[Gauge]:
        shards, lost = self.found.shards, self.found.lost
        yield _family(
            "shard_owned", "1 while a worker owns it", ["shard"], [(s.id, int(s.trouble is not Kind.STOPPED)) for s in shards]
        )
        yield _family(
            "shard_failing",
            "1 while its analyzer fails",
            ["shard"],
            [(s.id, int(s.failing_since_us is not None)) for s in shards],
        )
        yield _family("shard_stored_position_us", "Its last T1", ["shard"], [(s.id, s.pos) for s in shards])
        yield _family("shard_analysed_position_us", "Its last T2", ["shard"], [(s.id, s.analysed) for s in shards])
        yield _family(
            "shard_lag_seconds", "How far analysing is behind storing", ["shard"], [(s.id, s.lag_us / 1e6) for s in shards]
        )
        away = [(s.id, int(s.trouble is Kind.BROKER)) for s in shards]
        yield _family("shard_broker_away", "1 while its worker does not hear the broker", ["shard"], away)
        yield _family("gateways_lost", "Gateways that are lost now", [], [(len(lost),)])


def _family(name: str, about: str, labels: list[str], rows: list[tuple[Any, ...]]) -> Gauge:
    family = Gauge(f"smartcare_{name}", about, labels=labels)
    for *values, figure in rows:
        family.add_metric([str(v) for v in values], figure)
    return family


async def exposition(conn: Connection, now_us: int) -> bytes:
    """Return the present figures in Prometheus' text format."""
    found = await health.read(conn, None)
    rows: Rows = {name: await (await conn.execute(SQL[name], {"now_us": now_us})).fetchall() for name in QUERIES}
    registry = CollectorRegistry()
    registry.register(_Found(found, rows, now_us))
    return generate_latest(registry)
