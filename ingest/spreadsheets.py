"""Register tables as offices keep them: XLSX workbooks with a sheet per table, and CSV files; read and written.

One decision: a cell is read as the text a person sees in it, so that a workbook, a CSV file and YAML of the same content give
the same rows; opening hours may stand in columns mon … sun, holiday, workday instead of one JSON cell.
"""

import csv
import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time
from typing import Any

import openpyxl
from openpyxl.cell import Cell, WriteOnlyCell
from openpyxl.utils.exceptions import InvalidFileException

from ingest.declaration import DAYS, SPECIAL, TABLES, RegisterError, RowError

MAX_ROWS = 20_000
"""Most rows of one table."""
MAX_UNPACKED = 64 * 1024 * 1024
"""Most bytes that a workbook may unpack to: it is a ZIP file that a stranger may have made."""
HOURS = (*DAYS, *SPECIAL)
SITE_HEAD = ("code", "name", "name_en", "kind", "parent", "region", "zone", "capacity", *HOURS, "rules")
HEADS: dict[str, tuple[str, ...]] = {
    "regions": ("code", "name", "name_en"),
    "sites": SITE_HEAD,
    "places": ("site", "code", "name", "name_en", "room"),
    "devices": ("gateway", "identity", "class", "name", "place", "alive_every_s", "assessment"),
}
"""Columns of the sheets that are written."""


def read(name: str, data: bytes, tables: Iterable[str] = TABLES) -> dict[str, list[dict[str, Any]]]:
    """Read an uploaded file: `<anything>.xlsx`, or `<table>.csv`. Raises RegisterError where it is neither.

    tables: those that may be in it. Returns table → rows, as `ingest.register.load` takes them.
    """
    known, low = set(tables), name.lower()
    if low.endswith(".xlsx"):
        found = _workbook(data)
    elif low.endswith(".csv"):
        found = {low.rsplit("/", 1)[-1].removesuffix(".csv"): _csv(data)}
    else:
        raise _refused(name, "an .xlsx workbook or a .csv file")
    if unknown := [table for table in found if table not in known]:
        raise _refused(", ".join(unknown), f"sheets or files named {', '.join(sorted(known))}")
    return {table: _rows(table, cells) for table, cells in found.items()}


def write(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> bytes:
    """Return a workbook with these tables; reading it again gives the same rows."""
    book = openpyxl.Workbook(write_only=True)
    for table, rows in tables.items():
        sheet, head = book.create_sheet(table), HEADS[table]
        sheet.append(head)
        for row in rows:
            flat = dict(row) | (hours_fields(row["hours"]) if table == "sites" else {})
            sheet.append([_cell(sheet, flat.get(column)) for column in head])
    out = io.BytesIO()
    book.save(out)
    return out.getvalue()


def hours_fields(hours: Mapping[str, Sequence[Sequence[str]]]) -> dict[str, str]:
    """Return opening hours as one text a day: "08:00-11:30 13:00-17:00", "-" closed; a special day left out is not there."""
    return {day: " ".join(f"{a}-{b}" for a, b in hours[day]) or "-" for day in HOURS if day in hours}


def read_hours(fields: Mapping[str, str]) -> dict[str, list[list[str]]]:
    """Read what `hours_fields` writes; a weekday left empty is closed, a special day left empty is left out."""
    found: dict[str, list[list[str]]] = {}
    for day in HOURS:
        text = str(fields.get(day) or "").strip()
        for mark in "，,、；;":
            text = text.replace(mark, " ")
        if text or day not in SPECIAL:
            windows = [] if text in ("", "-") else [part.split("-") for part in text.replace("–", "-").split()]
            found[day] = windows
    return found


def _rows(table: str, cells: Iterable[Mapping[str, str]]) -> list[dict[str, Any]]:
    rows = []
    for cell in cells:
        row: dict[str, Any] = {k: v for k, v in cell.items() if k not in HOURS or table != "sites"}
        if table == "sites" and "hours" not in row:
            row["hours"] = read_hours(cell)
        rows.append(row)
    return rows


def _csv(data: bytes) -> list[dict[str, str]]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        try:
            text = data.decode("gb18030")  # what spreadsheet programs write on Chinese computers
        except UnicodeDecodeError:
            raise _refused("bytes of neither", "text in UTF-8 or GB18030") from None
    rows = csv.reader(io.StringIO(text, newline=""))
    return _table(([cell or None for cell in row] for row in rows), "csv")


def _workbook(data: bytes) -> dict[str, list[dict[str, str]]]:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            unpacked = sum(part.file_size for part in packed.infolist())
        if unpacked > MAX_UNPACKED:
            raise _refused(f"{unpacked} bytes", f"a workbook that unpacks to at most {MAX_UNPACKED}")
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
    except (zipfile.BadZipFile, InvalidFileException, KeyError, ValueError, OSError) as e:
        raise _refused(str(e), "a workbook as Excel and WPS write it (.xlsx)") from None
    try:
        sheets = {sheet.title.strip().lower(): sheet for sheet in book.worksheets}
        return {title: _table(sheet.iter_rows(values_only=True), title) for title, sheet in sheets.items()}
    finally:
        book.close()


def _table(rows: Iterable[Sequence[Any]], name: str) -> list[dict[str, str]]:
    lines = iter(rows)
    head = [_text(cell) for cell in next(lines, ())]
    found = []
    for number, line in enumerate(lines, 1):
        if number > MAX_ROWS:
            raise _refused(f"more than {MAX_ROWS} rows in {name}", "smaller files")
        cells = {column: _text(cell) for column, cell in zip(head, line, strict=False) if column and _text(cell)}
        if cells:
            found.append(cells)
    return found


def _text(cell: object) -> str:
    """What a person sees in the cell."""
    if cell is None:
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    if isinstance(cell, datetime):
        return cell.isoformat()
    if isinstance(cell, time):
        return cell.strftime("%H:%M")
    return cell.isoformat() if isinstance(cell, date) else str(cell).strip()


def _cell(sheet: Any, value: Any) -> Cell:
    """A cell that is text whatever it begins with: a name is never a formula."""
    if isinstance(value, dict | list):
        value = json.dumps(value, ensure_ascii=False) if value else None
    cell: Cell = WriteOnlyCell(sheet, value)
    if isinstance(value, str):
        cell.data_type = "s"
    return cell


def _refused(came: str, expected: str) -> RegisterError:
    return RegisterError([RowError(table="file", row=1, field="file", came=came[:80], expected=expected)])
