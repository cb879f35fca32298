"""The REST interface: acting with versions, pages, and following without missing a late commit."""

import threading

import httpx
import psycopg
import pytest

from tests.api.conftest import Running, Town


def test_taking_over_and_resolving_is_recorded_step_by_step(admin: httpx.Client, town: Town) -> None:
    alert = town.county.alert(town.east)
    taken = admin.post(f"/api/v1/alerts/{alert}/acknowledge", json={"version": 1}).json()
    assert (taken["state"], taken["version"], taken["assignee"]) == ("acknowledged", 2, "root")
    body = {"version": 2, "outcome": "false_alarm", "note": "值班员已到"}
    done = admin.post(f"/api/v1/alerts/{alert}/resolve", json=body).json()
    assert (done["state"], done["outcome"], done["note"]) == ("resolved", "false_alarm", "值班员已到")
    history = admin.get(f"/api/v1/alerts/{alert}/changes").json()
    assert [(c["what"], c["who"]) for c in history] == [("opened", "analyzer"), ("acknowledged", "root"), ("resolved", "root")]


def test_the_slower_of_two_is_told_what_happened(running: Running, town: Town) -> None:
    alert = town.county.alert(town.east)
    answers: list[httpx.Response] = []
    start = threading.Barrier(4)

    def take(cookie: str) -> None:
        with running.client(cookie) as client:
            start.wait()
            answers.append(client.post(f"/api/v1/alerts/{alert}/acknowledge", json={"version": 1}))

    threads = [threading.Thread(target=take, args=[town.county.session(town.admin)]) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(a.status_code for a in answers) == [200, 409, 409, 409]
    lost = next(a for a in answers if a.status_code == 409)
    assert lost.headers["content-type"] == "application/problem+json"
    assert (lost.json()["state"], lost.json()["version"]) == ("acknowledged", 2)
    assert town.county.version(alert) == 2


def test_the_form_without_javascript_says_so_too(admin: httpx.Client, town: Town) -> None:
    alert = town.county.alert(town.east)
    form = {"version": "1", "back": "/"}
    first = admin.post(f"/alerts/{alert}/acknowledge", data=form)
    assert (first.status_code, first.headers["location"]) == (303, "/")
    second = admin.post(f"/alerts/{alert}/acknowledge", data=form)
    assert second.status_code == 409
    assert "刚刚已由他人处理，现状态：处理中" in second.text
    done = admin.post(f"/alerts/{alert}/resolve", data={"version": "2", "outcome": "drill", "note": "<b>演练</b>"})
    assert done.status_code == 303
    page = admin.get(f"/alerts/{alert}").text
    assert "&lt;b&gt;演练&lt;/b&gt;" in page
    assert "<b>演练" not in page


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"version": "one", "outcome": "real"},
        {"version": 1, "outcome": "perhaps"},
        {"version": 1, "outcome": "real", "note": "x" * 2001},
        {"version": 1, "outcome": "real", "note": "a\0b"},
        {"version": 1, "outcome": "real", "extra": 1},
        {"version": 2**63, "outcome": "real"},
    ],
)
def test_a_resolution_that_is_not_one_changes_nothing(admin: httpx.Client, town: Town, body: dict[str, object]) -> None:
    alert = town.county.alert(town.east)
    answer = admin.post(f"/api/v1/alerts/{alert}/resolve", json=body)
    assert answer.status_code in (400, 422)
    assert answer.headers["content-type"] == "application/problem+json"
    assert town.county.version(alert) == 1


def test_alerts_come_page_by_page_and_by_state_and_site(admin: httpx.Client, town: Town) -> None:
    ids = [town.county.alert(town.east if n % 2 else town.west) for n in range(7)]
    seen: list[int] = []
    cursor: str | None = ""
    while cursor is not None:
        page = admin.get("/api/v1/alerts", params={"limit": 3} | ({"cursor": cursor} if cursor else {})).json()
        seen += [a["id"] for a in page["items"]]
        cursor = page["cursor"]
    assert seen == sorted(ids, reverse=True)
    admin.post(f"/api/v1/alerts/{ids[0]}/acknowledge", json={"version": 1})
    taken = admin.get("/api/v1/alerts", params={"state": "acknowledged"}).json()["items"]
    assert [a["id"] for a in taken] == [ids[0]]
    east = admin.get("/api/v1/alerts", params={"site": "east"}).json()["items"]
    assert {a["site_code"] for a in east} == {"east"}
    assert len(east) == 3


