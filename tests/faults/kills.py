"""`kill -9` at random, and at every named crash point."""

import time
from dataclasses import dataclass, field

from gateway.crashpoint import POINTS
from tests.faults.campaign import Campaign

VICTIMS = ("worker", "broker", "gateway", "postgres", "api", "bus", "platform")
EACH = ("worker", "broker", "gateway", "postgres", "api")
SMOKE_POINTS = ("spool.committed", "uplink.sent", "t1.commit", "t1.committed", "t2.committed", "delivery.called")
RARE = ("t2.checkpoint",)
"""Passed every half minute: once is enough."""
PATIENCE_S = 90.0


def kill_at_random(c: Campaign) -> None:
    """Kill processes in random order at random times; half of the time the next dies while the last still comes back."""
    stage = c.stage
    number = c.of(5, 22, 200)
    victims = [*EACH, *c.rng.choices(VICTIMS, k=number - len(EACH))]
    c.rng.shuffle(victims)
    with c.phase(f"kill -9 of {number} processes"):
        for i, victim in enumerate(victims, 1):
            stage.wait(c.rng.uniform(0, 1.5))
            stage.until(lambda v=victim: stage.runs(v), f"{victim} runs")  # type: ignore[misc]
            before = stage.restarts(victim)
            stage.kill(victim)
            c.add("kills")
            stage.until(
                lambda v=victim, b=before: stage.restarts(v) > b and stage.runs(v),  # type: ignore[misc]
                f"{victim} is started again",
            )
            if c.rng.random() < 0.4 or i == number:
                stage.flows(f"the end of {victim}")
            c.say(f"  {i}/{number} {victim}")


@dataclass
class Chain:
    """One process and the crash points that it still has to meet."""

    name: str
    left: list[str]
    before: int = 0
    since: float = 0
    missed: list[str] = field(default_factory=list)


def crash_everywhere(c: Campaign) -> None:
    """Let worker, gateway and API, at the same time, crash at each of their points at each of the first hits."""
    stage, hits = c.stage, c.of(1, 2, 6)
    chains = []
    for name, points in POINTS.items():
        wanted = [p for p in points if c.size or p in SMOKE_POINTS]
        left = [f"{p}:{hit}" for hit in range(1, hits + 1) for p in wanted if hit == 1 or p not in RARE]
        chains.append(Chain(name, left))
    number = sum(len(chain.left) for chain in chains)
    with c.phase(f"{number} crash points"):
        for chain in chains:
            stage.rearm(chain.name, chain.left[0])
            stage.kill(chain.name)
            chain.before, chain.since = stage.restarts(chain.name) + 1, time.monotonic()
        while any(chain.left for chain in chains):
            stage.look()
            for chain in chains:
                _follow(c, chain)
        stage.flows("the last crash point")
    c.figures["crash_points_missed"] = [point for chain in chains for point in chain.missed]


def _follow(c: Campaign, chain: Chain) -> None:
    """Arm the next point before the process is started again."""
    crashed = c.stage.restarts(chain.name) > chain.before
    late = time.monotonic() - chain.since > PATIENCE_S
    if not chain.left or not (crashed or late):
        return
    point = chain.left.pop(0)
    if crashed:
        c.add("crash_points")
        c.stage.forget_suspects()  # each crash is an accident of its own, and no message's fault
        c.say(f"  {chain.name} at {point}")
    else:
        chain.missed.append(point)
        c.say(f"  {chain.name} did not come by {point}")
    c.stage.rearm(chain.name, chain.left[0] if chain.left else "")
    if late and not crashed:
        c.stage.kill(chain.name)
        chain.before += 1
    chain.before, chain.since = chain.before + crashed, time.monotonic()
