"""A process of its own that replays one shard's log for a preview: `python -m api.preview_job`, a request on standard input.

One decision: the replay is plain computing for seconds or minutes; in a thread it would make every page wait, in a process it
can be slowed down and ended.
"""

import os
import sys
from dataclasses import asdict
from typing import Any

import msgspec
import psycopg

from analytics.replay import Raised, Replay, RuleSet
from analytics.rules import KINDS

STEP = 0.01


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """Which rules of which site to try, and on what. settings: rule → setting → value, beside those of the register."""

    database_url: str
    shard: int
    last: int
    site: int
    code: str
    settings: dict[str, dict[str, float]]
    from_us: int
    to_us: int


def main() -> None:
    """Print {"share": 0…1} while it goes on, at last {"before": […], "after": […]}, a JSON value a line."""
    os.nice(10)
    asked = msgspec.json.decode(sys.stdin.buffer.read(), type=Request)
    replay = Replay([RuleSet(), RuleSet(sites={asked.code: asked.settings})])
    with psycopg.connect(asked.database_url, autocommit=True) as conn:
        conn.execute("SET default_transaction_read_only = on")
        began, said = 0, 0.0
        for pos in replay.run(conn, asked.shard, asked.last):
            began = began or pos
            share = (pos - began) / max(asked.last - began, 1)
            if share >= said + STEP:
                said = share
                _say({"share": round(min(share, 1.0), 2)})
    before, after = ([_plain(r) for r in replay.raised(n, asked.from_us, asked.to_us) if _counts(r, asked)] for n in (0, 1))
    _say({"before": before, "after": after})


def _counts(r: Raised, asked: Request) -> bool:
    return r.site == asked.site and r.rule in KINDS and not r.retracted


def _plain(r: Raised) -> dict[str, Any]:
    return asdict(r)


def _say(what: dict[str, Any]) -> None:
    sys.stdout.write(msgspec.json.encode(what).decode() + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
