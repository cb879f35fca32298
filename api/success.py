"""Tells from an answer whether the receiver has taken what it was sent: many platforms refuse inside HTTP 200.

One decision: a rule compares values of the answer's JSON with literals and can do nothing else, so that a rule that can be
read can be trusted. What is absent never counts as success.

    $.code == 0
    $.success == true && $.data.status != "REJECTED"
"""

import json
import re
from dataclasses import dataclass
from typing import Any

from api.errors import ApiError

LITERAL = r'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?|true|false|null'
TERM = re.compile(rf"\s*\$((?:\.\w+)+)\s*(==|!=)\s*({LITERAL})\s*")


class BadRule(ApiError):
    """A success rule that cannot be read."""

    slug = "bad-success-rule"
    status = 422


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One comparison: the value at `path` is (or, not `equal`, is there and is not) `value`."""

    path: tuple[str, ...]
    equal: bool
    value: str | int | float | bool | None

    def holds(self, answer: object) -> bool:
        """Tell whether the answer satisfies it."""
        for key in self.path:
            if not isinstance(answer, dict) or key not in answer:
                return False
            answer = answer[key]
        same_type = isinstance(answer, bool) == isinstance(self.value, bool)  # in Python True == 1, in JSON it is not
        return (same_type and answer == self.value) is self.equal


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What the body of a 2xx answer must say; without terms nothing."""

    text: str = ""
    terms: tuple[Term, ...] = ()

    def holds(self, body: bytes) -> bool:
        """Tell whether an answer's body satisfies every term. A body that is no JSON satisfies none."""
        if not self.terms:
            return True
        try:
            answer: Any = json.loads(body)
        except (ValueError, RecursionError):
            return False
        return all(term.holds(answer) for term in self.terms)


ANY = Rule()


def parse(text: str) -> Rule:
    """Read comparisons joined by &&; "" is `ANY`. Raises BadRule."""
    if not text.strip():
        return ANY
    terms, at = [], 0
    while found := TERM.match(text, at):
        terms.append(Term(path=tuple(found[1][1:].split(".")), equal=found[2] == "==", value=_literal(found[3], text)))
        at = found.end()
        if at == len(text):
            return Rule(text=text.strip(), terms=tuple(terms))
        if not text.startswith("&&", at):
            break
        at += 2
    raise BadRule(f'a success rule is like `$.code == 0` or `$.ok == true && $.code != "E1"`, got {text!r} (stopped at {at})')


def _literal(text: str, rule: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        raise BadRule(f"{text} is not a JSON value, in {rule!r}") from None
