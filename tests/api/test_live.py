"""The live stream: what changed arrives, resuming misses nothing, and a session's end closes it."""

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb

from api.accounts import WHOLE
from api.errors import TooManyAttempts
from gateway.clock import SECOND_US, now_us
from gateway.events import Kind
from tests.api.conftest import Running, Town
from tests.api.seed import County


@dataclass(slots=True)
class Events:
    """Reads server-sent events."""

    lines: Iterator[str]
    last: str = ""

    def next(self) -> tuple[str, dict[str, str]]:
        """Return the next event's name and data; StopIteration when the stream has ended."""
        name, data = "", "{}"
        while True:
            line = next(self.lines)
            field, _, value = line.partition(": ")
            if field == "id":
                self.last = value
            elif field == "event":
                name = value
            elif field == "data":
                data = value
            elif not line and name:
                return name, json.loads(data)

    def until_caught_up(self) -> dict[str, str]:
        """Return the fragments up to the point where nothing is missing."""
        found: dict[str, str] = {}
        while True:
            name, data = self.next()
            if name == "caught-up":
                return found
            if name == "fragment":
                found[data["topic"]] = data["html"]

    def fragment(self, topic: str, containing: str) -> str:
        """Read until a fragment of the topic contains the text."""
        while True:
            name, data = self.next()
            if name == "fragment" and data["topic"] == topic and containing in data["html"]:
                return data["html"]


@contextmanager
def events(client: httpx.Client, topics: str, after: str = "", **headers: str) -> Iterator[Events]:
    """An open stream; reading waits at most eight seconds for the next line."""
    timeout = httpx.Timeout(8)
    with client.stream("GET", "/events", params={"topics": topics, "after": after}, headers=headers, timeout=timeout) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Events(answer.iter_lines())


def test_a_stream_from_nowhere_gets_the_full_state(admin: httpx.Client, town: Town) -> None:
    alert = town.county.alert(town.east)
    for after in ("", "another-process:999999", "nonsense"):
        with events(admin, "alerts sites counters banner", after) as stream:
            found = stream.until_caught_up()
        assert set(found) == {"alerts", "sites", "counters", "banner"}
        assert f'id="alert-{alert}"' in found["alerts"]
        assert "东桥睦邻点" in found["sites"]


def test_a_change_arrives_while_the_page_is_open(admin: httpx.Client, town: Town) -> None:
    with events(admin, f"alerts sites site:{town.east}") as stream:
        stream.until_caught_up()
        alert = town.county.alert(town.east)
        stream.fragment("alerts", f'id="alert-{alert}"')
        town.county.conn.execute(
            "UPDATE site_status SET today_in = 4711, changed = pg_current_xact_id() WHERE site = %s", [town.east]
        )
        assert "4711" in stream.fragment("sites", "4711")


def test_what_happened_between_two_streams_arrives_with_the_next(running: Running, admin: httpx.Client, town: Town) -> None:
    hub = running.server.config.app.state.console.hub  # type: ignore[union-attr]
    with events(admin, "alerts counters") as stream:
        stream.until_caught_up()
        last = stream.last
    before, alert = hub.latest("alerts@*"), town.county.alert(town.east)
    until = time.monotonic() + 8
    while hub.latest("alerts@*") == before and time.monotonic() < until:
        time.sleep(0.01)  # the hub knows of it before the page comes back
    with events(admin, "alerts counters", last) as stream:
        stream.fragment("alerts", f'id="alert-{alert}"')
        last = stream.last
    with events(admin, "alerts counters", "old:1", **{"last-event-id": last}) as stream:
        town.county.conn.execute("UPDATE alert SET state = 'resolved', version = 2 WHERE id = %s", [alert])
        town.county.change(alert, 2, "resolved")
        stream.fragment("alerts", "没有待处理的告警")


def test_a_page_resumes_where_it_was_rendered(admin: httpx.Client, town: Town) -> None:
    with events(admin, "alerts") as stream:
        stream.until_caught_up()  # the hub is awake
    page = admin.get("/").text
    position = page.split('data-position="')[1].split('"')[0]
    assert position.split(":")[0] != ""
    alert = town.county.alert(town.east)
    assert f"alert-{alert}" not in page
    with events(admin, "alerts", position) as stream:
        stream.fragment("alerts", f'id="alert-{alert}"')


