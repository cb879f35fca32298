"""Dead letters: looked at, sent again, and never behind a newer version."""

import asyncio
import re

import httpx
from starlette.requests import Request
from starlette.responses import Response

from tests.api.conftest import Running, Town
from tests.api.outbox import SECRET, Outbox, receiver, sending
from tests.api.serving import serving


def dead(outbox: Outbox, alert: int, endpoint: int, number: int = 1) -> int:
    row = outbox.put(alert, endpoint, number)
    outbox.conn.execute("UPDATE outbox SET state = 'dead', attempts = 81, last_status = 500, done_us = 1 WHERE id = %s", [row])
    return row


async def test_what_ended_with_410_is_sent_again_under_its_id_and_the_endpoint_is_on_again(
    outbox: Outbox, running: Running, admin: httpx.Client
) -> None:
    ids, answers = list[str](), [410, 200, 200]

    async def take(request: Request) -> Response:
        ids.append(request.headers["webhook-id"])
        return Response(status_code=answers.pop(0))

    with serving(receiver(take)) as port:
        endpoint = outbox.endpoint(port)
        async with sending(outbox, port):
            row = outbox.put(outbox.alert(), endpoint)
            await outbox.until(row, state="dead")
            (listed,) = (await asyncio.to_thread(admin.get, "/api/v1/dead-letters")).json()["items"]
            assert (listed["id"], listed["enabled"], listed["last_status"]) == (row, False, 410)
            answer = await asyncio.to_thread(admin.post, f"/api/v1/dead-letters/{row}/send-again")
            assert (answer.status_code, answer.json()) == (200, {"id": row, "state": "pending"})
            done = await outbox.until(row, state="delivered", attempts=1)
            await outbox.until(outbox.put(outbox.alert(), endpoint), state="delivered")
    assert ids[:2] == [done["webhook_id"]] * 2
    assert (await asyncio.to_thread(admin.get, "/api/v1/dead-letters")).json()["items"] == []


async def test_a_mapping_put_right_is_used_when_a_dead_letter_is_sent_again(
    outbox: Outbox, running: Running, admin: httpx.Client
) -> None:
    bodies: list[bytes] = []

    async def take(request: Request) -> Response:
        bodies.append(await request.body())
        return Response(status_code=200 if b"right" in bodies[-1] else 400)

    with serving(receiver(take)) as port:
        url = f"http://127.0.0.1:{port}/"
        endpoint = outbox.register(url, secret=SECRET, mapping="body: {wrong: '=data.alert_id'}")
        async with sending(outbox, port):
            row = outbox.put(outbox.alert(), endpoint)
            await outbox.until(row, attempts=1)
            outbox.conn.execute("UPDATE outbox SET state = 'dead' WHERE id = %s", [row])
            outbox.register(url, secret=SECRET, mapping="body: {right: '=data.alert_id'}")
            (await asyncio.to_thread(admin.post, f"/api/v1/dead-letters/{row}/send-again"))
            await outbox.until(row, state="delivered")
    assert b"right" in bodies[-1]


def test_the_button_on_the_page_sends_again(outbox: Outbox, admin: httpx.Client) -> None:
    endpoint = outbox.register("http://127.0.0.1:9/in", secret=SECRET, name="市平台")
    row = dead(outbox, outbox.alert(), endpoint)
    outbox.conn.execute("UPDATE endpoint SET enabled = false")
    page = admin.get("/endpoints").text
    assert "市平台 已要求停止推送" in page
    action = re.search(r'action="(/endpoints/dead-letters/\d+/send-again)"', page)
    assert action
    answer = admin.post(action[1], data={"x": ""})
    assert (answer.status_code, answer.headers["location"]) == (303, "/endpoints")
    assert (outbox[row]["state"], outbox[row]["attempts"]) == ("pending", 0)
    assert outbox.one("SELECT enabled FROM endpoint WHERE id = %s", endpoint) == {"enabled": True}
    assert "send-again" not in admin.get("/endpoints").text


def test_an_old_version_is_not_sent_behind_a_newer_one(outbox: Outbox, admin: httpx.Client) -> None:
    endpoint = outbox.register("http://127.0.0.1:9/in", secret=SECRET)
    alert = outbox.alert()
    old, new = dead(outbox, alert, endpoint, 1), outbox.put(alert, endpoint, 2)
    other = outbox.register("http://127.0.0.1:9/in", secret=SECRET, name="other")
    elsewhere = dead(outbox, alert, other, 1)
    outbox.conn.execute("UPDATE outbox SET state = 'delivered' WHERE id = %s", [new])
    assert admin.post(f"/api/v1/dead-letters/{old}/send-again").json()["state"] == "superseded"
    assert outbox[old]["state"] == "superseded"
    assert admin.post(f"/api/v1/dead-letters/{elsewhere}/send-again").json()["state"] == "pending"


def test_only_dead_letters_are_sent_again_and_only_by_an_administrator(
    outbox: Outbox, running: Running, admin: httpx.Client, east_staff: httpx.Client, town: Town
) -> None:
    endpoint = outbox.register("http://127.0.0.1:9/in", secret=SECRET)
    waiting, row = outbox.put(outbox.alert(), endpoint), dead(outbox, outbox.alert(), endpoint)
    assert admin.post(f"/api/v1/dead-letters/{waiting}/send-again").status_code == 404
    assert east_staff.post(f"/api/v1/dead-letters/{row}/send-again").status_code == 404
    assert east_staff.get("/api/v1/dead-letters").json()["items"] == []
    with running.client(token=town.county.token(town.admin, "read")) as looking:
        assert looking.post(f"/api/v1/dead-letters/{row}/send-again").status_code == 403
        assert [d["id"] for d in looking.get("/api/v1/dead-letters").json()["items"]] == [row]
    assert outbox[row]["state"] == "dead"
