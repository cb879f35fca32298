"""The audit log: who changed what and when, in the reader's part, newest first."""

import json
from typing import Annotated

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api import audit
from api.access import Auditor
from api.console import console
from api.web.page import say_for, show

router = APIRouter(include_in_schema=False)
PAGE = 50
ZONE = "Asia/Shanghai"


@router.get("/audit")
async def log(
    request: Request,
    who: Auditor,
    before: Annotated[int | None, Query(ge=1, lt=2**62)] = None,
    subject: Annotated[str, Query(max_length=200, pattern=r"^[^\x00]*$")] = "",
) -> Response:
    """A page of the log; subject: what its subjects begin with, "site/" or "account/chen"."""
    say = say_for(request)
    async with console(request).scoped(who) as conn:
        rows = await audit.rows(conn, who, below=before, subject=subject, limit=PAGE + 1)
        number, head = await audit.head(conn)
    shown = [(row, say.seconds(row.at_us, ZONE), _words(row.detail)) for row in rows[:PAGE]]
    older = rows[PAGE - 1].id if len(rows) > PAGE else None
    return show(
        request, "audit.html", who=who, say=say, here="more", rows=shown, older=older, subject=subject, number=number, head=head
    )


def _words(detail: str) -> str:
    values = json.loads(detail)
    return " · ".join(f"{key} {value}" for key, value in values.items() if value not in (None, "", []))
