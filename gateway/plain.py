"""YAML as people mean it: `no`, `on`, `012` and dates stay the texts that they look like.

One decision: a plain word is text unless JSON would read it as something else.
"""

import re
from typing import Any

import yaml


class Plain(yaml.SafeLoader):
    """A SafeLoader with JSON's idea of what is no text."""

    yaml_implicit_resolvers: dict[Any, Any] = {}  # noqa: RUF012 - as its base declares it


for _tag, _pattern, _first in (
    ("bool", r"true|false", "tf"),
    ("null", r"null|~|", ["n", "~", ""]),
    ("int", r"-?(?:0|[1-9]\d*)", "-0123456789"),
    ("float", r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?", "-0123456789"),
):
    Plain.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(rf"(?:{_pattern})\Z"), list(_first))
