"""`smartcare endpoint`: receivers declared, tried, subscribed to data, filled back, rotated and reconciled."""

import argparse
import asyncio
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from smartcare import settings

Arguments = argparse.Namespace
BEIJING = ZoneInfo("Asia/Shanghai")
Say = Callable[[str], None]


def declare(commands: Any, say: Say) -> None:
    """Add the command and its actions. say: prints a line to the person."""
    endpoint = commands.add_parser("endpoint", help="推送目标 where alerts and data are pushed").add_subparsers(
        required=True, metavar="ACTION"
    )
    _declare_add(endpoint, say)
    trial = _action(endpoint, "try", _try, say, "试运行 show the request that the newest alert would make, and send nothing")
    del trial
    subscribe = _action(endpoint, "subscribe", _subscribe, say, "订阅数据 send it data of every site, period by period")
    subscribe.add_argument("what", choices=["counts", "opening", "service", "devices"])
    subscribe.add_argument("--period", choices=["hour", "day"], default="day")
    subscribe.add_argument("--mapping", type=Path, metavar="FILE", help="YAML that turns it into the platform's own body")
    subscribe.add_argument("--field", action="append", metavar="NAME", help="only this field may leave; repeatable")
    subscribe.add_argument("--from", dest="begin", type=_day, metavar="DAY", help="first day (default today)")
    unsubscribe = _action(endpoint, "unsubscribe", _unsubscribe, say, "退订 send it no more of this data")
    unsubscribe.add_argument("what", choices=["counts", "opening", "service", "devices"])
    unsubscribe.add_argument("--period", choices=["hour", "day"])
    backfill = _action(endpoint, "backfill", _backfill, say, "补传 make the data of a span that it was not told of")
    reconcile = _action(endpoint, "reconcile", _reconcile, say, "对账 compare with the receiver's own list of webhook-ids")
    reconcile.add_argument("list", metavar="FILE|URL", help="JSON, JSON lines, CSV or one id a line; a URL must be allowed")
    for spanned, needed in ((backfill, True), (reconcile, False)):
        spanned.add_argument("--from", dest="begin", type=_day, required=needed, metavar="DAY", help="2026-11-01, Beijing time")
        spanned.add_argument("--to", dest="end", type=_day, metavar="DAY", help="the day after the last (default now)")
    rotate = _action(endpoint, "rotate", _rotate, say, "换密钥 a new secret beside the old one; --finish drops the old one")
    rotate.add_argument("--finish", action="store_true")


def _declare_add(endpoint: Any, say: Say) -> None:
    add = _action(
        endpoint,
        "add",
        _add,
        say,
        "add an endpoint or declare it anew; secret: SMARTCARE_PLATFORM_SECRET, else the one it has, else a new one",
    )
    add.add_argument("url", help="http(s)://…, or for email smtps://host:465, smtp+starttls://host:587, smtp://host:25")
    add.add_argument("--kind", choices=["webhook", "dingtalk", "feishu", "wecom", "sms", "email"], default="webhook")
    signers = ["standard", "hmac-sm3", "zwdd", "md5", "bearer", "none"]
    add.add_argument("--signer", choices=signers, default="standard", help="of a webhook; none: of sms only")
    add.add_argument("--key-id", default="", help="apiKey or appKey, where the signer has one; user name of a mail server")
    add.add_argument("--token-url", default="", help="where zwdd gets its access token, md5 its request secret")
    add.add_argument("--mapping", type=Path, metavar="FILE", help="YAML that turns our alert into the platform's own body")
    add.add_argument("--codes", type=Path, metavar="FILE", help="YAML with the platform's codes of site, region and class")
    add.add_argument("--success", default="", metavar="RULE", help="what a 2xx answer must say, like '$.code == 0'")
    add.add_argument("--field", action="append", metavar="NAME", help="only this field may leave, like site.code; repeatable")
    add.add_argument("--to", action="append", default=[], metavar="WHOM", help="telephone number or mail address; repeatable")
    add.add_argument("--sender", default="", help="From of an e-mail")
    add.add_argument("--fallback", metavar="NAME", help="endpoint that takes over what this one cannot deliver")
    add.add_argument("--no-alerts", action="store_true", help="only data, only somebody's channel, or only a fallback")


