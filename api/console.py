"""What the running application holds together: settings, connections, live hub, pages' assets."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import jinja2
from fastapi import Request
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from api.accounts import Passwords, Principal
from api.settings import ApiSettings
from api.throttle import Throttle
from api.web.assets import Assets
from api.web.fragments import Fragments
from api.web.live import Hub

SCOPE = "SELECT set_config('app.whole', %(whole)s, true), set_config('app.sites', '{' || %(sites)s || '}', true)"
Pool = AsyncConnectionPool[AsyncConnection[Any]]


@dataclass(slots=True, kw_only=True)
class Console:
    """One per application, at `app.state.console`."""

    settings: ApiSettings
    pool: Pool
    hub: Hub
    assets: Assets
    templates: jinja2.Environment
    fragments: Fragments
    passwords: Passwords = field(default_factory=Passwords)
    by_account: Throttle = field(default_factory=lambda: Throttle(5))
    by_address: Throttle = field(default_factory=lambda: Throttle(20))

    @asynccontextmanager
    async def scoped(self, who: Principal) -> AsyncIterator[AsyncConnection[Any]]:
        """Lend a connection in one transaction that sees the reader's own part and nothing else; it commits at the end."""
        async with self.pool.connection() as conn, conn.transaction():
            part = "" if who.site is None else str(who.site)
            await conn.execute(SCOPE, {"whole": "on" if who.site is None else "off", "sites": part})
            yield conn


def console(request: Request) -> Console:
    """The application's parts, from inside a request."""
    return cast(Console, request.app.state.console)
