"""Both ends of the uplink joined over a pipe that loses, repeats, reorders and delays, while either end dies or is restored.

The gateways are the real sender over a real spool, the backend is the real receiver over a store of three dictionaries.
"""

import copy
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from gateway.clock import DAY_US, HOUR_US, SECOND_US
from gateway.events import Event, Kind
from gateway.spool import Spool
from gateway.uplink import TAILS, Key, Sender
from gateway.wire import Answer, decode_body, decode_header, stream_text
from ingest.uplink import Receiver, Verdict, credit

GATEWAY = 7
START = 1_780_000_000 * SECOND_US
ROOMY = 64 * 1024 * 1024


@dataclass
class Store:
    """What the backend's database holds; a copy is a backup."""

    epoch: int = 1
    cursors: dict[int, int] = field(default_factory=dict)
    events: list[tuple[Key, int]] = field(default_factory=list)
    lost: list[tuple[int, int, int]] = field(default_factory=list)


class Backend:
    """A worker over a store. A T1 batch is built by `offer` and ended by `commit` or `fail`."""

    def __init__(self) -> None:
        self.store = Store()
        self.receiver = Receiver()
        self.batch: list[tuple[Key, list[int]]] = []
        self.lost: list[tuple[int, int, int]] = []
        self.touched: set[int] = set()
        self.receiver.load(GATEWAY, {})

    def offer(self, data: bytes) -> None:
        header = decode_header(data)
        offered = self.receiver.offer(GATEWAY, header)
        self.touched.add(header.stream)
        if offered.verdict is Verdict.STORE:
            if offered.lost:
                self.lost.append((header.stream, *offered.lost))
            rows = decode_body(data).rows
            self.batch.append((Key(header.stream, header.seq), [int(a) for a in rows["a"]]))

    def commit(self) -> list[Answer]:
        for (_, stream), seq in self.receiver.pending().items():
            self.store.cursors[stream] = seq
        self.store.events += [(key, a) for key, values in self.batch for a in values]
        self.store.lost += self.lost
        self.receiver.commit()
        answers = [self.answer(stream) for stream in self.touched]
        self.batch, self.lost, self.touched = [], [], set()
        return answers

    def answer(self, stream: int) -> Answer:
        seq = self.receiver.cursor(GATEWAY, stream)
        return Answer(epoch=self.store.epoch, stream=stream_text(stream), seq=seq, window=credit(0))

    def fail(self) -> None:
        self.receiver.rollback()
        self.batch, self.lost, self.touched = [], [], set()

    def restart(self, store: Store, epoch: int) -> None:
        self.fail()
        self.store = store
        store.epoch = epoch
        self.receiver.clear()
        self.receiver.load(GATEWAY, store.cursors)


class Gateway:
    """A gateway process over its spool; every instance opens a stream of its own."""

    def __init__(self, path: Path, stream: int, now: int, budget: int) -> None:
        self.path, self.stream, self.budget = path, stream, budget
        self.spool = Spool(path)
        self.spool._db.execute("PRAGMA synchronous = OFF")  # processes die here, not the machine
        self.spool.begin_stream(stream, now)
        self.sender = Sender(budget_bytes=budget, epoch=self.spool.epoch())
        for h in self.spool.held():
            self.sender.restore(h.stream, h.first, h.sizes, h.marks)
        self.sender.open(stream)
        self.sender.connected()
        self.dropped: set[Key] = set()

    def take(self, values: list[int], now: int) -> None:
        events = [Event(device="z2m/door", kind=Kind.CONTACT, t_us=now, received_us=now, a=a) for a in values]
        for size in self.spool.append(events, through_us=now):
            self.sender.sealed(size)
        self.keep(now)

    def keep(self, now: int) -> None:
        cut, progress = self.sender.trim(now), self.sender.progress()
        if not cut and not progress:
            return
        before = {Key(h.stream, h.first + i) for h in self.spool.held() for i in range(len(h.sizes))}
        self.spool.note(alive_us=now, progress=progress, delete=cut, blind=None)
        self.dropped |= {k for k in before for c in cut if k.stream == c.stream and k.seq <= c.seq}

    def frames(self, now: int) -> list[bytes]:
        frames = [self.spool.frame(key, self.sender.oldest(key.stream)) for key in self.sender.tick(now)]
        assert all(frames), "the sender knows a frame that the spool does not hold"
        return [f for f in frames if f]