def _action(endpoint: Any, name: str, run: Callable[[Arguments, Say], int], say: Say, about: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = endpoint.add_parser(name, help=about)
    parser.add_argument("name")
    parser.set_defaults(run=lambda a: run(a, say))
    return parser


def _add(a: Arguments, say: Say) -> int:
    from api.endpoints import Endpoint, find, known, register
    from api.signers import Signer
    from api.signing import generate_secret

    with _connect() as conn:
        before = find(conn, a.name)
        same = before is not None and (before.kind, before.signer) == (a.kind, a.signer)
        secret = os.environ.get("SMARTCARE_PLATFORM_SECRET") or (before.secret if before and same else "")
        signs = a.kind in ("webhook", "sms") and a.signer in ("standard", "hmac-sm3")
        made = generate_secret() if signs and not secret else ""
        to = Endpoint(
            name=a.name,
            url=a.url,
            secret=secret or made,
            kind=a.kind,
            signer=Signer(a.signer),
            key_id=a.key_id,
            mapping=_text(a.mapping),
            fields=tuple(a.field) if a.field else None,
            success=a.success,
            alerts=not a.no_alerts,
            codes=_text(a.codes),
            recipients=tuple(a.to),
            sender=a.sender,
            token_url=a.token_url,
            fallback=known(conn, a.fallback).id if a.fallback else None,
        )
        register(conn, to)
    say(f"已登记 registered {a.name}" + (f"\n密钥 secret: {made}" if made else ""))
    say(f"出口白名单 allow it with SMARTCARE_OUTGOING\n试运行 look at a request: smartcare endpoint try {a.name}")
    return 0


def _try(a: Arguments, say: Say) -> int:
    from api.endpoints import dry_run
    from gateway.clock import now_us

    found = settings.load()
    with _connect() as conn:
        say(dry_run(conn, a.name, found.public_url or f"http://{found.host}:{found.port}", now_us()))
    return 0


def _subscribe(a: Arguments, say: Say) -> int:
    from api.data import subscribe
    from gateway.clock import now_us

    begin = a.begin or datetime.fromtimestamp(now_us() // 1_000_000, BEIJING).replace(hour=0, minute=0, second=0)
    with _connect() as conn:
        subscribe(
            conn,
            a.name,
            a.what,
            a.period,
            from_us=_us(begin),
            mapping=_text(a.mapping),
            fields=tuple(a.field) if a.field else None,
        )
    say(f"已订阅 {a.name} is sent {a.what} by {a.period}, from {begin:%Y-%m-%d}")
    return 0


def _unsubscribe(a: Arguments, say: Say) -> int:
    from api.data import unsubscribe

    with _connect() as conn:
        gone = unsubscribe(conn, a.name, a.what, a.period)
    say(f"已退订 unsubscribed: {gone}")
    return 0 if gone else 1


def _backfill(a: Arguments, say: Say) -> int:
    from psycopg import AsyncConnection
    from rich.progress import Progress

    from api.data import backfill
    from gateway.clock import now_us

    async def fill() -> int:
        async with await AsyncConnection.connect(_database(), autocommit=True) as conn:
            with Progress() as bar:
                task = bar.add_task(f"补传 {a.name}", total=None)
                end_us = _us(a.end) if a.end else now_us()
                return await backfill(
                    conn, a.name, _us(a.begin), end_us, now_us(), lambda n, of: bar.update(task, completed=n, total=of)
                )

    say(f"已排队 waiting to be sent: {asyncio.run(fill())}")
    return 0


def _reconcile(a: Arguments, say: Say) -> int:
    from psycopg import AsyncConnection

    from api import reconcile
    from api.endpoints import known
    from gateway.clock import now_us

    text = asyncio.run(_fetch(a.list)) if "://" in a.list else Path(a.list).read_text("utf-8-sig")
    with _connect() as conn:
        number = known(conn, a.name).id
    begin_us, end_us = _us(a.begin) if a.begin else 0, _us(a.end) if a.end else now_us()

    async def compare() -> reconcile.Report:
        async with await AsyncConnection.connect(_database(), autocommit=True) as conn:
            return await reconcile.reconcile(conn, number, reconcile.read(text), begin_us, end_us)

    report = asyncio.run(compare())
    say(f"两边一致 in both: {report.both}")
    for title, names in (
        ("对方缺少 delivered, says we, and missing there", report.missing_there),
        ("我方未确认 there, and not confirmed here", report.unconfirmed_here),
        ("我方没有 there, and unknown here", report.unknown_here),
    ):
        say(f"{title}: {len(names)}" + "".join(f"\n  {name}" for name in names))
    return 0 if not (report.missing_there or report.unknown_here) else 1


async def _fetch(url: str) -> str:
    from api.errors import BadRequest
    from api.outgoing import Caller, parse_allow_list

    caller = Caller(parse_allow_list(settings.load().outgoing))
    reply = await caller.get(url, {"accept": "application/json, text/csv"}, max_bytes=64 * 1024 * 1024)
    if reply.status != 200:
        raise BadRequest(f"{url} answered HTTP {reply.status}; give a file, or an address that answers with the list")
    return reply.body.decode("utf-8-sig")


def _rotate(a: Arguments, say: Say) -> int:
    from api.endpoints import rotate
    from api.signing import generate_secret

    with _connect() as conn:
        if a.finish:
            rotate(conn, a.name, "")
            say(f"旧密钥已停用 the old secret of {a.name} is no longer used")
            return 0
        new = os.environ.get("SMARTCARE_PLATFORM_SECRET") or generate_secret()
        rotate(conn, a.name, new)
    say(f"新旧密钥同时有效 both secrets are used now; the new one:\n{new}")
    say(f"对方换好之后 when the receiver has it: smartcare endpoint rotate {a.name} --finish")
    return 0


def _text(file: Path | None) -> str:
    return file.read_text("utf-8") if file else ""


def _day(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=BEIJING)


def _us(at: datetime) -> int:
    return int(at.timestamp()) * 1_000_000


def _database() -> str:
    found = settings.load()
    if not found.database_url:
        raise SystemExit("smartcare: DATABASE_URL 未设置 — set DATABASE_URL, or run `smartcare up` first")
    return found.database_url


def _connect() -> Any:
    import psycopg

    return psycopg.connect(_database(), autocommit=True)
