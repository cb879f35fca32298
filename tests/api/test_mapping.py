"""Mappings from our alert to a platform's own JSON or form."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from api.mapping import BadMapping, keep, parse, serialise
from api.samples import SAMPLE

MAPPING = """
body:
  alarmNo: "=to_string(data.alert_id)"
  alarmTime: "=local(data.begin)"
  reportTime: "=ms(data.detected)"
  endTime: "=local(data.end)"
  level: "=code('level', data.severity)"
  org: {code: "=data.site.code", area: "=data.site.region"}
  tags: [care, "=data.rule"]
  text: "=join(' / ', [data.rule_zh, data.reason_zh])"
  late: "=code('flag', data.late)"
  source: "='=care'"
codes:
  level: {urgent: 1, "*": 9}
  flag: {true: 是, false: 否}
"""


def event() -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(SAMPLE)
    return found


def test_an_alert_becomes_the_platforms_own_document() -> None:
    assert parse(MAPPING).apply(event()) == {
        "alarmNo": "1024",
        "alarmTime": "2026-11-20 09:30:00",
        "reportTime": 1_795_138_265_000,
        "endTime": None,
        "level": 1,
        "org": {"code": "sample", "area": "999001001000"},
        "tags": ["care", "not_opened"],
        "text": "未按时开门 / 09:30 前未开门，3 个传感器均在线",
        "late": "否",
        "source": "=care",
    }


def test_words_that_yaml_takes_for_something_else_stay_text() -> None:
    text = "body: {no: on, code: 012, area: 330481, day: 2026-01-01, time: 12:30, n: -1.5, t: true, f: false, z: null, e: }"
    assert parse(text).apply(event()) == {
        "no": "on",
        "code": "012",
        "area": 330481,
        "day": "2026-01-01",
        "time": "12:30",
        "n": -1.5,
        "t": True,
        "f": False,
        "z": None,
        "e": None,
    }


def test_the_platforms_names_stay_in_the_order_they_were_written() -> None:
    body = serialise(parse(MAPPING).apply(event()), form=False)
    assert list(json.loads(body))[:4] == ["alarmNo", "alarmTime", "reportTime", "endTime"]
    assert body == serialise(parse(MAPPING).apply(event()), form=False)


def test_a_word_without_a_code_is_named_and_star_stands_for_others() -> None:
    other = event()
    other["data"]["severity"] = "minor"
    assert parse(MAPPING).apply(other)["level"] == 9
    strict = parse("body: {level: \"=code('level', data.severity)\"}\ncodes: {level: {urgent: 1}}")
    with pytest.raises(BadMapping, match="no code for 'minor'"):
        strict.apply(other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "body: {a: 1}\nscript: x",
        'body: {a: "=data..x"}',
        'body: {a: "="}',
        "body: {a: !!python/object/apply:os.system [id]}",
        "body: {}\ncodes: [1]",
        "body: {}\ncodes: {a: 1}",
        "body: [" * 5000,
        "body: " + "x" * 70_000,
    ],
)
def test_a_mapping_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(BadMapping):
        parse(text)


@pytest.mark.parametrize("expression", ["nothing(data)", "local(data.rule)", "length(data.alert_id)", "code('none', data.rule)"])
def test_an_expression_that_cannot_be_computed_names_itself(expression: str) -> None:
    with pytest.raises(BadMapping) as refused:
        parse(f'body: {{a: "={expression}"}}').apply(event())
    assert expression.partition("(")[0] in refused.value.detail


def test_what_the_allow_list_does_not_name_is_gone_before_the_mapping() -> None:
    kept = keep(event(), ["alert_id", "site.code"])
    assert kept["data"] == {"alert_id": 1024, "site": {"code": "sample"}}
    assert parse('body: {a: "=data.site.name", b: "=data.site.code"}').apply(kept) == {"a": None, "b": "sample"}
    assert keep(event(), []) == event() | {"data": {}}
    assert keep(event(), None) == event()


def test_a_form_has_one_level_and_leaves_out_what_is_absent() -> None:
    assert serialise({"a": "开 门", "n": 1, "t": True, "x": None}, form=True) == b"a=%E5%BC%80+%E9%97%A8&n=1&t=true"
    with pytest.raises(BadMapping, match="one level"):
        serialise({"a": {"b": 1}}, form=True)


def test_a_body_too_long_is_refused() -> None:
    with pytest.raises(BadMapping, match="at most"):
        serialise({"a": "x" * 65_536}, form=False)


def test_the_example_in_the_documentation_works() -> None:
    text = (Path(__file__).parents[2] / "docs" / "integration.md").read_text("utf-8")
    document = parse(text.partition("```yaml\n")[2].partition("```")[0]).apply(event())
    assert document["level"] == 1
    assert document["org"] == {"code": "330481-000", "area": "999001001000"}
    assert document["content"] == "未按时开门：09:30 前未开门，3 个传感器均在线"