class World:
    """One backend, the gateways that share one set of credentials, and the pipe between."""

    def __init__(self, folder: Path, rng: random.Random, budget: int = ROOMY) -> None:
        self.folder, self.rng, self.budget = folder, rng, budget
        self.now = START
        self.backend = Backend()
        self.backups: list[Store] = [Store()]
        self.epoch = 1
        self.up: list[bytes] = []
        self.down: list[Answer] = []
        self.streams = 0
        self.disks = 0
        self.frame_of: dict[int, Key] = {}
        self.homes: dict[Path, list[int]] = {}  # disk → values it has taken or was copied with, in order
        self.dropped: set[Key] = set()
        self.gateways: list[Gateway] = []
        self.images: list[tuple[Path, list[int]]] = []
        self.boot(self.disk())

    # ---- gateways
    def disk(self) -> Path:
        self.disks += 1
        path = self.folder / f"spool{self.disks}"
        self.homes[path] = []
        return path

    def boot(self, path: Path) -> Gateway:
        self.streams += 1
        gateway = Gateway(path, self.streams, self.now, self.budget)
        self.gateways.append(gateway)
        return gateway

    def stop(self, gateway: Gateway) -> None:
        self.dropped |= gateway.dropped
        gateway.spool.close()
        self.gateways.remove(gateway)

    def take(self, gateway: Gateway, n: int) -> None:
        values = list(range(len(self.frame_of), len(self.frame_of) + n))
        self.homes[gateway.path] += values
        gateway.take(values, self.now)
        self.frame_of |= dict.fromkeys(values, Key(gateway.stream, gateway.spool.seq))

    def restart(self, gateway: Gateway) -> None:
        self.stop(gateway)
        self.boot(gateway.path)

    def image(self, gateway: Gateway) -> tuple[Path, list[int]]:
        path = self.disk()
        for suffix in ("", "-wal"):
            source = Path(f"{gateway.path}{suffix}")
            if source.exists():
                shutil.copy(source, f"{path}{suffix}")
        return path, list(self.homes[gateway.path])

    def boot_image(self, image: tuple[Path, list[int]]) -> Gateway:
        path = self.disk()
        for suffix in ("", "-wal"):
            if Path(f"{image[0]}{suffix}").exists():
                shutil.copy(f"{image[0]}{suffix}", f"{path}{suffix}")
        self.homes[path] = list(image[1])
        return self.boot(path)

    def destroy(self, gateway: Gateway) -> None:
        """The disk is gone: what only it held cannot be named as frames, its time is unknown."""
        self.stop(gateway)
        self.homes[gateway.path] = []

    # ---- the pipe
    def tick(self) -> None:
        for gateway in self.gateways:
            self.up += gateway.frames(self.now)

    def carry(self, loss: float = 0.0) -> None:
        """Carry what is on the way up, in one transaction."""
        arriving, self.up = self.up, []
        if loss:
            arriving = [f for f in arriving for _ in range(self.rng.choice((1, 1, 1, 2))) if self.rng.random() > loss]
            if self.rng.random() < loss:
                self.rng.shuffle(arriving)
            late = {i for i in range(len(arriving)) if self.rng.random() < loss / 2}
            self.up = [f for i, f in enumerate(arriving) if i in late]
            arriving = [f for i, f in enumerate(arriving) if i not in late]
        for data in arriving:
            self.backend.offer(data)

    def answer(self, loss: float = 0.0) -> None:
        answers, self.down = self.down, []
        for a in answers:
            if self.rng.random() < loss / 2:
                self.down.append(a)
            elif self.rng.random() >= loss:
                for gateway in self.gateways:  # they share a topic
                    gateway.sender.answer(a, self.now)

    def pump(self, loss: float = 0.0, rounds: int = 6) -> None:
        for _ in range(rounds):
            self.tick()
            self.carry(loss)
            if loss and self.rng.random() < loss / 2:
                self.backend.fail()
            else:
                self.down += self.backend.commit()
            self.answer(loss)
            self.now += SECOND_US * self.rng.choice((1, 1, 10))
            for gateway in self.gateways:
                gateway.keep(self.now)

    def settle(self) -> None:
        """A good connection, heartbeats included, until nothing is left to say."""
        for _ in range(2000):
            self.down += [self.backend.answer(g.stream) for g in self.gateways]
            self.pump(rounds=1)
            if all(g.sender.queued_frames == 0 and g.sender.epoch == self.epoch for g in self.gateways) and not self.up:
                return
        raise AssertionError("the uplink does not come to rest")

    # ---- the backend
    def backup(self) -> None:
        self.backups.append(copy.deepcopy(self.backend.store))

    def restore(self, store: Store) -> None:
        self.epoch += 1
        self.backend.restart(copy.deepcopy(store), self.epoch)

    def take_over(self) -> None:
        self.epoch += 1
        self.backend.restart(self.backend.store, self.epoch)

    # ---- the verdict
    def check(self) -> None:
        """taken = stored ∪ named losses, once each, in order, and no name without a loss."""
        store = self.backend.store
        stored = Counter(a for _, a in store.events)
        assert [a for a, n in stored.items() if n > 1] == [], "stored twice"
        for stream in {key.stream for key, _ in store.events}:
            values = [(key.seq, a) for key, a in store.events if key.stream == stream]
            assert values == sorted(values), "out of order"
        named = {Key(stream, seq) for stream, low, high in store.lost for seq in range(low, high + 1)}
        assert sum(high - low + 1 for _, low, high in store.lost) == len(named), "named twice"
        assert named.isdisjoint(key for key, _ in store.events), "named lost and stored"
        dropped = self.dropped | {k for g in self.gateways for k in g.dropped}
        assert named <= dropped, "named lost although nobody dropped it"
        missing = {a for values in self.homes.values() for a in values} - set(stored)
        assert {self.frame_of[a] for a in missing} <= named, "neither stored nor named"
        for gateway in self.gateways:
            assert self.backend.receiver.covers(GATEWAY, gateway.stream, gateway.spool.seq)


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


