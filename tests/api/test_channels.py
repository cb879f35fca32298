"""SMS, tokens, rotation, breaker and fall-over, each against a real server that checks what it is sent."""

import asyncio
import hashlib
import json
from typing import Any
from urllib.parse import parse_qsl

import psycopg
import pytest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api import breaker, disclosures, endpoints, upkeep
from api.endpoints import Endpoint, check
from api.errors import ApiError
from api.signers import Signer, zwdd_signature
from api.signing import Verdict, generate_secret, verify
from gateway.clock import MINUTE_US, SECOND_US
from tests.api.outbox import SECRET, Outbox, eventually, receiver, sending
from tests.api.serving import serving
from tests.api.test_mail import Mailbox, mail_server, mailing

TEMPLATE = """
form: true
body:
  mobile: "=join(',', to)"
  content: "=text"
  tpl: 7
"""


async def test_sms_is_a_form_of_the_gateway_s_own_making_with_text_and_numbers(outbox: Outbox) -> None:
    came: list[tuple[str, dict[str, str]]] = []

    async def take(request: Request) -> Response:
        came.append((request.headers["authorization"], dict(parse_qsl((await request.body()).decode()))))
        return JSONResponse({"code": 0})

    with serving(receiver(take)) as port:
        url = f"http://127.0.0.1:{port}/sms"
        config: dict[str, Any] = {"kind": "sms", "signer": Signer.BEARER, "secret": "sms-secret", "success": "$.code == 0"}
        endpoint = outbox.register(url, mapping=TEMPLATE, recipients=("13800000001", "13800000002"), **config)
        async with sending(outbox, port):
            row = outbox.put(outbox.alert(), endpoint, rule_zh="未关门", severity="urgent")
            await outbox.until(row, state="delivered")
    ((authorization, form),) = came
    assert authorization == "Bearer sms-secret"
    assert (form["mobile"], form["tpl"]) == ("13800000001,13800000002", "7")
    assert form["content"].startswith("【紧急】未关门 · 桃园")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "sms"}, "needs a mapping"),
        ({"kind": "email", "url": "https://mail.example.cn"}, "mail server"),
        ({"kind": "email", "url": "smtp://u:p@mail.example.cn"}, "mail server"),
        ({"kind": "email", "url": "smtp://mail.example.cn", "sender": "care"}, "sender and recipients"),
        ({"kind": "email", "url": "smtp://m.example.cn", "sender": "a@b", "recipients": ("x@y\r\nBcc: z@w",)}, "recipients"),
        ({"signer": Signer.NONE}, "signer"),
        ({"token_url": "https://x.example.cn"}, "token"),
        ({"codes": "level: {a: 1}"}, "tables of codes"),
    ],
)
def test_a_channel_that_could_never_work_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ApiError, match=message):
        check(Endpoint(**({"name": "x", "url": "https://x.example.cn/", "secret": SECRET} | config)))


class Flapping:
    """A platform that is down until it is up; counts what reached it."""

    def __init__(self) -> None:
        self.up, self.calls, self.taken = False, 0, list[int]()

    async def take(self, request: Request) -> Response:
        self.calls += 1
        if not self.up:
            return Response(status_code=503)
        self.taken.append(json.loads(await request.body())["data"]["alert_id"])
        return Response()


async def test_the_breaker_leaves_a_receiver_that_is_down_alone_probes_it_and_loses_nothing(outbox: Outbox) -> None:
    platform = Flapping()
    with serving(receiver(platform.take)) as port:
        endpoint = outbox.endpoint(port)
        outbox.clock.freeze()
        rows = [outbox.put(outbox.alert(), endpoint) for _ in range(12)]
        async with sending(outbox, port, senders=2, per_endpoint=1):
            opened = await eventually(lambda: _like(outbox, "failures >= 5 AND open_until_us > 0"))
            assert opened["open_until_us"] - outbox.clock() == breaker.FIRST_US
            await eventually(lambda: None if _on_their_way(outbox) else {"settled": True})  # the other sender may have been
            calls = platform.calls
            assert calls in (5, 6)
            outbox.pass_s(29)
            await outbox.until(outbox.put(outbox.alert(), outbox.endpoint(1, "elsewhere")), attempts=0)
            await asyncio.sleep(0.3)
            assert platform.calls == calls
            outbox.pass_s(1)  # half-open: one probe, and it fails
            again = await eventually(lambda: _like(outbox, "failures = 6 AND open_until_us > 0"))
            assert again["open_until_us"] - outbox.clock() == 2 * breaker.FIRST_US
            assert platform.calls == calls + 1
            platform.up = True
            outbox.pass_s(60)
            await eventually(lambda: _like(outbox, "failures = 0 AND open_until_us = 0"))
            outbox.pass_s(60)  # those that had failed are due again
            for row in rows:
                await outbox.until(row, state="delivered")
    assert set(platform.taken) == {outbox[row]["alert"] for row in rows}  # the clock jumps over leases: twice is no mistake
    assert max(outbox[row]["attempts"] for row in rows) <= 3


