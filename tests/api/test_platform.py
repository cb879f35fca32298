"""The demo platform takes what is signed, refuses the rest in words, and has each request on disk before it answers."""

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.platform import create_platform
from api.signing import generate_secret, sign
from gateway.clock import SECOND_US, now_us
from tests.api.serving import serving

SECRET = generate_secret()
BODY = json.dumps({"type": "alert.opened", "data": {"alert_id": 31, "version": 2, "site": "桃园睦邻点"}}).encode()


def signed(body: bytes = BODY, *, webhook_id: str = "a-31-2", off_s: int = 0, secret: str = SECRET) -> dict[str, str]:
    at_s = now_us() // SECOND_US + off_s
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(at_s),
        "webhook-signature": sign(secret, webhook_id, at_s, body),
    }


def entries(ledger: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ledger.read_text().splitlines()]


def test_a_signed_alert_is_in_the_ledger_when_the_answer_comes(tmp_path: Path) -> None:
    ledger = tmp_path / "new" / "ledger.jsonl"
    before = now_us()
    with serving(create_platform(ledger, SECRET)) as port:
        answer = httpx.post(f"http://127.0.0.1:{port}/alerts", content=BODY, headers=signed())
        (entry,) = entries(ledger)
    assert (answer.status_code, answer.json()) == (200, {"code": 0})
    assert before <= entry.pop("received_us") <= now_us()
    assert entry == {
        "webhook_id": "a-31-2",
        "verified": True,
        "verdict": "verified",
        "answered": 200,
        "type": "alert.opened",
        "alert_id": 31,
        "version": 2,
        "sha256": entry["sha256"],
        "body": json.loads(BODY),
    }


@pytest.mark.parametrize(
    ("body", "headers", "words"),
    [
        (BODY, dict, "缺少签名头"),
        (BODY, lambda: signed(secret=generate_secret()), "签名不符"),
        (BODY + b" ", signed, "签名不符"),
        (BODY, lambda: signed(off_s=-400), "校时"),
        (BODY, lambda: signed() | {"webhook-signature": "garbage"}, "v1"),
        (b"\xff\xfe" + b"[" * 30_000, signed, "签名不符"),
    ],
)
def test_what_is_not_signed_is_refused_in_words_and_kept(
    tmp_path: Path, body: bytes, headers: Callable[[], dict[str, str]], words: str
) -> None:
    with serving(create_platform(tmp_path / "ledger", SECRET)) as port:
        answer = httpx.post(f"http://127.0.0.1:{port}/alerts", content=body, headers=headers())
    assert answer.status_code == 401
    assert words in answer.json()["message"]
    (entry,) = entries(tmp_path / "ledger")
    assert (entry["verified"], entry["answered"], entry["alert_id"]) == (False, 401, None)


def test_it_misbehaves_as_told_and_then_behaves(tmp_path: Path) -> None:
    with serving(create_platform(tmp_path / "ledger", SECRET, [500, 429, 301])) as port:
        url = f"http://127.0.0.1:{port}/alerts"
        answers = [httpx.post(url, content=BODY, headers=signed()) for _ in range(4)]
    assert [a.status_code for a in answers] == [500, 429, 301, 200]
    assert [a.headers.get("retry-after") for a in answers] == [None, "7", None, None]
    assert [e["answered"] for e in entries(tmp_path / "ledger")] == [500, 429, 301, 200]


def test_a_body_beyond_64_kilobytes_is_not_read_to_its_end(tmp_path: Path) -> None:
    with serving(create_platform(tmp_path / "ledger", SECRET)) as port:
        answer = httpx.post(f"http://127.0.0.1:{port}/alerts", content=b"x" * 70_000, headers=signed())
    assert answer.status_code == 413
    assert entries(tmp_path / "ledger") == []


def test_the_ledger_goes_on_after_a_kill_that_cut_a_line_short(tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    with serving(create_platform(ledger, SECRET)) as port:
        httpx.post(f"http://127.0.0.1:{port}/alerts", content=BODY, headers=signed())
    with ledger.open("ab") as f:
        f.write(b'{"received_us": 17')
    with serving(create_platform(ledger, SECRET)) as port:
        httpx.post(f"http://127.0.0.1:{port}/alerts", content=BODY, headers=signed(webhook_id="a-31-3"))
        page = httpx.get(f"http://127.0.0.1:{port}/").text
    assert [e["webhook_id"] for e in entries(ledger)] == ["a-31-2", "a-31-3"]
    assert "已收到 2 条" in page


def test_the_page_shows_the_last_fifty_and_nothing_of_them_as_markup(tmp_path: Path) -> None:
    with serving(create_platform(tmp_path / "ledger", SECRET)) as port, httpx.Client() as client:
        empty = client.get(f"http://127.0.0.1:{port}/")
        for n in range(51):
            body = json.dumps({"type": "<script>alert(1)</script>", "data": {"alert_id": n, "version": 1}}).encode()
            client.post(f"http://127.0.0.1:{port}/alerts", content=body, headers=signed(body, webhook_id=f"shown-{n}-1"))
        page = client.get(f"http://127.0.0.1:{port}/").text
    assert "还没有收到" in empty.text
    assert page.count("shown-") == 50
    assert "shown-0-1" not in page
    assert "&lt;script&gt;" in page
    assert "<script>" not in page


def test_the_command_makes_a_secret_where_none_is_given_and_says_how_to_use_it(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {k: v for k, v in os.environ.items() if k != "SMARTCARE_PLATFORM_SECRET"} | {"PYTHONUNBUFFERED": "1"}
    argv = [sys.executable, "-m", "smartcare", "platform", "--port", str(port), "--ledger", str(tmp_path / "ledger.jsonl")]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env=environment) as child:
        assert child.stdout
        said = child.stdout.readline() + child.stdout.readline()
        child.terminate()
    found = re.search(r"SMARTCARE_PLATFORM_SECRET=(\S+) smartcare endpoint add sandbox (\S+)", said)
    assert found, said
    assert sign(found[1], "a-1-1", 1, BODY).startswith("v1,")
    assert found[2] == f"http://127.0.0.1:{port}/alerts"
