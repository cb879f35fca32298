"""The events behind a figure: what was stored of a site on a day, each with the frame that brought it.

One decision: a day at a time, page by page in the order of time, so that looking costs the same however long the report is.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any, Literal, get_args

from api.errors import BadRequest
from api.report_period import ReportPeriod
from api.report_reading import Connection, dicts, tuples
from gateway.clock import HOUR_US
from gateway.events import Kind

What = Literal["opening", "footfall", "service", "meals"]
KINDS: dict[str, list[int]] = {
    "opening": [Kind.CONTACT, Kind.COUNT_TOTAL, Kind.PASSAGE],
    "footfall": [Kind.COUNT_TOTAL],
    "service": [Kind.PASSAGE],
    "meals": [Kind.PASSAGE],
}
PAGE = 200
SLOT_US = 10 * HOUR_US, 15 * HOUR_US
"""The noon slot, after local midnight."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A stored event. number: in its frame. stream: as 16 hex digits. stream, seq, number: None where frames are kept no more."""

    t_us: int
    kind: str
    a: int
    people_in: int
    people_out: int
    person: int | None
    role: str
    place: str
    place_en: str
    device: str
    gateway: str
    stream: str | None
    seq: int | None
    number: int | None
    pos: int
    ordinal: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """A page of events. after: where the next page begins, None on the last. deleted: the log of that day is kept no more."""

    items: list[Stored]
    after: str | None
    deleted: bool


async def events(conn: Connection, site: dict[str, Any], day: date, what: str, after: str | None = None) -> Events:
    """Return the events of a local day behind a figure. site: a row of the query "sites". Raises BadRequest."""
    if what not in get_args(What):
        raise BadRequest(f"what is one of {', '.join(get_args(What))}, not {what[:40]!r}")
    from_us, to_us = ReportPeriod(text="", first=day, last=day).bounds(site["zone"])
    begin_us, end_us = (from_us + SLOT_US[0], from_us + SLOT_US[1]) if what == "meals" else (from_us, to_us)
    t_us, pos, ordinal = _position(after)
    values = {"site": site["id"], "from_us": begin_us, "to_us": end_us, "kinds": [int(k) for k in KINDS[what]]}
    values |= {"room": "canteen" if what == "meals" else None, "t_us": t_us, "pos": pos, "ordinal": ordinal, "limit": PAGE + 1}
    rows = await dicts(conn, "events", values)
    ((kept_us,),) = await tuples(conn, "log_from", {})
    more = len(rows) > PAGE
    last = rows[PAGE - 1] if more else None
    return Events(
        items=[_stored(row) for row in rows[:PAGE]],
        after=f"{last['t_us']}-{last['pos']}-{last['ordinal']}" if last else None,
        deleted=kept_us > from_us,
    )


async def came(conn: Connection, site: int, first: date, last: date) -> list[dict[str, Any]]:
    """Return which residents came on which days, by number."""
    return await dicts(conn, "came", {"site": site, "first": first, "last": last})


def _stored(row: dict[str, Any]) -> Stored:
    return Stored(
        t_us=row["t_us"],
        kind=Kind(row["kind"]).name.lower(),
        a=row["a"],
        people_in=row["d_in"],
        people_out=row["d_out"],
        person=row["person"] or None,
        role=row["role"],
        place=row["place_name"],
        place_en=row["place_name_en"],
        device=row["device_name"],
        gateway=row["gateway"],
        stream=None if row["stream"] is None else f"{row['stream'] & 0xFFFFFFFFFFFFFFFF:016x}",
        seq=row["seq"],
        number=row["number"],
        pos=row["pos"],
        ordinal=row["ordinal"],
    )


def _position(after: str | None) -> tuple[int, int, int]:
    if after is None:
        return -1, -1, -1
    parts = after.split("-")
    if len(parts) != 3 or not all(p.isascii() and p.isdecimal() and len(p) <= 18 for p in parts):
        raise BadRequest("this is not a place of ours in the events; start without one")
    return int(parts[0]), int(parts[1]), int(parts[2])
