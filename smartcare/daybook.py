"""Commands about days and sites that are not as usual: the holiday calendar, closures, visits and drills.

One decision: as in `cli`, a command imports what it needs when it runs.
"""

import argparse
import getpass
from collections.abc import Callable
from datetime import date
from typing import Any

Arguments = argparse.Namespace
Connect = Callable[[], Any]
Say = Callable[[str], None]


def declare(commands: Any, connect: Connect, say: Say) -> None:
    """Add `calendar`, `close` and `mode` to the command line."""
    calendar = commands.add_parser("calendar", help="节假日与调休 public holidays and worked weekend days")
    calendar = calendar.add_subparsers(required=True, metavar="ACTION")
    listed = calendar.add_parser("list", help="days of a year that are not as their weekday, and who says so")
    listed.add_argument("--year", type=int, default=date.today().year)  # noqa: DTZ011 - a year, for a person
    listed.add_argument("--country", default="CN", help="ISO 3166 code (default CN)")
    listed.set_defaults(run=lambda a: _list(a, connect, say))
    put = calendar.add_parser("set", help="say what a day is, in place of the public calendar")
    put.add_argument("date", type=date.fromisoformat, help="YYYY-MM-DD")
    put.add_argument("kind", choices=["holiday", "workday", "normal"], help="workday: a weekend day that is worked (调休)")
    put.add_argument("--name", default="")
    put.set_defaults(run=lambda a: _set(a, connect, say))

    close = commands.add_parser("close", help="停业 a site is closed for a time")
    close.set_defaults(mode="closed")
    mode = commands.add_parser("mode", help="参观或演练 a visit raises no alarm about people; a drill is said to be one")
    for command in (close, mode):
        command.add_argument("site", help="code of the site")
        if command is mode:
            command.add_argument("mode", choices=["visit", "drill"])
        command.add_argument("--from", dest="begin", required=True, help="YYYY-MM-DD or YYYY-MM-DDTHH:MM, in the site's zone")
        command.add_argument("--to", dest="end", required=True, help="the same; a date counts to its end")
        command.add_argument("--reason", required=True)
        command.add_argument("--cancel", action="store_true", help="take back what was entered for exactly this time")
        command.set_defaults(run=lambda a: _enter(a, connect, say))


def _list(a: Arguments, connect: Connect, say: Say) -> int:
    from ingest import daybook

    with connect() as conn:
        for day in daybook.listed(conn, a.country, a.year):
            say(f"{day.date}  {day.kind:8}{day.name}  [{day.source}]")
    return 0


def _set(a: Arguments, connect: Connect, say: Say) -> int:
    from gateway.clock import now_us
    from ingest import daybook

    with connect() as conn:
        daybook.set_day(conn, a.date, a.kind, getpass.getuser(), now_us(), name=a.name)
    say(f"已登记 set {a.date}: {a.kind}")
    return 0


def _enter(a: Arguments, connect: Connect, say: Say) -> int:
    from gateway.clock import now_us
    from ingest import daybook

    with connect() as conn:
        from_us, to_us = daybook.span(conn, a.site, a.begin, a.end)
        entry = daybook.Entry(
            site=a.site, from_us=from_us, to_us=to_us, mode=a.mode, reason=a.reason, author=getpass.getuser(), cancelled=a.cancel
        )
        daybook.enter(conn, entry, now_us())
    say(f"{'已取消 cancelled' if a.cancel else '已登记 entered'} {a.site}: {a.mode} {a.begin} – {a.end}")
    return 0
