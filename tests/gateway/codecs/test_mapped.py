"""Devices that only the operator's mapping knows: what their messages become."""

import contextlib
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.codecs.contract import Codec, Decoded, Message
from gateway.codecs.families import codecs
from gateway.codecs.mapping import Path, parse
from gateway.codecs.terminal import record_key
from gateway.events import NO_FLAGS, Event, FaultCode, Flag, Kind, Method, Result
from tests.gateway.codecs.test_hostile import JSON, SPITEFUL
from tests.gateway.codecs.test_hostile import decode as fits

NOW = 1_790_000_000_000_000  # 2026-09-21T14:13:20Z
SENT = 1_789_999_995_250_000
TOKEN = bytes(range(16))
FILE = parse("""\
families:
  - family: door4g
    topic: door/{device}/state
    time: ts
    time_unit: ms
    events:
      - {kind: contact, value: open}
      - {kind: tamper, value: cover, yes: ["off"], no: ["on"]}
      - {kind: battery, value: batt, unit: fraction}
      - {kind: fault, code: battery_low, value: low}
      - {kind: link, value: net, yes: [up], no: [down]}
  - family: gate
    topic: gate/#
    device: id
    records: readings
    time: at
    time_unit: s
    key: no
    late: stored
    events:
      - {kind: count_total, in: sum.enter, out: sum.leave, wrap: 16}
      - {kind: count_period, in: "span[0]", out: "span[1]", line: 2}
      - {kind: occupancy, value: here, region: 3}
  - family: desk
    time: when
    format: form
    answer: '{"code":0}'
    events:
      - {kind: passage, method: card, person: card, result: ok, allowed: ["1"], refused: ["2"]}
  - family: lwt
    topic: tele/{device}/LWT
    format: text
    events:
      - {kind: link, value: "@", yes: [Online], no: [Offline]}
""")
DOOR, GATE, DESK, LWT = "door/front/state", "gate/a/b", "http/desk/front/", "tele/door7/LWT"
VALID = [
    (DOOR, b'{"ts":1789999995250,"open":true,"cover":"on","batt":0.87,"low":false,"net":"up"}'),
    (GATE, b'{"id":7,"readings":[{"at":1789999995.25,"no":"41","sum":{"enter":5,"leave":4},"span":[1,2],"here":3}]}'),
    (DESK, b"card=E-17&ok=1&when=20260921221315"),
    (LWT, b"Online"),
]


def codec(topic: str) -> Codec:
    (found,) = [c for c in codecs(mapping=FILE) if c.matches(topic)]
    return found


def decode(topic: str, said: bytes | dict[str, Any], memory: dict[str, int] | None = None, received_us: int = NOW) -> Decoded:
    payload = said if isinstance(said, bytes) else json.dumps(said).encode()
    persons = {("desk/front", "E-17"): TOKEN}
    return codec(topic).decode(Message(topic=topic, payload=payload, received_us=received_us), memory or {}, persons)


def event(device: str, kind: Kind, a: int = 0, b: int = 0, *, aux: int = 0, flags: Flag = NO_FLAGS, key: int = 0) -> Event:
    return Event(device=device, kind=kind, t_us=SENT, received_us=NOW, aux=aux, a=a, b=b, flags=flags, key=key)


def test_a_door_s_state_becomes_edges_and_changes() -> None:
    first = decode(*VALID[0])
    keyed = Flag.HAS_KEY
    assert first.events == (
        event("door4g/front", Kind.CONTACT, 1, flags=keyed | Flag.REPEAT, key=SENT * 2 + 1),
        event("door4g/front", Kind.TAMPER, 0),
        event("door4g/front", Kind.BATTERY, 87),
        event("door4g/front", Kind.FAULT, 0, aux=FaultCode.BATTERY_LOW),
        event("door4g/front", Kind.LINK, 1),
    )
    closed = decode(DOOR, {"ts": 1789999996000, "open": 0}, dict(first.memory))
    assert [(e.kind, e.a, e.flags) for e in closed.events] == [(Kind.CONTACT, 0, keyed)]


def test_a_counter_s_records_each_have_their_time_number_and_line() -> None:
    decoded = decode(*VALID[1])
    assert decoded.reject is None
    assert decoded.events == (
        event("gate/7", Kind.COUNT_TOTAL, 5, 4, aux=1, flags=Flag.WRAP16 | Flag.HAS_KEY, key=41),
        event("gate/7", Kind.COUNT_PERIOD, 1, 2, aux=2, flags=Flag.HAS_KEY, key=41),
        event("gate/7", Kind.OCCUPANCY, 3, aux=3, flags=Flag.HAS_KEY, key=41),
    )


