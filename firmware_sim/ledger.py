"""The truth about what was observed: one JSON line each, on disk before the message leaves.

One decision: the oracle of a test must not be the system under test; a line says what the device meant.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self


class Ledger:
    """An append-only file of observations."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab")

    def append(self, observations: Iterable[Mapping[str, object]]) -> None:
        """Write the lines and wait until they are on disk."""
        lines = [json.dumps(one, ensure_ascii=False, sort_keys=True).encode() + b"\n" for one in observations]
        if lines:
            self._file.write(b"".join(lines))
            self._file.flush()
            os.fsync(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
