"""What can go wrong at the edge, each as a problem that HTTP can say (RFC 9457)."""

from collections.abc import Sequence


class ApiError(Exception):
    """Base of this stage. `status` is the HTTP status; `slug` names the problem for programs, the message is for people."""

    status = 500
    slug = "internal"

    def __init__(self, detail: str, **members: object) -> None:
        super().__init__(detail)
        self.detail = detail
        self.members = members


class NotSignedIn(ApiError):
    """No valid session or token came with the request."""

    status = 401
    slug = "not-signed-in"


class NotAllowed(ApiError):
    """Signed in, but this role or token may not do it."""

    status = 403
    slug = "not-allowed"


class NotFound(ApiError):
    """There is no such thing, or it belongs to someone else: the answer is the same."""

    status = 404
    slug = "not-found"


class Stale(ApiError):
    """Someone else changed it first; the members carry its present state and version."""

    status = 409
    slug = "stale-version"


class BadRequest(ApiError):
    """A value that cannot be read."""

    status = 400
    slug = "bad-request"


class Refused(ApiError):
    """Rows that the register does not take; the members carry each fault."""

    status = 422
    slug = "refused"

    def __init__(self, errors: Sequence[object]) -> None:
        super().__init__("; ".join(map(str, errors)))


class TooManyAttempts(ApiError):
    """Sign-in attempts or streams beyond the limit."""

    status = 429
    slug = "too-many"


class AccountExists(ApiError):
    """An account of that name is there already."""

    status = 409
    slug = "account-exists"


class UndeclaredPermission(ApiError):
    """A route was added without saying who may use it: the application refuses to start."""


class MissingText(ApiError):
    """A language file lacks a text that a page needs."""
