"""Lists for programs, page by page: by number after a cursor, of a part of the regions, never more than the reader's own part."""

from collections.abc import Sequence
from typing import Any

from psycopg.rows import class_row, dict_row

from api.reading import SQL, Connection, SiteRow, Sites


async def sites_page(
    conn: Connection, own: Sites, *, region: str, code: str | None, states: Sequence[str] | None, after: int, limit: int
) -> list[SiteRow]:
    """Return sites by id, those after a cursor. region: head of region codes."""
    chosen = list(states) if states else None
    values = {"sites": own, "region": region, "code": code, "states": chosen, "after": after, "limit": limit}
    async with conn.cursor(row_factory=class_row(SiteRow)) as cursor:
        await cursor.execute(SQL["sites_page"], values)
        return await cursor.fetchall()


async def devices_page(
    conn: Connection, own: Sites, *, region: str, code: str | None, after: int, limit: int
) -> list[dict[str, Any]]:
    """Return mounted devices by id, those after a cursor: columns of the query "devices_page"."""
    async with conn.cursor(row_factory=dict_row) as cursor:
        values = {"sites": own, "region": region, "code": code, "after": after, "limit": limit}
        await cursor.execute(SQL["devices_page"], values)
        return await cursor.fetchall()
