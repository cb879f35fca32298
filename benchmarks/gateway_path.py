"""A hosted gateway: vendors' messages over MQTT and HTTP into a spool that is flushed to disk, frames up and answered.

One decision: a closed loop. The load is also the backend, which only answers; it sends on as the events of what it has
sent come up, so nothing is counted that was not decoded, written to disk and sent. The gateway is a real process on one
core, the broker and the load share the other.
"""

import os
import re
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks import load, town, vendors
from benchmarks.ingest_path import Say
from gateway.addresses import Addresses, beside
from gateway.clock import now_us
from gateway.wire import Answer, decode_bodies, decode_header, decode_heartbeat, encode_message, is_frame, stream_text, topic_down
from smartcare.embedded import nats, process

CODE, SHARD = "bench-hosted", 5
DEVICES = 48
"""Connections that post at a time, each waiting for its answer as devices do; the listener reads 64."""
AHEAD = 900  # messages on the way; the inbox of the gateway holds 1000
WINDOW = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Rounds, and messages in each."""

    rounds: int
    messages: int


FULL = Size(rounds=3, messages=20_000)
SMOKE = Size(rounds=1, messages=2_000)


class Load:
    """Devices and backend in one: sends what vendors send, takes and answers what the gateway makes of it."""

    def __init__(self, broker: nats.Broker, http: int, paths: dict[tuple[str, str], str]) -> None:
        self.paths = paths
        self._bus = load.login(broker.port, "bench-bus", nats.DEVICE_BUS, broker.password(nats.DEVICE_BUS))
        self._backend = load.login(broker.port, "bench-worker", nats.WORKER, broker.password(nats.WORKER))
        topic = b"\x00\x01\x00\x0ecare/v1/+/+/up\x00"
        self._backend.sendall(b"\x82" + town.length(len(topic)) + topic)
        self._backend.recv(5)
        self._free: deque[socket.socket] = deque()
        self._heard: dict[socket.socket, bytes] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._backend, selectors.EVENT_READ, None)
        self._input = b""
        self.frames = self.events = self.expected = 0
        self.hearing = False
        while not self.hearing:
            self._up()
        for _ in range(DEVICES):
            device = socket.create_connection(("127.0.0.1", http))
            self._selector.register(device, selectors.EVENT_READ, device)
            self._free.append(device)

    def close(self) -> None:
        """Close every connection."""
        for key in list(self._selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._bus.close()
        self._selector.close()

    def run(self, messages: list[vendors.Said]) -> float:
        """Send all in order, and wait until their events have come up. Returns seconds. Raises load.LoadError."""
        began, at = time.perf_counter(), 0
        while at < len(messages) or self.events < self.expected:
            at = self._send(messages, at)
            ready = self._selector.select(load.PATIENCE_S)
            if not ready:
                raise load.LoadError(f"{self.expected - self.events} events did not come up")
            for key, _ in ready:
                if key.data is None:
                    self._up()
                else:
                    self._answered(key.data)
        return time.perf_counter() - began

    def _send(self, messages: list[vendors.Said], at: int) -> int:
        packets = []
        while at < len(messages) and self.expected - self.events < AHEAD:
            one = messages[at]
            if one.http and not self._free:
                break
            if one.http:
                self._free.popleft().sendall(one.data)
            else:
                packets.append(one.data)
            self.expected += one.events
            at += 1
        if packets:
            self._bus.sendall(b"".join(packets))
        return at

    def _answered(self, device: socket.socket) -> None:
        heard = self._heard.pop(device, b"") + device.recv(4096)
        head, end, body = heard.partition(b"\r\n\r\n")
        length = re.search(rb"content-length: (\d+)", head.lower())
        if not heard.startswith(b"HTTP/1.1 200") or (end and not length):
            raise load.LoadError(f"the gateway answered {heard[:200]!r}")
        if length and end and len(body) >= int(length[1]):
            self._free.append(device)
        else:
            self._heard[device] = heard

    def _up(self) -> None:
        if not (data := self._backend.recv(1 << 20)):
            raise load.LoadError("the broker closed the backend's connection")
        self._input += data
        while found := load.cut(self._input):
            payload, self._input = found
            if is_frame(payload):
                self._frame(payload)
            else:
                self.hearing = all(b.to_us for b in decode_heartbeat(payload).blind)

    def _frame(self, data: bytes) -> None:
        header = decode_header(data)
        (body,) = decode_bodies([data])
        assert not isinstance(body, Exception)
        self.frames += 1
        self.events += len(body.rows)
        answer = Answer(epoch=1, stream=stream_text(header.stream), seq=header.seq, window=WINDOW)
        self._backend.sendall(town.publish(topic_down(SHARD, CODE), encode_message(answer)))


def measure(size: Size, say: Say) -> dict[str, float]:
    """Return the median of messages per second, and how much memory the gateway has won since the first round."""
    rates, cpu = [], []
    with _rig() as (pid, devices):
        resident: list[float] = []
        for n in range(1 + size.rounds):  # the first one warms up
            first = n * size.messages
            said = [vendors.message(first + i, now_us(), devices.paths) for i in range(size.messages)]
            used = -_cpu_s(pid)
            seconds = devices.run(said)
            used += _cpu_s(pid)
            resident.append(_resident_mb(pid))
            rate = size.messages / seconds
            say(f"round {n}: {rate:,.0f} messages/s, {size.messages / used:,.0f} per second of CPU, {resident[-1]:.1f} MB")
            if n:
                rates.append(rate)
                cpu.append(size.messages / used)
    return {
        "gateway.messages_per_s": median(rates),
        "gateway.messages_per_cpu_s": median(cpu),
        "gateway.rss_mb": resident[-1],
        "gateway.rss_growth_mb": resident[-1] - resident[0],
    }


@contextmanager
def _rig() -> Iterator[tuple[int, Load]]:
    """Start a broker and a gateway, and connect the load."""
    with tempfile.TemporaryDirectory(prefix="smartcare-bench-") as folder:
        broker, spool, http = nats.Broker(Path(folder) / "nats"), Path(folder) / "spool.db", process.free_port()
        broker.add_gateway(CODE, SHARD)
        addresses = Addresses(beside(spool))
        paths = {
            (family, name): addresses.add(family, name).path
            for family in vendors.PUSHED
            for name in (vendors.name(family, site) for site in range(vendors.SITES))
        }
        with broker, _gateway(broker, spool, http) as pid:
            devices = Load(broker, http, paths)
            try:
                yield pid, devices
            finally:
                devices.close()


@contextmanager
def _gateway(broker: nats.Broker, spool: Path, http: int) -> Iterator[int]:
    """Run the command as it is run in operation, on the first core that is ours."""
    command = [sys.executable, "-m", "smartcare", "gateway", "run", "--code", CODE, "--shard", str(SHARD)]
    command += ["--spool", str(spool), "--http", f"127.0.0.1:{http}", "--heartbeat-s", "1"]
    urls = {"SMARTCARE_UPLINK_URL": broker.url(CODE), "SMARTCARE_BUS_URL": broker.url(nats.DEVICE_BUS)}
    with (spool.parent / "gateway.log").open("wb") as log:
        child = subprocess.Popen(command, env=os.environ | urls, stderr=log)
        try:
            os.sched_setaffinity(child.pid, sorted(os.sched_getaffinity(0))[:1])
            yield child.pid
        finally:
            child.terminate()
            child.wait()


def _cpu_s(pid: int) -> float:
    user, system = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")


def _resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
