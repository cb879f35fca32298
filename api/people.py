"""Persons: residents, staff, volunteers. What they agreed to, their names, how terminals know them, and check-in by hand.

One decision: a person is a number everywhere, and a name only where someone asked for it: every reading of a name is a row of
the audit log, written before the name is shown.
"""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from api import audit
from api.accounts import Principal
from api.errors import BadRequest, NotFound
from api.registering import blocking
from api.sealing import Sealer
from gateway.clock import DAY_US, now_us
from gateway.events import TOKEN_BYTES, Method
from ingest import erasure
from ingest.classes import CLASSES, SEES_FACES
from ingest.register import QUERIES as REGISTER
from ingest.store.queries import Queries

Connection = AsyncConnection[Any]
SQL = Queries("api", "people.sql")
ROLES = ("resident", "staff", "volunteer")
PURPOSES = ("attendance", "recognition", "absence", "platform")
"""attendance: visits are counted as theirs; without it there is no record of the person. recognition: by their face.
absence: someone looks after them when they stay away. platform: alerts about them are passed on to platforms."""
CHANNELS = ("paper", "counter", "phone", "online")
METHODS = {"card": Method.CARD, "code": Method.CARD, "tap": Method.MANUAL}
TERMINALS = [c.name for c in CLASSES.values() if c.family == "terminal"]
LOOKING = ("list", "person")
"""Readings of names that are no task by themselves, as checking people in or handing their data out is."""
PAGE = 100
MOST_PASSAGES = 100_000
"""Most passages that a person's export holds: ten a day for more than the time they are kept."""
LONGEST_ABSENCE_US = 400 * DAY_US


async def listed(
    conn: Connection, who: Principal, *, site: str | None = None, role: str | None = None, after: int = 0, limit: int = PAGE
) -> list[DictRow]:
    """Return persons of the reader's part by number: columns of the query "persons"."""
    return await _all(conn, "persons", sites=who.sites, id=None, site=site, role=role, after=after, limit=limit)


async def found(conn: Connection, who: Principal, person: int) -> DictRow:
    """Return one person. Raises NotFound."""
    rows = await _all(conn, "persons", sites=who.sites, id=person, site=None, role=None, after=0, limit=1)
    if not rows:
        raise NotFound(f"there is no person {person}")
    return rows[0]


async def add(
    conn: Connection,
    who: Principal,
    sealer: Sealer,
    site: int,
    *,
    role: str,
    name: str,
    ref: str,
    purposes: Sequence[str],
    version: str,
    channel: str,
    guardian: str,
    now_us: int,
) -> int:
    """Enter someone who agreed, with a token of their own, and return their number. Raises BadRequest."""
    if role not in ROLES or "attendance" not in purposes:
        raise BadRequest("a person is a resident, staff or volunteer, and agreed at least to attendance")
    name, ref = _text(name, 100), _text(ref, 64, empty=True)
    values = {"token": secrets.token_bytes(TOKEN_BYTES), "site": site, "role": role, "from_us": now_us, "ref": ref}
    row = await _unique(conn, "add_person", values)
    person = int(row[0])
    for purpose in dict.fromkeys(purposes):
        await consent(conn, who, sealer, person, purpose, version=version, channel=channel, guardian=guardian, now_us=now_us)
    await conn.execute(SQL["put_name"], _name(sealer, who, person, name, now_us))
    await conn.execute(REGISTER["raise_version"])
    await audit.write(conn, who, action="person.added", subject=f"person/{person}", detail={"role": role})
    return person


async def change(
    conn: Connection, who: Principal, sealer: Sealer, person: int, *, role: str, ref: str, name: str, now_us: int
) -> None:
    """Change what is said of a person; an empty name leaves the present one. Raises NotFound, BadRequest."""
    await found(conn, who, person)
    if role not in ROLES:
        raise BadRequest(f"a role is one of {', '.join(ROLES)}")
    await _unique(conn, "change_person", {"person": person, "role": role, "ref": _text(ref, 64, empty=True)})
    if name.strip():
        await conn.execute(SQL["put_name"], _name(sealer, who, person, _text(name, 100), now_us))
    await conn.execute(REGISTER["raise_version"])
    detail = {"role": role, "named": bool(name.strip())}
    await audit.write(conn, who, action="person.changed", subject=f"person/{person}", detail=detail)


async def names(conn: Connection, who: Principal, sealer: Sealer, persons: Sequence[int], why: str) -> dict[int, str]:
    """Return the names of persons whom the caller has found for this reader, and note that they were read, by whom and why.

    Staff who only look ("list", "person") are told names of those with an open visit task, and those they entered within a day.
    """
    looks = who.role == "staff" and why in LOOKING
    rows = await _all(conn, "names", persons=list(persons), looks=looks, author=who.name, since_us=now_us() - DAY_US)
    if rows:
        subject = f"person/{rows[0]['person']}" if len(rows) == 1 else "persons"
        detail = {"why": why, "persons": [r["person"] for r in rows]}
        await audit.write(conn, who, action="person.name.read", subject=subject, detail=detail)
    return {r["person"]: sealer.open(r["person"], bytes(r["sealed"])) for r in rows}


