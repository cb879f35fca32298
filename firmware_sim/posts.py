"""Posts what devices say over HTTP, each device one thing at a time, and tells it whether it was answered.

One decision: whoever is not answered with 200 learns nothing, and says it again when its firmware would; so what is missing at
the other end was lost there.
"""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path

import httpx

from firmware_sim.device import Connected, Output, Told

WAITING = 1000
"""Posts of one device that wait for those before them; beyond it the newest is not said, as with a line that is down."""
PATIENCE_S = 10.0


class Poster:
    """addresses: identity → URL to post to. `told` gets (identity, answer) of posts that asked for a receipt."""

    def __init__(self, addresses: Mapping[str, str], told: "asyncio.Queue[tuple[str, Connected | Told]]") -> None:
        self._addresses, self._told = addresses, told
        self._queues: dict[str, asyncio.Queue[Output]] = {identity: asyncio.Queue(WAITING) for identity in addresses}
        self.sent = self.answered = 0

    def post(self, identity: str, output: Output) -> None:
        """Post it after what the device has said before."""
        queue = self._queues.get(identity)
        if queue is not None and not queue.full():
            queue.put_nowait(output)

    async def settled(self) -> None:
        """Wait until nothing waits."""
        for queue in self._queues.values():
            await queue.join()

    async def run(self) -> None:
        """Post until cancelled."""
        async with httpx.AsyncClient(timeout=PATIENCE_S, trust_env=False) as client, asyncio.TaskGroup() as tasks:
            for identity, queue in self._queues.items():
                tasks.create_task(self._serve(client, identity, queue), name=f"posts.{identity}")

    async def _serve(self, client: httpx.AsyncClient, identity: str, queue: "asyncio.Queue[Output]") -> None:
        while True:
            output = await queue.get()
            try:
                url = self._addresses[identity] + output.topic
                answer = await client.post(url, content=output.payload, headers={"content-type": output.content_type})
                self.sent += 1
                if answer.status_code == httpx.codes.OK:
                    self.answered += 1
                    if output.receipt and not self._told.full():
                        self._told.put_nowait((identity, Told(payload=output.receipt)))
            except httpx.HTTPError:
                pass  # nobody answers: the device learns nothing
            finally:
                queue.task_done()


def read_addresses(file: Path, base: str) -> dict[str, str]:
    """Read a gateway's file of addresses as identity → URL below `base` ("http://host:port")."""
    rows = json.loads(file.read_text(encoding="utf-8"))
    paths = {f"{row['family']}/{row['name']}": f"{'/api/v1' if row['family'] == 'tb' else '/d'}/{row['token']}" for row in rows}
    return {identity: base.rstrip("/") + path for identity, path in paths.items()}
