"""A face, a card, a finger and a check-in by hand are the same passage of the same person, whatever terminal says so."""

from dataclasses import replace

import pytest

from gateway.codecs.contract import Message
from gateway.codecs.families import codecs
from gateway.codecs.mapping import parse
from gateway.events import Event, Kind, Method, Result

NOW = 1_790_000_000_000_000
TOKEN = bytes(range(16))
MAPPING = parse("""\
families:
  - {family: byface, events: [{kind: passage, method: face, person: id}]}
  - {family: bycard, events: [{kind: passage, method: card, person: id}]}
  - {family: byhand, events: [{kind: passage, method: manual, person: id}]}
""")
HIK = (
    '{"dateTime":"2026-09-21T22:13:15+08:00","eventType":"AccessControllerEvent","AccessControllerEvent":'
    '{"majorEventType":5,"subEventType":%d,"employeeNoString":"17","serialNo":5}}'
)
ZK = "time=2026-09-21 22:13:15\tpin=17\tevent=3\tverifytype=%d\tindex=5\n"
ATTENDED = "17\t2026-09-21 22:13:15\t0\t%d\n"
DAHUA = 'Code=AccessControl;action=Pulse;index=0;data={"UserID":"17","UTC":1789999995,"Method":%d,"Status":1,"RecNo":5}'
FACE, CARD, FINGER, HAND = Method.FACE, Method.CARD, Method.FINGERPRINT, Method.MANUAL


def passage(topic: str, payload: str) -> Event:
    (codec,) = [c for c in codecs(mapping=MAPPING) if c.matches(topic)]
    device = "/".join(topic.split("/")[1:3])
    message = Message(topic=topic, payload=payload.encode(), received_us=NOW)
    (event,) = codec.decode(message, {}, {(device, "17"): TOKEN}).events
    return event


@pytest.mark.parametrize(
    ("topic", "form", "numbers"),
    [
        ("http/hikaccess/front/", HIK, {75: FACE, 1: CARD, 38: FINGER}),
        ("http/zk/CK1/cdata?table=rtlog", ZK, {15: FACE, 2: CARD, 1: FINGER, 0: HAND}),
        ("http/zk/CK1/cdata?table=ATTLOG", ATTENDED, {15: FACE, 2: CARD, 1: FINGER, 0: HAND}),
        ("http/dahua/side/", DAHUA, {15: FACE, 1: CARD, 6: FINGER, 0: HAND}),
    ],
)
def test_the_way_of_checking_in_is_all_that_differs(topic: str, form: str, numbers: dict[int, Method]) -> None:
    by_face = passage(topic, form % next(iter(numbers)))
    assert (by_face.kind, by_face.a, by_face.person) == (Kind.PASSAGE, Result.ALLOWED, TOKEN)
    assert [passage(topic, form % number) for number in numbers] == [replace(by_face, aux=how) for how in numbers.values()]


def test_a_mapped_card_reader_or_desk_makes_the_passage_of_a_mapped_face() -> None:
    face, card, hand = (passage(f"http/{family}/front/", '{"id":17}') for family in ("byface", "bycard", "byhand"))
    assert (face.kind, face.a, face.person) == (Kind.PASSAGE, Result.ALLOWED, TOKEN)
    assert card == replace(face, device="bycard/front", aux=CARD)
    assert hand == replace(face, device="byhand/front", aux=HAND)
