"""The REST interface against its own description: whatever it allows, and much that it does not, is asked of a real server.

One decision: few examples per route in every run, over every route and both kinds of caller; `HYPOTHESIS_PROFILE=long` asks more.
"""

import os
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import GenerationMode, checks

from api.app import create_app
from api.openapi import describe, operations
from api.settings import ApiSettings
from api.throttle import Rate
from tests.api.conftest import Running, Town

DESCRIBED = describe(create_app(ApiSettings(database_url="", public_url="http://x")))
SCHEMA = schemathesis.openapi.from_dict(DESCRIBED)
CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_headers_conformance,
    checks.response_schema_conformance,
]
EXAMPLES = 60 if os.environ.get("HYPOTHESIS_PROFILE") == "long" else 2


def cases() -> Iterator[Any]:
    """Every operation of the description."""
    found: Any
    for found in SCHEMA.get_all_operations():
        yield found.ok()


@pytest.mark.filterwarnings("ignore::hypothesis.errors.HypothesisDeprecationWarning")  # of schemathesis' own strategies
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_no_request_makes_the_server_fail_and_every_answer_is_as_described(
    running: Running, town: Town, mode: GenerationMode
) -> None:
    town.county.alert(town.east)
    running.console.by_token = Rate(10_000, 10_000)  # limits are another test's
    seen: set[tuple[str, int]] = set()
    headers = {"authorization": f"Bearer {town.county.token(town.admin, 'read', 'act')}"}
    for operation in cases():

        @settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            answer = case.call(base_url=running.url, headers=headers, timeout=10)
            case.validate_response(answer, checks=CHECKS)
            seen.add((case.operation.label, answer.status_code))

        ask()
    assert {label for label, _ in seen} == {operation.label for operation in cases()}
    assert any(status == (200 if mode is GenerationMode.POSITIVE else 422) for _, status in seen)


def test_every_route_is_described_with_an_example_that_fits_and_with_its_errors() -> None:
    shared = {"components": DESCRIBED["components"]}
    for path, method, operation in operations(DESCRIBED):
        assert operation["description"], path
        bodies = [operation["requestBody"]["content"]["application/json"]] if "requestBody" in operation else []
        answers = operation["responses"]
        fine = [c for status, a in answers.items() if status < "300" for c in a.get("content", {}).values() if "schema" in c]
        for content in [*bodies, *fine]:
            found = jsonschema_rs.validator_for(content["schema"] | shared).iter_errors(content["example"])
            assert [str(e) for e in found] == [], (method, path, content["example"])
        for status in ("400", "401", "403", "422", "429", "503"):
            assert "application/problem+json" in answers[status]["content"], (path, status)
