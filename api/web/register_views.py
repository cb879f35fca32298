"""How the page says the register: what was written, devices with what they are slow for, and forms read into rows."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.rows import DictRow

from analytics import reasons
from api import registering
from api.web.i18n import Say
from gateway.clock import SECOND_US
from ingest.classes import CLASSES
from ingest.register import Counts


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceView:
    """A device with its form's values. warnings: rules that must wait for it, in words."""

    row: DictRow
    word: str
    alive: str
    own_min: str
    warnings: list[str]


def device_views(devices: Sequence[DictRow], site: DictRow, say: Say) -> list[DeviceView]:
    """Say the devices of a site."""
    return [_device(d, site, say) for d in devices]


def _device(d: DictRow, site: DictRow, say: Say) -> DeviceView:
    known, own = CLASSES.get(d["class"]), d["alive_every_s"]
    alive_us = own * SECOND_US if own else known.alive_every_us if known else 0
    return DeviceView(
        row=d,
        word=say.name(known.zh, known.en) if known else d["class"],
        alive=say.span(alive_us) if alive_us else "–",
        own_min=str(own // 60) if own else "",
        warnings=[
            say("register.slow", rule=reasons.rule_name(rule, say.lang), limit=say.span(limit), silence=say.span(silence))
            for rule, limit, silence in registering.warnings(d, site)
        ],
    )


def counted(counts: Mapping[str, Counts], say: Say) -> list[tuple[str, int, int, int]]:
    """Return (table's word, created, changed, unchanged) of the tables that had rows."""
    return [
        (say.word("table", table), c.created, c.changed, c.unchanged)
        for table, c in counts.items()
        if c.created or c.changed or c.unchanged
    ]


def site_values(fields: Mapping[str, str]) -> dict[str, Any]:
    """Read the fields of a site's form as a row of the register; what is empty is not said."""
    optional = {name: fields.get(name, "").strip() or None for name in ("parent", "capacity")}
    named = {name: fields.get(name, "").strip() for name in ("name", "name_en", "kind", "region", "zone")}
    return optional | {name: value for name, value in named.items() if value or name != "zone"}
