"""验收: a site's signed acceptance records, made here and printed as one page."""

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from api import acceptance, report_tables, reports, rest_reports
from api.access import Installer, Reader
from api.console import console
from api.reports import Scope
from api.web.forms import form, whole
from api.web.page import say_for, show

router = APIRouter(include_in_schema=False)


@router.get("/sites/{code}/acceptances")
async def page(request: Request, who: Reader, code: str) -> Response:
    """The records of a site, and the form that makes one."""
    say = say_for(request)
    async with console(request).scoped(who) as conn:
        (row,) = await reports.sites_of(conn, Scope(site=code), who.sites)
        found = await acceptance.records(conn, code, who.sites)
    return show(
        request,
        "acceptances.html",
        who=who,
        say=say,
        here="sites",
        code=code,
        name=say.name(row["name"], row["name_en"]),
        records=[(r, report_tables.at(r.made_us, row["zone"], dated=True)) for r in found],
        may_accept=who.role in ("city", "town", "installer"),
        most=acceptance.MOST_DAYS,
    )


@router.post("/sites/{code}/acceptances")
async def make(request: Request, who: Installer, code: str) -> Response:
    """Judge the last days and sign, from the form."""
    fields = await form(request)
    made = await rest_reports.accepted(request, who, code, whole(fields.get("days", "")))
    return RedirectResponse(f"/sites/{code}/acceptances/{made.id}", 303)


@router.get("/sites/{code}/acceptances/{number}")
async def record(request: Request, who: Reader, code: str, number: int) -> Response:
    """One record, on one page."""
    say = say_for(request)
    async with console(request).scoped(who) as conn:
        (row,) = await reports.sites_of(conn, Scope(site=code), who.sites)
        found = await acceptance.record(conn, code, number, who.sites)
    return show(
        request,
        "acceptance.html",
        who=who,
        say=say,
        here="sites",
        code=code,
        signed=found,
        made=report_tables.at(found.made_us, row["zone"], dated=True),
    )


@router.get("/sites/{code}/acceptances/{number}/file")
async def file(request: Request, who: Reader, code: str, number: int) -> Response:
    """One record as a file that can be checked."""
    async with console(request).scoped(who) as conn:
        found = await acceptance.record(conn, code, number, who.sites)
    head = {"content-disposition": f'attachment; filename="acceptance-{number}.json"'}
    return Response(acceptance.file(found), media_type="application/json", headers=head)
