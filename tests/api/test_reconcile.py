"""What we say was delivered against what the receiver says it has: by list, by command, over REST, and on the page."""

import asyncio
import json
from pathlib import Path

import httpx
import pytest

from api import reconcile
from api.platform import create_platform
from gateway.clock import now_us
from tests.api.conftest import Running, Town
from tests.api.outbox import SECRET, Outbox, sending
from tests.api.serving import serving


@pytest.mark.parametrize(
    "text",
    [
        "a\nb\n",
        "webhook_id,at\na,1\nb,2\n",
        "at,webhook-id\n1,a\n2,b\n",
        '["a", "b"]',
        '[{"id": "a"}, {"webhook_id": "b", "id": 7}]',
        '{"items": [{"webhookId": "a"}, {"webhookId": "b"}]}',
        '{"webhook_id": "a"}\n{"webhook_id": "b", "verified": true}\n{"webhook_id": "c", "verified": false}\n',
        "\ufeffa\r\n\r\nb",
    ],
)
def test_a_receiver_s_list_is_read_in_whatever_form_it_comes(text: str) -> None:
    assert reconcile.read(text) == {"a", "b"}


async def test_the_ledger_of_a_receiver_is_compared_with_what_we_say(
    outbox: Outbox, tmp_path: Path, running: Running, admin: httpx.Client, east_staff: httpx.Client
) -> None:
    ledger = tmp_path / "ledger"
    with serving(create_platform(ledger, SECRET)) as port:
        endpoint = outbox.endpoint(port, "city")
        async with sending(outbox, port):
            rows = [outbox.put(outbox.alert(), endpoint) for _ in range(4)]
            for row in rows:
                await outbox.until(row, state="delivered")
    names = [outbox[row]["webhook_id"] for row in rows]
    lines = [line for line in ledger.read_text().splitlines() if json.loads(line)["webhook_id"] != names[0]]  # it lost one
    outbox.conn.execute("UPDATE outbox SET state = 'pending' WHERE id = %s", [rows[1]])  # its answer was lost
    theirs = reconcile.read("\n".join([*lines, json.dumps({"webhook_id": "forged"})]))
    body: dict[str, object] = {"webhook_ids": sorted(theirs)}
    answer = await asyncio.to_thread(lambda: admin.post("/api/v1/endpoints/city/reconcile", json=body))
    assert answer.json() == {
        "both": 2,
        "missing_there": [names[0]],
        "unconfirmed_here": [names[1]],
        "unknown_here": ["forged"],
    }
    body = body | {"from_us": now_us() + 1}
    later = (await asyncio.to_thread(lambda: admin.post("/api/v1/endpoints/city/reconcile", json=body))).json()
    assert (later["both"], later["missing_there"]) == (0, [])
    assert (await asyncio.to_thread(lambda: east_staff.post("/api/v1/endpoints/city/reconcile", json=body))).status_code == 403
    assert (await asyncio.to_thread(lambda: admin.post("/api/v1/endpoints/nobody/reconcile", json=body))).status_code == 404


def test_the_page_and_rest_show_how_each_endpoint_stands(
    outbox: Outbox, admin: httpx.Client, east_staff: httpx.Client, town: Town
) -> None:
    del town
    until_us = now_us() + 60_000_000
    endpoint = outbox.register("https://platform.example.cn/in?token=hidden-token", secret=f"{SECRET} {SECRET}", name="市平台")
    values = [endpoint, until_us]
    outbox.conn.execute("INSERT INTO subscription VALUES (DEFAULT, %s, 'service', 'day', '', NULL, 0, %s)", values)
    outbox.conn.execute("UPDATE endpoint SET failures = 6, open_until_us = %s, delivered_us = 1", [until_us])
    outbox.put(outbox.alert(), endpoint)
    (state,) = admin.get("/api/v1/endpoints").json()
    assert (state["name"], state["breaker"], state["waiting"], state["rotating"]) == ("市平台", "open", 1, True)
    assert (state["receiver"], state["subscriptions"][0]["what"]) == ("platform.example.cn", "service")
    page = admin.get("/endpoints")
    for words in ("市平台", "暂停（对方无应答）", "连续失败 6 次", "新旧密钥同时有效", "服务人次（每日）", "platform.example.cn"):
        assert words in page.text
    assert "hidden-token" not in page.text
    assert SECRET not in page.text
    admin.cookies.set("lang", "en")
    assert "paused (no answer)" in admin.get("/endpoints").text
    outbox.conn.execute("UPDATE endpoint SET open_until_us = 1")
    assert admin.get("/api/v1/endpoints").json()[0]["breaker"] == "half_open"
    assert "/endpoints" in admin.get("/more").text
    for path in ("/endpoints", "/api/v1/endpoints"):
        assert east_staff.get(path).status_code == 403
