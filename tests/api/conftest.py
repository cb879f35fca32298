"""A running application on a free port, over a database with two sites of two townships."""

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import psycopg
import pytest

from api import serve
from api.app import ApiSettings
from api.console import Console
from tests.api.outbox import Outbox
from tests.api.seed import County


@dataclass(slots=True, kw_only=True)
class Running:
    """The application as people reach it."""

    url: str
    server: serve.Server

    @property
    def console(self) -> Console:
        """What the application holds together."""
        found: Console = self.server.config.app.state.console  # type: ignore[union-attr]
        return found

    def client(self, cookie: str = "", *, token: str = "", accept: str = "application/json") -> httpx.Client:
        """A visitor whose unsafe requests come from the page itself."""
        headers = {"accept": accept, "origin": self.url} | ({"authorization": f"Bearer {token}"} if token else {})
        return httpx.Client(base_url=self.url, headers=headers, cookies={"session": cookie} if cookie else {}, timeout=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Town:
    """Two sites, an admin, and a member of staff of each."""

    county: County
    east: int
    west: int
    admin: int
    east_staff: int
    west_staff: int


@pytest.fixture
def town(dsn: str) -> Iterator[Town]:
    """Rows as the worker leaves them."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        county = County(conn)
        region = county.region("云溪街道", "Yunxi")
        east = county.site("east", "东桥睦邻点", "Dongqiao point", region, rule="no_activity", people=31)
        west = county.site("west", "西岭照料中心", "Xiling care centre", region, people=12, shard=2)
        yield Town(
            county=county,
            east=east,
            west=west,
            admin=county.account("root", "city"),
            east_staff=county.account("east-staff", "staff", east),
            west_staff=county.account("west-staff", "staff", west),
        )


@pytest.fixture
def running(dsn: str, api_dsn: str, town: Town) -> Iterator[Running]:
    """uvicorn in a thread, stopped at the end."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    server = serve.server(ApiSettings(database_url=dsn, api_database_url=api_dsn, public_url=url), "127.0.0.1", port)
    thread = threading.Thread(target=server.run, name="api")
    thread.start()
    until = time.monotonic() + 20
    while not server.started and time.monotonic() < until:
        time.sleep(0.02)
    assert server.started
    yield Running(url=url, server=server)
    server.end_streams()
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def admin(running: Running, town: Town) -> Iterator[httpx.Client]:
    """An administrator."""
    with running.client(town.county.session(town.admin)) as client:
        yield client


@pytest.fixture
def east_staff(running: Running, town: Town) -> Iterator[httpx.Client]:
    """A member of staff of the eastern site."""
    with running.client(town.county.session(town.east_staff)) as client:
        yield client


@pytest.fixture
def outbox(dsn: str) -> Iterator[Outbox]:
    """An outbox with a site to tell of."""
    made = Outbox(dsn)
    yield made
    made.conn.close()
