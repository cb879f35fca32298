"""Commands of evidence: `report`, `acceptance` and `evidence verify`.

One decision: as in `cli`, a command imports what it needs when it runs.
"""

import argparse
import asyncio
import getpass
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

Arguments = argparse.Namespace
Say = Callable[[str], None]
T = TypeVar("T")


def declare(commands: Any, database: Callable[[], str], country: Callable[[], str], say: Say) -> None:
    """Add the commands. database: its address; country: of the public holidays."""
    report = commands.add_parser("report", help="报表 a site's or region's figures, or a file with its signed manifest")
    about = report.add_mutually_exclusive_group()
    about.add_argument("--site", help="code of a site")
    about.add_argument("--region", default="", help="beginning of region codes: a county, town or village (default: all)")
    report.add_argument("--period", required=True, help="2026-11, 2026-Q4, 2026 or 2026-11-03..2026-11-17 (both days included)")
    report.add_argument("-o", "--output", type=Path, metavar="FILE", help="write .xlsx, .csv or .json instead of a table")
    report.add_argument(
        "--table", default="summary", help="what a CSV holds: summary, sites, bulletin, days … (default: summary)"
    )
    report.add_argument("--lang", choices=["zh", "en"], default="zh")
    report.set_defaults(run=lambda a: _report(a, database(), country(), say))

    accept = commands.add_parser("acceptance", help="验收 judge a site's last days and sign the record")
    accept.add_argument("site", help="code of the site")
    accept.add_argument("--days", type=int, default=7, help="whole days before today (default 7)")
    accept.add_argument("-o", "--output", type=Path, metavar="FILE", required=True, help="where the record goes (JSON)")
    accept.set_defaults(run=lambda a: _accept(a, database(), country(), say))

    verify = commands.add_parser("evidence", help="核验 check what was handed on").add_subparsers(required=True, metavar="ACTION")
    verify = verify.add_parser("verify", help="say whether a file, or what the store says, has changed since it was made")
    verify.add_argument("file", type=Path, help="a report (.xlsx, .csv, .json) or an acceptance record (.json)")
    verify.set_defaults(run=lambda a: _verify(a, database(), country(), say))


def _report(a: Arguments, database: str, country: str, say: Say) -> int:
    from api import evidence, report_period, reports
    from api.errors import BadRequest
    from api.exports import MEDIA
    from api.reports import Scope
    from gateway.clock import now_us

    form = a.output.suffix.removeprefix(".") if a.output else ""
    if a.output and form not in MEDIA:
        raise BadRequest(f"a report is written as .{', .'.join(MEDIA)}, not {a.output.name!r}")
    period, scope = report_period.parse(a.period), Scope(site=a.site, region="" if a.site else a.region)

    async def made(conn: Any) -> tuple[reports.Report, bytes]:
        report = await reports.read(conn, scope, period, now_us(), None, country)
        if not form:
            return report, b""
        key = await evidence.signing_key(conn, now_us())
        return report, evidence.export(key, report, a.lang, getpass.getuser(), form, table=a.table)

    report, body = _within(database, made)
    if a.output:
        a.output.write_bytes(body)
        say(f"已写入 written: {a.output} ({len(report.sites)} 个站点 sites, {len(body) / 1e3:,.0f} kB)")
    else:
        say(_table(report, a.lang))
    return 0


def _table(report: Any, lang: str) -> str:
    import io

    from rich.console import Console
    from rich.table import Table

    from api import report_tables
    from api.exports import plain
    from api.web.i18n import Say as Words

    found = report_tables.summary(report, Words(lang, report.through_us))
    table = Table(title=f"{report.name} · {report.period.text}")
    for n, column in enumerate(found.columns):
        table.add_column(column, justify="left" if n == 0 else "right")
    for row in found.rows:
        table.add_row(*map(plain, row))
    console = Console(file=io.StringIO(), width=110)
    console.print(table)
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return text


def _accept(a: Arguments, database: str, country: str, say: Say) -> int:
    from api import acceptance, evidence
    from gateway.clock import now_us

    async def made(conn: Any) -> acceptance.Signed:
        key = await evidence.signing_key(conn, now_us())
        return await acceptance.make(conn, key, a.site, a.days, getpass.getuser(), now_us(), None, country)

    signed = _within(database, made)
    a.output.write_bytes(acceptance.file(signed))
    say(f"{'通过 passed' if signed.passed else '未通过 not passed'}: {a.site} {signed.record['first']} – {signed.record['last']}")
    for s in signed.record["sensors"]:
        why = f"  ✗ {', '.join(s['failed'])}" if s["failed"] else ""
        say(f"  {s['place']}: {s['days_reported']}/{a.days} 天 days, {s['up_percent']}%{why}")
    return 0


def _verify(a: Arguments, database: str, country: str, say: Say) -> int:
    from api import evidence

    found = _within(database, lambda conn: evidence.verify(conn, a.file.read_bytes(), None, country))
    say(f"{a.file.name}: {found.about}")
    bad = "签名无效：非本库签发或清单被改动 NOT signed by this store, or its manifest was altered"
    say("签名有效 signed by this store" if found.signed else bad)
    say(f"文件被改动 FILE CHANGED: {', '.join(found.file_changed)}" if found.file_changed else "文件未变 file unchanged")
    say(f"库中数字已变 STORE CHANGED: {', '.join(found.store_changed)}" if found.store_changed else "库中未变 store unchanged")
    for line in found.differences:
        say(f"  {line}")
    return 0 if found.holds else 1


def _within(database: str, work: Callable[[Any], Awaitable[T]]) -> T:
    """Run work in one transaction."""
    import psycopg

    async def run() -> T:
        async with await psycopg.AsyncConnection.connect(database) as conn:
            return await work(conn)

    return asyncio.run(run())
