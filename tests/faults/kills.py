"""`kill -9` at random, and at every named crash point."""

from tests.faults.campaign import Campaign

VICTIMS = ("worker", "broker", "gateway", "postgres", "api", "bus", "platform")
EACH = ("worker", "broker", "gateway", "postgres", "api")


def kill_at_random(c: Campaign) -> None:
    """Kill processes in random order at random times; half of the time the next dies while the last still comes back."""
    stage = c.stage
    number = c.of(5, 22, 200)
    victims = [*EACH, *c.rng.choices(VICTIMS, k=number - len(EACH))]
    c.rng.shuffle(victims)
    with c.phase(f"kill -9 of {number} processes"):
        for i, victim in enumerate(victims, 1):
            stage.wait(c.rng.uniform(0, 1.5))
            stage.until(lambda victim=victim: _runs(c, victim), f"{victim} runs")  # type: ignore[misc]
            stage.kill(victim)
            c.add("kills")
            before = stage.restarts(victim)
            stage.until(lambda v=victim, b=before: stage.restarts(v) > b and _runs(c, v), f"{victim} is started again")  # type: ignore[misc]
            if c.rng.random() < 0.4 or i == number:
                stage.flows(f"the end of {victim}")
            c.say(f"  {i}/{number} {victim}")


def _runs(c: Campaign, name: str) -> bool:
    child = c.stage.watched(name).child.process
    return child is not None and child.poll() is None
