"""The operator's mapping file: what is wrong with one is said with its line, its field, what is there and what may be."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.codecs.families import codecs
from gateway.codecs.mapping import BadMapping, parse

GOOD = """\
families:
  - family: counter4g
    topic: counters/{device}/up
    time: ts
    events:
      - {kind: count_total, in: sum.enter, out: sum.leave, wrap: 16}
      - {kind: battery, value: batt, unit: fraction}
thingsboard:
  - devices: "door-*"
    events: [{kind: contact, value: doorState, yes: [OPEN], no: [CLOSED]}]
"""


def test_a_good_file_is_read() -> None:
    found = parse(GOOD)
    assert found.names == ("counter4g",)
    assert found.families[0].subscription == "counters/+/up"
    assert found.profile("door-7") is found.thingsboard[0]
    assert found.profile("hall") is None


def test_an_empty_file_is_an_empty_mapping() -> None:
    assert parse("").names == ()


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("wrap: 16", "wrap: 17", "m.yaml, line 6, families[1].events[1].wrap: Invalid enum value 17, it is 16 or 32; here: '17'"),
        ("kind: battery", "kind: batery", "line 7, families[1].events[2].kind: Invalid value 'batery', it is contact, tamper,"),
        ("time: ts", "tiem: ts", "line 4, families[1]: Object contains unknown field `tiem`; there are family, events, topic"),
        ("value: batt, ", "", "line 7, families[1].events[2]: Object missing required field `value`; there are value, unit"),
        ("in: sum.enter", "in: sum..enter", "line 6, families[1].events[1].in: not a JMESPath:"),
        ("in: sum.enter", "in: sum-enter", "names with '-' or '.' go in double quotes"),
        ("time: ts", "time: 3", "line 4, families[1].time: a JMESPath is text, this is int; here: '3'"),
        ("time: ts", "time_unit: us", "line 4, families[1].time_unit: Invalid enum value 'us', it is iso, s or ms"),
        ("wrap: 16", "line: 17", "line 6, families[1].events[1]: a line is a number from 1 to 16, not 17"),
        ("counter4g\n", "4g\n", "line 2, families[1]: a family has 2 to 16 small letters"),
        ("yes: [OPEN]", "yes: [CLOSED]", "line 10, thingsboard[1].events[1]: 'CLOSED' is both `yes` and `no`"),
        ("yes: [OPEN], no: [CLOSED]", "yes: [false]", "False is both `yes` and `no`; say both lists"),
        ("/{device}", "/x", "line 2, families[1]: nothing says the device's name"),
        ("/{device}", "/x{device}", "takes one whole level of the topic"),
        ("counters/", "+/", "the first level is a word"),
        ("counters/", "http/", "topics below http/ are this system's own"),
        ("time: ts", "time: [3", "m.yaml, line 5: not YAML:"),
        ("families:", "families: 3", "m.yaml, line 2: not YAML:"),
        (GOOD, "door", "line 1: Expected `object`, got `str`; here: 'door'"),
        ("thingsboard:", "  - family: counter4g\n    events: [{kind: tamper, value: t}]\nthingsboard:", "is there twice"),
    ],
)  # fmt: skip
def test_a_mistake_is_said_with_its_place(right: str, wrong: str, said: str) -> None:
    assert right in GOOD
    with pytest.raises(BadMapping) as e:
        parse(GOOD.replace(right, wrong), "m.yaml")
    assert said in str(e.value)


@pytest.mark.parametrize(
    ("right", "wrong"), [("counters/{device}/up", "zigbee2mqtt/{device}"), ("family: counter4g", "family: face")]
)
def test_a_family_that_we_understand_already_is_refused(right: str, wrong: str) -> None:
    with pytest.raises(BadMapping, match="already understood as"):
        codecs(mapping=parse(GOOD.replace(right, wrong)))


def test_a_family_that_an_earlier_one_would_hide_is_refused() -> None:
    wide = "families:\n  - {family: wide, topic: counters/#, device: id, events: [{kind: tamper, value: t}]}\n"
    narrow = GOOD.removeprefix("families:\n")
    with pytest.raises(BadMapping, match=r"'counter4g' .* is already understood as 'wide'; .* put the narrower topic first"):
        codecs(mapping=parse(wide + narrow))
    first, _, rest = narrow.partition("thingsboard:")
    assert len(codecs(mapping=parse("families:\n" + first + wide.removeprefix("families:\n") + "thingsboard:" + rest))) == 13


@given(
    st.text(st.sampled_from("{}[]:,-\n '\"ab.@()*&!|>?1") | st.characters(), max_size=60) | st.sampled_from(["\x00", "&a [*a]"])
)
def test_any_text_is_a_mapping_or_a_mistake(text: str) -> None:
    for tried in (text, GOOD.replace("sum.enter", text), GOOD.replace("counters/", text)):
        with contextlib.suppress(BadMapping):
            parse(tried)
