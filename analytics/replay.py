"""What a rule set would have raised over stored history, beside another one over the same log.

One decision: a replay is the live engine over the whole log from its very beginning, with the settings of the register's
inputs replaced: what it learned before the asked span is what the live one had learned, what came late after it still counts,
and nothing is written anywhere.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import msgspec
import psycopg

from analytics.engine import Engine
from analytics.findings import Finding, Phase, Rule, Severity, SubjectKind
from analytics.rules import KINDS
from ingest.columns import Batch
from ingest.inputs import decode, encode
from ingest.store.log import read_history
from ingest.store.queries import Queries

QUERIES = Queries("analytics")
Settings = dict[str, dict[str, float]]


class RuleSetError(Exception):
    """A rule file names what no rule knows."""


class RuleSet(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Settings beside those of the register. default: for every site; sites: by site code, over `default`."""

    default: Settings = {}
    sites: dict[str, Settings] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """An alert that would have been raised. end_us: None, still open at the end of the replay; retracted: taken back."""

    rule: Rule
    subject_kind: SubjectKind
    subject: int
    site: int
    episode: int
    at_us: int
    end_us: int | None
    severity: Severity
    reason: dict[str, Any]
    retracted: bool


def check(rules: RuleSet) -> RuleSet:
    """Return `rules`. Raises RuleSetError where a rule or a setting has another name."""
    for settings in (rules.default, *rules.sites.values()):
        for rule, values in settings.items():
            if rule not in KINDS:
                raise RuleSetError(f"there is no rule {rule!r}; expected one of {', '.join(KINDS)}")
            known = [f.name for f in fields(KINDS[rule])]
            if unknown := set(values) - set(known):
                raise RuleSetError(f"{rule} has no setting {', '.join(sorted(unknown))}; expected {', '.join(known) or 'none'}")
    return rules


def shards(conn: psycopg.Connection[Any]) -> list[tuple[int, int]]:
    """Return the shards that have sites, with the last position of their log (microseconds)."""
    return conn.execute(QUERIES["replayed_shards"]).fetchall()


class Replay:
    """Several rule sets over one log. `raised(n)` is what set number n has raised so far, oldest first."""

    def __init__(self, rule_sets: Sequence[RuleSet]) -> None:
        self._sets = [check(rules) for rules in rule_sets]
        self._engines = [Engine() for _ in rule_sets]
        self._raised: list[dict[tuple[object, ...], Raised]] = [{} for _ in rule_sets]

    def run(self, conn: psycopg.Connection[Any], shard: int, last: int) -> Iterator[int]:
        """Go through one shard's log up to position `last`; yields the position (microseconds) after each batch."""
        for batch in read_history(conn, shard, last):
            self.apply(batch)
            yield batch.pos

    def apply(self, batch: Batch) -> None:
        """Let every rule set see a batch."""
        for engine, rules, raised in zip(self._engines, self._sets, self._raised, strict=True):
            for finding in engine.apply(with_rules(batch, rules)):
                _fold(raised, finding)

    def raised(self, n: int, from_us: int, to_us: int) -> list[Raised]:
        """Return what set `n` has raised with a time in [from_us, to_us)."""
        return sorted((r for r in self._raised[n].values() if from_us <= r.at_us < to_us), key=lambda r: (r.at_us, r.rule))


def with_rules(batch: Batch, rules: RuleSet) -> Batch:
    """Return the batch with the settings of `rules` over those that its inputs carry."""
    if batch.inputs is None or not (rules.default or rules.sites):
        return batch
    inputs = decode(batch.inputs)
    sites = [
        msgspec.structs.replace(s, rules=_over(_over(s.rules, rules.default), rules.sites.get(s.code, {}))) for s in inputs.sites
    ]
    return replace(batch, inputs=encode(msgspec.structs.replace(inputs, sites=sites)))


def _over(below: Mapping[str, dict[str, float]], above: Mapping[str, dict[str, float]]) -> Settings:
    return {rule: {**below.get(rule, {}), **above.get(rule, {})} for rule in {**below, **above}}


def _fold(raised: dict[tuple[object, ...], Raised], f: Finding) -> None:
    key = f.rule, f.subject_kind, f.subject, f.episode
    if f.phase is Phase.BEGIN:
        raised[key] = Raised(
            rule=f.rule,
            subject_kind=f.subject_kind,
            subject=f.subject,
            site=f.site,
            episode=f.episode,
            at_us=f.at_us,
            end_us=None,
            severity=f.severity,
            reason=f.reason,
            retracted=False,
        )
    elif key in raised and f.phase is Phase.CONTINUE:
        raised[key] = replace(raised[key], severity=f.severity, reason=f.reason)
    elif key in raised:
        raised[key] = replace(raised[key], end_us=f.at_us, retracted=f.phase is Phase.RETRACT)
