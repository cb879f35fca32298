"""A worker process for the benchmarks: `python -m benchmarks.worker <dsn> <mqtt url>`; says when it is ready."""

import asyncio
import sys
from collections.abc import Mapping

from ingest.shards import Owned
from ingest.worker import WorkerConfig, run


async def main(dsn: str, url: str) -> None:
    """Run until terminated."""

    def ready(owned: Mapping[int, Owned]) -> None:
        if owned:
            print("ready", flush=True)

    await run(WorkerConfig(database_url=dsn, mqtt_url=url, owner="benchmark"), lambda batch: None, ready)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