def test_a_transaction_that_commits_late_is_not_skipped(admin: httpx.Client, town: Town, dsn: str) -> None:
    with psycopg.connect(dsn) as slow, events(admin, "alerts") as stream:
        stream.until_caught_up()
        late = County(slow, streams=100).alert(town.east)
        early = town.county.alert(town.east, "left_open")
        time.sleep(1.2)  # two polls go by while the first is undecided
        slow.commit()
        html = stream.fragment("alerts", f'id="alert-{late}"')
        assert f'id="alert-{early}"' in html


def test_staff_hear_of_their_own_site_only(east_staff: httpx.Client, town: Town) -> None:
    with events(east_staff, "alerts sites counters") as stream:
        found = stream.until_caught_up()
        assert "西岭照料中心" not in "".join(found.values())
        foreign, own = town.county.alert(town.west), town.county.alert(town.east)
        html = stream.fragment("alerts", f'id="alert-{own}"')
        assert f'id="alert-{foreign}"' not in html


def test_the_latest_events_of_all_sites_come_newest_first_and_at_most_eight(admin: httpx.Client, town: Town) -> None:
    county, now = town.county, now_us()
    with events(admin, "latest") as stream:
        stream.until_caught_up()
        first = county.event(now - 2 * SECOND_US, county.place(town.west), Kind.OCCUPANCY, a=7)
        county.happened(town.west, county.event(now - SECOND_US, county.place(town.west), Kind.OCCUPANCY, a=6), first)
        html = stream.fragment("latest", "在场 6 人")
    names = re.findall(r'href="/sites/(\w+)"', html)
    assert names[:2] == ["west", "west"]
    assert "east" in names
    assert len(names) == 8
    assert html.index("在场 6 人") < html.index("在场 7 人")


def test_the_events_of_a_site_with_nothing_but_signs_of_life_do_not_hide_what_happened(admin: httpx.Client, town: Town) -> None:
    county, now = town.county, now_us()
    region = county.region("桥南街道", "Qiaonan")
    for n in range(9):
        site = county.site(f"quiet{n}", f"静点{n}", f"Quiet {n}", region)
        county.conn.execute(
            "UPDATE site_status SET last_event_us = %s, detail = jsonb_set(detail, '{recent}', '[]') WHERE site = %s", [now, site]
        )
    county.happened(town.west, county.event(now, county.place(town.west), Kind.OCCUPANCY, a=6))
    with events(admin, "latest") as stream:
        html = stream.until_caught_up()["latest"]
    assert "在场 6 人" in html
    assert "quiet" not in html


def test_staff_see_the_latest_events_of_their_own_site_only(east_staff: httpx.Client, town: Town) -> None:
    county, now = town.county, now_us()
    with events(east_staff, "latest") as stream:
        assert "/sites/west" not in stream.until_caught_up()["latest"]
        county.happened(town.west, county.event(now, county.place(town.west), Kind.OCCUPANCY, a=6))
        county.happened(town.east, county.event(now, county.place(town.east), Kind.OCCUPANCY, a=5))
        html = stream.fragment("latest", "在场 5 人")
    assert "/sites/west" not in html
    assert "在场 6 人" not in html


@pytest.mark.parametrize("end", ["UPDATE account SET disabled = true WHERE id = %s", "DELETE FROM session WHERE account = %s"])
def test_the_end_of_a_session_closes_its_stream_within_five_seconds_and_no_other(
    running: Running, admin: httpx.Client, town: Town, end: str
) -> None:
    with (
        running.client(town.county.session(town.east_staff)) as staff,
        events(admin, "alerts") as other,
        events(staff, "alerts") as stream,
    ):
        stream.until_caught_up()
        other.until_caught_up()
        started = time.monotonic()
        town.county.conn.execute(end, [town.east_staff])
        while stream.next()[0] != "bye":
            pass
        with pytest.raises(StopIteration):
            stream.next()
        assert time.monotonic() - started < 5
        alert = town.county.alert(town.east)
        other.fragment("alerts", f'id="alert-{alert}"')


