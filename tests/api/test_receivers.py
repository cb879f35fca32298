"""Platforms and robots on real HTTP servers that check signatures as their vendors document and answer as they do."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api.robots import BURST, MERGE
from gateway.clock import MINUTE_US, now_us
from tests.api.outbox import SECRET, Outbox, receiver, sending
from tests.api.serving import serving

MAPPING = """
body: {no: "=data.alert_id", site: "=data.site.name", level: "=code('level', data.severity)"}
codes: {level: {urgent: A1}}
"""


class Platform:
    """Keeps what it was sent and answers from a list, the last answer again and again."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers = list(answers)
        self.came: list[tuple[Request, bytes]] = []

    async def take(self, request: Request) -> Response:
        self.came.append((request, await request.body()))
        return JSONResponse(self.answers.pop(0) if len(self.answers) > 1 else self.answers[0])

    @property
    def bodies(self) -> list[bytes]:
        return [body for _, body in self.came]


async def test_no_inside_http_200_is_tried_again_with_the_same_bytes_even_if_the_mapping_changes(outbox: Outbox) -> None:
    platform = Platform({"code": 500, "msg": "系统繁忙"}, {"code": 0})
    with serving(receiver(platform.take)) as port:
        url = f"http://127.0.0.1:{port}/in"
        endpoint = outbox.register(url, secret=SECRET, mapping=MAPPING, success="$.code == 0")
        async with sending(outbox, port):
            row = outbox.put(outbox.alert(), endpoint, severity="urgent")
            failed = await outbox.until(row, attempts=1)
            assert (failed["state"], failed["last_status"]) == ("pending", 200)
            assert "$.code == 0" in failed["last_error"]
            assert "系统繁忙" in failed["last_error"]
            outbox.register(url, secret=SECRET, mapping="body: {other: 1}", success="$.code == 0")
            outbox.pass_s(3)
            done = await outbox.until(row, state="delivered", attempts=2)
    first, second = platform.bodies
    assert first == second == done["mapped"]
    assert json.loads(first) == {"no": done["alert"], "site": "桃园", "level": "A1"}


async def test_what_cannot_be_mapped_says_why_and_goes_once_the_mapping_is_right(outbox: Outbox) -> None:
    platform = Platform({})
    with serving(receiver(platform.take)) as port:
        url = f"http://127.0.0.1:{port}/in"
        endpoint = outbox.register(url, secret=SECRET, mapping=MAPPING)
        async with sending(outbox, port):
            row = outbox.put(outbox.alert(), endpoint, severity="minor")
            failed = await outbox.until(row, attempts=1)
            assert (failed["state"], failed["last_status"], platform.came) == ("pending", None, [])
            assert "no code for 'minor'" in failed["last_error"]
            outbox.register(url, secret=SECRET, mapping=MAPPING.replace("urgent: A1", "'*': B2"))
            outbox.pass_s(3)
            await outbox.until(row, state="delivered")
    assert json.loads(platform.bodies[0])["level"] == "B2"


async def test_only_the_fields_on_the_allow_list_leave(outbox: Outbox) -> None:
    platform = Platform({})
    with serving(receiver(platform.take)) as port:
        endpoint = outbox.register(f"http://127.0.0.1:{port}/in", secret=SECRET, fields=("alert_id", "site.name"))
        async with sending(outbox, port):
            row = outbox.put(outbox.alert(), endpoint, note="不外传", reason_zh="不外传")
            done = await outbox.until(row, state="delivered")
    assert json.loads(platform.bodies[0])["data"] == {"alert_id": done["alert"], "site": {"name": "桃园"}}


