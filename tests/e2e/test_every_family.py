"""Every model of device, from the vendor's bytes over MQTT and HTTP to roll-ups and alerts, through real processes."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import psycopg
import pytest

from firmware_sim.device import Face, Hold, Input, Pass, Report
from firmware_sim.families import GATEWAY, SHARD, build_families, identity
from firmware_sim.habits import Visit
from firmware_sim.models import MODELS
from firmware_sim.play import Said
from firmware_sim.posts import read_addresses
from firmware_sim.run import run
from firmware_sim.town import Site, Town
from gateway.addresses import Addresses, beside
from gateway.clock import SECOND_US, now_us
from ingest import register
from smartcare.embedded import nats, process
from tests.e2e.stack import closed_now

SEED = 5
PATIENCE_S = 60
DOORS, COUNTERS, TERMINALS = (
    [code for code, model in MODELS.items() if model.kind == kind] for kind in ("door", "counter", "terminal")
)
MAPPING = files("firmware_sim") / "mapping.yaml"


@dataclass(frozen=True)
class AfterHours:
    """Somebody comes when all is closed: opens, passes three times, looks into the terminal twice, and once it is a stranger.

    Every message arrives twice, as lines and impatient firmware have it.
    """

    began_us: int

    def visits(self, site: Site, hour_us: int) -> Sequence[Visit]:
        return ()

    def inputs(self) -> Iterable[tuple[int, str, Input]]:
        def at(seconds: float) -> int:
            return self.began_us + int(seconds * SECOND_US)

        for door in (identity(SEED, code) for code in DOORS):
            yield at(0), door, Hold(open=False)
            yield at(1.1), door, Hold()
            yield at(3.3), door, Hold(open=False)
        for counter in (identity(SEED, code) for code in COUNTERS):
            yield at(0), counter, Report()
            for n in range(3):
                yield at(1.1), counter, Pass(inward=True, until_us=at(2 + n))
            yield at(2.2), counter, Report()
        for terminal in (identity(SEED, code) for code in TERMINALS):
            for n, local_id in enumerate(("1", "", "1")):
                yield at(0.5 + 1.1 * n), terminal, Face(local_id=local_id)

    def arrivals(self, said: Said) -> Sequence[int]:
        return (said.at_us, said.at_us + SECOND_US // 5)


@pytest.fixture
def town(dsn: str, broker: nats.Broker, tmp_path: Path) -> Iterator[tuple[Town, dict[str, str]]]:
    """The town in the register, a worker and a gateway at work; with where its devices post."""
    town, spool, http = build_families(SEED, closed_now()), tmp_path / "spool.db", process.free_port()
    with psycopg.connect(dsn, autocommit=True) as conn:
        register.load(conn, town.register(), now_us())
    broker.add_gateway(GATEWAY, SHARD)
    broker.stop()
    broker.start()
    addresses = Addresses(beside(spool))
    for code, model in MODELS.items():
        if model.posts:
            addresses.add(*identity(SEED, code).split("/"))
    env = {k: v for k, v in os.environ.items() if not k.startswith("SMARTCARE_")}
    env |= {"DATABASE_URL": dsn, "MQTT_URL": broker.url(nats.WORKER), "SMARTCARE_UPLINK_URL": broker.url(GATEWAY)}
    env |= {"SMARTCARE_BUS_URL": broker.url(nats.DEVICE_BUS), "SMARTCARE_STATE": str(tmp_path / "none")}
    gateway = ["gateway", "run", "--code", GATEWAY, "--shard", str(SHARD), "--spool", str(spool), "--heartbeat-s", "1"]
    with (tmp_path / "log").open("wb") as log:
        commands = (["worker"], [*gateway, "--http", f"127.0.0.1:{http}", "--jitter-s", "0.2", "--mapping", str(MAPPING)])
        children = [subprocess.Popen([sys.executable, "-m", "smartcare", *c], env=env, stderr=log) for c in commands]
        try:
            until(dsn, "SELECT count(*) FROM coverage", lambda n: n > 0, tmp_path / "log")
            yield town, read_addresses(beside(spool), f"http://127.0.0.1:{http}")
        finally:
            for child in children:
                child.terminate()
            for child in children:
                child.wait(20)


def until(dsn: str, query: str, true: Callable[[Any], bool], log: Path | None = None) -> Any:
    """Ask until the answer's first value is as wanted; return it."""
    end = time.monotonic() + PATIENCE_S
    with psycopg.connect(dsn, autocommit=True) as conn:
        while True:
            row = conn.execute(query.encode()).fetchone()
            if row and true(row[0]):
                return row[0]
            assert time.monotonic() < end, (row, query, log.read_text()[-3000:] if log else "")
            time.sleep(0.05)


COUNTED = (
    "SELECT jsonb_object_agg(code, n) FROM (SELECT s.code, jsonb_build_array(coalesce(sum(openings), 0),"
    " coalesce(sum(people_in), 0), coalesce(sum(passages), 0)) AS n FROM site s JOIN place p ON p.site = s.id"
    " LEFT JOIN rollup_hour r ON r.place = p.id GROUP BY s.code) AS sums"
)


def test_a_story_after_hours_is_counted_once_and_told_whatever_family_saw_it(
    dsn: str, broker: nats.Broker, town: tuple[Town, dict[str, str]]
) -> None:
    families, posts = town
    story = AfterHours(now_us() + 3 * SECOND_US // 2)
    asyncio.run(run(families, broker.url(nats.DEVICE_BUS), script=story, stop_after_s=6, posts=posts))
    expected = {code: [1, 0, 0] for code in DOORS} | {code: [0, 3, 0] for code in COUNTERS}
    expected |= {code: [0, 0, 2] for code in TERMINALS}  # a stranger is nobody who was served
    until(dsn, COUNTED, lambda found: bool(found == expected))
    strangers = until(dsn, "SELECT count(*) FROM passage WHERE result = 3", lambda n: n > 0)
    assert strangers == len(TERMINALS) - 1  # a zk keeps no record of them
    told = "SELECT array_agg(DISTINCT s.code) FROM alert a JOIN site s ON s.id = a.site WHERE a.rule = 'opened_after_hours'"
    until(dsn, told, lambda codes: set(codes or ()) >= {*DOORS, *COUNTERS})
    known = "SELECT count(DISTINCT device) FROM passage WHERE person > 0"
    assert until(dsn, known, lambda n: n > 0) == len(TERMINALS)
