"""Commands that keep a store for years: `maintain`, `erase`, `backup` and `restore`.

One decision: as in `cli`, a command imports what it needs when it runs.
"""

import argparse
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Arguments = argparse.Namespace
Connect = Callable[[], Any]
Database = Callable[[], str]
Days = Callable[[], Mapping[str, int]]
Say = Callable[[str], None]


def declare(commands: Any, connect: Connect, say: Say, days: Days, database: Database) -> None:
    """Add the commands. days: what is kept for other times than by default; database: its address."""
    maintain = commands.add_parser("maintain", help="维护 delete what is old, compress what is closed; workers do it nightly")
    maintain.add_argument("--dry-run", action="store_true", help="只看不做 say what would be done and do nothing")
    maintain.set_defaults(run=lambda a: _maintain(a, connect, say, days))

    erase = commands.add_parser("erase", help="删除个人 erase a person: passages become anonymous, counts stay")
    erase.add_argument("token", help="the person's token in the register (32 hexadecimal digits)")
    erase.set_defaults(run=lambda a: _erase(a, connect, say))

    backup = commands.add_parser("backup", help="备份 the whole database into one file, while everything runs")
    backup.add_argument("file", type=Path, help="a new file, or a folder in which one named for the time is made")
    backup.set_defaults(run=lambda a: _backup(a, database, say))

    restore = commands.add_parser("restore", help="恢复 a backup into an empty database; gateways then send again what it lacks")
    restore.add_argument("file", type=Path)
    restore.add_argument("--replace", action="store_true", help="throw away what is in the database")
    restore.set_defaults(run=lambda a: _restore(a, database, say))


def _maintain(a: Arguments, connect: Connect, say: Say, days: Days) -> int:
    from rich.console import Console

    from smartcare import maintenance

    with connect() as conn, Console(stderr=True).status("…") as status:
        text = maintenance.run(conn, days(), status.update, dry_run=a.dry_run)
    say(text)
    return 0


def _erase(a: Arguments, connect: Connect, say: Say) -> int:
    from smartcare import maintenance

    with connect() as conn:
        say(f"已删除 erased; 匿名通行记录 passages that became anonymous: {maintenance.erase(conn, a.token)}")
    return 0


def _backup(a: Arguments, database: Database, say: Say) -> int:
    from rich.console import Console

    from gateway.clock import now_us
    from smartcare import backup

    at = datetime.fromtimestamp(now_us() // 1_000_000, UTC)
    file = a.file / f"smartcare-{at:%Y%m%dT%H%M%SZ}.dump" if a.file.is_dir() else a.file
    with Console(stderr=True).status("…") as status:
        size = backup.backup(database(), file, status.update)
    say(f"已备份 backed up: {file} ({size / 1e6:,.1f} MB)")
    return 0


def _restore(a: Arguments, database: Database, say: Say) -> int:
    from rich.console import Console

    from smartcare import backup

    with Console(stderr=True).status("…") as status:
        backup.restore(database(), a.file, status.update, replace=a.replace)
    say("已恢复，可以启动 restored: start the workers; gateways send again what the backup lacks")
    return 0
