"""A real worker is killed, a real broker stopped, a real gateway lost: the page and the probes say so within 15 s."""

import json
import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from smartcare.embedded import process
from tests.e2e.stack import Stack, small_register

pytestmark = pytest.mark.e2e
VISIBLE_MS = 15_000


def health(stack: Stack) -> tuple[int, dict[str, object]]:
    """Ask /healthz."""
    try:
        with urllib.request.urlopen(f"{stack.url}/healthz", timeout=5) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as e:
        return e.code, json.load(e)


def without(stack: Stack, name: str) -> None:
    """End a process as `kill -9` does, and keep the supervisor from starting it again."""
    watched = stack.watched(name)
    stack.supervisor.watched.remove(watched)
    assert watched.child.process is not None
    process.stop(watched.child.process, signal.SIGKILL, 5)


def test_the_page_says_within_15_s_that_the_worker_the_broker_or_a_gateway_is_gone(tmp_path: Path, browser: Browser) -> None:
    port = process.free_port()
    with Stack(tmp_path, "nats", small_register(1), more_env={"SMARTCARE_METRICS_PORT": str(port)}) as stack:
        stack.until(lambda: health(stack)[0] == 200, "all is well")
        page = browser.new_page()
        page.goto(stack.signin_link())
        page.locator("main form button").click()
        page.wait_for_url(f"{stack.url}/")
        stopped, away = page.get_by_text("接收已停止"), page.get_by_text("消息代理断开")
        expect(stopped).to_have_count(0)

        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            figures = answer.read().decode()
        assert "smartcare_broker_connected 1.0" in figures
        assert "smartcare_t1_seconds_count" in figures

        without(stack, "worker")
        expect(stopped).to_be_visible(timeout=VISIBLE_MS)
        expect(page.locator(".banners")).to_contain_text("试点1号照料中心")
        code, said = health(stack)
        assert (code, said["shards"]) == (503, {"used": 1, "owned": 0, "analysed": 0})
        page.get_by_role("button", name="English").click()
        expect(page.get_by_text("Nothing is being received")).to_be_visible()
        page.get_by_role("button", name="中文").click()

        stack.program("worker", "worker")
        expect(stopped).to_have_count(0, timeout=30_000)
        stack.until(lambda: health(stack)[0] == 200, "all is well again")

        without(stack, "broker")
        expect(away).to_be_visible(timeout=VISIBLE_MS)
        assert health(stack)[1]["broker"] == "away"
        stack.supervisor.start("broker", stack.broker)
        expect(away).to_have_count(0, timeout=VISIBLE_MS)

        stack.rows(
            "INSERT INTO liveness (shard, pos, gateway, alive, at_us) SELECT shard, 9e18, id, false, 0 FROM gateway RETURNING 1"
        )
        expect(page.get_by_text("网关失联")).to_be_visible(timeout=VISIBLE_MS)
        stack.rows("UPDATE endpoint SET open_until_us = 9e18 RETURNING 1")
        expect(page.get_by_text("推送中断")).to_be_visible(timeout=VISIBLE_MS)
        page.close()
