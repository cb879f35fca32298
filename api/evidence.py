"""Signs what is handed on, and says of a file whether it is still what was handed on and what the store says now.

    file ── its tables' hashes = manifest's? ──▶ file changed
    manifest ── signature of this store's key? ──▶ not ours, or altered
    store ── report made again as of then, hashes = manifest's? ──▶ store changed: which figures

One decision: a manifest is signed with a key that the store made for itself (Ed25519), so that whoever alters a file cannot
make its manifest fit, and the public key lets a third party check signatures without the store.
"""

from dataclasses import dataclass
from typing import Any

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from psycopg import AsyncConnection
from psycopg.rows import tuple_row

from api import exports, report_period, report_tables, reports
from api.errors import BadRequest, NotFound
from api.exports import digest, rows_of
from api.report_tables import Table
from api.reports import Report, Scope
from api.web.i18n import LANGUAGES, Say
from ingest.daybook import COUNTRY
from ingest.store.queries import Queries

SQL = Queries("api", "evidence.sql")
DIFFERENCES = 50
"""Most cells that are named."""

Connection = AsyncConnection[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a check found; all empty and signed: file and store say what was signed.

    signed: by this store's key. about: what the file is. file_changed, store_changed: names of tables; "record" of an
    acceptance. differences: "table · row · column: file …, store now …".
    """

    signed: bool
    about: str
    file_changed: tuple[str, ...] = ()
    store_changed: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Whether nothing was altered anywhere."""
        return self.signed and not self.file_changed and not self.store_changed


async def signing_key(conn: Connection, now_us: int) -> Ed25519PrivateKey:
    """Return the store's key, which is made when first needed. conn: as the owner of the tables, nobody else may read it."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        row = await (await cursor.execute(SQL["key"])).fetchone()
        if row is None:
            fresh = Ed25519PrivateKey.generate()
            values = {"private": fresh.private_bytes_raw(), "public": fresh.public_key().public_bytes_raw(), "now_us": now_us}
            await cursor.execute(SQL["put_key"], values)
            row = await (await cursor.execute(SQL["key"])).fetchone()
    assert row is not None
    return Ed25519PrivateKey.from_private_bytes(bytes(row[0]))


async def signed_here(conn: Connection, body: bytes, signature: bytes) -> bool:
    """Tell whether this store signed body."""
    async with conn.cursor(row_factory=tuple_row) as cursor:
        row = await (await cursor.execute(SQL["public_key"])).fetchone()
    if row is None:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(bytes(row[0])).verify(signature, body)
    except InvalidSignature:
        return False
    return True


def export(key: Ed25519PrivateKey, report: Report, lang: str, who: str, form: str, *, table: str = "summary") -> bytes:
    """Write a report as a file with its signed manifest. table: the one that a CSV holds. Raises BadRequest."""
    found = report_tables.tables(report, Say(lang, report.through_us))
    if form == "csv":
        found = [t for t in found if t.name == table]
        if not found:
            raise BadRequest(f"this report has no table {table[:40]!r}")
    facts = {
        "site": report.scope.site,
        "region": report.scope.region,
        "period": report.period.text,
        "lang": lang,
        "made_us": report.through_us,
        "made_by": who,
    }
    said = exports.manifest(found, facts)
    return exports.encode(found, {"manifest": said} | envelope(key, said), form)


def envelope(key: Ed25519PrivateKey, said: object) -> dict[str, str]:
    """Return the signature over what is said, and the public key that checks it."""
    return {"signature": key.sign(canonical(said)).hex(), "key": key.public_key().public_bytes_raw().hex()}


def canonical(said: object) -> bytes:
    """Return the bytes that are signed: JSON with sorted keys."""
    return msgspec.json.encode(said, order="sorted")


async def verify(conn: Connection, body: bytes, own: list[int] | None = None, country: str = COUNTRY) -> Verdict:
    """Check a report's file, or an acceptance record, against the store. Raises BadRequest for a file that is neither."""
    read = exports.decode(body)
    if "record" in read.envelope:
        return await _record(conn, read.envelope)
    try:
        said = read.envelope["manifest"]
        signature = bytes.fromhex(read.envelope["signature"])
        listed = {t["name"]: t["sha256"] for t in said["tables"]}
        scope = Scope(site=said["site"], region=said["region"])
        period, lang, made_us = report_period.parse(said["period"]), said["lang"], int(said["made_us"])
        if lang not in LANGUAGES or said["format"] != exports.FORMAT:
            raise ValueError(f"{said['format']} in {lang}")
    except (KeyError, TypeError, ValueError) as e:
        raise BadRequest(f"the manifest cannot be read ({e}); expected {exports.FORMAT}") from None
    signed = await signed_here(conn, canonical(said), signature)
    try:
        now = await reports.read(conn, scope, period, made_us, own, country)
        fresh = {t.name: t for t in report_tables.tables(now, Say(lang, made_us)) if t.name in listed}
    except NotFound:
        fresh = {}
    mine = {name: digest(rows) for name, rows in read.tables.items()}
    theirs = {name: digest(rows_of(t)) for name, t in fresh.items()}
    return Verdict(
        signed=signed,
        about=f"{said['site'] or said['region'] or '*'} {said['period']}",
        file_changed=tuple(name for name, known in listed.items() if mine.get(name) != known),
        store_changed=tuple(name for name, known in listed.items() if theirs.get(name) != known),
        differences=tuple(_differences(read.tables, fresh)),
    )


async def _record(conn: Connection, envelope: dict[str, Any]) -> Verdict:
    """Check an acceptance record: signed, and the store has it."""
    try:
        body, signature = canonical(envelope["record"]), bytes.fromhex(envelope["signature"])
        about = f"{envelope['record']['site']['code']} {envelope['record']['format']}"
    except (KeyError, TypeError, ValueError) as e:
        raise BadRequest(f"the record cannot be read ({e})") from None
    signed = await signed_here(conn, body, signature)
    async with conn.cursor(row_factory=tuple_row) as cursor:
        known = await (await cursor.execute(SQL["known_acceptance"], {"body": body})).fetchone()
    return Verdict(
        signed=signed,
        about=about,
        file_changed=() if signed else ("record",),
        store_changed=("record",) if signed and known is None else (),
    )


def _differences(file: dict[str, list[list[str]]], store: dict[str, Table]) -> list[str]:
    """Name the cells in which a file and the store differ now."""
    found: list[str] = []
    for name, table in store.items():
        old, new = file.get(name, []), rows_of(table)
        for n in range(max(len(old), len(new))):
            a, b = (rows[n] if n < len(rows) else [] for rows in (old, new))
            label = (a or b)[0] if n else "—"
            for k in range(max(len(a), len(b))):
                was, now = (row[k] if k < len(row) else "" for row in (a, b))
                if was != now:
                    column = table.columns[k] if k < len(table.columns) else str(k + 1)
                    found.append(f"{table.title} · {n} {label} · {column}: 文件 file {was or '–'}, 库中 store {now or '–'}")
                if len(found) >= DIFFERENCES:
                    return found
    return found
