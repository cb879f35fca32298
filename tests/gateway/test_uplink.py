"""The uplink as a whole: whatever happens to either end, what was taken is stored once and in order, or named as lost."""

import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from gateway.clock import DAY_US, HOUR_US
from tests.gateway.world import ROOMY, Gateway, World


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    w = World(tmp_path, random.Random(5))
    yield w
    for gateway in w.gateways:
        gateway.spool.close()


def fill(world: World, gateway: Gateway, n: int) -> None:
    for _ in range(n):
        world.take(gateway, 1)


def test_a_restored_backup_is_filled_again_from_the_frames_that_were_kept(world: World) -> None:
    (gateway,) = world.gateways
    fill(world, gateway, 100)
    world.settle()
    world.backup()
    fill(world, gateway, 100)
    world.restart(gateway)  # so that the frames to be offered again are of an older stream
    fill(world, world.gateways[0], 50)
    world.settle()
    world.restore(world.backups[-1])
    fill(world, world.gateways[0], 100)
    world.settle()
    world.check()
    assert len(world.backend.store.events) == 350
    assert world.backend.store.lost == []


def test_a_backup_older_than_what_was_kept_names_exactly_the_frames_in_between(world: World) -> None:
    (gateway,) = world.gateways
    fill(world, gateway, 100)
    world.settle()
    world.backup()
    fill(world, gateway, 100)
    world.settle()
    world.now += 4 * DAY_US
    gateway.keep(world.now)
    world.restore(world.backups[-1])
    fill(world, gateway, 100)
    world.settle()
    world.check()
    assert world.backend.store.lost == [(gateway.stream, 101, 200)]
    assert len(world.backend.store.events) == 200


def test_a_spool_image_rolled_back_loses_only_what_was_on_no_disk_and_never_sent(world: World) -> None:
    (gateway,) = world.gateways
    fill(world, gateway, 100)
    world.settle()
    image = world.image(gateway)
    fill(world, gateway, 50)
    world.settle()
    world.destroy(gateway)
    fill(world, world.boot_image(image), 80)
    world.settle()
    world.check()
    assert len(world.backend.store.events) == 230
    assert world.backend.store.lost == []


def test_a_cloned_image_speaks_at_the_same_address_without_disturbing_the_original(world: World) -> None:
    (original,) = world.gateways
    fill(world, original, 10)
    image = world.image(original)
    world.restart(original)
    clone = world.boot_image(image)
    for i in range(100):
        for gateway in world.gateways:
            fill(world, gateway, 1)
        if i % 5 == 0:
            world.pump(rounds=1)
    world.settle()
    world.check()
    assert clone in world.gateways
    assert len(world.backend.store.events) == 210


def test_a_full_spool_drops_its_oldest_and_names_them(world: World) -> None:
    world.budget = 4000
    world.stop(world.gateways[0])
    gateway = world.boot(world.disk())
    fill(world, gateway, 100)
    held = gateway.sender.queued_frames
    assert held < 40
    world.settle()
    world.check()
    assert world.backend.store.lost == [(gateway.stream, 1, 100 - held)]


def test_a_stream_of_which_all_was_dropped_but_the_last_frame_still_names_the_loss(world: World) -> None:
    world.budget = 1500
    world.stop(world.gateways[0])
    first = world.boot(world.disk())
    fill(world, first, 5)
    world.restart(first)
    second = world.gateways[0]
    fill(world, second, 50)
    world.settle()
    world.check()
    assert (first.stream, 1, 4) in world.backend.store.lost


def test_three_hundred_random_lives_lose_nothing_and_store_nothing_twice(tmp_path: Path) -> None:
    for seed in range(300):
        rng = random.Random(seed)
        folder = tmp_path / str(seed)
        folder.mkdir()
        world = World(folder, rng)
        for _ in range(40):
            x = rng.random()
            gateway = world.gateways[0]
            if x < 0.5:
                world.take(gateway, rng.randint(1, 8))
            elif x < 0.8:
                world.pump(loss=0.2, rounds=2)
            elif x < 0.88:
                world.restart(gateway)
            elif x < 0.94:
                world.backup()
            else:
                world.restore(rng.choice(world.backups))
        world.settle()
        world.check()
        assert world.backend.store.lost == []
        assert len(world.backend.store.events) == len(world.frame_of)
        world.stop(world.gateways[0])


class Uplink(RuleBasedStateMachine):
    """Anything that can happen, in any order; rest and verdict at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp())

    @initialize(seed=st.integers(0, 2**32), budget=st.sampled_from([1500, 8000, ROOMY]))
    def start(self, seed: int, budget: int) -> None:
        self.world = World(self.folder, random.Random(seed), budget)

    def pick(self, i: int) -> Gateway:
        return self.world.gateways[i % len(self.world.gateways)]

    @rule(i=st.integers(0, 3), n=st.integers(1, 8), times=st.integers(1, 12))
    def take(self, i: int, n: int, times: int) -> None:
        for _ in range(times):
            self.world.take(self.pick(i), n)

    @rule(loss=st.sampled_from([0.0, 0.2, 0.6]), rounds=st.integers(1, 6))
    def pump(self, loss: float, rounds: int) -> None:
        self.world.pump(loss, rounds)

    @rule(i=st.integers(0, 3))
    def reconnect(self, i: int) -> None:
        gateway = self.pick(i)
        gateway.sender.disconnected(0.5)
        assert gateway.frames(self.world.now) == []
        gateway.sender.connected()

    @rule(i=st.integers(0, 3))
    def kill_a_gateway(self, i: int) -> None:
        self.world.restart(self.pick(i))

    @rule()
    def kill_the_worker(self) -> None:
        self.world.take_over()

    @rule()
    def back_up(self) -> None:
        self.world.backup()

    @rule(i=st.integers(0, 20))
    def restore(self, i: int) -> None:
        self.world.restore(self.world.backups[i % len(self.world.backups)])

    @rule(hours=st.sampled_from([1, 30, 80]))
    def time_passes(self, hours: int) -> None:
        self.world.now += hours * HOUR_US
        for gateway in self.world.gateways:
            gateway.keep(self.world.now)

    @rule(i=st.integers(0, 3))
    def take_an_image(self, i: int) -> None:
        self.world.images.append(self.world.image(self.pick(i)))

    @precondition(lambda self: self.world.images)
    @rule(i=st.integers(0, 3), j=st.integers(0, 9))
    def roll_back(self, i: int, j: int) -> None:
        self.world.destroy(self.pick(i))
        self.world.boot_image(self.world.images[j % len(self.world.images)])

    @precondition(lambda self: self.world.images and len(self.world.gateways) < 3)
    @rule(j=st.integers(0, 9))
    def clone(self, j: int) -> None:
        self.world.boot_image(self.world.images[j % len(self.world.images)])

    @rule(i=st.integers(0, 3))
    def delete_the_spool(self, i: int) -> None:
        self.world.destroy(self.pick(i))
        self.world.boot(self.world.disk())

    def teardown(self) -> None:
        if hasattr(self, "world"):
            try:
                self.world.settle()
                self.world.check()
            finally:
                for gateway in list(self.world.gateways):
                    self.world.stop(gateway)
                shutil.rmtree(self.folder)


TestUplink = Uplink.TestCase
TestUplink.settings = settings(stateful_step_count=30, deadline=None)
