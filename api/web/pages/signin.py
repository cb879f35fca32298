"""Signing in and out: a password, or a single-use link that is consumed by a press on its button, never by opening it."""

import logging

from fastapi import APIRouter, Depends, Request
from starlette.responses import RedirectResponse, Response

from api import accounts, audit
from api.access import OPEN, Reader, anyone
from api.console import console
from api.web.forms import form
from api.web.page import safe_back, say_for, show
from gateway.clock import now_us

LOG = logging.getLogger("api.signin")
router = APIRouter(include_in_schema=False)


@router.get("/signin", dependencies=OPEN)
async def signin_form(request: Request) -> Response:
    """Ask for account and password."""
    return show(request, "signin.html", who=None, message="")


@router.post("/signin", dependencies=OPEN)
async def signin(request: Request) -> Response:
    """Check account and password; unknown, disabled and wrong answer alike and take as long."""
    state, fields, now, say = console(request), await form(request), now_us(), say_for(request)
    name, password = fields.get("name", "")[:200].replace("\0", ""), fields.get("password", "")
    address = request.client.host if request.client else "?"
    wait = state.by_account.attempt(name, now) or state.by_address.attempt(address, now)
    if wait:
        LOG.warning("sign-in throttled for %r from %s", name, address)
        if not state.noted.attempt(address, now):
            async with state.pool.connection() as conn:
                await audit.knocked(conn, None, "", "session.refused", {"address": address, "cause": "throttled"})
        answer = show(request, "signin.html", who=None, status=429, message=say("signin.slow", seconds=wait))
        answer.headers["retry-after"] = str(wait)
        return answer
    async with state.pool.connection() as conn:
        found = await (await conn.execute(accounts.SQL["find_account"], {"name": name})).fetchone()
    fits = await state.passwords.matches(found[1] if found else None, password)
    if not fits or found is None:
        LOG.warning("sign-in refused for %r from %s", name, address)
        account, known = (None, "") if found is None else (found[0], name)
        async with state.pool.connection() as conn:
            await audit.knocked(conn, account, known, "session.refused", {"address": address, "cause": "wrong"})
        return show(request, "signin.html", who=None, status=401, message=say("signin.wrong"))
    state.by_account.forget(name)
    async with state.pool.connection() as conn:
        secret = await accounts.start_session(conn, found[0], now)
        await audit.knocked(conn, found[0], name, "session.started", {"address": address, "by": "password"})
    LOG.info("signed in %r from %s by password", name, address)
    return with_session(request, secret)


@router.get("/signin/{secret}", dependencies=OPEN)
async def link_form(request: Request, secret: str) -> Response:
    """Show whom the link signs in, and a button; previews and scanners that open links use nothing up."""
    async with console(request).pool.connection() as conn:
        name = await accounts.link_account(conn, secret, now_us())
    return show(request, "link.html", who=None, status=200 if name else 410, name=name, action=f"/signin/{secret}")


@router.post("/signin/{secret}", dependencies=OPEN)
async def link_use(request: Request, secret: str) -> Response:
    """Use the link up and sign in."""
    now, state = now_us(), console(request)
    address = request.client.host if request.client else "?"
    async with state.pool.connection() as conn:
        name = await accounts.link_account(conn, secret, now) or ""
        account = await accounts.use_link(conn, secret, now)
        if account is not None:
            session = await accounts.start_session(conn, account, now)
            await audit.knocked(conn, account, name, "session.started", {"address": address, "by": "link"})
        elif not state.noted.attempt(address, now):
            await audit.knocked(conn, None, "", "session.refused", {"address": address, "cause": "dead link"})
    if account is None:
        LOG.warning("dead sign-in link from %s", address)
        return show(request, "link.html", who=None, status=410, name=None, action="")
    LOG.info("signed in account %d from %s by link", account, address)
    return with_session(request, session)


def with_session(request: Request, secret: str) -> Response:
    """Lead to the overview with the session's cookie."""
    settings = console(request).settings
    answer = RedirectResponse("/", 303)
    answer.set_cookie(
        settings.session_cookie,
        secret,
        max_age=accounts.SESSION_US // 1_000_000,
        secure=settings.secure_cookies,
        httponly=True,
        samesite="lax",
    )
    return answer


@router.post("/signout")
async def signout(request: Request, who: Reader) -> Response:
    """End the session."""
    settings = console(request).settings
    async with console(request).pool.connection() as conn:
        await accounts.end_session(conn, who.key)
        await audit.write(conn, who, action="session.ended", subject=f"account/{who.name}")
    answer = RedirectResponse("/signin", 303)
    answer.delete_cookie(settings.session_cookie, secure=settings.secure_cookies, httponly=True, samesite="lax")
    return answer


@router.post("/preferences", dependencies=[Depends(anyone)])
async def preferences(request: Request) -> Response:
    """Remember language and size of text in cookies that say nothing else."""
    fields = await form(request)
    answer = RedirectResponse(safe_back(fields.get("back", "/")), 303)
    for name, choices in (("lang", ("zh", "en")), ("text", ("normal", "large"))):
        if fields.get(name) in choices:
            secure = console(request).settings.secure_cookies
            answer.set_cookie(name, fields[name], max_age=31_536_000, secure=secure, httponly=True, samesite="lax")
    return answer
