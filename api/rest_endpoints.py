"""The REST interface's part for operators of receivers: how endpoints stand, and reconciliation. Administrators only."""

from dataclasses import asdict
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from api import breaker, reading, reconcile
from api.access import Administrator, Operator
from api.breaker import Breaker
from api.console import console
from api.errors import NotFound
from gateway.clock import now_us

router = APIRouter(prefix="/api/v1")
Time = Annotated[int, Field(ge=0, lt=2**53)]


class Subscription(BaseModel):
    """Data of every site that an endpoint is sent. through_us: periods that ended by then have been made."""

    what: str
    period: str
    from_us: int
    through_us: int


class EndpointState(BaseModel):
    """A receiver and how it stands. receiver: host and port. open_until_us: when the breaker lets a probe through."""

    name: str
    kind: str
    receiver: str
    enabled: bool
    alerts: bool
    breaker: Breaker
    open_until_us: int
    failures: int
    delivered_us: int | None
    waiting: int
    due_us: int | None
    dead: int
    last_error: str | None
    fallback: str | None
    rotating: bool
    subscriptions: list[Subscription]


class Known(BaseModel):
    """What a receiver says it has: webhook-ids, of deliveries between two times."""

    model_config = ConfigDict(extra="forbid")

    webhook_ids: list[Annotated[str, Field(max_length=200)]] = Field(max_length=10_000)
    from_us: Time = 0
    to_us: Time | None = None


class Reconciliation(BaseModel):
    """both: delivered here and known there. The other three differ; see docs/integration.md."""

    both: int
    missing_there: list[str]
    unconfirmed_here: list[str]
    unknown_here: list[str]


@router.get("/endpoints")
async def endpoints(request: Request, who: Administrator) -> list[EndpointState]:
    """Every receiver: breaker, queue, last success, subscriptions."""
    async with console(request).scoped(who) as conn:
        return [_state(row) for row in await reading.endpoints(conn)]


@router.post("/endpoints/{name}/reconcile")
async def compare(request: Request, who: Operator, name: str, body: Known) -> Reconciliation:
    """Compare what we say was delivered with what the receiver says it has."""
    async with console(request).scoped(who) as conn:
        number = next((row["id"] for row in await reading.endpoints(conn) if row["name"] == name), None)
        if number is None:
            raise NotFound(f"there is no endpoint {name!r}")
        until_us = now_us() if body.to_us is None else body.to_us
        report = await reconcile.reconcile(conn, number, set(body.webhook_ids), body.from_us, until_us)
    return Reconciliation(**asdict(report))


def _state(row: dict[str, Any]) -> EndpointState:
    receiver = urlsplit(row["url"]).netloc.rpartition("@")[2]
    return EndpointState(**row, receiver=receiver, breaker=breaker.state(row["open_until_us"], now_us()))
