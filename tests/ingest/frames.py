"""Frames as a gateway sends them, and a worker's store without a broker."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg

from gateway.events import Event, Flag, Kind, Method, Result
from gateway.wire import Header, encode_body, encode_frame, topic_up
from ingest.columns import Batch
from ingest.intake import Reply
from ingest.reading import Message, read
from ingest.worker import WorkerConfig, _Store

NOW_US = 1_795_000_000_000_000
MINUTE_US = 60_000_000
DOOR, COUNTER, FACE = "z2m/前门", "lora/24e1c0ffee000001", "face/5500001"
TOKEN = bytes([0x5E]) * 16


def contact(t_us: int, opened: int, device: str = DOOR, flags: Flag = Flag.TIME_RECEIVED) -> Event:
    """A door contact."""
    return Event(device=device, kind=Kind.CONTACT, t_us=t_us, received_us=t_us, a=opened, flags=flags)


def total(t_us: int, a: int, b: int = 0, flags: Flag = Flag.WRAP16) -> Event:
    """Running totals of line 1."""
    return Event(device=COUNTER, kind=Kind.COUNT_TOTAL, aux=1, t_us=t_us, received_us=t_us + 1_500_000, a=a, b=b, flags=flags)


def passage(t_us: int, key: int, person: bytes | None = None, **more: Any) -> Event:
    """A recognised face with the terminal's record number."""
    values: dict[str, Any] = {"received_us": t_us + 400_000, "a": Result.ALLOWED, "b": 1, "flags": Flag.HAS_KEY} | more
    return Event(device=FACE, kind=Kind.PASSAGE, aux=Method.FACE, t_us=t_us, key=key, person=person, **values)


class Sender:
    """One stream of a gateway; `frame` numbers, `again` repeats."""

    def __init__(
        self, code: str = "gw-hc01", shard: int = 3, stream: int = 0xA1, since_us: int = NOW_US - 60 * MINUTE_US
    ) -> None:
        self.topic, self.stream, self.since_us, self.seq = topic_up(shard, code), stream, since_us, 0

    def frame(self, *events: Event, through_us: int = NOW_US, oldest: int = 1, skip: int = 0) -> Message:
        """The next frame (after `skip` that never arrive)."""
        self.seq += 1 + skip
        header = Header(stream=self.stream, seq=self.seq, oldest=oldest, since_us=self.since_us, through_us=through_us)
        return self.message(encode_frame(header, encode_body(events)))

    def message(self, payload: bytes, arrived_us: int = NOW_US) -> Message:
        """Any bytes on this gateway's topic."""
        return Message(topic=self.topic, payload=payload, arrived_us=arrived_us)


class Store:
    """The worker's own store, driven by hand; keeps what it handed over."""

    def __init__(self, dsn: str) -> None:
        self.worker = _Store(WorkerConfig(database_url=dsn, mqtt_url="", shards=(3, 4), owner="test"))
        self.batches: list[Batch] = []

    def take(self, *messages: Message, now_us: int = NOW_US) -> list[Reply]:
        """One cycle. Returns the replies."""
        batches, replies = self.worker.cycle(read(messages), now_us, False)
        self.batches += batches
        return replies


@contextmanager
def store(dsn: str) -> Iterator[Store]:
    """A store that owns shards 3 and 4 until the end."""
    s = Store(dsn)
    try:
        yield s
    finally:
        s.worker.close()


def stored(conn: psycopg.Connection[Any], columns: str = "t_us, a", table: str = "event") -> list[Any]:
    """Return columns of a log table in log order; single columns unpacked."""
    rows = conn.execute(f"SELECT {columns} FROM {table} ORDER BY pos, shard, ordinal").fetchall()
    return [row[0] if len(row) == 1 else row for row in rows]


def counts(conn: psycopg.Connection[Any], place: int) -> Mapping[str, int]:
    """Return the sums of a place's roll-ups."""
    names = ("people_in", "people_out", "passages", "openings", "events")
    sums = ", ".join(f"coalesce(sum({n}), 0)::bigint" for n in names)
    row = conn.execute(f"SELECT {sums} FROM rollup_hour WHERE place = %s", [place]).fetchone()
    assert row is not None
    return dict(zip(names, row, strict=True))
