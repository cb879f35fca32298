"""Accounts, sessions, sign-in links and tokens: who someone is.

One decision: every secret that leaves this module (cookie, link, token) is 256 random bits, and the database knows only
its SHA-256, so that a copied database signs nobody in. Passwords are argon2id, hashed off the event loop, two at a time.
"""

import asyncio
import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import argon2
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from api.errors import AccountExists, BadRequest
from gateway.clock import DAY_US, HOUR_US, MINUTE_US
from ingest.store.queries import Queries

Role = Literal["city", "town", "staff", "installer", "auditor", "platform"]
Connection = AsyncConnection[Any]

LINK_US = 10 * MINUTE_US
INVITATION_US = 3 * DAY_US
IDLE_US = 12 * HOUR_US
SESSION_US = 7 * DAY_US
TOUCH_US = 5 * MINUTE_US
MAX_PASSWORD = 1024
SCOPES = frozenset({"read", "act", "metrics"})
AREA = re.compile(r"([0-9]{2}|[0-9]{4}|[0-9]{6}|[0-9]{9}|[0-9]{12})?")
PARTS = {
    "city": "a city administrator sees everything: give neither area nor sites",
    "town": "a town supervisor holds an area, the head of a region code",
    "staff": "staff hold one or more sites",
    "installer": "an installer holds one or more sites",
    "auditor": "an auditor holds an area ('' for everything) or sites",
    "platform": "a platform holds an area ('' for everything) or sites",
}

SQL = Queries("api")
_HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
_NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$GU8by6h5Z5tgfRRSwBl66w$wWUWhqLdZSuv9scgyEsYOGQp26z/Kq18B23GI23M3iY"
"""Hash of nothing anyone knows: an unknown name costs as much as a wrong password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What of the county someone may see: these sites (None: all there are), and whether anything about single persons."""

    sites: tuple[int, ...] | None
    persons: bool = True

    @property
    def key(self) -> str:
        """The same for readers who may see the same."""
        return ("*" if self.sites is None else ",".join(map(str, self.sites))) + ("" if self.persons else "-")


