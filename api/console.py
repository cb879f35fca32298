"""What the running application holds together: settings, connections, live hub, pages' assets."""

from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, cast

import jinja2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fastapi import Request
from psycopg import AsyncConnection

from api import evidence
from api.accounts import Passwords, Principal
from api.previews import Previews
from api.scope import Pool, within
from api.sealing import Sealer
from api.settings import ApiSettings
from api.throttle import Rate, Throttle
from api.web.assets import Assets
from api.web.fragments import Fragments
from api.web.live import Hub
from gateway.clock import now_us


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
    previews: Previews = field(default_factory=Previews)
    sealer: Sealer = field(default_factory=lambda: Sealer(None))
    by_account: Throttle = field(default_factory=lambda: Throttle(5))
    by_address: Throttle = field(default_factory=lambda: Throttle(20))
    noted: Throttle = field(default_factory=lambda: Throttle(20))
    """What is refused again and again is written down so many times, by account or address, in ten minutes."""
    by_token: Rate = field(default_factory=lambda: Rate(20, 100))
    by_reader: Rate = field(default_factory=lambda: Rate(100, 1000))
    _signing: Ed25519PrivateKey | None = None

    async def signing_key(self) -> Ed25519PrivateKey:
        """Return the key that signs what is handed on, read once as the owner of the tables."""
        if self._signing is None:
            async with await AsyncConnection.connect(self.settings.database_url, autocommit=True) as conn:
                self._signing = await evidence.signing_key(conn, now_us())
        return self._signing

    def scoped(self, who: Principal) -> AbstractAsyncContextManager[AsyncConnection[Any]]:
        """Lend a connection in one transaction that sees the reader's own part and nothing else; it commits at the end."""
        return within(self.pool, who.part, who.area)


def console(request: Request) -> Console:
    """The application's parts, from inside a request."""
    return cast(Console, request.app.state.console)
