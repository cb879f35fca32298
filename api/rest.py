"""The REST interface, version 1: what the page shows, for programs.

One decision: whoever follows alerts does so by transaction order below the oldest undecided one, so that a cursor never
passes a change that commits late.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import JSONResponse, Response

from analytics import reasons
from api import acting, deadletters, listing, reading
from api import openapi as openapi_schema
from api.access import Actor, Reader
from api.console import console
from api.errors import BadRequest, NotFound
from api.paging import Code, Cursor, Limit, Number, Region, Time
from api.paging import number as read_cursor
from gateway.clock import now_us

router = APIRouter(prefix="/api/v1")

SiteState = Literal["alert", "blind", "attention", "unknown", "ok", "closed"]
State = Literal["open", "acknowledged", "resolved", "cleared", "retracted", "expired"]


class Me(BaseModel):
    """Who is asking."""

    name: str
    role: str
    scopes: list[str]


class Site(BaseModel):
    """A site and its state. Times are microseconds since 1970 (UTC)."""

    model_config = ConfigDict(from_attributes=True)

    code: str
    name: str
    name_en: str
    kind: str
    region_code: str
    region: str
    zone: str
    capacity: int | None
    state: str
    clock_us: int
    next_rule: str
    next_deadline_us: int | None
    today_in: int
    today_passages: int
    last_event_us: int | None
    not_analysed_since_us: int | None = Field(validation_alias="failing_since_us")


class SiteDetail(Site):
    """A site with its places and latest events."""

    detail: dict[str, Any]


class Alert(BaseModel):
    """An alert. reason: {"code": …} and its numbers; text: the same in words. count: episodes it stands for.

    recurs: the alert that had ended shortly before. reach: "unreached" where nobody took it over at any level.
    """

    model_config = ConfigDict(from_attributes=True)

    id: int
    rule: str
    subject_kind: str
    subject: int
    site_code: str | None
    state: str
    severity: str
    begin_us: int
    detected_us: int
    end_us: int | None
    late: bool
    reason: dict[str, Any]
    text: dict[str, str]
    version: int
    assignee: str
    outcome: str | None
    note: str
    count: int
    recurs: int | None
    reach: str


class Change(BaseModel):
    """One change of an alert."""

    model_config = ConfigDict(from_attributes=True)

    version: int
    at_us: int
    who: str
    what: str
    why: str


class FollowedChange(Change):
    """One change of any alert."""

    alert: int


class Sites(BaseModel):
    """Sites, by when they were entered. cursor: for the next page, null on the last."""

    items: list[Site]
    cursor: str | None


class Alerts(BaseModel):
    """Alerts, newest first. cursor: for the next page, null on the last. after: where to start following changes."""

    items: list[Alert]
    cursor: str | None
    after: str


class Followed(BaseModel):
    """Changes since a cursor, oldest first, and the alerts they changed as they are now."""

    changes: list[FollowedChange]
    items: list[Alert]
    after: str


class Acknowledge(BaseModel):
    """The version that was looked at."""

    model_config = ConfigDict(extra="forbid")

    version: Number


class Resolve(Acknowledge):
    """How it came out."""

    outcome: Literal["real", "false_alarm", "device_fault", "drill"]
    note: str = Field(default="", max_length=acting.MAX_NOTE)


class DeadLetter(BaseModel):
    """A push that was given up, about an alert or a data period. enabled: false where its endpoint has answered 410."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    alert: int | None
    period: int | None
    version: int
    endpoint: str
    enabled: bool
    attempts: int
    last_status: int | None
    last_error: str
    done_us: int | None


class DeadLetters(BaseModel):
    """Pushes that were given up, newest first. cursor: for the next page, null on the last."""

    items: list[DeadLetter]
    cursor: str | None


class SentAgain(BaseModel):
    """What became of a dead letter: it waits to be sent, or a newer version of its alert has replaced it."""

    id: int
    state: Literal["pending", "superseded"]


def alert_of(row: reading.AlertRow) -> Alert:
    """Return a row as programs read it."""
    text = {lang: reasons.render(row.rule, row.reason, lang, row.zone) for lang in ("zh", "en")}
    fields = {name: getattr(row, name) for name in Alert.model_fields if name != "text"}
    return Alert(**fields, text=text)


@router.get("/me")
async def me(who: Reader) -> Me:
    """Who is asking."""
    return Me(name=who.name, role=who.role, scopes=sorted(who.scopes))


