"""What a register file says: regions, sites, places, gateways, devices and persons, checked row by row.

One decision: a file is read as text only (no YAML numbers or times), so that 17:00 and 330481001000 mean what the
author typed, and every fault is collected before anything is written.
"""

import csv
import itertools
import json
import re
import zoneinfo
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from ingest.classes import CLASSES
from ingest.errors import IngestError

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
SPECIAL = ("holiday", "workday")
"""Public holidays, and weekend days that are worked; where they are left out, Sunday's and Monday's hours hold."""
TIME = re.compile(r"^([01]\d|2[0-3]):[0-5]\d$")
DAY_MINUTES = 24 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class RowError:
    """One fault. row counts from 1 within its table; `came` is shown as it was read."""

    table: str
    row: int
    field: str
    came: str
    expected: str

    def __str__(self) -> str:
        return f"{self.table} row {self.row}, {self.field}: got {self.came}, expected {self.expected}"


class RegisterError(IngestError):
    """The register was refused as a whole; `errors` names every fault found."""

    def __init__(self, errors: list[RowError]) -> None:
        self.errors = errors
        super().__init__("\n".join([f"{len(errors)} faults in the register, nothing was written:", *map(str, errors)]))


def _zone(name: str) -> str:
    if name not in zoneinfo.available_timezones():
        raise ValueError("an IANA zone such as Asia/Shanghai")
    return name


def _hours(hours: dict[str, list[tuple[str, str]]]) -> dict[str, list[tuple[str, str]]]:
    """Fill in the days left out (closed) and refuse what is no time or overlaps, over midnight and from Sunday to Monday."""
    if unknown := set(hours) - {*DAYS, *SPECIAL}:
        raise ValueError(f"days out of {', '.join(DAYS + SPECIAL)}, not {', '.join(sorted(unknown))}")
    for day in set(hours) & set(SPECIAL):
        _check_overlap([(*_window(window), day) for window in hours[day]])
    spans = sorted(
        (DAYS.index(day) * DAY_MINUTES + start, DAYS.index(day) * DAY_MINUTES + end, day)
        for day, windows in hours.items()
        if day in DAYS
        for start, end in map(_window, windows)
    )
    _check_overlap([*spans, *((spans[0][0] + 7 * DAY_MINUTES, 0, spans[0][2]) for _ in spans[:1])])
    return {day: hours.get(day, []) for day in DAYS} | {day: hours[day] for day in SPECIAL if day in hours}


def _check_overlap(spans: list[tuple[int, int, str]]) -> None:
    for (_, end, day), (start, _, other) in itertools.pairwise(sorted(spans)):
        if start < end:
            raise ValueError(f"windows that do not overlap; those of {day} and {other} do")


def _window(window: tuple[str, str]) -> tuple[int, int]:
    start, end = window
    if not TIME.match(start) or not (TIME.match(end) or end == "24:00"):
        raise ValueError(f'["HH:MM", "HH:MM"] with 24:00 allowed as the end, not {window}')
    from_min, to_min = (int(t[:2]) * 60 + int(t[3:]) for t in window)
    return from_min, to_min if to_min > from_min else to_min + DAY_MINUTES


def _class(name: str) -> str:
    if name not in CLASSES:
        raise ValueError(f"one of {', '.join(CLASSES)}")
    return name


def _json(value: object) -> object:
    """A CSV cell that holds a list or mapping holds it as JSON."""
    return json.loads(value) if isinstance(value, str) else value


