"""`smartcare up`: everything in one terminal, with a simulated town.

embedded PostgreSQL ─ embedded broker ─ worker ─ api (page, delivery) ─ gateway ─ simulator
                                                   └→ demo platform (verifies and keeps a ledger)
"""

import fcntl
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import psycopg
from rich.console import Console

from api import duty, endpoints
from api.delivery import register_endpoint
from api.endpoints import Endpoint
from api.signing import generate_secret
from firmware_sim.town import build_town
from gateway.clock import now_us
from ingest import register as registers
from ingest.store.schema import API_ROLE, migrate
from smartcare import accounts
from smartcare.embedded import nats, postgres, process
from smartcare.settings import Settings, write_run
from smartcare.supervisor import Program, Supervisor

ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """What the town is made from and how lively it is."""

    seed: int = 1
    sites: int = 8
    simulate: bool = True


class AlreadyRunning(Exception):
    """Another `smartcare up` uses this state folder."""


def up(settings: Settings, demo: Demo) -> None:
    """Run until Ctrl-C or SIGTERM. Raises AlreadyRunning, process.ServerError."""
    console = Console(highlight=False)
    state = settings.state.absolute()
    state.mkdir(parents=True, exist_ok=True, mode=0o700)
    with only_one(state):
        supervisor = Supervisor(say=lambda name, what: console.print(f"  [yellow]{name}[/] {what}"))
        signal.signal(signal.SIGTERM, _end)
        signal.signal(signal.SIGINT, _end)  # a shell that starts us in the background has it ignored
        try:
            with console.status("正在启动 Starting…"):
                values = _start(settings, demo, state, supervisor, console)
            _welcome(console, state, values)
            while True:
                supervisor.look()
                time.sleep(0.1)
        except KeyboardInterrupt:
            console.print("正在停止 Stopping…")
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            supervisor.stop()
            (state / "run.json").unlink(missing_ok=True)


@contextmanager
def only_one(state: Path) -> Iterator[None]:
    """Hold the state folder for this process; the lock ends with it, however it ends."""
    with (state / "lock").open("w") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise AlreadyRunning(
                f"{state} 已在使用，另一个 smartcare up 在运行：another `smartcare up` runs there; stop it or set SMARTCARE_STATE"
            ) from None
        yield


def _start(settings: Settings, demo: Demo, state: Path, supervisor: Supervisor, console: Console) -> dict[str, Any]:
    (state / "log").mkdir(exist_ok=True)
    database_url, api_database_url, server = settings.database_url, settings.api_database_url, None
    if not database_url:
        server = postgres.Server(state / "postgres")
        supervisor.start("postgres", server)
        database_url = server.dsn()
    console.print("  数据库就绪 database ready")
    town = build_town(seed=demo.seed, sites=demo.sites, now_us=now_us())
    register = town.register()
    gateways = [(g["code"], int(g["shard"])) for g in register["gateways"]]
    worker_url, bus_url, gateway_url = settings.mqtt_url, settings.bus_url, _same(settings.mqtt_url)
    if not worker_url:
        broker = nats.Broker(state / "broker")
        for code, shard in gateways:
            broker.add_gateway(code, shard)
        supervisor.start("broker", broker)
        worker_url, gateway_url = broker.url(nats.WORKER), broker.url
        bus_url = bus_url or broker.url(nats.DEVICE_BUS)
    console.print("  消息代理就绪 broker ready")
    port = settings.port if not process.accepts(settings.port) else process.free_port()
    platform_port, secret = process.free_port(), _secret(state)
    values = {
        "database_url": database_url,
        "api_database_url": api_database_url,
        "mqtt_url": worker_url,
        "bus_url": bus_url or worker_url,
        "host": settings.host,
        "port": port,
        "public_url": settings.public_url or f"http://{settings.host}:{port}",
        "outgoing": [*settings.outgoing, f"127.0.0.1:{platform_port}"],
        "lost_after_s": settings.lost_after_s,
        "metrics_port": settings.metrics_port,
        "mqtt_ca": str(settings.mqtt_ca) if settings.mqtt_ca else None,
    }
    with psycopg.connect(database_url, autocommit=True) as conn:
        migrate(conn, now_us())
        if server:
            values["api_database_url"] = server.let_in(conn, API_ROLE)
        registers.load(conn, register, now_us())
        receiver = f"http://127.0.0.1:{platform_port}/alerts"
        register_endpoint(conn, name="demo-platform", url=receiver, secret=secret)
        if demo.simulate:
            _staff(conn, register, Endpoint(name="demo-duty", url=receiver, secret=secret, alerts=False))
    accounts.add_missing(database_url, ADMIN)
    write_run(state, values)
    platform = ["platform", "--port", str(platform_port), "--ledger", str(state / "platform.jsonl")]
    _program(supervisor, state, values, "platform", *platform, SMARTCARE_PLATFORM_SECRET=secret)
    _program(supervisor, state, values, "worker", "worker")
    _program(supervisor, state, values, "api", "api")
    for code, shard in gateways:
        spool = ["--spool", str(state / f"spool-{code}.sqlite")]
        arguments = ["gateway", "run", "--code", code, "--shard", str(shard), *spool]
        _program(supervisor, state, values, f"gateway {code}", *arguments, SMARTCARE_UPLINK_URL=gateway_url(code))
    _wait_for_page(f"http://{settings.host}:{port}/livez", state / "log" / "api.log")
    if demo.simulate:
        sim = ["sim", "--seed", str(demo.seed), "--sites", str(demo.sites), "--backlog-min", "120"]
        _program(supervisor, state, values, "sim", *sim)
    return values


