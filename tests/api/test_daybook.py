"""Closures, visits and drills over REST."""

import httpx
import psycopg

from ingest import snapshot
from ingest.inputs import SiteInput
from tests.api.conftest import Running, Town

CLOSURE = {"from_us": 10, "to_us": 20, "reason": "检修"}


def told(dsn: str) -> tuple[int, SiteInput]:
    """The register's version, and what the analyzer would be told of the first site."""
    with psycopg.connect(dsn) as conn:
        return snapshot.version(conn), snapshot.compile_inputs(conn, [1], 1)[1].sites[0]


def test_staff_of_a_site_close_it_and_say_that_it_drills(east_staff: httpx.Client, dsn: str) -> None:
    before, _ = told(dsn)
    assert east_staff.post("/api/v1/sites/east/closures", json=CLOSURE).status_code == 201
    assert east_staff.post("/api/v1/sites/east/modes", json=CLOSURE | {"mode": "drill"}).status_code == 201
    version, site = told(dsn)
    assert (version, site.closed, site.modes) == (before + 2, [(10, 20)], [(10, 20, "drill")])
    assert east_staff.post("/api/v1/sites/east/closures", json=CLOSURE | {"cancelled": True}).status_code == 201
    assert told(dsn)[1].closed == []


def test_another_site_does_not_exist_for_them(east_staff: httpx.Client, dsn: str) -> None:
    before = told(dsn)
    assert east_staff.post("/api/v1/sites/west/closures", json=CLOSURE).status_code == 404
    assert told(dsn) == before


def test_a_token_that_may_only_read_enters_nothing(running: Running, town: Town) -> None:
    token = town.county.token(town.admin, "read")
    with running.client(token=token) as client:
        assert client.post("/api/v1/sites/east/closures", json=CLOSURE).status_code == 403


def test_what_is_no_closure_is_refused(admin: httpx.Client, dsn: str) -> None:
    before = told(dsn)
    for wrong in ({"to_us": 10}, {"reason": " "}, {"reason": "a\0b"}, {"from_us": "soon"}, {"more": 1}, {"to_us": 2**63}):
        assert admin.post("/api/v1/sites/east/closures", json=CLOSURE | wrong).status_code in (400, 422), wrong
    assert told(dsn) == before