class Row(BaseModel):
    """A row of any table: no field is ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


Code = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class RegionRow(Row):
    """A township or village: 12 digits, county 6 + township 3 + village 3."""

    code: Annotated[str, Field(pattern=r"^\d{12}$")]
    name: Name
    name_en: str = ""


class SiteRow(Row):
    """A centre, station or point.

    hours: weekday, "holiday" or "workday" → windows of local time; a weekday left out is closed.
    """

    code: Code
    name: Name
    name_en: str = ""
    kind: Literal["centre", "station", "point", "mutual_aid"]
    parent: str | None = None
    region: str
    zone: Annotated[str, AfterValidator(_zone)] = "Asia/Shanghai"
    capacity: Annotated[int, Field(gt=0)] | None = None
    hours: Annotated[dict[str, list[tuple[str, str]]], BeforeValidator(_json), AfterValidator(_hours)]
    rules: Annotated[dict[str, dict[str, float]], BeforeValidator(_json)] = {}


class PlaceRow(Row):
    """A spot at a site that a sensor watches."""

    site: str
    code: Code
    name: Name
    name_en: str = ""
    room: Literal["entrance", "hall", "canteen", "activity", "office", "rest", "bathroom", "toilet", "changing", "other"]


class GatewayRow(Row):
    """A gateway; its shard is fixed once and for all."""

    code: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
    shard: Annotated[int, Field(ge=0, le=63)]


class DeviceRow(Row):
    """A sensor. place: "<site code>/<place code>", or nothing for a sensor that was taken down."""

    gateway: str
    identity: Annotated[str, Field(pattern=r"^[^/\x00]+/[^\x00]+$", max_length=120)]
    device_class: Annotated[str, Field(alias="class"), AfterValidator(_class)]
    name: str = ""
    place: str | None = None
    alive_every_s: Annotated[int, Field(gt=0)] | None = None
    assessment: str = ""


class LinkRow(Row):
    """How one terminal knows a person."""

    gateway: str
    device: str
    local_id: Annotated[str, Field(min_length=1, max_length=200)]


class PersonRow(Row):
    """Someone who has consented: a random token, never a name."""

    token: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    site: str
    role: Literal["resident", "staff", "volunteer"]
    consent_from: AwareDatetime
    links: Annotated[list[LinkRow], BeforeValidator(_json)] = []


TABLES: dict[str, type[Row]] = {
    "regions": RegionRow,
    "sites": SiteRow,
    "places": PlaceRow,
    "gateways": GatewayRow,
    "devices": DeviceRow,
    "persons": PersonRow,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Declaration:
    """The rows of each table that passed their own checks, with their row numbers.

    refused: the keys of the others, so that rows that point to them are not called faulty for it.
    """

    refused: frozenset[str]

    regions: list[tuple[int, RegionRow]]
    sites: list[tuple[int, SiteRow]]
    places: list[tuple[int, PlaceRow]]
    gateways: list[tuple[int, GatewayRow]]
    devices: list[tuple[int, DeviceRow]]
    persons: list[tuple[int, PersonRow]]


class _TextLoader(yaml.SafeLoader):
    """YAML whose plain scalars are text, but for null and booleans."""


_TextLoader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag.rsplit(":", 1)[-1] in ("null", "bool", "merge")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read(path: Path) -> dict[str, Any]:
    """Read a YAML file, or a folder of <table>.csv files. Raises RegisterError where it cannot be read as such."""
    if path.is_dir():
        return {file.stem: _read_csv(file) for file in sorted(path.glob("*.csv"))}
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_TextLoader)  # noqa: S506 - derived from SafeLoader
    except (yaml.YAMLError, UnicodeDecodeError) as e:
        raise RegisterError([RowError(table=path.name, row=1, field="file", came=str(e), expected="YAML in UTF-8")]) from None
    return content if isinstance(content, dict) else {"file": content}


def _read_csv(file: Path) -> list[dict[str, str]]:
    with file.open(encoding="utf-8-sig", newline="") as f:
        return [{k: v for k, v in row.items() if v not in ("", None)} for row in csv.DictReader(f)]


def check(raw: dict[str, Any]) -> tuple[Declaration, list[RowError]]:
    """Check every row by itself. Returns the good rows and all faults."""
    errors = [
        RowError(table=table, row=1, field="table", came=table, expected=f"one of {', '.join(TABLES)}")
        for table in raw
        if table not in TABLES
    ]
    good: dict[str, list[tuple[int, Any]]] = {}
    refused: set[str] = set()
    for table, model in TABLES.items():
        rows = raw.get(table) or []
        good[table] = []
        if not isinstance(rows, list):
            errors.append(RowError(table=table, row=1, field="table", came=shown(rows), expected="a list of rows"))
            continue
        for number, row in enumerate(rows, 1):
            try:
                good[table].append((number, model.model_validate(row)))
            except ValidationError as e:
                errors += row_errors(table, number, e)
                refused |= _keys(row)
    return Declaration(**good, refused=frozenset(refused)), errors


def _keys(row: object) -> set[str]:
    if not isinstance(row, dict):
        return set()
    code = str(row.get("code"))
    return {code, f"{row.get('site')}/{code}", f"{row.get('gateway')} {row.get('identity')}"}


def row_errors(table: str, row: int, error: ValidationError) -> Iterable[RowError]:
    """Yield the faults of one row in the words of the register."""
    for fault in error.errors(include_url=False):
        where = ".".join(str(part) for part in fault["loc"]) or "row"
        came = "nothing" if fault["type"] == "missing" else shown(fault["input"])
        yield RowError(table=table, row=row, field=where, came=came, expected=_expected(fault["type"], fault["msg"]))


def _expected(kind: str, message: str) -> str:
    if kind == "missing":
        return "a value"
    if kind == "extra_forbidden":
        return "no such field"
    for start in ("Input should be ", "Value error, ", "Input should ", "String should "):
        if message.startswith(start):
            return message.removeprefix(start)
    return message


def shown(value: object) -> str:
    """Return a value as a message shows it, at most 80 characters."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:79] + "…"


def micros(moment: datetime) -> int:
    """Return an aware datetime as microseconds since 1970."""
    return round(moment.timestamp() * 1_000_000)
