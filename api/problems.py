"""Answers that say what went wrong: problem details (RFC 9457) for programs, a page for people."""

import logging
from collections.abc import Callable
from http import HTTPStatus

import psycopg
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from psycopg_pool import PoolTimeout
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, RedirectResponse, Response

from api import audit
from api.accounts import Principal
from api.console import console
from api.errors import ApiError, NotSignedIn
from gateway.clock import now_us

LOG = logging.getLogger("api")


def problem(status: int, slug: str, detail: str, **members: object) -> JSONResponse:
    """Return `application/problem+json`."""
    body = {"type": f"urn:smartcare:problem:{slug}", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(body | members, status, media_type="application/problem+json")


class Problems:
    """Answers errors; `page` makes the page for people from (request, status, slug)."""

    def __init__(self, page: Callable[[Request, int, str], Response]) -> None:
        self.page = page

    def install(self, app: FastAPI) -> None:
        """Let the application answer its errors this way."""
        app.add_exception_handler(ApiError, self._api_error)
        app.add_exception_handler(HTTPException, self._http_error)
        app.add_exception_handler(RequestValidationError, self._invalid)
        app.add_exception_handler(psycopg.OperationalError, self._database_away)
        app.add_exception_handler(psycopg.DataError, self._no_such_value)
        app.add_exception_handler(PoolTimeout, self._database_away)
        app.add_exception_handler(Exception, self._last_resort)

    def answer(self, request: Request, status: int, slug: str, detail: str, **members: object) -> Response:
        """Return the problem as a page where a person waits for it, else as problem details."""
        if "text/html" in request.headers.get("accept", ""):
            return self.page(request, status, slug)
        return problem(status, slug, detail, **members)

    async def _api_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, ApiError)
        if error.status in (401, 403):
            client = request.client.host if request.client else "?"
            LOG.warning("denied %s %r to %s: %s", request.method, request.url.path, client, error.slug)
        if error.status == 403:
            await _note_denial(request, error)
        page = "text/html" in request.headers.get("accept", "")
        if isinstance(error, NotSignedIn) and page and request.method == "GET":
            return RedirectResponse("/signin", 303)
        answer = self.answer(request, error.status, error.slug, error.detail, **error.members)
        if "retry_after" in error.members:
            answer.headers["retry-after"] = str(error.members["retry_after"])
        if isinstance(error, NotSignedIn):
            answer.headers["www-authenticate"] = "Bearer"
        return answer

    async def _http_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        slug = "not-found" if error.status_code == 404 else "http"
        answer = self.answer(request, error.status_code, slug, str(error.detail))
        answer.headers.update(error.headers or {})
        return answer

    async def _invalid(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        faults = [{"at": ".".join(map(str, e["loc"])), "message": e["msg"]} for e in error.errors()]
        return self.answer(request, 422, "invalid", "the request does not have the expected form", errors=faults)

    async def _no_such_value(self, request: Request, error: Exception) -> Response:
        LOG.warning("%s %r with a value that cannot be stored: %s", request.method, request.url.path, str(error).splitlines()[:1])
        return self.answer(request, 400, "bad-request", "a number or text is beyond what can be stored")

    async def _database_away(self, request: Request, error: Exception) -> Response:
        LOG.error("database away: %s", str(error).splitlines()[0] if str(error) else type(error).__name__)
        answer = self.answer(request, 503, "unavailable", "the database does not answer; try again in a few seconds")
        answer.headers["retry-after"] = "5"
        return answer

    async def _last_resort(self, request: Request, error: Exception) -> Response:
        return problem(500, "internal", "something went wrong on our side; it has been logged")


async def _note_denial(request: Request, error: ApiError) -> None:
    """Write into the audit log that someone who is signed in was refused; it does not fail if the database is away."""
    who: Principal | None = getattr(request.state, "who", None)
    state = console(request)
    if who is None or state.noted.attempt(f"account/{who.account}", now_us()):
        return
    path = getattr(request.scope.get("route"), "path", "?")  # not whose site it was that they asked about
    detail = {"method": request.method, "path": path, "cause": error.slug}
    try:
        async with state.scoped(who) as conn:
            await audit.write(conn, who, action="access.denied", subject=f"account/{who.name}", detail=detail)
    except (psycopg.Error, PoolTimeout) as away:
        LOG.error("a denial could not be noted: %s", away)
