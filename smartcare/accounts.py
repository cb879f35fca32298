"""Accounts from the command line: a connection for one change, and the change."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import psycopg

from api.accounts import create_account, find_account, make_signin_link, make_token, set_password
from api.errors import AccountExists, NotFound
from gateway.clock import DAY_US, now_us

T = TypeVar("T")
Connection = psycopg.AsyncConnection[Any]


def add(database_url: str, name: str, role: str, site: str | None) -> None:
    """Create an account. Raises AccountExists."""
    assert role in ("admin", "staff")
    _with(database_url, lambda conn: create_account(conn, name, role, site))  # type: ignore[arg-type]


def add_missing(database_url: str, name: str) -> None:
    """Create an administrator unless there is one of that name."""
    try:
        add(database_url, name, "admin", None)
    except AccountExists:
        return


def link(database_url: str, name: str, public_url: str) -> str:
    """Return a sign-in link of an account. Raises NotFound."""

    async def make(conn: Connection) -> str:
        return await make_signin_link(conn, await _account(conn, name), public_url, now_us())

    return _with(database_url, make)


def password(database_url: str, name: str, new: str) -> None:
    """Give an account a password and sign it out everywhere. Raises NotFound, BadRequest."""

    async def change(conn: Connection) -> None:
        await set_password(conn, await _account(conn, name), new)

    _with(database_url, change)


def token(database_url: str, account: str, name: str, scopes: list[str], days: int) -> str:
    """Return a new API token of an account. Raises NotFound, BadRequest."""

    async def make(conn: Connection) -> str:
        now = now_us()
        return await make_token(conn, await _account(conn, account), name, scopes, now + days * DAY_US, now)

    return _with(database_url, make)


async def _account(conn: Connection, name: str) -> int:
    found = await find_account(conn, name)
    if found is None:
        raise NotFound(f"没有账号 no account named {name!r}; add it with `smartcare account add`")
    return found


def _with(database_url: str, work: Callable[[Connection], Awaitable[T]]) -> T:
    async def run() -> T:
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as conn:
            return await work(conn)

    return asyncio.run(run())
