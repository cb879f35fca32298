"""Commands that keep a store for years: `maintain`, `erase`, `backup` and `restore`.

One decision: as in `cli`, a command imports what it needs when it runs.
"""

import argparse
from collections.abc import Callable, Mapping
from typing import Any

Arguments = argparse.Namespace
Connect = Callable[[], Any]
Days = Callable[[], Mapping[str, int]]
Say = Callable[[str], None]


def declare(commands: Any, connect: Connect, say: Say, days: Days) -> None:
    """Add the commands. days: what is kept for other times than by default."""
    maintain = commands.add_parser("maintain", help="维护 delete what is old, compress what is closed; workers do it nightly")
    maintain.add_argument("--dry-run", action="store_true", help="只看不做 say what would be done and do nothing")
    maintain.set_defaults(run=lambda a: _maintain(a, connect, say, days))

    erase = commands.add_parser("erase", help="删除个人 erase a person: passages become anonymous, counts stay")
    erase.add_argument("token", help="the person's token in the register (32 hexadecimal digits)")
    erase.set_defaults(run=lambda a: _erase(a, connect, say))


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
