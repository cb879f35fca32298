"""Visit tasks (探访): what is to be done, the form that records it, what was done; and the month's visit rate."""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from analytics import reasons, visits
from api.access import Actor, Reader
from api.console import console
from api.errors import Stale
from api.visiting import complete
from api.web.forms import form
from api.web.i18n import Say
from api.web.page import say_for, show
from gateway.clock import SECOND_US, now_us

router = APIRouter(include_in_schema=False)
ZONE = "Asia/Shanghai"
PAST = 50
"""Most tasks that are over and still listed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A task in words. overdue: someone should have been there by now."""

    id: int
    alert: int
    person: int
    site: str
    site_code: str
    severity: str
    severity_word: str
    text: str
    due: str
    overdue: bool
    done: str
    outcome: str
    note: str
    who: str


@router.get("/visits")
async def page(request: Request, who: Reader) -> Response:
    """Open tasks with their forms, then those that are over."""
    return await _page(request, who, "")


@router.post("/visits/{number}")
async def record(request: Request, who: Actor, number: int) -> Response:
    """Record a visit, from the form; whoever was slower sees why nothing happened."""
    fields = await form(request)
    try:
        async with console(request).scoped(who) as conn:
            await complete(conn, who, number, fields.get("result", ""), fields.get("note", "").strip(), now_us())
    except Stale as stale:
        say = say_for(request)
        state = say.word("visit_state", str(stale.members["state"]))
        return await _page(request, who, say("visits.stale", state=state), 409)
    return RedirectResponse("/visits", 303)


async def _page(request: Request, who: Reader, message: str, status: int = 200) -> Response:
    say = say_for(request)
    month = f"{datetime.fromtimestamp(say.now_us // SECOND_US, ZoneInfo(ZONE)):%Y-%m}"
    async with console(request).scoped(who) as conn:
        todo = await visits.visits(conn, sites=who.sites, state="open")
        past = [t for s in ("done", "withdrawn") for t in await visits.visits(conn, sites=who.sites, state=s, limit=PAST)]
        rates = await visits.visit_rate(conn, month, sites=who.sites)
    past.sort(key=lambda t: -(t.done_us or 0))
    residents, reached = sum(r.residents for r in rates), sum(r.reached for r in rates)
    return show(
        request,
        "visits.html",
        who=who,
        status=status,
        say=say,
        here="visits",
        message=message,
        todo=[_shown(t, say) for t in todo],
        past=[_shown(t, say) for t in past[:PAST]],
        results=tuple(visits.Result),
        rate=say("visits.rate", month=month, reached=reached, residents=residents, percent=round(100 * reached / residents))
        if residents
        else "",
    )


def _shown(task: visits.Visit, say: Say) -> Shown:
    outcome = say.word("visit_result", task.result) if task.result else say.word("visit_state", task.state)
    return Shown(
        id=task.id,
        alert=task.alert,
        person=task.person,
        site=say.name(task.site_name, task.site_name_en),
        site_code=task.site_code,
        severity=task.severity,
        severity_word=say.word("severity", task.severity),
        text=reasons.render(task.rule, task.reason, say.lang, task.zone),
        due=say.clock(task.due_us, task.zone),
        overdue=task.state == "open" and task.due_us < say.now_us,
        done=say.clock(task.done_us, task.zone) if task.done_us else "",
        outcome=outcome,
        note=task.note,
        who=say("visits.analyzer") if task.who == "analyzer" else task.who,
    )
