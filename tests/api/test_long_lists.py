"""A part of more sites than one list: the gravest hundred first, the others on further pages, counted all the same."""

import re

import httpx

from api.web.fragments import LISTED
from tests.api.conftest import Town

MORE = 20


def codes(page: str) -> list[str]:
    return re.findall(r'id="site-row-([^"]+)"', page)


def test_a_long_list_goes_on_and_the_gravest_come_first(admin: httpx.Client, town: Town) -> None:
    county = town.county
    for n in range(LISTED + MORE - 2):
        county.site(f"s{n:03}", f"第 {n} 站", f"Station {n}", "999001001000", state="alert" if n == 77 else "ok")
    overview = admin.get("/").text
    listed = codes(overview)
    assert len(listed) == LISTED
    assert listed[0] == "s077"
    assert 'href="/sites?page=2"' in overview
    assert 'id="site"' not in overview, "of so many none is shown in detail unasked"
    assert "第 5 站" in admin.get("/?site=s005").text.split('id="site"')[1]
    counters = re.findall(r'class="counter (\w+)".*?<b>(\d+)</b>', overview)
    assert dict(counters) == {"alert": "1", "blind": "0", "attention": "0", "ok": str(LISTED + MORE - 1)}
    second = codes(admin.get("/sites?page=2").text)
    assert len(second) == MORE
    assert not set(second) & set(listed)
    assert codes(admin.get("/sites?state=alert").text) == ["s077"]
    assert codes(admin.get("/sites?state=nonsense").text) == []
    assert codes(admin.get("/sites", params={"q": "station 11"}).text) == [f"s{n:03}" for n in (11, *range(110, 118))]
    assert codes(admin.get("/sites", params={"q": "100%"}).text) == []
    assert admin.get("/sites?page=0").status_code == 400
