"""What the environment means."""

from pathlib import Path

import psycopg
import pytest

from smartcare import settings


def test_both_ends_of_a_database_connection_notice_a_silent_end(dsn: str) -> None:
    with psycopg.connect(settings.impatient(dsn)) as conn:
        shown = [conn.execute(f"SHOW {name}".encode()).fetchone() for name in ("tcp_keepalives_idle", "tcp_user_timeout")]
        assert shown == [("10",), ("25000",)]
        assert dict(conn.info.get_parameters())["keepalives_idle"] == "10"
        assert conn.info.dbname == conn.execute("SELECT current_database()").fetchall()[0][0]


def test_what_the_address_says_itself_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://a:b%40c@h:5/d?keepalives_idle=77&options=-cgeqo%3Doff")
    monkeypatch.setenv("SMARTCARE_STATE", str(tmp_path))
    found = psycopg.conninfo.conninfo_to_dict(settings.load().database_url)
    assert (found["password"], found["keepalives_idle"], found["options"]) == ("b@c", "77", "-cgeqo=off")
    monkeypatch.delenv("DATABASE_URL")
    assert settings.load().database_url == ""
