"""What a backup refuses; that nothing is lost is tests/e2e/test_backup.py."""

from pathlib import Path

import psycopg
import pytest

from smartcare import backup
from smartcare.backup import BackupError
from smartcare.embedded import postgres


@pytest.fixture
def file(dsn: str, tmp_path: Path) -> Path:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("INSERT INTO region VALUES ('330481003000', '海昌街道')")
    made = tmp_path / "whole.dump"
    assert backup.backup(dsn, made, lambda step: None) == made.stat().st_size
    return made


def test_a_database_that_is_not_empty_or_in_use_is_left_alone(dsn: str, file: Path) -> None:
    with pytest.raises(BackupError, match="not empty"):
        backup.restore(dsn, file, lambda step: None)
    with psycopg.connect(dsn, application_name="smartcare shards"), pytest.raises(BackupError, match="first: smartcare shards"):
        backup.restore(dsn, file, lambda step: None, replace=True)


def test_a_database_is_replaced_when_that_is_wanted(dsn: str, file: Path) -> None:
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("DELETE FROM region")
    backup.restore(dsn, file, lambda step: None, replace=True)
    with psycopg.connect(dsn) as conn:
        assert conn.execute("SELECT name FROM region").fetchall() == [("海昌街道",)]
        assert conn.execute("SELECT count(*) FROM shard WHERE owner = '' AND epoch > 1700000000").fetchall() == [(64,)]
    assert file.stat().st_mode & 0o077 == 0


def test_a_file_that_is_no_backup_changes_nothing_and_a_file_is_not_overwritten(dsn: str, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.write_text("nothing")
    with pytest.raises(BackupError, match="no backup"):
        backup.restore(dsn, other, lambda step: None, replace=True)
    with pytest.raises(BackupError, match="exists"):
        backup.backup(dsn, other, lambda step: None)
    with psycopg.connect(dsn) as conn:
        assert conn.execute("SELECT count(*) FROM shard").fetchall() == [(64,)]


def test_a_client_older_than_the_server_is_not_used(postgres_server: postgres.Server) -> None:
    del postgres_server
    with pytest.raises(BackupError, match="postgresql-client-99"):
        backup._program("pg_dump", 99)
