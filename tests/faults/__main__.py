"""`make faults`: break the running system in every way we know, judge by ledgers, write build/faults.json.

python -m tests.faults [--smoke | --long] [--seed N] [--only PHASE …] [--out FILE]
"""

import argparse
import json
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from tests.faults import breakages, herd, kills, load, poison
from tests.faults.campaign import Campaign, judge, settle
from tests.faults.stage import Stage, register

PHASES: dict[str, Callable[[Campaign], None]] = {
    "kills": kills.kill_at_random,
    "crash-points": kills.crash_everywhere,
    "links": breakages.break_links,
    "unknown-commit": breakages.commit_with_unknown_outcome,
    "database-away": breakages.database_away,
    "stopped": breakages.standing_still,
    "emptied": breakages.broker_emptied,
    "mosquitto": breakages.mosquitto_at_its_limits,
    "disks": breakages.disks_full,
    "herd": herd.herd_comes_back,
    "poison": poison.poison,
}


WATCHED = (100, 500, 2500)
"""Doors that open once each, by size of the campaign: enough for its time."""
HERD = (10, 100, 400)
"""Gateways that come back after hours."""


def main() -> int:
    """Run as told. Returns 0 if nothing was lost, doubled or disordered."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--smoke", action="store_const", dest="size", const=0, help="about a minute")
    size.add_argument("--long", action="store_const", dest="size", const=2, help="200 kills")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same order of faults (default: by the clock)")
    parser.add_argument("--only", nargs="+", choices=[*PHASES], help="these phases only")
    parser.add_argument("--out", type=Path, default=Path("build/faults.json"))
    a = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is stopped then too
    return run(1 if a.size is None else a.size, a.seed or time.time_ns() % 1_000_000 + 1, a.only or [*PHASES], a.out)  # noqa: TID251


def run(size: int, seed: int, names: list[str], out: Path) -> int:
    """Run the phases over one stage, then judge."""
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="smartcare-faults-"))
    folder.chmod(0o755)

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True)  # noqa: T201 - progress

    say(f"SEED={seed}, in {folder}")
    watched = WATCHED[size]
    knobs: dict[str, Any] = {"seed": seed, "watched_doors": watched, "herd": HERD[size]}
    site_of = {load.door(n): f"watched-{n}" for n in range(watched)}
    good = False
    try:
        with Stage(folder, "nats", register(watched, HERD[size]), **knobs) as stage:
            stage.add_hostile()
            stage.start_devices()
            c = Campaign(stage=stage, rng=Random(seed), size=size, say=say, site_of=site_of)
            stage.flows("the start")
            for name in names:
                PHASES[name](c)
            with c.phase("settling"):
                wanted = settle(c)
            wrong = judge(c, wanted)
            good = not wrong
        _report(c, out, {"seed": seed, "seconds": round(time.monotonic() - began), "wrong": wrong}, say)
    finally:
        if good:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            say(f"logs and ledgers: {folder}")
    return 0 if good else 1


def _report(c: Campaign, out: Path, more: dict[str, object], say: Callable[[str], None]) -> None:
    figures = {f"faults.{key}": value for key, value in (c.figures | more).items()} | {"faults.skipped": c.skipped}
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n")
    for key, value in figures.items():
        say(f"{key} = {value}")


if __name__ == "__main__":
    sys.exit(main())
