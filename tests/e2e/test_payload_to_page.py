"""From a vendor's payload to a verified webhook and to the row on the page, with every process real."""

import statistics
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from gateway.clock import now_us
from tests.e2e.stack import Bus, Stack, small_register

pytestmark = pytest.mark.e2e
SITES = 7


def test_a_door_opened_at_night_is_on_the_page_and_at_the_platform_within_two_seconds(
    tmp_path: Path, browser: Browser, broker_name: str
) -> None:
    with Stack(tmp_path, broker_name, small_register(SITES)) as stack:
        page = browser.new_page()
        page.goto(stack.signin_link())
        page.locator("main form button").click()
        page.wait_for_url(f"{stack.url}/")
        expect(page.get_by_text("试点1号照料中心").first).to_be_visible()
        bus = Bus(stack.bus_url)
        sent = {}
        for n in range(1, SITES + 1):
            bus.publish(f"zigbee2mqtt/door-{n}", {"contact": True, "battery": 91, "linkquality": 120})
        stack.until(lambda: stack.count("SELECT count(DISTINCT device) FROM event") == SITES, "every door is known to be closed")
        for n in range(1, SITES + 1):
            sent[f"e2e-{n}"] = bus.publish(f"zigbee2mqtt/door-{n}", {"contact": False, "battery": 91, "linkquality": 118})
            stack.until(lambda n=n: len(opened(stack)) == n, f"alert {n} has reached the platform", seconds=30)  # type: ignore[misc]
        delays = [(opened(stack)[site]["received_us"] - at) / 1e6 for site, at in sent.items()]
        assert statistics.median(delays) < 2, delays
        assert max(delays) < 10, delays
        expect(page.locator("[id^=alert-]").filter(has_text="试点7号照料中心").first).to_be_visible(timeout=5000)
        assert all(entry["verified"] for entry in stack.received())
        assert now_us() > max(sent.values())
        page.close()
        bus.close()


def opened(stack: Stack) -> dict[str, dict[str, Any]]:
    """Return the platform's first verified entry of each site's after-hours alert."""
    found: dict[str, dict[str, Any]] = {}
    for entry in stack.received():
        data = entry["body"]["data"]
        if data["rule"] == "opened_after_hours" and entry["body"]["type"] == "alert.opened":
            found.setdefault(data["site"]["code"], entry)
    return found
