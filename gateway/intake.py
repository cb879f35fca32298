"""From a group of vendors' messages to what one spool transaction takes, and what may be said once it is committed.

One decision: a message hurts only itself. What a codec rejects, breaks on or hands over unfit for the wire is quarantined
alone, and the group goes on. Whether events fit is asked of the whole group, and of each message only if it does not.
"""

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.codecs.contract import BlindChange, Codec, Decoded, Message, Reject, Reply
from gateway.events import Event
from gateway.spool import Quarantined
from gateway.wire import encode_body

FITTING = 300
"""Events that fit a frame's body whatever their devices are called."""


@dataclass(slots=True, kw_only=True)
class Group:
    """What follows from the messages, in their order.

    blind: with the receive time of the message that said so. replies: of each message, as many as there were messages.
    """

    events: list[Event] = field(default_factory=list)
    memory: dict[str, int] = field(default_factory=dict)
    quarantine: list[Quarantined] = field(default_factory=list)
    blind: list[tuple[BlindChange, int]] = field(default_factory=list)
    replies: list[tuple[Reply, ...]] = field(default_factory=list)

    @property
    def durable(self) -> bool:
        """Tell whether there is anything to write."""
        return bool(self.events or self.memory or self.quarantine)


def decode_group(
    messages: Sequence[Message], codecs: Sequence[Codec], memory: dict[str, int], persons: Mapping[tuple[str, str], bytes]
) -> Group:
    """Decode in order; each message sees the states that the ones before it left. `memory` itself is not touched."""
    group = _decode_all(messages, codecs, memory, persons, one_by_one=False)
    try:
        for i in range(0, len(group.events), FITTING):
            encode_body(group.events[i : i + FITTING])
    except (ValueError, OverflowError):
        return _decode_all(messages, codecs, memory, persons, one_by_one=True)
    return group


def _decode_all(
    messages: Sequence[Message],
    codecs: Sequence[Codec],
    memory: dict[str, int],
    persons: Mapping[tuple[str, str], bytes],
    *,
    one_by_one: bool,
) -> Group:
    """Decode in order. one_by_one: see of each message whether it fits the wire, which costs more than decoding it."""
    group = Group()
    seen = ChainMap(group.memory, memory)
    for message in messages:
        codec = next((c for c in codecs if c.matches(message.topic)), None)
        decoded = _decode(codec, message, seen, persons)
        if one_by_one:
            decoded = _fitting(decoded)
        group.events += decoded.events
        group.memory |= decoded.memory
        group.blind += [(change, message.received_us) for change in decoded.blind]
        group.replies.append(decoded.replies)
        if decoded.reject:
            group.quarantine.append(_quarantined(message, codec, decoded.reject))
    return group


def _fitting(decoded: Decoded) -> Decoded:
    """Return what was decoded, without its events and memory where the wire cannot carry them."""
    try:
        if decoded.events:
            encode_body(decoded.events)
    except (ValueError, OverflowError) as e:
        reject = Reject(reason="unfit", detail=f"the codec's events do not fit the wire: {e}", picture=True)
        return Decoded(replies=decoded.replies, blind=decoded.blind, reject=reject)
    return decoded


def _decode(
    codec: Codec | None, message: Message, memory: Mapping[str, int], persons: Mapping[tuple[str, str], bytes]
) -> Decoded:
    if codec is None:
        return Decoded(reject=Reject(reason="no_codec", detail="no codec speaks on this topic", picture=True))
    try:
        return codec.decode(message, memory, persons)
    except Exception as e:  # noqa: BLE001 - a codec's defect on one message must not take the other devices with it
        # The error's text may quote the payload, and what is in there is not known.
        return Decoded(reject=Reject(reason="codec_failed", detail=f"the codec broke: {type(e).__name__}", picture=True))


def _quarantined(message: Message, codec: Codec | None, reject: Reject) -> Quarantined:
    return Quarantined(
        at_us=message.received_us,
        family=codec.family if codec else "",
        topic=message.topic,
        reason=reject.reason,
        detail=reject.detail,
        payload=message.payload,
        picture=reject.picture,
    )