def test_a_card_at_a_desk_is_a_passage_of_who_has_consented_and_is_answered_in_the_vendor_s_words() -> None:
    t_us = 1_789_999_995_000_000
    decoded = decode(*VALID[2])
    assert decoded.replies[0].payload == b'{"code":0}'
    assert decoded.events == (
        Event(
            device="desk/front",
            kind=Kind.PASSAGE,
            t_us=t_us,
            received_us=NOW,
            aux=Method.CARD,
            a=Result.ALLOWED,
            flags=Flag.HAS_KEY,
            key=record_key(t_us, "E-17"),
            person=TOKEN,
        ),
    )
    refused, stranger = (decode(DESK, b"card=E-17&when=20260921221315&ok=%d" % ok).events[0] for ok in (2, 3))
    assert (refused.a, refused.person) == (Result.REFUSED, TOKEN)
    assert (stranger.a, stranger.person) == (Result.STRANGER, None)


def test_a_plain_word_is_a_connection() -> None:
    memory = dict(decode(LWT, b"Online\n").memory)
    assert [(e.device, e.kind, e.a) for e in decode(LWT, b"Offline", memory).events] == [("lwt/door7", Kind.LINK, 0)]


@pytest.mark.parametrize(
    ("topic", "family"),
    [
        ("door/front/state", "door4g"),
        ("door/康乐 前门/state", "door4g"),
        ("door/a/b/state", ""),
        ("door//state", ""),
        ("door/front/state/x", ""),
        ("gate", "gate"),
        ("gate/a", "gate"),
        ("gate/a\nb", "gate"),
        ("gates/a", ""),
        ("tele/door7/LWT", "lwt"),
        ("http/desk/front/any", "desk"),
        ("", ""),
    ],
)
def test_a_topic_is_a_family_s_as_the_broker_understands_its_pattern(topic: str, family: str) -> None:
    assert [c.family for c in codecs(mapping=FILE) if c.matches(topic)] == ([family] if family else [])


def test_a_total_whose_other_direction_came_before_is_completed_from_memory() -> None:
    first = decode(GATE, {"id": 7, "readings": [{"at": 1789999995.25, "sum": {"enter": 5}}]})
    assert [e.kind for e in first.events] == [Kind.ALIVE]
    second = decode(GATE, {"id": 7, "readings": [{"at": 1789999995.25, "sum": {"leave": 4}}]}, dict(first.memory))
    assert [(e.kind, e.a, e.b) for e in second.events] == [(Kind.COUNT_TOTAL, 5, 4)]


def test_a_record_said_twice_by_a_device_with_a_wrong_clock_has_the_same_key_and_one_without_a_clock_has_none() -> None:
    wrong = [decode(DESK, b"card=E-17&ok=1&when=20200101080000", received_us=at).events[0] for at in (NOW, NOW + 7)]
    assert [e.key for e in wrong] == [record_key(1_577_836_800_000_000, "E-17")] * 2
    assert all(e.flags == Flag.TIME_IMPLAUSIBLE | Flag.HAS_KEY for e in wrong)
    for said in (b"card=E-17&ok=1", b"card=E-17&ok=1&when=soon"):
        (event,) = decode(DESK, said).events
        assert (event.key, event.flags) == (0, Flag.TIME_IMPLAUSIBLE)


def test_of_a_period_one_direction_may_be_missing_and_of_totals_both() -> None:
    one = decode(GATE, {"id": 7, "readings": [{"at": 1789999995.25, "span": [2]}]}).events
    assert [(e.kind, e.a, e.b) for e in one] == [(Kind.COUNT_PERIOD, 2, 0)]
    none = decode(GATE, {"id": 7, "readings": [{"at": 1789999995.25, "sum": {}}]}, {"gate/7#in1": 5, "gate/7#out1": 4}).events
    assert [e.kind for e in none] == [Kind.ALIVE]


@pytest.mark.parametrize(
    ("ts", "t_us", "raw_us", "flags"),
    [
        (1789999995250, SENT, 0, NO_FLAGS),
        ("1789999995250", SENT, 0, NO_FLAGS),
        (1789999995250.0, SENT, 0, NO_FLAGS),
        (1789999995, NOW, 1_789_999_995_000, Flag.TIME_IMPLAUSIBLE),  # seconds where milliseconds were said
        ("soon", NOW, -1, Flag.TIME_IMPLAUSIBLE),
        (None, NOW, -1, Flag.TIME_IMPLAUSIBLE),
        (True, NOW, -1, Flag.TIME_IMPLAUSIBLE),
        (1e300, NOW, -1, Flag.TIME_IMPLAUSIBLE),
    ],
)
def test_a_time_in_milliseconds_is_believed_where_it_is_plausible(ts: object, t_us: int, raw_us: int, flags: Flag) -> None:
    (found,) = decode(DOOR, {"ts": ts, "batt": 0.5}).events  # a battery has no key: it is told on change only
    assert (found.t_us, found.raw_us, found.flags) == (t_us, raw_us, flags)


