"""The gateways of a province: most of them many to a connection, some with a connection and credentials of their own.

    hosted (one connection for all gateways of a shard) ─┐
    single (5,000 of 25,000: a connection each)         ─┴─ broker ─ worker; answers are read, what is not answered is sent again

One decision: an open loop. Frames and heartbeats leave by the clock whether or not those before were answered, so that a backend
that cannot keep up shows it as lag; a frame that nobody answers within five seconds is sent again, as gateways do.
"""

import selectors
import socket
import struct
import time
from array import array
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from benchmarks import load, town
from gateway.clock import now_us
from gateway.events import EVENT_DTYPE, Flag, Kind
from gateway.wire import (
    Answer,
    Config,
    Header,
    Heartbeat,
    decode_down,
    encode_frame,
    encode_message,
    parse_stream,
    stream_text,
    topic_down,
    topic_up,
)

DEVICES = 15
"""Of each gateway, half doors, half counters."""
MESSAGE_EVENTS = 2
"""Of a frame: what a device's message makes, a door's state or a counter's totals, and its battery."""
HEARTBEAT_S = 15.0
TICK_S = 0.05
TIMEOUT_S = 5.0
LOOK_S = 0.25
FIRST_STREAM = 0x1000
HOSTED = "hosted"
HOSTED_SHARDS, SHARDS = 51, 64
"""The gateways that share connections have shards of their own, four fifths of all."""


def code(n: int) -> str:
    """Return the code of gateway number n, from 0."""
    return f"prov-{n}"


def shard(n: int) -> int:
    """Return the shard of gateway number n: one in five is single."""
    return HOSTED_SHARDS + n // 5 % (SHARDS - HOSTED_SHARDS) if single(n) else n % HOSTED_SHARDS


def single(n: int) -> bool:
    """Tell whether gateway number n has a connection of its own."""
    return n % 5 == 0


@dataclass(slots=True)
class Sent:
    """A frame on its way. at, again: seconds of the first sending and of the latest."""

    seq: int
    at: float
    again: float
    packet: bytes


