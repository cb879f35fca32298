"""Who comes: by habit, by the seed, within the hours."""

from datetime import date, timedelta

from firmware_sim.fleet import build_fleet
from firmware_sim.habits import windows
from firmware_sim.people import People, local_day
from firmware_sim.town import Site
from gateway.clock import HOUR_US, MINUTE_US

MONDAY = date(2026, 9, 7)


def station() -> Site:
    return next(s for s in build_fleet("centre", 3).sites() if s.kind == "station")


def weeks(people: People, site: Site, days: int = 56) -> dict[str, list[date]]:
    came: dict[str, list[date]] = {}
    for d in range(days):
        for v in people.day(site, MONDAY + timedelta(days=d)):
            if v.local_id:
                came.setdefault(v.local_id, []).append(local_day(v.arrive_us, site.zone))
    return came


def test_a_day_depends_on_seed_site_and_date_alone() -> None:
    site, day = station(), date(2026, 9, 9)
    first, again = People(1), People(1)
    for d in range(20):
        again.day(site, MONDAY + timedelta(days=d))
    assert first.day(site, day) == again.day(site, day)
    assert first.day(site, day) != People(2).day(site, day)


def test_there_are_daily_some_days_and_weekly_attenders() -> None:
    site, people = station(), People(1)
    came = weeks(people, site)
    per_week = {h.local_id: len(came.get(h.local_id, ())) / 8 for h in people.habits(site) if h.role == "resident"}
    rates = sorted(per_week.values())
    assert rates[-1] > 5
    assert rates[0] < 1.5
    assert any(2 < rate < 4 for rate in rates)


def test_nobody_but_staff_is_there_outside_the_hours() -> None:
    site, people = station(), People(1)
    for d in range(14):
        day = MONDAY + timedelta(days=d)
        open_hours = windows(site, day)
        visits = people.day(site, day)
        assert bool(visits) == bool(open_hours)
        for v in visits:
            (opens, closes), staff = open_hours[0], v.local_id in site.persons[:2]
            assert opens - 20 * MINUTE_US * staff <= v.arrive_us < v.leave_us <= closes + 15 * MINUTE_US * staff


def test_fewer_come_on_holidays_but_staff_do() -> None:
    site = station()
    days = [MONDAY + timedelta(days=d) for d in range(5)]
    usual, holiday = ([v for day in days for v in p.day(site, day)] for p in (People(1), People(1, days)))
    assert len(holiday) < 0.9 * len(usual)
    staff = site.persons[:2]
    assert sum(v.local_id in staff for v in holiday) == sum(v.local_id in staff for v in usual)


def test_fewer_come_when_it_rains_and_it_rains_for_a_whole_town_on_some_days() -> None:
    site, people = station(), People(1)
    days = [MONDAY + timedelta(days=d) for d in range(56) if windows(site, MONDAY + timedelta(days=d))]
    rain = [day for day in days if people.keeps(day) < 1]
    assert 0.1 < len(rain) / len(days) < 0.35

    def came(some: list[date]) -> float:
        return sum(not v.staff for day in some for v in people.day(site, day)) / len(some)

    assert came(rain) < 0.9 * came([day for day in days if day not in rain])


def test_who_eats_at_noon_is_seen_again_at_the_canteen_then() -> None:
    site, people = station(), People(1)
    eat = {h.local_id for h in people.habits(site) if h.dinner}
    seen = [v for d in range(5) for v in people.day(site, MONDAY + timedelta(days=d)) if v.seen_us is not None]
    assert {v.local_id for v in seen} <= eat
    assert len(seen) > 5
    opens, closes = windows(site, MONDAY)[0]
    noon = (opens + closes) // 2 - opens
    since_opening = [v.seen_us - windows(site, local_day(v.arrive_us, site.zone))[0][0] for v in seen if v.seen_us]
    assert all(-45 * MINUTE_US < at - noon < 0 for at in since_opening)
    assert all(v.arrive_us < (v.seen_us or 0) < v.leave_us for v in seen)


def test_where_there_are_beds_someone_walks_through_the_house_by_night() -> None:
    site = next(s for s in build_fleet("town", 1).sites() if s.kind == "centre")
    (opens, _), visits = windows(site, MONDAY)[0], People(1).day(site, MONDAY)
    assert sum(opens + HOUR_US < v.arrive_us < opens + 5 * HOUR_US for v in visits) >= 3
