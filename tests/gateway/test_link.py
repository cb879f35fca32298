"""The far side's patience, in virtual time: an hour without a backend takes no time to test."""

import asyncio
import itertools
from pathlib import Path

import pytest

from gateway.clock import SECOND_US
from gateway.credentials import Credentials
from gateway.link import Link
from gateway.spool import Spool
from gateway.uplink import Sender

HOUR_S = 3600.0


@pytest.mark.looptime
async def test_a_gateway_without_a_backend_tries_again_within_its_jitter_for_as_long_as_it_takes(tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    attempts: list[float] = []

    async def refuse(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        attempts.append(loop.time())
        writer.close()

    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    spool = Spool(tmp_path / "spool.sqlite")
    link = Link(
        f"mqtt://gw:secret@127.0.0.1:{port}",
        7,
        "gw",
        credentials=Credentials("", tmp_path / "none"),
        sender=Sender(budget_bytes=1 << 20, epoch=0, reconnect_jitter_us=60 * SECOND_US),
        spool=spool,
        clock=lambda: int(loop.time() * SECOND_US),
        on_up=lambda: None,
        on_down=lambda message: None,
    )
    began = loop.time()
    try:
        async with asyncio.timeout(HOUR_S):
            await link.run()
    except TimeoutError:
        pass
    finally:
        server.close()
        spool.close()
    assert loop.time() - began == pytest.approx(HOUR_S)
    waits = [b - a for a, b in itertools.pairwise(attempts)]
    # Each wait is the attempt itself (10 s at most) and a jitter spread evenly over a minute: 30 s on average.
    assert max(waits) < 75
    assert 22 < sum(waits) / len(waits) < 50
