"""The REST interface's part for auditors: the audit log, page by page."""

import json
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel

from api import audit
from api.access import Auditor
from api.console import console
from api.paging import Cursor, Limit
from api.paging import number as read_cursor

router = APIRouter(prefix="/api/v1")


class AuditRow(BaseModel):
    """One change. area: region code it concerns, "" the whole. hash: hex, of the row and the hash before it."""

    id: int
    at_us: int
    who: str
    area: str
    action: str
    subject: str
    detail: dict[str, Any]
    hash: str


class AuditLog(BaseModel):
    """The audit log, newest first. cursor: for the next page, null on the last."""

    items: list[AuditRow]
    cursor: str | None


@router.get("/audit")
async def log(
    request: Request,
    who: Auditor,
    subject: Annotated[str, Query(max_length=200, pattern=r"^[^\x00]*$", description='Beginning, "site/"')] = "",
    cursor: Cursor = None,
    limit: Limit = 50,
) -> AuditLog:
    """Who changed what in the reader's part; for city administrators and auditors."""
    async with console(request).scoped(who) as conn:
        rows = await audit.rows(conn, who, below=read_cursor(cursor), subject=subject, limit=limit + 1)
    items = [
        AuditRow(
            id=r.id, at_us=r.at_us, who=r.who, area=r.area, action=r.action, subject=r.subject,
            detail=json.loads(r.detail), hash=r.hash.hex(),
        )
        for r in rows[:limit]
    ]  # fmt: skip
    return AuditLog(items=items, cursor=str(rows[limit - 1].id) if len(rows) > limit else None)
