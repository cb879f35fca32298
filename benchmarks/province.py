"""A province in a database: 25,000 sites in 50 counties with what the worker keeps of them; one county has a month of roll-ups.

One decision: everything is made by the database itself, so that it is there in seconds.
"""

import hashlib
import secrets
from typing import Any

import psycopg

from gateway.clock import HOUR_US, SECOND_US, now_us

COUNTIES, TOWNS, SITES = 50, 20, 25
"""Counties, towns of each, sites of each town."""
MONTH, MONTH_US = "2026-03", 1_772_294_400 * SECOND_US
"""The month of the roll-ups, and its first midnight in Shanghai."""
COUNTY = "330100"
SITE = "s330100001-01"

REGISTER = """
INSERT INTO region SELECT (330100 + c)::text || '000000', '模拟' || c || '县' FROM generate_series(0, %(counties)s - 1) AS c;
INSERT INTO region SELECT (330100 + c)::text || lpad(t::text, 3, '0') || '000', '模拟' || c || '第' || t || '镇'
FROM generate_series(0, %(counties)s - 1) AS c, generate_series(1, %(towns)s) AS t;
INSERT INTO site (code, name, name_en, kind, region, hours, shard)
SELECT 's' || left(r.code, 9) || '-' || lpad(n::text, 2, '0'), r.name || n || '号照料中心', 'Centre ' || n, 'centre', r.code,
       '{"mon": [["08:00", "17:00"]], "tue": [["08:00", "17:00"]], "wed": [["08:00", "17:00"]], "thu": [["08:00", "17:00"]],
         "fri": [["08:00", "17:00"]], "sat": [["08:00", "17:00"]]}', (row_number() OVER ()) %% 64
FROM region r, generate_series(1, %(sites)s) AS n WHERE substr(r.code, 7, 3) <> '000';
INSERT INTO place (site, code, name, room)
SELECT s.id, p.code, p.code, p.room FROM site s,
       (VALUES ('front', 'entrance'), ('hall', 'hall'), ('canteen', 'canteen')) AS p (code, room);
INSERT INTO gateway (code, shard) SELECT 'g' || id, shard FROM site;
INSERT INTO device (gateway, identity, class)
SELECT g.id, 'x/' || p.id, CASE p.code WHEN 'front' THEN 'zigbee_contact' WHEN 'hall' THEN 'lora_counter' ELSE 'face_terminal' END
FROM place p JOIN gateway g ON g.code = 'g' || p.site;
INSERT INTO mounting (device, place, from_us) SELECT d.id, substr(d.identity, 3)::integer, 0 FROM device d;
INSERT INTO liveness SELECT shard, id, id, id %% 500 <> 0, %(now_us)s FROM gateway WHERE id %% 10 = 0;
INSERT INTO coverage SELECT id, 1, %(month_us)s - 1000000, %(now_us)s, 1, shard FROM gateway;
INSERT INTO site_status (site, state, clock_us, next_rule, next_deadline_us, today_in, today_passages, last_event_us, detail)
SELECT s.id, CASE WHEN s.id %% 400 = 0 THEN 'alert' WHEN s.id %% 300 = 0 THEN 'attention'
                  WHEN s.id %% 7 = 0 THEN 'closed' ELSE 'ok' END,
       %(now_us)s + 3600000000, 'no_activity', %(now_us)s + s.id * 1000000::bigint, s.id %% 60, s.id %% 20,
       %(now_us)s - s.id * 1000,
       jsonb_build_object('places', (SELECT jsonb_agg(jsonb_build_object('id', p.id, 'name', p.name, 'family', 'door',
           'state', 'closed', 'since_us', %(now_us)s, 'last_us', %(now_us)s)) FROM place p WHERE p.site = s.id),
           'recent', (SELECT jsonb_agg(jsonb_build_object('t_us', %(now_us)s - n * 60000000, 'place', 1, 'kind', 4, 'a', 1,
           'b', 0, 'd_in', 0, 'd_out', 0)) FROM generate_series(1, 6) AS n))
FROM site s;
INSERT INTO alert (shard, rule, subject_kind, subject, site, episode, state, severity, begin_us, detected_us, reason)
SELECT s.shard, 'not_opened', 'site', s.id, s.id, 1, 'open', CASE s.id %% 3 WHEN 0 THEN 'urgent' ELSE 'major' END,
       %(now_us)s - 1800000000, %(now_us)s,
       '{"code": "not_opened", "opens_us": 1772294400000000, "grace_min": 30, "sensors": 3}' FROM site s WHERE s.id %% 400 = 0;
"""
ROLLUPS = """
INSERT INTO rollup_hour (place, hour_us, people_in, people_out, passages, openings, events, first_us, last_us)
SELECT p.id, hour_us, CASE p.code WHEN 'hall' THEN busy * 6 ELSE 0 END, CASE p.code WHEN 'hall' THEN busy * 6 ELSE 0 END,
       CASE p.code WHEN 'canteen' THEN busy * 5 ELSE 0 END, CASE p.code WHEN 'front' THEN busy * 8 ELSE 0 END, 6,
       CASE busy WHEN 1 THEN hour_us + 60000000 END, CASE busy WHEN 1 THEN hour_us + 3500000000 END
FROM place p JOIN site s ON s.id = p.site AND s.region LIKE %(county)s || '%%', generate_series(0, 31 * 24 - 1) AS h,
     LATERAL (SELECT (h %% 24 BETWEEN 8 AND 16)::integer AS busy, %(month_us)s + h * 3600000000 AS hour_us) AS b;
INSERT INTO rollup_site_service
SELECT s.id, %(month_us)s + d * 86400000000 + slot * 3600000000, 20, 2, 2, 20
FROM site s, generate_series(0, 30) AS d, unnest(ARRAY[0, 10, 15]) AS slot WHERE s.region LIKE %(county)s || '%%';
INSERT INTO person (token, site, role, consent_from_us)
SELECT decode(md5(s.id || '/' || n), 'hex'), s.id, CASE WHEN n < 3 THEN 'staff' ELSE 'resident' END, 0
FROM site s, generate_series(1, 24) AS n WHERE s.region LIKE %(county)s || '%%';
INSERT INTO person_day (person, site, day, visits, first_us, last_us)
SELECT p.id, p.site, '2026-03-01'::date + d, 2, 0, 1 FROM person p, generate_series(0, 30) AS d WHERE (p.id + d) %% 3 > 0;
INSERT INTO alert (shard, rule, subject_kind, subject, site, episode, state, severity, begin_us, detected_us, outcome, reason)
SELECT s.shard, 'left_open', 'site', s.id, s.id, n + 2, 'resolved', 'major', %(month_us)s + n * 90000000000,
       %(month_us)s + n * 90000000000, 'real', '{"code": "x"}'
FROM site s, generate_series(1, 20) AS n WHERE s.region LIKE %(county)s || '%%';
INSERT INTO alert_change (alert, version, at_us, who, what)
SELECT id, 1, detected_us + 600000000, 'root', 'resolved' FROM alert WHERE state = 'resolved';
"""


