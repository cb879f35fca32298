"""One running application for all tests of a module, where each test keeps to what it made itself."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg

from api import serve
from api.app import ApiSettings
from smartcare.embedded import postgres
from tests.api.conftest import Running, Town
from tests.api.seed import County


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """Two sites, the application over them, and who is signed in: the city, their town's supervisor, and staff of each."""

    dsn: str
    town: Town
    running: Running
    admin: httpx.Client
    supervisor: httpx.Client
    east: httpx.Client
    west: httpx.Client


@contextmanager
def house(server: postgres.Server, name: str, state: Path) -> Iterator[House]:
    """A database of that name with the application over it. state: folder of the application's key."""
    with ExitStack() as stack:
        control = stack.enter_context(psycopg.connect(server.dsn("postgres"), autocommit=True))
        control.execute(f"CREATE DATABASE {name} TEMPLATE template_smartcare STRATEGY FILE_COPY".encode())
        stack.callback(lambda: control.execute(f"DROP DATABASE {name} WITH (FORCE)".encode()))
        dsn = server.dsn(name)
        county = County(stack.enter_context(psycopg.connect(dsn, autocommit=True)))
        region = county.region("云溪街道", "Yunxi")
        east = county.site("east", "东桥睦邻点", "Dongqiao point", region, rule="no_activity", people=31)
        west = county.site("west", "西岭照料中心", "Xiling care centre", region, people=12, shard=2)
        accounts: list[int] = [
            county.account("root", "city"),
            county.account("east-staff", "staff", east),
            county.account("west-staff", "staff", west),
            county.account("supervisor", "town", area=region[:9]),
        ]
        town = Town(county=county, east=east, west=west, admin=accounts[0], east_staff=accounts[1], west_staff=accounts[2])
        running = stack.enter_context(served(dsn, state))
        clients = [stack.enter_context(running.client(county.session(account))) for account in accounts]
        yield House(
            dsn=dsn, town=town, running=running, admin=clients[0], supervisor=clients[3], east=clients[1], west=clients[2]
        )


@contextmanager
def served(dsn: str, state: Path, port: int = 0) -> Iterator[Running]:
    """uvicorn in a thread, stopped at the end. port: 0 a free one."""
    if not port:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    server = serve.server(ApiSettings(database_url=dsn, public_url=url, name_key=state / "name.key"), "127.0.0.1", port)
    thread = threading.Thread(target=server.run, name="api")
    thread.start()
    until = time.monotonic() + 20
    while not server.started and time.monotonic() < until:
        time.sleep(0.02)
    assert server.started
    try:
        yield Running(url=url, server=server)
    finally:
        server.end_streams()
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()
