"""A frame that kills the worker process outright: found, quarantined, and everyone else's events are stored."""

from pathlib import Path

import pytest

from gateway.crashpoint import ENVIRONMENT
from smartcare.supervisor import Program
from tests.e2e.stack import Bus, Stack, small_register

pytestmark = pytest.mark.e2e


def test_a_frame_that_kills_the_worker_is_quarantined_and_what_follows_it_is_stored(tmp_path: Path) -> None:
    with Stack(tmp_path, "nats", small_register(1)) as stack:
        bus = Bus(stack.bus_url)
        bus.publish("zigbee2mqtt/door-1", {"contact": True})
        stack.until(lambda: stack.count("SELECT count(*) FROM event") > 0, "the door is known")
        worker = stack.watched("worker").child
        assert isinstance(worker, Program)
        worker.env[ENVIRONMENT] = "ingest.read:~z2m/killer"
        stack.kill("worker")
        bus.publish("zigbee2mqtt/killer", {"contact": True})
        stack.until(lambda: stack.count("SELECT count(*) FROM quarantine") > 0, "the killer is quarantined", seconds=120)
        opened_us = bus.publish("zigbee2mqtt/door-1", {"contact": False})
        stack.until(lambda: stack.count("SELECT count(*) FROM event WHERE t_us >= %s", opened_us) > 0, "the door is heard")
        assert stack.rows("SELECT reason, position('z2m/killer'::bytea IN bytes) > 0 FROM quarantine") == [("killer", True)]
        assert stack.rows("SELECT identity FROM unclaimed") == []  # nobody has read it
        deaths = [said for said in stack.said if said.startswith("worker: ended (signal 9)")]
        assert 3 <= len(deaths) <= 6
        bus.close()
