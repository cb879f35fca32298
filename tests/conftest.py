"""Real servers for the tests: one PostgreSQL for the whole run, a fresh database or broker for each test that asks."""

import asyncio
import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from hypothesis import settings

from gateway.clock import now_us
from ingest.store.schema import API_ROLE, migrate
from smartcare.embedded import nats, postgres

settings.register_profile("quick", max_examples=50, deadline=None)
settings.register_profile("long", max_examples=2000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture(scope="session", autouse=True)
def main_loop() -> Iterator[None]:
    """Own the loop that pytest-asyncio asks the main thread for: up to Python 3.13 one is made unasked and never closed."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    loop.close()


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[postgres.Server]:
    """One real PostgreSQL for the run; its databases are dropped with it."""
    server = postgres.Server(tmp_path_factory.mktemp("postgres"), settings={"fsync": "off"})
    try:
        with server:
            with psycopg.connect(server.dsn("postgres"), autocommit=True) as conn:
                conn.execute("CREATE DATABASE template_smartcare")
            with psycopg.connect(server.dsn("template_smartcare"), autocommit=True) as conn:
                migrate(conn, now_us())
            yield server
    finally:
        server.remove()


_numbers = itertools.count(1)


@pytest.fixture
def dsn(postgres_server: postgres.Server) -> Iterator[str]:
    """Connection string of a fresh database with the present schema, owned by this test and dropped after it."""
    name = f"t{next(_numbers)}"
    with psycopg.connect(postgres_server.dsn("postgres"), autocommit=True) as conn:
        # copied as files: half the time of the default, which writes every page to the write-ahead log
        conn.execute(f"CREATE DATABASE {name} TEMPLATE template_smartcare STRATEGY FILE_COPY")
        yield postgres_server.dsn(name)
        conn.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def api_dsn(postgres_server: postgres.Server, dsn: str) -> str:
    """The same database as the role that requests come as."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        return postgres_server.let_in(conn, API_ROLE, dsn.rpartition("/")[2])


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[nats.Broker]:
    """A fresh nats-server: user "worker", gateways and devices as `nats.Broker` describes."""
    with nats.Broker(tmp_path / "broker") as b:
        yield b


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what waits for real processes, so that no core stands idle at the end because of one long test."""
    items.sort(key=lambda item: item.get_closest_marker("e2e") is None)
