"""Finds the message that kills the worker outright, of which no exception ever tells.

One decision: nothing is written while all is well. Whoever takes shards that nobody gave back is careful for ten minutes:
what is in hand is noted before it is read, and struck out once it is stored. A note that is left behind makes suspects, a
suspect is read and stored alone, and what two workers died over alone is quarantined unread.

    died → careful, batches are noted → died → suspects, one by one → died → died → quarantined
"""

import contextlib
import hashlib
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import psycopg

from gateway.clock import MINUTE_US
from gateway.wire import BadBody, BadHeader, Header, decode_header, is_frame
from ingest.reading import SHARDS, Arrival, Message, address, read
from ingest.shards import Owned
from ingest.store.queries import Queries

QUERIES = Queries("ingest")
CAREFUL_US = 10 * MINUTE_US
PORTION = 500
DEADLY = 2
"""Deaths alone that are no accident any more."""

log = logging.getLogger(__name__)


class Killer(BadBody):
    """The worker was killed over it, again and again; nobody has read it."""

    reason = "killer"


class Caution:
    """The memory of one session, and its own connection to the store, opened only when there is reason to be careful."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._conn: psycopg.Connection[Any] | None = None
        self._until_us = 0
        self._deaths: dict[bytes, int] = {}
        self._shards: list[int] = []

    @property
    def careful(self) -> bool:
        """Tell whether batches are noted, and stored one after the other."""
        return self._conn is not None

    def taken(self, shards: Sequence[Owned], now_us: int) -> None:
        """Learn what the last owners of newly taken shards died over, if they have not given them back."""
        left = [o.shard for o in shards if o.left]
        if not left:
            return
        self._until_us = now_us + CAREFUL_US
        self._shards += left
        if self._conn is None:
            self._conn = psycopg.connect(self._url, autocommit=True, connect_timeout=5, application_name="smartcare caution")
            self._conn.execute("SET synchronous_commit = off")  # what outlives this process is enough
        self._conn.execute(QUERIES["blame"], {"shards": left})
        found = self._conn.execute(QUERIES["suspects"], {"shards": left}).fetchall()
        self._deaths |= {bytes(key): deaths for key, deaths in found}
        log.warning("%d shards were not given back: careful for a while, %d messages are suspect", len(left), len(found))

    def given(self, shards: Sequence[int]) -> None:
        """Others have these shards now, and what is in hand there is theirs."""
        if self._conn is not None:
            self._conn.execute(QUERIES["let_go"], {"shards": list(shards)})
            self._shards = [s for s in self._shards if s not in shards]

    def portions(self, messages: Sequence[Message], now_us: int) -> Iterator[Sequence[Message]]:
        """Cut a batch into what may be in hand at once, in order: suspects alone."""
        if self.careful and now_us > self._until_us:
            self.close()
        if not self.careful:
            yield messages
            return
        portion: list[Message] = []
        for message in messages:
            suspect = key(message) in self._deaths
            if portion and (suspect or len(portion) == PORTION):
                yield portion
                portion = []
            portion.append(message)
            if suspect:
                yield portion
                portion = []
        if portion:
            yield portion

    def read(self, portion: Sequence[Message], owned: dict[int, Owned]) -> list[Arrival]:
        """Note what is in hand, then read it; a killer is not read."""
        if self._conn is None:
            return read(portion, owned)
        if len(portion) == 1 and self._deaths.get(key(portion[0]), 0) >= DEADLY:
            return _unread(portion[0])
        self._conn.execute(QUERIES["note"], _rows(portion) | {"together": len(portion)})
        return read(portion, owned)

    def stored(self, portion: Sequence[Message]) -> None:
        """What was in hand is stored: the worker has lived. Killers stay known, since they may come again."""
        if self._conn is None:
            return
        self._conn.execute(QUERIES["strike_out"], _rows(portion) | {"deadly": DEADLY})
        for message in portion:
            if self._deaths.get(key(message), DEADLY) < DEADLY:
                del self._deaths[key(message)]

    def close(self) -> None:
        """Be careful no more; what is in hand now has killed nobody."""
        if self._conn is not None:
            with contextlib.suppress(psycopg.OperationalError):
                self._conn.execute(QUERIES["let_go"], {"shards": self._shards})
            self._conn.close()
        self._conn = None
        self._deaths.clear()


def key(message: Message) -> bytes:
    """Name a message by what stays the same when it is sent again: 16 bytes."""
    what = message.payload
    if is_frame(what):
        try:
            header = decode_header(what)
        except BadHeader:
            pass
        else:
            what = b"%x/%d" % (header.stream, header.seq)
    return hashlib.sha256(message.topic.encode() + b"\0" + what).digest()[:16]


def _rows(portion: Sequence[Message]) -> dict[str, list[Any]]:
    found: dict[tuple[int, bytes], None] = {}
    for message in portion:
        if at := address(message.topic):
            found[at[0] % SHARDS, key(message)] = None
    return {"shard": [shard for shard, _ in found], "key": [k for _, k in found]}


def _unread(message: Message) -> list[Arrival]:
    at, reason = address(message.topic), "the worker was killed over it alone, more than once"
    if at is None:
        return []
    log.error("a message on %s has killed the worker again and again; it is quarantined", message.topic)
    header: Header | BadHeader = BadHeader(reason)
    if is_frame(message.payload):
        try:
            header = decode_header(message.payload)
        except BadHeader as e:
            header = e
    return [Arrival(message, *at, header, Killer(reason))]
