"""The least that a subscriber can do, with the worker's own client library: count messages, QoS 0.

`python -m benchmarks.subscriber <mqtt url> <n>` says "ready", then the seconds from the first message to the last.
"""

import asyncio
import sys
import time

from ingest.broker import connected


async def main(url: str, wanted: int) -> None:
    """Count until `wanted` messages have come."""
    heard, began, all_heard = 0, 0.0, asyncio.Event()

    def receive(topic: str, payload: bytes) -> None:
        nonlocal heard, began
        began = began or time.perf_counter()
        heard += 1
        if heard == wanted:
            all_heard.set()

    async with connected(url, "care/v1/+/+/up", receive):
        print("ready", flush=True)
        await all_heard.wait()
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
