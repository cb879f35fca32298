"""Reports of a simulated month: the simulator's ground truth wherever sensors could see, what is behind them, and their proof."""

import io
import json
from collections.abc import AsyncIterator, Iterator
from datetime import date
from typing import Any

import psycopg
import pytest
from openpyxl import load_workbook

from api import acceptance, evidence, report_evidence, report_period, report_tables, reports
from api.exports import digest, plain
from api.report_figures import SiteReport
from api.reports import Report, Scope
from api.web.i18n import Say
from firmware_sim.scenario import Scenario
from gateway.clock import DAY_US, HOUR_US
from smartcare.embedded import postgres
from tests.api import month as months

Conn = psycopg.AsyncConnection[Any]

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


@pytest.fixture
async def conn(database: str) -> AsyncIterator[Conn]:
    """A transaction that is rolled back: the month stays as it was."""
    async with await psycopg.AsyncConnection.connect(database) as found:
        yield found
        await found.rollback()


async def read(conn: Conn, month: Scenario, **scope: str) -> Report:
    return await reports.read(conn, Scope(**scope), report_period.parse("2026-03"), month.to_us + HOUR_US)


def of(report: Report, month: Scenario, n: int) -> SiteReport:
    code = month.town.sites()[n].code
    return next(s for s in report.sites if s.site.code == code)


async def test_opening_days_are_the_truth_exactly(conn: Conn, month: Scenario) -> None:
    report = await read(conn, month)
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


async def test_served_is_the_truth_exactly_wherever_terminals_could_see(conn: Conn, month: Scenario) -> None:
    report = await read(conn, month)
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


async def test_attenders_and_staff_are_the_people_of_the_town(conn: Conn, month: Scenario) -> None:
    report = await read(conn, month)
    for n, site in enumerate(month.town.sites()):
        mine = of(report, month, n).figures
        assert mine.attenders <= max(0, len(site.persons) - 2)
        assert (mine.staff > 0) == bool(site.persons)
    assert report.total.attenders == sum(s.figures.attenders for s in report.sites), "nobody goes to two sites here"
    assert report.total.rates[0].reached == report.total.attenders


async def test_what_nobody_could_see_is_said_in_hours(conn: Conn, month: Scenario) -> None:
    report = await read(conn, month)
    blind = {n: of(report, month, n).figures.blind_us / HOUR_US / max(1, of(report, month, n).figures.sensors) for n in range(4)}
    assert blind[0] == pytest.approx(0, abs=0.1)
    assert blind[1] == pytest.approx(5, abs=0.6), "five hours without power; seven hours without an uplink cost nothing"
    assert blind[3] == pytest.approx(20, abs=0.6)


# ---------------------------------------------------------------- longer and shorter than a month


@pytest.mark.parametrize(
    ("period", "days"), [("2026-Q1", 90), ("2026", 365), ("2026-02-10..2026-04-02", 52), ("2025-11-01..2026-10-31", 365)]
)
async def test_a_longer_period_says_of_the_month_what_the_month_says(conn: Conn, month: Scenario, period: str, days: int) -> None:
    whole = await reports.read(conn, Scope(), report_period.parse(period), month.to_us + HOUR_US)
    alone = await read(conn, month)
    assert [len(s.days) for s in whole.sites] == [days] * 4
    for name in ("opening_days", "people_in", "served", "staff", "meals", "attenders", "alerts"):
        assert getattr(whole.total, name) == getattr(alone.total, name), name
    for n in range(4):
        assert [d for d in of(whole, month, n).days if d.day.month == 3] == list(of(alone, month, n).days)


async def test_days_of_a_month_add_up_to_it(conn: Conn, month: Scenario) -> None:
    spans = ("2026-03-01..2026-03-09", "2026-03-10..2026-03-10", "2026-03-11..2026-03-31")
    parts = [await reports.read(conn, Scope(), report_period.parse(s), month.to_us + HOUR_US) for s in spans]
    alone = await read(conn, month)
    for name in ("planned_days", "opening_days", "people_in", "served", "meals", "alerts"):
        assert sum(getattr(p.total, name) for p in parts) == getattr(alone.total, name), name


async def test_the_bulletin_is_in_the_order_of_opening_days_and_then_of_services(conn: Conn, month: Scenario) -> None:
    report = await read(conn, month)
    for n, s in enumerate(report.sites):  # corrected figures are what is ranked: all opened alike but the last, services differ
        missing = s.figures.planned_days - s.figures.opening_days - (n == 3)
        if missing:
            await reports.correct(conn, s.site.id, date(2026, 3, 2), "opening_days", missing, "x", "y", month.to_us)
        await reports.correct(conn, s.site.id, date(2026, 3, 2), "served", 1000 * n + 5000, "x", "y", month.to_us)
    report = await read(conn, month)
    table = report_tables.bulletin(report, Say("zh", month.to_us))
    names = [s.site.name for s in report.sites]
    assert [row[1] for row in table.rows] == [names[n] for n in (2, 1, 0, 3)]
    assert [row[0] for row in table.rows] == [1, 2, 3, 4]


# ---------------------------------------------------------------- what is behind a figure


