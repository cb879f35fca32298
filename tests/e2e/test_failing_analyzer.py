"""An analyzer that raises in every step: storing goes on, the page says so, and what was missed is caught up."""

from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.stack import Bus, Stack, small_register

pytestmark = pytest.mark.e2e
WORKER = Path(__file__).with_name("failing_worker.py")


def test_events_are_stored_and_the_page_says_not_analysed_until_the_analyzer_is_repaired(
    tmp_path: Path, browser: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    monkeypatch.setenv("BROKEN_ENGINE", str(broken))
    with Stack(tmp_path, "nats", small_register(1), worker=[str(WORKER)]) as stack:
        bus = Bus(stack.bus_url)
        bus.publish("zigbee2mqtt/door-1", {"contact": True})
        stack.until(lambda: stack.count("SELECT count(*) FROM site_status") == 1, "the healthy analyzer has shown the site")
        page = browser.new_page()
        page.goto(stack.signin_link())
        page.locator("main form button").click()
        page.wait_for_url(f"{stack.url}/")
        banner = page.get_by_text("未分析")
        expect(banner).to_have_count(0)

        broken.touch()
        bus.publish("zigbee2mqtt/door-1", {"contact": False})
        stack.until(
            lambda: stack.count("SELECT count(*) FROM shard WHERE failing_since_us IS NOT NULL") == 1, "the failure is marked"
        )
        before = stack.count("SELECT count(*) FROM event")
        bus.publish("zigbee2mqtt/door-1", {"contact": True})
        stack.until(lambda: stack.count("SELECT count(*) FROM event") > before, "events are stored while the analyzer fails")
        assert stack.count("SELECT count(*) FROM alert") == 0
        assert stack.rows("SELECT failure FROM shard WHERE failing_since_us IS NOT NULL")[0][0].endswith("this engine is broken")
        expect(banner.first).to_be_visible(timeout=15_000)

        broken.unlink()
        stack.until(lambda: stack.count("SELECT count(*) FROM alert WHERE rule = 'opened_after_hours'") == 1, "it has caught up")
        stack.until(lambda: failing(stack) == 0, "the mark is gone")
        expect(banner).to_have_count(0, timeout=15_000)
        page.close()
        bus.close()


def failing(stack: Stack) -> int:
    """Return how many shards are marked as not analysed."""
    return stack.count("SELECT count(*) FROM shard WHERE failing_since_us IS NOT NULL")
