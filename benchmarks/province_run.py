"""A province for ten minutes: 25,000 gateways and 375,000 devices on one worker with all rules on.

One decision: what is measured is what the far end sees: from the sending of a frame to the answer, which is after T1's commit;
how far T2 is behind is asked of the database four times a second, as is the worker's memory of the kernel.

    python -m benchmarks.province_run --minutes 2 --gateways 5000
"""

import argparse
import json
import os
import resource
import secrets
import signal
import socket
import sys
import tempfile
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray

from benchmarks import growth, load, province_load
from benchmarks.ingest_path import Say
from benchmarks.province_load import HOSTED, Province
from gateway.clock import now_us
from ingest.store.schema import migrate
from smartcare.broker import User
from smartcare.embedded import nats, postgres

PATIENCE_S = 400.0
"""For the worker to know everybody, and for every gateway to have been heard."""

REGISTER = """
INSERT INTO region VALUES ('330481100001', '周王庙镇');
INSERT INTO gateway (code, shard) SELECT * FROM unnest(%(codes)s::text[], %(shards)s::smallint[]);
INSERT INTO site (code, name, kind, region, hours, shard)
SELECT code, code || ' 站', 'point', '330481100001', %(hours)s, shard FROM gateway;
INSERT INTO place (site, code, name, room) SELECT s.id, 'p' || d, 'p' || d, 'hall' FROM site s, generate_series(0, %(last)s) d;
INSERT INTO device (gateway, identity, class)
SELECT id, CASE d %% 2 WHEN 1 THEN 'z2m/door-' || d ELSE 'lora/24e1c0ffee0000' || lpad(to_hex(d), 2, '0') END,
       CASE d %% 2 WHEN 1 THEN 'zigbee_contact' ELSE 'lora_counter' END FROM gateway, generate_series(0, %(last)s) d;
INSERT INTO mounting (device, place, from_us)
SELECT d.id, p.id, 0 FROM device d JOIN gateway g ON g.id = d.gateway JOIN site s ON s.code = g.code
JOIN place p ON p.site = s.id AND p.code = 'p' || CASE d.class WHEN 'zigbee_contact' THEN substr(d.identity, 10)::integer
                                                  ELSE ('x' || right(d.identity, 2))::bit(8)::integer END;
UPDATE register_version SET version = version + 1;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Gateways of 15 devices, one in five with a connection of its own; events a second; seconds, after those to warm up."""

    gateways: int
    events_per_s: float
    seconds: float
    warm_s: float


FULL = Size(gateways=25_000, events_per_s=5_000, seconds=600, warm_s=30)
SMOKE = Size(gateways=300, events_per_s=60, seconds=12, warm_s=3)


@dataclass(slots=True, kw_only=True)
class Watch:
    """What is asked again and again: for how long positions that were seen have waited for T2 (s), the worker's memory (MB)."""

    conn: psycopg.Connection[Any]
    pid: int
    behind: list[float] = field(default_factory=list)
    rss: list[float] = field(default_factory=list)
    waiting: dict[int, deque[int]] = field(default_factory=lambda: defaultdict(deque))

    def look(self) -> None:
        """Ask once. A position is the time of its T1."""
        oldest = now = now_us()
        for shard, pos, analysed in self.conn.execute("SELECT id, pos, analysed FROM shard").fetchall():
            waiting = self.waiting[shard]
            waiting.append(pos)
            while waiting and waiting[0] <= analysed:
                waiting.popleft()
            oldest = min(oldest, waiting[0]) if waiting else oldest
        self.behind.append((now - oldest) / 1e6)
        self.rss.append(int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20)


def measure(size: Size, say: Say) -> dict[str, float]:
    """Return rates, the percentiles of both lags, the worker's memory, and how the lag grew."""
    with _rig(size, say) as (conn, province, pid):
        watch = Watch(conn=conn, pid=pid)
        _begin(province, size, watch, say)
        events = _stored(conn)
        warm = len(watch.rss)
        frames, beats, again, answered = province.frames, province.beats, province.again, len(province.lags)
        cpu = -growth.cpu_s(pid)
        seconds = _speak(province, size, watch, say)
        cpu += growth.cpu_s(pid)
        unanswered = province.drain(PATIENCE_S)
        if unanswered:
            raise load.LoadError(f"{unanswered} frames had no answer {PATIENCE_S:.0f} s after the last was sent")
        lags, third = np.array(province.lags[answered:]), (len(province.lags) - answered) // 3
        sent = province_load.MESSAGE_EVENTS * (province.frames - frames)
        if (stored := _stored(conn) - events) != sent:
            raise load.LoadError(f"{sent} events were answered, {stored} are stored")
        rss = watch.rss[warm:]
        return {
            "province.gateways": size.gateways,
            "province.devices": size.gateways * province_load.DEVICES,
            "province.events_per_s": sent / seconds,
            "province.heartbeats_per_s": (province.beats - beats) / seconds,
            "province.lag_p50_s": _percentile(lags, 50),
            "province.lag_p99_s": _percentile(lags, 99),
            "province.lag_first_third_p99_s": _percentile(lags[:third], 99),
            "province.lag_last_third_p99_s": _percentile(lags[-third:], 99),
            "province.analysed_lag_p99_s": _percentile(watch.behind[warm:], 99),
            "province.worker_rss_mb": max(rss),
            "province.worker_rss_growth_mb": rss[-1] - rss[0],
            "province.worker_cores": cpu / seconds,
            "province.frames_again": province.again - again,
        }


