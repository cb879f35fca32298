"""Persons from a workbook: one row each, known again by their site and the number on their card.

One decision: a file adds and changes but never withdraws: what someone agreed to is taken back by a person, for a person.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from psycopg import AsyncConnection
from pydantic import BeforeValidator, Field, ValidationError

from api import people, reading
from api.accounts import Principal
from api.people import PURPOSES
from api.sealing import Sealer
from ingest.declaration import RegisterError, Row, RowError, row_errors
from ingest.register import Counts

Connection = AsyncConnection[Any]
TABLE = "people"
YES, NO = frozenset({"1", "yes", "y", "true", "是", "同意", "√"}), frozenset({"", "0", "no", "n", "false", "否", "不同意"})


def _agreed(value: object) -> bool:
    text = str(value).strip().lower()
    if text not in YES | NO:
        raise ValueError("是 or 否 (yes or no)")
    return text in YES


Agreed = Annotated[bool, BeforeValidator(_agreed)]


class PersonLine(Row):
    """A person as an office lists them. ref: the number on their card, unique at their site."""

    site: str
    ref: Annotated[str, Field(min_length=1, max_length=64)]
    role: Literal["resident", "staff", "volunteer"]
    name: Annotated[str, Field(min_length=1, max_length=100)]
    version: Annotated[str, Field(min_length=1, max_length=40)]
    channel: Literal["paper", "counter", "phone", "online"]
    guardian: Annotated[str, Field(max_length=100)] = ""
    attendance: Agreed
    recognition: Agreed = False
    absence: Agreed = False
    platform: Agreed = False


async def load(
    conn: Connection, who: Principal, sealer: Sealer, raw: Sequence[Mapping[str, Any]], now_us: int, *, dry_run: bool
) -> Counts:
    """Check all rows, then enter who is new and change what differs. Raises RegisterError with every fault, nothing written."""
    lines, errors = _read(raw)
    sites = {row.code: row.id for row in await reading.sites(conn, who.sites)}
    errors += [_fault(n, "site", line.site, "a site of your own part") for n, line in lines if line.site not in sites]
    keys = [(line.site, line.ref) for _, line in lines]
    errors += [
        _fault(n, "ref", line.ref, "no other row with this number")
        for (n, line), k in zip(lines, keys, strict=True)
        if keys.count(k) > 1
    ]
    if errors:
        raise RegisterError(errors)
    done = {"created": 0, "changed": 0, "unchanged": 0}
    async with conn.transaction(force_rollback=dry_run):
        for _, line in lines:
            done[await _put(conn, who, sealer, sites[line.site], line, now_us)] += 1
    return Counts(**done)


async def _put(conn: Connection, who: Principal, sealer: Sealer, site: int, line: PersonLine, now_us: int) -> str:
    said = {"version": line.version, "channel": line.channel, "guardian": line.guardian}
    purposes = [p for p in PURPOSES if getattr(line, p)]
    person = await people.by_ref(conn, site, line.ref)
    if person is None:
        await people.add(
            conn, who, sealer, site, role=line.role, name=line.name, ref=line.ref, purposes=purposes, now_us=now_us, **said
        )
        return "created"
    row = await people.found(conn, who, person)
    changed = row["role"] != line.role or await people.present_name(conn, sealer, person) != line.name
    if changed:
        await people.change(conn, who, sealer, person, role=line.role, ref=line.ref, name=line.name, now_us=now_us)
    for purpose in purposes:
        if purpose not in row["purposes"]:
            await people.consent(conn, who, sealer, person, purpose, now_us=now_us, **said)
            changed = True
    return "changed" if changed else "unchanged"


def _read(raw: Sequence[Mapping[str, Any]]) -> tuple[list[tuple[int, PersonLine]], list[RowError]]:
    lines: list[tuple[int, PersonLine]] = []
    errors: list[RowError] = []
    for number, row in enumerate(raw, 1):
        try:
            line = PersonLine.model_validate(row)
        except ValidationError as error:
            errors += row_errors(TABLE, number, error)
            continue
        if not line.attendance:
            errors.append(_fault(number, "attendance", "no", "yes: nothing is kept of someone who did not agree"))
        lines.append((number, line))
    return lines, errors


def _fault(row: int, field: str, came: str, expected: str) -> RowError:
    return RowError(table=TABLE, row=row, field=field, came=came, expected=expected)
