"""The load: each gateway with its own connection and credentials, sending prepared frames and reading the answers.

One decision: raw sockets in one thread instead of a client library, because the load shares two cores with what is measured.
A gateway has a fixed number of frames on the way; together they are fewer than the worker's queue holds, so nothing is
dropped, and a frame that is lost all the same ends the run with an error instead of a wrong figure.
"""

import selectors
import socket
import struct
import time
from collections.abc import Mapping

from benchmarks.town import Gateway, length
from gateway.wire import Answer, decode_down, topic_down

PATIENCE_S = 20.0


class LoadError(Exception):
    """The other side did not do what was expected."""


class Connection:
    """One gateway's MQTT connection. seq: the last frame that was answered."""

    def __init__(self, gateway: Gateway, port: int, password: str) -> None:
        self.code = gateway.code
        self.packets: list[bytes] = []
        self.sent = self.answered = self.seq = 0
        self._input = b""
        self._first = 1
        self.socket = login(port, f"load-{gateway.code}", gateway.code, password)
        topic = struct.pack(">H", 1) + _text(topic_down(gateway.shard, gateway.code)) + b"\x00"
        self.socket.sendall(b"\x82" + length(len(topic)) + topic)
        if len(granted := self.socket.recv(5)) != 5 or granted[-1] == 0x80:
            raise LoadError(f"the broker refused the subscription of {self.code}: {granted.hex()}")

    def begin(self, packets: list[bytes]) -> None:
        """Take the next frames of the stream; they follow those that were answered."""
        self.packets, self.sent, self._first = packets, 0, self.seq + 1

    def send(self, window: int) -> None:
        """Put as many frames on the way as the window holds."""
        done = self.seq + 1 - self._first
        until = min(len(self.packets), done + window)
        if until - self.sent >= min(window // 4, len(self.packets) - self.sent) and until > self.sent:
            self.socket.sendall(b"".join(self.packets[self.sent : until]))
            self.sent = until

    def receive(self) -> None:
        """Read answers."""
        data = self.socket.recv(65536)
        if not data:
            raise LoadError(f"the broker closed the connection of {self.code}")
        self._input += data
        while found := cut(self._input):
            payload, self._input = found
            answer = decode_down(payload)
            if not isinstance(answer, Answer):
                raise LoadError(f"{self.code} was told {answer}")
            self.answered += 1
            self.seq = max(self.seq, answer.seq)

    def done(self) -> bool:
        """Tell whether every frame was answered."""
        return self.seq + 1 - self._first >= len(self.packets)


def cut(data: bytes) -> tuple[bytes, bytes] | None:
    """Return the payload of the first PUBLISH (QoS 0) and what follows it, None while it is not whole."""
    size = shift = 0
    for at in range(1, min(5, len(data))):
        size |= (data[at] & 0x7F) << shift
        shift += 7
        if data[at] < 0x80:
            end = at + 1 + size
            if len(data) < end:
                break
            (topic,) = struct.unpack_from(">H", data, at + 1)
            return data[at + 3 + topic : end], data[end:]
    return None


def login(port: int, client: str, user: str, password: str) -> socket.socket:
    """Return an MQTT 3.1.1 connection in a clean session, without keep-alive. Raises LoadError."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    said = b"\x00\x04MQTT\x04\xc2\x00\x00" + b"".join(_text(t) for t in (client, user, password))
    connection.sendall(b"\x10" + length(len(said)) + said)
    if (heard := connection.recv(4)) != b"\x20\x02\x00\x00":
        raise LoadError(f"the broker refused {client}: {heard.hex()}")
    return connection


def run(connections: Mapping[str, Connection], packets: Mapping[str, list[bytes]], in_flight: int) -> float:
    """Send everything, `in_flight` frames on the way at most, until all is answered. Returns seconds. Raises LoadError."""
    window = max(1, in_flight // len(connections))
    busy = {code: connections[code] for code in packets}
    with selectors.DefaultSelector() as selector:
        for code, c in busy.items():
            c.begin(packets[code])
            selector.register(c.socket, selectors.EVENT_READ, c)
        began = time.perf_counter()
        for c in busy.values():
            c.send(window)
        while busy:
            ready = selector.select(PATIENCE_S)
            if not ready:
                raise LoadError(f"{len(busy)} gateways waited {PATIENCE_S:.0f} s for an answer; some frame was dropped")
            for key, _ in ready:
                c = key.data
                c.receive()
                c.send(window)
                if c.done() and busy.pop(c.code, None):
                    selector.unregister(c.socket)
        return time.perf_counter() - began


def _text(text: str) -> bytes:
    raw = text.encode()
    return struct.pack(">H", len(raw)) + raw
