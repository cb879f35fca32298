"""Runs every benchmark and writes build/bench.json: one flat object, "<subject>.<figure>" → number.

One decision: a figure that is compared is a ratio of two things measured in turn in the same run, because seconds from
another machine, or another minute, compare with nothing.
"""

import json
from pathlib import Path

from benchmarks import ingest_copy

RESULT = Path("build/bench.json")


def main() -> None:
    """Measure, print, write."""
    figures: dict[str, float] = {}
    for benchmark in (ingest_copy,):
        figures |= benchmark.measure()
    for name, value in figures.items():
        print(f"{name:32} {value:>14,.3f}")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"-> {RESULT}")


if __name__ == "__main__":
    main()
