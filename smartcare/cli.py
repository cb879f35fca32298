"""The command line: every part of smartcare starts here, together (`up`) or apart.

One decision: a command imports what it needs when it runs, so that a gateway on a small box does not load the rest.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any

from smartcare import daybook, endpoint, evidence, gateway_run, gateways, keeping, membership, settings, trying

Arguments = argparse.Namespace


def main(argv: Sequence[str] | None = None) -> None:
    """Run one command and exit with its status; errors that a person can act on are one line, not a traceback."""
    parser = argparse.ArgumentParser(
        prog="smartcare", description="社区养老照料中心的无感监测 · unobtrusive monitoring of elder-care centres"
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for declare in (_declare_running, _declare_register):
        declare(commands)
    membership.declare(commands, settings.load, _say)
    daybook.declare(commands, _connect, _say)
    keeping.declare(commands, _connect, _say, lambda: settings.load().keep_days, lambda: _database(settings.load()))
    evidence.declare(commands, lambda: _database(settings.load()), lambda: settings.load().country, _say)
    arguments = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    try:
        status = arguments.run(arguments)
    except KeyboardInterrupt:
        status = 130
    except _known() as e:
        print(f"smartcare: {e}", file=sys.stderr)  # noqa: T201 - the command line speaks to a person
        status = 1
    sys.exit(status)


def _declare_running(commands: Any) -> None:
    up = commands.add_parser("up", help="启动全部 start everything with a simulated town")
    up.add_argument("--sites", type=int, default=8, help="sites of the simulated town (default 8)")
    up.add_argument("--seed", type=int, default=1, help="same seed, same town (default 1)")
    up.add_argument("--no-sim", action="store_true", help="no simulated devices: real ones speak to the broker")
    up.set_defaults(run=_up)

    worker = commands.add_parser("worker", help="接收与分析 ingest and analyzer")
    worker.set_defaults(run=_worker)

    api = commands.add_parser("api", help="页面、接口与推送 page, REST and delivery")
    api.set_defaults(run=_api)

    gateway = commands.add_parser("gateway", help="网关 the gateway process").add_subparsers(required=True, metavar="ACTION")
    gateway_run.declare(gateway, _forever, _say)
    device = gateway.add_parser("device", help="HTTP 设备地址 give a device its address to post to; again: a new one")
    device.add_argument("family", help="milesight, hikcount, hikaccess, face, ha03, zk, dahua, tb, or one of --mapping")
    device.add_argument("name", help="serial number, DeviceID or IMEI; for hikcount, hikaccess and dahua a name of your own")
    device.add_argument("--spool", required=True, type=Path, help="spool file of the gateway")
    device.add_argument("--token", default="", help="of a device set up for ThingsBoard (family tb), which then keeps it")
    device.add_argument("--mapping", type=Path, metavar="FILE", help="the gateway's mapping file, for its families")
    device.set_defaults(run=_gateway_device)
    trying.declare(gateway, _say)
    gateways.declare(gateway, _connect, _say)
    gateways.declare_broker(commands, _say)

    sim = commands.add_parser("sim", help="模拟设备 simulated devices")
    sim.add_argument("--sites", type=int, default=8)
    sim.add_argument("--seed", type=int, default=1)
    sim.add_argument("--backlog-min", type=int, default=0, help="minutes of history to send first")
    sim.add_argument("--ledger", type=Path, help="write every observation here, fsynced, before it is published")
    sim.set_defaults(run=_sim)

    score = commands.add_parser("score", help="评分 precision, recall and delay of alerts against a simulator's truth")
    score.add_argument("--truth", required=True, type=Path, metavar="LEDGER", help="written by `python -m firmware_sim --truth`")
    alerts = score.add_mutually_exclusive_group(required=True)
    alerts.add_argument("--from-db", action="store_true", help="the alerts in the database")
    alerts.add_argument("--alerts", type=Path, metavar="FILE", help="alerts as JSON lines: rule, subject, site, *_us")
    score.add_argument("--json", type=Path, metavar="FILE", help="write the figures too")
    score.set_defaults(run=_score)

    rules = commands.add_parser("rules", help="规则 every rule with its settings and defaults")
    rules.set_defaults(run=_rules)

    replay = commands.add_parser("replay", help="回放 what rules would have raised over stored history")
    replay.add_argument("--from", required=True, dest="since", metavar="DATE", help="YYYY-MM-DD or YYYY-MM-DDTHH:MM, in --zone")
    replay.add_argument("--to", required=True, metavar="DATE", help="end of the span, not included")
    replay.add_argument(
        "--rules", type=Path, metavar="FILE", help="规则文件 YAML: default: {rule: {setting: number}}, sites: {CODE: …}"
    )
    replay.add_argument("--against", type=Path, metavar="FILE", help="rule file to compare with (default: the register's rules)")
    replay.add_argument("--zone", default="Asia/Shanghai", help="zone of the dates (default Asia/Shanghai)")
    replay.add_argument(
        "--list", type=int, default=20, metavar="N", help="alerts shown that only one of them raises (default 20)"
    )
    replay.add_argument("--json", type=Path, metavar="FILE", help="write the alerts of both too")
    replay.set_defaults(run=_replay)

    platform = commands.add_parser("platform", help="示例平台 a receiver that verifies signatures and keeps a ledger")
    platform.add_argument("--host", default="127.0.0.1")
    platform.add_argument("--port", type=int, default=8790)
    platform.add_argument("--ledger", type=Path, default=Path("platform.jsonl"))
    platform.set_defaults(run=_platform)


def _declare_register(commands: Any) -> None:
    migrate = commands.add_parser("migrate", help="建库升级 bring the database to the present schema")
    migrate.set_defaults(run=_migrate)

    register = commands.add_parser("register", help="登记 sites, places, devices")
    register = register.add_subparsers(required=True, metavar="ACTION")
    load = register.add_parser("import", help="import a YAML file or a folder of CSV files; repeating it changes nothing")
    load.add_argument("file", type=Path)
    load.add_argument("--dry-run", action="store_true", help="say what would change and change nothing")
    load.set_defaults(run=_import)
    claim = register.add_parser("claim", help="turn an unclaimed device into one of a place")
    for name in ("gateway", "identity", "device-class", "place"):
        claim.add_argument(f"--{name}", required=True)
    claim.add_argument("--assessment", default="", help="reference of the impact assessment (face terminals)")
    claim.set_defaults(run=_claim)

    swap = register.add_parser("swap", help="换传感器 a new sensor where the old one is mounted; the place keeps its history")
    swap.add_argument("--gateway", required=True, help="gateway of the old sensor")
    swap.add_argument("--old", required=True, metavar="IDENTITY")
    swap.add_argument("--new", required=True, metavar="IDENTITY", help="heard, and mounted nowhere")
    swap.add_argument("--new-gateway", default="", help="gateway that hears the new one (default: the same)")
    swap.add_argument("--device-class", default="", help="of the new one (default: the same)")
    swap.set_defaults(run=_swap)
    swap = register.add_parser("swap-gateway", help="换网关 give all devices of a gateway to another, and suspend the old one")
    swap.add_argument("old")
    swap.add_argument("new", help="code of a registered gateway on the same shard")
    swap.set_defaults(run=_swap_gateway)

    endpoint.declare(commands, _say)


def _up(a: Arguments) -> int:
    from smartcare.up import Demo, up

    up(settings.Settings(), Demo(seed=a.seed, sites=a.sites, simulate=not a.no_sim))
    return 0


def _worker(a: Arguments) -> int:
    from smartcare.worker import run

    return _forever(run(_needs_database(settings.load())))


def _api(a: Arguments) -> int:
    from smartcare.page import run

    return _forever(run(_needs_database(settings.load())))


def _gateway_device(a: Arguments) -> int:
    from gateway.addresses import AddressError, Addresses, beside
    from gateway.codecs.families import HTTP_FAMILIES

    families = HTTP_FAMILIES + trying.read_mapping(a.mapping).names
    if a.family not in families:
        raise SystemExit(
            f"smartcare: 未知类型 unknown family {a.family!r}; one of {', '.join(families)}"
            f"{'' if a.mapping else '; families of a mapping need --mapping FILE'}"
        )
    try:
        address = Addresses(beside(a.spool)).add(a.family, a.name, a.token)
    except AddressError as e:
        raise SystemExit(f"smartcare: {e}") from e
    _say(f"已登记 added {a.family}/{a.name}\nURL: http://<gateway>:<port>{address.path}")
    return 0


def _forever(work: Coroutine[Any, Any, object]) -> int:
    """Run until it ends or SIGTERM or Ctrl-C cancels it."""

    async def watched() -> None:
        task = asyncio.current_task()
        assert task is not None
        for sig in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(sig, task.cancel)
        try:
            await work
        except asyncio.CancelledError:
            logging.getLogger("smartcare").info("stopped")

    asyncio.run(watched())
    return 0


def _needs_database(found: settings.Settings) -> settings.Settings:
    if not found.database_url or not found.mqtt_url:
        raise SystemExit(
            "smartcare: DATABASE_URL 与 MQTT_URL 未设置 — set DATABASE_URL and MQTT_URL, or run `smartcare up` first"
        )
    return found


def _sim(a: Arguments) -> int:
    from firmware_sim.run import run
    from firmware_sim.town import build_town
    from gateway.clock import MINUTE_US, now_us

    town = build_town(seed=a.seed, sites=a.sites, now_us=now_us())
    return _forever(run(town, settings.load().bus_url, backlog_us=a.backlog_min * MINUTE_US, ledger=a.ledger))


def _score(a: Arguments) -> int:
    from smartcare import score

    truths = score.read_truth(a.truth)
    if a.from_db:
        with _connect() as conn:
            alerts = score.stored_alerts(conn)
    else:
        alerts = score.read_alerts(a.alerts)
    _say(score.report(truths, alerts, a.json))
    return 0


def _rules(_: Arguments) -> int:
    from smartcare import rules

    _say(rules.table())
    return 0


def _replay(a: Arguments) -> int:
    from smartcare import replay

    with _connect() as conn:
        _say(replay.run(conn, a))
    return 0


def _platform(a: Arguments) -> int:
    from api.platform import run
    from api.signing import generate_secret

    secret = os.environ.get("SMARTCARE_PLATFORM_SECRET", "")
    if not secret:
        secret = generate_secret()
        _say(f"接收地址 receives at: http://{a.host}:{a.port}/alerts   已收到 received: http://{a.host}:{a.port}/  {a.ledger}")
        _say(
            f"登记 declare it: SMARTCARE_PLATFORM_SECRET={secret} smartcare endpoint add sandbox http://{a.host}:{a.port}/alerts"
        )
    run(a.host, a.port, a.ledger, secret)
    return 0


def _migrate(a: Arguments) -> int:
    from gateway.clock import now_us
    from ingest.store.schema import migrate

    with _connect() as conn:
        for name in migrate(conn, now_us()):
            _say(f"已执行 applied {name}")
    return 0


def _import(a: Arguments) -> int:
    from gateway.clock import now_us
    from ingest import declaration, register

    with _connect() as conn:
        for table, counts in register.load(conn, declaration.read(a.file), now_us(), dry_run=a.dry_run).items():
            _say(f"{table}: {counts}")
    return 0


def _claim(a: Arguments) -> int:
    from gateway.clock import now_us
    from ingest.register import claim

    with _connect() as conn:
        claim(conn, a.gateway, a.identity, a.device_class, a.place, now_us(), assessment=a.assessment)
        _say(f"已认领 claimed {a.identity} → {a.place}")
    return 0


def _swap(a: Arguments) -> int:
    from gateway.clock import now_us
    from ingest.swap import swap_device

    with _connect() as conn:
        place = swap_device(conn, a.gateway, a.old, a.new, now_us(), new_gateway=a.new_gateway, device_class=a.device_class)
    _say(f"已更换 swapped {a.old} → {a.new} @ {place}")
    return 0


def _swap_gateway(a: Arguments) -> int:
    from ingest.swap import swap_gateway

    with _connect() as conn:
        moved = swap_gateway(conn, a.old, a.new)
    _say(f"已转移 moved {moved} devices {a.old} → {a.new}; {a.old} 已停用 is suspended")
    return 0


def _connect() -> Any:
    import psycopg

    return psycopg.connect(_database(settings.load()), autocommit=True)


def _database(found: settings.Settings) -> str:
    if not found.database_url:
        raise SystemExit("smartcare: DATABASE_URL 未设置 — set DATABASE_URL, or run `smartcare up` first")
    return found.database_url


def _say(text: str) -> None:
    print(text)  # noqa: T201 - the command line speaks to a person


def _known() -> tuple[type[Exception], ...]:
    """Errors whose message is meant for the person who typed the command."""
    import psycopg

    from smartcare.embedded.process import ServerError

    known: list[type[Exception]] = [psycopg.OperationalError, ServerError, OSError]
    for module, name in (
        ("smartcare.up", "AlreadyRunning"),
        ("smartcare.score", "ScoreError"),
        ("smartcare.broker", "BrokerError"),
        ("gateway.setup", "SetupError"),
        ("gateway.codecs.mapping", "BadMapping"),
        ("analytics.replay", "RuleSetError"),
        ("ingest.errors", "IngestError"),
        ("api.errors", "ApiError"),
    ):
        if module in sys.modules:
            known.append(getattr(sys.modules[module], name))
    return tuple(known)
