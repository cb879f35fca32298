"""Runs every benchmark and writes build/bench.json: one flat object, "<subject>.<figure>" → number.

One decision: a figure that is compared is a ratio of two things measured in turn in the same run, because seconds from
another machine, or another minute, compare with nothing.

    python -m benchmarks.run            everything
    python -m benchmarks.run --smoke    a few seconds, to see that it still works; its figures say nothing
"""

import argparse
import json
import os
import shlex
import sys
from pathlib import Path

from benchmarks import analyzer, failover, gateway_path, ingest_path, latency, pages, recovery

RESULT = Path("build/bench.json")


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description="Measure, print, write build/bench.json.")
    parser.add_argument("--smoke", action="store_true", help="a few seconds; the figures say nothing")
    smoke = parser.parse_args().smoke
    figures = analyzer.measure(analyzer.SMOKE if smoke else analyzer.FULL, say)
    figures |= ingest_path.measure(ingest_path.SMOKE if smoke else ingest_path.FULL, say)
    figures |= gateway_path.measure(gateway_path.SMOKE if smoke else gateway_path.FULL, say)
    figures |= latency.measure(latency.SMOKE if smoke else latency.FULL, say)
    figures |= recovery.measure(1 if smoke else 5, say)
    figures |= failover.measure(1 if smoke else 5, say)
    figures |= pages.measure(pages.SMOKE if smoke else pages.FULL, say)
    print(f"\n$ {shlex.join(['python', '-m', 'benchmarks.run', *sys.argv[1:]])}    # {os.cpu_count()} cores")
    for name, value in figures.items():
        print(f"{name:32} {value:>14,.3f}")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"-> {RESULT}")


def say(text: str) -> None:
    """Show how far it is."""
    print(text, flush=True)


if __name__ == "__main__":
    main()
