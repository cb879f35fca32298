"""Reports of a simulated month equal the simulator's ground truth, wherever sensors could see."""

from collections.abc import Iterator

import psycopg
import pytest

from api import report_period, reports
from api.report_figures import SiteReport
from api.reports import Report, Scope
from firmware_sim.scenario import Scenario
from gateway.clock import HOUR_US
from smartcare.embedded import postgres
from tests.api import month as months

BLIND = {1: {17}, 3: {20}}
"""Site and day of the month: its power was cut in its hours."""


@pytest.fixture(scope="module")
def month() -> Scenario:
    return months.scenario()


@pytest.fixture(scope="module")
def database(postgres_server: postgres.Server, month: Scenario) -> Iterator[str]:
    """One month for the module."""
    with psycopg.connect(postgres_server.dsn("postgres"), autocommit=True) as conn:
        conn.execute("CREATE DATABASE month TEMPLATE template_smartcare STRATEGY FILE_COPY")
        months.put(postgres_server.dsn("month"), month)
        yield postgres_server.dsn("month")
        conn.execute("DROP DATABASE month WITH (FORCE)")


async def read(database: str, month: Scenario, **scope: str) -> Report:
    async with await psycopg.AsyncConnection.connect(database) as conn:
        return await reports.read(conn, Scope(**scope), report_period.parse("2026-03"), month.to_us + HOUR_US)


def of(report: Report, month: Scenario, n: int) -> SiteReport:
    code = month.town.sites()[n].code
    return next(s for s in report.sites if s.site.code == code)


async def test_opening_days_are_the_truth_exactly(database: str, month: Scenario) -> None:
    report = await read(database, month)
    for n, site in enumerate(month.town.sites()):
        mine, truth = of(report, month, n), months.open_days(month, site)
        blind = {d for d in truth if d.day in BLIND.get(n, ())}
        opened = {d.day for d in mine.days if d.opened is True}
        assert opened <= truth
        assert truth - opened <= blind, "only a day that nobody could see may be missing"
        assert {d.day for d in mine.days if d.planned_us and d.opened is None} == truth - opened
        assert mine.figures.closed_days == len({d.day for d in mine.days if d.planned_us} - truth)
    assert report.total.unknown_days == 1, "the power was cut all day at one point"
    assert report.total.closed_days == 3


async def test_served_is_the_truth_exactly_wherever_terminals_could_see(database: str, month: Scenario) -> None:
    report = await read(database, month)
    unseen, counted = 0, 0
    for n, site in enumerate(month.town.sites()):
        truth = months.served(month, site)
        for day in of(report, month, n).days:
            if "terminal" not in day.seen:
                assert day.served == 0
                continue
            seen, of_us = day.seen["terminal"]
            if seen == of_us:
                assert (day.day, day.served) == (day.day, truth.get(day.day, 0))
                counted += day.served
            else:
                unseen += 1
                assert day.day.day in BLIND.get(n, ())
                assert day.served <= truth[day.day]
    assert unseen == 1
    assert counted > 800


async def test_attenders_and_staff_are_the_people_of_the_town(database: str, month: Scenario) -> None:
    report = await read(database, month)
    for n, site in enumerate(month.town.sites()):
        mine = of(report, month, n).figures
        assert mine.attenders <= max(0, len(site.persons) - 2)
        assert (mine.staff > 0) == bool(site.persons)
    assert report.total.attenders == sum(s.figures.attenders for s in report.sites), "nobody goes to two sites here"
    assert report.total.rates[0].reached == report.total.attenders


async def test_what_nobody_could_see_is_said_in_hours(database: str, month: Scenario) -> None:
    report = await read(database, month)
    blind = {n: of(report, month, n).figures.blind_us / HOUR_US / max(1, of(report, month, n).figures.sensors) for n in range(4)}
    assert blind[0] == pytest.approx(0, abs=0.1)
    assert blind[1] == pytest.approx(5, abs=0.6), "five hours without power; seven hours without an uplink cost nothing"
    assert blind[3] == pytest.approx(20, abs=0.6)
