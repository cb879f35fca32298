"""What the end-to-end tests need from the machine, and what happens where it is missing."""

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.e2e.brokers import Mosquitto

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def need(found: str | None, what: str) -> str:
    """Return the program's path; without it skip, or fail where everything must be there (SMARTCARE_TEST_ALL)."""
    if not found:
        message = f"{what} is not installed (Debian: apt install {what})"
        if os.environ.get("SMARTCARE_TEST_ALL"):
            pytest.fail(message)
        pytest.skip(message)
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Headless Chromium of the system; for a module, since its loop occupies the thread that others test on."""
    program = need(shutil.which("chromium") or shutil.which("chromium-browser"), "chromium")
    with sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=program, args=CHROMIUM_FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(params=["nats", "mosquitto"])
def broker_name(request: pytest.FixtureRequest) -> str:
    """Each broker in turn."""
    name: str = request.param
    if name == "mosquitto":
        need(Mosquitto.program(), "mosquitto")
    return name
