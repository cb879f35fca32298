"""Carries outbox rows to their endpoints: claimed with a lease, sent as they are stored, marked after the answer.

One decision: no transaction is open during a call. A row is leased, the call is made, the result is stored if the lease
still holds; whoever dies in between lets the lease run out, and the same bytes go again under the same webhook-id.

    NOTIFY or 1 s ─► claim (lowest version of an alert and endpoint, none on its way) ─► call ─► delivered | due again | dead
                     └── breaker open: left alone, or passed on to the endpoint's fallback

A platform's own body is mapped here, at the first attempt, and stored before the call: the analyzer's transaction must not
fail because of an endpoint's mapping, and later attempts send the same bytes even if the mapping has changed. A robot's text
is composed at each attempt from the stored alerts, because what waits then may have to be merged; it has no id to repeat.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from secrets import SystemRandom
from typing import Any, NoReturn

import msgspec
import psycopg
from psycopg.rows import dict_row

from api import breaker, disclosures, endpoints, mail, robots
from api.endpoints import Endpoint
from api.errors import ApiError
from api.outgoing import Caller, NotListed, OutgoingError, Reply, parse_allow_list
from api.retries import Decision, State, decide
from api.signers import secret_of
from api.tokens import Tokens
from gateway.clock import MINUTE_US, SECOND_US, now_us
from gateway.crashpoint import crashpoint
from ingest.store.queries import Queries

CHANNEL = "smartcare"
SQL = Queries("api", "delivery.sql")
POLL_S = 1.0
RESTART_S = 1.0
LEASE_MARGIN_US = 10 * SECOND_US
UNLISTED_WAIT_US = MINUTE_US
SHOWN_BYTES = 300
"""Of an answer that says no inside a 2xx, for whoever looks for the cause."""
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
    public_url: str = ""
    """Address of the page, for links in messages to people. Empty: messages have no link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A claimed row of the outbox with its endpoint. mapped: what was sent at earlier attempts, if it is not `body`.

    address: whom at the endpoint it is for, "" its own recipients.
    """

    id: int
    webhook_id: str
    body: bytes
    mapped: bytes | None
    attempts: int
    endpoint: Endpoint
    alert: int | None
    period: int | None
    version: int
    address: str


class LeaseLost(Exception):
    """Someone else holds the row now; nothing has left."""


class Sender:
    """One sender on one database connection. Several, in any process, share the outbox."""

    def __init__(
        self, conn: psycopg.AsyncConnection[Any], settings: DeliverySettings, caller: Caller, clock: Callable[[], int]
    ) -> None:
        self._conn = conn  # autocommit: claim and finish are one statement each
        self._settings = settings
        self._caller = caller
        self._clock = clock
        self._tokens = Tokens(conn, caller)
        self._random = SystemRandom()
        self._on_the_way: Counter[int] = Counter()  # by endpoint
        self.wake = asyncio.Event()

    async def serve(self) -> NoReturn:
        """Claim and send whenever woken, until cancelled. Calls under way are then cut; their leases run out."""
        async with asyncio.TaskGroup() as calls:
            while True:
                self.wake.clear()
                await self._conn.execute(SQL["pass_on"], {"now_us": self._clock(), "attempts": breaker.PASS_ON_ATTEMPTS})
                while self._on_the_way.total() < self._settings.concurrency and (claimed := await self._claim()):
                    rows, until_us = claimed
                    self._on_the_way[rows[0].endpoint.id] += 1
                    calls.create_task(self._carry(rows, until_us), name="api.delivery.call")
                await self.wake.wait()

    async def _claim(self) -> tuple[list[Row], int] | None:
        """Lease the rows of one call: one, or several for a robot."""
        at_us = self._clock()
        until_us = at_us + round(self._settings.timeout_s * SECOND_US) + LEASE_MARGIN_US
        full = [e for e, n in self._on_the_way.items() if n >= self._settings.per_endpoint]
        turns = {"merge": robots.MERGE, "spare_us": robots.SPARE_US, "turn_us": robots.TURN_US}
        values = {"now_us": at_us, "until_us": until_us, "full": full} | turns
        async with self._conn.cursor(row_factory=dict_row) as cursor:
            for query in ("claim", "claim_robot"):
                await cursor.execute(SQL[query], values)
                if found := await cursor.fetchall():
                    return [Row(**(row | {"endpoint": msgspec.convert(row["endpoint"], Endpoint)})) for row in found], until_us
        return None

    async def _carry(self, rows: list[Row], until_us: int) -> None:
        try:
            await self._attempt(rows, until_us)
        except LeaseLost:
            log.warning("the lease of %s ran out before the call; whoever holds it now sends it", rows[0].webhook_id)
        finally:
            self._on_the_way[rows[0].endpoint.id] -= 1
            self.wake.set()

    async def _attempt(self, rows: list[Row], until_us: int) -> None:
        reply: Reply | None = None
        error, called = "", True
        try:
            crashpoint("delivery.leased")
            reply = await self._send(rows, until_us)
            crashpoint("delivery.called")
        except NotListed as e:
            # Nothing has left, so nothing is counted: the row waits for the operator, and says so.
            decision = Decision(state=State.PENDING, due_us=self._clock() + UNLISTED_WAIT_US)
            for row in rows:
                await self._finish(row, until_us, decision, row.attempts, None, e.detail)
            return
        except OutgoingError as e:
            error = e.detail
        except (psycopg.Error, LeaseLost):
            raise
        except Exception as e:
            if not isinstance(e, ApiError):
                log.exception("%s could not be sent", rows[0].webhook_id)
            error, called = f"无法发送 · cannot be sent: {type(e).__name__}: {e}", False
        for row in rows:
            await self._judge(row, until_us, reply, error, called)

    async def _judge(self, row: Row, until_us: int, reply: Reply | None, error: str, called: bool) -> None:
        """Store what the call came to for one of its rows. called: False where it could not even be made."""
        at_us, rule = self._clock(), row.endpoint.rule
        robot = robots.ROBOTS.get(row.endpoint.kind)
        hold_us = robots.hold_us(robot, reply.body) if robot and reply else 0
        decision = decide(
            attempts=row.attempts + 1,
            status=reply.status if reply else None,
            retry_after=reply.retry_after if reply else "",
            body=reply.body if reply else b"",
            now_us=at_us,
            random=self._random.random(),
            rule=rule,
            hold_us=hold_us,
        )
        if decision.state is State.DEAD and row.endpoint.fallback:
            decision = replace(decision, state=State.PENDING, due_us=at_us)  # the fallback takes it
        if reply and decision.state is not State.DELIVERED:
            await self._tokens.refused(row.endpoint)
            protocol = "SMTP" if row.endpoint.kind == "email" else "HTTP"
            error = f"对方应答 {protocol} {reply.status} · the receiver answered {protocol} {reply.status}"
            if protocol == "SMTP" or 200 <= reply.status <= 299:
                said = reply.body[:SHOWN_BYTES].decode("utf-8", "replace").replace("\0", "")
                error += f"，不满足 · which is not {rule.text}: {said}" if rule.text else f": {said}"
        until_hold_us = at_us + hold_us + robots.SPARE_US if hold_us else 0
        status = reply.status if reply else None
        able = breaker.able(row.endpoint.kind, status) if called else None
        await self._finish(row, until_us, decision, row.attempts + 1, status, error, until_hold_us, able)

    async def _send(self, rows: list[Row], until_us: int) -> Reply:
        to, first = rows[0].endpoint, rows[0]
        to = replace(to, recipients=(first.address,)) if first.address else to
        robot = to.kind in robots.ROBOTS
        body = None if robot else first.mapped
        if body is None:
            body = endpoints.compose(to, [row.body for row in rows], self._settings.public_url)
            if not robot and body != first.body:
                values = {"mapped": body, "id": first.id, "until_us": until_us}
                if await (await self._conn.execute(SQL["keep_mapped"], values)).fetchone() is None:
                    raise LeaseLost
        at_us = self._clock()
        to = await self._tokens.on(replace(to, secret=secret_of(to.signing, to.secret, first.attempts)), at_us)
        await disclosures.record(self._conn, [row for row in rows if row.attempts == 0], to, len(body), at_us)
        if to.kind == "email":
            return await mail.send(self._caller, to, first.webhook_id, body)
        made = endpoints.request(to, first.webhook_id, body, at_us, self._random.randrange(10_000))
        return await self._caller.post(made.url, made.body, made.headers)

    async def _finish(
        self,
        row: Row,
        until_us: int,
        decision: Decision,
        attempts: int,
        status: int | None,
        error: str,
        hold_us: int = 0,
        able: bool | None = None,
    ) -> None:
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
            "hold_us": hold_us,
            "able": able,
            "now_us": at_us,
            "threshold": breaker.THRESHOLD,
            "first_us": breaker.FIRST_US,
            "most_us": breaker.MOST_US,
        }
        cursor = await self._conn.execute(SQL["finish"], values)
        crashpoint("delivery.finished")
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
    """Add a Standard Webhook by its name or bring it up to date, and return its id. Raises NotListed (URL), BadSecret."""
    return endpoints.register(conn, Endpoint(name=name, url=url, secret=secret))
