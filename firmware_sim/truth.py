"""The truth about incidents: what should be raised, about whom, and when; one JSON line each.

One decision: an incident that should raise nothing leaves its line too (rule None), and each line names the rules that may
speak as a consequence, so that scoring neither counts them as found nor as false.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """One incident, during [begin_us, end_us).

    rule: the rule that should speak, None if none. subjects: any of these is the right subject: the code of a site, a
    place ("site/place") or a gateway, the identity of a device, the token of a person. sites: where it happens. also:
    rules that may speak about these sites, or their devices and places, at the same time.
    """

    incident: str
    rule: str | None
    subjects: tuple[str, ...]
    sites: tuple[str, ...]
    begin_us: int
    end_us: int
    also: tuple[str, ...] = ()


def write(path: Path, truths: Iterable[Truth]) -> None:
    """Write a ledger, by begin."""
    lines = [json.dumps(asdict(t), ensure_ascii=False, sort_keys=True) for t in sorted(truths, key=lambda t: t.begin_us)]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
