"""Success rules: what a platform's answer must say inside HTTP 200."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.success import ANY, BadRule, parse


@pytest.mark.parametrize(
    ("rule", "body", "holds"),
    [
        ("", b"<html>", True),
        ("$.code == 0", b'{"code":0,"msg":"ok"}', True),
        ("$.code == 0", b'{"code":0.0}', True),
        ("$.code == 0", b'{"code":1}', False),
        ("$.code == 0", b'{"code":"0"}', False),
        ("$.code == 0", b'{"code":false}', False),
        ("$.code == 0", b"{}", False),
        ("$.code == 0", b'{"code":null}', False),
        ("$.code == 0", b"[0]", False),
        ("$.code == 0", b"", False),
        ("$.code == 0", b"\xff\xfe", False),
        ("$.code == 0", b"[" * 60_000, False),
        ('$.code == "0"', b'{"code":"0"}', True),
        ("$.success == true", b'{"success":true}', True),
        ("$.success == true", b'{"success":1}', False),
        ("$.data.error == null", b'{"data":{"error":null}}', True),
        ('$.status != "REJECTED"', b'{"status":"ok"}', True),
        ('$.status != "REJECTED"', b'{"status":"REJECTED"}', False),
        ('$.status != "REJECTED"', b"{}", False),
        ('$.a == 0 && $.b == "x && y"', b'{"a":0,"b":"x && y"}', True),
        ('$.a == 0 && $.b == "x && y"', b'{"a":0,"b":"x"}', False),
        ("$.数据.码 == -1.5", '{"数据":{"码":-1.5}}'.encode(), True),
    ],
)
def test_a_rule_holds_only_for_an_answer_that_says_so(rule: str, body: bytes, holds: bool) -> None:
    assert parse(rule).holds(body) is holds


@pytest.mark.parametrize(
    "rule",
    [
        "code == 0",
        "$.code = 0",
        "$.code == zero",
        "$ == 0",
        "$.code == 0 &&",
        "$.code == 0 || $.a == 1",
        "$.a == 01x",
        '$.a == "\\x"',
    ],
)
def test_a_rule_that_cannot_be_read_is_refused(rule: str) -> None:
    with pytest.raises(BadRule):
        parse(rule)


@given(st.binary(max_size=200))
def test_no_answer_upsets_a_rule(body: bytes) -> None:
    assert parse("$.code == 0 && $.a.b != 1").holds(body) is False
    assert ANY.holds(body)
