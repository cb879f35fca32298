"""A TCP proxy that breaks connections the way networks do, one for each link, told what to do over a control connection.

    python -m tests.faults.proxy --control PORT name=port:target …

One decision: a process of its own, so that what it does to others' connections never waits for the campaign.

    pass      carry on; what was stalled goes on its way
    cut       reset every connection now, then pass
    refuse    reset every connection, and every new one
    stall     take connections and bytes, deliver nothing until it passes
    half      forget the connections that there are without a word to either end, as a router does; new ones pass
"""

import argparse
import asyncio
import contextlib
import json
import socket
import struct
from dataclasses import dataclass, field

CHUNK = 65536
TCP_REPAIR = 19
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass(slots=True)
class Pair:
    """One connection and its continuation."""

    writers: list[asyncio.StreamWriter]
    forgotten: bool = False


@dataclass(slots=True)
class Link:
    """One listening port and where it leads."""

    target: int
    mode: str = "pass"
    flowing: asyncio.Event = field(default_factory=asyncio.Event)
    pairs: list[Pair] = field(default_factory=list)

    def set(self, mode: str) -> None:
        """Change what happens to the link."""
        if mode in ("cut", "refuse"):
            for pair in list(self.pairs):
                if not pair.forgotten:
                    for writer in pair.writers:
                        _reset(writer)
        if mode == "half":
            for pair in list(self.pairs):
                pair.forgotten = True
                for writer in pair.writers:
                    _forget(writer)
        self.mode = "pass" if mode in ("cut", "half") else mode
        if self.mode == "stall":
            self.flowing.clear()
        else:
            self.flowing.set()

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection."""
        pair = Pair([writer])
        if self.mode == "refuse":
            return _reset(writer)
        self.pairs.append(pair)
        try:
            await self.flowing.wait()
            there = await asyncio.open_connection("127.0.0.1", self.target)
            pair.writers.append(there[1])
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._carry(pair, reader, there[1]), name="faults.proxy.up")
                tasks.create_task(self._carry(pair, there[0], writer), name="faults.proxy.down")
        except* OSError:
            pass  # as connections end
        finally:
            self.pairs.remove(pair)
            for one in pair.writers if not pair.forgotten else ():
                _reset(one)

    async def _carry(self, pair: Pair, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            await self.flowing.wait()
            writer.write(data)
            await writer.drain()
        raise ConnectionResetError


def _forget(writer: asyncio.StreamWriter) -> None:
    """Close a connection so that its other end is not told (needs the right to administer the network)."""
    found: socket.socket | None = writer.get_extra_info("socket")
    if found is not None:
        found.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    writer.transport.abort()


def may_forget() -> bool:
    """Tell whether this process may close connections silently."""
    with socket.socket() as s:
        try:
            s.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
        except OSError:
            return False
        s.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 0)
        return True


def _reset(writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, AttributeError):
        found: socket.socket | None = writer.get_extra_info("socket")
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport = writer.transport
    if transport is not None:
        transport.abort()


async def serve(control: int, links: dict[str, tuple[int, int]]) -> None:
    """Proxy until cancelled. links: name → (port, target port)."""
    found = {name: Link(target) for name, (_, target) in links.items()}

    async def obey(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := await reader.readline():
            order = json.loads(line)
            link = found[order["link"]]
            if "target" in order:
                link.target = order["target"]
            link.set(order["mode"])
            writer.write(b"done\n")
        writer.close()

    async with contextlib.AsyncExitStack() as servers:
        for name, (port, _) in links.items():
            found[name].set("pass")
            await servers.enter_async_context(await asyncio.start_server(found[name].take, "127.0.0.1", port))
        await servers.enter_async_context(await asyncio.start_server(obey, "127.0.0.1", control))
        await asyncio.Event().wait()


class Control:
    """The campaign's end of the control connection."""

    def __init__(self, port: int) -> None:
        self.port = port

    def tell(self, link: str, mode: str, **more: int) -> None:
        """Give an order and wait until it is obeyed."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as s:
            s.sendall(json.dumps({"link": link, "mode": mode, **more}).encode() + b"\n")
            assert s.recv(16) == b"done\n"


def main() -> None:
    """Run as told."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--control", type=int, required=True)
    parser.add_argument("links", nargs="+", metavar="name=port:target")
    a = parser.parse_args()
    links = {}
    for link in a.links:
        name, ports = link.split("=")
        port, target = ports.split(":")
        links[name] = int(port), int(target)
    asyncio.run(serve(a.control, links))


if __name__ == "__main__":
    main()
