"""Both ends of the uplink joined over a pipe that loses, repeats, reorders and delays, while either end dies or is restored.

The gateways are the real sender over a real spool, the backend is the real receiver over a store of three dictionaries.
"""

import copy
import random
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from gateway.clock import SECOND_US
from gateway.events import Event, Kind
from gateway.spool import Spool
from gateway.uplink import Key, Sender
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
