"""`smartcare rules`: every rule with its settings and defaults, as the register and rule files name them.

One decision: the words are those in `analytics/rules.py` beside the numbers, so that they cannot tell another story.
"""

import ast
import inspect
from collections.abc import Iterator
from dataclasses import fields

from analytics import reasons, rules


def table() -> str:
    """Return all settings as a Markdown table."""
    lines = ["| 规则 rule | setting | default | what it says |", "|---|---|---|---|"]
    words = dict(_words())
    for rule, kind in rules.KINDS.items():
        name = f"{reasons.rule_name(rule, 'zh')} `{rule}`"
        lines.append(f"| {name} | | | {words[kind.__name__, '']} |")
        lines += [f"| | `{f.name}` | {f.default:g} | {words[kind.__name__, f.name]} |" for f in fields(kind)]
    return "\n".join(lines)


def _words() -> Iterator[tuple[tuple[str, str], str]]:
    """Yield the docstrings of the classes and of their fields, by (class, field or "")."""
    for node in ast.parse(inspect.getsource(rules)).body:
        if isinstance(node, ast.ClassDef):
            yield (node.name, ""), ast.get_docstring(node) or ""
            for field, text in zip(node.body, node.body[1:], strict=False):
                if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
                    yield (node.name, field.target.id), " ".join(ast.literal_eval(text.value).split())
