-- name: shards
-- How the shards stand that have gateways (used), or whose analyzer fails: held (a worker owns it), silent_us since that worker last said that it lives.
WITH clock AS (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now_us),
     used AS MATERIALIZED (SELECT DISTINCT shard FROM gateway WHERE NOT suspended)
SELECT s.id, s.id IN (SELECT shard FROM used) AS used, s.pos, s.analysed, s.failing_since_us, l.pid IS NOT NULL AS held, now_us - w.at_us AS silent_us, w.broker_lost_us,
       now_us - w.broker_lost_us AS away_us
FROM clock, shard s
LEFT JOIN worker w ON w.owner = s.owner
LEFT JOIN pg_locks l ON l.locktype = 'advisory' AND l.granted AND l.classid::bigint = %(space)s AND l.objid::bigint = s.id
     AND l.objsubid = 2 AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
WHERE (s.failing_since_us IS NOT NULL OR s.id IN (SELECT shard FROM used))
  AND (%(sites)s::integer[] IS NULL OR s.id IN (SELECT shard FROM site WHERE id = ANY(%(sites)s)))
ORDER BY s.id

-- name: lost_gateways
-- Gateways that are lost now; for a reader of some sites, those with a device there.
SELECT g.code, g.shard, v.at_us
FROM liveness v JOIN gateway g ON g.id = v.gateway
WHERE NOT g.suspended AND NOT v.alive AND NOT EXISTS (SELECT FROM liveness n WHERE n.gateway = v.gateway AND n.pos > v.pos)
  AND (%(sites)s::integer[] IS NULL OR EXISTS (
      SELECT 1 FROM device d JOIN mounting m ON m.device = d.id AND m.to_us IS NULL JOIN place p ON p.id = m.place
      WHERE d.gateway = g.id AND p.site = ANY(%(sites)s)))
ORDER BY v.at_us, g.code

-- name: open_breakers
-- Receivers that are left alone for now, or are being tried with one row.
SELECT name FROM endpoint WHERE enabled AND open_until_us > 0 ORDER BY name

-- name: quarantine_day
-- Quarantined messages of the last 24 hours, by reason.
SELECT reason, count(*) FROM quarantine WHERE at_us > %(now_us)s - 86400000000 GROUP BY reason

-- name: losses
-- Named losses, by reason, and the frames in them.
SELECT reason, count(*), coalesce(sum(to_seq - from_seq + 1), 0)::bigint FROM loss GROUP BY reason

-- name: alerts_by_state
SELECT rule, state, count(*) FROM alert GROUP BY rule, state

-- name: deliveries_by_state
SELECT e.name, o.state, count(*) FROM outbox o JOIN endpoint e ON e.id = o.endpoint GROUP BY e.name, o.state

-- name: breakers
SELECT name, open_until_us, (SELECT coalesce(min(o.due_us), 0) FROM outbox o WHERE o.endpoint = e.id AND o.state = 'pending')
FROM endpoint e WHERE enabled
