"""Taking over and resolving alerts, for the page and the REST interface alike.

One decision: what a reader may not see does not exist for acting either, and the version they looked at must still hold.
"""

from typing import Any

from psycopg import AsyncConnection

from analytics import alerts
from api import reading
from api.accounts import Principal
from api.errors import BadRequest, NotFound, Stale

Connection = AsyncConnection[Any]
OUTCOMES = ("real", "false_alarm", "device_fault", "drill")
MAX_NOTE = 2000


async def acknowledge(conn: Connection, who: Principal, number: int, version: int, now_us: int) -> None:
    """Take an alert over. Raises NotFound, Stale."""
    await _visible(conn, who, number)
    try:
        await alerts.acknowledge(conn, number, version, who.name, now_us)
    except alerts.UnknownAlert as error:
        raise _missing(number) from error
    except alerts.StaleVersion as error:
        raise _stale(error) from error


async def resolve(conn: Connection, who: Principal, number: int, version: int, outcome: str, note: str, now_us: int) -> None:
    """Resolve an alert with its outcome. Raises NotFound, Stale, BadRequest."""
    if outcome not in OUTCOMES:
        raise BadRequest(f"an outcome is one of {', '.join(OUTCOMES)}")
    if len(note) > MAX_NOTE or "\0" in note:
        raise BadRequest(f"a note is text of at most {MAX_NOTE} characters")
    await _visible(conn, who, number)
    try:
        await alerts.resolve(conn, number, version, who.name, outcome, note, now_us)
    except alerts.UnknownAlert as error:
        raise _missing(number) from error
    except alerts.StaleVersion as error:
        raise _stale(error) from error


async def _visible(conn: Connection, who: Principal, number: int) -> None:
    if await reading.alert(conn, who.sites, number) is None:
        raise _missing(number)


def _missing(number: int) -> NotFound:
    return NotFound(f"there is no alert {number}")


def _stale(error: alerts.StaleVersion) -> Stale:
    return Stale("someone else changed this alert first; look again before you act", state=error.state, version=error.version)
