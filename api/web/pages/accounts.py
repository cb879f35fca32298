"""Accounts for city administrators: who may sign in, with which role and part, and the tokens of programs.

One decision: a link or token is shown on the page that answers the press on the button, once, and is kept nowhere.
"""

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from api import duty, membership, reading
from api.access import Administrator
from api.accounts import SCOPES, Principal
from api.console import console
from api.errors import ApiError
from api.web.forms import form, whole
from api.web.page import say_for, show
from gateway.clock import now_us

router = APIRouter(include_in_schema=False)
ROLES = ("town", "staff", "installer", "auditor", "platform", "city")


@router.get("/accounts")
async def accounts(request: Request, who: Administrator) -> Response:
    """Everyone, and a form to add someone."""
    return await _page(request, who)


async def _page(
    request: Request, who: Principal, *, secret: str = "", of: str = "", message: str = "", status: int = 200
) -> Response:
    say = say_for(request)
    async with console(request).scoped(who) as conn:
        rows = await membership.listed(conn)
        sites = await reading.sites(conn, who.sites)
        regions = await duty.choices(conn, "regions")
    return show(
        request,
        "accounts.html",
        who=who,
        status=status,
        say=say,
        here="more",
        accounts=rows,
        roles=ROLES,
        scopes=sorted(SCOPES),
        sites=[(s.code, say.name(s.name, s.name_en)) for s in sites],
        areas=[(duty.area(code), say.name(name, name_en)) for code, name, name_en in regions],
        secret=secret,
        of=of,
        message=message,
    )


@router.post("/accounts")
async def create(request: Request, who: Administrator) -> Response:
    """Add someone, from the form, and show the invitation."""
    fields, state = await form(request), console(request)
    area, sites = _part(fields)
    name = fields.get("name", "").strip()
    try:
        async with state.scoped(who) as conn:
            link = await membership.create(
                conn, who, name, fields.get("role", ""), area, sites, state.settings.public_url, now_us()
            )
    except ApiError as error:
        return await _page(request, who, message=error.detail, status=error.status)
    return await _page(request, who, secret=link, of=name)


@router.post("/accounts/{number}/assign")
async def assign(request: Request, who: Administrator, number: int) -> Response:
    """Give someone another role or part, from the form."""
    fields = await form(request)
    area, sites = _part(fields)
    async with console(request).scoped(who) as conn:
        await membership.assign(conn, who, number, fields.get("role", ""), area, sites)
    return RedirectResponse("/accounts", 303)


@router.post("/accounts/{number}/reset")
async def reset(request: Request, who: Administrator, number: int) -> Response:
    """End an account's password and sessions and show a new invitation."""
    state = console(request)
    async with state.scoped(who) as conn:
        link = await membership.reset(conn, who, number, state.settings.public_url, now_us())
    return await _page(request, who, secret=link, of=str(number))


@router.post("/accounts/{number}/disable")
async def disable(request: Request, who: Administrator, number: int) -> Response:
    """Let someone in no more."""
    async with console(request).scoped(who) as conn:
        await membership.switch(conn, who, number, disabled=True)
    return RedirectResponse("/accounts", 303)


@router.post("/accounts/{number}/enable")
async def enable(request: Request, who: Administrator, number: int) -> Response:
    """Let someone in again."""
    async with console(request).scoped(who) as conn:
        await membership.switch(conn, who, number, disabled=False)
    return RedirectResponse("/accounts", 303)


@router.post("/accounts/{number}/tokens")
async def grant_token(request: Request, who: Administrator, number: int) -> Response:
    """Make a token for a program, from the form, and show it."""
    fields = await form(request)
    scopes = [scope for scope in sorted(SCOPES) if fields.get(f"scope_{scope}")]
    leaving = fields.get("fields", "").replace(",", " ").split()
    name, days = fields.get("name", "").strip(), whole(fields.get("days", "90"))
    async with console(request).scoped(who) as conn:
        token = await membership.grant_token(conn, who, number, name, scopes, days, leaving or None, now_us())
    return await _page(request, who, secret=token, of=name)


@router.post("/accounts/{number}/tokens/end")
async def end_token(request: Request, who: Administrator, number: int) -> Response:
    """End a token, from the form."""
    fields = await form(request)
    async with console(request).scoped(who) as conn:
        await membership.end_token(conn, who, number, fields.get("name", ""))
    return RedirectResponse("/accounts", 303)


def _part(fields: dict[str, str]) -> tuple[str | None, list[str]]:
    """Read what part is meant: "area:3304", "site:east", "all"; further sites are codes separated by spaces."""
    kind, _, code = fields.get("part", "").partition(":")
    more = fields.get("sites", "").replace(",", " ").split()
    if kind == "area":
        return code, more
    if kind == "all":
        return "", more
    return None, list(dict.fromkeys([code, *more] if kind == "site" else more))
