"""Accounts as administrators see and change them; every change is a row of the audit log.

One decision: nobody is told a password. Whoever gets an account, or has forgotten the password, gets a link that lives for three
days, works once and asks for a new one; making it ends what was valid before.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

from psycopg import AsyncConnection
from psycopg.rows import class_row

from api import accounts, audit
from api.accounts import SQL, Principal, Role
from api.errors import BadRequest, NotFound
from gateway.clock import DAY_US

Connection = AsyncConnection[Any]
MAX_DAYS = 730
MIN_PASSWORD = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Someone who may sign in. sites: codes, where the account holds no area. has_password: else links only."""

    id: int
    name: str
    role: str
    area: str | None
    sites: list[str]
    disabled: bool
    has_password: bool
    seen_us: int | None
    tokens: list[dict[str, Any]]


async def listed(conn: Connection) -> list[Account]:
    """Return all accounts, by name, with their tokens (name, scopes, fields, expires_us)."""
    async with conn.cursor(row_factory=class_row(Account)) as cursor:
        await cursor.execute(SQL["accounts"])
        return await cursor.fetchall()


async def create(
    conn: Connection, who: Principal, name: str, role: str, area: str | None, sites: Sequence[str], public_url: str, now_us: int
) -> str:
    """Create an account and return its invitation. Raises BadRequest, AccountExists."""
    accounts.check_part(role, area, sites)
    number = await accounts.create_account(conn, name, cast(Role, role), area=area, sites=sites)
    detail = {"role": role, "area": area, "sites": list(sites)}
    await audit.write(conn, who, action="account.created", subject=f"account/{name}", detail=detail)
    return await accounts.make_invitation(conn, number, public_url, now_us)


async def reset(conn: Connection, who: Principal, number: int, public_url: str, now_us: int) -> str:
    """End an account's sessions and its password, and return an invitation. Raises NotFound, BadRequest."""
    name = await _other(conn, who, number)
    await conn.execute(SQL["set_password"], {"account": number, "password": None})
    await conn.execute(SQL["end_sessions"], {"account": number})
    await audit.write(conn, who, action="account.reset", subject=f"account/{name}")
    return await accounts.make_invitation(conn, number, public_url, now_us)


async def switch(conn: Connection, who: Principal, number: int, *, disabled: bool) -> None:
    """Disable an account, which ends its sessions, streams and tokens, or enable it. Raises NotFound, BadRequest."""
    name = await _other(conn, who, number)
    await accounts.set_disabled(conn, number, disabled)
    await audit.write(conn, who, action="account.disabled" if disabled else "account.enabled", subject=f"account/{name}")


async def assign(conn: Connection, who: Principal, number: int, role: str, area: str | None, sites: Sequence[str]) -> None:
    """Give an account another role or part; it signs in again, so that no open page shows the old one.

    Raises NotFound, BadRequest.
    """
    name = await _other(conn, who, number)
    accounts.check_part(role, area, sites)
    await conn.execute(SQL["assign"], {"account": number, "role": role, "area": "" if role == "city" else area})
    given = await (await conn.execute(SQL["give_sites"], {"account": number, "codes": list(sites)})).fetchall()
    if len(given) != len(set(sites)):
        raise BadRequest(f"not all of these are codes of sites: {', '.join(sites)}")
    await conn.execute(SQL["end_sessions"], {"account": number})
    detail = {"role": role, "area": area, "sites": list(sites)}
    await audit.write(conn, who, action="account.assigned", subject=f"account/{name}", detail=detail)


async def grant_token(
    conn: Connection,
    who: Principal,
    number: int,
    name: str,
    scopes: Sequence[str],
    days: int,
    fields: Sequence[str] | None,
    now_us: int,
) -> str:
    """Return a new token of an account. fields: what may leave; None: all. Raises NotFound, BadRequest."""
    account = await _name(conn, number)
    if not name.strip() or len(name) > 100 or not name.isprintable():
        raise BadRequest("a token has a name of 1 to 100 characters, so that it can be told from others")
    if not 1 <= days <= MAX_DAYS:
        raise BadRequest(f"a token lives for 1 to {MAX_DAYS} days")
    await conn.execute(SQL["drop_token"], {"account": number, "name": name})
    made = await accounts.make_token(conn, number, name, scopes, now_us + days * DAY_US, now_us, fields=fields)
    detail = {"token": name, "scopes": list(scopes), "days": days, "fields": None if fields is None else list(fields)}
    await audit.write(conn, who, action="token.made", subject=f"account/{account}", detail=detail)
    return made


async def end_token(conn: Connection, who: Principal, number: int, name: str) -> None:
    """End a token at once. Raises NotFound."""
    account = await _name(conn, number)
    if (await conn.execute(SQL["drop_token"], {"account": number, "name": name})).rowcount == 0:
        raise NotFound(f"this account has no token {name!r}")
    await audit.write(conn, who, action="token.ended", subject=f"account/{account}", detail={"token": name})


async def change_password(conn: Connection, who: Principal, passwords: accounts.Passwords, old: str, new: str) -> None:
    """Set one's own password, signing out everywhere else. Raises BadRequest for a wrong old one or a short new one."""
    row = await (await conn.execute(SQL["password_of"], {"account": who.account})).fetchone()
    stored = None if row is None else row[0]
    if stored is not None and not await passwords.matches(stored, old):
        raise BadRequest("the present password is another one")
    hashed = await checked(passwords, new)
    await conn.execute(SQL["set_password"], {"account": who.account, "password": hashed})
    await conn.execute(SQL["end_other_sessions"], {"account": who.account, "hash": who.key})
    await audit.write(conn, who, action="account.password", subject=f"account/{who.name}")


async def checked(passwords: accounts.Passwords, new: str) -> str:
    """Return the hash of a password that is long enough. Raises BadRequest."""
    if len(new) < MIN_PASSWORD:
        raise BadRequest(f"a password has at least {MIN_PASSWORD} characters")
    return await passwords.hash(new)


async def _name(conn: Connection, number: int) -> str:
    row = None
    if 0 < number < 2**31:
        row = await (await conn.execute(SQL["account_name"], {"account": number})).fetchone()
    if row is None:
        raise NotFound(f"there is no account {number}")
    return str(row[0])


async def _other(conn: Connection, who: Principal, number: int) -> str:
    name = await _name(conn, number)
    if number == who.account:
        raise BadRequest("this is your own account; another administrator must do it, lest nobody is left")
    return name
