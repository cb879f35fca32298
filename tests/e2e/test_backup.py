"""Yesterday's backup in an empty database while gateways keep sending: all of it comes back, and none of it twice."""

import time
from pathlib import Path

import psycopg
import pytest

from gateway.clock import now_us
from smartcare import backup
from tests.e2e.stack import Bus, Stack, small_register

pytestmark = pytest.mark.e2e
DOORS = 3


class Doors:
    """Devices with a ledger: what they have said, as the time that each message carries."""

    def __init__(self, url: str) -> None:
        self.bus, self.said = Bus(url), list[tuple[str, int]]()
        self.at_ms = now_us() // 1000 - 3_600_000

    def speak(self, times: int) -> None:
        """Let every door open or close so many times."""
        for _ in range(times):
            for n in range(1, DOORS + 1):
                self.at_ms += 1000
                self.said.append((f"z2m/door-{n}", self.at_ms * 1000))
                self.bus.publish(f"zigbee2mqtt/door-{n}", {"contact": len(self.said) % 2 == 0, "last_seen": self.at_ms})


def stored(stack: Stack) -> list[tuple[str, int]]:
    """Return what is stored of the doors, with repeats."""
    query = "SELECT d.identity, e.t_us FROM event e JOIN device d ON d.id = e.device WHERE e.kind = 1"
    return sorted(stack.rows(query))


def away(stack: Stack, *names: str) -> None:
    """End programs and keep them from being started again."""
    for name in names:
        watched = stack.watched(name)
        watched.child.stop()
        watched.due = float("inf")


def test_after_yesterdays_backup_gateways_send_again_what_it_lacks_and_nothing_twice(tmp_path: Path) -> None:
    steps: list[str] = []
    with Stack(tmp_path, "nats", small_register(DOORS)) as stack:
        doors = Doors(stack.bus_url)
        doors.speak(5)
        stack.until(lambda: len(stored(stack)) == len(doors.said), "the first events are stored")
        backup.backup(stack.postgres.dsn(), tmp_path / "yesterday.dump", steps.append)
        assert any("event" in step for step in steps)
        doors.speak(20)
        stack.until(lambda: len(stored(stack)) == len(doors.said), "what came after the backup is stored")
        epochs = dict(stack.rows("SELECT id, epoch FROM shard"))
        away(stack, "worker", "api")
        doors.speak(5)  # the gateway goes on
        with psycopg.connect(stack.postgres.dsn("postgres"), autocommit=True) as admin:
            admin.execute("DROP DATABASE smartcare WITH (FORCE)")
            admin.execute("CREATE DATABASE smartcare")
        backup.restore(stack.postgres.dsn(), tmp_path / "yesterday.dump", steps.append)
        assert stored(stack) == sorted(doors.said[: DOORS * 5])
        assert all(epoch > epochs[shard] for shard, epoch in stack.rows("SELECT id, epoch FROM shard"))
        for name in ("worker", "api"):
            stack.watched(name).due = time.monotonic()
        doors.speak(5)
        stack.until(lambda: len(stored(stack)) >= len(doors.said), "everything is stored again")
        doors.speak(1)
        stack.until(lambda: len(stored(stack)) >= len(doors.said), "and what comes now")
        assert stored(stack) == sorted(doors.said)
        assert stack.rows("SELECT reason FROM loss") == []
        doors.bus.close()
