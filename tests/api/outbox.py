"""An outbox as the analyzer leaves it, senders at work on it, and receivers for them."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg.rows import dict_row
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from api.delivery import DeliverySettings, register_endpoint, run
from api.endpoints import Endpoint, register
from api.signing import generate_secret
from gateway.clock import SECOND_US, now_us

SECRET = generate_secret()


class Clock:
    """The real clock, which a test can put forward."""

    def __init__(self) -> None:
        self.ahead_us = 0
        self._frozen_us = 0

    def __call__(self) -> int:
        return (self._frozen_us or now_us()) + self.ahead_us

    def freeze(self) -> None:
        """From here on only a test moves it."""
        self._frozen_us = now_us()


class Outbox:
    """What the analyzer would have written, by SQL."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.clock = Clock()
        self.conn = psycopg.connect(dsn, autocommit=True, row_factory=dict_row)
        self.conn.execute("INSERT INTO region VALUES ('330481001002', '长安镇')")
        made = "INSERT INTO site (code, name, kind, region, hours, shard) VALUES ('s1', '桃园', 'point', '330481001002', '{}', 5)"
        self.site = self.one(f"{made} RETURNING id")["id"]
        self.episodes = 0

    def one(self, query: str, *values: object) -> dict[str, Any]:
        row = self.conn.execute(query.encode(), values).fetchone()
        assert row is not None
        return row

    def alert(self) -> int:
        self.episodes += 1
        columns = "shard, rule, subject_kind, subject, site, episode, state, severity, begin_us, detected_us, reason"
        values = "5, 'left_open', 'site', %s, %s, %s, 'open', 'major', 1, 2, '{}'"
        made = self.one(f"INSERT INTO alert ({columns}) VALUES ({values}) RETURNING id", self.site, self.site, self.episodes)
        return int(made["id"])

    def endpoint(self, port: int, name: str = "platform", secret: str = SECRET) -> int:
        with psycopg.connect(self.dsn) as conn:
            return register_endpoint(conn, name=name, url=f"http://127.0.0.1:{port}/alerts", secret=secret)

    def register(self, url: str, **config: Any) -> int:
        with psycopg.connect(self.dsn) as conn:
            return register(conn, Endpoint(url=url, **({"name": "receiver", "secret": ""} | config)))

    def put(self, alert: int, endpoint: int, number: int = 1, **more: object) -> int:
        data = {"alert_id": alert, "version": number, "site": {"name": "桃园"}} | more
        body = json.dumps({"type": "alert.opened", "data": data}, ensure_ascii=False)
        row = self.one(
            "INSERT INTO outbox (alert, version, endpoint, webhook_id, body, due_us)"
            " VALUES (%s, %s, %s, %s, %s, %s) RETURNING id",
            *(alert, number, endpoint, f"a-{alert}-{number}-{endpoint}", body.encode(), self.clock()),
        )
        self.tell()
        return int(row["id"])

    def tell(self) -> None:
        self.conn.execute("NOTIFY smartcare")

    def pass_s(self, seconds: float) -> None:
        self.clock.ahead_us += round(seconds * SECOND_US)
        self.tell()

    def __getitem__(self, row: int) -> dict[str, Any]:
        return self.one("SELECT * FROM outbox WHERE id = %s", row)

    async def until(self, row: int, **wanted: object) -> dict[str, Any]:
        return await eventually(lambda: self._like(row, wanted | {"leased_until_us": 0}))

    def _like(self, row: int, wanted: dict[str, object]) -> dict[str, Any] | None:
        found = self[row]
        return found if wanted.items() <= found.items() else None


async def eventually(look: Callable[[], dict[str, Any] | None]) -> dict[str, Any]:
    async with asyncio.timeout(15):
        while True:
            if found := look():
                return found
            await asyncio.sleep(0.02)


@asynccontextmanager
async def sending(outbox: Outbox, *ports: int, senders: int = 1, timeout_s: float = 5, **more: Any) -> AsyncIterator[None]:
    """Run senders that may call the loopback ports given."""
    settings = DeliverySettings(allow=[f"127.0.0.1:{p}" for p in ports], timeout_s=timeout_s, **more)
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(run(outbox.dsn, settings, clock=outbox.clock)) for _ in range(senders)]
        yield
        for task in running:
            assert not task.done(), "a sender has ended"
            task.cancel()


def receiver(handler: Callable[[Request], Awaitable[Response]]) -> Starlette:
    return Starlette(routes=[Route("/{rest:path}", handler, methods=["GET", "POST"])])
