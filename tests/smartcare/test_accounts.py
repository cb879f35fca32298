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


def test_the_audit_log_is_checked_and_a_row_that_was_altered_is_named(dsn: str) -> None:
    assert run(dsn, "account", "add", "chen", "--role", "town", "--area", "330481003").returncode == 0
    whole = run(dsn, "audit", "verify")
    assert (whole.returncode, "1 rows, head 1:" in whole.stdout) == (0, True), whole.stderr
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("UPDATE audit SET detail = replace(detail, '330481003', '330481')")
    found = run(dsn, "audit", "verify")
    assert found.returncode == 1
    assert "row 1 " in found.stdout
    assert "account.created account/chen" in found.stdout


def test_a_role_that_does_not_fit_its_part_is_refused_in_one_line(dsn: str) -> None:
    refused = run(dsn, "account", "add", "chen", "--role", "town", "--site", "nowhere")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "area" in refused.stderr
