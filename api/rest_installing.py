"""The REST interface of installers: claiming and swapping.

One decision: a refused row of the register comes back as 422 with its faults, in the words that a workbook's would have.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from api import installing
from api.access import Installer
from api.console import console
from api.errors import Refused
from gateway.clock import now_us
from ingest.declaration import RegisterError

router = APIRouter(prefix="/api/v1")
Text = Annotated[str, Field(min_length=1, max_length=200)]


class Found(BaseModel):
    """An unknown device. class: what it probably is, "" where nothing tells."""

    gateway: str
    identity: str
    likely_class: str
    last_us: int
    events: int


class Claim(BaseModel):
    """device_class: of `docs/register.md`. place: "<site>/<place>". assessment: reference, for devices that see faces."""

    model_config = ConfigDict(extra="forbid")

    gateway: Text
    identity: Text
    device_class: Text
    place: Text
    assessment: Annotated[str, Field(max_length=200)] = ""


class DeviceSwap(BaseModel):
    """The new device takes the place of the old. new_gateway, device_class: where they differ from the old one's."""

    model_config = ConfigDict(extra="forbid")

    gateway: Text
    old: Text
    new: Text
    new_gateway: Annotated[str, Field(max_length=64)] = ""
    device_class: Annotated[str, Field(max_length=64)] = ""


class GatewaySwap(BaseModel):
    """All devices of the old gateway belong to the new one from now on; the old one is suspended."""

    model_config = ConfigDict(extra="forbid")

    old: Text
    new: Text


@router.get("/unclaimed")
async def find(request: Request, who: Installer, number: Annotated[str, Query(min_length=4, max_length=500)]) -> list[Found]:
    """Unknown devices by the number on them, or by the text of its QR code."""
    found = await installing.find(console(request).pool, who, number)
    return [
        Found(gateway=w.gateway, identity=w.identity, likely_class=w.likely_class, last_us=w.last_us, events=w.events)
        for w in found
    ]


@router.post("/claims", status_code=201)
async def claim(request: Request, who: Installer, body: Claim) -> Claim:
    """Mount an unknown device at a place."""
    async with refusals():
        await installing.claim(
            console(request).pool, who, body.gateway, body.identity, body.device_class, body.place, body.assessment, now_us()
        )
    return body


@router.post("/swaps/device", status_code=201)
async def swap_device(request: Request, who: Installer, body: DeviceSwap) -> dict[str, str]:
    """Mount a new device where the old one is; the place keeps its history."""
    async with refusals():
        place = await installing.swap_device(
            console(request).pool,
            who,
            body.gateway,
            body.old,
            body.new,
            now_us(),
            new_gateway=body.new_gateway,
            device_class=body.device_class,
        )
    return {"place": place}


@router.post("/swaps/gateway", status_code=201)
async def swap_gateway(request: Request, who: Installer, body: GatewaySwap) -> dict[str, int]:
    """Give all devices of a gateway to another."""
    async with refusals():
        return {"devices": await installing.swap_gateway(console(request).pool, who, body.old, body.new)}


@asynccontextmanager
async def refusals() -> AsyncIterator[None]:
    """Turn what the register refuses into an answer that HTTP can give. Raises Refused."""
    try:
        yield
    except RegisterError as refused:
        raise Refused(refused.errors) from None
