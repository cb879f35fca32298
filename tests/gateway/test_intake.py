"""A group of messages: each sees what the ones before it left, and a bad one hurts only itself."""

from collections.abc import Mapping

from gateway.codecs.contract import Decoded, Message
from gateway.events import Event, Kind
from gateway.intake import decode_group


class Adder:
    """A codec that adds up numbers; it breaks on anything else."""

    family = "sum"
    topics: tuple[str, ...] = ("sum",)

    def matches(self, topic: str) -> bool:
        return topic == "sum"

    def decode(self, message: Message, memory: Mapping[str, int], persons: Mapping[tuple[str, str], bytes]) -> Decoded:
        total = memory.get("sum", 0) + int(message.payload)
        event = Event(device="sum/1", kind=Kind.ALIVE, t_us=1, received_us=message.received_us, a=total)
        return Decoded(events=(event,), memory={"sum": total})


def message(payload: bytes, topic: str = "sum") -> Message:
    return Message(topic=topic, payload=payload, received_us=7)


def test_a_message_sees_the_states_that_the_ones_before_it_left() -> None:
    memory = {"sum": 100}
    group = decode_group([message(b"1"), message(b"2"), message(b"3")], [Adder()], memory, {})
    assert [e.a for e in group.events] == [101, 103, 106]
    assert group.memory == {"sum": 106}
    assert memory == {"sum": 100}  # the spool has not taken the group yet


def test_a_bad_message_leaves_no_state_and_no_event_and_the_others_go_on() -> None:
    group = decode_group(
        [message(b"1"), message("张三".encode()), message(b"9" * 18), message(b"", "x"), message(b"2")], [Adder()], {}, {}
    )
    assert [e.a for e in group.events] == [1, 3]
    assert group.memory == {"sum": 3}
    assert [(q.family, q.reason, q.picture) for q in group.quarantine] == [
        ("sum", "codec_failed", True),
        ("sum", "unfit", True),
        ("", "no_codec", True),
    ]
    assert not any("张" in q.detail for q in group.quarantine)
    assert not decode_group([], [Adder()], {}, {}).durable