@router.get("/sites")
async def sites(
    request: Request,
    who: Reader,
    region: Region = "",
    state: Annotated[list[SiteState] | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = 50,
) -> Sites:
    """Sites that the reader may see, page by page."""
    after = read_cursor(cursor) or 0
    async with console(request).scoped(who) as conn:
        rows = await listing.sites_page(conn, who.sites, region=region, code=None, states=state, after=after, limit=limit + 1)
    more = str(rows[limit - 1].id) if len(rows) > limit else None
    return Sites(items=[Site.model_validate(row) for row in rows[:limit]], cursor=more)


@router.get("/sites/{code}")
async def site(request: Request, who: Reader, code: str) -> SiteDetail:
    """One site."""
    async with console(request).scoped(who) as conn:
        rows = await reading.sites(conn, who.sites, code)
    if not rows:
        raise NotFound(f"there is no site {code!r}")
    return SiteDetail.model_validate(rows[0])


@router.get("/alerts")
async def alerts(
    request: Request,
    who: Reader,
    state: Annotated[list[State] | None, Query()] = None,
    site: Code = None,
    region: Region = "",
    from_us: Time = None,
    to_us: Time = None,
    cursor: Cursor = None,
    after: Annotated[str | None, Query(description="`after` of an earlier answer", max_length=40)] = None,
    limit: Limit = 50,
) -> Alerts | Followed:
    """Alerts, newest first, page by page with `cursor`; or, with `after`, what has changed since, oldest first.

    region and times (of the beginning) narrow pages; following is narrowed by site and state only.
    """
    if after is not None and cursor is not None:
        raise BadRequest("cursor leads to older pages, after to newer changes; send one of them")
    below = read_cursor(cursor)
    async with console(request).scoped(who) as conn:
        if after is not None:
            return await _followed(conn, who.sites, _position(after), state, site, limit)
        edge = await reading.snapshot(conn)  # read first: what commits from here on comes by `after`
        rows = await reading.alerts(
            conn, who.sites, states=state, of=site, region=region, from_us=from_us, to_us=to_us, below=below, limit=limit + 1
        )
    more = len(rows) > limit
    return Alerts(items=[alert_of(r) for r in rows[:limit]], cursor=str(rows[limit - 1].id) if more else None, after=f"{edge}-0")


async def _followed(
    conn: reading.Connection, own: reading.Sites, after: tuple[int, int], states: list[State] | None, of: str | None, limit: int
) -> Followed:
    changed = await reading.follow(conn, own, after, states, of, limit)
    rows = [await reading.alert(conn, own, number) for number in dict.fromkeys(c.alert for c in changed)]
    last = (changed[-1].xid, changed[-1].id) if changed else after
    return Followed(
        changes=[FollowedChange.model_validate(c, from_attributes=True) for c in changed],
        items=[alert_of(row) for row in rows if row],
        after=f"{last[0]}-{last[1]}",
    )


def _position(text: str) -> tuple[int, int]:
    xid, dash, part = text.partition("-")
    if not dash:
        raise BadRequest("this is not a cursor of ours; start without one")
    return read_cursor(xid) or 0, read_cursor(part) or 0


@router.get("/alerts/{number}")
async def alert(request: Request, who: Reader, number: int) -> Alert:
    """One alert."""
    async with console(request).scoped(who) as conn:
        return alert_of(await found(conn, who.sites, number))


@router.get("/alerts/{number}/changes")
async def changes(request: Request, who: Reader, number: int) -> list[Change]:
    """An alert's history, oldest first."""
    async with console(request).scoped(who) as conn:
        await found(conn, who.sites, number)
        return [Change.model_validate(c) for c in await reading.changes(conn, number)]


@router.post("/alerts/{number}/acknowledge")
async def acknowledge(request: Request, who: Actor, number: int, body: Acknowledge) -> Alert:
    """Take an alert over; 409 when someone was faster."""
    async with console(request).scoped(who) as conn:
        await acting.acknowledge(conn, who, number, body.version, now_us())
        return alert_of(await found(conn, who.sites, number))


@router.post("/alerts/{number}/resolve")
async def resolve(request: Request, who: Actor, number: int, body: Resolve) -> Alert:
    """Resolve an alert with its outcome; 409 when someone was faster."""
    async with console(request).scoped(who) as conn:
        await acting.resolve(conn, who, number, body.version, body.outcome, body.note, now_us())
        return alert_of(await found(conn, who.sites, number))


@router.get("/dead-letters")
async def dead_letters(request: Request, who: Reader, cursor: Cursor = None, limit: Limit = 50) -> DeadLetters:
    """Pushes that were given up, newest first; for city administrators, empty for others."""
    if who.role != "city":
        return DeadLetters(items=[], cursor=None)
    async with console(request).scoped(who) as conn:
        rows = await deadletters.listed(conn, below=read_cursor(cursor), limit=limit + 1)
    more = str(rows[limit - 1].id) if len(rows) > limit else None
    return DeadLetters(items=[DeadLetter.model_validate(row) for row in rows[:limit]], cursor=more)


@router.post("/dead-letters/{number}/send-again")
async def send_again(request: Request, who: Actor, number: int) -> SentAgain:
    """Send a dead letter again and turn its endpoint back on; administrators only."""
    async with console(request).scoped(who) as conn:
        return SentAgain.model_validate({"id": number, "state": await deadletters.send_again(conn, who, number, now_us())})


async def found(conn: reading.Connection, own: reading.Sites, number: int) -> reading.AlertRow:
    """Return an alert that the reader may see. Raises NotFound."""
    row = await reading.alert(conn, own, number) if 0 < number < 2**63 else None
    if row is None:
        raise NotFound(f"there is no alert {number}")
    return row


@router.get("/openapi.json", include_in_schema=False)
async def openapi(request: Request, who: Reader) -> Response:
    """This interface, described (OpenAPI)."""
    return JSONResponse(openapi_schema.describe(request.app))
