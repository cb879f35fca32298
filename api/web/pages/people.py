"""Persons and consent: the list without names, one person, names on request, export and erasure."""

import io
import json
import zipfile
from collections.abc import Sequence

from fastapi import APIRouter, Request
from psycopg.rows import DictRow
from starlette.datastructures import UploadFile
from starlette.responses import RedirectResponse, Response

from api import daybook, people, people_import, reading
from api.access import People
from api.accounts import Principal
from api.console import console
from api.daybook import Connection
from api.errors import BadRequest, NotFound
from api.reading import SiteRow
from api.web import people_views
from api.web.forms import form, whole
from api.web.page import say_for, show
from gateway.clock import DAY_US, now_us
from ingest import spreadsheets
from ingest.declaration import RegisterError, RowError
from ingest.register import Counts

router = APIRouter(include_in_schema=False)


@router.get("/people")
async def index(request: Request, who: People, site: str = "", role: str = "", after: int = 0) -> Response:
    """Persons of the reader's part by number, and a form for a new one."""
    return await _index(request, who, site=site, role=role, after=after)


@router.post("/people/names")
async def with_names(request: Request, who: People) -> Response:
    """The same list with names; that they were read is noted."""
    fields = await form(request)
    return await _index(
        request, who, site=fields.get("site", ""), role=fields.get("role", ""), after=whole(fields.get("after", "0")), named=True
    )


@router.post("/people/import")
async def import_file(request: Request, who: People) -> Response:
    """Take a workbook with a sheet `people`, or people.csv: say what is wrong with which row, or what was written."""
    async with request.form(max_files=1, max_fields=4) as fields:
        file, dry = fields.get("file"), fields.get("dry") == "1"
        if not isinstance(file, UploadFile) or not file.filename:
            raise BadRequest("choose a file first")
        name, data = file.filename, await file.read()
    state = console(request)
    try:
        rows = spreadsheets.read(name, data, (people_import.TABLE,)).get(people_import.TABLE, [])
        async with state.scoped(who) as conn:
            counts = await people_import.load(conn, who, state.sealer, rows, now_us(), dry_run=dry)
    except RegisterError as refused:
        return await _index(request, who, errors=refused.errors, status=422)
    return await _index(request, who, counts=counts, dry=dry)


async def _index(
    request: Request,
    who: Principal,
    *,
    site: str = "",
    role: str = "",
    after: int = 0,
    named: bool = False,
    status: int = 200,
    errors: Sequence[RowError] = (),
    counts: Counts | None = None,
    dry: bool = False,
) -> Response:
    state, say = console(request), say_for(request)
    if not 0 <= after < 2**31:
        raise BadRequest("after is a person's number")
    async with state.scoped(who) as conn:
        rows = await people.listed(conn, who, site=site or None, role=role or None, after=after, limit=people.PAGE + 1)
        shown = rows[: people.PAGE]
        names = await people.names(conn, who, state.sealer, [r["id"] for r in shown], "list") if named else {}
        sites = await reading.sites(conn, who.sites)
    return show(
        request,
        "people.html",
        who=who,
        say=say,
        here="people",
        persons=[people_views.person(r, names, say) for r in shown],
        named=named,
        sites=[(s.code, say.name(s.name, s.name_en)) for s in sites],
        roles=people.ROLES,
        purposes=people.PURPOSES,
        channels=people.CHANNELS,
        site=site,
        role=role,
        after=after,
        older=shown[-1]["id"] if len(rows) > people.PAGE else None,
        status=status,
        errors=errors,
        counts=counts,
        dry=dry,
    )


@router.post("/people")
async def add(request: Request, who: People) -> Response:
    """Enter someone who agreed, from the form."""
    fields, state = await form(request), console(request)
    async with state.scoped(who) as conn:
        row = await _site(conn, who, fields.get("site", ""))
        person = await people.add(
            conn,
            who,
            state.sealer,
            row.id,
            role=fields.get("role", ""),
            name=fields.get("name", ""),
            ref=fields.get("ref", ""),
            purposes=[p for p in people.PURPOSES if fields.get(p)],
            version=fields.get("version", ""),
            channel=fields.get("channel", ""),
            guardian=fields.get("guardian", ""),
            now_us=now_us(),
        )
    return RedirectResponse(f"/people/{person}", 303)


@router.get("/people/{number}")
async def one(request: Request, who: People, number: int) -> Response:
    """One person, by number."""
    return await _one(request, who, number, named=False)


@router.post("/people/{number}/name")
async def name(request: Request, who: People, number: int) -> Response:
    """The same with the name and the guardian; that they were read is noted."""
    return await _one(request, who, number, named=True)


