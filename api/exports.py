"""Files of reports: XLSX, CSV and JSON, each with its manifest, and reading them back.

One decision: what is hashed is the text of each table's cells, so that a file may be opened and saved by an office program and
is still the same as long as no cell says something else.
"""

import csv
import hashlib
import io
import json
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from openpyxl import Workbook, load_workbook
from openpyxl.cell import WriteOnlyCell
from openpyxl.styles import Alignment, Font
from openpyxl.utils import get_column_letter
from openpyxl.utils.exceptions import InvalidFileException

from api.errors import BadRequest
from api.report_tables import Cell, Table

FORMAT = "smartcare-report/1"
MARK = "#manifest"
MEDIA = {
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
}
MAX_FILE = 64 * 2**20
WIDE = 44
"""Widest column of a sheet, in characters."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What a file holds: rows of text by the name of the table, header first, and the signed manifest."""

    tables: dict[str, list[list[str]]]
    envelope: dict[str, Any]


def plain(cell: Cell | object) -> str:
    """Return a cell's text, whatever program wrote it."""
    if cell is None:
        return ""
    return f"{cell:.10g}" if isinstance(cell, float) else str(cell)


def rows_of(table: Table) -> list[list[str]]:
    """Return a table as text, header first."""
    return [list(table.columns), *([plain(c) for c in row] for row in table.rows)]


def digest(rows: Sequence[Sequence[str]]) -> str:
    """Return the hash of rows of text; empty cells at a row's end do not count, for programs drop them."""
    kept = [list(row[: max((n + 1 for n, c in enumerate(row) if c), default=0)]) for row in rows]
    return hashlib.sha256(msgspec.json.encode(kept)).hexdigest()


def manifest(tables: Sequence[Table], facts: dict[str, Any]) -> dict[str, Any]:
    """Return a manifest: facts (what, when, by whom) and the hash of each table."""
    listed = [{"name": t.name, "title": t.title, "rows": len(t.rows), "sha256": digest(rows_of(t))} for t in tables]
    return {"format": FORMAT} | facts | {"tables": listed}


def encode(tables: Sequence[Table], envelope: dict[str, Any], form: str) -> bytes:
    """Write a file. form: a key of MEDIA; csv takes one table."""
    if form == "xlsx":
        return _xlsx(tables, envelope)
    if form == "csv":
        return _csv(tables[0], envelope)
    shown = [{"name": t.name, "title": t.title, "keys": t.keys, "columns": t.columns, "rows": t.rows} for t in tables]
    return msgspec.json.encode({"tables": shown} | envelope)


def decode(body: bytes) -> Read:
    """Read a file of ours. Raises BadRequest for anything else, with what is missing."""
    if len(body) > MAX_FILE:
        raise BadRequest(f"a report has at most {MAX_FILE // 2**20} MB")
    try:
        if body.startswith(b"PK"):
            return _read_xlsx(body)
        return _read_json(body) if body.lstrip().startswith(b"{") else _read_csv(body)
    except (InvalidFileException, zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError, csv.Error) as e:
        raise BadRequest(f"this is no report of ours, or its manifest is gone ({e}); expected XLSX, CSV or JSON") from None


def _xlsx(tables: Sequence[Table], envelope: dict[str, Any]) -> bytes:
    book = Workbook(write_only=True)
    for table in tables:
        sheet = book.create_sheet(table.title)
        sheet.freeze_panes = "A2"
        for n, column in enumerate(table.columns):
            widest = max([len(column) * 2, *(len(plain(row[n])) * 2 for row in table.rows[:50])])
            sheet.column_dimensions[get_column_letter(n + 1)].width = min(WIDE, max(8, widest))
        heads = [WriteOnlyCell(sheet, value=column) for column in table.columns]
        for head in heads:
            head.font, head.alignment = Font(bold=True), Alignment(wrap_text=True, vertical="top")
        sheet.append(heads)
        for row in table.rows:
            sheet.append(list(row))
    sheet = book.create_sheet(MARK)
    sheet.append([json.dumps(envelope, ensure_ascii=False)])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def _read_xlsx(body: bytes) -> Read:
    book = load_workbook(io.BytesIO(body), read_only=True)
    try:
        envelope = json.loads(str(next(book[MARK].iter_rows(values_only=True))[0]))
        found = {}
        for listed in envelope["manifest"]["tables"]:
            if listed["title"] in book.sheetnames:
                found[listed["name"]] = [[plain(c) for c in row] for row in book[listed["title"]].iter_rows(values_only=True)]
    finally:
        book.close()
    return Read(tables=found, envelope=envelope)


def _csv(table: Table, envelope: dict[str, Any]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerows(rows_of(table))
    writer.writerow([MARK, json.dumps(envelope, ensure_ascii=False)])
    return "\ufeff".encode() + out.getvalue().encode()


def _read_csv(body: bytes) -> Read:
    rows = [row for row in csv.reader(io.StringIO(body.decode("utf-8-sig"), newline="")) if row]
    mark = next(row for row in rows if row[0] == MARK) if any(row[0] == MARK for row in rows) else None
    if mark is None:
        raise ValueError("there is no manifest")
    envelope = json.loads(mark[1])
    return Read(tables={envelope["manifest"]["tables"][0]["name"]: [r for r in rows if r[0] != MARK]}, envelope=envelope)


def _read_json(body: bytes) -> Read:
    found = json.loads(body)
    tables = {t["name"]: [list(t["columns"]), *([plain(c) for c in row] for row in t["rows"])] for t in found.pop("tables", [])}
    return Read(tables=tables, envelope=found)
