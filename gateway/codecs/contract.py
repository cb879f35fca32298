"""What a codec is: a pure function from a vendor's message to canonical events.

One decision: a codec never raises and never does anything; replies, remembered states and what must be quarantined are
data that the service acts on once the spool has the events.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gateway.events import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A vendor's message as it came, at `received_us` of the gateway's clock.

    deaf_us: until when what was said on its way could not be heard, 0 if nothing said there was missed.
    """

    topic: str
    payload: bytes
    received_us: int
    retained: bool = False
    duplicate: bool = False
    deaf_us: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What the device is told, once the spool has its events."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class BlindChange:
    """Devices whose identity starts with `source` can no longer (or again) be heard."""

    source: str
    blind: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """Why a message (or the rest of it) was not understood. `detail` never quotes the payload of a picture class.

    picture: the message may carry a picture or a name; only length, hash and a masked head may be kept.
    """

    reason: str
    detail: str
    picture: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """Everything that follows from one message. `memory` holds the last-known states that changed."""

    events: tuple[Event, ...] = ()
    replies: tuple[Reply, ...] = ()
    memory: Mapping[str, int] = field(default_factory=dict)
    blind: tuple[BlindChange, ...] = ()
    reject: Reject | None = None


class Codec(Protocol):
    """One family of devices. `memory` and `persons` are read only."""

    family: str
    topics: tuple[str, ...]

    def matches(self, topic: str) -> bool:
        """Tell whether a message on this topic is for this codec."""

    def decode(self, message: Message, memory: Mapping[str, int], persons: Mapping[tuple[str, str], bytes]) -> Decoded:
        """Decode; `persons` maps (device identity, local id) to a consented person's 16-byte token."""
