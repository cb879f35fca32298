"""The audit log: who changed what and when, in the reader's part, newest first."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from api import audit
from api.access import Auditor
from api.console import console
from api.web.i18n import Say
from api.web.page import say_for, show

router = APIRouter(include_in_schema=False)
PAGE = 50
ZONE = "Asia/Shanghai"
TYPED = frozenset({"reason", "name", "author", "token", "fields"})
"""Members that are somebody's own words or names of data, and are never translated."""


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
    shown = [(row, say.seconds(row.at_us, ZONE), _words(row.detail, say), _row(row.detail)) for row in rows[:PAGE]]
    older = rows[PAGE - 1].id if len(rows) > PAGE else None
    return show(
        request, "audit.html", who=who, say=say, here="more", rows=shown, older=older, subject=subject, number=number, head=head
    )


def _row(detail: str) -> str:
    """Return what was written, where it was one row of the register, as it is stored."""
    row = json.loads(detail).get("row")
    return json.dumps(row, ensure_ascii=False) if row else ""


def _words(detail: str, say: Say) -> str:
    values = json.loads(detail)
    return " · ".join(
        f"{say.word('audit_key', key)} {_value(key, value, say)}" for key, value in values.items() if value not in (None, "", [])
    )


def _value(key: str, value: Any, say: Say) -> str:
    """Say a value: times and codes in words, what people typed as it is."""
    if key in TYPED:
        return str(value)
    if key.endswith("_us") and isinstance(value, int):
        return say.clock(value, ZONE)
    if isinstance(value, list):
        return "+".join(_value(key, one, say) for one in value)
    if key == "row":
        return str(value.get("code") or value.get("identity") or value.get("token") or "–")
    if isinstance(value, dict):
        return ", ".join(f"{say.word('table', name)} {_value(name, one, say)}" for name, one in value.items() if one)
    return say.word("audit_value", json.dumps(value) if isinstance(value, bool) else str(value))
