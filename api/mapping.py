"""Turns an alert as we say it into the JSON (or form) that a platform expects, as its operator has written down.

One decision: a mapping is the platform's body with JMESPath in the places of values. JMESPath reads and computes nothing else:
no files, no loops, no code. What the field allow-list does not name is gone before a mapping sees the alert.

    body:
      alarmNo: "=to_string(data.alert_id)"       # "=…" is an expression over {type, timestamp, data}
      alarmTime: "=local(data.begin)"            # 2026-11-22 09:30:00, Beijing time; ms(…) for milliseconds
      level: "=code('level', data.severity)"     # from the table below; its "*" stands for anything else
      source: smartcare                          # anything else stays as it is
    codes:
      level: {urgent: 1, major: 2, minor: 3}
    form: true                                   # sent as a form instead of JSON
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from urllib.parse import urlencode
from zoneinfo import ZoneInfo

import jmespath
import msgspec
import yaml
from jmespath import exceptions, functions

from api.errors import ApiError
from gateway.plain import Plain

MAX_TEXT = 64 * 1024
MAX_BODY = 64 * 1024
BEIJING = ZoneInfo("Asia/Shanghai")
TABLES = ("site", "region", "class")
"""What an endpoint's own table of codes can name, for every body that it is sent."""
Codes = dict[str, dict[str, Any]]


class BadMapping(ApiError):
    """A mapping that cannot be read, or cannot be applied to an alert."""

    slug = "bad-mapping"
    status = 422


class NoCode(BadMapping):
    """A word of an alert that a table of codes does not have: the mapping is right, the table is short."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A compiled "=…" of a mapping."""

    text: str
    compiled: Any


class Functions(functions.Functions):
    """What expressions may call besides JMESPath's own: `code`, `local`, `ms`."""

    def __init__(self, codes: Codes) -> None:
        self._codes = codes

    @functions.signature({"types": ["string"]}, {"types": ["string", "number", "boolean", "null"]})
    def _func_code(self, table: str, key: object) -> Any:
        if table not in self._codes:
            raise BadMapping(f"the mapping has no table of codes {table!r}; add it under codes")
        return look_up(self._codes, table, _word(key))

    @functions.signature({"types": ["string", "null"]})
    def _func_local(self, time: str | None) -> str | None:
        return None if time is None else f"{_time(time).astimezone(BEIJING):%Y-%m-%d %H:%M:%S}"

    @functions.signature({"types": ["string", "null"]})
    def _func_ms(self, time: str | None) -> int | None:
        return None if time is None else round(_time(time).timestamp() * 1000)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapping:
    """A mapping that has been read: the body with `Expression`s in it, and its tables of codes."""

    body: Any
    codes: Codes
    form: bool = False

    def apply(self, event: dict[str, Any]) -> Any:
        """Return the platform's document for an event. Raises BadMapping."""
        return _fill(self.body, event, jmespath.Options(custom_functions=Functions(self.codes)))


@lru_cache(maxsize=64)
def parse(text: str) -> Mapping:
    """Read a mapping from YAML (or JSON). Raises BadMapping."""
    if len(text) > MAX_TEXT:
        raise BadMapping(f"a mapping has at most {MAX_TEXT} characters, this one has {len(text)}")
    try:
        found = yaml.load(text, Plain)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, RecursionError) as e:
        raise BadMapping(f"the mapping is not YAML: {e}") from None
    form = found.get("form", False) if isinstance(found, dict) else False
    if (
        not isinstance(found, dict)
        or "body" not in found
        or not found.keys() <= {"body", "codes", "form"}
        or form not in (True, False)
    ):
        raise BadMapping("a mapping has `body` and, if needed, `codes` and `form: true`, and nothing else")
    return Mapping(body=_compile(found["body"]), codes=_tables(found.get("codes") or {}), form=form)


@lru_cache(maxsize=64)
def parse_codes(text: str) -> Codes:
    """Read an endpoint's table of codes from YAML (or JSON): {site: {…}, region: {…}, class: {…}}. Raises BadMapping."""
    try:
        found = yaml.load(text, Plain)  # noqa: S506 - a SafeLoader
    except (yaml.YAMLError, RecursionError) as e:
        raise BadMapping(f"the table of codes is not YAML: {e}") from None
    tables = _tables(found or {})
    if not tables.keys() <= set(TABLES):
        raise BadMapping(f"an endpoint's tables of codes are {', '.join(TABLES)}, got {', '.join(tables)}")
    return tables


def _tables(codes: object) -> Codes:
    if not (isinstance(codes, dict) and all(isinstance(table, dict) for table in codes.values())):
        raise BadMapping("`codes` is a mapping of tables, each from our word to the platform's code")
    return {str(name): {_word(k): v for k, v in table.items()} for name, table in codes.items()}


