"""A door's day, read from the stored events and from what its gateway could see."""

import psycopg
import pytest

from api import reading
from api.web.charts.doors import Period, State
from api.web.door_day import door_day
from gateway.clock import DAY_US, HOUR_US, MINUTE_US, now_us
from gateway.events import Flag
from tests.api.conftest import Town

OPEN, CLOSED, UNKNOWN = State.OPEN, State.CLOSED, State.UNKNOWN
REPEAT = int(Flag.REPEAT)
H, M = HOUR_US, MINUTE_US


@pytest.fixture
def start() -> int:
    """Eight hours ago: the midnight of these tests, and inside partitions that exist."""
    return now_us() - 8 * H


async def day(dsn: str, town: Town, from_us: int, to_us: int) -> list[tuple[float, float, State]]:
    """The day of the eastern site's only door, in hours since `from_us`."""
    async with await psycopg.AsyncConnection.connect(dsn) as conn:
        (door,) = await reading.doors(conn, town.east, from_us, to_us)
        rows = await reading.door_messages(conn, door, from_us, to_us)
        view = await reading.view_of(conn, door.gateway, from_us, to_us)
        return [_hours(p, from_us) for p in door_day(door, rows, view, from_us, to_us)]


def _hours(period: Period, start: int) -> tuple[float, float, State]:
    return round((period.from_us - start) / H, 2), round((period.to_us - start) / H, 2), period.state


def repeats(from_us: int, to_us: int, is_open: int) -> list[tuple[int, int, int]]:
    """The contact says every half hour that nothing has changed."""
    return [(t, is_open, REPEAT) for t in range(from_us, to_us, 30 * M)]


async def test_a_door_is_open_between_what_its_contact_said(dsn: str, town: Town, start: int) -> None:
    said = [(start - H, 0, 0), *repeats(start, start + 2 * H, 0), (start + 2 * H, 1, 0), (start + 3 * H, 0, 0)]
    town.county.contact(town.east, [(start - DAY_US, start + 4 * H)], *said)
    assert await day(dsn, town, start, start + 4 * H) == [(0, 2, CLOSED), (2, 3, OPEN), (3, 4, CLOSED)]


async def test_while_the_gateway_was_away_there_is_no_signal(dsn: str, town: Town, start: int) -> None:
    said = [(start - H, 0, 0), *repeats(start, start + H, 0), *repeats(start + 130 * M, start + 4 * H, 0)]
    town.county.contact(town.east, [(start - DAY_US, start + H), (start + 2 * H, start + 4 * H)], *said)
    assert await day(dsn, town, start, start + 4 * H) == [(0, 1, CLOSED), (1, 2, UNKNOWN), (2, 4, CLOSED)]


async def test_a_gateway_that_is_gone_knows_nothing_up_to_the_present(dsn: str, town: Town, start: int) -> None:
    town.county.contact(town.east, [(start - DAY_US, start + H)], *repeats(start, start + H, 1))
    assert await day(dsn, town, start, start + 2 * H) == [(0, 1, OPEN), (1, 2, UNKNOWN)]


async def test_the_seconds_since_the_last_heartbeat_are_no_loss_of_signal(dsn: str, town: Town, start: int) -> None:
    town.county.contact(town.east, [(start - DAY_US, start + H)], *repeats(start, start + H, 1))
    assert await day(dsn, town, start, start + H + M) == [(0, 1.02, OPEN)]


async def test_blindness_for_a_family_of_devices_counts_for_its_doors_only(dsn: str, town: Town, start: int) -> None:
    said = [*repeats(start, start + 4 * H, 0)]
    town.county.contact(town.east, [(start - DAY_US, start + 4 * H)], *said)
    blind = "INSERT INTO blind SELECT id, %s, %s, %s, 'bridge', 1, 1 FROM gateway"
    town.county.conn.execute(blind, ["lora/", start + H + M, start + 2 * H])
    assert await day(dsn, town, start, start + 4 * H) == [(0, 4, CLOSED)]
    town.county.conn.execute(blind, ["z2m/", start + H + M, start + H + 20 * M])
    assert await day(dsn, town, start, start + 4 * H) == [(0, 1.02, CLOSED), (1.02, 1.33, UNKNOWN), (1.33, 4, CLOSED)]


async def test_a_sensor_that_is_silent_beyond_its_limit_gives_no_signal(dsn: str, town: Town, start: int) -> None:
    town.county.contact(
        town.east, [(start - DAY_US, start + 8 * H)], (start, 0, 0), (start + H, 0, REPEAT), (start + 5 * H, 0, REPEAT)
    )
    assert await day(dsn, town, start, start + 8 * H) == [(0, 1, CLOSED), (1, 5, UNKNOWN), (5, 8, CLOSED)]
    assert await day(dsn, town, start, start + 4 * H + M) == [(0, 1, CLOSED), (1, 4.02, UNKNOWN)]


async def test_of_a_door_that_chatters_only_the_newest_messages_are_looked_at(
    dsn: str, town: Town, start: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "DOOR_ROWS", 3)
    said = [(start + n * 10 * M, n % 2, 0) for n in range(12)]
    town.county.contact(town.east, [(start - DAY_US, start + 3 * H)], (start - H, 0, 0), *said)
    found = await day(dsn, town, start, start + 2 * H)
    assert found[0] == (0, 1.5, UNKNOWN)
    assert [state for *_, state in found[1:]] == [OPEN, CLOSED, OPEN]


async def test_a_contact_that_often_repeats_itself_was_heard_until_its_last_repeat(dsn: str, town: Town, start: int) -> None:
    said = [(t, 1, REPEAT) for t in range(start, start + 4 * H, 4 * M)]
    town.county.contact(town.east, [(start - DAY_US, start + 5 * H)], *said)
    assert await day(dsn, town, start, start + 5 * H) == [(0, 5, OPEN)]
