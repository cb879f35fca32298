"""Accounts, sessions, sign-in links and tokens: who someone is.

One decision: every secret that leaves this module (cookie, link, token) is 256 random bits, and the database knows only
its SHA-256, so that a copied database signs nobody in. Passwords are argon2id, hashed off the event loop, two at a time.
"""

import asyncio
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import argon2
from psycopg import AsyncConnection
from psycopg.rows import dict_row

from api.errors import AccountExists, BadRequest
from gateway.clock import DAY_US, HOUR_US, MINUTE_US
from ingest.store.queries import Queries

Role = Literal["admin", "staff"]
Connection = AsyncConnection[Any]

LINK_US = 10 * MINUTE_US
IDLE_US = 12 * HOUR_US
SESSION_US = 7 * DAY_US
TOUCH_US = 5 * MINUTE_US
MAX_PASSWORD = 1024
SCOPES = frozenset({"read", "act", "metrics"})

SQL = Queries("api")
_HASHER = argon2.PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
_NOBODY = "$argon2id$v=19$m=19456,t=2,p=1$GU8by6h5Z5tgfRRSwBl66w$wWUWhqLdZSuv9scgyEsYOGQp26z/Kq18B23GI23M3iY"
"""Hash of nothing anyone knows: an unknown name costs as much as a wrong password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who asks. site: the only site a member of staff sees, None for an admin. key: hash of the session or token used."""

    account: int
    name: str
    role: Role
    site: int | None
    scopes: frozenset[str]
    key: bytes


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


async def create_account(conn: Connection, name: str, role: Role, site: str | None = None, password: str | None = None) -> int:
    """Create an account and return its id. site: the code of the site of a member of staff, None for an admin.

    Raises AccountExists; a database error for a member of staff without a site that exists.
    """
    hashed = await Passwords().hash(password) if password else None
    async with conn.transaction():
        found = await conn.execute(SQL["create_account"], {"name": name, "password": hashed, "role": role, "site": site})
        row = await found.fetchone()
    if row is None:
        raise AccountExists(f"there is an account named {name!r} already")
    return int(row[0])


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
    secret = secrets.token_urlsafe(32)
    async with conn.transaction():
        values = {"hash": digest(secret), "account": account, "expires_us": now_us + LINK_US}
        await conn.execute(SQL["create_link"], values)
    return f"{public_url.rstrip('/')}/signin/{secret}"


async def make_token(conn: Connection, account: int, name: str, scopes: Sequence[str], expires_us: int, now_us: int) -> str:
    """Return a new API token for `Authorization: Bearer`; it is shown this once. Raises BadRequest for unknown scopes."""
    if not scopes or not SCOPES.issuperset(scopes):
        raise BadRequest(f"scopes are among {sorted(SCOPES)}, not {list(scopes)}")
    secret = secrets.token_urlsafe(32)
    values = {"hash": digest(secret), "account": account, "name": name, "scopes": list(scopes)}
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


async def link_account(conn: Connection, secret: str, now_us: int) -> str | None:
    """Return whom a live link would sign in, without using it."""
    row = await (await conn.execute(SQL["link_is_live"], {"hash": digest(secret), "now_us": now_us})).fetchone()
    return None if row is None else str(row[0])


async def use_link(conn: Connection, secret: str, now_us: int) -> int | None:
    """Consume a link and return its account, or None when it was used, has expired or never was."""
    row = await (await conn.execute(SQL["use_link"], {"hash": digest(secret), "now_us": now_us})).fetchone()
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
    return Principal(**row, scopes=SCOPES, key=digest(secret))


async def read_token(conn: Connection, secret: str, now_us: int) -> Principal | None:
    """Return who holds this API token, with the token's own scopes."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        row = await (await cursor.execute(SQL["read_token"], {"hash": digest(secret), "now_us": now_us})).fetchone()
    return None if row is None else Principal(**(row | {"scopes": frozenset(row["scopes"])}), key=digest(secret))