def _on_their_way(outbox: Outbox) -> int:
    query = "SELECT count(*) AS n FROM outbox WHERE state = 'pending' AND leased_until_us > %s"
    row = outbox.conn.execute(query, [outbox.clock()]).fetchone()
    assert row is not None
    return int(row["n"])


def _like(outbox: Outbox, condition: str) -> dict[str, Any] | None:
    return outbox.conn.execute(f"SELECT * FROM endpoint WHERE name = 'platform' AND {condition}".encode()).fetchone()


async def test_a_receiver_that_refuses_one_row_is_not_down(outbox: Outbox) -> None:
    async def picky(_: Request) -> Response:
        return Response(status_code=422)

    with serving(receiver(picky)) as port:
        endpoint = outbox.endpoint(port)
        async with sending(outbox, port):
            for row in [outbox.put(outbox.alert(), endpoint) for _ in range(7)]:
                await outbox.until(row, attempts=1)
    assert _like(outbox, "failures = 0 AND open_until_us = 0")


async def test_what_a_channel_cannot_deliver_goes_to_its_fallback_once(outbox: Outbox) -> None:
    down, box = Flapping(), Mailbox()
    with serving(receiver(down.take)) as port:
        async with mail_server(box) as mail_port:
            backup = mailing(outbox, mail_port, alerts=False)
            main = outbox.register(f"http://127.0.0.1:{port}/", secret=SECRET, name="platform", fallback=backup)
            async with sending(outbox, port, mail_port):
                row = outbox.put(outbox.alert(), main)
                await outbox.until(row, attempts=1)
                outbox.pass_s(3)
                await outbox.until(row, attempts=2)
                outbox.pass_s(7)
                await outbox.until(row, state="passed_on", attempts=3)
                taken = await eventually(lambda: _row(outbox, backup, "delivered"))
                for _ in range(2):  # until the breaker opens: then at once
                    await eventually(lambda: outbox[outbox.put(outbox.alert(), main)])
                    outbox.pass_s(11)
                await eventually(lambda: _like(outbox, "open_until_us > 0"))
                last = outbox.put(outbox.alert(), main)
                await outbox.until(last, state="passed_on", attempts=0)
                await eventually(lambda: {"n": 1} if len(box.came) == 4 else None)
    assert taken["webhook_id"] == f"{outbox[row]['webhook_id']}_{backup}"
    assert down.taken == []


def _row(outbox: Outbox, endpoint: int, state: str) -> dict[str, Any] | None:
    return outbox.conn.execute("SELECT * FROM outbox WHERE endpoint = %s AND state = %s", [endpoint, state]).fetchone()


async def test_gone_with_a_fallback_is_passed_on_and_a_circle_of_fallbacks_is_refused(outbox: Outbox) -> None:
    async def gone(_: Request) -> Response:
        return Response(status_code=410)

    box = Mailbox()
    with serving(receiver(gone)) as port:
        async with mail_server(box) as mail_port:
            backup = mailing(outbox, mail_port, alerts=False)
            main = outbox.register(f"http://127.0.0.1:{port}/", secret=SECRET, name="platform", fallback=backup)
            async with sending(outbox, port, mail_port):
                await outbox.until(outbox.put(outbox.alert(), main), state="passed_on")
                await eventually(lambda: _row(outbox, backup, "delivered"))
            with pytest.raises(ApiError, match="its own fallback"):
                mailing(outbox, mail_port, fallback=main)
    assert _like(outbox, "NOT enabled")


