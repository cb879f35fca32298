"""Measures the rules on real data; writes build/quality.json and docs/quality.md.

python -m benchmarks.quality                     every part, data from $SMARTCARE_DATA
python -m benchmarks.quality dodgers homes       these parts; the others keep their figures
python -m benchmarks.quality --data DIR dodgers  data from DIR
"""

import argparse
import os
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import cast

from benchmarks.quality.report import PAGE, RESULT, MissingData, Part, merge, prefix, write_page

PARTS = ("dodgers", "auckland", "footfall", "homes", "absence", "town")
"""Modules of this package, in the order of the page."""


def main() -> int:
    """Measure, print, write. Returns 2 where data is missing."""
    known = {name: cast(Part, import_module(f"benchmarks.quality.{name}")) for name in PARTS if _written(name)}
    parser = argparse.ArgumentParser(prog="python -m benchmarks.quality", description="Measure the rules on real data.")
    parser.add_argument("--data", default=os.environ.get("SMARTCARE_DATA"), help="directory of the data sets [$SMARTCARE_DATA]")
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(known)}; default all")
    args = parser.parse_args()
    unknown = set(args.parts) - set(known)
    if unknown:
        parser.error(f"no such part: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    if not args.data or not Path(args.data).is_dir():
        given = f"there is no directory {args.data}" if args.data else "no data directory was named"
        print(f"{given}: set SMARTCARE_DATA, or give --data, to the directory with dodgers/, auckland/, …", file=sys.stderr)
        return 2
    figures: dict[str, float] = {}
    missing = 0
    for name in args.parts or known:
        begin = time.perf_counter()
        try:
            measured = known[name].measure(Path(args.data), lambda text: print(text, flush=True))
        except MissingData as e:
            print(f"{name}: {e}", file=sys.stderr)
            missing += 1
            continue
        figures = merge(measured, prefix(name, known[name]))
        for key, value in measured.items():
            print(f"{key:48} {value:>12,.3f}")
        print(f"{name}: {time.perf_counter() - begin:.0f} s", flush=True)
    if figures:
        write_page(known, figures)
        print(f"-> {RESULT}, {PAGE}")
    return 2 if missing else 0


def _written(name: str) -> bool:
    return (Path(__file__).parent / f"{name}.py").exists()


if __name__ == "__main__":
    sys.exit(main())