WHOLE = Part(sites=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks. area: head of region codes, "" everything, None where single sites were given. sites: those; None: all.

    key: hash of the session or token used. fields: what of an answer may leave by this token; None: all of it.
    by_session: signed in on the page, not by a token.
    """

    account: int
    name: str
    role: Role
    area: str | None
    sites: list[int] | None
    scopes: frozenset[str]
    key: bytes
    fields: frozenset[str] | None = None
    by_session: bool = False

    @property
    def part(self) -> Part:
        """What they may see: an installer nothing about persons."""
        return Part(sites=None if self.sites is None else tuple(self.sites), persons=self.role != "installer")


class Passwords:
    """Hashes and checks passwords, at most two at once: more would let the sign-in form use up the machine."""

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(2)

    async def hash(self, password: str) -> str:
        """Return the argon2id hash. Raises BadRequest for a password that is empty or longer than 1024 bytes."""
        if not 1 <= len(password.encode()) <= MAX_PASSWORD:
            raise BadRequest(f"a password has 1 to {MAX_PASSWORD} bytes")
        async with self._slots:
            return await asyncio.to_thread(_HASHER.hash, password)

    async def matches(self, stored: str | None, password: str) -> bool:
        """Tell whether the password fits. A missing hash takes as long and fits nothing."""
        async with self._slots:
            return await asyncio.to_thread(_verify, stored or _NOBODY, password[:MAX_PASSWORD]) and stored is not None


def _verify(stored: str, password: str) -> bool:
    try:
        return _HASHER.verify(stored, password)
    except (argon2.exceptions.VerificationError, argon2.exceptions.InvalidHashError):
        return False


def digest(secret: str) -> bytes:
    """What the database keeps of a secret."""
    return hashlib.sha256(secret.encode()).digest()


async def create_account(
    conn: Connection, name: str, role: Role, *, area: str | None = None, sites: Sequence[str] = (), password: str | None = None
) -> int:
    """Create an account and return its id. area: head of region codes that it holds, or sites: codes of single ones.

    Raises BadRequest, AccountExists.
    """
    check_part(role, area, sites)
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise BadRequest("a name is one line of 1 to 100 characters")
    hashed = await Passwords().hash(password) if password else None
    async with conn.transaction():
        held = "" if role == "city" else area
        found = await conn.execute(SQL["create_account"], {"name": name, "password": hashed, "role": role, "area": held})
        row = await found.fetchone()
        if row is None:
            raise AccountExists(f"there is an account named {name!r} already")
        if sites:
            given = await (await conn.execute(SQL["give_sites"], {"account": row[0], "codes": list(sites)})).fetchall()
            if len(given) != len(set(sites)):
                raise BadRequest(f"not all of these are codes of sites: {', '.join(sites)}")
    return int(row[0])


def check_part(role: str, area: str | None, sites: Sequence[str]) -> None:
    """Raise BadRequest unless a role and its part of the county fit each other."""
    if role not in get_args(Role):
        raise BadRequest(f"a role is one of {', '.join(get_args(Role))}, not {role!r}")
    if area is not None and not AREA.fullmatch(area):
        raise BadRequest("an area is the head of a region code: 2, 4, 6, 9 or 12 digits")
    if role == "city":
        fits = not area and not sites
    elif role == "town":
        fits = bool(area) and not sites
    elif role in ("staff", "installer"):
        fits = area is None and bool(sites)
    else:
        fits = (area is None) == bool(sites)
    if not fits:
        raise BadRequest(PARTS[role])


async def find_account(conn: Connection, name: str) -> int | None:
    """Return the id of the account of that name."""
    row = await (await conn.execute(SQL["account_named"], {"name": name})).fetchone()
    return None if row is None else int(row[0])


async def set_password(conn: Connection, account: int, password: str) -> None:
    """Give an account a password and sign it out everywhere. Raises BadRequest."""
    hashed = await Passwords().hash(password)
    async with conn.transaction():
        await conn.execute(SQL["set_password"], {"account": account, "password": hashed})
        await conn.execute(SQL["end_sessions"], {"account": account})


async def make_signin_link(conn: Connection, account: int, public_url: str, now_us: int) -> str:
    """Return an address that signs the account in once, within ten minutes, after a press on its button."""
    return await _make_link(conn, account, public_url, now_us + LINK_US, invitation=False)


async def make_invitation(conn: Connection, account: int, public_url: str, now_us: int) -> str:
    """Return an address that works once, within three days, asks for a new password and signs the account in.

    Earlier ones of the account are void: whoever resets a password knows that only the newest link counts.
    """
    await conn.execute(SQL["void_links"], {"account": account, "now_us": now_us})
    return await _make_link(conn, account, public_url, now_us + INVITATION_US, invitation=True)


async def _make_link(conn: Connection, account: int, public_url: str, expires_us: int, *, invitation: bool) -> str:
    secret = secrets.token_urlsafe(32)
    async with conn.transaction():
        values = {"hash": digest(secret), "account": account, "expires_us": expires_us, "invitation": invitation}
        await conn.execute(SQL["create_link"], values)
    return f"{public_url.rstrip('/')}/{'invitation' if invitation else 'signin'}/{secret}"


async def set_disabled(conn: Connection, account: int, disabled: bool) -> None:
    """Let an account sign in no more, ending its sessions and links, or let it again; open streams end within seconds."""
    async with conn.transaction():
        await conn.execute(SQL["set_disabled"], {"account": account, "disabled": disabled})
        if disabled:
            await conn.execute(SQL["end_sessions"], {"account": account})
            await conn.execute(SQL["end_links"], {"account": account})


async def make_token(
    conn: Connection,
    account: int,
    name: str,
    scopes: Sequence[str],
    expires_us: int,
    now_us: int,
    *,
    fields: Sequence[str] | None = None,
) -> str:
    """Return a new API token for `Authorization: Bearer`; it is shown this once. fields: what of answers may leave; None: all.

    Raises BadRequest for unknown scopes.
    """
    if not scopes or not SCOPES.issuperset(scopes):
        raise BadRequest(f"scopes are among {sorted(SCOPES)}, not {list(scopes)}")
    secret = secrets.token_urlsafe(32)
    values = {"hash": digest(secret), "account": account, "name": name, "scopes": list(scopes)} | {
        "fields": None if fields is None else list(fields)
    }
    async with conn.transaction():
        await conn.execute(SQL["create_token"], values | {"now_us": now_us, "expires_us": expires_us})
    return secret


async def start_session(conn: Connection, account: int, now_us: int) -> str:
    """Open a session and return the cookie's value; sessions past their limits are removed on the way."""
    secret = secrets.token_urlsafe(32)
    values = {"hash": digest(secret), "account": account, "now_us": now_us, "expires_us": now_us + SESSION_US}
    async with conn.transaction():
        await conn.execute(SQL["drop_old_sessions"], {"now_us": now_us, "idle_us": now_us - IDLE_US})
        await conn.execute(SQL["create_session"], values)
    return secret


async def end_session(conn: Connection, key: bytes) -> None:
    """Sign out: the cookie is worth nothing afterwards."""
    await conn.execute(SQL["end_session"], {"hash": key})


async def link_account(conn: Connection, secret: str, now_us: int, *, invitation: bool = False) -> str | None:
    """Return whom a live link (or invitation) would sign in, without using it."""
    values = {"hash": digest(secret), "now_us": now_us, "invitation": invitation}
    row = await (await conn.execute(SQL["link_is_live"], values)).fetchone()
    return None if row is None else str(row[0])


async def use_link(conn: Connection, secret: str, now_us: int, *, invitation: bool = False) -> int | None:
    """Consume a link (or invitation) and return its account, or None when it was used, has expired or never was."""
    values = {"hash": digest(secret), "now_us": now_us, "invitation": invitation}
    row = await (await conn.execute(SQL["use_link"], values)).fetchone()
    return None if row is None else int(row[0])


async def read_session(conn: Connection, secret: str, now_us: int) -> Principal | None:
    """Return who holds this cookie, and note that the session is in use (at most every five minutes)."""
    values = {"hash": digest(secret), "now_us": now_us, "idle_us": now_us - IDLE_US}
    async with conn.cursor(row_factory=dict_row) as cursor:
        row = await (await cursor.execute(SQL["read_session"], values)).fetchone()
    if row is None:
        return None
    if row.pop("seen_us") < now_us - TOUCH_US:
        await conn.execute(SQL["touch_session"], {"hash": values["hash"], "now_us": now_us})
    return Principal(**row, scopes=SCOPES, key=digest(secret), by_session=True)


async def read_token(conn: Connection, secret: str, now_us: int) -> Principal | None:
    """Return who holds this API token, with the token's own scopes."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        row = await (await cursor.execute(SQL["read_token"], {"hash": digest(secret), "now_us": now_us})).fetchone()
    if row is None:
        return None
    allowed = {"scopes": frozenset(row["scopes"]), "fields": None if row["fields"] is None else frozenset(row["fields"])}
    return Principal(**(row | allowed), key=digest(secret))
