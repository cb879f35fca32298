"""The REST interface about sites that are not as usual: closures, visits and drills.

One decision: what is entered here is the same row that the command line writes, so the analyzer cannot tell them apart.
"""

from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from api import reading
from api.access import Actor
from api.accounts import Principal
from api.console import console
from api.errors import BadRequest, NotFound
from gateway.clock import now_us
from ingest.daybook import QUERIES

router = APIRouter(prefix="/api/v1")
Time = Annotated[int, Field(ge=0, lt=2**62)]


class Closure(BaseModel):
    """[from_us, to_us) in microseconds since 1970. cancelled: take back what was entered for exactly this time."""

    model_config = ConfigDict(extra="forbid")

    from_us: Time
    to_us: Time
    reason: Annotated[str, Field(min_length=1, max_length=500)]
    cancelled: bool = False


class SiteMode(Closure):
    """A visit explains people; a drill is told as one."""

    mode: Literal["visit", "drill"]


@router.post("/sites/{code}/closures", status_code=201)
async def close(request: Request, who: Actor, code: str, body: Closure) -> Closure:
    """Close a site for a time; absence is not told then."""
    await _enter(request, who, code, "put_closure", body)
    return body


@router.post("/sites/{code}/modes", status_code=201)
async def set_mode(request: Request, who: Actor, code: str, body: SiteMode) -> SiteMode:
    """Enter a visit or a drill."""
    await _enter(request, who, code, "put_site_mode", body)
    return body


async def _enter(request: Request, who: Principal, code: str, query: str, body: Closure) -> None:
    if body.from_us >= body.to_us or "\0" in body.reason or not body.reason.strip():
        raise BadRequest("to_us must come after from_us, and a reason is needed")
    async with console(request).pool.connection() as conn, conn.transaction():
        if not await reading.sites(conn, who.site, code):
            raise NotFound(f"there is no site {code!r}")
        values = body.model_dump() | {"site": code, "author": who.name, "now_us": now_us()}
        await conn.execute(QUERIES[query], values)
        await conn.execute(QUERIES["raise_version"])
