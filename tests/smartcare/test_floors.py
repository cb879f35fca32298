"""No dependency is older than the version that closed its last known hole, here and in what users may install."""

from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import psycopg
import pytest
from packaging.requirements import Requirement
from packaging.version import Version

FLOORS = {
    "starlette": "1.3.1",
    "fastapi": "0.109.1",
    "h11": "0.16.0",
    "jinja2": "3.1.6",
    "python-multipart": "0.0.26",
    "pyjwt": "2.12.0",
    "orjson": "3.9.15",
    "aiohttp": "3.14",
    "cbor2": "5.9.0",
}
"""The first version without advisories known in November 2026; most are not installed, and need not be."""
AVOIDED = ("python-jose",)
"""With holes that nobody closes."""


@pytest.mark.parametrize("name", sorted(FLOORS))
def test_what_is_installed_is_not_older_than_its_floor(name: str) -> None:
    try:
        found = version(name)
    except PackageNotFoundError:
        return  # not installed, and not needed
    assert Version(found) >= Version(FLOORS[name])


def test_our_own_requirements_allow_nothing_below_a_floor() -> None:
    for requirement in map(Requirement, requires("smartcare") or []):
        if requirement.name in FLOORS:
            below = [
                spec
                for spec in requirement.specifier
                if spec.operator == ">=" and Version(spec.version) >= Version(FLOORS[requirement.name])
            ]
            assert below, f"{requirement} allows versions below {FLOORS[requirement.name]}"
        assert requirement.name not in AVOIDED


def test_no_tested_version_is_below_a_floor() -> None:
    pinned = dict(
        line.split("==") for line in Path("constraints.txt").read_text().splitlines() if "==" in line and line[0] != "#"
    )
    for name, least in FLOORS.items():
        if name in pinned:
            assert Version(pinned[name].split(";")[0].strip()) >= Version(least), name


def test_the_database_is_new_enough_for_row_level_security(dsn: str) -> None:

    with psycopg.connect(dsn) as conn:
        assert conn.info.server_version >= 150015, "CVE-2025-8713 is closed in 15.14, 16.10, 17.6 and 18"
