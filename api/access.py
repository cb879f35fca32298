"""Who may use a route. Denied by default: a route that declares nothing stops the application from starting.

One decision: permission hangs on the endpoint's own dependencies, never on the request's path.
"""

from collections.abc import Iterator, Sequence
from typing import Annotated

from fastapi import Depends, FastAPI, Request
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute
from starlette.routing import BaseRoute

from api import accounts
from api.accounts import Principal
from api.console import console
from api.errors import NotAllowed, NotSignedIn, TooManyAttempts, UndeclaredPermission
from api.fields import ALLOWED
from gateway.clock import now_us

BEARER = "bearer "


async def anyone() -> None:
    """Open to all: sign-in, static files, health."""


async def signed_in(request: Request) -> Principal:
    """Whoever has a valid session or token; a token given is the only thing looked at. Raises NotSignedIn, TooManyAttempts."""
    state, now = console(request), now_us()
    header = request.headers.get("authorization", "")
    cookie = request.cookies.get(state.settings.session_cookie, "")
    found = None
    if header or cookie:
        async with state.pool.connection() as conn:
            await conn.set_autocommit(True)  # one question; the pool takes it back
            if header:
                if header.lower().startswith(BEARER):
                    found = await accounts.read_token(conn, header[len(BEARER) :].strip(), now)
            else:
                found = await accounts.read_session(conn, cookie, now)
    if found is None:
        raise NotSignedIn("sign in first, or send an API token that is still valid")
    rate, key = (state.by_reader, str(found.account).encode()) if found.by_session else (state.by_token, found.key)
    if wait := rate.take(key, now):
        raise TooManyAttempts(f"at most {rate.per_s} requests a second, and {rate.burst} at once; wait", retry_after=wait)
    request.state.who = found
    if found.fields is not None:
        request.scope[ALLOWED] = found.fields
    return found


async def reader(who: Annotated[Principal, Depends(signed_in)]) -> Principal:
    """May look at what is theirs. Raises NotAllowed for a token without the scope."""
    return _with_scope(who, "read")


async def actor(who: Annotated[Principal, Depends(signed_in)]) -> Principal:
    """May take over and resolve alerts that are theirs. Raises NotAllowed for a token without the scope."""
    return _with_scope(_with_role(who, "city", "town", "staff", "platform"), "act")


async def registrar(who: Annotated[Principal, Depends(signed_in)]) -> Principal:
    """May edit sites, places, devices, hours and rules of their part. Raises NotAllowed."""
    return _with_scope(_with_role(who, "city", "town"), "act")


async def people(who: Annotated[Principal, Depends(signed_in)]) -> Principal:
    """May read and edit persons and consent of their part, on the page only. Raises NotAllowed."""
    return _with_scope(_with_role(who, "city", "town", "staff"), "act")


async def installer(who: Annotated[Principal, Depends(signed_in)]) -> Principal:
    """May claim, swap, walk-test and accept devices of their part. Raises NotAllowed."""
    return _with_scope(_with_role(who, "city", "town", "installer"), "act")


async def reporter(who: Annotated[Principal, Depends(signed_in)]) -> Principal:
    """May read reports, exports and evidence of their part. Raises NotAllowed."""
    return _with_scope(_with_role(who, "city", "town", "staff", "auditor", "platform"), "read")


async def auditor(who: Annotated[Principal, Depends(signed_in)]) -> Principal:
    """May read the audit log of their part. Raises NotAllowed."""
    return _with_scope(_with_role(who, "city", "auditor"), "read")


async def administrator(request: Request, who: Annotated[Principal, Depends(signed_in)]) -> Principal:
    """Says who may sign in, and sees everything; changes something on the page only. Raises NotAllowed for everyone else."""
    if request.method not in ("GET", "HEAD") and not who.by_session:
        raise NotAllowed("this is done on the page, not with a token")
    return _with_scope(_with_role(who, "city"), "read")


async def operator(who: Annotated[Principal, Depends(signed_in)]) -> Principal:
    """Says how the system works for everyone: who is on duty, for one. Raises NotAllowed for everyone else."""
    return _with_scope(_with_role(who, "city"), "act")


async def scraper(who: Annotated[Principal, Depends(signed_in)]) -> Principal:
    """Reads the figures of the whole system. Raises NotAllowed for everyone else."""
    return _with_scope(_with_role(who, "city"), "metrics")


def _with_role(who: Principal, *roles: str) -> Principal:
    if who.role not in roles:
        raise NotAllowed("your role does not include this; ask an administrator")
    return who


def _with_scope(who: Principal, scope: str) -> Principal:
    if scope not in who.scopes:
        raise NotAllowed(f"this token lacks the scope {scope!r}")
    return who


Reader = Annotated[Principal, Depends(reader)]
Actor = Annotated[Principal, Depends(actor)]
Registrar = Annotated[Principal, Depends(registrar)]
People = Annotated[Principal, Depends(people)]
Installer = Annotated[Principal, Depends(installer)]
Reporter = Annotated[Principal, Depends(reporter)]
Auditor = Annotated[Principal, Depends(auditor)]
Administrator = Annotated[Principal, Depends(administrator)]
Operator = Annotated[Principal, Depends(operator)]
Scraper = Annotated[Principal, Depends(scraper)]
OPEN = [Depends(anyone)]

PERMISSIONS = (anyone, reader, actor, registrar, people, installer, reporter, auditor, administrator, operator, scraper)


def declared(route: BaseRoute) -> list[str]:
    """The permissions a route declares, by name; empty for one that declares none."""
    if not isinstance(route, APIRoute):
        return []
    return [call.__name__ for call in PERMISSIONS if call in set(_calls(route.dependant))]


def _calls(dependant: Dependant) -> Iterator[object]:
    for inner in dependant.dependencies:
        yield inner.call
        yield from _calls(inner)


def require_declared(app: FastAPI, routes: Sequence[BaseRoute] | None = None) -> None:
    """Raise UndeclaredPermission if any route does not declare exactly one permission."""
    for route in app.routes if routes is None else routes:
        found = declared(route)
        if len(found) != 1:
            raise UndeclaredPermission(f"route {getattr(route, 'path', route)} declares {found or 'no permission'}; declare one")