def _staff(conn: psycopg.Connection[Any], register: dict[str, Any], phone: Endpoint) -> None:
    """Put someone on duty for each site, town and city, unless there is a roster: the demo platform is their phone."""
    endpoints.register(conn, phone)
    if conn.execute("SELECT FROM contact LIMIT 1").fetchone():
        return
    sites = [(f"{site['name']}值班", site["code"], None) for site in register["sites"]]
    regions = [(f"{region['name']}值班室", None, duty.area(region["code"])) for region in register["regions"]]
    for name, site, area in sites + regions:
        conn.execute(duty.SQL["put_contact"], {"name": name, "endpoint": phone.name, "address": "", "account": None})
        shift = {"contact": name, "site": site, "area": area, "from_us": now_us(), "to_us": None}
        conn.execute(duty.SQL["put_shift"], shift)


def _same(url: str) -> Callable[[str], str]:
    return lambda code: url


def _program(supervisor: Supervisor, state: Path, values: dict[str, Any], name: str, *arguments: str, **more: str) -> None:
    env = {k: v for k, v in os.environ.items() if not k.startswith("SMARTCARE_")}
    env |= {"SMARTCARE_STATE": str(state), "PYTHONUNBUFFERED": "1"} | more
    argv = [sys.executable, "-m", "smartcare", *arguments]
    supervisor.start(name, Program(argv=argv, env=env, log=state / "log" / f"{name.replace(' ', '-')}.log"))


def _wait_for_page(url: str, log: Path) -> None:
    end = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(url, timeout=2).close()  # noqa: S310 - our own http address
            return
        except (urllib.error.URLError, OSError):
            if time.monotonic() > end:
                raise process.ServerError(f"页面没有起来 the page did not come up within 60 s:\n{process.tail(log)}") from None
            time.sleep(0.1)


def _secret(state: Path) -> str:
    file = state / "platform.secret"
    if not file.exists():
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as f:
            f.write(generate_secret())
    return file.read_text()


def _welcome(console: Console, state: Path, values: dict[str, Any]) -> None:
    link = accounts.link(values["database_url"], ADMIN, values["public_url"])
    console.print(f"\n  [bold]安居守望 smartcare[/]   {values['public_url']}")
    console.print(
        f"  登录链接（一次有效，10 分钟）Sign-in link (once, ten minutes):\n\n    [bold cyan]{link}[/]\n", soft_wrap=True
    )
    command = "smartcare" if sys.argv[0].endswith("__main__.py") else sys.argv[0]
    console.print(f"  新的登录链接 another link: [bold]{command} link[/]", soft_wrap=True)
    console.print(f"  日志 logs: {state / 'log'}", soft_wrap=True)
    console.print(f"  推送记录 pushed alerts: {state / 'platform.jsonl'}", soft_wrap=True)
    console.print("  Ctrl-C 停止，数据保留 stops everything and keeps the data\n")


def _end(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