async def present_name(conn: Connection, sealer: Sealer, person: int) -> str:
    """Return a person's name to compare it with, not to show it: nobody reads it. Empty where there is none."""
    rows = await _all(conn, "names", persons=[person], looks=False, author="", since_us=0)
    return sealer.open(person, bytes(rows[0]["sealed"])) if rows else ""


async def consent(
    conn: Connection,
    who: Principal,
    sealer: Sealer,
    person: int,
    purpose: str,
    *,
    version: str,
    channel: str,
    guardian: str,
    now_us: int,
) -> None:
    """Record that someone, or their guardian, agreed to a purpose. The caller has found the person. Raises BadRequest."""
    if purpose not in PURPOSES or channel not in CHANNELS:
        raise BadRequest(f"a purpose is one of {', '.join(PURPOSES)}, a channel one of {', '.join(CHANNELS)}")
    sealed = sealer.seal(person, _text(guardian, 100)) if guardian.strip() else None
    values = {"version": _text(version, 40), "given_us": now_us, "channel": channel, "guardian": sealed, "author": who.name}
    if await _one(conn, "give_consent", person=person, purpose=purpose, **values) is None:
        raise BadRequest("this consent is given already; withdraw it first")
    await conn.execute(REGISTER["raise_version"])
    detail = {"purpose": purpose, "version": values["version"], "channel": channel, "guardian": bool(sealed)}
    await audit.write(conn, who, action="consent.given", subject=f"person/{person}", detail=detail)


async def withdraw(conn: Connection, who: Principal, person: int, purpose: str, now_us: int) -> int | None:
    """Take back a consent. Without attendance nothing about the person stays: returns their number for `forget` then.

    recognition: face terminals no longer know them. absence: they are no longer missed. platform: what waits to be passed on is
    not. Raises NotFound, BadRequest.
    """
    row = await found(conn, who, person)
    if purpose not in row["purposes"]:
        raise BadRequest("this consent is not in force")
    await audit.write(conn, who, action="consent.withdrawn", subject=f"person/{person}", detail={"purpose": purpose})
    if purpose == "attendance":
        token = (await _one(conn, "token_of", person=person))[0]
        return await asyncio.to_thread(_unlink, conn, bytes(token), now_us)
    if await _one(conn, "withdraw_consent", person=person, purpose=purpose, author=who.name, now_us=now_us) is None:
        await _keep_the_rest(conn, who, person, purpose, row["consent_from_us"])
    if purpose == "recognition":
        await conn.execute(SQL["unlink_faces"], {"person": person, "classes": sorted(SEES_FACES)})
    if purpose == "platform":
        await conn.execute(SQL["pass_nothing_on"], {"person": person, "now_us": now_us})
    await conn.execute(REGISTER["raise_version"])
    return None


async def _keep_the_rest(conn: Connection, who: Principal, person: int, without: str, given_us: int) -> None:
    """Someone who was imported agreed to everything: from now on what they still agree to is said."""
    values = {"version": "import", "given_us": given_us, "channel": "paper", "guardian": None, "author": who.name}
    for purpose in PURPOSES:
        if purpose != without:
            await conn.execute(SQL["give_consent"], values | {"person": person, "purpose": purpose})


def _unlink(conn: Connection, token: bytes, now_us: int) -> int:
    with blocking(conn) as same:
        return erasure.unlink_person(same, token, now_us)


async def forget(database_url: str, person: int) -> int:
    """Delete what is kept of a person whom the register has forgotten; returns how many passages became anonymous."""

    def work() -> int:
        with psycopg.connect(database_url, autocommit=True) as conn:
            return erasure.forget(conn, [person])

    return await asyncio.to_thread(work)


async def link(conn: Connection, who: Principal, person: int, device: int, local_id: str) -> None:
    """Say how a terminal of their site knows a person. Raises NotFound, BadRequest."""
    row = await found(conn, who, person)
    terminal = next((t for t in await terminals(conn, row["site_id"]) if t["id"] == device), None)
    if terminal is None:
        raise NotFound("there is no such terminal at this person's site")
    if terminal["class"] in SEES_FACES and "recognition" not in row["purposes"]:
        raise BadRequest("this terminal sees faces, and there is no consent to recognition")
    if await _one(conn, "link", person=person, device=device, local_id=_text(local_id, 200)) is None:
        raise BadRequest("another person has this number at this terminal")
    await conn.execute(REGISTER["raise_version"])
    await audit.write(conn, who, action="person.linked", subject=f"person/{person}", detail={"device": device})


