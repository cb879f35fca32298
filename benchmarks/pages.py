"""How the page and the reports hold up with a province: the overview's loading, live pages, a site's and a city's month.

One decision: readers behave as people do (each loads the overview, looks, and loads it again some seconds later), while sites
change; what is measured is what they wait for.

`python -m benchmarks.pages <dsn> <port>` is the process that serves.
"""

import asyncio
import random
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import psycopg

from api import serve
from api.settings import ApiSettings
from api.web.channel import BEAT_S
from benchmarks import province
from benchmarks.ingest_path import Say, program
from gateway.clock import now_us
from ingest.store.schema import migrate
from smartcare.embedded import postgres
from smartcare.embedded.process import free_port

TOPICS = "banner counters sites latest alerts"
TOLD_S = BEAT_S + 1
"""A page is live that was told something within a beat, and a second: in a quiet town there is nothing but the beat to tell."""
LOOK_S = 10.0
"""A reader loads the overview again after so long, on average."""
CHANGES_PER_S, SITES_PER_CHANGE, CHANGES_PER_ALERT = 4, 20, 20
CONNECT_AT_ONCE = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How much is measured. seconds: of each part."""

    counties: int
    readers: int
    streams: int
    seconds: float
    rounds: int


FULL = Size(counties=province.COUNTIES, readers=100, streams=1100, seconds=40, rounds=3)
SMOKE = Size(counties=1, readers=10, streams=50, seconds=2, rounds=1)


def measure(size: Size, say: Say) -> dict[str, float]:
    """Return the figures api.*."""
    with tempfile.TemporaryDirectory() as folder, postgres.Server(Path(folder) / "postgres") as server:
        server_dsn = server.dsn("postgres")
        with psycopg.connect(server_dsn, autocommit=True) as conn:
            migrate(conn, now_us())
            province.fill(conn, size.counties)
            cookies = province.sessions(conn, size.readers)
        say(f"pages: {size.counties * province.TOWNS * province.SITES} sites are there")
        port = free_port()
        with program("benchmarks.pages", server_dsn, str(port)) as serving:
            assert serving.stdout
            assert serving.stdout.readline() == b"ready\n"
            return _figures(size, f"http://127.0.0.1:{port}", server_dsn, cookies, serving.pid, say)


def _figures(size: Size, url: str, dsn: str, cookies: list[str], pid: int, say: Say) -> dict[str, float]:
    figures = {}
    for name, query in (
        ("api.report_month_s", {"site": province.SITE}),
        ("api.report_month_city_s", {"region": province.COUNTY}),
    ):
        figures[name] = _report(url, cookies[1], query, size.rounds)
        say(f"{name}: {figures[name]:.2f} s (median of {size.rounds})")
    with _changes(dsn):
        waited = asyncio.run(_readers(url, cookies, size.seconds))
        p50, p99 = (1000 * sorted(waited)[int(share * len(waited))] for share in (0.5, 0.99))
        figures |= {"api.overview_p50_ms": p50, "api.overview_p99_ms": p99}
        say(f"overview: {len(waited)} loads, p50 {p50:.0f} ms, p99 {p99:.0f} ms")
        told, first_mb, last_mb = asyncio.run(_streams(url, cookies, size, pid))
    figures |= {"api.sse_clients": told, "api.sse_mb": last_mb, "api.sse_memory_growth": last_mb / first_mb}
    say(f"live: {told} pages were told, {first_mb:.0f} MB at first, {last_mb:.0f} MB in the end")
    return figures


def _report(url: str, cookie: str, query: dict[str, str], rounds: int) -> float:
    taken = []
    with httpx.Client(base_url=url, cookies={"session": cookie}, timeout=120) as client:
        for _ in range(rounds):
            began = time.perf_counter()
            answer = client.get("/api/v1/reports", params=query | {"period": province.MONTH})
            taken.append(time.perf_counter() - began)
            assert answer.status_code == 200, answer.text
            assert answer.json()["total"]["measured"]["served"] > 0
    return statistics.median(taken)


@contextmanager
def _changes(dsn: str) -> Iterator[None]:
    """Let sites change all the while."""
    over = threading.Event()

    def work() -> None:
        with psycopg.connect(dsn, autocommit=True) as conn:
            for n in count():
                province.touch(conn, SITES_PER_CHANGE)
                if n % CHANGES_PER_ALERT == 0:
                    province.act(conn)
                if over.wait(1 / CHANGES_PER_S):
                    break

    thread = threading.Thread(target=work, name="changes")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


async def _readers(url: str, cookies: list[str], seconds: float) -> list[float]:
    """Let each reader load the overview now and then. Returns how long each load took, without each reader's first."""
    waited: list[float] = []
    ready = asyncio.Barrier(len(cookies))

    async def read(cookie: str) -> None:
        async with httpx.AsyncClient(base_url=url, cookies={"session": cookie}, timeout=120) as client:
            await client.get("/")
            await ready.wait()
            until = time.perf_counter() + seconds
            while time.perf_counter() < until:
                await asyncio.sleep(random.uniform(0.5, 1.5) * LOOK_S)
                began = time.perf_counter()
                answer = await client.get("/")
                waited.append(time.perf_counter() - began)
                assert answer.status_code == 200, answer.status_code

    async with asyncio.TaskGroup() as tasks:
        for cookie in cookies:
            tasks.create_task(read(cookie))
    return waited


async def _streams(url: str, cookies: list[str], size: Size, pid: int) -> tuple[int, float, float]:
    """Open live pages and listen. Returns how many were told something lately, and the server's MB before and after."""
    port = int(url.rpartition(":")[2])
    heard = [0.0] * size.streams
    gate = asyncio.Semaphore(CONNECT_AT_ONCE)

    async def opened(n: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a stream; whoever is turned away comes again, as the page does."""
        path = f"/events?topics={TOPICS.replace(' ', '%20')}"
        head = f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\ncookie: session={cookies[n % len(cookies)]}\r\n\r\n"
        while True:
            async with gate:
                reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
                writer.write(head.encode())
                await writer.drain()
                if b" 200 " in await reader.readline():
                    return reader, writer
                writer.close()
            await asyncio.sleep(random.uniform(1, 3))

    async def listen(n: int) -> None:
        reader, writer = await opened(n)
        try:
            while await reader.read(2**18):
                heard[n] = time.perf_counter()
        finally:
            writer.close()

    async with asyncio.TaskGroup() as tasks:
        listening = [tasks.create_task(listen(n)) for n in range(size.streams)]
        while not all(heard):  # noqa: ASYNC110 - a thousand events would be needed
            await asyncio.sleep(0.2)
        await asyncio.sleep(size.seconds / 2)
        first_mb = _resident_mb(pid)
        await asyncio.sleep(size.seconds)
        last_mb, now = _resident_mb(pid), time.perf_counter()
        for task in listening:
            task.cancel()
    return sum(now - at < TOLD_S for at in heard), first_mb, last_mb


def _resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1024


def _serve(dsn: str, port: int) -> None:
    """Serve until terminated, and say when it is ready."""
    server = serve.server(ApiSettings(database_url=dsn, public_url=f"http://127.0.0.1:{port}"), "127.0.0.1", port)
    started: Callable[..., Any] = server.startup

    async def startup(sockets: Any = None) -> None:
        await started(sockets)
        print("ready", flush=True)

    server.startup = startup  # type: ignore[method-assign]
    serve.settle()
    server.run()


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if len(sys.argv) == 3:
        _serve(sys.argv[1], int(sys.argv[2]))
    else:
        print(measure(SMOKE if "--smoke" in sys.argv else FULL, lambda text: print(text, flush=True)))
