"""Runs benchmarks and writes build/bench.json: one flat object, "<subject>.<figure>" → number.

One decision: a figure that is compared is a ratio of two things measured in turn in the same run, because seconds from
another machine, or another minute, compare with nothing.

    python -m benchmarks.run                     everything
    python -m benchmarks.run analyzer store      these parts; the others keep their figures
    python -m benchmarks.run --smoke [PART …]    as little as there is, to see that it works; no figure is kept
    python -m benchmarks.run --long store        a hundred million rows, where a part has such a size
"""

import argparse
import json
import os
import shlex
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import (
    analyzer,
    failover,
    gateway_path,
    growth,
    ingest_path,
    latency,
    mq_bridge,
    pages,
    province_run,
    recovery,
    store,
    sustained,
)
from tests.timescale import server as timescale

RESULT = Path("build/bench.json")
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Part:
    """What is measured, and how much of it; long: where there is more than the usual to be had."""

    measure: Callable[[Any, Say], dict[str, float]]
    smoke: object
    full: object
    long: object = None


PARTS = {
    "analyzer": Part(analyzer.measure, analyzer.SMOKE, analyzer.FULL),
    "ingest": Part(ingest_path.measure, ingest_path.SMOKE, ingest_path.FULL),
    "sustained": Part(sustained.measure, sustained.SMOKE, sustained.FULL),
    "mq-bridge": Part(mq_bridge.measure, mq_bridge.SMOKE, mq_bridge.FULL),
    "gateway": Part(gateway_path.measure, gateway_path.SMOKE, gateway_path.FULL),
    "latency": Part(latency.measure, latency.SMOKE, latency.FULL),
    "recovery": Part(recovery.measure, 1, 5),
    "failover": Part(failover.measure, 1, 5),
    "pages": Part(pages.measure, pages.SMOKE, pages.FULL),
    "store": Part(store.measure, store.SMOKE, store.FULL, store.LONG),
    "growth": Part(growth.measure, growth.SMOKE, growth.FULL),
    "province": Part(province_run.measure, province_run.SMOKE, province_run.FULL),
}


def main() -> int:
    """Measure, print, write after each part. Returns 2 where a part needs what is not installed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description="Measure, print, write build/bench.json.")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--smoke", action="store_true", help="as little as there is; the figures say nothing and are not kept")
    size.add_argument("--long", action="store_true", help="as much as there is to be had, where a part has more than the usual")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; default all")
    args = parser.parse_args()
    if unknown := set(args.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that everything is stopped then too
    print(f"$ {shlex.join(['python', '-m', 'benchmarks.run', *sys.argv[1:]])}    # {os.cpu_count()} cores", flush=True)
    missing = 0
    for name in args.parts or PARTS:
        part, began = PARTS[name], time.perf_counter()
        try:
            figures = part.measure(part.smoke if args.smoke else (args.long and part.long) or part.full, say)
        except (mq_bridge.NotInstalled, timescale.NotInstalled) as e:
            print(f"{name}: {e}", file=sys.stderr)
            missing = 2
            continue
        for key, value in figures.items():
            print(f"{key:40} {value:>14,.3f}")
        say(f"{name}: {time.perf_counter() - began:.0f} s, load of the machine {os.getloadavg()[0]:.1f}")
        if not args.smoke:
            keep(figures)
    return missing


def keep(figures: Mapping[str, float]) -> None:
    """Put figures into the file; those of other parts stay."""
    old = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(old | dict(figures), indent=1) + "\n")


def say(text: str) -> None:
    """Show how far it is."""
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