async def unlink(conn: Connection, who: Principal, person: int, device: int, local_id: str) -> None:
    """Let a terminal forget a person. Raises NotFound."""
    await found(conn, who, person)
    if await _one(conn, "unlink", person=person, device=device, local_id=local_id) is None:
        raise NotFound("this terminal does not know the person by this number")
    await conn.execute(REGISTER["raise_version"])
    await audit.write(conn, who, action="person.unlinked", subject=f"person/{person}", detail={"device": device})


async def terminals(conn: Connection, site: int) -> list[DictRow]:
    """Return the terminals of a site (id): columns of the query "terminals"."""
    return await _all(conn, "terminals", site=site, classes=TERMINALS)


async def plan_absence(
    conn: Connection, who: Principal, person: int, from_us: int, to_us: int, reason: str, now_us: int, *, cancelled: bool = False
) -> None:
    """Enter that a person will be, or was, away, or take it back. Raises NotFound, BadRequest."""
    await found(conn, who, person)
    if not 0 < to_us - from_us <= LONGEST_ABSENCE_US:
        raise BadRequest("an absence ends after it begins, within 400 days")
    values = {"person": person, "from_us": from_us, "to_us": to_us, "author": who.name, "now_us": now_us}
    await conn.execute(REGISTER["put_absence"], values | {"reason": _text(reason, 200), "cancelled": cancelled})
    await conn.execute(REGISTER["raise_version"])
    action = "absence.cancelled" if cancelled else "absence.planned"
    detail = {"from_us": from_us, "to_us": to_us}
    await audit.write(conn, who, action=action, subject=f"person/{person}", detail=detail)


async def check_in(conn: Connection, who: Principal, site: int, person: int | None, how: str, t_us: int, now_us: int) -> None:
    """Note that someone is here: as a passage at the site's desk, anonymous without a person. The caller has found both.

    how: "card", "code" or "tap". Raises BadRequest.
    """
    if how not in METHODS or not now_us - DAY_US <= t_us <= now_us:
        raise BadRequest("a check-in is by card, code or tap, and not longer ago than a day")
    values = {"site": site, "person": person, "method": int(METHODS[how]), "t_us": t_us, "at_us": now_us, "author": who.name}
    try:
        await conn.execute(SQL["check_in"], values)
    except psycopg.errors.NoDataFound as error:
        raise BadRequest("the site has no place yet; enter one in its register first") from error


async def by_ref(conn: Connection, site: int, ref: str) -> int | None:
    """Return whose card or code this is at a site (id), None for nobody's."""
    row = await _one(conn, "by_ref", site=site, ref=ref)
    return None if row is None else int(row[0])


async def today(conn: Connection, site: str, from_us: int) -> list[DictRow]:
    """Return who was checked in at a site (code) by hand since a time, the newest first."""
    return await _all(conn, "checked_in", site=site, from_us=from_us)


async def exported(conn: Connection, who: Principal, sealer: Sealer, person: int) -> dict[str, Any]:
    """Return everything that is kept of one person, and note that it was read. Raises NotFound."""
    row = await found(conn, who, person)
    name = await names(conn, who, sealer, [person], "export")
    given = await _all(conn, "consents", person=person)
    for c in given:
        c["guardian"] = sealer.open(person, bytes(c["guardian"])) if c["guardian"] else None
    rest = {
        query: await _all(conn, query, person=person, limit=MOST_PASSAGES)
        for query in ("links", "absences", "days", "visits", "passages")
    }
    head = {"person": person, "name": name.get(person), "site": row["site"], "role": row["role"], "ref": row["ref"]}
    return head | {"consents": given} | rest


async def rows_of(conn: Connection, query: str, person: int) -> list[DictRow]:
    """Return "consents", "links" or "absences" of a person whom the caller has found."""
    return await _all(conn, query, person=person)


def _name(sealer: Sealer, who: Principal, person: int, name: str, now_us: int) -> dict[str, Any]:
    return {"person": person, "sealed": sealer.seal(person, name), "author": who.name, "now_us": now_us}


def _text(text: str, most: int, *, empty: bool = False) -> str:
    text = text.strip()
    if (not text and not empty) or len(text) > most or not text.isprintable():
        raise BadRequest(f"a text of {0 if empty else 1} to {most} characters was expected")
    return text


async def _unique(conn: Connection, query: str, values: dict[str, Any]) -> Any:
    try:
        async with conn.transaction():
            cursor = await conn.execute(SQL[query], values)
            return await cursor.fetchone() if cursor.description else None
    except psycopg.errors.UniqueViolation as error:
        raise BadRequest("someone else at this site has this number") from error


async def _one(conn: Connection, query: str, **values: object) -> Any:
    return await (await conn.execute(SQL[query], values)).fetchone()


async def _all(conn: Connection, query: str, **values: object) -> list[DictRow]:
    async with conn.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(SQL[query], values)
        return await cursor.fetchall()
