"""Programs of the system that some tests need, and what happens where they are missing."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def need(found: str | None, package: str) -> str:
    """Return the program's path; without it skip, or fail where everything must be there (SMARTCARE_TEST_ALL)."""
    if not found:
        message = f"{package} is not installed (Debian: apt install {package})"
        if os.environ.get("SMARTCARE_TEST_ALL"):
            pytest.fail(message)
        pytest.skip(message)
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """Headless Chromium of the system. Its loop occupies the thread, so it must be closed before asyncio tests run."""
    program = need(shutil.which("chromium") or shutil.which("chromium-browser"), "chromium")
    expect.set_options(timeout=60_000)  # what comes about comes soon, but a busy machine may take its time
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=program, args=CHROMIUM_FLAGS)
        yield browser
        browser.close()
