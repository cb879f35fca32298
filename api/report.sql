-- What reports are made of. %(own)s are the reader's own sites; NULL reads all. Times are those of local days, so each query is
-- asked once per zone; %(bounds)s are the local midnights around the days.

-- name: sites
-- The sites of a report: one by its code, or those whose region's code begins so.
SELECT s.id, s.code, s.name, s.name_en, s.kind, s.zone, s.hours, s.region, left(s.region, 9) AS town,
       coalesce(t.name, r.name) AS town_name, coalesce(t.name_en, r.name_en) AS town_name_en
FROM site s JOIN region r ON r.code = s.region LEFT JOIN region t ON t.code = left(s.region, 9) || '000'
WHERE (%(own)s::integer[] IS NULL OR s.id = ANY(%(own)s)) AND (%(code)s::text IS NULL OR s.code = %(code)s)
  AND s.region LIKE %(region)s || '%%'
ORDER BY s.region, s.code LIMIT %(limit)s

-- name: region_names
-- How regions that begin so are called, the widest first.
SELECT code, name, name_en FROM region WHERE code LIKE %(region)s || '%%' ORDER BY code LIMIT 1

-- name: parts
-- The counties and towns that have sites, and the sites unless there are too many to choose from.
WITH mine AS MATERIALIZED (
    SELECT s.code, s.name, s.name_en, s.region FROM site s WHERE %(own)s::integer[] IS NULL OR s.id = ANY(%(own)s))
SELECT 'region' AS kind, part AS code, coalesce(r.name, part) AS name, coalesce(r.name_en, '') AS name_en
FROM (SELECT DISTINCT left(region, digits) AS part FROM mine, unnest(ARRAY[6, 9]) AS digits) AS heads
LEFT JOIN region r ON r.code = rpad(part, 12, '0')
UNION ALL
SELECT 'site', code, name, name_en FROM mine WHERE (SELECT count(*) FROM mine) <= %(most)s
ORDER BY 1, 2 LIMIT 2000

-- name: closures
-- Closures in force that touch the time.
SELECT site, from_us, to_us
FROM (SELECT DISTINCT ON (site, from_us, to_us) site, from_us, to_us, cancelled FROM closure
      WHERE site = ANY(%(sites)s) ORDER BY site, from_us, to_us, id DESC) newest
WHERE NOT cancelled AND from_us < %(to_us)s AND to_us > %(from_us)s ORDER BY 1, 2

-- name: place_days
-- Per place and local day: people, openings, and a bit for each hour in which its sensors said something.
SELECT h.place, h.day, sum(h.people_in)::bigint AS people_in, sum(h.people_out)::bigint AS people_out,
       sum(h.openings)::bigint AS openings, sum(h.passages)::bigint AS passages,
       coalesce(bit_or(1::bigint << ((h.hour_us - (%(bounds)s::bigint[])[h.day]) / 3600000000)::integer)
                FILTER (WHERE h.events > 0), 0) AS heard
FROM (SELECT *, width_bucket(hour_us, %(bounds)s::bigint[]) AS day FROM rollup_hour
      WHERE place = ANY(%(places)s) AND hour_us >= %(from_us)s AND hour_us < %(to_us)s) AS h
GROUP BY h.place, h.day

-- name: life
-- The hours of sites in which there was a sign of life, with the first that may begin a day and the last.
SELECT p.site, h.hour_us, min(h.first_us), max(h.last_us) FROM rollup_hour h JOIN place p ON p.id = h.place
WHERE h.place = ANY(%(places)s) AND h.hour_us >= %(from_us)s - 3600000000 AND h.hour_us < %(to_us)s + 90000000000
  AND (h.first_us IS NOT NULL OR h.last_us IS NOT NULL)
GROUP BY p.site, h.hour_us

-- name: service
SELECT site, slot_us, served, anonymous, staff, meals FROM rollup_site_service
WHERE site = ANY(%(sites)s) AND slot_us >= %(from_us)s AND slot_us < %(to_us)s

-- name: attenders
-- Different residents who came, per site and (site NULL) to any of them.
SELECT d.site, count(DISTINCT d.person) AS persons FROM person_day d JOIN person p ON p.id = d.person AND p.role = 'resident'
WHERE d.site = ANY(%(sites)s) AND d.day >= %(first)s AND d.day <= %(last)s GROUP BY GROUPING SETS ((d.site), ())

-- name: alerts
-- The alerts that began in the time, with when a person first did something.
SELECT a.id, a.site, a.rule, a.severity, a.state, a.outcome, a.late, a.begin_us, a.detected_us,
       (SELECT min(c.at_us) FROM alert_change c
        WHERE c.alert = a.id AND c.what IN ('acknowledged', 'resolved') AND c.who <> 'analyzer') AS acted_us
FROM alert a WHERE a.site = ANY(%(sites)s) AND a.begin_us >= %(from_us)s AND a.begin_us < %(to_us)s ORDER BY a.begin_us, a.id

-- name: places
SELECT id, site, code, name, name_en, room FROM place WHERE site = ANY(%(sites)s) ORDER BY site, id

