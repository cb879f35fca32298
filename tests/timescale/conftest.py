"""One TimescaleDB for the run; each test empties it."""

import shutil
from collections.abc import Iterator

import psycopg
import pytest

from gateway.clock import now_us
from ingest.store.schema import migrate
from tests.programs import need
from tests.timescale import server


@pytest.fixture(scope="session")
def timescale_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Connection string of the one TimescaleDB of this run."""
    if not (server.BUILD / "node_modules").exists():
        need(shutil.which("npm"), "npm")
    try:
        server.install()
    except server.NotInstalled as e:
        pytest.fail(str(e))
    with server.serve(tmp_path_factory.mktemp("timescale") / "bridge.log") as dsn:
        with psycopg.connect(dsn, autocommit=True) as conn:
            migrate(conn, now_us())
        yield dsn


def empty(dsn: str) -> None:
    """Bring the schema's tables back to what a fresh database has."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        kept = ("migration", "native_partition")
        tables = [t for (t,) in conn.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'") if t not in kept]
        conn.execute("SET session_replication_role = replica")  # what is append-only is emptied too
        conn.execute(f"TRUNCATE {', '.join(tables)} RESTART IDENTITY CASCADE")
        conn.execute("SET session_replication_role = origin")  # all connections are one session there
        conn.execute("INSERT INTO shard (id) SELECT generate_series(0, 63)")
        conn.execute("INSERT INTO register_version DEFAULT VALUES")
        conn.execute("INSERT INTO audit_head (id, hash) VALUES (0, '')")


@pytest.fixture(params=["postgresql", pytest.param("timescaledb", marks=pytest.mark.timescale)])
def flavour(request: pytest.FixtureRequest) -> str:
    """Which store the test runs on."""
    name: str = request.param
    return name


@pytest.fixture
def contract_dsn(flavour: str, request: pytest.FixtureRequest) -> str:
    """Connection string of a fresh store of either flavour; one connection may be busy at a time."""
    if flavour == "postgresql":
        plain: str = request.getfixturevalue("dsn")
        return plain
    dsn: str = request.getfixturevalue("timescale_server")
    empty(dsn)
    return dsn
