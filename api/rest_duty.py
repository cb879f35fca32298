"""The REST interface about telling people: why, silences, the roster, assignment and comments."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from api import duty
from api.access import Actor, Administrator, Operator, Reader
from api.console import console
from api.rest import Acknowledge, Alert, alert_of, found
from gateway.clock import now_us

router = APIRouter(prefix="/api/v1")
Text = Annotated[str, Field(min_length=1, max_length=duty.MAX_TEXT)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Time = Annotated[int, Field(ge=0, lt=2**62)]


class Recipient(BaseModel):
    """Whom a message went to. state: pending, delivered, superseded (withdrawn), dead or passed_on. Times are microseconds."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    kind: str
    state: str
    attempts: int
    last_error: str
    done_us: int | None


class Decision(BaseModel):
    """One decision: who was told, or why not. detail: which silence or other alert. version: of the alert."""

    model_config = ConfigDict(from_attributes=True)

    at_us: int
    version: int
    told: bool
    reason: str
    level: int
    detail: dict[str, Any]
    to: list[Recipient]


class Why(BaseModel):
    """Every decision about an alert, oldest first. next_us: when it is decided again, null for never."""

    alert: int
    decisions: list[Decision]
    next_us: int | None


class Assign(Acknowledge):
    """Whom to give the alert to: the name of an account that may see it."""

    assignee: Name


class Comment(BaseModel):
    """What someone says about an alert."""

    model_config = ConfigDict(extra="forbid")

    text: Text


class NewSilence(BaseModel):
    """What nobody is told of from one time to another (at most 30 days); what is left out matches everything."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["silence", "maintenance"] = "silence"
    reason: Text
    from_us: Time | None = None
    to_us: Time
    rule: str | None = None
    site: str | None = None
    region: str | None = None
    severity: str | None = None
    subject_kind: str | None = None
    subject: Annotated[int, Field(ge=1, lt=2**31)] | None = None


class Silence(BaseModel):
    """A silence or maintenance window. area: head of the codes of the regions that it covers."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    kind: str
    rule: str | None
    site: str | None
    area: str | None
    subject_kind: str | None
    subject: int | None
    severity: str | None
    from_us: int
    to_us: int
    author: str
    reason: str


class NewContact(BaseModel):
    """Someone who can be on duty. endpoint: name of a robot, SMS or mail endpoint; address: theirs there, "" for its own."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    endpoint: Name
    address: str = Field(default="", max_length=200)
    account: str | None = None


class Contact(BaseModel):
    """Someone who can be on duty, and how they are told."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    account: str | None
    endpoint: str
    kind: str
    address: str


class NewShift(BaseModel):
    """Who is on duty at a site, or in a region (12 digits). to_us: null until further notice."""

    model_config = ConfigDict(extra="forbid")

    contact: Name
    site: str | None = None
    region: str | None = None
    from_us: Time
    to_us: Time | None = None


class Shift(BaseModel):
    """Who is on duty where and when. level: 0 site, 1 town, 2 city."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    contact: str
    site: str | None
    area: str | None
    level: int
    from_us: int
    to_us: int | None


class Made(BaseModel):
    """The number of what was made."""

    id: int


@router.get("/alerts/{number}/why")
async def why(request: Request, who: Reader, number: int) -> Why:
    """Who was told of an alert, when and why, and why others were not."""
    async with console(request).scoped(who) as conn:
        await found(conn, who.sites, number)
        decisions, next_us = await duty.why(conn, number)
    told = [(d, [Recipient.model_validate(r) for r in to]) for d, to in decisions]
    names = [name for name in Decision.model_fields if name != "to"]
    items = [Decision(**{name: getattr(d, name) for name in names}, to=to) for d, to in told]
    return Why(alert=number, decisions=items, next_us=next_us)


@router.post("/alerts/{number}/assign")
async def assign(request: Request, who: Actor, number: int, body: Assign) -> Alert:
    """Give an alert to someone; 409 when someone was faster."""
    async with console(request).scoped(who) as conn:
        await duty.assign(conn, who, number, body.version, body.assignee, now_us())
        return alert_of(await found(conn, who.sites, number))


@router.post("/alerts/{number}/comments")
async def comment(request: Request, who: Actor, number: int, body: Comment) -> Alert:
    """Say something about an alert that goes on."""
    async with console(request).scoped(who) as conn:
        await duty.comment(conn, who, number, body.text, now_us())
        return alert_of(await found(conn, who.sites, number))


@router.get("/silences")
async def silences(request: Request, who: Reader) -> list[Silence]:
    """Silences and maintenance windows that concern the reader; those of the last week too."""
    async with console(request).scoped(who) as conn:
        return [Silence.model_validate(row) for row in await duty.silences(conn, who, now_us())]


@router.post("/silences")
async def silence(request: Request, who: Actor, body: NewSilence) -> Made:
    """Keep quiet about what matches, for a time."""
    now = now_us()
    values = body.model_dump() | {"from_us": now if body.from_us is None else body.from_us}
    async with console(request).scoped(who) as conn:
        return Made(id=await duty.silence(conn, who, now, **values))


@router.post("/silences/{number}/expire")
async def expire(request: Request, who: Actor, number: int) -> Made:
    """End a silence now."""
    async with console(request).scoped(who) as conn:
        await duty.expire(conn, who, number, now_us())
    return Made(id=number)


@router.get("/contacts")
async def contacts(request: Request, who: Administrator) -> list[Contact]:
    """Everyone who can be on duty; for administrators."""
    async with console(request).scoped(who) as conn:
        return [Contact.model_validate(row) for row in await duty.contacts(conn)]


@router.post("/contacts")
async def put_contact(request: Request, who: Operator, body: NewContact) -> Made:
    """Add someone, or say anew how they are told; for administrators."""
    async with console(request).scoped(who) as conn:
        return Made(id=await duty.put_contact(conn, body.name, body.endpoint, body.address, body.account))


@router.get("/shifts")
async def shifts(request: Request, who: Reader) -> list[Shift]:
    """Who is on duty where it concerns the reader."""
    async with console(request).scoped(who) as conn:
        return [Shift.model_validate(row) for row in await duty.shifts(conn, who, now_us())]


@router.post("/shifts")
async def put_shift(request: Request, who: Operator, body: NewShift) -> Made:
    """Put someone on duty; for administrators."""
    async with console(request).scoped(who) as conn:
        return Made(id=await duty.put_shift(conn, body.contact, body.site, body.region, body.from_us, body.to_us))


@router.post("/shifts/{number}/end")
async def end_shift(request: Request, who: Operator, number: int) -> Made:
    """Take someone off duty; for administrators."""
    async with console(request).scoped(who) as conn:
        await duty.end_shift(conn, number, now_us())
    return Made(id=number)