async def test_every_figure_of_a_day_opens_to_the_events_it_is_made_of(conn: Conn, month: Scenario) -> None:
    mine = of(await read(conn, month), month, 1)
    (site,) = await reports.sites_of(conn, Scope(site=mine.site.code), None)
    day = next(d for d in mine.days if d.day == date(2026, 3, 10))

    async def all_of(what: str) -> list[report_evidence.Stored]:
        found: list[report_evidence.Stored] = []
        after = None
        while True:
            page = await report_evidence.events(conn, site, day.day, what, after)
            found, after = found + page.items, page.after
            if after is None:
                return found

    footfall, service, opening = [await all_of(what) for what in ("footfall", "service", "opening")]
    assert sum(e.people_in for e in footfall) == day.people_in > 0
    residents = {(e.person, months._slot(e.t_us, "Asia/Shanghai")) for e in service if e.role == "resident"}
    assert len(residents) == day.served > 0
    assert min(e.t_us for e in opening) == day.first_us
    assert {e.gateway for e in opening} == {month.town.sites()[1].gateway}
    assert all(e.seq is not None and e.number is not None and e.number >= 0 for e in opening)
    meals = await all_of("meals")
    assert len({e.person for e in meals if e.role == "resident"}) == day.meals > 0
    assert len(await report_evidence.came(conn, mine.site.id, day.day, day.day)) > 0


# ---------------------------------------------------------------- corrections


async def test_a_correction_stands_beside_what_was_measured_and_cannot_be_changed(conn: Conn, month: Scenario) -> None:
    before = of(await read(conn, month), month, 3)
    day = next(d.day for d in before.days if d.planned_us and d.opened is None)
    await reports.correct(conn, before.site.id, day, "opening_days", 1, "停电，有签到表", "张三", month.to_us)
    after = of(await read(conn, month), month, 3)
    assert after.figures.opening_days == before.figures.opening_days
    assert after.figures.corrected("opening_days") == before.figures.opening_days + 1
    (row,) = after.corrections
    assert (row.reason, row.author, row.delta) == ("停电，有签到表", "张三", 1)
    for statement in ("UPDATE correction SET delta = 2", "DELETE FROM correction", "TRUNCATE correction"):
        with pytest.raises(psycopg.errors.RestrictViolation):
            async with conn.transaction():
                await conn.execute(statement)


# ---------------------------------------------------------------- files and their proof


async def exported(conn: Conn, month: Scenario, form: str, **scope: str) -> bytes:
    key = await evidence.signing_key(conn, month.to_us)
    return evidence.export(key, await read(conn, month, **scope), "zh", "root", form)


@pytest.mark.parametrize("form", ["xlsx", "csv", "json"])
async def test_a_file_as_it_was_handed_on_is_confirmed(conn: Conn, month: Scenario, form: str) -> None:
    for scope in ({}, {"site": month.town.sites()[1].code}):
        verdict = await evidence.verify(conn, await exported(conn, month, form, **scope))
        assert verdict.holds, verdict


async def test_a_workbook_that_was_opened_and_saved_is_still_the_same(conn: Conn, month: Scenario) -> None:
    book = load_workbook(io.BytesIO(await exported(conn, month, "xlsx")))
    out = io.BytesIO()
    book.save(out)
    assert (await evidence.verify(conn, out.getvalue())).holds


async def test_a_number_that_was_changed_in_the_file_is_named(conn: Conn, month: Scenario) -> None:
    book = load_workbook(io.BytesIO(await exported(conn, month, "xlsx")))
    sheet = book["各站点"]
    column = next(c.column for c in sheet[1] if c.value == "服务人次")
    sheet.cell(row=2, column=column).value = 99999
    out = io.BytesIO()
    book.save(out)
    verdict = await evidence.verify(conn, out.getvalue())
    assert (verdict.signed, verdict.file_changed, verdict.store_changed) == (True, ("sites",), ())
    (difference,) = verdict.differences
    assert "服务人次" in difference
    assert "99999" in difference


async def test_a_number_that_has_changed_in_the_store_is_named(conn: Conn, month: Scenario) -> None:
    body = await exported(conn, month, "xlsx")
    await conn.execute(
        "UPDATE rollup_site_service SET served = served + 7 WHERE ctid IN (SELECT ctid FROM rollup_site_service LIMIT 1)"
    )
    verdict = await evidence.verify(conn, body)
    assert (verdict.signed, verdict.file_changed) == (True, ())
    assert set(verdict.store_changed) == {"summary", "sites", "bulletin"}
    assert any("服务人次" in d for d in verdict.differences)


async def test_a_manifest_that_was_made_to_fit_is_not_ours(conn: Conn, month: Scenario) -> None:
    found = json.loads(await exported(conn, month, "json"))
    found["tables"][0]["rows"][1][1] = 31
    rows = [found["tables"][0]["columns"], *([plain(c) for c in row] for row in found["tables"][0]["rows"])]
    found["manifest"]["tables"][0]["sha256"] = digest(rows)
    verdict = await evidence.verify(conn, json.dumps(found).encode())
    assert not verdict.signed
    assert not verdict.holds
    assert verdict.store_changed == ("summary",)


# ---------------------------------------------------------------- acceptance


async def test_a_site_is_accepted_whose_sensors_reported_every_day_and_the_record_can_be_checked(
    conn: Conn, month: Scenario
) -> None:
    at_us = month.to_us + 10 * HOUR_US - DAY_US
    codes = [s.code for s in month.town.sites()]
    key = await evidence.signing_key(conn, at_us)
    good = await acceptance.make(conn, key, codes[0], 7, "装机员", at_us)
    assert [s["days_reported"] for s in good.record["sensors"]] == [7, 7, 7]
    assert all(not {"days", "up"} & set(s["failed"]) for s in good.record["sensors"])
    bad = await acceptance.make(conn, key, codes[3], 12, "装机员", at_us)
    assert not bad.passed
    assert all("up" in s["failed"] and s["longest_gap_min"] > 1100 for s in bad.record["sensors"])
    assert (await evidence.verify(conn, acceptance.file(good))).holds
    altered = json.loads(acceptance.file(bad)) | {"signature": good.signature}
    verdict = await evidence.verify(conn, json.dumps(altered).encode())
    assert (verdict.signed, verdict.file_changed) == (False, ("record",))
    assert [r.id for r in await acceptance.records(conn, codes[3])] == [bad.id]
