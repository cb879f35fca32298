"""Figures, plots and the page docs/quality.md.

One decision: a part measures once and leaves numbers (build/quality.json) and plots (docs/images/quality-*.png); the page is
written from these alone, so that one part can be measured again without the others.
"""

import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

RESULT = Path("build/quality.json")
PAGE = Path("docs/quality.md")
IMAGES = Path("docs/images")
Say = Callable[[str], None]
"""Prints one line of progress."""


class Part(Protocol):
    """A module of this package that measures something. `docs/quality.md` shows the parts in the order of `__main__.PARTS`."""

    def measure(self, data: Path, say: Say) -> dict[str, float]:
        """Return figures by full name ("quality.dodgers.found"); writes its plots with `plot`.

        `data` is the directory of all data sets. Raises MissingData where its own are not there.
        """

    def section(self, figures: Mapping[str, float]) -> str:
        """Return the part's Markdown, starting with "## ", from its own figures (earlier runs may lack some)."""


class MissingData(Exception):
    """A data set is not there."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path} is not there: {what}; put it there or name another directory with SMARTCARE_DATA")
        self.path = path


def need(path: Path, what: str) -> Path:
    """Return `path`. Raises MissingData where nothing is there."""
    if not path.exists():
        raise MissingData(path, what)
    return path


def plot(name: str, height: float = 2.6) -> AbstractContextManager[Any]:
    """Give matplotlib axes to draw on; written to docs/images/quality-NAME.png, small enough for a page."""
    return _Plot(name, height)


class _Plot:
    def __init__(self, name: str, height: float) -> None:
        self.name, self.height = name, height

    def __enter__(self) -> Any:
        pyplot = _pyplot()
        style = {"font.size": 8, "axes.spines.top": False, "axes.spines.right": False, "legend.frameon": False}
        pyplot.rcParams.update(style)
        self.figure, axes = pyplot.subplots(figsize=(7.2, self.height), layout="constrained")
        return axes

    def __exit__(self, failed: type[BaseException] | None, *_: object) -> None:
        if failed is None:
            IMAGES.mkdir(parents=True, exist_ok=True)
            self.figure.savefig(IMAGES / f"quality-{self.name}.png", dpi=110, metadata={"Software": None})
        _pyplot().close(self.figure)


def _pyplot() -> Any:
    """Import matplotlib where something is drawn: the extra `quality` has it, and nothing else needs it."""
    import_module("matplotlib").use("Agg")
    return import_module("matplotlib.pyplot")


def table(head: tuple[str, ...], rows: list[tuple[str | float, ...]]) -> str:
    """Return a Markdown table; numbers with three significant digits."""
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    lines += ["| " + " | ".join(number(x) for x in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


def number(value: str | float) -> str:
    """Write a figure as the page shows it: text as it is, whole numbers whole, others with three significant digits."""
    if isinstance(value, str):
        return value
    if value != value:
        return "–"
    return f"{value:.0f}" if value == int(value) or abs(value) >= 1000 else f"{value:.3g}"


def merge(figures: Mapping[str, float], prefix: str) -> dict[str, float]:
    """Replace the figures that begin with `prefix` in build/quality.json; returns all that is there now."""
    known: dict[str, float] = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    known = {k: v for k, v in known.items() if not k.startswith(prefix)} | {k: float(v) for k, v in figures.items()}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n")
    return known


def prefix(name: str, part: Part) -> str:
    """Return what the names of a part's figures begin with: its own PREFIX, else "quality.NAME."."""
    return str(getattr(part, "PREFIX", f"quality.{name}."))


INTRO = """# Quality

How well the rules find what happened, on public data that nobody here made. `make quality SMARTCARE_DATA=…` feeds each data set
through `analytics.engine.Engine.apply`, the way live traffic goes, with the thresholds of `analytics/rules.py` for all of them;
no threshold was fitted to the labels of any. The figures below are those of `build/quality.json`.

"""


def write_page(parts: Mapping[str, Part], figures: Mapping[str, float]) -> None:
    """Write docs/quality.md from the figures of those parts that have any."""
    sections = []
    for name, part in parts.items():
        mine = {k: v for k, v in figures.items() if k.startswith(prefix(name, part))}
        if mine:
            sections.append(part.section(mine).rstrip() + "\n")
    PAGE.write_text(INTRO + "\n".join(sections))
