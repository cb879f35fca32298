"""Messages from the broker, taken apart before anyone decides what becomes of them.

    broker → Message → read (whole batches, nothing decided) → Arrival → ingest.intake

One decision: what a frame says depends on its bytes alone, so many are read in one pass, while the database is still
busy with the batch before.
"""

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from functools import lru_cache

from gateway.crashpoint import crashpoint
from gateway.wire import BadBody, BadHeader, Body, Header, decode_bodies, decode_header, is_frame

SHARDS = 64
TOPIC = re.compile(r"[^/]*/[^/]*/([0-9]{1,4})/([^/]*)/[^/]*", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """What the broker delivered, and when it arrived."""

    topic: str
    payload: bytes
    arrived_us: int


@dataclass(slots=True)
class Arrival:
    """A message, and what it says. shard, code: of the topic. header: None for JSON. body: None where there is no header."""

    message: Message
    shard: int
    code: str
    header: Header | BadHeader | None
    body: Body | BadBody | None = None


def read(messages: Sequence[Message], shards: Container[int] = range(SHARDS)) -> list[Arrival]:
    """Read messages, in order; those on topics of other shards than `shards`, and on no topic of ours, are dropped."""
    crashpoint("ingest.read", (m.payload for m in messages))
    arrivals, frames, payloads = [], [], []
    for message in messages:
        at = address(message.topic)
        if at is None or at[0] % SHARDS not in shards:
            continue
        header = _header(message.payload) if is_frame(message.payload) else None
        arrival = Arrival(message, at[0], at[1], header)
        arrivals.append(arrival)
        if isinstance(header, Header):
            frames.append(arrival)
            payloads.append(message.payload)
    for arrival, body in zip(frames, _bodies(payloads), strict=True):
        arrival.body = body
    return arrivals


def _bodies(payloads: list[bytes]) -> list[Body | BadBody]:
    """Decode all bodies; one that the decoder breaks on, against its promise, is quarantined like any other bad one."""
    try:
        return decode_bodies(payloads)
    except Exception as e:  # noqa: BLE001 - one bad message hurts only itself
        if len(payloads) == 1:
            return [BadBody(f"the decoder broke on it: {e!r}")]
        return [body for payload in payloads for body in _bodies([payload])]


@lru_cache(maxsize=65536)
def address(topic: str) -> tuple[int, str] | None:
    """Return shard and gateway code of an uplink topic, None if it is none."""
    found = TOPIC.fullmatch(topic)
    return (int(found[1]), found[2]) if found else None


def _header(payload: bytes) -> Header | BadHeader:
    try:
        return decode_header(payload)
    except BadHeader as e:
        return e
