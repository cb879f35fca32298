"""A real TimescaleDB that needs only npm: PostgreSQL and the extension built for WebAssembly, behind a bridge.

One decision: packages are installed once into build/timescale, and one server serves the run; each test empties it.
"""

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from gateway.clock import now_us
from ingest.store.schema import migrate
from smartcare.embedded import process
from tests.programs import need

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / "build" / "timescale"
START_S = 180  # the extension's scripts run in WebAssembly


@pytest.fixture(scope="session")
def timescale_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Connection string of the one TimescaleDB of this run."""
    _install()
    port, log = process.free_port(), tmp_path_factory.mktemp("timescale") / "bridge.log"
    node = process.spawn(["node", "bridge.mjs", str(port)], log=log, on_parent_death=signal.SIGKILL, cwd=BUILD)
    try:
        process.wait_ready(node, lambda: process.accepts(port), what="TimescaleDB", log=log, seconds=START_S)
        dsn = f"postgresql://postgres@127.0.0.1:{port}/postgres?sslmode=disable"
        with psycopg.connect(dsn, autocommit=True) as conn:
            migrate(conn, now_us())
        yield dsn
    finally:
        process.stop(node, signal.SIGTERM, 5)


def _install() -> None:
    BUILD.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "bridge.mjs"):
        shutil.copyfile(HERE / name, BUILD / name)
    if (BUILD / "node_modules" / "@unni-craftsman" / "pglite").exists():
        return
    need(shutil.which("npm"), "npm")
    done = subprocess.run(
        ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund"], cwd=BUILD, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.fail(f"npm could not install TimescaleDB for tests into {BUILD}:\n{done.stderr}")


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
