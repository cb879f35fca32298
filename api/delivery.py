"""Carries outbox rows to their endpoints: claimed with a lease, sent as they are stored, marked after the answer.

One decision: no transaction is open during a call. A row is leased, the call is made, the result is stored if the lease
still holds; whoever dies in between lets the lease run out, and the same bytes go again under the same webhook-id.

    NOTIFY or 1 s ─► claim (lowest version of an alert and endpoint, none on its way) ─► call ─► delivered | due again | dead
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from secrets import SystemRandom
from typing import Any, NoReturn

import psycopg
from psycopg.rows import class_row

from api.outgoing import Caller, NotListed, OutgoingError, Reply, parse_allow_list, parse_url
from api.retries import Decision, State, decide
from api.signing import keys, sign
from gateway.clock import MINUTE_US, SECOND_US, now_us
from ingest.store.queries import Queries

CHANNEL = "smartcare"
SQL = Queries("api", "delivery.sql")
USER_AGENT = f"smartcare/{version('smartcare')}"
POLL_S = 1.0
RESTART_S = 1.0
LEASE_MARGIN_US = 10 * SECOND_US
UNLISTED_WAIT_US = MINUTE_US
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """How deliveries leave."""

    allow: Sequence[str] = ()
    """Where calls may go: "host:port", "address:port" or "network/bits:port". Empty: nothing leaves."""
    timeout_s: float = 20.0
    """Total time of one call. Longer only for a platform that is known to think longer."""
    concurrency: int = 8
    """Calls on the way at once."""
    per_endpoint: int = 4
    """Of those, to one endpoint, so that one that hangs does not hold up the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A claimed row of the outbox with its endpoint."""

    id: int
    endpoint: int
    webhook_id: str
    body: bytes
    attempts: int
    url: str
    secret: str


class Sender:
    """One sender on one database connection. Several, in any process, share the outbox."""

    def __init__(
        self, conn: psycopg.AsyncConnection[Any], settings: DeliverySettings, caller: Caller, clock: Callable[[], int]
    ) -> None:
        self._conn = conn  # autocommit: claim and finish are one statement each
        self._settings = settings
        self._caller = caller
        self._clock = clock
        self._random = SystemRandom()
        self._on_the_way: Counter[int] = Counter()  # by endpoint
        self.wake = asyncio.Event()

    async def serve(self) -> NoReturn:
        """Claim and send whenever woken, until cancelled. Calls under way are then cut; their leases run out."""
        async with asyncio.TaskGroup() as calls:
            while True:
                self.wake.clear()
                while self._on_the_way.total() < self._settings.concurrency and (claimed := await self._claim()):
                    row, until_us = claimed
                    self._on_the_way[row.endpoint] += 1
                    calls.create_task(self._carry(row, until_us), name="api.delivery.call")
                await self.wake.wait()

    async def _claim(self) -> tuple[Row, int] | None:
        at_us = self._clock()
        until_us = at_us + round(self._settings.timeout_s * SECOND_US) + LEASE_MARGIN_US
        full = [e for e, n in self._on_the_way.items() if n >= self._settings.per_endpoint]
        async with self._conn.cursor(row_factory=class_row(Row)) as cursor:
            await cursor.execute(SQL["claim"], {"now_us": at_us, "until_us": until_us, "full": full})
            row = await cursor.fetchone()
        return (row, until_us) if row else None

    async def _carry(self, row: Row, until_us: int) -> None:
        try:
            await self._attempt(row, until_us)
        finally:
            self._on_the_way[row.endpoint] -= 1
            self.wake.set()

    async def _attempt(self, row: Row, until_us: int) -> None:
        reply: Reply | None = None
        attempts, error = row.attempts + 1, ""
        try:
            reply = await self._send(row)
        except NotListed as e:
            # Nothing has left, so nothing is counted: the row waits for the operator, and says so.
            decision = Decision(state=State.PENDING, due_us=self._clock() + UNLISTED_WAIT_US)
            await self._finish(row, until_us, decision, row.attempts, None, e.detail)
            return
        except OutgoingError as e:
            error = e.detail
        except Exception as e:
            log.exception("%s could not be sent", row.webhook_id)
            error = f"无法发送 · cannot be sent: {type(e).__name__}: {e}"
        status = reply.status if reply else None
        decision = decide(
            attempts=attempts,
            status=status,
            retry_after=reply.retry_after if reply else "",
            body=reply.body if reply else b"",
            now_us=self._clock(),
            random=self._random.random(),
        )
        if status is not None and decision.state is not State.DELIVERED:
            error = f"对方应答 HTTP {status} · the receiver answered HTTP {status}"
        await self._finish(row, until_us, decision, attempts, status, error)

    async def _send(self, row: Row) -> Reply:
        at_s = self._clock() // SECOND_US
        headers = {
            "webhook-id": row.webhook_id,
            "webhook-timestamp": str(at_s),
            "webhook-signature": sign(row.secret, row.webhook_id, at_s, row.body),
            "content-type": "application/json",
            "user-agent": USER_AGENT,
        }
        return await self._caller.post(row.url, row.body, headers)

    async def _finish(self, row: Row, until_us: int, decision: Decision, attempts: int, status: int | None, error: str) -> None:
        at_us = self._clock()
        values = {
            "id": row.id,
            "until_us": until_us,
            "state": str(decision.state),
            "attempts": attempts,
            "due_us": decision.due_us,
            "status": status,
            "error": error,
            "done_us": None if decision.state is State.PENDING else at_us,
            "disable": decision.disable,
        }
        cursor = await self._conn.execute(SQL["finish"], values)
        if await cursor.fetchone() is None:
            log.warning("the lease of %s ran out during the call; whoever holds it now sends it again", row.webhook_id)
        elif decision.state is not State.DELIVERED:
            log.info("%s: attempt %d: %s: %s", row.webhook_id, attempts, decision.state, error)


async def run(database_url: str, settings: DeliverySettings, *, clock: Callable[[], int] = now_us) -> NoReturn:
    """Deliver until cancelled; a lost database is awaited. Raises outgoing.BadRule if the allow-list cannot be read."""
    caller = Caller(parse_allow_list(settings.allow), timeout_s=settings.timeout_s)
    while True:
        try:
            await _serve(database_url, settings, caller, clock)
        except* psycopg.OperationalError as lost:
            log.warning("the database is away, deliveries go on when it is back: %s", lost.exceptions[0])
        await asyncio.sleep(RESTART_S)


async def _serve(database_url: str, settings: DeliverySettings, caller: Caller, clock: Callable[[], int]) -> None:
    async with (
        await psycopg.AsyncConnection.connect(database_url, autocommit=True) as conn,
        await psycopg.AsyncConnection.connect(database_url, autocommit=True) as ears,
        asyncio.TaskGroup() as tasks,
    ):
        sender = Sender(conn, settings, caller, clock)
        tasks.create_task(_listen(ears, sender.wake), name="api.delivery.listen")
        tasks.create_task(sender.serve(), name="api.delivery.serve")


async def _listen(ears: psycopg.AsyncConnection[Any], wake: asyncio.Event) -> NoReturn:
    await ears.execute(f"LISTEN {CHANNEL}")
    while True:
        async for _ in ears.notifies(timeout=POLL_S, stop_after=1):
            pass
        wake.set()  # told, or a second has passed: a notification can be lost, a due time cannot


def register_endpoint(conn: psycopg.Connection[Any], name: str, url: str, secret: str) -> int:
    """Add an endpoint by its name or bring it up to date, and return its id. Raises NotListed (URL), BadSecret."""
    parse_url(url)
    keys(secret)
    row = conn.execute(SQL["register_endpoint"], {"name": name, "url": url, "secret": secret}).fetchone()
    assert row is not None
    return int(row[0])
