"""What is due once a day beside deliveries: what has been kept for its time is deleted.

One decision: it is done when the process starts and every day from then on, by every process; what another has deleted is gone,
and a database that is away is awaited.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import NoReturn

import psycopg

from api import disclosures
from gateway.clock import now_us

DAY_S = 24 * 3600.0
RESTART_S = 60.0
log = logging.getLogger(__name__)


async def run(database_url: str, *, clock: Callable[[], int] = now_us, every_s: float = DAY_S) -> NoReturn:
    """Delete what is too old at once and every so many seconds, until cancelled."""
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as conn:
                if gone := await disclosures.purge(conn, clock()):
                    log.info("deleted %d disclosure records older than three years", gone)
        except psycopg.OperationalError as lost:
            log.warning("the database is away, old records are deleted when it is back: %s", lost)
            await asyncio.sleep(RESTART_S)
        else:
            await asyncio.sleep(every_s)
