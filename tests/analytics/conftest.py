"""What tests of this folder share: a small town on a real database."""

from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg import AsyncConnection

from tests.analytics.duty import CITY, TOWN, Duty


@pytest.fixture
async def duty(dsn: str) -> AsyncIterator[Duty]:
    """One site with its own staff, the town's and the city's."""
    with psycopg.connect(dsn, autocommit=True) as db:
        async with await AsyncConnection.connect(dsn, autocommit=True) as conn:
            town = Duty(conn, db)
            town.site()
            town.person("李站长", site=1)
            town.person("王镇长", area=TOWN)
            town.person("赵科长", area=CITY)
            yield town
