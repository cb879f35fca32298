"""Filters and cursors of the REST interface: which part, which time, which page.

One decision: a cursor is the number of the last row of a page, so that rows that come or go move no others.
"""

from typing import Annotated

from fastapi import Query
from pydantic import Field

from api.errors import BadRequest

MAX_PAGE = 200
Number = Annotated[int, Field(ge=1, lt=2**63)]
Limit = Annotated[int, Query(ge=1, le=MAX_PAGE, description="Most rows of a page")]
Cursor = Annotated[
    str | None, Query(description="`cursor` of the page before; none: the first page", pattern="^[0-9]{1,18}$", max_length=18)
]
Region = Annotated[
    str, Query(pattern="^([0-9]{2}|[0-9]{4}|[0-9]{6}|[0-9]{9}|[0-9]{12})?$", description="Head of region codes: the subtree")
]
Code = Annotated[str | None, Query(description="Code of one site", max_length=100, pattern="^[^\\x00]*$")]
Time = Annotated[int | None, Query(ge=0, lt=2**53, description="Microseconds since 1970 (UTC)")]


def number(cursor: str | None) -> int | None:
    """Read a cursor. Raises BadRequest for what is none of ours."""
    if cursor is None:
        return None
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) <= 18):
        raise BadRequest("this is not a cursor of ours; start without one")
    return int(cursor)
