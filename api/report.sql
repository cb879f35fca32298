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
-- Which devices watched in the time, from when to when.
SELECT p.site, m.place, d.identity, d.class AS class_, d.name, d.gateway, d.alive_every_s::bigint * 1000000 AS alive_us,
       greatest(m.from_us, %(from_us)s) AS from_us, least(coalesce(m.to_us, %(to_us)s), %(to_us)s) AS to_us
FROM place p JOIN mounting m ON m.place = p.id JOIN device d ON d.id = m.device
WHERE p.site = ANY(%(sites)s) AND m.from_us < %(to_us)s AND coalesce(m.to_us > %(from_us)s, true)
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