async def _one(request: Request, who: Principal, number: int, *, named: bool) -> Response:
    state, say = console(request), say_for(request)
    async with state.scoped(who) as conn:
        row = await _person(conn, who, number)
        names = await people.names(conn, who, state.sealer, [number], "person") if named else {}
        given = await people.rows_of(conn, "consents", number)
        guardians = {c["id"]: state.sealer.open(number, bytes(c["guardian"])) for c in given if number in names and c["guardian"]}
        links, absences = await people.rows_of(conn, "links", number), await people.rows_of(conn, "absences", number)
        terminals = await people.terminals(conn, row["site_id"])
    coming = [a for a in absences if a["to_us"] > say.now_us - 30 * DAY_US]
    span = "{} – {}".format
    return show(
        request,
        "person.html",
        who=who,
        say=say,
        here="people",
        person=people_views.person(row, names, say),
        row=row,
        named=named,
        consents=[(people_views.consent(c, row["zone"], say), guardians.get(c["id"], "")) for c in given],
        links=links,
        terminals=terminals,
        absences=[(a, span(say.clock(a["from_us"], row["zone"]), say.clock(a["to_us"], row["zone"]))) for a in coming],
        roles=people.ROLES,
        missing=[p for p in people.PURPOSES if p not in row["purposes"]],
        channels=people.CHANNELS,
    )


@router.post("/people/{number}")
async def change(request: Request, who: People, number: int) -> Response:
    """Change what is said of a person, from the form."""
    fields, state = await form(request), console(request)
    said = {key: fields.get(key, "") for key in ("role", "ref", "name")}
    async with state.scoped(who) as conn:
        await people.change(conn, who, state.sealer, _number(number), **said, now_us=now_us())
    return RedirectResponse(f"/people/{number}", 303)


@router.post("/people/{number}/consent")
async def consent(request: Request, who: People, number: int) -> Response:
    """Record a consent, from the form."""
    fields, state = await form(request), console(request)
    said = {key: fields.get(key, "") for key in ("version", "channel", "guardian")}
    async with state.scoped(who) as conn:
        await _person(conn, who, number)
        await people.consent(conn, who, state.sealer, number, fields.get("purpose", ""), **said, now_us=now_us())
    return RedirectResponse(f"/people/{number}", 303)


@router.post("/people/{number}/withdraw")
async def withdraw(request: Request, who: People, number: int) -> Response:
    """Take back a consent, from the form; without attendance the person is erased."""
    fields, state = await form(request), console(request)
    async with state.scoped(who) as conn:
        gone = await people.withdraw(conn, who, _number(number), fields.get("purpose", ""), now_us())
    if gone is None:
        return RedirectResponse(f"/people/{number}", 303)
    await people.forget(state.settings.database_url, gone)
    return RedirectResponse("/people", 303)


@router.post("/people/{number}/links")
async def link(request: Request, who: People, number: int) -> Response:
    """Say how a terminal knows a person, or let it forget them, from the form: do = link, unlink."""
    fields = await form(request)
    act = people.unlink if fields.get("do") == "unlink" else people.link
    async with console(request).scoped(who) as conn:
        await act(conn, who, _number(number), _number(whole(fields.get("device", ""))), fields.get("local_id", ""))
    return RedirectResponse(f"/people/{number}", 303)


@router.post("/people/{number}/absences")
async def absence(request: Request, who: People, number: int) -> Response:
    """Announce an absence of whole days, or take one back, from the form."""
    fields = await form(request)
    cancelled = fields.get("do") == "cancel"
    async with console(request).scoped(who) as conn:
        row = await _person(conn, who, number)
        if cancelled:
            from_us, to_us = whole(fields.get("from_us", "")), whole(fields.get("to_us", ""))
        else:
            from_us = daybook.moment(fields.get("from", ""), row["zone"])
            to_us = daybook.moment(fields.get("to", ""), row["zone"]) + DAY_US
        await people.plan_absence(conn, who, number, from_us, to_us, fields.get("reason", ""), now_us(), cancelled=cancelled)
    return RedirectResponse(f"/people/{number}", 303)


@router.get("/people/{number}/export.zip")
async def export(request: Request, who: People, number: int) -> Response:
    """Everything that is kept of one person, as JSON in a ZIP file; that it was read is noted."""
    state = console(request)
    async with state.scoped(who) as conn:
        found = await people.exported(conn, who, state.sealer, _number(number))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(f"person-{number}.json", json.dumps(found, ensure_ascii=False, indent=1, default=str))
    headers = {"content-disposition": f'attachment; filename="person-{number}.zip"'}
    return Response(out.getvalue(), media_type="application/zip", headers=headers)


async def _person(conn: Connection, who: Principal, number: int) -> DictRow:
    return await people.found(conn, who, _number(number))


def _number(number: int) -> int:
    if not 0 < number < 2**31:
        raise NotFound(f"there is no person {number}")
    return number


async def _site(conn: Connection, who: Principal, code: str) -> SiteRow:
    rows = await reading.sites(conn, who.sites, code)
    if not rows:
        raise NotFound(f"there is no site {code!r}")
    return rows[0]
