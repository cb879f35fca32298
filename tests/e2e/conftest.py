"""Brokers and a browser for the end-to-end tests."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.e2e.brokers import Mosquitto
from tests.programs import chromium, need


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for the module."""
    with chromium() as found:
        yield found


@pytest.fixture(params=["nats", "mosquitto"])
def broker_name(request: pytest.FixtureRequest) -> str:
    """Each broker in turn."""
    name: str = request.param
    if name == "mosquitto":
        need(Mosquitto.program(), "mosquitto")
    return name
