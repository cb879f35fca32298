"""Endpoints as configuration: refused where they could never work, and shown as they would speak."""

import json
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from api.endpoints import Endpoint, check, dry_run, find, newest, paths, register
from api.errors import ApiError, NotFound
from api.samples import SAMPLE
from api.signers import Signer
from gateway.clock import now_us
from tests.api.conftest import Town
from tests.api.outbox import SECRET

URL = "https://platform.example.cn/in"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"kind": "telegram"}, "a kind is one of"),
        ({"url": "ftp://x/"}, "http"),
        ({"secret": "short"}, "whsec_"),
        ({"signer": Signer.MD5}, "key id"),
        ({"signer": Signer.FEISHU}, "signer is one of"),
        ({"success": "code = 0"}, "success rule"),
        ({"mapping": "{}"}, "body"),
        ({"mapping": "body: {a: \"=code('x', data.rule)\"}"}, "no table"),
        ({"fields": ("alert_id", "site.nme")}, "no field site.nme"),
        ({"kind": "wecom", "secret": "", "success": "$.a == 0"}, "its own message"),
        ({"signer": Signer.ZWDD, "secret": "s", "key_id": "k"}, "one level"),
    ],
)
def test_an_endpoint_that_could_never_work_is_refused(config: dict[str, Any], message: str) -> None:
    with pytest.raises(ApiError, match=message):
        check(Endpoint(**({"name": "x", "url": URL, "secret": SECRET} | config)))


def test_a_table_of_codes_may_know_real_sites_only() -> None:
    text = "body: {org: \"=code('org', data.site.code)\"}\ncodes: {org: {east: A1}}"
    check(Endpoint(name="x", url=URL, secret=SECRET, mapping=text))
    with pytest.raises(ApiError, match="no table"):
        check(Endpoint(name="x", url=URL, secret=SECRET, mapping=text.replace("codes: {org", "codes: {else")))


def test_an_endpoint_comes_back_as_it_was_declared_and_a_plain_one_is_a_standard_webhook(dsn: str) -> None:
    full = Endpoint(
        name="full",
        url=URL,
        secret=SECRET,
        signer=Signer.SM3,
        mapping="body: {a: 1}",
        fields=("alert_id", "site"),
        success="$.code == 0",
    )
    with psycopg.connect(dsn) as conn:
        for to in (full, Endpoint(name="plain", url=URL, secret=SECRET)):
            number = register(conn, to)
            assert find(conn, to.name) == replace(to, id=number)
        assert find(conn, "none") is None


def test_the_sample_has_what_a_real_alert_has(dsn: str, town: Town) -> None:
    with psycopg.connect(dsn) as conn:
        assert newest(conn, now_us()) == SAMPLE
        number = town.county.alert(town.east)
        real = json.loads(newest(conn, now_us()))
    sample = json.loads(SAMPLE)
    assert real["type"] == "alert.opened"
    assert (real["data"]["alert_id"], real["data"]["site"]["code"]) == (number, "east")
    assert (real.keys(), paths(real["data"])) == (sample.keys(), paths(sample["data"]))


def test_a_dry_run_shows_the_request_of_the_newest_alert_with_secrets_masked(dsn: str, town: Town) -> None:
    number = town.county.alert(town.east)
    mapping = 'body: {no: "=data.alert_id", site: "=data.site.name"}'
    config: dict[str, Any] = {"signer": Signer.ZWDD, "secret": "zwdd-very-secret", "key_id": "application-7"}
    robot: dict[str, Any] = {"secret": "SECvery-secret", "kind": "dingtalk"}
    bot: dict[str, Any] = {"secret": "s-very-secret", "kind": "feishu"}
    with psycopg.connect(dsn, autocommit=True) as conn:
        register(conn, Endpoint(name="city", url=URL, mapping=mapping, **config))
        register(conn, Endpoint(name="robot", url="https://oapi.example.cn/send?access_token=0123456789abcdef", **robot))
        register(conn, Endpoint(name="bot", url="https://open.example.cn/hook/0123456789abcdef", **bot))
        city, ding, fei = (dry_run(conn, name, "https://care.example.cn", now_us()) for name in ("city", "robot", "bot"))
        with pytest.raises(NotFound):
            dry_run(conn, "none", "", now_us())
        assert conn.execute("SELECT count(*) FROM outbox").fetchone() == (0,)
    head, _, body = city.partition("\n\n")
    assert head.startswith(f"POST {URL}\n")
    assert "content-type: application/x-www-form-urlencoded" in head
    assert "X-Hmac-Auth-Signature: " in head
    assert "apiKey: appl****" in head
    assert body == f"no={number}&site=%E4%B8%9C%E6%A1%A5%E7%9D%A6%E9%82%BB%E7%82%B9"
    assert ding.startswith("POST https://oapi.example.cn/send?access_token=0123****&timestamp=")
    assert f"https://care.example.cn/alerts/{number}" in ding
    assert fei.startswith("POST https://open.example.cn/hook/0123****\n")
    for shown in (city, ding, fei):
        assert "very-secret" not in shown
        assert "0123456789abcdef" not in shown
