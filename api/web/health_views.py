"""How the page says how devices stand."""

from collections.abc import Mapping
from dataclasses import dataclass

from analytics import reasons
from api.history import Health
from api.web.i18n import Say
from ingest.classes import CLASSES


@dataclass(frozen=True, slots=True, kw_only=True)
class TroubleView:
    """An open alert about a device."""

    alert: int
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthView:
    """A device's state, what kind it is, and what is wrong with it."""

    state: str
    kind: str
    troubles: list[TroubleView]


def health(found: Mapping[int, Health], say: Say) -> dict[int, HealthView]:
    """Say how devices stand, by id."""
    return {
        number: HealthView(
            state=h.state,
            kind=_kind(h.device_class, say),
            troubles=[TroubleView(alert=a, words=reasons.rule_name(rule, say.lang)) for a, rule, _ in h.troubles],
        )
        for number, h in found.items()
    }


def _kind(name: str, say: Say) -> str:
    known = CLASSES.get(name)
    return say.name(known.zh, known.en) if known else name