def test_a_record_that_was_kept_is_late_and_no_edge() -> None:
    old = NOW // 1000 - 11 * 60 * 1000
    kept = decode(DOOR, {"ts": old, "open": True, "batt": 0.5}, {"door4g/front": 0})
    assert [(e.kind, bool(e.flags & Flag.LATE), bool(e.flags & Flag.REPEAT)) for e in kept.events] == [
        (Kind.CONTACT, True, True),
        (Kind.BATTERY, True, False),
    ]
    assert "door4g/front" not in kept.memory
    said = decode(GATE, {"id": 7, "readings": [{"at": 1789999995.25, "stored": True, "here": 2}]}).events
    assert [e.flags for e in said] == [Flag.LATE]


@pytest.mark.parametrize(
    ("topic", "said", "reason", "words"),
    [
        (
            DOOR,
            {"open": "ajar"},
            "bad_field",
            "`open` is one of (True,) or (False,), a text of 4 characters came that is neither",
        ),
        (DOOR, {"batt": 87}, "bad_field", "`batt` is a number from 0 to 1, a number came that is none"),
        (GATE, {"id": 7, "readings": [{"sum": {"enter": 70000}}]}, "bad_field", "`sum.enter` is a number from 0 to 65535"),
        (GATE, {"id": 7, "readings": [{"here": 2.5}]}, "bad_field", "`here` counts people: a whole number"),
        (GATE, {"id": 7, "readings": {}}, "bad_field", "`records` is a list of at most 1000, an object came"),
        (GATE, {"readings": []}, "bad_identity", "at most"),
        (DOOR, b"{", "bad_json", "1 bytes"),
        (DESK, b"\xff", "bad_form", "are not a form"),
    ],
)
def test_what_is_not_as_the_mapping_says_is_told_without_quoting_it(topic: str, said: Any, reason: str, words: str) -> None:
    reject = decode(topic, said).reject
    assert reject
    assert (reject.reason, reject.picture) == (reason, True)
    assert words in reject.detail


def test_a_bad_field_costs_itself_only() -> None:
    decoded = decode(DOOR, {"open": "ajar", "batt": 0.5})
    assert decoded.reject
    assert [e.kind for e in decoded.events] == [Kind.BATTERY]


def test_an_unreadable_post_is_not_answered_and_a_partly_bad_one_is() -> None:
    assert decode(DESK, b"\xff").replies == ()
    assert decode(DESK, b"nothing=1").replies[0].payload == b'{"code":0}'


@pytest.mark.parametrize(("topic", "payload"), VALID)
def test_a_mapped_payload_cut_at_any_byte_hurts_nobody(topic: str, payload: bytes) -> None:
    for end in range(len(payload) + 1):
        fits(codec(topic), topic, payload[:end])


def said(*names: str) -> st.SearchStrategy[dict[str, Any]]:
    """Anything at all under names that a mapping asks for."""
    numbers = st.integers(-1, 2**40) | st.floats() | st.sampled_from([0, 1, "1", "2", True, False, None])
    return st.dictionaries(st.sampled_from(names), numbers | JSON)


DOCUMENTS = {
    DOOR: said("ts", "open", "cover", "batt", "low", "net"),
    GATE: st.fixed_dictionaries(
        {"id": st.integers() | JSON, "readings": st.lists(said("at", "no", "sum", "span", "here", "stored"))}
    ),
    DESK: said("when", "card", "ok"),
    LWT: JSON,
}


@given(st.data())
def test_anything_a_mapped_device_says_hurts_nobody(data: st.DataObject) -> None:
    topic = data.draw(st.sampled_from(sorted(DOCUMENTS)))
    payload = data.draw(DOCUMENTS[topic].map(lambda v: json.dumps(v).encode()) | st.binary())
    fits(codec(topic), topic, payload)


@given(st.sampled_from(["open", "cover", "batt", "low", "net", "ts"]), st.sampled_from(SPITEFUL))
def test_a_spiteful_value_in_a_mapped_field_hurts_nobody(field: str, spite: str) -> None:
    fits(codec(DOOR), DOOR, f'{{"{field}":{spite},"open":true}}'.encode())


EXPRESSIONS = ["sort(@)", "abs(@)", "to_number(@)", "max_by(@, &a)", "sum(@)", "a[?b > `1`]", "join('', @)", "avg(@)"]


@given(st.sampled_from(EXPRESSIONS), JSON)
def test_any_expression_on_any_document_finds_something_or_says_that_it_cannot(text: str, document: object) -> None:
    with contextlib.suppress(LookupError):
        Path(text).find(document)
