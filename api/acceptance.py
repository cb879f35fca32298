"""验收: for how many days a site's sensors have reported, as a signed record of one page.

One decision: a record is the bytes that were signed, stored once and never made again, so that what was printed, what was
handed on and what is checked years later are the same.
"""

import itertools
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from psycopg.rows import dict_row, tuple_row

from api import reports
from api.errors import BadRequest, NotFound
from api.evidence import SQL, Connection, canonical
from api.report_figures import Sensor
from api.report_period import ReportPeriod
from api.report_sight import length, without
from api.reports import Scope
from gateway.clock import MINUTE_US, SECOND_US
from ingest.daybook import COUNTRY

FORMAT = "smartcare-acceptance/1"
LEAST_UP = 0.95
MOST_DAYS = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A stored record. record: what it says; signature and key in hexadecimal digits."""

    id: int
    made_us: int
    author: str
    passed: bool
    record: dict[str, Any]
    signature: str


async def make(
    conn: Connection,
    key: Ed25519PrivateKey,
    code: str,
    days: int,
    author: str,
    now_us: int,
    own: list[int] | None = None,
    country: str = COUNTRY,
) -> Signed:
    """Judge the last `days` whole local days of a site, sign and store the record, in the caller's transaction.

    It passes where every sensor reported on every day, was up for LEAST_UP of the time and, where walk tests are kept, was
    seen in its last one. Raises NotFound, BadRequest.
    """
    if not 1 <= days <= MOST_DAYS:
        raise BadRequest(f"an acceptance looks at 1 to {MOST_DAYS} days, not {days}")
    (row,) = await reports.sites_of(conn, Scope(site=code), own)
    today = datetime.fromtimestamp(now_us // SECOND_US, ZoneInfo(row["zone"])).date()
    first, last = today - timedelta(days=days), today - timedelta(days=1)
    period = ReportPeriod(text=f"{first}..{last}", first=first, last=last)
    (site,) = (await reports.read(conn, Scope(site=code), period, now_us, own, country)).sites
    tests = await _walk_tests(conn, row["id"])
    sensors = [_judged(s, period, row["zone"], tests) for s in site.sensors]
    passed = bool(sensors) and all(not s["failed"] for s in sensors)
    record = {
        "format": FORMAT,
        "site": {name: row[name] for name in ("code", "name", "name_en", "kind", "region")},
        "first": first.isoformat(),
        "last": last.isoformat(),
        "days": days,
        "made_us": now_us,
        "made_by": author,
        "least_up": LEAST_UP,
        "passed": passed,
        "sensors": sensors,
    }
    body = canonical(record)
    signature = key.sign(body)
    values = {"site": row["id"], "made_us": now_us, "author": author, "passed": passed, "body": body, "signature": signature}
    async with conn.cursor(row_factory=tuple_row) as cursor:
        stored = await (await cursor.execute(SQL["put_acceptance"], values)).fetchone()
    assert stored is not None
    return Signed(id=stored[0], made_us=now_us, author=author, passed=passed, record=record, signature=signature.hex())


async def records(conn: Connection, code: str, own: list[int] | None = None, number: int | None = None) -> list[Signed]:
    """Return a site's records, newest first; only the one of that number if given."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        rows = await (await cursor.execute(SQL["acceptances"], {"code": code, "own": own, "id": number})).fetchall()
    return [
        Signed(
            id=r["id"],
            made_us=r["made_us"],
            author=r["author"],
            passed=r["passed"],
            record=msgspec.json.decode(bytes(r["body"])),
            signature=bytes(r["signature"]).hex(),
        )
        for r in rows
    ]


async def record(conn: Connection, code: str, number: int, own: list[int] | None = None) -> Signed:
    """Return one record. Raises NotFound."""
    found = await records(conn, code, own, number) if 0 < number < 2**63 else []
    if not found:
        raise NotFound(f"there is no acceptance {number} of {code!r}")
    return found[0]


def file(signed: Signed) -> bytes:
    """Return a record as a file that `smartcare evidence verify` checks."""
    return msgspec.json.encode({"record": signed.record, "signature": signed.signature})


def _judged(s: Sensor, period: ReportPeriod, zone: str, tests: dict[str, dict[str, Any]] | None) -> dict[str, Any]:
    bounds = period.bounds(zone)
    reported = sum(length(without([day], s.holes)) > 0 for day in itertools.pairwise(bounds))
    up = 1 - s.blind_us / s.mounted_us
    walked = [tests[d] for d in s.identities if d in tests] if tests is not None else []
    failed = [
        name
        for name, bad in (
            ("days", reported < len(period.days)),
            ("up", up < LEAST_UP),
            ("walk_test", tests is not None and (len(walked) < len(s.identities) or not all(w["seen"] for w in walked))),
        )
        if bad
    ]
    return {
        "place": s.name,
        "place_en": s.name_en,
        "devices": list(s.devices),
        "classes": list(s.classes),
        "days_reported": reported,
        "up_percent": round(100 * up, 2),
        "gaps": len(s.holes),
        "longest_gap_min": round(max((b - a for a, b in s.holes), default=0) / MINUTE_US),
        "walk_tests": [
            {"device": w["identity"], "seen": bool(w["seen"]), "at_us": w["ended_us"], "by": w["author"]} for w in walked
        ],
        "failed": failed,
    }


async def _walk_tests(conn: Connection, site: int) -> dict[str, dict[str, Any]] | None:
    """Return the newest walk test of each device by its identity; None where this store keeps none."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        there = await (await cursor.execute(SQL["has_walk_tests"])).fetchone()
        if there is None or not there["there"]:
            return None
        rows = await (await cursor.execute(SQL["walk_tests"], {"site": site})).fetchall()
    return {r["identity"]: r for r in rows}
