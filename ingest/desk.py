"""The desk: what staff check in on the page comes into the log as frames of a gateway of our own.

    page → check_in (numbered in its transaction) → messages, again until the cursor has passed them → read → T1

One decision: a check-in takes the way of every other observation from the queue on: it is stored once, counted, analysed and
replayed like a passage at a terminal, and no other code knows of it. Its gateway lives as long as the worker does, which sends
its heartbeats.
"""

from collections.abc import Iterable
from typing import Any

import psycopg
from psycopg.rows import dict_row

from gateway.clock import SECOND_US
from gateway.events import Event, Flag, Kind, ListRole, Result
from gateway.wire import Header, Heartbeat, encode_body, encode_frame, encode_message, stream_text, topic_up
from ingest.reading import Message
from ingest.store.queries import Queries

QUERIES = Queries("ingest", "desk.sql")
CLASS = "desk"
STREAM = 1
"""Numbers come from the database, so a desk has one stream for ever."""
BEAT_US = 15 * SECOND_US
AT_ONCE = 100


class Desk:
    """The desks of the shards that this worker owns. Its own connection: the store's is busy with T1."""

    def __init__(self, database_url: str) -> None:
        self.conn = psycopg.connect(database_url, autocommit=True)
        self._beat_us: dict[int, int] = {}

    def close(self) -> None:
        """Drop the connection."""
        self.conn.close()

    def messages(self, shards: Iterable[int], now_us: int) -> list[Message]:
        """Return frames that are not stored yet, and heartbeats that are due of desks where all is stored."""
        found = []
        with self.conn.cursor(row_factory=dict_row) as cur:
            for desk in cur.execute(QUERIES["desks"], {"shards": list(shards), "stream": STREAM}).fetchall():
                topic = topic_up(desk["shard"], desk["code"])
                if desk["stored"] < desk["seq"]:
                    values = {"gateway": desk["gateway"], "after": desk["stored"], "limit": AT_ONCE}
                    rows = cur.execute(QUERIES["frames"], values).fetchall()
                    found += [Message(topic=topic, payload=_frame(desk, row), arrived_us=now_us) for row in rows]
                elif now_us - self._beat_us.get(desk["gateway"], 0) >= BEAT_US:
                    self._beat_us[desk["gateway"]] = now_us
                    cur.execute(QUERIES["forget_stored"], {"gateway": desk["gateway"], "through": desk["stored"]})
                    found.append(Message(topic=topic, payload=_beat(desk, now_us), arrived_us=now_us))
        return found


def _frame(desk: dict[str, Any], row: dict[str, Any]) -> bytes:
    event = Event(
        device=row["device"],
        kind=Kind.PASSAGE,
        aux=row["method"],
        t_us=row["t_us"],
        received_us=row["at_us"],
        a=Result.ALLOWED,
        b=ListRole.ALLOW_LIST if row["token"] else ListRole.UNKNOWN,
        key=row["seq"],
        flags=Flag.HAS_KEY,
        person=bytes(row["token"]) if row["token"] else None,
    )
    span = {"since_us": desk["since_us"], "through_us": max(row["at_us"], desk["since_us"])}
    return encode_frame(Header(stream=STREAM, seq=row["seq"], oldest=1, **span), encode_body([event]))


def _beat(desk: dict[str, Any], now_us: int) -> bytes:
    span = {"since_us": min(desk["since_us"], now_us), "through_us": now_us, "sent_us": now_us}
    return encode_message(Heartbeat(stream=stream_text(STREAM), seq=desk["seq"], **span))