def sender_of(*sizes: int) -> Sender:
    """A connected sender in epoch 1 whose stream 1 has frames of these sizes."""
    sender = Sender(budget_bytes=ROOMY, epoch=1)
    sender.open(1)
    for size in sizes:
        sender.sealed(size)
    sender.connected()
    return sender


def answered(seq: int, *, epoch: int = 1, stream: int = 1, window: int = 10**6) -> Answer:
    return Answer(epoch=epoch, stream=stream_text(stream), seq=seq, window=window)


def test_it_starts_slowly_grows_with_what_is_acknowledged_and_never_beyond_the_credit() -> None:
    sender = sender_of(*[1024] * 400)
    assert sender.tick(START) == [Key(1, n) for n in range(1, 17)]
    assert sender.tick(START) == []
    sender.answer(answered(8, window=100 * 1024), START)
    assert sender.tick(START) == [Key(1, n) for n in range(17, 33)]  # 8 KiB less on the way, 8 KiB more allowed
    through, widest = 32, 0
    while sender.queued_frames:
        sender.answer(answered(through, window=100 * 1024), START)
        sent = sender.tick(START)
        through += len(sent)
        widest = max(widest, len(sent))
    assert widest == 100


def test_one_frame_may_be_on_the_way_whatever_the_credit() -> None:
    sender = sender_of(60_000, 60_000)
    assert sender.tick(START) == [Key(1, 1)]
    sender.answer(answered(1, window=0), START)
    assert sender.tick(START) == [Key(1, 2)]


def test_silence_is_probed_with_one_frame_ever_more_patiently_and_then_starts_slowly() -> None:
    sender = sender_of(*[1024] * 40)
    now = START
    assert len(sender.tick(now)) == 16
    for wait in (5, 10, 20, 40, 60, 60):
        assert sender.wake_us() == now + wait * SECOND_US
        assert sender.tick(now + wait * SECOND_US - 1) == []
        now += wait * SECOND_US
        assert sender.tick(now) == [Key(1, 1)]
    sender.answer(answered(1), now)
    assert sender.tick(now) == [Key(1, 2)]
    sender.answer(answered(2), now)
    assert sender.tick(now) == [Key(1, 3), Key(1, 4)]
    assert sender.wake_us() == now + 5 * SECOND_US


def test_a_clock_set_back_does_not_stop_the_timer() -> None:
    sender = sender_of(100)
    sender.tick(START)
    now = START - 30 * DAY_US
    assert sender.tick(now) == []
    assert sender.tick(now + 5 * SECOND_US) == [Key(1, 1)]


