"""`smartcare link`, `account`, `token` and `audit`: who may sign in, and what was changed by whom."""

import argparse
import sys
from collections.abc import Callable
from getpass import getpass
from typing import Any

from smartcare.settings import Settings

Arguments = argparse.Namespace
Load = Callable[[], Settings]
Say = Callable[[str], None]


def declare(commands: Any, load: Load, say: Say) -> None:
    """Declare `link`, `account`, `token` and `audit`."""

    def sub(parent: Any, name: str, run: Callable[[Arguments, Settings, Say], int], about: str) -> Any:
        made = parent.add_parser(name, help=about)
        made.set_defaults(run=lambda a: run(a, load(), say))
        return made

    sub(commands, "link", _link, "登录链接 a single-use sign-in link, ten minutes").add_argument("--account", default="admin")
    account = commands.add_parser("account", help="账号 accounts").add_subparsers(required=True, metavar="ACTION")
    new = sub(account, "add", _add, "add an account")
    new.add_argument("name")
    new.add_argument("--role", required=True, help="city, town, staff, installer, auditor or platform")
    new.add_argument("--area", help="head of region codes: 2, 4, 6, 9 or 12 digits (town, auditor, platform)")
    new.add_argument("--site", action="append", default=[], help="code of a site; repeat for several (staff, installer, …)")
    sub(account, "password", _password, "set a password: typed twice, or one line from standard input").add_argument("name")
    sub(account, "invite", _invite, "a link that lives for three days, once, and asks for a password").add_argument("name")
    for action, about in (("disable", "end its sessions, streams and tokens"), ("enable", "let it sign in again")):
        switched = sub(account, action, _switch, about)
        switched.add_argument("name")
        switched.set_defaults(action=action)
    made = sub(commands, "token", _token, "接口令牌 an API token")
    made.add_argument("name")
    made.add_argument("--account", default="admin")
    made.add_argument("--scope", action="append", choices=["read", "act", "metrics"], help="repeat for several (default read)")
    made.add_argument("--field", action="append", help="name of what may leave in answers; repeat for several (default all)")
    made.add_argument("--days", type=int, default=90)
    log = commands.add_parser("audit", help="审计日志 the audit log").add_subparsers(required=True, metavar="ACTION")
    verify = sub(log, "verify", _verify, "check the chain of hashes; exit 1 and say what is wrong")
    verify.add_argument("--head", default="", help="'number:hash' noted elsewhere, as an earlier run printed it")


def _link(a: Arguments, found: Settings, say: Say) -> int:
    from smartcare import accounts

    say(accounts.link(_database(found), a.account, _public(found)))
    return 0


def _add(a: Arguments, found: Settings, say: Say) -> int:
    from smartcare import accounts

    accounts.add(_database(found), a.name, a.role, area=a.area, sites=a.site)
    say(f"已添加 added {a.name}；邀请链接 invitation: smartcare account invite {a.name}")
    return 0


def _invite(a: Arguments, found: Settings, say: Say) -> int:
    from smartcare import accounts

    say(accounts.invite(_database(found), a.name, _public(found)))
    return 0


def _switch(a: Arguments, found: Settings, say: Say) -> int:
    from smartcare import accounts

    accounts.switch(_database(found), a.name, disabled=a.action == "disable")
    say(f"完成 done: {a.action} {a.name}")
    return 0


def _password(a: Arguments, found: Settings, say: Say) -> int:
    from smartcare import accounts

    if sys.stdin.isatty():
        new = getpass("新密码 new password: ")
        if new != getpass("再输一遍 once more: "):
            say("两次不一样，未更改 the two differ, nothing was changed")
            return 1
    else:
        new = sys.stdin.readline().rstrip("\n")
    accounts.password(_database(found), a.name, new)
    say(f"密码已更改，其他地方已退出 changed, and signed out everywhere: {a.name}")
    return 0


def _token(a: Arguments, found: Settings, say: Say) -> int:
    from smartcare import accounts

    say(accounts.token(_database(found), a.account, a.name, a.scope or ["read"], a.days, a.field))
    return 0


def _verify(a: Arguments, found: Settings, say: Say) -> int:
    from smartcare import accounts

    checked = accounts.verify(_database(found), a.head)
    for fault in checked.faults:
        say(f"审计日志有误 the audit log is wrong: {fault}")
    if not checked.faults:
        say(f"审计日志完整 the audit log is whole: {checked.rows} rows, head {checked.head}")
    return 1 if checked.faults else 0


def _public(found: Settings) -> str:
    return found.public_url or f"http://{found.host}:{found.port}"


def _database(found: Settings) -> str:
    if not found.database_url:
        raise SystemExit("smartcare: DATABASE_URL 未设置 — set DATABASE_URL, or run `smartcare up` first")
    return found.database_url
