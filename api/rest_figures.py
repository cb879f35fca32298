"""The REST interface's part for integrators: counts, opening and 服务人次 of any span, devices, and how the system stands.

One decision: the same figures as are pushed (api/figures.py), so that whoever compares the two finds no difference.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from api import figures, health, listing
from api.access import Reader
from api.console import console
from api.errors import BadRequest
from api.paging import Code, Cursor, Limit, Region
from api.paging import number as read_cursor
from api.periods import Period
from gateway.clock import DAY_US, HOUR_US, MINUTE_US, now_us
from ingest.classes import CLASSES

router = APIRouter(prefix="/api/v1")
LONGEST_US = 31 * DAY_US
GATEWAY_SILENT_US = 5 * MINUTE_US
Moment = Annotated[int, Query(ge=0, lt=2**53, description="Microseconds since 1970 (UTC), a whole hour")]


class SiteName(BaseModel):
    """Which site. region: code of 12 digits."""

    code: str
    name: str
    region: str
    kind: str


class Figure(BaseModel):
    """What is said of a site in a span of `minutes`; sensors were seeing in `seen_minutes` of them."""

    site: SiteName
    minutes: int
    seen_minutes: int
    figures: dict[str, Any] = Field(description="As in `data` of pushed bodies; see docs/integration.md")


class Figures(BaseModel):
    """Figures of sites, by when they were entered. cursor: for the next page, null on the last."""

    items: list[Figure]
    cursor: str | None


class Device(BaseModel):
    """A mounted device. state: "unknown" where its gateway was not there to hear it."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    identity: str
    name: str
    device_class: str = Field(validation_alias="class_")
    gateway: str
    site_code: str
    place: str
    region: str
    state: Literal["online", "offline", "unknown"]
    last_us: int | None


class Devices(BaseModel):
    """Devices. cursor: for the next page, null on the last."""

    items: list[Device]
    cursor: str | None


class Status(BaseModel):
    """How the system stands for the reader's part. shards: how many store and are analysed. lost_gateways: codes."""

    status: Literal["ok", "failing"]
    broker: str
    shards: dict[str, int]
    lost_gateways: list[str]


@router.get("/figures/{what}")
async def of_span(
    request: Request,
    who: Reader,
    what: Literal["counts", "opening", "service"],
    from_us: Moment,
    to_us: Moment,
    region: Region = "",
    site: Code = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Figures:
    """Figures of a span of whole hours, at most 31 days: people counted, opening, or 服务人次."""
    if from_us >= to_us or to_us - from_us > LONGEST_US or from_us % HOUR_US or to_us % HOUR_US:
        raise BadRequest("a span is of whole hours, one to 31 days of them, and ends after it begins")
    after = read_cursor(cursor) or 0
    async with console(request).scoped(who) as conn:
        rows = await listing.sites_page(conn, who.sites, region=region, code=site, states=None, after=after, limit=limit + 1)
        named: list[dict[str, Any]] = [
            {"id": r.id, "code": r.code, "name": r.name, "region": r.region_code, "kind": r.kind} for r in rows[:limit]
        ]
        found = await figures.read(conn, what, named, Period(from_us=from_us, to_us=to_us), now_us())
    items = []
    for number in (row["id"] for row in named):
        said = dict(found[number][0])
        head = {name: said.pop(name) for name in ("site", "minutes", "seen_minutes")}
        items.append(Figure(**head, figures=said))
    return Figures(items=items, cursor=str(rows[limit - 1].id) if len(rows) > limit else None)


@router.get("/devices")
async def devices(
    request: Request, who: Reader, region: Region = "", site: Code = None, cursor: Cursor = None, limit: Limit = 50
) -> Devices:
    """Mounted devices and whether they are heard."""
    after, now = read_cursor(cursor) or 0, now_us()
    async with console(request).scoped(who) as conn:
        rows = await listing.devices_page(conn, who.sites, region=region, code=site, after=after, limit=limit + 1)
    items = [Device.model_validate(row | {"state": _state(row, now)}) for row in rows[:limit]]
    return Devices(items=items, cursor=str(rows[limit - 1]["id"]) if len(rows) > limit else None)


def _state(row: dict[str, Any], now: int) -> str:
    alive_us = row["alive_every_us"] or CLASSES[row["class_"]].alive_every_us
    if row["last_us"] is not None and row["last_us"] > now - alive_us:
        return "online"
    heard = row["gateway_us"] is not None and row["gateway_us"] > now - GATEWAY_SILENT_US
    return "offline" if heard else "unknown"


@router.get("/status")
async def status(request: Request, who: Reader) -> Status:
    """Whether what the reader sees is received and analysed."""
    async with console(request).scoped(who) as conn:
        found = await health.read(conn, who.sites)
    _, said = found.summary()
    return Status.model_validate(said | {"lost_gateways": [g.code for g in found.lost]})
