"""A hostile receiver of webhooks: it answers as platforms do on their worst days, and writes down what it was sent.

    python -m tests.faults.receiver --port PORT --ledger FILE --calm FILE --seed N

One decision: raw sockets, because a web framework would not let us end in the middle of an answer. Each request is in the
fsynced ledger, with what it will be answered, before it is answered. As long as the file `calm` does not exist it misbehaves.
"""

import argparse
import asyncio
import contextlib
import hashlib
import json
import os
import socket
import struct
from pathlib import Path
from random import Random
from typing import Any

from gateway.clock import now_us

TAKEN = {"200", "slow"}
"""Answers that say: I have it. By the endpoint's rule a 2xx must also say `code` 0."""
RULE = "$.code == 0"
MOODS = ("200", "204", "301", "400", "401", "429", "500", "503", "code", "html", "slow", "half", "reset", "silence")
GONE = "410"
SLOW_S, SILENCE_S = 2.0, 8.0
ANSWERS = {
    "200": ("200 OK", '{"code": 0}', ""),
    "slow": ("200 OK", '{"code": 0}', ""),
    "204": ("204 No Content", "", ""),
    "301": ("301 Moved Permanently", "", "location: /elsewhere\r\n"),
    "400": ("400 Bad Request", '{"code": 400}', ""),
    "401": ("401 Unauthorized", '{"code": 401}', ""),
    "410": ("410 Gone", "", ""),
    "429": ("429 Too Many Requests", "", "retry-after: 1\r\n"),
    "500": ("500 Internal Server Error", '{"code": 0}', ""),
    "503": ("503 Service Unavailable", "", "retry-after: 1\r\n"),
    "code": ("200 OK", '{"code": 1001, "message": "系统繁忙"}', ""),
    "html": ("200 OK", "<html>维护中</html>", ""),
    "half": ("200 OK", '{"code": 0}', ""),
}


class Receiver:
    """The receiver's ledger and moods."""

    def __init__(self, ledger: Path, calm: Path, seed: int) -> None:
        self._file = ledger.open("ab")
        self._calm, self._rng = calm, Random(seed)
        self._silences = self._gone = 1

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, one request."""
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
            headers = dict(line.split(": ", 1) for line in head[1:] if ": " in line)
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            mood = self._mood(head[0])
            self._write(headers, body, mood)
            await self._answer(writer, mood)
        except (OSError, asyncio.IncompleteReadError):
            pass  # cut off while asking: nothing was taken
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    def _mood(self, request: str) -> str:
        if self._calm.exists():
            return "200"
        if " /gone" in request and self._gone:
            self._gone -= 1
            return GONE
        mood = self._rng.choice((*MOODS, *["200"] * 6))
        if mood == "silence":
            if not self._silences:
                return "slow"
            self._silences -= 1
        return mood

    def _write(self, headers: dict[str, str], body: bytes, mood: str) -> None:
        data: dict[str, Any] = json.loads(body)["data"]
        entry = {
            "received_us": now_us(),
            "webhook_id": headers.get("webhook-id", ""),
            "alert_id": data["alert_id"],
            "version": data["version"],
            "sha256": hashlib.sha256(body).hexdigest(),
            "answered": mood,
            "taken": mood in TAKEN,
        }
        self._file.write(json.dumps(entry).encode() + b"\n")
        self._file.flush()
        os.fsync(self._file.fileno())

    async def _answer(self, writer: asyncio.StreamWriter, mood: str) -> None:
        if mood == "reset":
            sock: socket.socket = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return writer.transport.abort()
        if mood == "silence":
            await asyncio.sleep(SILENCE_S)
            return None
        status, body, more = ANSWERS[mood]
        raw = body.encode()
        data = f"HTTP/1.1 {status}\r\ncontent-length: {len(raw)}\r\n{more}connection: close\r\n\r\n".encode() + raw
        if mood == "slow":
            for byte in data:
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(SLOW_S / len(data))
            return None
        writer.write(data[:-6] if mood == "half" else data)
        await writer.drain()
        return None


async def serve(port: int, receiver: Receiver) -> None:
    """Serve until cancelled."""
    async with await asyncio.start_server(receiver.take, "127.0.0.1", port) as server:
        await server.serve_forever()


def main() -> None:
    """Run as told."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--ledger", type=Path, required=True)
    parser.add_argument("--calm", type=Path, required=True)
    parser.add_argument("--seed", type=int, required=True)
    a = parser.parse_args()
    asyncio.run(serve(a.port, Receiver(a.ledger, a.calm, a.seed)))


if __name__ == "__main__":
    main()
