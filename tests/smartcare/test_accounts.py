"""Accounts from the command line, as an operator types it."""

import os
import subprocess
import sys

import psycopg
from argon2 import PasswordHasher


def run(dsn: str, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """Run one command against a database."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("SMARTCARE_")} | {"DATABASE_URL": dsn}
    command = [sys.executable, "-m", "smartcare", *arguments]
    return subprocess.run(command, env=env, input=typed, capture_output=True, text=True, timeout=60, check=False)


def test_an_account_gets_a_password_that_only_its_hash_is_kept_of(dsn: str) -> None:
    assert run(dsn, "account", "add", "chen", "--role", "city").returncode == 0
    done = run(dsn, "account", "password", "chen", typed="七里香 seven-mile\n")
    assert done.returncode == 0, done.stderr
    with psycopg.connect(dsn) as conn:
        ((stored,),) = conn.execute("SELECT password FROM account WHERE name = 'chen'").fetchall()
    assert stored.startswith("$argon2id$")
    assert PasswordHasher().verify(stored, "七里香 seven-mile")


def test_an_unknown_account_and_an_empty_password_are_refused_in_one_line(dsn: str) -> None:
    unknown = run(dsn, "account", "password", "nobody", typed="x\n")
    assert (unknown.returncode, unknown.stderr.count("\n")) == (1, 1)
    assert "nobody" in unknown.stderr
    run(dsn, "account", "add", "chen", "--role", "city")
    empty = run(dsn, "account", "password", "chen", typed="\n")
    assert (empty.returncode, empty.stderr.count("\n")) == (1, 1)
    assert "1 to 1024 bytes" in empty.stderr
