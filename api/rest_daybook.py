"""The REST interface about sites that are not as usual: closures, visits and drills.

One decision: what is entered here is the same row that the command line writes, so the analyzer cannot tell them apart.
"""

from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from api import daybook, reading
from api.access import Actor
from api.accounts import Principal
from api.console import console
from api.errors import NotFound
from gateway.clock import now_us

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
    await _enter(request, who, code, "closed", body)
    return body


@router.post("/sites/{code}/modes", status_code=201)
async def set_mode(request: Request, who: Actor, code: str, body: SiteMode) -> SiteMode:
    """Enter a visit or a drill."""
    await _enter(request, who, code, body.mode, body)
    return body


async def _enter(request: Request, who: Principal, code: str, mode: str, body: Closure) -> None:
    async with console(request).scoped(who) as conn:
        rows = await reading.sites(conn, who.sites, code)
        if not rows:
            raise NotFound(f"there is no site {code!r}")
        span = body.from_us, body.to_us
        await daybook.enter(conn, who, rows[0], mode, *span, body.reason, now_us(), cancelled=body.cancelled)
