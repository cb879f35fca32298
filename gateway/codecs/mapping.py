"""The operator's own mapping file: which key of an unknown device's JSON means what.

One decision: a mapping is data, read whole and checked when the gateway starts; a mistake is said with its line, its field,
what is there and what may be there. Paths are JMESPath, which reads and computes nothing else: no files, no loops, no code.

    families:                                  # devices whose messages no codec of ours knows
      - family: counter4g                      # its devices are counter4g/<name>
        topic: counters/{device}/up            # MQTT; without it they post to their address over HTTP
        time: ts                               # a JMESPath in the message; time_unit: iso (default), s or ms
        events:
          - {kind: count_total, in: sum.enter, out: sum.leave, wrap: 16}
          - {kind: battery, value: batt, unit: fraction}
    thingsboard:                               # devices that speak ThingsBoard's API: what their keys mean
      - devices: "door-*"
        events: [{kind: contact, value: doorState, yes: [OPEN], no: [CLOSED]}]
"""

import re
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Any, Literal

import jmespath
import msgspec
import yaml
from jmespath import exceptions

from gateway.plain import Plain

MAX_TEXT = 256 * 1024
FAMILY = re.compile(r"[a-z][a-z0-9_]{1,15}")
DEVICE_LEVEL = "{device}"
_AT = re.compile(r" - at `\$(.*)`$")
_STEP = re.compile(r"\.(\w+)|\[(\d+)\]")
_NAMED = re.compile(r"(?:unknown|required) field `(\w+)`")
_WORDS = {
    "kind": "contact, tamper, link, fault, battery, count_total, count_period, occupancy or passage",
    "unit": "percent or fraction",
    "wrap": "16 or 32",
    "format": "json, text or form",
    "time_unit": "iso, s or ms",
    "method": "face, card, fingerprint or manual",
    "code": "occluded, moved, hardware or battery_low",
}


class BadMapping(ValueError):
    """A mapping file that cannot be used; the text says where, what is there, and what may be there."""


class Path:
    """A compiled JMESPath."""

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._compiled = jmespath.compile(text)
        except (exceptions.JMESPathError, RecursionError) as e:
            raise ValueError(f"not a JMESPath: {' '.join(str(e).split())}; names with '-' or '.' go in double quotes") from None

    def find(self, document: object) -> Any:
        """Return what is there, None where nothing is. Raises LookupError where the expression cannot be computed on it."""
        try:
            return self._compiled.search(document)
        except (exceptions.JMESPathError, ValueError, TypeError, ArithmeticError, AttributeError, RecursionError) as e:
            raise LookupError(type(e).__name__) from None  # its text may quote the message


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="kind"):
    """One kind of event that a message can hold; where its path finds nothing there is no such event."""


class _TwoStates(Rule, frozen=True, kw_only=True):
    value: Path
    yes: tuple[Any, ...] = (True,)
    no: tuple[Any, ...] = (False,)

    def __post_init__(self) -> None:
        if both := [v for v in self.yes if v in self.no]:
            raise ValueError(f"{both[0]!r} is both `yes` and `no`; say both lists, for example yes: [false], no: [true]")


class Contact(_TwoStates, tag="contact", frozen=True, kw_only=True):
    """yes: the door is open. 1 and 0 count as true and false."""


class Tamper(_TwoStates, tag="tamper", frozen=True, kw_only=True):
    """yes: opened, or taken off its mount."""


class Link(_TwoStates, tag="link", frozen=True, kw_only=True):
    """yes: online."""


class Fault(_TwoStates, tag="fault", frozen=True, kw_only=True):
    """yes: the fault is present."""

    code: Literal["occluded", "moved", "hardware", "battery_low"]


class Battery(Rule, tag="battery", frozen=True, kw_only=True):
    """unit: of the value; a fraction is between 0 and 1."""

    value: Path
    unit: Literal["percent", "fraction"] = "percent"


class _Counts(Rule, frozen=True, kw_only=True, rename={"entered": "in", "left": "out"}):
    entered: Path
    left: Path | None = None
    line: int = 1

    def __post_init__(self) -> None:
        if not 1 <= self.line <= 16:
            raise ValueError(f"a line is a number from 1 to 16, not {self.line}")


class CountTotal(_Counts, tag="count_total", frozen=True, kw_only=True):
    """Running totals. wrap: bits after which they start again at 0. daily: they start again at midnight."""

    wrap: Literal[16, 32] = 32
    daily: bool = False


class CountPeriod(_Counts, tag="count_period", frozen=True, kw_only=True):
    """What was counted since the last message."""


class Occupancy(Rule, tag="occupancy", frozen=True, kw_only=True):
    """People present; region 0 is the whole view."""

    value: Path
    region: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.region <= 16:
            raise ValueError(f"a region is a number from 0 to 16, not {self.region}")


class Passage(Rule, tag="passage", frozen=True, kw_only=True):
    """Someone at a terminal. person: the local id, which becomes a token or nothing. result: neither list: a stranger."""

    method: Literal["face", "card", "fingerprint", "manual"]
    person: Path
    result: Path | None = None
    allowed: tuple[Any, ...] = (True,)
    refused: tuple[Any, ...] = (False,)


_RULES = (Contact, Tamper, Link, Fault, Battery, CountTotal, CountPeriod, Occupancy, Passage)
Rules = tuple[Contact | Tamper | Link | Fault | Battery | CountTotal | CountPeriod | Occupancy | Passage, ...]