async def test_during_a_rotation_either_secret_verifies_and_afterwards_only_the_new_one(outbox: Outbox) -> None:
    came: list[tuple[dict[str, str], bytes]] = []

    async def take(request: Request) -> Response:
        came.append((dict(request.headers), await request.body()))
        return Response()

    def verdicts(secret: str) -> list[Verdict]:
        return [
            verify(secret, h["webhook-id"], h["webhook-timestamp"], h["webhook-signature"], b, int(h["webhook-timestamp"]))
            for h, b in came
        ]

    new = generate_secret()
    with serving(receiver(take)) as port, psycopg.connect(outbox.dsn, autocommit=True) as conn:
        endpoint = outbox.endpoint(port)
        async with sending(outbox, port):
            for step in (
                lambda: None,
                lambda: endpoints.rotate(conn, "platform", new),
                lambda: endpoints.rotate(conn, "platform", ""),
            ):
                step()
                await outbox.until(outbox.put(outbox.alert(), endpoint), state="delivered")
        with pytest.raises(ApiError, match="not being rotated"):
            endpoints.rotate(conn, "platform", "")
    good, bad = Verdict.VERIFIED, Verdict.MISMATCH
    assert (verdicts(SECRET), verdicts(new)) == ([good, good, bad], [bad, good, good])


async def test_a_signer_with_room_for_one_tries_the_old_secret_two_seconds_after_the_new_one(outbox: Outbox) -> None:
    async def gateway(request: Request) -> Response:
        q = request.query_params
        sign = hashlib.md5(f"app{'old'}{q['requestTime']}".encode()).hexdigest()
        return JSONResponse({"code": "00" if q["sign"] == sign else "401"})

    with serving(receiver(gateway)) as port:
        config: dict[str, Any] = {"signer": Signer.MD5, "key_id": "app", "success": '$.code == "00"'}
        endpoint = outbox.register(f"http://127.0.0.1:{port}/x", secret="new old", **config)
        async with sending(outbox, port):
            row = outbox.put(outbox.alert(), endpoint)
            await outbox.until(row, attempts=1)
            outbox.pass_s(3)
            await outbox.until(row, state="delivered", attempts=2)


class Irs:
    """The md5 gateway: hands out request secrets, takes only the present one, and can be told to forget everything."""

    def __init__(self) -> None:
        self.refresh, self.request, self.asked, self.taken = "", "", list[str](), 0

    async def take(self, request: Request) -> Response:
        q, name = request.query_params, request.url.path.rpartition("/")[2]

        def signed_by(secret: str) -> bool:
            return bool(secret) and q["sign"] == hashlib.md5(f"app{secret}{q['requestTime']}".encode()).hexdigest()

        if name in ("refreshTokenByKey.htm", "refreshTokenBySec.htm"):
            self.asked.append(name)
            if not signed_by("app-secret" if name == "refreshTokenByKey.htm" else self.refresh):
                return JSONResponse({"code": "14", "msg": "签名错误"})
            n = len(self.asked)
            self.refresh, self.request = f"refresh{n}", f"request{n}"
            return JSONResponse({"code": "00", "datas": {"refreshSecret": self.refresh, "requestSecret": self.request}})
        if not signed_by(self.request):
            return JSONResponse({"code": "15", "msg": "requestSecret 失效"})
        self.taken += 1
        return JSONResponse({"code": "00"})


async def test_the_md5_gateway_s_secrets_are_fetched_renewed_and_dropped_when_refused(outbox: Outbox) -> None:
    irs = Irs()
    with serving(receiver(irs.take)) as port:
        url = f"http://127.0.0.1:{port}"
        config: dict[str, Any] = {"signer": Signer.MD5, "key_id": "app", "secret": "app-secret", "success": '$.code == "00"'}
        endpoint = outbox.register(f"{url}/gateway/api/1/x.htm", token_url=f"{url}/gateway/app", **config)
        async with sending(outbox, port):
            for _ in range(2):
                await outbox.until(outbox.put(outbox.alert(), endpoint), state="delivered")
            assert irs.asked == ["refreshTokenByKey.htm"]
            outbox.pass_s(14 * 60)
            await outbox.until(outbox.put(outbox.alert(), endpoint), state="delivered")
            assert irs.asked[1:] == ["refreshTokenBySec.htm"]
            irs.refresh = irs.request = ""  # the gateway was restarted
            row = outbox.put(outbox.alert(), endpoint)
            failed = await outbox.until(row, attempts=1)
            assert "requestSecret 失效" in failed["last_error"]
            outbox.pass_s(3)
            await outbox.until(row, state="delivered")
    assert irs.asked[2:] == ["refreshTokenBySec.htm", "refreshTokenByKey.htm"]
    assert irs.taken == 4


