"""What an HTTP request is to a codec: a `Message` like any other, whose topic the listener has made.

One decision: the codec contract stays as it is. The listener knows the device by the secret part of its URL and writes
family and name into the topic, so who is speaking never comes from the payload; the answer is a `Reply` to that same
topic, sent as the body of a 200 once the spool has the events. A request that gets no reply is answered 400, which
means "say it again". Nothing but the words below is taken from the URL: paths and queries can hold anything.

    http/<family>/<name>/<last word of the path>[?table=…&tablename=…&count=…]
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.codecs.contract import Message, Reply

QUERY = ("table", "tablename", "count", "options")
NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_WORD = re.compile(r"[A-Za-z0-9_]{1,32}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Who posted, and to what. device: the identity. word: last level of the path, "" if it said none."""

    name: str
    device: str
    word: str
    query: Mapping[str, str]


def topic_of(family: str, name: str, path: str, query: Mapping[str, str]) -> str:
    """Make the topic of a request; what is not a plain word is left out."""
    word = path.rstrip("/").rsplit("/", 1)[-1]
    kept = "&".join(f"{key}={query[key]}" for key in QUERY if _WORD.fullmatch(query.get(key, "")))
    return f"http/{family}/{name}/{word if _WORD.fullmatch(word) else ''}" + (f"?{kept}" if kept else "")


def read_request(topic: str, family: str) -> Request | None:
    """Read the topic of a request by a device of this family; None for any other topic."""
    path, _, query = topic.partition("?")
    levels = path.split("/")
    if len(levels) != 4 or levels[:2] != ["http", family] or not NAME.fullmatch(levels[2]):
        return None
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    values = {key: value for key, _, value in pairs}
    return Request(name=levels[2], device=f"{family}/{levels[2]}", word=levels[3], query=values)


def answer(message: Message, payload: bytes = b"OK") -> Reply:
    """Answer the request with 200 and this body."""
    return Reply(topic=message.topic, payload=payload)