def _begin(province: Province, size: Size, watch: Watch, say: Say) -> None:
    """Let everybody be heard, by heartbeats alone, and then warm up."""
    began = time.perf_counter()
    while not all(province.heard):
        if time.perf_counter() - began > PATIENCE_S:
            missing = size.gateways - sum(province.heard)
            raise load.LoadError(f"{missing} of {size.gateways} gateways had no answer in {PATIENCE_S:.0f} s")
        province.run(province_load.HEARTBEAT_S, 0.0, _nothing)
        say(f"province: {sum(province.heard):,} gateways heard after {time.perf_counter() - began:.0f} s")
    province.run(size.warm_s, size.events_per_s, watch.look)
    if province.drain(PATIENCE_S):
        raise load.LoadError("the worker did not keep up while warming up")


def _speak(province: Province, size: Size, watch: Watch, say: Say) -> float:
    """Keep the rate, and say every half minute how it goes. Returns the seconds."""
    seconds, part = 0.0, min(30.0, size.seconds)
    while seconds < size.seconds - 0.5:
        before, looks = len(province.lags), len(watch.behind)
        seconds += province.run(part, size.events_per_s, watch.look)
        lags = province.lags[before:]
        say(
            f"province: {seconds:.0f} s, answered after {_percentile(lags, 50):.2f} s, 99 % {_percentile(lags, 99):.2f} s;"
            f" analysed after {_percentile(watch.behind[looks:], 50):.1f} s, {max(watch.behind[looks:]):.1f} s at most;"
            f" {watch.rss[-1]:,.0f} MB; {province.again} again"
        )
    return seconds


def _nothing() -> None:
    """Look at nothing."""


def _percentile(values: Sequence[float] | NDArray[np.float64], q: float) -> float:
    return float(np.percentile(np.asarray(values), q))


def _stored(conn: psycopg.Connection[Any]) -> int:
    return int(conn.execute("SELECT count(*) FROM event").fetchall()[0][0])


@contextmanager
def _rig(size: Size, say: Say) -> Iterator[tuple[psycopg.Connection[Any], Province, int]]:
    """Start PostgreSQL, the broker and a worker, register the province, connect its gateways."""
    _allow_files(size.gateways // 5 + 500)
    with tempfile.TemporaryDirectory(prefix="smartcare-bench-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        server, broker = postgres.Server(folder / "postgres"), nats.Broker(folder / "nats")
        numbers = range(size.gateways)
        with broker.credentials.change() as state:
            for n in filter(province_load.single, numbers):
                user = User(password=secrets.token_urlsafe(32), gateway=province_load.code(n), shard=province_load.shard(n))
                state.users[province_load.code(n)] = user
        try:
            with server, broker, psycopg.connect(server.dsn(), autocommit=True) as conn:
                migrate(conn, now_us())
                _register(conn, size.gateways)
                say(f"province: {size.gateways * province_load.DEVICES:,} devices registered")
                with growth.worker(server.dsn(), broker.url(nats.WORKER), folder) as pid:
                    province = Province(size.gateways, _login(broker))
                    say(f"province: {size.gateways // 5:,} gateways connected, and {province_load.HOSTED_SHARDS} lines of many")
                    try:
                        yield conn, province, pid
                    finally:
                        province.close()
        finally:
            server.remove()


def _allow_files(wanted: int) -> None:
    """Raise our limit of open files, and with it that of the broker. Raises load.LoadError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise load.LoadError(f"{wanted} open files are needed, the limit is {hard}: ulimit -Hn {wanted}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def _register(conn: psycopg.Connection[Any], gateways: int) -> None:
    values = {
        "codes": [province_load.code(n) for n in range(gateways)],
        "shards": [province_load.shard(n) for n in range(gateways)],
        "hours": growth.ALWAYS,
        "last": province_load.DEVICES - 1,
    }
    with psycopg.ClientCursor(conn) as cursor:  # several statements at once take no parameters from the server
        cursor.execute(REGISTER.encode(), values)
    conn.execute("VACUUM ANALYZE")


def _login(broker: nats.Broker) -> Callable[[str], socket.socket]:
    """Let HOSTED speak for every gateway, which no shipped configuration would, and return what connects a user."""
    secret, file = secrets.token_urlsafe(32), broker.folder / "nats.conf"
    permissions = {"publish": ["care.v1.*.*.up"], "subscribe": ["care.v1.*.*.down"]}
    config = json.loads(file.read_text())
    config["accounts"]["CARE"]["users"].append({"user": HOSTED, "password": secret, "permissions": permissions})
    file.write_text(json.dumps(config))
    assert broker.process is not None
    broker.process.send_signal(signal.SIGHUP)
    passwords = {name: user.password for name, user in broker.credentials.state().users.items()} | {HOSTED: secret}
    numbers = iter(range(1 << 30))

    def login(user: str) -> socket.socket:
        for _ in range(100):
            try:
                return load.login(broker.port, f"load-{next(numbers)}", user, passwords[user])
            except (load.LoadError, ConnectionError):
                time.sleep(0.1)  # the broker has not read its configuration yet
        return load.login(broker.port, f"load-{next(numbers)}", user, passwords[user])

    return login


def main() -> None:
    """Measure with a size of one's own."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is stopped then too
    parser = argparse.ArgumentParser(prog="python -m benchmarks.province_run")
    parser.add_argument("--minutes", type=float, default=FULL.seconds / 60)
    parser.add_argument("--gateways", type=int, default=FULL.gateways)
    parser.add_argument("--events", type=float, default=FULL.events_per_s, help="a second")
    args = parser.parse_args()
    size = replace(FULL, gateways=args.gateways, seconds=args.minutes * 60, events_per_s=args.events)
    for key, value in measure(size, lambda text: print(text, flush=True)).items():
        print(f"{key:40} {value:>14,.3f}")


if __name__ == "__main__":
    main()
