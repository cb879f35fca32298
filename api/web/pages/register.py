"""The register in the console: regions, sites, places and devices by forms, and whole workbooks with a dry run.

One decision: a form carries a row, and a refused row comes back with its faults above the forms, as a workbook's do.
"""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from starlette.datastructures import UploadFile
from starlette.responses import RedirectResponse, Response

from api import reading, registering
from api.access import Operator, Registrar
from api.accounts import Principal
from api.console import console
from api.errors import BadRequest, NotFound
from api.registering import Connection, Raw
from api.web.forms import form
from api.web.page import say_for, show
from api.web.register_views import counted, device_views, site_values
from gateway.clock import now_us
from ingest import spreadsheets
from ingest.classes import CLASSES
from ingest.declaration import PlaceRow, RegisterError, RowError, SiteRow

router = APIRouter(include_in_schema=False)
KINDS = SiteRow.model_fields["kind"].annotation.__args__  # type: ignore[union-attr]
ROOMS = PlaceRow.model_fields["room"].annotation.__args__  # type: ignore[union-attr]
NEW_HOURS = {day: [["08:00", "17:00"]] for day in ("mon", "tue", "wed", "thu", "fri")}
BLANK = dict.fromkeys(("name", "name_en", "kind", "region", "parent", "capacity", "zone"))
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@router.get("/register")
async def overview(request: Request, who: Registrar) -> Response:
    """Regions and sites, forms for new ones, and the way in and out for workbooks."""
    return await _overview(request, who)


async def _overview(request: Request, who: Principal, status: int = 200, **said: Any) -> Response:
    say = say_for(request)
    async with console(request).scoped(who) as conn:
        sites, regions = await registering.rows(conn, who, "sites"), await registering.rows(conn, who, "regions")
    values: dict[str, Any] = {"blank": BLANK, "errors": [], "counts": None, "dry": False} | said
    return show(
        request,
        "register.html",
        who=who,
        say=say,
        status=status,
        here="more",
        sites=sites,
        regions=regions,
        kinds=KINDS,
        **values,
    )


@router.post("/register/regions")
async def put_region(request: Request, who: Operator) -> Response:
    """Add a region or name it anew, from the form."""
    fields = await form(request)
    row = {name: fields.get(name, "") for name in ("code", "name", "name_en")}
    return await _write(request, who, {"regions": [row]}, "/register")


@router.post("/register/sites")
async def new_site(request: Request, who: Registrar) -> Response:
    """Add a site, from the form; the rest is said on its own page."""
    fields = await form(request)
    code = fields.get("code", "")
    async with console(request).scoped(who) as conn:
        if await reading.sites(conn, who.sites, code):
            raise BadRequest(f"there is a site {code!r} already")
    row = site_values(fields) | {"code": code, "hours": NEW_HOURS}
    return await _write(request, who, {"sites": [row]}, f"/sites/{code}/register")


@router.post("/register/import")
async def import_file(request: Request, who: Registrar) -> Response:
    """Take a workbook or a CSV file: say what is wrong with which row, or what was (or would be) written."""
    async with request.form(max_files=1, max_fields=4) as fields:
        file, dry = fields.get("file"), fields.get("dry") == "1"
        if not isinstance(file, UploadFile) or not file.filename:
            raise BadRequest("choose a file first")
        name, data = file.filename, await file.read()
    try:
        raw = spreadsheets.read(name, data, registering.EDITED)
        async with console(request).scoped(who) as conn:
            counts = await registering.put(conn, who, raw, now_us(), dry_run=dry)
    except RegisterError as refused:
        return await _overview(request, who, 422, errors=refused.errors)
    return await _overview(request, who, counts=counted(counts, say_for(request)), dry=dry)


@router.get("/register.xlsx")
async def export(request: Request, who: Registrar) -> Response:
    """The reader's part of the register as a workbook that can be changed and imported again."""
    async with console(request).scoped(who) as conn:
        tables = {table: await registering.rows(conn, who, table) for table in registering.EDITED}
    if who.sites is not None:
        tables.pop("regions")
    return Response(
        spreadsheets.write(tables), media_type=XLSX, headers={"content-disposition": 'attachment; filename="register.xlsx"'}
    )


