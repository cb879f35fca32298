"""The `worker` process: ingest (T1) and analyzer (T2) side by side, joined by committed batches only."""

import asyncio
import os
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import start_http_server

from analytics.engine import Engine
from analytics.runner import Detects, Runner
from ingest import worker as ingest
from ingest.shards import Owned
from smartcare import maintenance
from smartcare.settings import Settings


async def run(settings: Settings, engine_factory: Callable[[], Detects] = Engine) -> None:
    """Run until cancelled. `engine_factory` makes the engine of one shard; tests pass one that fails."""
    owned: Mapping[int, Owned] = {}

    def ready(shards: Mapping[int, Owned]) -> None:
        nonlocal owned
        owned = shards

    runner = Runner(settings.database_url, lambda: {s: o.epoch for s, o in owned.items()}, engine_factory=engine_factory)
    config = ingest.WorkerConfig(
        database_url=settings.database_url,
        mqtt_url=settings.mqtt_url,
        lost_after_s=settings.lost_after_s,
        country=settings.country,
        ca_file=settings.mqtt_ca,
        owner=f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}",
    )
    with figures(settings.metrics_port):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ingest.run(config, runner.offer, ready), name="ingest")
            tasks.create_task(runner.run(), name="analytics")
            tasks.create_task(maintenance.nightly(settings.database_url, settings.keep_days), name="maintenance")


@contextmanager
def figures(port: int) -> Iterator[None]:
    """Show what this process counts on a loopback port, at any path; 0: nowhere. Raises OSError where it is taken."""
    if not port:
        yield
        return
    server, thread = start_http_server(port, "127.0.0.1")
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
