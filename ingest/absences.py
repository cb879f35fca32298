"""Absences that a person or their family announced: whoever is away as planned is not missed.

One decision: as with closures, nothing is changed or deleted; an absence is taken back by a newer row about the same time.
"""

from typing import Any

import psycopg

from ingest.errors import IngestError
from ingest.register import QUERIES, raise_version

Conn = psycopg.Connection[Any]


class AbsenceError(IngestError):
    """The absence was refused; nothing was written."""


def plan(conn: Conn, person: int, from_us: int, to_us: int, *, reason: str, author: str, now_us: int) -> None:
    """Enter that `person` (id) will be, or was, away in [from_us, to_us). Raises AbsenceError."""
    _write(conn, person, from_us, to_us, reason, author, now_us, cancelled=False)


def cancel(conn: Conn, person: int, from_us: int, to_us: int, *, reason: str, author: str, now_us: int) -> None:
    """Take back the absence that was entered for exactly this time. Raises AbsenceError."""
    _write(conn, person, from_us, to_us, reason, author, now_us, cancelled=True)


def _write(conn: Conn, person: int, from_us: int, to_us: int, reason: str, author: str, now_us: int, *, cancelled: bool) -> None:
    if to_us <= from_us:
        raise AbsenceError(f"an absence from {from_us} to {to_us} has no length; its end must come after its begin")
    values = {"person": person, "from_us": from_us, "to_us": to_us, "reason": reason, "author": author, "now_us": now_us}
    with conn.transaction():
        if conn.execute(QUERIES["put_absence"], values | {"cancelled": cancelled}).fetchone() is None:
            raise AbsenceError(f"there is no person {person} whose consent is active; an absence needs one")
        raise_version(conn)