def test_a_failed_analyser_is_announced_and_recovery_too(admin: httpx.Client, town: Town) -> None:
    with events(admin, "banner") as stream:
        stream.until_caught_up()
        conn = town.county.conn
        conn.execute("UPDATE shard SET failing_since_us = 1790000000000000 WHERE id = 1")
        html = stream.fragment("banner", "未分析，自")
        assert "东桥睦邻点" in html
        assert "西岭照料中心" not in html
        conn.execute("UPDATE shard SET failing_since_us = NULL WHERE id = 1")
        while "未分析" in html:
            html = stream.fragment("banner", "")


def test_the_stream_survives_the_loss_of_its_database_connection(admin: httpx.Client, town: Town, dsn: str) -> None:
    with events(admin, "alerts") as stream:
        stream.until_caught_up()
        name = dsn.rsplit("/", 1)[1]
        with psycopg.connect(dsn.replace(f"/{name}", "/postgres"), autocommit=True) as conn:
            conn.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s AND query NOT LIKE '%%county%%' "
                "AND pid <> %s",
                [name, town.county.conn.info.backend_pid],
            )
        alert = town.county.alert(town.east)
        stream.fragment("alerts", f'id="alert-{alert}"')


def test_a_session_cannot_hold_more_than_twenty_streams(running: Running, admin: httpx.Client) -> None:
    hub = running.server.config.app.state.console.hub  # type: ignore[union-attr]
    for _ in range(20):
        hub.open(b"someone", WHOLE)
    with pytest.raises(TooManyAttempts):
        hub.open(b"someone", WHOLE)
    with events(admin, "alerts") as stream:
        stream.until_caught_up()


def test_a_part_of_several_sites_hears_of_each_of_them_and_of_no_other(running: Running, town: Town) -> None:
    county = town.county
    elsewhere = county.region("西岭街道", "Xiling")
    third = county.site("third", "北塘睦邻点", "Beitang point", elsewhere)
    supervisor = county.session(county.account("supervisor", "town", area="999001001"))
    with running.client(supervisor) as client:
        missed = county.alert(town.west)  # before any stream of this part is open
        with events(client, "alerts", running.console.hub.position()) as stream:
            stream.fragment("alerts", f'id="alert-{missed}"')
            foreign, own = county.alert(third), county.alert(town.east)
            assert f'id="alert-{foreign}"' not in stream.fragment("alerts", f'id="alert-{own}"')
        assert client.get("/events", params={"topics": f"site:{third}"}).status_code == 404


def test_an_installer_is_not_told_live_of_single_persons(running: Running, town: Town) -> None:
    county = town.county
    with running.client(county.session(county.account("fitter", "installer", town.east))) as client:
        with events(client, f"alerts pending:{town.east}") as stream:
            stream.until_caught_up()
            about = county.alert(town.east, "resident_absent")
            county.conn.execute("UPDATE alert SET subject_kind = 'person' WHERE id = %s", [about])
            told = county.alert(town.east)
            for topic in ("alerts", f"pending:{town.east}"):
                assert f'id="alert-{about}"' not in stream.fragment(topic, f'id="alert-{told}"')
        assert client.get("/events", params={"topics": f"alert:{about}"}).status_code == 404


def test_a_site_s_page_lists_every_deadline_nearest_first_and_names_nobody(east_staff: httpx.Client, town: Town) -> None:
    hour = 3_600_000_000
    dues = [{"rule": "left_open", "due_us": now_us() + 3 * hour}, {"rule": "no_activity", "due_us": now_us() + hour}]
    detail = {"deadlines": dues, "awaited": [{"person": 4711, "due_us": now_us() + 40 * hour}]}
    town.county.conn.execute("UPDATE site_status SET detail = detail || %s WHERE site = %s", [Jsonb(detail), town.east])
    page = east_staff.get("/sites/east").text
    listed = re.findall(r"<li><b>[^<]+</b> ([^<]+)</li>", page)
    assert listed == ["应有动静", "应关门", "常来老人应来过"]
    assert "4711" not in page
