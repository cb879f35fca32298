"""What a simulated device is: `update(now, inputs) -> (outputs, call again at)`, told the time and doing nothing by itself.

One decision: an output that carries an observation carries it in plain words as well, so that the ledger is written from
what the device meant and not from what someone decodes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """A message to publish; `observation` is a line of the ledger, None where the message observes nothing.

    content_type: not "" where it is an HTTP post; topic is then what follows the device's address. receipt: what the device is
    told once that post was answered with 200.
    """

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    observation: Mapping[str, object] | None = None
    content_type: str = ""
    receipt: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """Somebody goes through: a door stays open until then, a counter counts them."""

    inward: bool
    until_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """The door is opened and stays so; open False: it is shut again."""

    open: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Toggle:
    """The door is opened if it is closed, and the other way round."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The device reports now, whatever its interval says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """Somebody looks into the terminal; local_id "": a stranger to it. refused: it knows them and lets them not in."""

    local_id: str
    refused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """The device's connection is up (again) or gone."""

    up: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A message to the device."""

    payload: bytes


class Trouble(StrEnum):
    """What can be wrong with a device, and what the fault's value means."""

    DEAD = "dead"
    """1: it has no power and says nothing; 0: it starts again."""
    STUCK = "stuck"
    """Door. 1: it goes on reporting the state that it had; 0: repaired."""
    BLIND = "blind"
    """Counter, terminal. 1: it works and sees nobody; 0: repaired."""
    MISSES_OUT = "misses_out"
    """Counter. The share of those leaving whom it does not see, 0 to 1."""
    BATTERY = "battery"
    """Door. The percentage left."""
    TAMPER = "tamper"
    """Door. 1: taken off its mount; 0: back."""
    CLOCK = "clock"
    """Terminal. The seconds that its clock is ahead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """From now on something is wrong with the device, or right again."""

    trouble: Trouble
    value: float


Input = Pass | Hold | Toggle | Report | Face | Connected | Told | Fault
Step = tuple[list[Output], int | None]


class Device(Protocol):
    """A device. `link` names the connection it speaks through."""

    identity: str
    link: str

    def update(self, now_us: int, inputs: Sequence[Input]) -> Step:
        """Take the inputs at `now_us`; returns what it publishes and when it wants to be called again (None: on inputs only)."""