async def test_zwdd_verifies_the_form_it_gets(outbox: Outbox) -> None:
    platform = Platform({"success": True})
    with serving(receiver(platform.take)) as port:
        url = f"http://127.0.0.1:{port}/message/workNotification?tenantId=7"
        config = {"secret": "zwdd-secret", "key_id": "care-app", "signer": "zwdd", "success": "$.success == true"}
        endpoint = outbox.register(url, mapping='body: {msg: "=data.site.name", no: "=data.alert_id"}', **config)
        async with sending(outbox, port):
            done = await outbox.until(outbox.put(outbox.alert(), endpoint), state="delivered")
    ((request, body),) = platform.came
    fields = dict(parse_qsl(body.decode()))
    assert fields == {"msg": "桃园", "no": str(done["alert"])}
    assert request.headers["content-type"] == "application/x-www-form-urlencoded"
    values = sorted((dict(request.query_params) | fields).items())
    head = [request.headers["x-hmac-auth-timestamp"], request.headers["x-hmac-auth-nonce"], request.url.path]
    text = "\n".join(["POST", *head, "&".join(f"{k}={v}" for k, v in values)])
    expected = base64.b64encode(hmac.new(b"zwdd-secret", text.encode(), hashlib.sha256).digest()).decode()
    assert request.headers["x-hmac-auth-signature"] == expected
    assert request.headers["apikey"] == "care-app"


