"""A teller that is killed before each of its statements in turn, at each of the times given, until it survives.

Run as a program: DSN TIME…; prints how often it died.
"""

import asyncio
import os
import signal
import sys
from typing import Any

from psycopg import AsyncConnection, AsyncCursor

from analytics.telling import tick

LEFT = 0


class Mortal(AsyncCursor[Any]):
    """A cursor whose process dies before one of its statements."""

    async def execute(self, *args: Any, **more: Any) -> Any:
        """Die, or execute."""
        _die()
        return await super().execute(*args, **more)

    async def executemany(self, *args: Any, **more: Any) -> None:
        """Die, or execute."""
        _die()
        await super().executemany(*args, **more)


def _die() -> None:
    global LEFT
    LEFT -= 1
    if LEFT == 0:
        os.kill(os.getpid(), signal.SIGKILL)


async def _once(dsn: str, now_us: int) -> None:
    async with await AsyncConnection.connect(dsn, autocommit=True, cursor_factory=Mortal) as conn:
        await tick(conn, now_us)


def main(dsn: str, times: list[int]) -> int:
    """Return how often it died."""
    global LEFT
    deaths = 0
    for now_us in times:
        step = 0
        while True:
            step += 1
            child = os.fork()
            if child == 0:
                LEFT = step
                asyncio.run(_once(dsn, now_us))
                os._exit(0)
            _, status = os.waitpid(child, 0)
            if not os.WIFSIGNALED(status):
                assert os.WEXITSTATUS(status) == 0, "the teller failed"
                break
            deaths += 1
    return deaths


if __name__ == "__main__":
    print(main(sys.argv[1], [int(t) for t in sys.argv[2:]]))  # noqa: T201
