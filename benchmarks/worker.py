"""A worker for the benchmarks: `python -m benchmarks.worker <dsn> <mqtt url>`; says when it is ready. SIGTERM drains it."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping

from ingest.shards import Owned
from ingest.worker import WorkerConfig, run


async def main(dsn: str, url: str) -> None:
    """Run until terminated."""

    def ready(owned: Mapping[int, Owned]) -> None:
        if owned:
            print("ready", flush=True)

    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await run(WorkerConfig(database_url=dsn, mqtt_url=url, owner=f"benchmark-{os.getpid()}"), lambda batch: None, ready)


if __name__ == "__main__":
    with contextlib.suppress(asyncio.CancelledError):
        asyncio.run(main(*sys.argv[1:]))
