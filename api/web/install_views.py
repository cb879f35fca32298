"""How the page says a walk test: which sensors have shown that they see, and what each saw last."""

from dataclasses import dataclass

from api.installing import Sighting, Walk, Walked, tally
from api.web.i18n import Say
from gateway.events import Kind
from ingest.classes import CLASSES


@dataclass(frozen=True, slots=True, kw_only=True)
class StepView:
    """A device of the check list. seen: in words, "" while it has seen nothing. hint: what to do to be seen."""

    place: str
    device: str
    family: str
    seen: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SightingView:
    """Something that happened: when, where, what."""

    when: str
    place: str
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class WalkView:
    """A walk test. done: devices that were seen, of `steps`."""

    running: bool
    steps: list[StepView]
    done: int
    sightings: list[SightingView]
    started: str
    ended: str
    author: str


SHOWN = 30


def walk(found: Walk, zone: str, say: Say) -> WalkView | None:
    """Say a walk test; None where there never was one."""
    if not found.rows:
        return None
    steps = [_step(row, found, say) for row in found.rows]
    places = {row.device: _place(row, say) for row in found.rows}
    ended = max((r.ended_us for r in found.rows if r.ended_us is not None), default=None)
    return WalkView(
        running=found.running,
        steps=steps,
        done=sum(bool(s.seen) for s in steps),
        sightings=[
            SightingView(when=say.seconds(s.t_us, zone), place=places[s.device], what=_what(s, say))
            for s in found.sightings[:SHOWN]
        ],
        started=say.clock(found.rows[0].started_us, zone),
        ended=say.clock(ended, zone) if ended is not None and not found.running else "",
        author=found.rows[0].author,
    )


def _step(row: Walked, found: Walk, say: Say) -> StepView:
    seen = tally(found.sightings, row.device) if found.running else row.seen
    words = [say(f"walk.saw_{name}", n=n) for name, n in seen.items()]
    known = CLASSES.get(row.class_)
    return StepView(
        place=_place(row, say),
        device=row.name or row.identity,
        family=known.family if known else "other",
        seen=say("walk.and").join(words),
        hint=say(f"walk.hint_{known.family if known else 'other'}"),
    )


def _place(row: Walked, say: Say) -> str:
    return say.name(row.place, row.place_en or "") if row.place else row.identity


def _what(s: Sighting, say: Say) -> str:
    if s.kind == Kind.CONTACT:
        return say("walk.opened" if s.a else "walk.closed")
    if s.kind == Kind.PASSAGE:
        return say("walk.passed")
    return say("walk.counted", n_in=s.d_in, n_out=s.d_out)
