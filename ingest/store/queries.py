"""Loads named queries from a stage's `queries.sql`, so that SQL lives in SQL files.

-- name: due_deliveries
-- What it does, in a sentence.
SELECT …
"""

import re
from importlib import resources
from typing import LiteralString, cast

NAME = re.compile(r"^-- name: (\w+)$", re.M)


class Queries:
    """The queries of one file; `queries["due_deliveries"]` is its text."""

    def __init__(self, package: str, file: str = "queries.sql") -> None:
        parts = NAME.split((resources.files(package) / file).read_text())
        self._texts = {parts[i]: parts[i + 1].strip() for i in range(1, len(parts), 2)}

    def __getitem__(self, name: str) -> LiteralString:
        """Return the text; a missing name is a programming error and raises KeyError."""
        return cast(LiteralString, self._texts[name])
