"""What a simulated device is: `update(now, inputs) -> (outputs, call again at)`, told the time and doing nothing by itself.

One decision: an output that carries an observation carries it in plain words as well, so that the ledger is written from
what the device meant and not from what someone decodes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A message to publish; `observation` is a line of the ledger, None where the message observes nothing."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    observation: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """Somebody goes through: a door stays open until then, a counter counts them."""

    inward: bool
    until_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """The door is opened and stays so."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Toggle:
    """The door is opened if it is closed, and the other way round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The device reports now, whatever its interval says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """Somebody looks into the terminal; local_id "": a stranger to it."""

    local_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """The device's connection is up (again) or gone."""

    up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A message to the device."""

    payload: bytes


Input = Pass | Hold | Toggle | Report | Face | Connected | Told
Step = tuple[list[Output], int | None]


class Device(Protocol):
    """A device. `link` names the connection it speaks through."""

    identity: str
    link: str

    def update(self, now_us: int, inputs: Sequence[Input]) -> Step:
        """Take the inputs at `now_us`; returns what it publishes and when it wants to be called again (None: on inputs only)."""
