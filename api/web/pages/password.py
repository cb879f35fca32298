"""One's own password, and accepting an invitation: a link that works once and asks for a password."""

import logging

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from api import accounts, audit, membership
from api.access import OPEN, Reader
from api.console import console
from api.errors import BadRequest, NotAllowed
from api.web.forms import form
from api.web.page import say_for, show
from api.web.pages.signin import with_session
from gateway.clock import now_us

LOG = logging.getLogger("api.signin")
router = APIRouter(include_in_schema=False)


@router.get("/password")
async def own(request: Request, who: Reader) -> Response:
    """A form for one's own new password."""
    return show(request, "password.html", who=who, here="more", action="/password", name=who.name, invited=False, message="")


@router.post("/password")
async def change(request: Request, who: Reader) -> Response:
    """Change one's own password, from the form; everywhere else is signed out."""
    if not who.by_session:
        raise NotAllowed("a password is changed on the page, not with a token")
    state, fields, say, now = console(request), await form(request), say_for(request), now_us()
    message = "" if fields.get("new") == fields.get("again") else say("password.differ")
    if not message and state.by_account.attempt(f"password of {who.name}", now):
        message = say("password.slow")
    if not message:
        try:
            async with state.scoped(who) as conn:
                await membership.change_password(conn, who, state.passwords, fields.get("old", ""), fields.get("new", ""))
        except BadRequest as error:
            LOG.warning("password of %r not changed: %s", who.name, error.detail)
            message = say("password.refused", least=membership.MIN_PASSWORD)
    if message:
        values = {"action": "/password", "name": who.name, "invited": False, "message": message}
        return show(request, "password.html", who=who, here="more", status=400, **values)
    return RedirectResponse("/more", 303)


@router.get("/invitation/{secret}", dependencies=OPEN)
async def invitation(request: Request, secret: str) -> Response:
    """Ask for a password; looking uses nothing up."""
    async with console(request).pool.connection() as conn:
        name = await accounts.link_account(conn, secret, now_us(), invitation=True)
    return _invited(request, secret, name, "")


@router.post("/invitation/{secret}", dependencies=OPEN)
async def accept(request: Request, secret: str) -> Response:
    """Use the invitation up, set the password and sign in."""
    state, fields, say, now = console(request), await form(request), say_for(request), now_us()
    async with state.pool.connection() as conn:
        name = await accounts.link_account(conn, secret, now, invitation=True)
    if name is None:
        return _invited(request, secret, None, "")
    new = fields.get("new", "")
    if new != fields.get("again"):
        return _invited(request, secret, name, say("password.differ"))
    try:
        hashed = await membership.checked(state.passwords, new)
    except BadRequest:
        return _invited(request, secret, name, say("password.refused", least=membership.MIN_PASSWORD))
    async with state.pool.connection() as conn, conn.transaction():
        account = await accounts.use_link(conn, secret, now, invitation=True)
        if account is not None:
            await conn.execute(accounts.SQL["set_password"], {"account": account, "password": hashed})
            await conn.execute(accounts.SQL["end_sessions"], {"account": account})
            session = await accounts.start_session(conn, account, now)
            who = await accounts.read_session(conn, session, now)
            await audit.write(conn, who, action="account.accepted", subject=f"account/{name}")
    if account is None:
        return _invited(request, secret, None, "")
    LOG.info("%r accepted an invitation", name)
    return with_session(request, session)


def _invited(request: Request, secret: str, name: str | None, message: str) -> Response:
    if name is None:
        return show(request, "link.html", who=None, status=410, name=None, action="")
    values = {"action": f"/invitation/{secret}", "name": name, "invited": True, "message": message}
    return show(request, "password.html", who=None, status=400 if message else 200, **values)
