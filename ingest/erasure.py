"""Erases one person: what stays is an anonymous passage and counts that do not change.

One decision: the register forgets the person first and the log after it. A T1 that still had them in hand can write them once
more; so who was erased is remembered for some days, as a number that means nobody, and maintenance erases them again.
"""

from collections.abc import Sequence
from typing import Any

import psycopg

from ingest.errors import IngestError
from ingest.register import raise_version
from ingest.store.partitions import compress, parts
from ingest.store.queries import Queries
from ingest.store.schema import has_timescale

QUERIES = Queries("ingest", "maintenance.sql")


class UnknownPerson(IngestError):
    """Nobody has the token."""


def erase_person(conn: psycopg.Connection[Any], token: bytes, now_us: int) -> int:
    """Erase whoever has `token` (16 bytes), in compressed data too. conn: in autocommit.

    Gone are the person, their links, days, visits and announced absences; passages become anonymous. Returns how many
    passages; what a crash leaves is finished by maintenance. Raises UnknownPerson.
    """
    with conn.transaction():
        person = unlink_person(conn, token, now_us)
    return forget(conn, [person])


def unlink_person(conn: psycopg.Connection[Any], token: bytes, now_us: int) -> int:
    """Let the register forget whoever has `token`, in the caller's transaction; what is on its way about them is not sent.

    Their alerts end when the analyzer hears of it. Returns the number that `forget` takes. Raises UnknownPerson.
    """
    conn.execute(QUERIES["delete_links"], {"token": token})
    found = conn.execute(QUERIES["delete_person"], {"token": token}).fetchone()
    if found is None:
        raise UnknownPerson(f"nobody has the token {token.hex()}; `smartcare erase` takes it as 32 hexadecimal digits")
    conn.execute(QUERIES["cancel_deliveries"], {"person": found[0], "now_us": now_us})
    conn.execute(QUERIES["note_erased"], {"person": found[0], "now_us": now_us})
    raise_version(conn)
    return int(found[0])


def forget_erased(conn: psycopg.Connection[Any]) -> int:
    """Erase again whoever was erased lately. Returns how many passages had been written meanwhile."""
    persons = [person for (person,) in conn.execute(QUERIES["erased"]).fetchall()]
    return forget(conn, persons) if persons else 0


def forget(conn: psycopg.Connection[Any], persons: Sequence[int]) -> int:
    """Delete what is kept of persons, and unlink their passages part by part. Returns how many passages."""
    whose: dict[str, Any] = {"persons": list(persons)}
    for query in ("delete_person_days", "delete_served", "delete_visits"):
        conn.execute(QUERIES[query], whose)
    timescale, unlinked = has_timescale(conn), 0
    for part in parts(conn):
        span = whose | {"from_us": part.from_us, "to_us": part.to_us}
        if part.table != "passage" or not conn.execute(QUERIES["has_passages"], span).fetchone():
            continue
        with conn.transaction():
            if timescale:
                conn.execute(QUERIES["allow_decompression"])
            unlinked += conn.execute(QUERIES["unlink_passages"], span).rowcount
        if part.compressed:
            compress(conn, part)
    return unlinked