async def test_zwdd_gets_its_access_token_signed_and_puts_it_where_it_is_signed_too(outbox: Outbox) -> None:
    tokens, came = [0], list[str]()

    async def zwdd(request: Request) -> Response:
        h, q = request.headers, dict(request.query_params)
        values = [*q.items(), *parse_qsl((await request.body()).decode())]
        head = (h["x-hmac-auth-timestamp"], h["x-hmac-auth-nonce"])
        expected = zwdd_signature("app-secret", *head, request.url.path, values, request.method)
        if h["x-hmac-auth-signature"] != expected:
            return JSONResponse({"success": False, "errorMsg": "sign"})
        if request.url.path == "/gettoken.json":
            tokens[0] += 1
            data = {"accessToken": f"token{tokens[0]}", "expiresIn": 7200}
            return JSONResponse({"success": True, "content": {"success": True, "data": data}})
        came.append(q["access_token"])
        return JSONResponse({"success": True})

    with serving(receiver(zwdd)) as port:
        url = f"http://127.0.0.1:{port}"
        config: dict[str, Any] = {"signer": Signer.ZWDD, "key_id": "app", "secret": "app-secret", "success": "$.success == true"}
        mapping = 'body: {msg: "=data.site.name"}'
        endpoint = outbox.register(f"{url}/message/workNotification", token_url=f"{url}/gettoken.json", mapping=mapping, **config)
        async with sending(outbox, port):
            await outbox.until(outbox.put(outbox.alert(), endpoint), state="delivered")
            outbox.pass_s(7190)
            await outbox.until(outbox.put(outbox.alert(), endpoint), state="delivered")
    assert came == ["token1", "token2"]


def test_the_breaker_s_states_and_what_counts_against_a_receiver() -> None:
    now = 1000 * SECOND_US
    assert [str(breaker.state(t, now)) for t in (0, now + 1, now)] == ["closed", "open", "half_open"]
    assert [breaker.able("webhook", s) for s in (None, 200, 301, 404, 429, 500)] == [False, True, True, True, False, False]
    assert [breaker.able("email", s) for s in (None, 250, 451, 535, 550)] == [False, True, False, False, True]
    assert breaker.MOST_US == 10 * MINUTE_US


async def test_what_left_is_on_record_for_three_years_by_name_and_without_values(outbox: Outbox) -> None:
    with serving(receiver(_fine)) as port, psycopg.connect(outbox.dsn, autocommit=True) as conn:
        mapping = 'body: {no: "=data.alert_id", where: "=join(\'\', [data.site.name, data.note])"}'
        mapped = outbox.register(f"http://127.0.0.1:{port}/", secret=SECRET, mapping=mapping, name="mapped")
        robot = outbox.register(f"http://127.0.0.1:{port}/?key=k", kind="wecom", name="robot")
        async with sending(outbox, port):
            alert = outbox.alert()
            for endpoint in (mapped, robot):
                await outbox.until(outbox.put(alert, endpoint, note="不外传", reason_zh="门没关"), attempts=1)
        rows = conn.execute("SELECT endpoint, receiver, about, version, fields FROM disclosure ORDER BY id").fetchall()
        assert rows[0] == ("mapped", f"127.0.0.1:{port}", f"alert {alert}", 1, ["alert_id", "note", "site.name"])
        assert rows[1][4] == ["alert_id", "reason_zh", "site.name"]
        text = conn.execute("SELECT string_agg(disclosure::text, '') FROM disclosure").fetchone()
        assert text is not None
        assert "不外传" not in text[0]
    newest_us = int(outbox.one("SELECT max(at_us) AS at_us FROM disclosure")["at_us"])
    async with asyncio.TaskGroup() as tasks:
        keeping = tasks.create_task(upkeep.run(outbox.dsn, clock=lambda: newest_us + disclosures.KEPT_US, every_s=0.05))
        left = "SELECT array_agg(endpoint) AS endpoints FROM disclosure"
        await eventually(lambda: outbox.one(left) if outbox.one(left)["endpoints"] == ["robot"] else None)
        outbox.conn.execute("UPDATE disclosure SET at_us = at_us - 1")  # a day later
        await eventually(lambda: outbox.one(left) if outbox.one(left)["endpoints"] is None else None)
        keeping.cancel()


async def _fine(_: Request) -> Response:
    return JSONResponse({"errcode": 0})
