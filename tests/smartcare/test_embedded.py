"""The embedded servers start, keep their data, and leave nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg

from smartcare.embedded import nats, postgres, process


def test_a_database_has_the_whole_schema(dsn: str) -> None:
    with psycopg.connect(dsn) as conn:
        assert conn.execute("SELECT count(*) FROM shard").fetchone() == (64,)
        assert conn.execute("SELECT relkind FROM pg_class WHERE relname = 'event'").fetchone() == ("p",)


def test_the_servers_keep_to_loopback_and_need_a_password(postgres_server: postgres.Server, broker: nats.Broker) -> None:
    listening = subprocess.run(["ss", "-ltnH"], capture_output=True, text=True, check=True).stdout
    ours = [line for line in listening.splitlines() if f":{postgres_server.port} " in line or f":{broker.port} " in line]
    assert len(ours) == 2
    assert all("127.0.0.1:" in line for line in ours)
    wrong = postgres_server.dsn("postgres").replace("smartcare:", "smartcare:x", 1)
    try:
        psycopg.connect(wrong).close()
    except psycopg.OperationalError as e:
        assert "password" in str(e)
    else:
        raise AssertionError("a wrong password was accepted")


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


def test_stopping_takes_seconds_even_with_open_connections(postgres_server: postgres.Server, tmp_path: Path) -> None:
    child = process.spawn(["sleep", "60"], log=tmp_path / "log")
    started = time.monotonic()
    process.stop(child, signal.SIGTERM, 2)
    assert child.returncode == -signal.SIGTERM
    assert time.monotonic() - started < 2
