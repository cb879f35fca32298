"""Regions: counties, towns and sites beside each other, without a map."""

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict
from starlette.responses import Response

from api import regions
from api.access import Reader
from api.console import console
from api.report_period import month_of
from api.web.page import say_for, show
from gateway.clock import now_us

router = APIRouter()


class Region(BaseModel):
    """A county, town or site. served: 服务人次 of the last seven days. alerts: that wait, urgent ones untaken among them."""

    model_config = ConfigDict(from_attributes=True)

    code: str
    name: str
    name_en: str
    sites: int
    alert: int
    blind: int
    attention: int
    ok: int
    alerts: int
    urgent: int
    today_in: int
    today_passages: int
    served: int


@router.get("/api/v1/regions")
async def parts(request: Request, who: Reader, under: str = "") -> list[Region]:
    """The parts of a region: counties, then towns, then sites. under: the first 2, 4, 6, 9 or 12 digits of its code."""
    async with console(request).scoped(who) as conn:
        return [Region.model_validate(p) for p in (await regions.read(conn, under, who.sites, now_us())).parts]


@router.get("/regions", include_in_schema=False)
async def page(request: Request, who: Reader, under: str = "") -> Response:
    """The parts of a region with what waits there, compared by how many were served a site."""
    say = say_for(request)
    async with console(request).scoped(who) as conn:
        found = await regions.read(conn, under, who.sites, say.now_us)
    most = max((p.served / p.sites for p in found.parts), default=0)
    total = {
        name: sum(getattr(p, name) for p in found.parts)
        for name in ("sites", "alert", "blind", "attention", "ok", "alerts", "served")
    }
    return show(
        request,
        "regions.html",
        who=who,
        say=say,
        here="sites",
        found=found,
        name=say.name(found.name, found.name_en),
        level={regions.COUNTY: "county", regions.TOWN: "town", regions.SITES: "site"}[found.digits],
        total=total,
        most=most,
        month=month_of(say.now_us),
    )