def look_up(codes: Codes, table: str, word: str) -> Any:
    """Return the code for a word, or that of "*". Raises NoCode."""
    found = codes[table]
    if word in found or "*" in found:
        return found.get(word, found.get("*"))
    raise NoCode(f'the table {table!r} has no code for {word!r}; add it, or "*" for all others')


def translate(event: dict[str, Any], codes: Codes) -> dict[str, Any]:
    """Return the event with the platform's own codes for site, region and device class, where there are such tables."""
    if not codes:
        return event
    data = dict(event["data"])
    site = dict(data.get("site") or {})
    for table, member in (("site", "code"), ("region", "region")):
        if table in codes and isinstance(site.get(member), str):
            site[member] = look_up(codes, table, site[member])
    subject = dict(data.get("subject") or {})
    if "site" in codes and subject.get("kind") == "site" and isinstance(subject.get("code"), str):
        subject["code"] = look_up(codes, "site", subject["code"])
    data |= ({"site": site} if site else {}) | ({"subject": subject} if subject else {})
    if "class" in codes and isinstance(data.get("devices"), list):
        data["devices"] = [d | {"class": look_up(codes, "class", d["class"])} if "class" in d else d for d in data["devices"]]
    return event | {"data": data}


def reads(mapping: Mapping) -> set[str] | None:
    """Return the paths of an event's data that a mapping reads ("site.code"); None where that cannot be told: maybe all."""
    found: set[str] = set()
    return found if all(_reads(e.compiled.parsed, found) for e in _expressions(mapping.body)) else None


def _expressions(node: Any) -> Iterator[Expression]:
    if isinstance(node, Expression):
        yield node
    for inner in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from _expressions(inner)


def _reads(node: dict[str, Any], found: set[str]) -> bool:
    """Collect what one expression reads; False where it reads more than plain paths."""
    if node["type"] == "subexpression" and all(c["type"] == "field" for c in node["children"]):
        names = [c["value"] for c in node["children"]]
        if names[0] == "data":
            found.add(".".join(names[1:]))
        return True
    if node["type"] == "field":
        return bool(node["value"] != "data")
    if node["type"] in ("current", "identity", "expref"):
        return False
    return all(_reads(child, found) for child in node.get("children", ()) if isinstance(child, dict))


def keep(event: dict[str, Any], fields: Sequence[str] | None) -> dict[str, Any]:
    """Return the event with only these paths of its data ("alert_id", "site.code"); None keeps all of it."""
    if fields is None:
        return event
    kept: dict[str, Any] = {}
    for path in fields:
        source, target = event["data"], kept
        *above, last = path.split(".")
        for name in above:
            source = source.get(name) if isinstance(source, dict) else None
            target = target.setdefault(name, {})
        if isinstance(source, dict) and last in source:
            target[last] = source[last]
    return event | {"data": kept}


def serialise(document: Any, *, form: bool) -> bytes:
    """Return the document's bytes, as JSON or as a form. Raises BadMapping where it is too long or no flat form."""
    if form:
        if not isinstance(document, dict) or any(isinstance(v, dict | list) for v in document.values()):
            raise BadMapping("this signer sends a form: the mapping's body is one level of names and plain values")
        body = urlencode({k: _plain(v) for k, v in document.items() if v is not None}).encode()
    else:
        try:
            body = msgspec.json.encode(document)
        except (TypeError, ValueError) as e:
            raise BadMapping(f"the mapped body is not JSON: {e}") from None
    if len(body) > MAX_BODY:
        raise BadMapping(f"the mapped body has {len(body)} bytes, at most {MAX_BODY} are sent")
    return body


def _compile(node: Any) -> Any:
    if isinstance(node, dict):
        return {_word(k): _compile(v) for k, v in node.items()}
    if isinstance(node, list):
        return [_compile(v) for v in node]
    if isinstance(node, str) and node.startswith("="):
        try:
            return Expression(node, jmespath.compile(node[1:]))
        except exceptions.JMESPathError as e:
            raise BadMapping(f"{node!r} is not a JMESPath expression: {e}") from None
    if node is None or isinstance(node, str | bool | int | float):
        return node
    raise BadMapping(f"{node!r} is not a JSON value; put it in quotes")


def _fill(node: Any, event: dict[str, Any], options: jmespath.Options) -> Any:
    if isinstance(node, dict):
        return {k: _fill(v, event, options) for k, v in node.items()}
    if isinstance(node, list):
        return [_fill(v, event, options) for v in node]
    if isinstance(node, Expression):
        try:
            return node.compiled.search(event, options)
        except exceptions.JMESPathError as e:
            raise BadMapping(f"{node.text!r} cannot be computed: {e}") from None
        except BadMapping as e:
            raise type(e)(f"{node.text!r}: {e.detail}") from None
    return node


def _time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise BadMapping(f"{text!r} is not a time") from None


def _word(key: object) -> str:
    return key if isinstance(key, str) else msgspec.json.encode(key).decode()


def _plain(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