async def test_the_md5_gateway_verifies_its_three_parameters(outbox: Outbox) -> None:
    platform = Platform({"code": "00"})
    with serving(receiver(platform.take)) as port:
        config = {"secret": "refreshed", "key_id": "app", "signer": "md5", "success": '$.code == "00"'}
        endpoint = outbox.register(f"http://127.0.0.1:{port}/dataSharing/x.htm", **config)
        async with sending(outbox, port):
            await outbox.until(outbox.put(outbox.alert(), endpoint), state="delivered")
    sent = platform.came[0][0].query_params
    assert sent["sign"] == hashlib.md5(f"apprefreshed{sent['requestTime']}".encode()).hexdigest()
    assert abs(int(sent["requestTime"]) - now_us() // 1000) < 60_000


def dingtalk(secret: str) -> Callable[[Request, bytes], str | None]:
    """钉钉's check: an error, or None."""

    def check(request: Request, body: bytes) -> str | None:
        stamp = request.query_params.get("timestamp", "")
        expected = base64.b64encode(hmac.new(secret.encode(), f"{stamp}\n{secret}".encode(), hashlib.sha256).digest()).decode()
        return None if request.query_params.get("sign") == expected else "sign not match"

    return check


def feishu(secret: str) -> Callable[[Request, bytes], str | None]:
    """飞书's check: an error, or None."""

    def check(request: Request, body: bytes) -> str | None:
        found = json.loads(body)
        key = f"{found.get('timestamp')}\n{secret}".encode()
        expected = base64.b64encode(hmac.new(key, b"", hashlib.sha256).digest()).decode()
        return None if found.get("sign") == expected else "sign match fail"

    return check


def robot(check: Callable[[Request, bytes], str | None], code: str, refusal: int, came: list[bytes]) -> Any:
    """A robot that refuses inside HTTP 200, as the real ones do."""

    async def take(request: Request) -> Response:
        body = await request.body()
        if error := check(request, body):
            return JSONResponse({code: refusal, "msg": error})
        came.append(body)
        return JSONResponse({code: 0, "msg": "ok"})

    return receiver(take)


@pytest.mark.parametrize(
    ("kind", "check", "code", "refusal"),
    [("dingtalk", dingtalk, "errcode", 310000), ("feishu", feishu, "code", 19021)],
)
async def test_a_signed_robot_takes_what_is_signed_with_its_secret_and_nothing_else(
    outbox: Outbox, kind: str, check: Callable[[str], Callable[[Request, bytes], str | None]], code: str, refusal: int
) -> None:
    came: list[bytes] = []
    with serving(robot(check("SEC+a/b=c"), code, refusal, came)) as port:
        url = f"http://127.0.0.1:{port}/send?access_token=t"
        right = outbox.register(url, kind=kind, secret="SEC+a/b=c", name="right")
        wrong = outbox.register(url, kind=kind, secret="SECother", name="wrong")
        async with sending(outbox, port, public_url="https://care.example.cn"):
            alert = outbox.alert()
            refused = outbox.put(alert, wrong)
            await outbox.until(outbox.put(alert, right), state="delivered")
            failed = await outbox.until(refused, attempts=1)
    assert (failed["state"], failed["last_status"]) == ("pending", 200)
    assert str(refusal) in failed["last_error"]
    assert len(came) == 1
    assert f"https://care.example.cn/alerts/{alert}" in came[0].decode()


async def test_a_burst_beyond_the_budget_becomes_messages_that_name_every_alert(outbox: Outbox) -> None:
    platform = Platform({"errcode": 0})
    with serving(receiver(platform.take)) as port:
        endpoint = outbox.register(f"http://127.0.0.1:{port}/send?key=k", kind="wecom")
        rows = [outbox.put(outbox.alert(), endpoint) for _ in range(BURST + MERGE + 5)]
        outbox.clock.freeze()  # no turn comes back
        async with sending(outbox, port, senders=2):
            for row in rows:
                await outbox.until(row, state="delivered", attempts=1)
    texts = [json.loads(body)["text"]["content"] for body in platform.bodies]
    assert sum(text.startswith(f"【汇总】{MERGE} 条") for text in texts) == 1
    assert len(texts) <= BURST
    for row in rows:
        alert = outbox[row]["alert"]
        assert sum(f"#{alert}" in text.split() for text in texts) == 1


async def test_within_the_budget_each_alert_is_a_message_and_beyond_it_they_wait_for_one(outbox: Outbox) -> None:
    platform = Platform({"errcode": 0})
    with serving(receiver(platform.take)) as port:
        endpoint = outbox.register(f"http://127.0.0.1:{port}/send?key=k", kind="wecom")
        outbox.clock.freeze()
        async with sending(outbox, port, senders=3):
            for _ in range(BURST):
                await outbox.until(outbox.put(outbox.alert(), endpoint), state="delivered")
            assert len(platform.came) == BURST
            late = [outbox.put(outbox.alert(), endpoint) for _ in range(3)]
            outbox.pass_s(5.9)
            await outbox.until(outbox.put(outbox.alert(), outbox.endpoint(port, "other")), state="delivered")  # they have looked
            assert [outbox[row]["state"] for row in late] == ["pending"] * 3
            outbox.pass_s(0.2)
            for row in late:
                await outbox.until(row, state="delivered", attempts=1)
    assert "【汇总】3 条" in json.loads(platform.bodies[-1])["text"]["content"]


async def test_a_robot_that_says_too_many_is_left_alone_for_ten_minutes_and_nothing_is_lost(outbox: Outbox) -> None:
    platform = Platform({"errcode": 130101, "errmsg": "send too fast"}, {"errcode": 0})
    with serving(receiver(platform.take)) as port:
        endpoint = outbox.register(f"http://127.0.0.1:{port}/send?access_token=t", kind="dingtalk")
        async with sending(outbox, port):
            first = outbox.put(outbox.alert(), endpoint)
            held = await outbox.until(first, attempts=1)
            assert (held["state"], "130101" in held["last_error"]) == ("pending", True)
            assert held["due_us"] - outbox.clock() > 9 * MINUTE_US
            second = outbox.put(outbox.alert(), endpoint)
            outbox.pass_s(590)
            await outbox.until(outbox.put(outbox.alert(), outbox.endpoint(port, "other")), state="delivered")
            assert outbox[second]["attempts"] == 0
            outbox.pass_s(15)
            await outbox.until(first, state="delivered", attempts=2)
            await outbox.until(second, state="delivered", attempts=1)
    assert len(platform.came) == 3  # refused, the other endpoint's, and one that names both
    assert "【汇总】2 条" in platform.bodies[-1].decode()
