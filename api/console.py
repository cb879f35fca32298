"""What the running application holds together: settings, connections, live hub, pages' assets."""

from dataclasses import dataclass, field
from typing import Any, cast

import jinja2
from fastapi import Request
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from api.accounts import Passwords
from api.settings import ApiSettings
from api.throttle import Throttle
from api.web.assets import Assets
from api.web.fragments import Fragments
from api.web.live import Hub

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


def console(request: Request) -> Console:
    """The application's parts, from inside a request."""
    return cast(Console, request.app.state.console)