@pytest.mark.parametrize(
    "query", ["after=x", "after=1", "after=-1-1", "cursor=abc", "limit=0", "limit=999", "state=odd", "after=1-1&cursor=1"]
)
def test_a_query_that_cannot_be_read_is_refused(admin: httpx.Client, query: str) -> None:
    assert admin.get(f"/api/v1/alerts?{query}").status_code in (400, 422)


def test_following_never_passes_a_change_that_commits_late(admin: httpx.Client, town: Town, dsn: str) -> None:
    after = admin.get("/api/v1/alerts").json()["after"]
    seen: list[int] = []

    def follow() -> None:
        nonlocal after
        found = admin.get("/api/v1/alerts", params={"after": after, "limit": 2}).json()
        seen.extend(c["alert"] for c in found["changes"])
        assert {a["id"] for a in found["items"]} == {c["alert"] for c in found["changes"]}
        after = found["after"]

    with psycopg.connect(dsn) as slow:
        early = town.county.alert(town.east)
        late = type(town.county)(slow, streams=100).alert(town.east, "left_open")
        quick = town.county.alert(town.east, "no_activity")
        for _ in range(3):
            follow()
        assert seen == [early]  # quick waits behind the undecided one: had we gone past it, late would be lost
        slow.commit()
    for _ in range(3):
        follow()
    assert sorted(seen) == sorted([early, late, quick])


def test_following_shows_staff_their_own_site_only(east_staff: httpx.Client, town: Town) -> None:
    after = east_staff.get("/api/v1/alerts").json()["after"]
    own, _ = town.county.alert(town.east), town.county.alert(town.west)
    found = east_staff.get("/api/v1/alerts", params={"after": after}).json()
    assert [c["alert"] for c in found["changes"]] == [own]


def test_an_alert_carries_its_reason_in_both_languages(admin: httpx.Client, town: Town) -> None:
    alert = admin.get(f"/api/v1/alerts/{town.county.alert(town.east)}").json()
    assert "前未开门" in alert["text"]["zh"]
    assert "Not opened by" in alert["text"]["en"]


def test_an_alert_page_shows_the_events_it_rests_on(admin: httpx.Client, town: Town) -> None:
    conn, now = town.county.conn, 1_790_000_000_000_000
    pos = conn.execute("SELECT (extract(epoch FROM now()) * 1000000)::bigint").fetchone()
    assert pos
    row = conn.execute("INSERT INTO gateway (code, shard) VALUES ('gw-east', 1) RETURNING id").fetchone()
    assert row
    gateway = row[0]
    conn.execute("INSERT INTO device (gateway, identity, class, name) VALUES (%s, 'z2m/d', 'x', '门磁')", [gateway])
    conn.execute("INSERT INTO frame VALUES (%s, 1, 40, 3, %s, 77, 5, 0)", [pos[0], gateway])
    for ordinal, opened in ((41, 1), (42, 0)):
        conn.execute(
            "INSERT INTO event (pos, t_us, raw_us, a, b, key, ordinal, device, place, lag_ms, "
            "d_in, d_out, shard, kind, aux, flags) "
            "SELECT %s, %s, 0, %s, 0, 0, %s, 1, id, 0, 0, 0, 1, 1, 0, 0 FROM place WHERE site = %s AND code = 'p0'",
            [pos[0], now, opened, ordinal, town.east],
        )
    alert = town.county.alert(town.east, evidence=[[gateway, 77, 5, 1]])
    page = admin.get(f"/alerts/{alert}").text
    shown = page[page.index("依据的事件") :]
    assert "开门" in shown
    assert "前门" in shown
    assert "关门" not in shown


def test_health_is_open_and_says_when_the_database_is_away(running: Running, town: Town, dsn: str) -> None:
    with running.client() as probe:
        assert probe.get("/livez").json() == {"status": "ok"}
        name = dsn.rsplit("/", 1)[1]
        with psycopg.connect(dsn.replace(f"/{name}", "/postgres"), autocommit=True) as conn:
            conn.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
            conn.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name])
            away = probe.get("/livez")
            assert away.status_code == 503
            assert away.headers["content-type"] == "application/problem+json"
            assert "password" not in away.text
            conn.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        for _ in range(5):  # the pool finds its way back by itself
            if probe.get("/livez").status_code == 200:
                break
        else:
            pytest.fail("the pool did not recover")
