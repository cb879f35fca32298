"""What is wrong with the system is seen by /healthz, by Prometheus, and only by those who may."""

import httpx
import psycopg
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.clock import HOUR_US, MINUTE_US, SECOND_US, now_us
from ingest.shards import Shards
from tests.api.conftest import Running, Town


@pytest.fixture
def used(town: Town) -> Town:
    """A gateway on the shard of the eastern site, analysed to its end."""
    town.county.conn.execute("INSERT INTO gateway (code, shard) VALUES ('gw-east', 1)")
    return town


def told(town: Town, owner: str, silent_us: int = 0, away_us: int | None = None) -> None:
    """Say what a worker would have said of itself."""
    town.county.conn.execute(
        "WITH c AS (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now_us) "
        "INSERT INTO worker SELECT %s, now_us - %s, now_us - %s FROM c "
        "ON CONFLICT (owner) DO UPDATE SET at_us = EXCLUDED.at_us, broker_lost_us = EXCLUDED.broker_lost_us",
        [owner, silent_us, away_us],
    )


def test_healthz_says_what_stands_still_and_is_well_again(running: Running, used: Town, dsn: str) -> None:
    conn = used.county.conn

    def asked() -> tuple[int, object]:
        with running.client() as probe:
            answer = probe.get("/healthz")
            assert "gw-east" not in answer.text
            return answer.status_code, {k: v for k, v in answer.json().items() if k != "status"}

    def shards(owned: int, analysed: int, broker: str) -> dict[str, object]:
        return {"database": "ok", "shards": {"used": 1, "owned": owned, "analysed": analysed}, "broker": broker}

    assert asked() == (503, shards(0, 0, "unknown"))
    with Shards(dsn, "w1") as mine:
        mine.take([1])
        told(used, "w1")
        assert asked() == (200, shards(1, 1, "ok"))
        told(used, "w1", away_us=30 * SECOND_US)
        assert asked() == (503, shards(1, 0, "away"))
        told(used, "w1", silent_us=30 * SECOND_US)
        assert asked() == (503, shards(0, 0, "unknown"))
        told(used, "w1")
        conn.execute("UPDATE shard SET failing_since_us = 1 WHERE id = 1")
        assert asked() == (503, shards(1, 0, "ok"))
        conn.execute("UPDATE shard SET failing_since_us = NULL, pos = %s WHERE id = 1", [61 * SECOND_US])
        assert asked() == (503, shards(1, 0, "ok"))
        conn.execute("UPDATE shard SET analysed = pos WHERE id = 1")
        assert asked() == (200, shards(1, 1, "ok"))
    assert asked()[0] == 503
    conn.execute("UPDATE gateway SET suspended = true")
    assert asked()[0] == 200, "a shard that nobody uses need not be owned"


def test_healthz_says_that_the_database_is_away(running: Running, town: Town, dsn: str) -> None:
    del town
    name = dsn.rsplit("/", 1)[1]
    with running.client() as probe, psycopg.connect(dsn.replace(f"/{name}", "/postgres"), autocommit=True) as conn:
        conn.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false".encode())
        conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
        away = probe.get("/healthz")
        conn.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true".encode())
    assert (away.status_code, away.json()["database"]) == (503, "away")


def scrape(client: httpx.Client) -> dict[tuple[str, ...], float]:
    """Return every sample by its name and label values."""
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (s.name.removeprefix("smartcare_"), *s.labels.values()): s.value
        for family in text_string_to_metric_families(answer.text)
        for s in family.samples
    }


def test_metrics_tell_shards_losses_quarantine_alerts_and_deliveries(running: Running, used: Town) -> None:
    town, conn, now = used, used.county.conn, now_us()
    alert = town.county.alert(town.east, rule="left_open")
    conn.execute("UPDATE shard SET pos = %s, analysed = %s WHERE id = 1", [now, now - 90 * SECOND_US])
    conn.execute("INSERT INTO loss (gateway, pos, stream, from_seq, to_seq, reason) SELECT id, 1, 1, 5, 9, 'x' FROM gateway")
    conn.execute(
        "INSERT INTO quarantine (at_us, topic, reason, detail, bytes) "
        "SELECT at_us, 't', 'bad_body', '', '' FROM unnest(%s::bigint[]) at_us",
        [[now, now - HOUR_US, now - 25 * HOUR_US]],
    )
    conn.execute("INSERT INTO liveness (shard, pos, gateway, alive, at_us) SELECT 1, 1, id, false, %s FROM gateway", [now])
    conn.execute(
        "INSERT INTO endpoint (name, url, secret, kind, signer, open_until_us) "
        "VALUES ('platform', 'http://127.0.0.1:9/', 'x', 'webhook', 'standard', %s)",
        [now + MINUTE_US],
    )
    conn.execute(
        "INSERT INTO outbox (alert, version, endpoint, webhook_id, body, due_us) SELECT %s, 1, id, 'w', '', %s FROM endpoint",
        [alert, now - MINUTE_US],
    )
    with running.client(token=town.county.token(town.admin, "metrics")) as prometheus:
        found = scrape(prometheus)
    assert found["shard_lag_seconds", "1"] == 90
    assert found["shard_owned", "1"] == 0
    assert found["shard_analysed_position_us", "1"] == pytest.approx(now - 90 * SECOND_US)
    assert (found["loss_ranges", "x"], found["loss_frames", "x"]) == (1, 5)
    assert found["quarantined_day", "bad_body"] == 2
    assert found["alerts", "left_open", "open"] == 1
    assert found["deliveries", "platform", "pending"] == 1
    assert [found["breaker", "platform", s] for s in ("closed", "open", "half_open")] == [0, 1, 0]
    assert found["delivery_overdue_seconds", "platform"] == pytest.approx(60, abs=30)
    assert found["gateways_lost",] == 1


def test_only_an_administrators_token_with_that_scope_reads_the_metrics(running: Running, town: Town) -> None:
    for token in (town.county.token(town.admin, "read", "act"), town.county.token(town.east_staff, "metrics")):
        with running.client(token=token) as other:
            assert other.get("/metrics").status_code == 403
    with running.client(token=town.county.token(town.admin, "metrics")) as prometheus:
        assert prometheus.get("/metrics").status_code == 200
        assert prometheus.get("/api/v1/sites").status_code == 403
