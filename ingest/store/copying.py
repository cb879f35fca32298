"""Rows for COPY in PostgreSQL's binary format, written by numpy.

One decision: a table's row is one big-endian structured dtype in which every value is preceded by its length, so that
columns are filled as arrays and the whole buffer is one `tobytes()`; no Python runs per row.
"""

from collections.abc import Mapping
from typing import Any, LiteralString

import numpy as np
import psycopg
from numpy.typing import ArrayLike

SIGNATURE = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
END = b"\xff\xff"


class CopyTable:
    """How rows of one table of fixed-width NOT NULL columns are written. columns: name → ">i2", ">i4" or ">i8"."""

    def __init__(self, table: LiteralString, columns: Mapping[str, str]) -> None:
        self.columns = dict(columns)
        self.sql = f"COPY {table} ({', '.join(columns)}) FROM STDIN (FORMAT BINARY)"
        fields: list[tuple[str, str]] = [("fields", ">i2")]
        for name, kind in columns.items():
            fields += [(f"{name} length", ">i4"), (name, kind)]
        self.dtype = np.dtype(fields)

    def encode(self, values: Mapping[str, ArrayLike], count: int) -> bytes:
        """Return the bytes of `count` rows; each value is an array of that length, or one value for all rows."""
        rows = np.empty(count, self.dtype)
        rows["fields"] = len(self.columns)
        for name in self.columns:
            rows[f"{name} length"] = self.dtype[name].itemsize
            rows[name] = values[name]
        return SIGNATURE + rows.tobytes() + END

    def write(self, conn: psycopg.Connection[Any], values: Mapping[str, ArrayLike], count: int) -> None:
        """Append `count` rows; nothing where it is 0."""
        if count:
            with conn.cursor().copy(self.sql) as copy:
                copy.write(self.encode(values, count))


FRAME = CopyTable(
    "frame",
    {
        "pos": ">i8",
        "shard": ">i2",
        "first": ">i4",
        "events": ">i2",
        "gateway": ">i4",
        "stream": ">i8",
        "seq": ">i8",
        "through_us": ">i8",
    },
)
EVENT = CopyTable(
    "event",
    {
        "pos": ">i8",
        "t_us": ">i8",
        "raw_us": ">i8",
        "a": ">i8",
        "b": ">i8",
        "key": ">i8",
        "ordinal": ">i4",
        "device": ">i4",
        "place": ">i4",
        "lag_ms": ">i4",
        "d_in": ">i4",
        "d_out": ">i4",
        "shard": ">i2",
        "kind": ">i2",
        "aux": ">i2",
        "flags": ">i4",
    },
)
PASSAGE = CopyTable(
    "passage",
    {
        "pos": ">i8",
        "t_us": ">i8",
        "raw_us": ">i8",
        "key": ">i8",
        "ordinal": ">i4",
        "device": ">i4",
        "place": ">i4",
        "person": ">i4",
        "lag_ms": ">i4",
        "shard": ">i2",
        "method": ">i2",
        "result": ">i2",
        "list_role": ">i2",
        "flags": ">i4",
    },
)
