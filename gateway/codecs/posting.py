"""What the codecs of devices that post over HTTP have in common: whose request it is, and what becomes of an unreadable one.

One decision: a request that cannot be read at all gets no answer, so that the device says it again; a codec that would rather
have it answered returns the reject itself.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from zoneinfo import ZoneInfo

from gateway.codecs.contract import Decoded, Message, Reply
from gateway.codecs.payload import Unreadable
from gateway.codecs.request import Request, answer, read_request
from gateway.codecs.terminal import Persons, reject


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """A request with all that decoding it takes. zone: of clocks that do not say theirs."""

    request: Request
    message: Message
    memory: Mapping[str, int]
    persons: Persons
    zone: ZoneInfo

    @property
    def device(self) -> str:
        """Who posted it."""
        return self.request.device

    @property
    def payload(self) -> bytes:
        """What was posted."""
        return self.message.payload

    @property
    def received_us(self) -> int:
        """When it came."""
        return self.message.received_us

    def answer(self, payload: bytes = b"OK") -> tuple[Reply, ...]:
        """Answer it with this body."""
        return (answer(self.message, payload),)


class Posting(ABC):
    """A codec of one such family: `family` and `read` are its own. zone: IANA zone of clocks that do not say theirs."""

    family: str
    topics: tuple[str, ...] = ()

    def __init__(self, zone: str = "Asia/Shanghai") -> None:
        self._zone = ZoneInfo(zone)

    def matches(self, topic: str) -> bool:
        """Tell whether the topic is a request by a device of the family."""
        return read_request(topic, self.family) is not None

    def decode(self, message: Message, memory: Mapping[str, int], persons: Persons) -> Decoded:
        """Decode a request; what `read` cannot read is quarantined and not answered."""
        request = read_request(message.topic, self.family)
        if request is None:
            return Decoded()
        try:
            return self.read(Post(request=request, message=message, memory=memory, persons=persons, zone=self._zone))
        except Unreadable as e:
            return Decoded(reject=reject(e.reason, message.payload))

    @abstractmethod
    def read(self, post: Post) -> Decoded:
        """Return what the request says. Raises Unreadable."""