def fill(conn: psycopg.Connection[Any], counties: int = COUNTIES) -> None:
    """Make the province in an empty database, in autocommit."""
    values = {"counties": counties, "towns": TOWNS, "sites": SITES, "now_us": now_us(), "month_us": MONTH_US, "county": COUNTY}
    with psycopg.ClientCursor(conn) as cursor:  # several statements at once take no parameters from the server
        for script in (REGISTER, ROLLUPS):
            cursor.execute(script.encode(), values)
    conn.execute("VACUUM ANALYZE")


def sessions(conn: psycopg.Connection[Any], count: int) -> list[str]:
    """Sign in half of `count` readers who see everything, half who see a town each. Returns their cookies."""
    cookies = []
    towns = conn.execute("SELECT left(code, 9) FROM region WHERE substr(code, 7, 3) <> '000' ORDER BY code DESC").fetchall()
    for n in range(count):
        town = None if n % 2 else str(towns[n % len(towns)][0])
        row = conn.execute(
            "INSERT INTO account (name, role, area) VALUES (%s, %s, %s) RETURNING id",
            [f"reader-{n}", "town" if town else "city", town or ""],
        ).fetchone()
        assert row
        cookie, now = secrets.token_urlsafe(32), now_us()
        digest = hashlib.sha256(cookie.encode()).digest()
        conn.execute("INSERT INTO session VALUES (%s, %s, %s, %s, %s)", [digest, row[0], now, now, now + 8 * HOUR_US])
        cookies.append(cookie)
    return cookies


def touch(conn: psycopg.Connection[Any], sites: int) -> None:
    """Let something happen at some sites, as the worker would say it."""
    conn.execute(
        "UPDATE site_status SET today_in = today_in + 1, last_event_us = %s, changed = pg_current_xact_id()"
        " WHERE site IN (SELECT 1 + (random() * 24000)::integer FROM generate_series(1, %s))",
        [now_us(), sites],
    )
    conn.execute("NOTIFY smartcare")


def act(conn: psycopg.Connection[Any]) -> None:
    """Let one of the alerts that wait change, and who follows it be told."""
    row = conn.execute(
        "UPDATE alert SET version = version + 1, count = count + 1"
        " WHERE id = (SELECT id FROM alert WHERE state = 'open' ORDER BY random() LIMIT 1) RETURNING id, version"
    ).fetchone()
    assert row
    conn.execute(
        "INSERT INTO alert_change (alert, version, at_us, who, what) VALUES (%s, %s, %s, 'root', 'recurred')", [*row, now_us()]
    )