@router.get("/sites/{code}/register")
async def site(request: Request, who: Registrar, code: str) -> Response:
    """What the register says of a site, its places and devices, with forms."""
    return await _site(request, who, code, [])


async def _site(request: Request, who: Principal, code: str, errors: list[RowError]) -> Response:
    say = say_for(request)
    async with console(request).scoped(who) as conn:
        row = await _row(conn, who, code)
        places, devices = await registering.rows(conn, who, "places", code), await registering.rows(conn, who, "devices", code)
        regions = await registering.rows(conn, who, "regions")
        others = await registering.rows(conn, who, "sites")
    return show(
        request,
        "site_register.html",
        who=who,
        say=say,
        here="sites",
        status=422 if errors else 200,
        errors=errors,
        site=row,
        places=places,
        devices=device_views(devices, row, say),
        regions=regions,
        others=[s["code"] for s in others if s["code"] != code],
        kinds=KINDS,
        rooms=ROOMS,
        classes=[(c.name, say.name(c.zh, c.en)) for c in CLASSES.values()],
    )


@router.post("/sites/{code}/register")
async def put_site(request: Request, who: Registrar, code: str) -> Response:
    """Change what the register says of a site, from the form."""
    fields = await form(request)
    async with console(request).scoped(who) as conn:
        row = await _row(conn, who, code)
    return await _write(request, who, {"sites": [row | site_values(fields)]}, f"/sites/{code}/register", of=code)


@router.post("/sites/{code}/hours")
async def put_hours(request: Request, who: Registrar, code: str) -> Response:
    """Change a site's opening hours, from the form."""
    fields = await form(request)
    async with console(request).scoped(who) as conn:
        row = await _row(conn, who, code)
    changed = row | {"hours": spreadsheets.read_hours(fields)}
    return await _write(request, who, {"sites": [changed]}, f"/sites/{code}/calendar", of=code)


@router.post("/sites/{code}/places")
async def put_place(request: Request, who: Registrar, code: str) -> Response:
    """Add a place or change one, from the form."""
    fields = await form(request)
    row = {name: fields.get(name, "") for name in ("code", "name", "name_en", "room")} | {"site": code}
    return await _write(request, who, {"places": [row]}, f"/sites/{code}/register", of=code)


@router.post("/sites/{code}/devices")
async def put_device(request: Request, who: Registrar, code: str) -> Response:
    """Change a device of a site, from the form; no place: it was taken down."""
    fields = await form(request)
    async with console(request).scoped(who) as conn:
        there = {(d["gateway"], d["identity"]) for d in await registering.rows(conn, who, "devices", code)}
    if (fields.get("gateway", ""), fields.get("identity", "")) not in there:
        raise NotFound("there is no such device at this site")
    row: dict[str, Any] = {name: fields.get(name, "") for name in ("gateway", "identity", "class", "name", "assessment")}
    row |= {"place": fields.get("place") or None, "alive_every_s": _seconds(fields)}
    return await _write(request, who, {"devices": [row]}, f"/sites/{code}/register", of=code)


def _seconds(fields: Mapping[str, str]) -> object:
    """Minutes as a person types them; what is no number is left for the register to refuse."""
    text = fields.get("alive_every_min", "").strip()
    return (int(text) * 60 if text.isascii() and text.isdecimal() and len(text) < 9 else text) if text else None


async def _write(request: Request, who: Principal, raw: Raw, then: str, of: str | None = None) -> Response:
    try:
        async with console(request).scoped(who) as conn:
            await registering.put(conn, who, raw, now_us())
    except RegisterError as refused:
        if of is None:
            return await _overview(request, who, 422, errors=refused.errors)
        return await _site(request, who, of, refused.errors)
    return RedirectResponse(then, 303)


async def _row(conn: Connection, who: Principal, code: str) -> dict[str, Any]:
    found = await registering.rows(conn, who, "sites", code)
    if not found:
        raise NotFound(f"there is no site {code!r}")
    return dict(found[0])
