"""Accounts, tokens and the audit log from the command line: a connection for one change, the change, and its row in the log."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import psycopg

from api import accounts, audit
from api.errors import AccountExists, NotFound
from gateway.clock import DAY_US, now_us

T = TypeVar("T")
Connection = psycopg.AsyncConnection[Any]


def add(database_url: str, name: str, role: accounts.Role, *, area: str | None = None, sites: list[str] | None = None) -> None:
    """Create an account. Raises AccountExists, BadRequest."""

    async def create(conn: Connection) -> None:
        await accounts.create_account(conn, name, role, area=area, sites=sites or [])
        detail = {"role": role, "area": area, "sites": sites or []}
        await audit.write(conn, None, action="account.created", subject=f"account/{name}", detail=detail)

    _with(database_url, create)


def add_missing(database_url: str, name: str) -> None:
    """Create a city administrator unless there is one of that name."""
    try:
        add(database_url, name, "city")
    except AccountExists:
        return


def link(database_url: str, name: str, public_url: str) -> str:
    """Return a sign-in link of an account. Raises NotFound."""

    async def make(conn: Connection) -> str:
        found = await accounts.make_signin_link(conn, await _account(conn, name), public_url, now_us())
        await audit.write(conn, None, action="account.link", subject=f"account/{name}")
        return found

    return _with(database_url, make)


def password(database_url: str, name: str, new: str) -> None:
    """Give an account a password and sign it out everywhere. Raises NotFound, BadRequest."""

    async def change(conn: Connection) -> None:
        await accounts.set_password(conn, await _account(conn, name), new)
        await audit.write(conn, None, action="account.password", subject=f"account/{name}")

    _with(database_url, change)


def token(database_url: str, account: str, name: str, scopes: list[str], days: int, fields: list[str] | None = None) -> str:
    """Return a new API token of an account. Raises NotFound, BadRequest."""

    async def make(conn: Connection) -> str:
        now = now_us()
        found = await accounts.make_token(
            conn, await _account(conn, account), name, scopes, now + days * DAY_US, now, fields=fields
        )
        detail = {"token": name, "scopes": scopes, "days": days, "fields": fields}
        await audit.write(conn, None, action="token.made", subject=f"account/{account}", detail=detail)
        return found

    return _with(database_url, make)


def invite(database_url: str, name: str, public_url: str) -> str:
    """Return an invitation: a link that asks for a password. Raises NotFound."""

    async def make(conn: Connection) -> str:
        found = await accounts.make_invitation(conn, await _account(conn, name), public_url, now_us())
        await audit.write(conn, None, action="account.invited", subject=f"account/{name}")
        return found

    return _with(database_url, make)


def switch(database_url: str, name: str, *, disabled: bool) -> None:
    """Disable an account, which ends its sessions and streams, or enable it again. Raises NotFound."""

    async def change(conn: Connection) -> None:
        await accounts.set_disabled(conn, await _account(conn, name), disabled)
        await audit.write(conn, None, action="account.disabled" if disabled else "account.enabled", subject=f"account/{name}")

    _with(database_url, change)


def verify(database_url: str, head: str) -> audit.Checked:
    """Return what is wrong with the audit log."""
    return _with(database_url, lambda conn: audit.verify(conn, head))


async def _account(conn: Connection, name: str) -> int:
    found = await accounts.find_account(conn, name)
    if found is None:
        raise NotFound(f"没有账号 no account named {name!r}; add it with `smartcare account add`")
    return found


def _with(database_url: str, work: Callable[[Connection], Awaitable[T]]) -> T:
    async def run() -> T:
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as conn, conn.transaction():
            return await work(conn)

    return asyncio.run(run())
