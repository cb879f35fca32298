-- Queries of installers: devices that wait to be claimed, swaps, walk tests. %(sites)s are the reader's own; NULL reads all.

-- name: claimable
-- Unknown devices by the number on them, heard by a gateway of one's own sites or by one that serves nobody yet.
SELECT g.code AS gateway, u.identity, u.kinds, u.last_us, u.events FROM unclaimed u JOIN gateway g ON g.id = u.gateway
WHERE NOT g.suspended AND lower(substr(u.identity, strpos(u.identity, '/') + 1)) = ANY(%(numbers)s)
  AND (%(sites)s::integer[] IS NULL OR NOT EXISTS (
       SELECT FROM device d JOIN mounting m ON m.device = d.id AND m.to_us IS NULL JOIN place p ON p.id = m.place
       WHERE d.gateway = g.id AND p.site <> ALL(%(sites)s)))
ORDER BY u.last_us DESC LIMIT 20

-- name: waiting
-- Unknown devices heard by a gateway of one's own sites, the latest first.
SELECT g.code AS gateway, u.identity, u.kinds, u.last_us, u.events FROM unclaimed u JOIN gateway g ON g.id = u.gateway
WHERE NOT g.suspended AND (%(sites)s::integer[] IS NULL OR EXISTS (
      SELECT FROM device d JOIN mounting m ON m.device = d.id AND m.to_us IS NULL JOIN place p ON p.id = m.place
      WHERE d.gateway = g.id AND p.site = ANY(%(sites)s)))
ORDER BY u.last_us DESC LIMIT 50

-- name: foreign_devices
-- How many devices of a gateway are mounted at sites that are not one's own; NULL where there is no such gateway.
SELECT (SELECT count(*) FROM device d JOIN mounting m ON m.device = d.id AND m.to_us IS NULL JOIN place p ON p.id = m.place
        WHERE d.gateway = g.id AND %(sites)s::integer[] IS NOT NULL AND p.site <> ALL(coalesce(%(sites)s::integer[], '{}'))) AS foreign_ones,
       (SELECT count(*) FROM device d WHERE d.gateway = g.id) AS devices
FROM gateway g WHERE g.code = %(gateway)s

-- name: start_walk
-- One row for each sensor mounted at the site now; none where a test is running already.
INSERT INTO walk_test (site, device, started_us, author)
SELECT p.site, d.id, %(now_us)s, %(author)s
FROM place p JOIN mounting m ON m.place = p.id AND m.to_us IS NULL JOIN device d ON d.id = m.device
WHERE p.site = %(site)s AND d.class <> 'desk'
  AND NOT EXISTS (SELECT FROM walk_test w WHERE w.site = %(site)s AND w.ended_us IS NULL)

-- name: walk
-- The newest walk test of a site, device by device.
SELECT w.device, w.started_us, w.ended_us, w.seen, w.author, d.identity, d.class AS class_, d.name, p.name AS place, p.name_en AS place_en
FROM walk_test w JOIN device d ON d.id = w.device
LEFT JOIN mounting m ON m.device = d.id AND m.to_us IS NULL LEFT JOIN place p ON p.id = m.place
WHERE w.site = %(site)s AND w.started_us = (SELECT max(started_us) FROM walk_test WHERE site = %(site)s)
ORDER BY p.name, d.identity

-- name: walk_events
-- What the devices have seen since the gateway's clock said so, newest first: no repeated states, nothing of the past.
SELECT * FROM (
    SELECT e.device, e.t_us, e.kind, e.a, e.d_in, e.d_out FROM seen_event e
    WHERE e.device = ANY(%(devices)s) AND e.pos >= %(since_us)s AND e.t_us >= %(since_us)s - 600000000
      AND e.t_us + e.lag_ms * 1000::bigint >= %(since_us)s AND e.flags & 5 = 0 AND (e.kind = 1 OR e.d_in + e.d_out > 0)
    UNION ALL
    SELECT e.device, e.t_us, 4, e.result, 0, 0 FROM seen_passage e
    WHERE e.device = ANY(%(devices)s) AND e.pos >= %(since_us)s AND e.t_us >= %(since_us)s - 600000000
      AND e.t_us + e.lag_ms * 1000::bigint >= %(since_us)s AND e.flags & 4 = 0
) AS found ORDER BY t_us DESC LIMIT 2000

-- name: end_walk
UPDATE walk_test SET ended_us = %(now_us)s, seen = %(seen)s, author = %(author)s
WHERE site = %(site)s AND device = %(device)s AND ended_us IS NULL