def test_in_an_epoch_the_cursor_only_rises_and_an_older_epoch_or_a_foreign_stream_says_nothing() -> None:
    sender = sender_of(*[100] * 10)
    sender.tick(START)
    sender.answer(answered(5), START)
    for stale in (answered(3), answered(9, epoch=0), answered(9, stream=2), answered(2, epoch=9, stream=2)):
        assert not sender.answer(stale, START)
        assert sender.queued_frames == 5
        assert sender.tick(START) == []
    assert sender.epoch == 1
    assert sender.answer(answered(3, epoch=2), START)
    assert sender.queued_frames == 7
    assert sender.tick(START) == [Key(1, n) for n in range(4, 11)]


def test_after_a_new_epoch_each_older_stream_is_asked_with_one_frame_before_the_rest() -> None:
    sender = sender_of(*[100] * 5)
    sender.tick(START)
    sender.answer(answered(5), START)
    sender.open(2)
    sender.sealed(100)
    assert sender.tick(START) == [Key(2, 1)]
    sender.answer(answered(1, stream=2, epoch=2), START)
    assert sender.tick(START) == [Key(1, 1)]
    assert sender.tick(START) == []
    sender.answer(answered(2, epoch=2), START)
    assert sender.tick(START) == [Key(1, 3), Key(1, 4), Key(1, 5)]


def test_a_newer_stream_waits_until_the_older_one_is_stored() -> None:
    sender = sender_of(100)
    sender.open(2)
    sender.sealed(100)
    assert sender.tick(START) == [Key(1, 1)]
    sender.answer(answered(1), START)
    assert sender.tick(START) == [Key(2, 1)]


def test_acknowledged_frames_are_kept_for_three_days_or_half_the_spool() -> None:
    sender = sender_of(*[100] * 10)
    sender.tick(START)
    sender.answer(answered(10), START)
    assert sender.trim(START + 72 * HOUR_US) == []
    assert sender.trim(START + 73 * HOUR_US) == [Key(1, 9)]  # the last stays, to name the loss of the others
    small = Sender(budget_bytes=1000, epoch=1)
    small.open(1)
    for _ in range(9):
        small.sealed(100)
    small.connected()
    small.tick(START)
    small.answer(answered(7), START)
    assert small.trim(START) == [Key(1, 2)]
    assert small.oldest(1) == 3


def test_what_a_restored_backend_acknowledged_anew_is_kept_anew() -> None:
    sender = sender_of(100, 100)
    sender.tick(START)
    sender.answer(answered(2), START)
    sender.answer(answered(2, epoch=2), START + 70 * HOUR_US)
    assert sender.trim(START + 80 * HOUR_US) == []
    assert sender.trim(START + 143 * HOUR_US) == [Key(1, 1)]


def test_a_frame_dropped_on_the_way_makes_room_for_the_next() -> None:
    sender = Sender(budget_bytes=250, epoch=1)
    sender.open(1)
    sender.sealed(100)
    sender.connected()
    sender.answer(answered(0, window=0), START)
    assert sender.tick(START) == [Key(1, 1)]
    sender.sealed(100)
    sender.sealed(100)
    assert sender.tick(START) == []
    assert sender.trim(START) == [Key(1, 1)]
    assert sender.tick(START) == [Key(1, 2)]


def test_of_many_old_streams_only_the_settled_ones_go_altogether() -> None:
    sender = Sender(budget_bytes=ROOMY, epoch=1)
    sender.connected()
    for stream in range(1, TAILS + 11):
        sender.open(stream)
        sender.sealed(100)
        if stream != 3:
            sender.answer(answered(1, stream=stream), START)
    assert sender.trim(START) == []
    assert sender.trim(START + 80 * HOUR_US) == [Key(n, 1) for n in range(1, 11) if n != 3]


def test_reconnects_are_spread_over_a_minute() -> None:
    sender = Sender(budget_bytes=ROOMY)
    waits = [sender.disconnected(jitter) for jitter in (0.0, 0.5, 0.999)]
    assert 0 < waits[0] < SECOND_US
    assert 29 * SECOND_US < waits[1] < 31 * SECOND_US
    assert 59 * SECOND_US < waits[2] < 61 * SECOND_US


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