class Family(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Devices of one make. device: where the message itself says its name. records: a list of records in one message.

    key: the vendor's own record number. late: true where a record was kept while the device was offline.
    answer: what a device that posts over HTTP waits for.
    """

    family: str
    events: Rules
    topic: str = ""
    device: Path | None = None
    records: Path | None = None
    format: Literal["json", "text", "form"] = "json"
    time: Path | None = None
    time_unit: Literal["iso", "s", "ms"] = "iso"
    key: Path | None = None
    late: Path | None = None
    answer: str = "OK"

    def __post_init__(self) -> None:
        if not FAMILY.fullmatch(self.family):
            raise ValueError(f"a family has 2 to 16 small letters, digits or '_', not {self.family!r}")
        levels = self.topic.split("/")
        if any("{" in level and level != DEVICE_LEVEL for level in levels) or self.topic.count(DEVICE_LEVEL) > 1:
            raise ValueError(f"{DEVICE_LEVEL} takes one whole level of the topic, once; {self.topic!r} does not")
        if any(("+" in v or "#" in v) and len(v) > 1 for v in levels) or "#" in levels[:-1] or levels[0] in ("+", "#"):
            raise ValueError(f"{self.topic!r}: + is one whole level and # the last ones, and the first level is a word")
        if self.topic and self.device is None and DEVICE_LEVEL not in levels:
            raise ValueError(f"nothing says the device's name: put {DEVICE_LEVEL} into the topic, or a path into `device`")
        if levels[0] in ("http", "care", "tb"):
            raise ValueError(f"topics below {levels[0]}/ are this system's own")
        if not self.events:
            raise ValueError("`events` is empty: nothing would be stored")

    @property
    def subscription(self) -> str:
        """The MQTT filter of the topic."""
        return self.topic.replace(DEVICE_LEVEL, "+")


class Profile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the keys of ThingsBoard devices mean whose names match `devices` (* is anything); the first that matches counts."""

    events: Rules
    devices: str = "*"


class MappingFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """A whole file."""

    families: tuple[Family, ...] = ()
    thingsboard: tuple[Profile, ...] = ()

    def profile(self, device: str) -> Profile | None:
        """Return what the keys of a ThingsBoard device mean."""
        return next((p for p in self.thingsboard if fnmatchcase(device, p.devices)), None)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Return the families."""
        return tuple(f.family for f in self.families)


def parse(text: str, name: str = "mapping") -> MappingFile:
    """Read a mapping file; `name` is said in errors. Raises BadMapping."""
    if len(text) > MAX_TEXT:
        raise BadMapping(f"{name}: a mapping has at most {MAX_TEXT} characters, this one has {len(text)}")
    node: yaml.Node | None = None
    try:
        node, document = _loaded(text)
        found = msgspec.convert(document, MappingFile, dec_hook=_path)
    except msgspec.ValidationError as e:
        raise BadMapping(_said(name, node, str(e))) from None
    except yaml.MarkedYAMLError as e:
        mark = e.problem_mark or e.context_mark
        line = f", line {mark.line + 1}" if mark else ""
        raise BadMapping(f"{name}{line}: not YAML: {e.problem or e.context}") from None
    except (yaml.YAMLError, RecursionError, ValueError) as e:
        raise BadMapping(f"{name}: not YAML: {e or type(e).__name__}") from None
    twice = [f for f in found.names if found.names.count(f) > 1]
    if twice:
        raise BadMapping(f"{name}: the family {twice[0]!r} is there twice; give each its own name")
    return found


def _loaded(text: str) -> tuple[yaml.Node | None, object]:
    """Return the tree, whose nodes know their lines, and what it says."""
    loader = Plain(text)
    try:
        node = loader.get_single_node()
        return node, loader.construct_document(node) if node else {}
    finally:
        loader.dispose()


def _path(kind: type, value: object) -> Path:
    if not isinstance(value, str):
        raise ValueError(f"a JMESPath is text, this is {type(value).__name__}")
    return Path(value)


def _said(name: str, node: yaml.Node | None, error: str) -> str:
    """Say a mistake with the line and the field at which it is, and what is there."""
    at = _AT.search(error)
    steps = [m[1] or int(m[2]) for m in _STEP.finditer(at[1])] if at else []
    expected = error[: at.start()] if at else error
    here = _at(node, steps)
    if (unknown := _NAMED.search(expected)) and isinstance(here, yaml.MappingNode):
        expected += f"; there are {', '.join(_fields(steps, here))}"
        here = next((k for k, _ in here.value if k.value == unknown[1]), here)
    if steps and steps[-1] in _WORDS:
        expected += f", it is {_WORDS[str(steps[-1])]}"
    line = f", line {here.start_mark.line + 1}" if here else ""
    came = f"; here: {here.value!r}" if isinstance(here, yaml.ScalarNode) and not unknown else ""
    field = "".join(f"[{s + 1}]" if isinstance(s, int) else f".{s}" for s in steps).lstrip(".")
    return f"{name}{line}{f', {field}' if field else ''}: {expected}{came}"


def _fields(steps: list[str | int], node: yaml.MappingNode) -> tuple[str, ...]:
    """Return the fields that may be there."""
    kind = next((v.value for k, v in node.value if k.value == "kind"), None)
    inside: list[type[msgspec.Struct]] = [MappingFile, Family if steps[:1] == ["families"] else Profile, Rule]
    owner = inside[min(len(steps) // 2, 2)]
    if owner is Rule:
        owner = next((c for c in _RULES if c.__struct_config__.tag == kind), Rule)
    return owner.__struct_encode_fields__


def _at(node: yaml.Node | None, steps: list[str | int]) -> yaml.Node | None:
    for step in steps:
        if isinstance(node, yaml.MappingNode):
            node = next((v for k, v in node.value if k.value == step), node)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
    return node
