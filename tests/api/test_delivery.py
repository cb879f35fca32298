"""Outbox rows reach real receivers: once where nothing breaks, again under the same id where something does, in order."""

import asyncio
import hashlib
import json
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api import delivery
from api.delivery import register_endpoint
from api.errors import ApiError
from api.platform import create_platform
from api.signing import Verdict, verify
from gateway.clock import SECOND_US, now_us
from tests.api.outbox import SECRET, Outbox, eventually, receiver, sending
from tests.api.serving import serving


def ledger(folder: Path) -> list[dict[str, Any]]:
    path = folder / "ledger"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


async def test_a_row_is_delivered_as_it_is_stored(outbox: Outbox) -> None:
    came: list[tuple[str, dict[str, str], bytes]] = []

    async def take(request: Request) -> Response:
        came.append((request.method, dict(request.headers), await request.body()))
        return Response(status_code=204)

    with serving(receiver(take)) as port:
        async with sending(outbox, port):
            row = outbox.put(outbox.alert(), outbox.endpoint(port))
            done = await outbox.until(row, state="delivered")
    ((method, headers, body),) = came
    assert (method, body) == ("POST", bytes(done["body"]))
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"].startswith("smartcare/")
    at = headers["webhook-timestamp"]
    signature = headers["webhook-signature"]
    assert verify(SECRET, headers["webhook-id"], at, signature, body, now_us() // SECOND_US) is Verdict.VERIFIED
    assert headers["webhook-id"] == done["webhook_id"]
    assert (done["attempts"], done["last_status"], done["last_error"]) == (1, 204, "")
    assert abs(done["done_us"] - now_us()) < 15 * SECOND_US


async def test_a_failure_is_repeated_two_seconds_later_under_the_same_id(outbox: Outbox, tmp_path: Path) -> None:
    with serving(create_platform(tmp_path / "ledger", SECRET, [500])) as port:
        async with sending(outbox, port):
            row = outbox.put(outbox.alert(), outbox.endpoint(port))
            failed = await outbox.until(row, attempts=1)
            assert (failed["state"], failed["last_status"], failed["done_us"]) == ("pending", 500, None)
            assert "HTTP 500" in failed["last_error"]
            assert 0 < failed["due_us"] - outbox.clock() <= 2_400_000
            outbox.pass_s(3)
            done = await outbox.until(row, state="delivered")
    first, second = ledger(tmp_path)
    assert first["webhook_id"] == second["webhook_id"] == done["webhook_id"]
    assert first["sha256"] == second["sha256"] == hashlib.sha256(done["body"]).hexdigest()
    assert (first["verified"], second["verified"]) == (True, True)
    assert (done["attempts"], done["last_status"], done["last_error"]) == (2, 200, "")


async def test_retry_after_is_obeyed(outbox: Outbox, tmp_path: Path) -> None:
    with serving(create_platform(tmp_path / "ledger", SECRET, [429])) as port:  # asks for 7 s
        async with sending(outbox, port):
            endpoint = outbox.endpoint(port)
            row = outbox.put(outbox.alert(), endpoint)
            await outbox.until(row, attempts=1, last_status=429)
            outbox.pass_s(5)
            await outbox.until(outbox.put(outbox.alert(), endpoint), state="delivered")  # the sender has looked again
            assert outbox[row]["attempts"] == 1
            outbox.pass_s(3)
            await outbox.until(row, state="delivered", attempts=2)


async def test_gone_is_a_dead_letter_and_the_endpoint_gets_nothing_more(outbox: Outbox, tmp_path: Path) -> None:
    with serving(create_platform(tmp_path / "ledger", SECRET, [410])) as port:
        async with sending(outbox, port):
            gone, other = outbox.endpoint(port, "gone"), outbox.endpoint(port, "other")
            row = outbox.put(outbox.alert(), gone)
            dead = await outbox.until(row, state="dead")
            assert (dead["last_status"], dead["done_us"] is None) == (410, False)
            waiting = outbox.put(outbox.alert(), gone)
            await outbox.until(outbox.put(outbox.alert(), other), state="delivered")
    assert outbox[waiting]["attempts"] == 0
    assert [e["answered"] for e in ledger(tmp_path)] == [410, 200]
    assert outbox.one("SELECT enabled FROM endpoint WHERE id = %s", gone) == {"enabled": False}
    assert outbox.one("SELECT enabled FROM endpoint WHERE id = %s", other) == {"enabled": True}


async def test_a_redirect_is_a_failure_and_not_followed(outbox: Outbox) -> None:
    asked: list[str] = []

    async def elsewhere(request: Request) -> Response:
        asked.append(request.url.path)
        return Response(status_code=301, headers={"location": "/elsewhere"})

    with serving(receiver(elsewhere)) as port:
        async with sending(outbox, port):
            row = outbox.put(outbox.alert(), outbox.endpoint(port))
            await outbox.until(row, state="pending", attempts=1, last_status=301)
    assert asked == ["/alerts"]


async def test_a_receiver_that_does_not_answer_in_time_is_tried_again(outbox: Outbox) -> None:
    over = threading.Event()

    async def hang(_: Request) -> Response:
        await asyncio.to_thread(over.wait, 20)
        return Response()

    with serving(receiver(hang)) as port:
        async with sending(outbox, port, timeout_s=0.3):
            row = outbox.put(outbox.alert(), outbox.endpoint(port))
            late = await outbox.until(row, state="pending", attempts=1, last_status=None)
            over.set()
    assert "0.3 秒内无应答" in late["last_error"]


async def test_a_refused_connection_is_tried_again(outbox: Outbox) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        async with sending(outbox, port):
            row = outbox.put(outbox.alert(), outbox.endpoint(port))
            refused = await outbox.until(row, state="pending", attempts=1)
    assert "连接失败" in refused["last_error"]


async def test_with_an_empty_allow_list_nothing_leaves_and_the_row_says_why(outbox: Outbox, tmp_path: Path) -> None:
    with serving(create_platform(tmp_path / "ledger", SECRET)) as port:
        row = outbox.put(outbox.alert(), outbox.endpoint(port))
        async with sending(outbox):
            held = await eventually(lambda: outbox[row] if outbox[row]["last_error"] else None)
        assert ledger(tmp_path) == []
        assert (held["state"], held["attempts"], held["last_status"]) == ("pending", 0, None)
        assert "允许名单为空" in held["last_error"]
        assert 0 < held["due_us"] - outbox.clock() <= 60 * SECOND_US
        async with sending(outbox, port):
            outbox.pass_s(61)
            await outbox.until(row, state="delivered", attempts=1)


async def test_versions_of_an_alert_arrive_in_order_even_past_failures(outbox: Outbox, tmp_path: Path) -> None:
    with serving(create_platform(tmp_path / "ledger", SECRET, [503, 200])) as port:
        endpoint, alert = outbox.endpoint(port), outbox.alert()
        second, first = outbox.put(alert, endpoint, 2), outbox.put(alert, endpoint, 1)
        async with sending(outbox, port):
            await outbox.until(first, attempts=1)
            await outbox.until(outbox.put(outbox.alert(), endpoint), state="delivered")  # another alert does not wait
            assert outbox[second]["attempts"] == 0
            outbox.pass_s(3)
            await outbox.until(second, state="delivered")
    assert [e["version"] for e in ledger(tmp_path) if e["alert_id"] == alert] == [1, 1, 2]


async def test_a_superseded_version_is_not_sent(outbox: Outbox, tmp_path: Path) -> None:
    with serving(create_platform(tmp_path / "ledger", SECRET)) as port:
        endpoint, alert = outbox.endpoint(port), outbox.alert()
        old, new = outbox.put(alert, endpoint, 1), outbox.put(alert, endpoint, 2)
        outbox.conn.execute("UPDATE outbox SET state = 'superseded' WHERE id = %s", [old])
        async with sending(outbox, port):
            await outbox.until(new, state="delivered")
    assert [e["version"] for e in ledger(tmp_path)] == [2]
    assert outbox[old]["state"] == "superseded"


@pytest.mark.parametrize(("status", "state"), [(500, "superseded"), (200, "delivered")])
async def test_the_next_version_waits_for_one_superseded_on_its_way(outbox: Outbox, status: int, state: str) -> None:
    under_way, go, came = threading.Event(), threading.Event(), list[int]()

    async def take(request: Request) -> Response:
        number = json.loads(await request.body())["data"]["version"]
        came.append(number)
        if number == 1:
            under_way.set()
            await asyncio.to_thread(go.wait, 20)
            return Response(status_code=status)
        return Response()

    with serving(receiver(take)) as port:
        async with sending(outbox, port, senders=2):
            endpoint, alert = outbox.endpoint(port), outbox.alert()
            old = outbox.put(alert, endpoint, 1)
            await asyncio.to_thread(under_way.wait, 15)
            outbox.conn.execute("UPDATE outbox SET state = 'superseded' WHERE id = %s", [old])
            new = outbox.put(alert, endpoint, 2)
            await outbox.until(outbox.put(outbox.alert(), endpoint, 9), state="delivered")  # the senders have looked
            assert came == [1, 9]
            go.set()
            await outbox.until(new, state="delivered")
    assert came == [1, 9, 2]
    assert outbox[old]["state"] == state


async def test_senders_side_by_side_send_each_row_once_and_one_of_an_alert_at_a_time(outbox: Outbox) -> None:
    lock, on_the_way, together, came = threading.Lock(), Counter[int](), list[int](), dict[int, list[int]]()

    async def take(request: Request) -> Response:
        data = json.loads(await request.body())["data"]
        with lock:
            on_the_way[data["alert_id"]] += 1
            if on_the_way[data["alert_id"]] > 1:
                together.append(data["alert_id"])
            came.setdefault(data["alert_id"], []).append(data["version"])
        await asyncio.sleep(0.005)  # so that calls overlap
        with lock:
            on_the_way[data["alert_id"]] -= 1
        return JSONResponse({})

    with serving(receiver(take)) as port:
        endpoint = outbox.endpoint(port)
        alerts = [outbox.alert() for _ in range(40)]
        rows = [outbox.put(alert, endpoint, number) for number in (1, 2, 3) for alert in alerts]
        async with sending(outbox, port, senders=3, per_endpoint=8):
            for row in rows:
                await outbox.until(row, state="delivered", attempts=1)
    assert together == []
    assert came == {alert: [1, 2, 3] for alert in alerts}


async def test_an_endpoint_that_hangs_does_not_hold_up_another(outbox: Outbox, tmp_path: Path) -> None:
    over, hanging = threading.Event(), threading.Semaphore(0)

    async def hang(_: Request) -> Response:
        hanging.release()
        await asyncio.to_thread(over.wait, 20)
        return Response()

    with (
        serving(receiver(hang)) as slow_port,
        serving(create_platform(tmp_path / "ledger", SECRET)) as port,
    ):
        slow, quick = outbox.endpoint(slow_port, "slow"), outbox.endpoint(port, "quick")
        for _ in range(10):
            outbox.put(outbox.alert(), slow)
        async with sending(outbox, slow_port, port, timeout_s=30):
            for _ in range(4):
                assert await asyncio.to_thread(hanging.acquire, timeout=15)
            await outbox.until(outbox.put(outbox.alert(), quick), state="delivered")
            assert not hanging.acquire(blocking=False)
            over.set()


def sender_process(outbox: Outbox, port: int) -> subprocess.Popen[bytes]:
    script = (
        "import asyncio, sys; from api.delivery import *; asyncio.run(run(sys.argv[1], DeliverySettings(allow=[sys.argv[2]])))"
    )
    return subprocess.Popen([sys.executable, "-c", script, outbox.dsn, f"127.0.0.1:{port}"])


async def test_killed_between_the_answer_and_the_commit_it_sends_again_under_the_same_id(outbox: Outbox, tmp_path: Path) -> None:
    platform = create_platform(tmp_path / "ledger", SECRET)
    sender: list[subprocess.Popen[bytes]] = []
    answered = threading.Event()

    async def freezing(scope: Any, receive: Any, send: Any) -> None:
        async def answer(message: Any) -> None:
            if message["type"] == "http.response.start" and not answered.is_set():
                sender[0].send_signal(signal.SIGSTOP)  # it can no longer commit, whatever it is answered
            await send(message)
            if message["type"] == "http.response.body":
                answered.set()

        await platform(scope, receive, answer)

    with serving(freezing) as port:
        row = outbox.put(outbox.alert(), outbox.endpoint(port))
        sender.append(sender_process(outbox, port))
        try:
            assert await asyncio.to_thread(answered.wait, 20)
        finally:
            sender[0].kill()
            sender[0].wait()
        left = outbox[row]
        assert (left["state"], left["attempts"]) == ("pending", 0)
        assert left["leased_until_us"] > now_us()
        async with sending(outbox, port):
            await outbox.until(outbox.put(outbox.alert(), left["endpoint"]), state="delivered")
            assert outbox[row]["state"] == "pending", "the lease of the dead sender has been broken"
            outbox.pass_s(31)
            await outbox.until(row, state="delivered")
    first, _, again = ledger(tmp_path)
    assert first["webhook_id"] == again["webhook_id"] == left["webhook_id"]
    assert first["sha256"] == again["sha256"]
    assert (first["answered"], again["answered"]) == (200, 200)


async def test_who_has_lost_the_lease_stores_nothing(outbox: Outbox, caplog: pytest.LogCaptureFixture) -> None:
    under_way, go = threading.Event(), threading.Event()

    async def take(_: Request) -> Response:
        under_way.set()
        await asyncio.to_thread(go.wait, 20)
        return Response()

    with serving(receiver(take)) as port:
        async with sending(outbox, port):
            row = outbox.put(outbox.alert(), outbox.endpoint(port))
            await asyncio.to_thread(under_way.wait, 15)
            theirs = outbox.clock() + 60 * SECOND_US
            outbox.conn.execute("UPDATE outbox SET leased_until_us = %s WHERE id = %s", [theirs, row])
            go.set()
            await eventually(lambda: outbox[row] if "lease" in caplog.text else None)
    assert outbox[row] | {"state": "pending", "attempts": 0, "leased_until_us": theirs} == outbox[row]


async def test_a_row_that_cannot_be_signed_hurts_no_other(outbox: Outbox, tmp_path: Path) -> None:
    with serving(create_platform(tmp_path / "ledger", SECRET)) as port:
        good, bad = outbox.endpoint(port, "good"), outbox.endpoint(port, "bad")
        outbox.conn.execute("UPDATE endpoint SET secret = 'whsec_x' WHERE id = %s", [bad])
        broken = outbox.put(outbox.alert(), bad)
        async with sending(outbox, port):
            await outbox.until(outbox.put(outbox.alert(), good), state="delivered")
            failed = await outbox.until(broken, state="pending", attempts=1)
    assert "BadSecret" in failed["last_error"]
    assert "whsec_x" not in failed["last_error"]


async def test_deliveries_go_on_after_the_database_was_away(outbox: Outbox, tmp_path: Path) -> None:
    theirs = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    away = f"SELECT count(pg_terminate_backend(pid)) AS n {theirs}"
    with serving(create_platform(tmp_path / "ledger", SECRET)) as port:
        endpoint = outbox.endpoint(port)
        async with sending(outbox, port):
            await outbox.until(outbox.put(outbox.alert(), endpoint), state="delivered")
            assert outbox.one(away)["n"] == 2
            await outbox.until(outbox.put(outbox.alert(), endpoint), state="delivered")


async def test_a_notification_wakes_the_sender_at_once(outbox: Outbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "POLL_S", 3600)
    with serving(create_platform(tmp_path / "ledger", SECRET)) as port:
        async with sending(outbox, port):
            heard = "datname = current_database() AND query = 'LISTEN smartcare' AND state = 'idle'"
            query = f"SELECT count(*) AS n FROM pg_stat_activity WHERE {heard}"
            await eventually(lambda: outbox.one(query) if outbox.one(query)["n"] else None)
            await outbox.until(outbox.put(outbox.alert(), outbox.endpoint(port)), state="delivered")


async def test_without_a_notification_the_sender_looks_every_second(outbox: Outbox, tmp_path: Path) -> None:
    with serving(create_platform(tmp_path / "ledger", SECRET, [500])) as port:
        async with sending(outbox, port):
            row = outbox.put(outbox.alert(), outbox.endpoint(port))
            await outbox.until(row, attempts=1)
            outbox.clock.ahead_us += 3 * SECOND_US  # nobody is told
            await outbox.until(row, state="delivered")


def test_registering_again_changes_nothing_and_a_new_address_counts(outbox: Outbox) -> None:
    first = outbox.endpoint(4001)
    assert outbox.endpoint(4001) == first
    outbox.conn.execute("UPDATE endpoint SET enabled = false")
    outbox.endpoint(4001)
    assert outbox.one("SELECT enabled FROM endpoint")["enabled"] is False, "it has asked for no more"
    assert outbox.endpoint(4002) == first
    assert outbox.one("SELECT url, enabled FROM endpoint") == {"url": "http://127.0.0.1:4002/alerts", "enabled": True}


@pytest.mark.parametrize(("url", "secret"), [("ftp://platform/", SECRET), ("http://platform/", "secret")], ids=["url", "secret"])
def test_an_endpoint_that_could_never_be_called_is_not_registered(outbox: Outbox, url: str, secret: str) -> None:
    with psycopg.connect(outbox.dsn) as conn, pytest.raises(ApiError):
        register_endpoint(conn, name="x", url=url, secret=secret)
    assert outbox.one("SELECT count(*) AS n FROM endpoint")["n"] == 0