-- name: mountings
-- Which devices watched in the time, from when to when; a check-in desk watches nothing.
SELECT p.site, m.place, d.identity, d.class AS class_, d.name, d.gateway, d.alive_every_s::bigint * 1000000 AS alive_us,
       greatest(m.from_us, %(from_us)s) AS from_us, least(coalesce(m.to_us, %(to_us)s), %(to_us)s) AS to_us
FROM place p JOIN mounting m ON m.place = p.id JOIN device d ON d.id = m.device
WHERE p.site = ANY(%(sites)s) AND m.from_us < %(to_us)s AND coalesce(m.to_us > %(from_us)s, true) AND d.class <> 'desk'
ORDER BY p.site, m.place, m.from_us

-- name: coverage
SELECT gateway, greatest(from_us, %(from_us)s), least(through_us, %(to_us)s) FROM coverage
WHERE gateway = ANY(%(gateways)s) AND from_us < %(to_us)s AND through_us > %(from_us)s

-- name: blind
SELECT gateway, source, greatest(from_us, %(from_us)s), least(coalesce(to_us, %(to_us)s), %(to_us)s), reason FROM blind
WHERE gateway = ANY(%(gateways)s) AND from_us < %(to_us)s AND coalesce(to_us > %(from_us)s, true)

-- name: corrections
SELECT c.id, s.code AS site, c.day, c.what, c.delta, c.reason, c.author, c.at_us FROM correction c JOIN site s ON s.id = c.site
WHERE c.site = ANY(%(sites)s) AND c.day >= %(first)s AND c.day <= %(last)s ORDER BY c.id

-- name: correct
INSERT INTO correction (site, day, what, delta, reason, author, at_us)
VALUES (%(site)s, %(day)s, %(what)s, %(delta)s, %(reason)s, %(author)s, %(now_us)s) RETURNING id

-- name: calendar_days
SELECT date, kind FROM calendar_day ORDER BY date

-- name: events
-- The stored events of a site in a time that a figure is made of, oldest first, after a place in that order; with the frame that
-- each came in. kinds: of events; results, rooms: of passages, NULL any. A row is stored after it happened, so that pos leaves out
-- older partitions.
WITH watching AS (
    SELECT DISTINCT m.device FROM place p JOIN mounting m ON m.place = p.id
    WHERE p.site = %(site)s AND m.from_us < %(to_us)s AND coalesce(m.to_us > %(from_us)s, true)),
found AS (
    SELECT e.t_us, e.pos, e.shard, e.ordinal, e.kind::integer AS kind, e.a, e.d_in, e.d_out, e.flags, 0 AS person, e.device, e.place
    FROM watching w CROSS JOIN LATERAL (
        SELECT * FROM seen_event x WHERE x.device = w.device AND x.t_us >= %(from_us)s AND x.t_us < %(to_us)s
           AND x.pos >= %(from_us)s - 600000000) AS e
    WHERE e.kind = 1 AND e.a = 1 AND e.flags & 1 = 0 AND 1 = ANY(%(kinds)s) OR (e.d_in > 0 OR e.d_out > 0) AND 2 = ANY(%(kinds)s)
    UNION ALL
    SELECT e.t_us, e.pos, e.shard, e.ordinal, 4, e.result::bigint, 0, 0, e.flags, e.person, e.device, e.place
    FROM watching w CROSS JOIN LATERAL (
        SELECT * FROM seen_passage x WHERE x.device = w.device AND x.t_us >= %(from_us)s AND x.t_us < %(to_us)s
           AND x.pos >= %(from_us)s - 600000000) AS e
    WHERE 4 = ANY(%(kinds)s) AND e.result = 1),
page AS (
    SELECT f.*, p.name AS place_name, p.name_en AS place_name_en
    FROM found f JOIN place p ON p.id = f.place AND p.site = %(site)s AND (%(room)s::text IS NULL OR p.room = %(room)s)
    WHERE (f.t_us, f.pos, f.ordinal) > (%(t_us)s, %(pos)s, %(ordinal)s) ORDER BY f.t_us, f.pos, f.ordinal LIMIT %(limit)s)
SELECT page.*, d.identity AS device_name, coalesce(n.role, '') AS role, g.code AS gateway, r.stream, r.seq,
       page.ordinal - r.first AS number
FROM page JOIN device d ON d.id = page.device JOIN gateway g ON g.id = d.gateway
LEFT JOIN person n ON n.id = page.person
LEFT JOIN LATERAL (SELECT f.stream, f.seq, f.first FROM seen_frame f
    WHERE f.pos = page.pos AND f.shard = page.shard AND f.first <= page.ordinal AND page.ordinal < f.first + f.events LIMIT 1) AS r ON true
ORDER BY page.t_us, page.pos, page.ordinal

-- name: came
-- Who came to a site in a time, by number.
SELECT d.person, d.day, d.visits, d.first_us, d.last_us, p.role FROM person_day d JOIN person p ON p.id = d.person
WHERE d.site = %(site)s AND d.day >= %(first)s AND d.day <= %(last)s AND p.role = 'resident' ORDER BY d.day, d.first_us, d.person

-- name: log_from
-- When the log begins that is kept; 0: nothing was deleted.
SELECT coalesce((SELECT log_from_us FROM maintenance), 0)
