"""The gallery of docs/devices.md: what each family sends, and what is stored, read from the page itself."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from gateway.codecs.contract import Codec, Message
from gateway.codecs.families import codecs
from gateway.codecs.mapping import parse
from gateway.codecs.request import topic_of
from gateway.codecs.telling import told
from gateway.intake import Group, decode_group

PAGE = Path(__file__).parents[1] / "docs" / "devices.md"
RECEIVED_US = 1_790_000_000_000_000  # 2026-09-21 14:13:20 UTC
_EXAMPLE = re.compile(r"^```text\n([^\n]+)\n(.*?)\n```\n\n```jsonl\n(.*?)```$", re.MULTILINE | re.DOTALL)
_MAPPING = re.compile(r"^```yaml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """What a device sends. head: MQTT topic, or "POST <family>/<name> <path>". stored: events as the page has them."""

    head: str
    payload: bytes
    stored: list[dict[str, Any]]

    @property
    def posted(self) -> tuple[str, str, str] | None:
        """Return family, name and path of a request; None over MQTT."""
        if not self.head.startswith("POST "):
            return None
        who, _, path = self.head.removeprefix("POST ").partition(" ")
        family, _, name = who.partition("/")
        return family, name, path

    @property
    def topic(self) -> str:
        """Return the topic that the codec sees."""
        if self.posted is None:
            return self.head
        family, name, path = self.posted
        parts = urlsplit(path)
        return topic_of(family, name, parts.path, dict(parse_qsl(parts.query)))


def mapping_text() -> str:
    """Return the mapping file of the page."""
    found = _MAPPING.search(PAGE.read_text(encoding="utf-8"))
    assert found, "docs/devices.md has no mapping"
    return found[1]


def examples() -> list[Example]:
    """Return the examples in their order."""
    found = _EXAMPLE.findall(PAGE.read_text(encoding="utf-8"))
    return [
        Example(head=head, payload=body.encode(), stored=[msgspec.json.decode(line) for line in stored.splitlines()])
        for head, body, stored in found
    ]


def understood(example: Example) -> tuple[Group, Codec]:
    """Decode an example as the gateway does."""
    family = codecs(mapping=parse(mapping_text()))
    message = Message(topic=example.topic, payload=example.payload, received_us=RECEIVED_US)
    (codec,) = (c for c in family if c.matches(example.topic))
    return decode_group([message], family, {}, {}), codec


def stored(example: Example) -> list[dict[str, Any]]:
    """Return what is stored of an example."""
    events: list[dict[str, Any]] = [told(event) for event in understood(example)[0].events]
    return events
