"""The least that a subscriber can do, with the worker's own client library: count messages, QoS 0.

`python -m benchmarks.subscriber <mqtt url> <n>` says "ready", then the seconds from the first message to the last.
"""

import asyncio
import sys
import time
from urllib.parse import urlsplit

import aiomqtt


async def main(url: str, wanted: int) -> None:
    """Count until `wanted` messages have come."""
    at = urlsplit(url)
    async with aiomqtt.Client(at.hostname or "", at.port or 0, username=at.username, password=at.password) as client:
        await client.subscribe("care/v1/+/+/up", qos=0)
        print("ready", flush=True)
        heard, began = 0, 0.0
        async for _ in client.messages:
            heard += 1
            began = began or time.perf_counter()
            if heard == wanted:
                break
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
