"""What other programs ask: is this process alive, is all well, and the figures.

One decision: two probes. A balancer that took this page away because a worker has died would take away the only place
that says so; it asks /livez. Who watches over the whole asks /healthz.
"""

import psycopg
from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from psycopg_pool import PoolTimeout
from starlette.responses import JSONResponse, Response

from api import health, metrics
from api.access import OPEN, Scraper
from api.console import console
from api.scope import within
from gateway.clock import now_us

router = APIRouter(include_in_schema=False)


@router.get("/livez", dependencies=OPEN)
async def livez(request: Request) -> Response:
    """200 while the database answers, 503 (by the error handlers) when it does not."""
    async with console(request).pool.connection() as conn:
        await conn.execute("SELECT 1")
    return JSONResponse({"status": "ok"})


@router.get("/healthz", dependencies=OPEN)
async def healthz(request: Request) -> Response:
    """200 while everything is received and analysed, else 503; both say what is and what is not, in numbers only."""
    try:
        async with within(console(request).pool) as conn:
            well, said = (await health.read(conn, None)).summary()
    except (psycopg.OperationalError, PoolTimeout):
        well, said = False, {"status": "failing", "database": "away", "shards": None, "broker": "unknown"}
    return JSONResponse(said, 200 if well else 503)


@router.get("/metrics")
async def figures(request: Request, who: Scraper) -> Response:
    """The figures of the whole system for Prometheus."""
    async with console(request).scoped(who) as conn:
        return Response(await metrics.exposition(conn, now_us()), media_type=CONTENT_TYPE_LATEST)
