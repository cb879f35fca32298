"""Rows written by numpy are the rows that PostgreSQL reads."""

from typing import Any

import numpy as np
import psycopg
import pytest

from gateway.clock import now_us
from ingest.store.copying import EVENT, FRAME, PASSAGE, CopyTable


@pytest.mark.parametrize("table", [EVENT, PASSAGE, FRAME], ids=["event", "passage", "frame"])
def test_every_column_comes_back_with_its_extremes(dsn: str, table: CopyTable) -> None:
    limits = {kind: np.iinfo(np.dtype(kind).newbyteorder("=")) for kind in (">i2", ">i4", ">i8")}
    values: dict[str, Any] = {
        name: np.array([limits[kind].min, -2 - n, n, limits[kind].max]) for n, (name, kind) in enumerate(table.columns.items())
    }
    values["pos"] = now_us() + np.arange(4)
    with psycopg.connect(dsn) as conn:
        table.write(conn, values, 4)
        name = {id(EVENT): "event", id(PASSAGE): "passage", id(FRAME): "frame"}[id(table)]
        rows = conn.execute(f"SELECT {', '.join(table.columns)} FROM {name} ORDER BY pos").fetchall()
    assert rows == list(zip(*(values[name].tolist() for name in table.columns), strict=True))


def test_golden_bytes() -> None:
    table = CopyTable("t", {"a": ">i2", "b": ">i8"})
    header = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
    row = bytes.fromhex("0002 00000002 fffe 00000008 000000000000002a")
    assert table.encode({"a": [-2], "b": 42}, 1) == header + row + b"\xff\xff"
