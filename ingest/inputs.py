"""What the analyzer may know of one shard: the register compiled into a versioned value.

One decision: inputs are written to the log as a whole whenever the register changes, so that replay sees what was valid.
"""

import msgspec


class SiteInput(msgspec.Struct, frozen=True, kw_only=True):
    """A site.

    hours: day ("mon"…"sun", "holiday", "workday") → list of ["HH:MM", "HH:MM"] local times; an end <= its start is next day's.
    """

    id: int
    code: str
    name: str
    name_en: str
    kind: str
    zone: str
    capacity: int | None
    hours: dict[str, list[tuple[str, str]]]
    closed: list[tuple[int, int]]
    """Closures in force, [from_us, to_us)."""
    rules: dict[str, dict[str, float]]
    """Overrides, rule → setting → value."""
    modes: list[tuple[int, int, str]] = []
    """[from_us, to_us) in which a "visit" (inspection, event) or a "drill" explains what is unusual."""


class PlaceInput(msgspec.Struct, frozen=True, kw_only=True):
    """A spot at a site that a sensor watches."""

    id: int
    site: int
    code: str
    name: str
    name_en: str
    room: str


class DeviceInput(msgspec.Struct, frozen=True, kw_only=True):
    """A sensor. `family` is its class's ("door", "counter", "terminal"); place 0: not mounted now."""

    id: int
    gateway: int
    identity: str
    device_class: str
    family: str
    name: str
    place: int
    mounted_us: int
    alive_every_us: int


class GatewayInput(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway."""

    id: int
    code: str


class PersonInput(msgspec.Struct, frozen=True, kw_only=True):
    """Someone with active consent who belongs to a site of the shard; never a name.

    devices: ids of the terminals that know them, of any shard. absences: [from_us, to_us) that were announced.
    """

    id: int
    site: int
    role: str
    consent_from_us: int
    devices: list[int]
    absences: list[tuple[int, int]]


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    """Everything of one shard at one register version."""

    version: int
    sites: list[SiteInput]
    places: list[PlaceInput]
    devices: list[DeviceInput]
    gateways: list[GatewayInput]
    persons: list[PersonInput] = []
    days: dict[str, str] = {}
    """"YYYY-MM-DD" → "holiday", or "workday" for a weekend day that is worked (调休)."""


def encode(inputs: Inputs) -> bytes:
    """Write as canonical JSON (sorted keys), so that equal inputs are equal bytes."""
    return msgspec.json.encode(inputs, order="sorted")


def decode(body: bytes) -> Inputs:
    """Read what `encode` wrote. Raises msgspec.ValidationError on anything else."""
    return msgspec.json.decode(body, type=Inputs)
