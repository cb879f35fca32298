"""Puts the application together: routes, walls, connections, the live hub.

One decision: it does not start with a route that fails to say who may use it.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware

from api import rest, rest_access, rest_daybook, rest_duty, rest_endpoints, rest_figures, rest_installing, rest_reports, visiting
from api.access import require_declared
from api.console import Console
from api.fields import FieldFilter
from api.problems import Problems
from api.scope import make_pool
from api.sealing import Sealer
from api.settings import ApiSettings
from api.web import assets, stream
from api.web.fragments import Fragments
from api.web.live import Hub
from api.web.page import environment, error_page
from api.web.pages import (
    acceptances,
    accounts,
    alerts,
    audit,
    calendar,
    checkin,
    duty,
    endpoints,
    files,
    installing,
    labels,
    more,
    overview,
    password,
    people,
    probes,
    regions,
    register,
    reports,
    rules,
    signin,
    visits,
)
from api.web.security import BodyLimit, CutOff, SameOrigin, SecurityHeaders

__all__ = ["ApiSettings", "create_app"]

CONNECTIONS = 8


def create_app(settings: ApiSettings) -> FastAPI:
    """Return the application; its connections and live hub open and close with its lifespan.

    Raises UndeclaredPermission for a route open to nobody knows whom, MissingText for languages that differ.
    """
    app = FastAPI(title="smartcare", version="1", lifespan=_lifespan, openapi_url=None, docs_url=None, redoc_url=None)
    for router in (
        rest.router,
        rest_daybook.router,
        rest_duty.router,
        rest_endpoints.router,
        rest_figures.router,
        rest_access.router,
        rest_reports.router,
        rest_installing.router,
        files.router,
        installing.router,
        labels.router,
        probes.router,
        register.router,
        rules.router,
        signin.router,
        password.router,
        accounts.router,
        audit.router,
        overview.router,
        regions.router,
        reports.router,
        acceptances.router,
        alerts.router,
        calendar.router,
        checkin.router,
        people.router,
        duty.router,
        more.router,
        endpoints.router,
        stream.router,
        visiting.router,
        visits.router,
    ):
        app.router.routes.extend(router.routes)
    require_declared(app)
    pool = make_pool(settings.requests_url, CONNECTIONS)
    found = assets.load()
    templates = environment(found)
    fragments = Fragments(templates, settings.country)
    hub = Hub(settings.requests_url, pool, fragments.render)
    app.state.console = Console(
        settings=settings,
        pool=pool,
        hub=hub,
        assets=found,
        templates=templates,
        fragments=fragments,
        sealer=Sealer(settings.name_key),
    )
    Problems(error_page).install(app)
    app.add_middleware(FieldFilter)
    app.add_middleware(SameOrigin, origin=settings.origin)
    app.add_middleware(BodyLimit)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(settings.allowed_hosts), www_redirect=False)
    app.add_middleware(SecurityHeaders)
    app.add_middleware(CutOff, stopping=lambda: hub.closing)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    state: Console = app.state.console
    async with state.pool, asyncio.TaskGroup() as tasks:
        feed = tasks.create_task(state.hub.run(), name="api.hub")
        asked = tasks.create_task(state.previews.run(), name="api.previews")
        yield
        asked.cancel()
        feed.cancel()
