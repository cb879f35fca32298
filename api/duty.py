"""Silences, maintenance windows, the roster, and why someone was or was not told, for the page and the REST interface alike.

One decision: a member of staff sees and silences what concerns their own site; who is on duty is an administrator's to say
(api/access.py: Operator).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from psycopg import AsyncConnection
from psycopg.rows import class_row, tuple_row

from analytics import alerts
from analytics.findings import Rule, Severity, SubjectKind
from api import reading
from api.accounts import Principal
from api.errors import BadRequest, NotAllowed, NotFound, Stale
from gateway.clock import DAY_US
from ingest.store.queries import Queries

Connection = AsyncConnection[Any]
SQL = Queries("api", "duty.sql")
T = TypeVar("T")
LONGEST_US = 30 * DAY_US
"""A silence ends after so long at most: what is to be quiet for good is a setting of the rule."""
KEPT_US = 7 * DAY_US
MAX_TEXT = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipient:
    """One to whom a message went. state: of its delivery. done_us: when that ended."""

    message: int
    name: str
    kind: str
    state: str
    attempts: int
    last_error: str
    done_us: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One decision about telling. message: the notice whose message names the alert, its own or another's."""

    id: int
    at_us: int
    version: int
    told: bool
    reason: str
    level: int
    detail: dict[str, Any]
    message: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """What nobody is told of for a time. None matches everything. area: head of the region's code."""

    id: int
    kind: str
    rule: str | None
    site: str | None
    site_name: str | None
    site_name_en: str | None
    area: str | None
    region_name: str | None
    region_name_en: str | None
    subject_kind: str | None
    subject: int | None
    severity: str | None
    from_us: int
    to_us: int
    author: str
    reason: str
    created_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Contact:
    """Someone who can be on duty, and how they are told."""

    id: int
    name: str
    account: str | None
    endpoint: str
    kind: str
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Who is on duty where and when. level: 0 site, 1 town, 2 city. to_us: None until further notice."""

    id: int
    contact: str
    kind: str
    site: str | None
    site_name: str | None
    site_name_en: str | None
    area: str | None
    region_name: str | None
    region_name_en: str | None
    from_us: int
    to_us: int | None
    level: int


async def why(conn: Connection, alert: int) -> tuple[list[tuple[Decision, list[Recipient]]], int | None]:
    """Return the decisions about an alert with whom each message went to, and when it is decided again.

    The caller has checked that the reader may see the alert.
    """
    decisions = await _all(conn, Decision, "notices", alert=alert)
    found = await _all(conn, Recipient, "recipients", messages=[d.message for d in decisions if d.told])
    row = await _one(conn, "next_look", alert=alert)
    told = [(d, [r for r in found if d.told and r.message == d.message]) for d in decisions]
    return told, row[0] if row else None


async def assign(conn: Connection, who: Principal, number: int, version: int, assignee: str, now_us: int) -> None:
    """Give an alert to an account that may see it. Raises NotFound, Stale, BadRequest."""
    await _visible(conn, who, number)
    if assignee not in await assignees(conn, number):
        raise BadRequest(f"{assignee!r} is no account that may see this alert")
    try:
        await alerts.assign(conn, number, version, who.name, assignee, now_us)
    except alerts.StaleVersion as error:
        raise _stale(error) from error


async def comment(conn: Connection, who: Principal, number: int, text: str, now_us: int) -> None:
    """Say something about an alert that goes on. Raises NotFound, Stale, BadRequest."""
    await _visible(conn, who, number)
    try:
        await alerts.comment(conn, number, who.name, checked(text), now_us)
    except alerts.StaleVersion as error:
        raise _stale(error) from error


async def assignees(conn: Connection, number: int) -> list[str]:
    """Return the accounts that may see an alert."""
    cursor = conn.cursor(row_factory=tuple_row)
    return [name for (name,) in await (await cursor.execute(SQL["assignees"], {"alert": number})).fetchall()]


async def silences(conn: Connection, who: Principal, now_us: int) -> list[Silence]:
    """Return the silences that concern the reader, those in force or to come first."""
    return await _all(conn, Silence, "silences", sites=who.sites, now_us=now_us, since_us=now_us - KEPT_US)


async def silence(
    conn: Connection,
    who: Principal,
    now_us: int,
    *,
    kind: str,
    reason: str,
    from_us: int,
    to_us: int,
    rule: str | None = None,
    site: str | None = None,
    region: str | None = None,
    severity: str | None = None,
    subject_kind: str | None = None,
    subject: int | None = None,
) -> int:
    """Keep quiet about what matches, for a time. Raises BadRequest, NotFound, NotAllowed (another's site)."""
    if kind not in ("silence", "maintenance"):
        raise BadRequest("a kind is silence or maintenance")
    if not from_us < to_us <= from_us + LONGEST_US or to_us <= now_us:
        raise BadRequest("a silence ends in the future, at most 30 days after it begins")
    for value, known in ((rule, Rule), (severity, Severity), (subject_kind, SubjectKind)):
        if value is not None and value not in [str(k) for k in known]:
            raise BadRequest(f"{value!r} is none of {', '.join(known)}")
    if (subject is None) != (subject_kind is None):
        raise BadRequest("a subject has a kind and a number")
    number = await _site(conn, site)
    if who.sites is not None and number is None and site is None and region is None and len(who.sites) == 1:
        number = who.sites[0]
    if who.sites is not None and number is not None and number not in who.sites:
        raise NotFound(f"there is no site {site!r}")
    part = area(region) if region else None
    if who.sites is not None and number is None:
        if not who.area:
            raise NotAllowed("you silence alerts of a site of your own; only who holds a region silences regions")
        part = part or who.area
        if not part.startswith(who.area):
            raise NotFound(f"there is no region {region!r} in your part")
    values = {"kind": kind, "rule": rule, "site": number, "area": part}
    values |= {"severity": severity, "subject_kind": subject_kind, "subject": subject, "from_us": from_us, "to_us": to_us}
    if not any(values[name] for name in ("rule", "site", "area", "severity", "subject")):
        raise BadRequest("say what is silenced: a rule, a site, a region, a severity or a subject")
    row = await _one(conn, "put_silence", **values, author=who.name, reason=checked(reason), now_us=now_us)
    return int(row[0])


async def expire(conn: Connection, who: Principal, number: int, now_us: int) -> None:
    """End a silence now; whoever it kept from being told is told. Raises NotFound."""
    if await _one(conn, "expire_silence", id=number, sites=who.sites, area=who.area or None, now_us=now_us) is None:
        raise NotFound(f"there is no silence {number} in force that is yours to end")


async def contacts(conn: Connection) -> list[Contact]:
    """Return everyone who can be on duty."""
    return await _all(conn, Contact, "contacts")


async def put_contact(conn: Connection, name: str, endpoint: str, address: str, account: str | None) -> int:
    """Add someone, or say anew how they are told. Raises BadRequest, NotFound (endpoint)."""
    values = {"name": checked(name), "endpoint": endpoint, "address": address.strip(), "account": account or None}
    row = await _one(conn, "put_contact", **values)
    if row is None:
        raise NotFound(f"there is no endpoint {endpoint!r}; add it with `smartcare endpoint add`")
    return int(row[0])


async def shifts(conn: Connection, who: Principal, now_us: int) -> list[Shift]:
    """Return who is, was lately or will be on duty where it concerns the reader."""
    return await _all(conn, Shift, "shifts", sites=who.sites, since_us=now_us - KEPT_US)


async def put_shift(conn: Connection, contact: str, site: str | None, region: str | None, from_us: int, to_us: int | None) -> int:
    """Put someone on duty at a site or in a region. Raises BadRequest, NotFound."""
    if (site is None) == (region is None):
        raise BadRequest("a shift is at a site or in a region")
    if to_us is not None and to_us <= from_us:
        raise BadRequest("a shift ends after it begins")
    values = {"contact": contact, "site": site, "area": area(region) if region else None, "from_us": from_us, "to_us": to_us}
    row = await _one(conn, "put_shift", **values)
    if row is None:
        raise NotFound(f"there is no contact {contact!r} or no site {site!r}")
    return int(row[0])


async def end_shift(conn: Connection, number: int, now_us: int) -> None:
    """Take someone off duty. Raises NotFound."""
    if await _one(conn, "end_shift", id=number, now_us=now_us) is None:
        raise NotFound(f"there is no shift {number} that has not ended")


async def choices(conn: Connection, query: str) -> Sequence[tuple[Any, ...]]:
    """Return rows to choose from: "endpoints" (name), "regions" (code, name, name_en)."""
    return await (await conn.cursor(row_factory=tuple_row).execute(SQL[query])).fetchall()


def area(region: str) -> str:
    """Return the head of a region's code that its parts share: a town's nine digits, a county's six. Raises BadRequest."""
    if not (len(region) == 12 and region.isascii() and region.isdecimal()):
        raise BadRequest(f"a region's code has 12 digits, got {region!r}")
    return next(region[:n] for n in (2, 4, 6, 9, 12) if not region[n:].strip("0"))


def checked(text: str) -> str:
    """Return a text that a person wrote. Raises BadRequest for none or one too long."""
    text = text.strip()
    if not text or len(text) > MAX_TEXT or "\0" in text:
        raise BadRequest(f"a text of 1 to {MAX_TEXT} characters was expected")
    return text


async def _site(conn: Connection, code: str | None) -> int | None:
    if code is None:
        return None
    row = await _one(conn, "site_number", code=code)
    if row is None:
        raise NotFound(f"there is no site {code!r}")
    return int(row[0])


async def _visible(conn: Connection, who: Principal, number: int) -> None:
    if not 0 < number < 2**63 or await reading.alert(conn, who.sites, number) is None:
        raise NotFound(f"there is no alert {number}")


def _stale(error: alerts.StaleVersion) -> Stale:
    return Stale("someone else changed this alert first; look again before you act", state=error.state, version=error.version)


async def _all(conn: Connection, row: type[T], query: str, **values: object) -> list[T]:
    async with conn.cursor(row_factory=class_row(row)) as cursor:
        await cursor.execute(SQL[query], values)
        return await cursor.fetchall()


async def _one(conn: Connection, query: str, **values: object) -> Any:
    return await (await conn.cursor(row_factory=tuple_row).execute(SQL[query], values)).fetchone()