class Province:
    """All gateways. login: gives a connection of a user, HOSTED or a gateway's code."""

    def __init__(self, gateways: int, login: Callable[[str], socket.socket]) -> None:
        self.gateways, self.since_us = gateways, now_us()
        self.frames = self.beats = self.again = self._tick = 0
        self.lags = array("d")
        """Seconds from a frame's first sending to its answer, in the order of the answers."""
        self.heard = bytearray(gateways)
        """1 for each gateway that was ever answered."""
        self._rng = np.random.default_rng(11)
        self._totals = np.zeros((gateways, DEVICES), np.int64)
        self._seq, self._config = [0] * gateways, [0] * gateways
        self._waiting: list[deque[Sent]] = [deque() for _ in range(gateways)]
        self._asked: deque[tuple[int, Sent]] = deque()
        self._topics = [topic_up(shard(n), code(n)) for n in range(gateways)]
        self._tables = [
            struct.pack(">HB", 1, len(name)) + name + struct.pack(">HH", 0, MESSAGE_EVENTS)
            for name in (town.identity(d).encode() for d in range(DEVICES))
        ]
        self._selector, self._inputs = selectors.DefaultSelector(), dict[socket.socket, bytes]()
        hosted = {s: self._connect(login(HOSTED), [topic_down(s, "+")]) for s in range(HOSTED_SHARDS)}
        self._lines = [
            self._connect(login(code(n)), [topic_down(shard(n), code(n))]) if single(n) else hosted[shard(n)]
            for n in range(gateways)
        ]

    def close(self) -> None:
        """Close every connection."""
        for line in self._inputs:
            line.close()
        self._selector.close()

    def _connect(self, line: socket.socket, topics: list[str]) -> socket.socket:
        wanted = b"".join(struct.pack(">H", len(t)) + t.encode() + b"\x00" for t in topics)
        line.sendall(b"\x82" + town.length(2 + len(wanted)) + b"\x00\x01" + wanted)
        if len(granted := line.recv(5)) != 5 or granted[-1] == 0x80:
            raise load.LoadError(f"the broker refused the subscription of {topics}: {granted.hex()}")
        self._selector.register(line, selectors.EVENT_READ)
        self._inputs[line] = b""
        return line

    def run(self, seconds: float, events_per_s: float, look: Callable[[], None]) -> float:
        """Speak for so many seconds, and look every LOOK_S. Returns how many it took. Raises load.LoadError."""
        began = last = time.perf_counter()
        for tick in range(int(seconds / TICK_S)):
            now = time.perf_counter()
            frames = int((tick + 1) * events_per_s * TICK_S / MESSAGE_EVENTS) - int(tick * events_per_s * TICK_S / MESSAGE_EVENTS)
            self._speak(frames, now)
            self._ask_again(now)
            if now - last >= LOOK_S:
                last = now
                look()
            due = began + (tick + 1) * TICK_S
            self._hear(0)
            while (left := due - time.perf_counter()) > 0:
                self._hear(left)
        return time.perf_counter() - began

    def drain(self, seconds: float) -> int:
        """Wait until every frame is answered. Returns how many are not after so many seconds."""
        end = time.perf_counter() + seconds
        while (left := sum(map(len, self._waiting))) and time.perf_counter() < end:
            self._ask_again(time.perf_counter())
            self._hear(0.1)
        return left

    def _speak(self, frames: int, now: float) -> None:
        """Send the frames of a tick and its share of the heartbeats."""
        packets: dict[socket.socket, list[bytes]] = {}
        at_us = now_us()
        for n, packet in [*self._frames(frames, at_us, now), *self._heartbeats(at_us)]:
            packets.setdefault(self._lines[n], []).append(packet)
        for line, mine in packets.items():
            line.sendall(b"".join(mine))

    def _frames(self, count: int, at_us: int, now: float) -> list[tuple[int, bytes]]:
        gateway, device = self._rng.integers(0, self.gateways, count), self._rng.integers(0, DEVICES, count)
        np.add.at(self._totals, (gateway, device), 1)
        total, door = self._totals[gateway, device], device % 2 == 1
        rows = np.zeros((count, MESSAGE_EVENTS), EVENT_DTYPE)
        rows["t_us"] = rows["received_us"] = at_us
        rows["flags"] = int(Flag.TIME_RECEIVED)
        rows["kind"][:, 0] = np.where(door, int(Kind.CONTACT), int(Kind.COUNT_TOTAL))
        rows["aux"][:, 0] = np.where(door, 0, 1)
        rows["a"][:, 0] = np.where(door, total % 2, total)
        rows["b"][:, 0] = np.where(door, 0, total // 2)
        rows["kind"][:, 1], rows["a"][:, 1] = int(Kind.BATTERY), 90
        found = []
        for n, d, mine in zip(gateway.tolist(), device.tolist(), rows, strict=True):
            self._seq[n] += 1
            oldest = self._waiting[n][0].seq if self._waiting[n] else self._seq[n]
            header = Header(stream=FIRST_STREAM + n, seq=self._seq[n], oldest=oldest, since_us=self.since_us, through_us=at_us)
            packet = town.publish(self._topics[n], encode_frame(header, self._tables[d] + mine.tobytes()))
            sent = Sent(self._seq[n], now, now, packet)
            self._waiting[n].append(sent)
            self._asked.append((n, sent))
            found.append((n, packet))
        self.frames += count
        return found

    def _heartbeats(self, at_us: int) -> list[tuple[int, bytes]]:
        per_tick = self.gateways * TICK_S / HEARTBEAT_S
        found = []
        self._tick += 1
        for i in range(int((self._tick - 1) * per_tick), int(self._tick * per_tick)):
            n = i % self.gateways
            said = Heartbeat(
                stream=stream_text(FIRST_STREAM + n),
                seq=self._seq[n],
                since_us=self.since_us,
                through_us=at_us,
                sent_us=at_us,
                config=self._config[n],
            )
            found.append((n, town.publish(self._topics[n], encode_message(said))))
        self.beats += len(found)
        return found

    def _ask_again(self, now: float) -> None:
        """Send again everything of a gateway whose oldest frame has waited too long."""
        while self._asked and self._asked[0][1].again < now - TIMEOUT_S:
            n, sent = self._asked.popleft()
            waiting = self._waiting[n]
            if not waiting or waiting[0].seq > sent.seq:
                continue
            self._asked.append((n, sent))
            if waiting[0] is not sent:
                sent.again = now
                continue
            for one in waiting:
                one.again = now
            self.again += len(waiting)
            self._lines[n].sendall(b"".join(one.packet for one in waiting))

    def _hear(self, seconds: float) -> None:
        """Read what comes within so many seconds, until something has come."""
        ready = self._selector.select(seconds)
        now = time.perf_counter()
        for key, _ in ready:
            line = key.fileobj
            assert isinstance(line, socket.socket)
            if not (data := line.recv(1 << 18)):
                raise load.LoadError("the broker closed a connection")
            self._inputs[line] = self._take(self._inputs[line] + data, now)

    def _take(self, data: bytes, now: float) -> bytes:
        """Read whole messages; returns what is left."""
        at = 0
        while (end := _end(data, at)) > 0:
            start, stop = end >> 32, end & 0xFFFFFFFF
            (topic,) = struct.unpack_from(">H", data, start)
            name = data[start + 2 : start + 2 + topic]
            said = decode_down(data[start + 2 + topic : stop])
            if isinstance(said, Answer):
                self._answered(parse_stream(said.stream) - FIRST_STREAM, said.seq, now)
            elif isinstance(said, Config):
                self._config[int(name.split(b"/")[3].removeprefix(b"prov-"))] = said.version
            else:
                raise load.LoadError(f"{name.decode()} was told {said}")
            at = stop
        return data[at:]

    def _answered(self, n: int, seq: int, now: float) -> None:
        waiting, self.heard[n] = self._waiting[n], 1
        while waiting and waiting[0].seq <= seq:
            self.lags.append(now - waiting.popleft().at)


def _end(data: bytes, at: int) -> int:
    """Return where the message that begins at `at` has its variable part and where it ends, as one number; 0: not whole."""
    size = shift = 0
    for i in range(at + 1, min(at + 5, len(data))):
        size |= (data[i] & 0x7F) << shift
        shift += 7
        if data[i] < 0x80:
            return (i + 1) << 32 | i + 1 + size if len(data) >= i + 1 + size else 0
    return 0
