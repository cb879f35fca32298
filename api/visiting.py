"""Visit tasks and the monthly visit rate over REST, and the completing of a task for the page alike.

One decision: a task shows the person's number and never a name; who it is, is shown only where names may be read.
"""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from analytics import reasons, visits
from api.access import Actor, Reader
from api.accounts import Principal
from api.acting import MAX_NOTE
from api.console import console
from api.errors import BadRequest, NotFound, Stale
from api.paging import Cursor, Limit, Region
from api.paging import number as read_cursor
from gateway.clock import now_us

router = APIRouter(prefix="/api/v1")

State = Literal["open", "done", "withdrawn"]


class Visit(BaseModel):
    """Someone should see how a person is. result "seen": they came to the centre. Times are microseconds since 1970 (UTC)."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    alert: int
    person: int
    site_code: str
    severity: str
    created_us: int
    due_us: int
    state: State
    result: str | None
    note: str
    done_us: int | None
    who: str
    text: dict[str, str]


class Visits(BaseModel):
    """Visit tasks, newest first. cursor: for the next page, null on the last."""

    items: list[Visit]
    cursor: str | None


class Complete(BaseModel):
    """How a visit came out."""

    model_config = ConfigDict(extra="forbid")

    result: visits.Result
    note: str = Field(default="", max_length=MAX_NOTE)


class SiteRate(BaseModel):
    """Residents under consent of a site; of them, who came in the month, who was visited, and who either."""

    model_config = ConfigDict(from_attributes=True)

    site_code: str
    site_name: str
    region: str
    residents: int
    seen: int
    visited: int
    reached: int


class Rate(BaseModel):
    """The monthly visit rate (月探访率): reached / residents, null where there are none."""

    month: str
    residents: int
    reached: int
    rate: float | None
    sites: list[SiteRate]


@router.get("/visits")
async def tasks(
    request: Request, who: Reader, state: State | None = None, region: Region = "", cursor: Cursor = None, limit: Limit = 50
) -> Visits:
    """Visit tasks, newest first, page by page."""
    below = read_cursor(cursor)
    async with console(request).scoped(who) as conn:
        rows = await visits.visits_page(conn, sites=who.sites, region=region, state=state, below=below, limit=limit + 1)
    more = str(rows[limit - 1].id) if len(rows) > limit else None
    return Visits(items=[_shown(task) for task in rows[:limit]], cursor=more)


@router.post("/visits/{number}")
async def complete_task(request: Request, who: Actor, number: int, body: Complete) -> Visit:
    """Record a visit; 409 when it was done or withdrawn meanwhile."""
    async with console(request).scoped(who) as conn:
        await complete(conn, who, number, body.result, body.note, now_us())
        return _shown((await visits.visits(conn, sites=who.sites, number=number))[0])


@router.get("/visit-rate")
async def visit_rate(
    request: Request,
    who: Reader,
    month: Annotated[str, Query(description="YYYY-MM, local")],
    region: Region = "",
) -> Rate:
    """The monthly visit rate of the sites of a region."""
    async with console(request).scoped(who) as conn:
        try:
            sites = await visits.visit_rate(conn, month, region=region, sites=who.sites)
        except ValueError as error:
            raise BadRequest(str(error)) from error
    residents, reached = sum(s.residents for s in sites), sum(s.reached for s in sites)
    return Rate(
        month=month,
        residents=residents,
        reached=reached,
        rate=reached / residents if residents else None,
        sites=[SiteRate.model_validate(s) for s in sites],
    )


async def complete(conn: visits.Connection, who: Principal, number: int, result: str, note: str, now: int) -> None:
    """Record a visit. Raises NotFound, Stale, BadRequest."""
    if result not in list(visits.Result):
        raise BadRequest(f"a result is one of {', '.join(visits.Result)}")
    if len(note) > MAX_NOTE or "\0" in note:
        raise BadRequest(f"a note is text of at most {MAX_NOTE} characters")
    missing = NotFound(f"there is no visit task {number}")
    if not 0 < number < 2**63:
        raise missing
    try:
        await visits.complete(conn, number, visits.Result(result), note, who.name, now, sites=who.sites)
    except visits.UnknownVisit as error:
        raise missing from error
    except visits.VisitOver as error:
        raise Stale(str(error), state=error.state) from error


def _shown(task: visits.Visit) -> Visit:
    fields: dict[str, Any] = {name: getattr(task, name) for name in Visit.model_fields if name != "text"}
    return Visit(**fields, text={lang: reasons.render(task.rule, task.reason, lang, task.zone) for lang in ("zh", "en")})
